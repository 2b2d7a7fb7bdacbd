"""A group changes its protocol with its members in it (KIP-848): librdkafka's members of both protocols share a topic.

Two classic members, then one of the consumer protocol (the group is upgraded), two of each, the classic ones leave, one comes back, and when the
last of the consumer protocol is gone the group is classic again. With the full profile the broker is killed at every step. Every record is
delivered to one member; none is delivered twice unless the broker was killed, for then a commit may be unanswered.
"""

import collections
import collections.abc
import sys
import threading
import time

from confluent_kafka import Consumer, KafkaException, Producer
from confluent_kafka.admin import AdminClient

from . import admin, cluster
from .cluster import Broker, Failed
from .load import passing

PARTITIONS = 6
STEP_RECORDS = 300
SETTLE_SECONDS = 90
STRATEGIES = ("range", "cooperative-sticky")
#: Sessions that end, and heartbeats that come, soon enough for a test.
CLASSIC = {"session.timeout.ms": 10_000, "heartbeat.interval.ms": 500}


def main() -> int:
    chosen = cluster.arguments(__doc__).parse_args()
    with cluster.workspace(chosen.work) as work, cluster.started(chosen.broker, work / "broker", cluster.free_port(chosen.port)) as broker:
        for strategy in STRATEGIES:
            group = Group(broker, f"migrating-{strategy}", strategy, kills=chosen.profile == "full")
            try:
                group.there_and_back()
            finally:
                group.end()
    return 0


class Member(threading.Thread):
    """Polls, notes what it is given, and commits each record."""

    def __init__(self, group: "Group", name: str, config: dict[str, object]) -> None:
        super().__init__(name=name, daemon=True)
        self.group, self.leaving = group, threading.Event()
        self.owned: set[int] = set()
        self.trouble: str | None = None
        common = {"bootstrap.servers": group.broker.bootstrap, "group.id": group.name, "client.id": name}
        self.consumer = Consumer({**common, "auto.offset.reset": "earliest", "enable.auto.commit": False, **config})

    def run(self) -> None:
        self.consumer.subscribe([self.group.name])
        try:
            while not self.leaving.is_set():
                message = self.consumer.poll(0.1)
                self.owned = {place.partition for place in self.consumer.assignment()}
                if message is None:
                    continue
                if message.error() is not None:
                    if not passing(message.error()):
                        raise KafkaException(message.error())
                    continue
                self.group.take(message.value())
                try:
                    self.consumer.commit(message=message, asynchronous=False)
                except KafkaException as error:
                    if not self.group.kills:
                        raise
                    print(f"{self.name}: not committed: {error}", flush=True)
        except KafkaException as error:
            self.trouble = str(error)
        finally:
            self.consumer.close()
            self.owned = set()

    def leave(self) -> None:
        self.leaving.set()
        self.join(SETTLE_SECONDS)
        if self.is_alive() or self.trouble:
            raise Failed(f"{self.name} did not leave as it should: {self.trouble}")


class Group:
    def __init__(self, broker: Broker, name: str, strategy: str, kills: bool) -> None:
        self.broker, self.name, self.strategy, self.kills = broker, name, strategy, kills
        self.members: dict[str, Member] = {}
        self.taken: collections.Counter[bytes] = collections.Counter()
        self.lock = threading.Lock()
        self.produced = 0
        admin.create_topics(broker.bootstrap, [name], PARTITIONS, {})

    def there_and_back(self) -> None:
        self.step("classic", come=["classic-a", "classic-b"])
        self.step("consumer", come=["modern-c"])
        self.step("consumer", come=["modern-d"])
        self.step("consumer", go=["classic-a", "classic-b"])
        self.step("consumer", come=["classic-e"])
        self.step("classic", go=["modern-c", "modern-d"])
        twice = sum(count > 1 for count in self.taken.values())
        if twice and not self.kills:
            raise Failed(f"{self.name}: {twice} records were delivered twice")
        print(f"{self.strategy}: {self.produced} records through six changes of the group, {twice} of them twice", flush=True)

    def step(self, kind: str, come: list[str] | None = None, go: list[str] | None = None) -> None:
        """Members come or go; then shares are even, the group is of this kind, and everything produced is delivered."""
        for name in come or ():
            config = {**CLASSIC, "partition.assignment.strategy": self.strategy} if name.startswith("classic") else {"group.protocol": "consumer"}
            self.members[name] = Member(self, name, config)
            self.members[name].start()
        for name in go or ():
            self.members.pop(name).leave()
        self.wait(f"{self.name} is settled with {sorted(self.members)}", self.is_settled)
        if self.kills:
            self.broker.kill()
            self.broker.start()
        self.produce()
        self.wait(f"{self.name}: everything is delivered", lambda: len(self.taken) == self.produced)
        self.wait(f"{self.name} is settled with {sorted(self.members)}", self.is_settled)
        found = self.kind()
        if found != kind:
            raise Failed(f"{self.name} is {found} instead of {kind} with {sorted(self.members)}")

    def is_settled(self) -> bool:
        trouble = [member.trouble for member in self.members.values() if member.trouble]
        if trouble:
            raise Failed(f"{self.name}: {trouble}")
        shares = [member.owned for member in self.members.values()]
        even = max(map(len, shares)) - min(map(len, shares)) <= 1
        return even and sum(map(len, shares)) == PARTITIONS and set().union(*shares) == set(range(PARTITIONS))

    def wait(self, what: str, is_so: collections.abc.Callable[[], bool]) -> None:
        deadline = time.monotonic() + SETTLE_SECONDS
        while not is_so():
            if time.monotonic() > deadline:
                owned = {name: sorted(member.owned) for name, member in self.members.items()}
                raise Failed(f"not within {SETTLE_SECONDS} s: {what}; {len(self.taken)} of {self.produced} delivered, owned {owned}")
            time.sleep(0.1)

    def produce(self) -> None:
        producer = Producer({"bootstrap.servers": self.broker.bootstrap})
        for _ in range(STEP_RECORDS):
            producer.produce(self.name, b"%d" % self.produced)
            self.produced += 1
        if producer.flush(SETTLE_SECONDS):
            raise Failed(f"{self.name}: records were not acknowledged in {SETTLE_SECONDS} s")

    def take(self, value: bytes) -> None:
        with self.lock:
            self.taken[value] += 1

    def kind(self) -> str:
        client = AdminClient({"bootstrap.servers": self.broker.bootstrap})
        listed = client.list_consumer_groups(request_timeout=SETTLE_SECONDS).result(SETTLE_SECONDS).valid
        return next((group.type.name.lower() for group in listed if group.group_id == self.name), "not there")

    def end(self) -> None:
        for member in self.members.values():
            member.leaving.set()
        for member in self.members.values():
            member.join(SETTLE_SECONDS)


if __name__ == "__main__":
    sys.exit(main())
