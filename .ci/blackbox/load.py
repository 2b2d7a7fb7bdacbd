"""Steady acks=all load from idempotent producers, a reader that follows, and the history of both.

Every value names itself, so that a reader can tell whether each byte is what was sent.
"""

import random
import re
import threading
import time

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, KafkaException, Message, Producer, TopicPartition

from .history import History, Value

NAME = re.compile(rb"([a-z0-9-]+):(\d+):")
FILLER = random.Random("filler").randbytes(1 << 16).hex().encode()
#: Longer than any restart; a record whose delivery ends in a timeout counts as unanswered.
DELIVERY_SECONDS = 120
READ_SECONDS = 60
BURST_SECONDS = 0.02
#: While the broker is away a producer waits instead of growing its queue.
UNANSWERED_MAX = 2_000
QUIET_SECONDS = 60


def payload(value: Value) -> bytes:
    """What the value's record holds: its name and a filler whose size and bytes follow from it; now and then a big one."""
    producer, sequence = value
    size = 50_000 if sequence % 997 == 500 else 30 + sequence * 7919 % 1500
    start = (sequence * 104_729 + len(producer)) % 60_000
    return b"%s:%d:%s" % (producer.encode(), sequence, FILLER[start : start + size])


def value_of(data: bytes | None) -> Value | None:
    """The value that these bytes are, or None if they are not exactly one."""
    found = NAME.match(data or b"")
    if found is None:
        return None
    value = (found[1].decode(), int(found[2]))
    return value if payload(value) == data else None


class Load:
    """Producers and a follower on their own threads until `finish`."""

    def __init__(self, bootstrap: str, topic: str, partitions: int, history: History, producers: int = 3, rate: int = 600) -> None:
        self.bootstrap, self.topic, self.partitions, self.history, self.rate = bootstrap, topic, partitions, history, rate
        self.over = threading.Event()
        self.follower_over = threading.Event()
        self.problems: list[str] = []
        self.unanswered = 0
        self.acknowledged = 0
        self.lock = threading.Lock()
        self.writers = [threading.Thread(target=self.guarded, args=(self.produce, f"p{number}", number)) for number in range(producers)]
        self.follower = threading.Thread(target=self.guarded, args=(self.follow, "follower"))

    def start(self) -> "Load":
        for thread in (*self.writers, self.follower):
            thread.daemon = True
            thread.start()
        return self

    def finish(self) -> None:
        """Stops sending, waits for all answers, then stops following."""
        self.over.set()
        for thread in self.writers:
            thread.join(DELIVERY_SECONDS + QUIET_SECONDS)
        self.follower_over.set()
        self.follower.join(QUIET_SECONDS)

    def guarded(self, action, *given) -> None:
        try:
            action(*given)
        except Exception as problem:  # A thread's end must not go unnoticed.
            self.problems.append(f"{given[0]}: {type(problem).__name__}: {problem}")

    def produce(self, name: str, number: int) -> None:
        producer = Producer(
            {
                "bootstrap.servers": self.bootstrap,
                "enable.idempotence": True,
                "compression.type": ("none", "lz4", "zstd", "snappy", "gzip")[number % 5],
                "linger.ms": (0, 5, 20)[number % 3],
                "message.timeout.ms": DELIVERY_SECONDS * 1000,
                "reconnect.backoff.ms": 20,
                "reconnect.backoff.max.ms": 200,
                "retry.backoff.ms": 20,
                "log_level": 0,
            }
        )
        rng = random.Random(name)
        sequence = 0
        next_burst = time.monotonic()
        while not self.over.is_set():
            next_burst = max(next_burst + BURST_SECONDS, time.monotonic())
            if len(producer) < UNANSWERED_MAX:
                for _ in range(int(self.rate * BURST_SECONDS)):
                    self.send(producer, (name, sequence), rng.randrange(self.partitions))
                    sequence += 1
            while (left := next_burst - time.monotonic()) > 0:
                producer.poll(left)
        producer.flush(DELIVERY_SECONDS)

    def send(self, producer: Producer, value: Value, partition: int) -> None:
        with self.lock:
            self.history.sent(value, partition)
        while True:
            try:
                producer.produce(self.topic, payload(value), key=value[0], partition=partition, on_delivery=lambda error, message: self.answered(value, error, message))
                return
            except BufferError:
                producer.poll(0.1)
            if self.over.is_set():
                return

    def answered(self, value: Value, error: KafkaError | None, message: Message) -> None:
        with self.lock:
            if error is None:
                offset = message.offset()
                self.acknowledged += 1
                self.history.acknowledged(value, offset if offset is not None and offset >= 0 else None)
            elif error.fatal() or error.code() != KafkaError._MSG_TIMED_OUT:
                self.problems.append(f"{value}: not delivered: {error}{' (fatal)' if error.fatal() else ''}")
            else:
                self.unanswered += 1

    def follow(self, name: str) -> None:
        """Reads what comes; whatever it has seen must stay."""
        consumer = consumer_of(self.bootstrap)
        consumer.assign([TopicPartition(self.topic, partition, OFFSET_BEGINNING) for partition in range(self.partitions)])
        while not self.follower_over.is_set():
            for message in consumer.consume(500, 0.1):
                self.note(name, message)
        consumer.close()

    def note(self, name: str, message: Message) -> None:
        error = message.error()
        partition, offset = message.partition(), message.offset()
        if error is None:
            assert partition is not None and offset is not None
            with self.lock:
                self.history.read(name, partition, offset, value_of(message.value()))
        elif error.code() == KafkaError._PARTITION_EOF:
            if partition is not None and offset is not None and offset >= 0:
                with self.lock:
                    self.history.end_seen(partition, offset)
        elif not passing(error):
            self.problems.append(f"{name}: partition {partition}: {error}")


