"""aiokafka from the package index: asyncio, idempotent."""

import asyncio

import aiokafka
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition

from ..records import Record
from . import PATIENCE_SECONDS, Client


class Aiokafka(Client):
    name = "aiokafka"

    def version(self) -> str:
        return f"aiokafka {aiokafka.__version__}"

    def can_write(self, record: Record) -> bool:
        return (record.key, record.value) != (None, None)

    def write(self, bootstrap: str, topic: str, codec: str, records: list[Record]) -> None:
        asyncio.run(asyncio.wait_for(write(bootstrap, topic, codec, records), PATIENCE_SECONDS))

    def read(self, bootstrap: str, topic: str) -> list[object]:
        return asyncio.run(asyncio.wait_for(read(bootstrap, topic), PATIENCE_SECONDS))


async def write(bootstrap: str, topic: str, codec: str, records: list[Record]) -> None:
    producer = AIOKafkaProducer(bootstrap_servers=bootstrap, compression_type=None if codec == "none" else codec, enable_idempotence=True, linger_ms=20)
    await producer.start()
    try:
        sent = [
            await producer.send(topic, value=record.value, key=record.key, partition=0, timestamp_ms=record.timestamp, headers=list(record.headers))
            for record in records
        ]
        await producer.flush()
        await asyncio.gather(*sent)
    finally:
        await producer.stop()


async def read(bootstrap: str, topic: str) -> list[object]:
    consumer = AIOKafkaConsumer(bootstrap_servers=bootstrap, enable_auto_commit=False, fetch_max_wait_ms=50)
    partition = TopicPartition(topic, 0)
    await consumer.start()
    try:
        consumer.assign([partition])
        await consumer.seek_to_beginning(partition)
        end = (await consumer.end_offsets([partition]))[partition]
        views: list[object] = []
        while await consumer.position(partition) < end:
            for message in [message for batch in (await consumer.getmany(timeout_ms=1000)).values() for message in batch]:
                views.append(Record(message.key, message.value, tuple(message.headers), message.timestamp, message.offset))
        return views
    finally:
        await consumer.stop()
