"""Transactions and share groups, put into one broker and looked for in the next one that opens its directory.

Transactional ids whose last transaction was committed or aborted, each with offsets of a group; two whose transaction is open at the
switch: the producer of one goes on with it at the next broker, the other is taken over from. And a share group of whose records some were
accepted, some rejected, and some given back.
"""

import dataclasses
import json
import subprocess
import time
from collections.abc import Callable

from confluent_kafka import AcknowledgeType, Consumer, IsolationLevel, Producer, ShareConsumer, TopicPartition
from confluent_kafka.admin import AdminClient, AlterConfigOpType, ConfigEntry, ConfigResource, OffsetSpec, ResourceType

from . import admin, cluster
from .cluster import Failed

SECONDS = 60
#: How long a share group is watched that nothing is to be given to; it has its partitions after one or two.
QUIET_SECONDS = 5
TOPIC, JOBS = "transactions", "jobs"
TOPICS = (TOPIC, JOBS)
OFFSETS, WORKERS = "transactional-offsets", "share-workers"
#: How the last transaction of an id stands in a broker that was stopped with it.
STATES = {"committed": "CompleteCommit", "aborted": "CompleteAbort", "continued": "Ongoing", "abandoned": "Ongoing"}
#: Records of the share group's topic, and what its first member says of them, by what the record's number leaves when divided by three.
RECORDS = 60
WORDS = (AcknowledgeType.ACCEPT, AcknowledgeType.REJECT, AcknowledgeType.RELEASE)


@dataclasses.dataclass
class Filled:
    #: What readers of committed records see.
    committed: list[bytes]
    #: Of the group.
    offset: int
    #: Whether readers of committed records wait for the end of a transaction.
    is_open: bool
    #: Alive over the switch, with a transaction that is open.
    continued: Producer
    abandoned: Producer
    #: Numbers of jobs that nobody is done with.
    left: set[int]


def fill(bootstrap: str) -> Filled:
    for topic in TOPICS:
        admin.create_topics(bootstrap, [topic], 1, {})
    for name in ("committed", "aborted"):
        producer = transactional(bootstrap, name)
        for number in range(3):
            write(producer, f"{name} {number}", 10 * number + (1 if name == "committed" else 2))
            producer.commit_transaction(SECONDS) if name == "committed" else producer.abort_transaction(SECONDS)
    opened = [transactional(bootstrap, name) for name in ("continued", "abandoned")]
    for name, offset, producer in zip(("continued", "abandoned"), (77, 88), opened, strict=True):
        write(producer, f"{name} before", offset if name == "continued" else None)
    filled = Filled([f"committed {number}".encode() for number in range(3)], 21, True, *opened, share(bootstrap))
    compare(bootstrap, filled, "the broker that was filled")
    return filled


def write(producer: Producer, value: str, offset: int | None) -> None:
    """A record, and perhaps the group's offset, in a transaction that stays open."""
    producer.begin_transaction()
    producer.produce(TOPIC, value.encode())
    if producer.flush(SECONDS):
        raise Failed(f"{value} was not written")
    if offset is not None:
        # Of no broker: only its group is asked for.
        member = Consumer({"bootstrap.servers": "127.0.0.1:1", "group.id": OFFSETS, "log_level": 0})
        producer.send_offsets_to_transaction([TopicPartition(TOPIC, 0, offset)], member.consumer_group_metadata(), SECONDS)
        member.close()


def transactional(bootstrap: str, name: str) -> Producer:
    # librdkafka 2.16 that begins anew with its bootstrap servers while a request to the coordinator is to be sent again never sends it.
    settings = {"metadata.recovery.strategy": "none", "transaction.timeout.ms": 600000, "reconnect.backoff.max.ms": 500, "log_level": 0}
    producer = Producer({"bootstrap.servers": bootstrap, "transactional.id": name, **settings})
    producer.init_transactions(SECONDS)
    return producer


def share(bootstrap: str) -> set[int]:
    producer = Producer({"bootstrap.servers": bootstrap, "log_level": 2})
    for number in range(RECORDS):
        producer.produce(JOBS, str(number).encode())
    producer.flush(SECONDS)
    reset = ConfigEntry("share.auto.offset.reset", "earliest", incremental_operation=AlterConfigOpType.SET)
    group = ConfigResource(ResourceType.GROUP, WORKERS, incremental_configs=[reset])
    # Its requests end with the client.
    client = AdminClient({"bootstrap.servers": bootstrap})
    for future in client.incremental_alter_configs([group]).values():
        future.result(SECONDS)
    given = take(bootstrap, RECORDS, lambda number: WORDS[number % 3])
    if given != set(range(RECORDS)):
        raise Failed(f"the share group was given {sorted(given)} instead of all jobs")
    return {number for number in range(RECORDS) if WORDS[number % 3] == AcknowledgeType.RELEASE}


