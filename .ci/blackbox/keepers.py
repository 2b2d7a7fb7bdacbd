"""A consumer group that is to be kept whatever happens to its coordinators.

Members read, then commit what they have read. What holds at the end: every acknowledged record was read by some member (at least
once), and what the group had committed never went back.
"""

import threading
import time

from confluent_kafka import OFFSET_INVALID, Consumer, KafkaException, TopicPartition

from .history import Value
from .load import passing, value_of

GROUP = "keepers"
COMMIT_EVERY = 200
LOOK_SECONDS = 1.0
CATCH_UP_SECONDS = 60


class Keepers:
    """Members and an onlooker on threads of their own until `finish`."""

    def __init__(self, bootstrap: str, topic: str, partitions: int, members: int = 2, protocol: str = "classic") -> None:
        self.bootstrap, self.topic, self.partitions, self.protocol = bootstrap, topic, partitions, protocol
        self.group = f"{GROUP}-{protocol}"
        self.over = threading.Event()
        self.lock = threading.Lock()
        self.read: set[Value] = set()
        self.committed: dict[int, int] = {}
        self.problems: list[str] = []
        self.commits = 0
        self.rebalances = 0
        actions = [*([self.member] * members), self.onlook]
        self.threads = [threading.Thread(target=self.guarded, args=(action,), daemon=True) for action in actions]

    def start(self) -> "Keepers":
        for thread in self.threads:
            thread.start()
        return self

    def finish(self, wanted: set[Value]) -> list[str]:
        """Waits until all that is wanted was read, stops the members, and answers with what went wrong."""
        deadline = time.monotonic() + CATCH_UP_SECONDS
        while missing := len(wanted - self.read):
            if time.monotonic() > deadline:
                self.problems.append(f"the group did not read {missing} acknowledged records in {CATCH_UP_SECONDS} s")
                break
            time.sleep(0.2)
        self.over.set()
        for thread in self.threads:
            thread.join(CATCH_UP_SECONDS)
        return self.problems

    def guarded(self, action) -> None:
        try:
            action()
        except Exception as problem:  # A thread's end must not go unnoticed.
            self.problems.append(f"{self.group}: {type(problem).__name__}: {problem}")

    def member(self) -> None:
        conf = {
            "bootstrap.servers": self.bootstrap,
            "group.id": self.group,
            "group.protocol": self.protocol,
            "auto.offset.reset": "earliest",
            "enable.auto.commit": False,
            "log_level": 0,
        }
        if self.protocol == "classic":
            conf["session.timeout.ms"] = 6000
        consumer = Consumer(conf)
        consumer.subscribe([self.topic], on_assign=self.assigned)
        pending = 0
        while not self.over.is_set():
            messages = consumer.consume(COMMIT_EVERY, 0.2)
            for message in messages:
                error = message.error()
                if error is None:
                    value = value_of(message.value())
                    pending += 1
                    if value is not None:
                        with self.lock:
                            self.read.add(value)
                elif not passing(error):
                    self.problems.append(f"{self.group}: {error}")
            if pending >= COMMIT_EVERY or (pending and not messages):
                pending = 0 if self.commit(consumer) else pending
        consumer.close()

    def assigned(self, *_: object) -> None:
        with self.lock:
            self.rebalances += 1

    def commit(self, consumer: Consumer) -> bool:
        try:
            consumer.commit(asynchronous=False)
        except KafkaException:
            return False  # A rebalance or a coordinator that moves: what was read stays to be committed.
        with self.lock:
            self.commits += 1
        return True

    def onlook(self) -> None:
        """Asks as a consumer of the group that never joins; the client's admin ends in a fault of its own when a coordinator moves."""
        onlooker = Consumer({"bootstrap.servers": self.bootstrap, "group.id": self.group, "log_level": 0})
        wanted = [TopicPartition(self.topic, partition) for partition in range(self.partitions)]
        while not self.over.wait(LOOK_SECONDS):
            try:
                found = onlooker.committed(wanted, timeout=5)
            except KafkaException:  # Nobody coordinates for a moment.
                continue
            for place in found:
                before = self.committed.get(place.partition, OFFSET_INVALID)
                if place.error is None and place.offset < before:
                    self.problems.append(f"{self.group}: partition {place.partition} was committed up to {before}, now {place.offset}")
                self.committed[place.partition] = max(before, place.offset)
        onlooker.close()
