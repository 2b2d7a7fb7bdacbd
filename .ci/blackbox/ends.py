"""Where readers from the beginning are told that partitions end: never below what was acknowledged, whatever happens to the brokers.

librdkafka takes the end of a partition from any answer to a Fetch, one that refuses too, and tells it where its reader stands; so it is asked by
readers that begin again and again, of uncommitted and of committed records, and with ListOffsets.
"""

import threading
import time
from collections.abc import Iterable

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, KafkaException, TopicPartition

from .history import Place
from .load import passing

#: How long a reader stays before it begins again: what is told at the beginning is what counts.
READ_SECONDS = 0.3
ASK_SECONDS = 2


def is_told(error: KafkaError) -> bool:
    """Whether a broker said so, or what the client made of it; what else befalls the client says nothing of a partition."""
    return error.code() >= 0 or error.code() == KafkaError._AUTO_OFFSET_RESET


class Ends:
    """Readers on their own threads until `finish`."""

    def __init__(self, bootstrap: str, topic: str, partitions: int) -> None:
        self.bootstrap, self.topic, self.partitions = bootstrap, topic, partitions
        self.over = threading.Event()
        self.problems: list[str] = []
        self.told = 0
        #: What is known to be there, by partition.
        self.least: dict[int, int] = {}
        self.threads = [threading.Thread(target=self.guarded, args=(isolation,), daemon=True) for isolation in ("read_uncommitted", "read_committed")]

    def start(self) -> "Ends":
        for thread in self.threads:
            thread.start()
        return self

    def finish(self) -> None:
        self.over.set()
        for thread in self.threads:
            thread.join()

    def know(self, places: Iterable[Place]) -> None:
        """What was acknowledged up to now: no end may be told below."""
        least: dict[int, int] = {}
        for partition, offset in places:
            least[partition] = max(least.get(partition, 0), offset + 1)
        self.least = least

    def guarded(self, isolation: str) -> None:
        try:
            self.read(isolation)
        except Exception as problem:  # A thread's end must not go unnoticed.
            self.problems.append(f"{isolation}: {type(problem).__name__}: {problem}")

    def read(self, isolation: str) -> None:
        consumer = Consumer(
            {
                "bootstrap.servers": self.bootstrap,
                "group.id": "assigned-only",
                "enable.auto.commit": False,
                "enable.partition.eof": True,
                "auto.offset.reset": "error",
                "isolation.level": isolation,
                "fetch.wait.max.ms": 100,
                "fetch.message.max.bytes": 65_536,
                "queued.max.messages.kbytes": 512,
                "reconnect.backoff.ms": 20,
                "reconnect.backoff.max.ms": 200,
                "fetch.error.backoff.ms": 20,
                "log_level": 0,
            }
        )
        while not self.over.is_set():
            least = self.least
            consumer.assign([TopicPartition(self.topic, partition, OFFSET_BEGINNING) for partition in range(self.partitions)])
            until = time.monotonic() + READ_SECONDS
            while time.monotonic() < until:
                for message in consumer.consume(1_000, 0.05):
                    error = message.error()
                    if error is not None and error.code() == KafkaError._PARTITION_EOF:
                        self.judge(f"a Fetch of a {isolation} reader", least, message.partition(), message.offset())
                    elif error is not None and is_told(error) and not passing(error):
                        self.problems.append(f"{isolation}: partition {message.partition()}: {error}")
            for partition in range(self.partitions):
                self.ask(consumer, least, partition)
        consumer.close()

    def ask(self, consumer: Consumer, least: dict[int, int], partition: int) -> None:
        try:
            start, end = consumer.get_watermark_offsets(TopicPartition(self.topic, partition), timeout=ASK_SECONDS)
        except KafkaException as error:
            if is_told(error.args[0]) and not passing(error.args[0]):
                self.problems.append(f"ListOffsets of partition {partition}: {error}")
            return
        self.judge("ListOffsets", least, partition, end)
        if start != 0:
            self.problems.append(f"ListOffsets says that partition {partition} begins at {start}")

    def judge(self, who: str, least: dict[int, int], partition: int | None, offset: int | None) -> None:
        self.told += 1
        if partition is not None and offset is not None and 0 <= offset < least.get(partition, 0):
            self.problems.append(f"{who} says that partition {partition} ends at {offset}; {least[partition]} was acknowledged before")