def consumer_of(bootstrap: str) -> Consumer:
    """Assigned by hand, and never allowed to jump when the broker says that an offset is out of range."""
    return Consumer(
        {
            "bootstrap.servers": bootstrap,
            "group.id": "assigned-only",
            "enable.auto.commit": False,
            "enable.auto.offset.store": False,
            "enable.partition.eof": True,
            "auto.offset.reset": "error",
            "fetch.wait.max.ms": 100,
            "reconnect.backoff.ms": 20,
            "reconnect.backoff.max.ms": 200,
            "fetch.error.backoff.ms": 50,
            "log_level": 0,
        }
    )


def passing(error: KafkaError) -> bool:
    """Whether a reader may see this while a broker is down or starting."""
    return error.retriable() or error.code() in (
        KafkaError._ALL_BROKERS_DOWN,
        KafkaError._TRANSPORT,
        KafkaError._RESOLVE,
        KafkaError._TIMED_OUT,
        KafkaError.LEADER_NOT_AVAILABLE,
        KafkaError.NOT_LEADER_FOR_PARTITION,
        KafkaError.OFFSET_NOT_AVAILABLE,
    )


def end_of(consumer: Consumer, topic: str, partition: int, deadline: float) -> int:
    """Where the partition ends now; asked again while its leader is away."""
    while True:
        try:
            return consumer.get_watermark_offsets(TopicPartition(topic, partition), timeout=5)[1]
        except KafkaException as error:
            if time.monotonic() > deadline or not passing(error.args[0]):
                raise
            time.sleep(0.1)


def everything(bootstrap: str, topic: str, partitions: int) -> list[tuple[int, int, Value | None]]:
    """The whole topic from its start to the end that the broker names at first: a topic that is written to has another end by then."""
    consumer = consumer_of(bootstrap)
    consumer.assign([TopicPartition(topic, partition, OFFSET_BEGINNING) for partition in range(partitions)])
    records: list[tuple[int, int, Value | None]] = []
    deadline = time.monotonic() + READ_SECONDS
    try:
        ends = {partition: end_of(consumer, topic, partition, deadline) for partition in range(partitions)}
        unfinished = {partition for partition, end in ends.items() if end > 0}
        while unfinished:
            for message in consumer.consume(10_000, 0.2):
                error = message.error()
                partition, offset = message.partition(), message.offset()
                if error is None and partition in unfinished:
                    assert offset is not None
                    records.append((partition, offset, value_of(message.value())))
                    if offset + 1 >= ends[partition]:
                        unfinished.discard(partition)
                elif error is not None and error.code() == KafkaError._PARTITION_EOF:
                    if offset is not None and partition in ends and offset >= ends[partition]:
                        unfinished.discard(partition)
                elif error is not None and not passing(error):
                    raise KafkaException(error)
            if time.monotonic() > deadline:
                raise TimeoutError(f"partitions {sorted(unfinished)} were not read to their end in {READ_SECONDS} s, {len(records)} records came")
    finally:
        consumer.close()
    return records