def take(bootstrap: str, count: int, word: Callable[[int], AcknowledgeType]) -> set[int]:
    """Takes records as a member of the share group, until so many different ones have come."""
    consumer = worker(bootstrap)
    given: set[int] = set()
    deadline = time.monotonic() + SECONDS
    while len(given) < count:
        if time.monotonic() > deadline:
            raise Failed(f"the share group was given {len(given)} records instead of {count}")
        for message in consumer.poll(0.5):
            if message.error() is None:
                number = int(message.value())
                consumer.acknowledge(message, word(number))
                given.add(number)
        consumer.commit_sync(SECONDS)
    consumer.close()
    return given


def worker(bootstrap: str) -> ShareConsumer:
    consumer = ShareConsumer({"bootstrap.servers": bootstrap, "group.id": WORKERS, "share.acknowledgement.mode": "explicit", "log_level": 2})
    consumer.subscribe([JOBS])
    return consumer


def compare(bootstrap: str, filled: Filled, who: str, wanted: dict[str, str] = STATES) -> None:
    """Every id stands where it stood, and readers of committed records see the same."""
    until(lambda: states(bootstrap), wanted, f"{who}: transactional ids")
    until(lambda: read(bootstrap), filled.committed, f"{who}: committed records")
    until(lambda: offset(bootstrap), filled.offset, f"{who}: the group's offset")
    until(lambda: stable_end(bootstrap) < end(bootstrap), filled.is_open, f"{who}: open transactions in the partition")


def until(look: Callable[[], object], wanted: object, what: str) -> None:
    deadline = time.monotonic() + SECONDS
    while (found := look()) != wanted:
        if time.monotonic() > deadline:
            raise Failed(f"{what}: {found} instead of {wanted}")
        time.sleep(0.2)


def states(bootstrap: str) -> dict[str, str]:
    command = [cluster.strandline_binary(), "txn", "list", "--bootstrap", bootstrap, "--format", "json"]
    listed = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, check=False)
    # A coordinator may still be reading its state.
    return {one["transactional_id"]: one["state"] for one in json.loads(listed.stdout)} if listed.returncode == 0 else {}


def end(bootstrap: str, isolation: IsolationLevel = IsolationLevel.READ_UNCOMMITTED) -> int:
    client = AdminClient({"bootstrap.servers": bootstrap})
    (future,) = client.list_offsets({TopicPartition(TOPIC, 0): OffsetSpec.latest()}, isolation_level=isolation).values()
    return future.result(SECONDS).offset


def stable_end(bootstrap: str) -> int:
    return end(bootstrap, IsolationLevel.READ_COMMITTED)


def offset(bootstrap: str) -> int:
    # Who reads committed records waits for the offsets of open transactions too.
    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": OFFSETS, "isolation.level": "read_uncommitted", "log_level": 2})
    (place,) = consumer.committed([TopicPartition(TOPIC, 0)], SECONDS)
    consumer.close()
    return place.offset


def read(bootstrap: str) -> list[bytes]:
    settings = {"isolation.level": "read_committed", "enable.auto.commit": False, "enable.partition.eof": True, "log_level": 2}
    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": "none", **settings})
    consumer.assign([TopicPartition(TOPIC, 0, 0)])
    values = []
    deadline = time.monotonic() + SECONDS
    while True:
        message = consumer.poll(1)
        if message is not None and message.error() is None:
            values.append(message.value())
        elif message is not None and message.error().name() == "_PARTITION_EOF":
            consumer.close()
            return values
        if time.monotonic() > deadline:
            raise Failed(f"{TOPIC} cannot be read to its end")


def go_on(bootstrap: str, filled: Filled) -> Filled:
    """What is open is continued, or aborted by whoever takes over; then every id commits something. The share group is given what is left."""
    filled.continued.produce(TOPIC, b"continued after")
    filled.continued.commit_transaction(SECONDS)
    for name in ("committed", "aborted", "abandoned"):
        producer = transactional(bootstrap, name)
        write(producer, f"{name} went on", None)
        producer.commit_transaction(SECONDS)
    given = take(bootstrap, len(filled.left), lambda _: AcknowledgeType.ACCEPT)
    if given != filled.left:
        raise Failed(f"the share group was given {sorted(given)} instead of {sorted(filled.left)}")
    went_on = ["continued before", "continued after", "committed went on", "aborted went on", "abandoned went on"]
    return dataclasses.replace(filled, committed=filled.committed + [value.encode() for value in went_on], offset=77, is_open=False)


def went_on(bootstrap: str, filled: Filled, who: str) -> None:
    """What was committed last is there, nothing is open, and of the share group nothing is left."""
    compare(bootstrap, filled, who, dict.fromkeys(STATES, "CompleteCommit"))
    consumer = worker(bootstrap)
    until = time.monotonic() + QUIET_SECONDS
    while time.monotonic() < until:
        again = [message.value() for message in consumer.poll(0.5) if message.error() is None]
        if again:
            raise Failed(f"{who}: the share group was given {again} again")
    consumer.close()
