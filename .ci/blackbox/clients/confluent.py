"""confluent-kafka from the package index: the newest librdkafka, idempotent."""

import confluent_kafka
from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, Producer, TopicPartition

from ..records import Record
from . import PATIENCE_SECONDS, Client


class Confluent(Client):
    name = "confluent-kafka"

    def version(self) -> str:
        return f"confluent-kafka {confluent_kafka.__version__} on librdkafka {confluent_kafka.libversion()[0]}"

    def write(self, bootstrap: str, topic: str, codec: str, records: list[Record]) -> None:
        producer = Producer({"bootstrap.servers": bootstrap, "compression.type": codec, "enable.idempotence": True, "linger.ms": 20, "log_level": 2})
        refused: list[str] = []

        def delivered(error: KafkaError | None, _: object) -> None:
            if error is not None:
                refused.append(str(error))

        for record in records:
            producer.produce(topic, record.value, record.key, partition=0, timestamp=record.timestamp or 0, headers=list(record.headers), on_delivery=delivered)
            producer.poll(0)
        unsent = producer.flush(PATIENCE_SECONDS)
        if unsent or refused:
            raise RuntimeError(f"{unsent} records unsent, refused: {refused[:3]}")

    def read(self, bootstrap: str, topic: str) -> list[object]:
        consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": "assigned-only", "enable.auto.commit": False, "enable.partition.eof": True, "fetch.wait.max.ms": 50, "log_level": 2})
        consumer.assign([TopicPartition(topic, 0, OFFSET_BEGINNING)])
        views: list[object] = []
        try:
            while True:
                message = consumer.poll(PATIENCE_SECONDS)
                if message is None:
                    raise RuntimeError("the end of the partition was not reached")
                if message.error() is None:
                    headers = tuple((name, value) for name, value in message.headers() or ())
                    views.append(Record(message.key(), message.value(), headers, message.timestamp()[1], message.offset()))
                elif message.error().code() == KafkaError._PARTITION_EOF:
                    return views
                else:
                    raise RuntimeError(str(message.error()))
        finally:
            consumer.close()
