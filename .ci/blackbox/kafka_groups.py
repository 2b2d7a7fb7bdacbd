"""Groups and their offsets, put into one broker and looked for in the next one that opens its directory."""

import dataclasses
import time
from collections.abc import Callable
from typing import TypeVar

from confluent_kafka import Consumer, ConsumerGroupTopicPartitions, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient

from .cluster import Failed

Answer = TypeVar("Answer")

SECONDS = 60
#: Records that a member takes before it commits and leaves.
STEP = 25
#: What members of each kind are configured with.
MEMBERS = {
    "classic-eager": {"partition.assignment.strategy": "range"},
    "classic-cooperative": {"partition.assignment.strategy": "cooperative-sticky"},
    "modern": {"group.protocol": "consumer"},
}


@dataclasses.dataclass(frozen=True)
class Committed:
    offset: int
    metadata: str


#: By group, topic and partition.
Groups = dict[str, dict[tuple[str, int], Committed]]


def fill(bootstrap: str, topic: str) -> Groups:
    """One group of every kind that has consumed a little of the topic, and one that an administrator made."""
    groups: Groups = {}
    for name, config in MEMBERS.items():
        groups[name] = {(topic, 0): Committed(consume(bootstrap, name, topic, config), "")}
    admin = AdminClient({"bootstrap.servers": bootstrap})
    place = TopicPartition(topic, 0, 7, metadata="put there by hand")
    for future in admin.alter_consumer_group_offsets([ConsumerGroupTopicPartitions("by-hand", [place])]).values():
        future.result(SECONDS)
    groups["by-hand"] = {(topic, 0): Committed(7, "put there by hand")}
    compare(bootstrap, groups, "the broker that was filled")
    return groups


def go_on(bootstrap: str, groups: Groups) -> Groups:
    """Members come back and have to go on where their group was; returns what is committed then."""
    moved = dict(groups)
    for name, config in MEMBERS.items():
        ((place, before),) = groups[name].items()
        after = consume(bootstrap, name, place[0], config)
        if after != before.offset + STEP:
            raise Failed(f"group {name} went on to offset {after} from {before.offset}: it did not begin where it was")
        moved[name] = {place: Committed(after, "")}
    return moved


def consume(bootstrap: str, group: str, topic: str, config: dict[str, str]) -> int:
    """A member takes some records, commits and leaves; returns the offset that it committed."""
    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": group, "enable.auto.commit": False, "auto.offset.reset": "earliest", **config})
    consumer.subscribe([topic])
    try:
        message = None
        for _ in range(STEP):
            message = consumer.poll(SECONDS)
            if message is None:
                raise Failed(f"group {group}: nothing came in {SECONDS} s")
            if message.error() is not None:
                raise KafkaException(message.error())
        assert message is not None
        (committed,) = consumer.commit(message=message, asynchronous=False)
        return committed.offset
    finally:
        consumer.close()


def compare(bootstrap: str, groups: Groups, who: str) -> None:
    """Every group is listed, and has committed what it has."""
    admin = AdminClient({"bootstrap.servers": bootstrap})
    problems = []
    listed = {group.group_id for group in patient(lambda: admin.list_consumer_groups(request_timeout=SECONDS).result(SECONDS)).valid}
    for name, wanted in groups.items():
        if name not in listed:
            problems.append(f"group {name} is not listed")
        found = offsets(admin, name)
        if found != wanted:
            problems.append(f"group {name} has committed {found} instead of {wanted}")
    if problems:
        raise Failed(f"{who}:\n" + "\n".join(problems))


def offsets(admin: AdminClient, group: str) -> dict[tuple[str, int], Committed]:
    def ask() -> list[TopicPartition]:
        (future,) = admin.list_consumer_group_offsets([ConsumerGroupTopicPartitions(group)], request_timeout=SECONDS).values()
        return future.result(SECONDS).topic_partitions

    return {(place.topic, place.partition): Committed(place.offset, place.metadata or "") for place in patient(ask)}


def patient(ask: Callable[[], Answer]) -> Answer:
    """The coordinator may still be reading its state."""
    deadline = time.monotonic() + SECONDS
    while True:
        try:
            return ask()
        except KafkaException:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.2)
