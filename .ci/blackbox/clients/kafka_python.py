"""kafka-python from the package index: a client in Python alone."""

import kafka
from kafka import KafkaConsumer, KafkaProducer, TopicPartition

from ..records import Record
from . import PATIENCE_SECONDS, Client


class KafkaPython(Client):
    name = "kafka-python"

    def version(self) -> str:
        return f"kafka-python {kafka.__version__}"

    def can_write(self, record: Record) -> bool:
        return (record.key, record.value) != (None, None) and all(value is not None for _, value in record.headers)

    def write(self, bootstrap: str, topic: str, codec: str, records: list[Record]) -> None:
        producer = KafkaProducer(bootstrap_servers=bootstrap, compression_type=None if codec == "none" else codec, acks="all", linger_ms=20)
        try:
            sent = [
                producer.send(topic, value=record.value, key=record.key, headers=list(record.headers), partition=0, timestamp_ms=record.timestamp)
                for record in records
            ]
            producer.flush(timeout=PATIENCE_SECONDS)
            for future in sent:
                future.get(timeout=PATIENCE_SECONDS)
        finally:
            producer.close()

    def read(self, bootstrap: str, topic: str) -> list[object]:
        consumer = KafkaConsumer(bootstrap_servers=bootstrap, enable_auto_commit=False, fetch_max_wait_ms=50, consumer_timeout_ms=PATIENCE_SECONDS * 1000)
        partition = TopicPartition(topic, 0)
        try:
            consumer.assign([partition])
            consumer.seek_to_beginning(partition)
            end = consumer.end_offsets([partition])[partition]
            views: list[object] = []
            while consumer.position(partition) < end:
                for message in (message for batch in consumer.poll(timeout_ms=1000).values() for message in batch):
                    views.append(Record(message.key, message.value, tuple(message.headers), message.timestamp, message.offset))
            return views
        finally:
            consumer.close()
