"""Share groups: a topic as a queue, read by several members at once.

Members are processes with librdkafka's share consumer that say on their output what they got and what the broker took as accepted. Through
releases, rejections, members killed with their records in hand or frozen until their locks run out, and a broker killed again and
again: whatever was taken as accepted is never given out again, nothing is given out more often than the limit says without a crash, and in the
end everything was accepted by somebody. Kafka's tools describe, reset and delete. With `--cluster` three nodes, one of which is killed
again and again while it leads.
"""

import collections
import contextlib
import json
import pathlib
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Iterator

from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient, NewTopic

from . import cluster, share_member, wire
from .cluster import Broker, Failed
from .nodes import Cluster
from .tools import tool

TOPIC = "work"
PARTITIONS = 3
#: Locks and sessions short enough to wait for.
SETTINGS = {
    "group.share.min.record.lock.duration.ms": "1000",
    "group.share.record.lock.duration.ms": "2000",
    "group.share.min.session.timeout.ms": "1000",
    "group.share.session.timeout.ms": "4000",
    "group.share.min.heartbeat.interval.ms": "100",
    "group.share.heartbeat.interval.ms": "500",
}
LOCK_SECONDS = 2.0
LIMIT = 5
# In so many parts the records come that members share.
SHARED_PARTS = 8
PATIENCE_SECONDS = 60
#: Kafka's number of the resource that groups have their configuration in.
GROUP_RESOURCE = 32
#: Records whose acceptance may be under way when a broker dies: three members with five each, and what they have asked before.
ASKED_MAX = 30
KILLS = {"gate": 2, "full": 12}
RECORDS = {"gate": 600, "full": 6000}


def main() -> int:
    parser = cluster.arguments(__doc__)
    parser.add_argument("--cluster", action="store_true", help="also three nodes; always with the full profile")
    chosen = parser.parse_args()
    with cluster.workspace(chosen.work) as work:
        port = cluster.free_port(chosen.port)
        with cluster.started(chosen.broker, work / "broker", port, SETTINGS) as broker:
            for step in (members_share_the_work, verdicts, a_member_dies, a_member_freezes):
                began = time.monotonic()
                step(broker, RECORDS[chosen.profile])
                print(f"{step.__name__}: ok ({time.monotonic() - began:.1f}s)", flush=True)
            if broker.kind != "attached":
                began = time.monotonic()
                the_broker_dies(broker, RECORDS[chosen.profile], KILLS[chosen.profile])
                print(f"the_broker_dies: ok ({time.monotonic() - began:.1f}s)", flush=True)
            if cluster.kafka_tool() is None:
                print("left out: Kafka's tools: the peer Kafka is not beside the checkout")
            else:
                began = time.monotonic()
                kafkas_tools(broker.bootstrap, chosen.profile)
                print(f"kafkas_tools: ok ({time.monotonic() - began:.1f}s)", flush=True)
        if chosen.broker == "strandline" and (chosen.cluster or chosen.profile == "full"):
            nodes_die(work / "nodes", chosen.port + 100, RECORDS[chosen.profile], KILLS[chosen.profile])
    return 0


class Member:
    """A process that reads the topic in a share group."""

    def __init__(self, name: str, bootstrap: str, group: str, topic: str, *options: str) -> None:
        self.name = name
        command = [sys.executable, "-m", share_member.__name__, bootstrap, group, topic, *options]
        self.process = subprocess.Popen(command, cwd=pathlib.Path(__file__).parents[1], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, bufsize=1)
        assert self.process.stdout is not None
        self.lines: list[dict[str, list[int]]] = []
        self.reader = threading.Thread(target=self.read, daemon=True)
        self.reader.start()

    def read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            with contextlib.suppress(json.JSONDecodeError):
                self.lines.append({**json.loads(line), "at": time.monotonic(), "by": self.name})

    def values(self, what: str) -> list[int]:
        return [value for line in list(self.lines) for value in line.get(what, ())]

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()
        self.reader.join(5)

    def stop(self) -> None:
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.kill()
        self.reader.join(5)


@contextlib.contextmanager
def members(*them: Member) -> Iterator[tuple[Member, ...]]:
    try:
        yield them
    finally:
        for member in them:
            if member.process.poll() is None:
                member.stop()


def prepare(bootstrap: str, topic: str, group: str, replicas: int = 1) -> None:
    admin = AdminClient({"bootstrap.servers": bootstrap})
    admin.create_topics([NewTopic(topic, PARTITIONS, replicas)])[topic].result(PATIENCE_SECONDS)
    # By hand: most clients do not know that groups have configuration.
    config = wire.string("share.auto.offset.reset") + b"\0" + wire.string("earliest")
    resource = struct.pack(">b", GROUP_RESOURCE) + wire.string(group) + wire.array([config])
    host, port = bootstrap.split(",")[0].rsplit(":", 1)
    with socket.create_connection((host, int(port)), PATIENCE_SECONDS) as connection:
        answer = wire.exchange(connection, wire.frame(44, 0, wire.array([resource]) + b"\0"))
    (code,) = struct.unpack(">h", answer[12:14])
    if code:
        raise Failed(f"share.auto.offset.reset of a group is refused with {code}")


def produce(bootstrap: str, topic: str, first: int, count: int) -> list[int]:
    producer = Producer({"bootstrap.servers": bootstrap, "linger.ms": 5, "batch.num.messages": 10, "enable.idempotence": True})
    refused: list[str] = []
    for value in range(first, first + count):
        producer.produce(topic, b"%d" % value, on_delivery=lambda error, _: refused.append(str(error)) if error else None)
    if producer.flush(PATIENCE_SECONDS) or refused:
        raise Failed(f"records are not acknowledged: {refused[:3]}")
    return list(range(first, first + count))


def wait_until(what: str, them: tuple[Member, ...], holds) -> None:  # type: ignore[no-untyped-def]
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not holds():
        if time.monotonic() > deadline:
            told = {member.name: (len(member.values("got")), len(member.values("accepted"))) for member in them}
            raise Failed(f"not within {PATIENCE_SECONDS} s: {what}; got and accepted: {told}")
        time.sleep(0.02)


def settled(them: tuple[Member, ...]) -> set[int]:
    """What is accepted, or was asked to be: the answer may have been lost with a broker, and it is so all the same."""
    return accepted(them) | {value for member in them for value in member.values("asked")}


def accepted(them: tuple[Member, ...]) -> set[int]:
    return {value for member in them for value in member.values("accepted")}


def check(them: tuple[Member, ...], deliveries_max: int | None = None) -> None:
    """Nobody gets what was taken as accepted before; and nothing comes too often."""
    events = sorted((line for member in them for line in member.lines), key=lambda line: line["at"])
    done: dict[int, str] = {}
    deliveries: collections.Counter[int] = collections.Counter()
    for event in events:
        for value in event.get("got", ()):
            deliveries[value] += 1
            if value in done:
                raise Failed(f"{value} was accepted by {done[value]}, and is given to {event['by']} afterwards")
        done.update((value, event["by"]) for value in event.get("accepted", ()))
    if deliveries_max is not None and (often := [value for value, count in deliveries.items() if count > deliveries_max]):
        raise Failed(f"{often[:5]} are given out more than {deliveries_max} times")


def members_share_the_work(broker: Broker, count: int) -> None:
    topic, group = f"{TOPIC}-shared", "sharing"
    prepare(broker.bootstrap, topic, group)
    with members(*(Member(f"m{number}", broker.bootstrap, group, topic, "--most", "20") for number in range(4))) as them:
        wait_until("every member is there", them, lambda: all(member.values("joined") for member in them))
        # Whoever asks first may be given all that is there: the records come in parts, and everybody asks in between.
        part = count // SHARED_PARTS
        for first in range(0, part * SHARED_PARTS, part):
            sent = produce(broker.bootstrap, topic, first, part)
            wait_until("all is accepted", them, lambda sent=sent: accepted(them) >= set(sent))
        idle = [member.name for member in them if not member.values("got")]
        if len(idle) > 1:
            raise Failed(f"{idle} got nothing of {count} records")
    check(them, deliveries_max=1)


def verdicts(broker: Broker, _: int) -> None:
    """Every third record is released and comes again up to the limit, every fifth is rejected and does not."""
    topic, group = f"{TOPIC}-verdicts", "judging"
    prepare(broker.bootstrap, topic, group)
    sent = produce(broker.bootstrap, topic, 0, 90)
    with members(Member("judge", broker.bootstrap, group, topic, "--release", "3", "--reject", "5")) as them:
        plain = {value for value in sent if value % 5 and value % 3}
        wait_until("what is plain is accepted", them, lambda: accepted(them) >= plain)
        released = {value for value in sent if value % 5 and value % 3 == 0}
        wait_until("what is released comes up to the limit", them, lambda: all(them[0].values("got").count(value) == LIMIT for value in released))
        time.sleep(0.5)
    check(them, deliveries_max=LIMIT)
    rejected = [value for value in them[0].values("got") if value % 5 == 0]
    if len(rejected) != len(set(rejected)) or len(rejected) != 18:
        raise Failed(f"rejected records come {len(rejected)} times instead of 18: {rejected[:20]}")


def a_member_dies(broker: Broker, count: int) -> None:
    """kill -9 with records in hand: others get them, at the latest when the locks run out."""
    topic, group = f"{TOPIC}-dying", "dying"
    prepare(broker.bootstrap, topic, group)
    sent = produce(broker.bootstrap, topic, 0, count)
    victim = Member("victim", broker.bootstrap, group, topic, "--hold")
    with members(victim, Member("heir", broker.bootstrap, group, topic, "--after", "1")) as them:
        wait_until("the victim has something", them, lambda: victim.values("got"))
        victim.kill()
        wait_until("all is accepted", them, lambda: accepted(them) >= set(sent))
    check(them, deliveries_max=LIMIT)


def a_member_freezes(broker: Broker, count: int) -> None:
    """A member that says nothing any more, with its connection open: its locks run out. What it says later does not count."""
    topic, group = f"{TOPIC}-frozen", "freezing"
    prepare(broker.bootstrap, topic, group)
    sent = produce(broker.bootstrap, topic, 0, min(count, 300))
    frozen = Member("frozen", broker.bootstrap, group, topic, "--pause", "2.5")
    with members(frozen, Member("heir", broker.bootstrap, group, topic, "--after", "1")) as them:
        wait_until("it has something", them, lambda: frozen.values("got"))
        frozen.process.send_signal(signal.SIGSTOP)
        began = time.monotonic()
        wait_until("all is accepted", them, lambda: accepted(them) >= set(sent))
        took = time.monotonic() - began
        frozen.process.send_signal(signal.SIGCONT)
        time.sleep(1)
    if took < LOCK_SECONDS * 0.4:
        raise Failed(f"what the frozen member had was given out after {took:.1f} s, before its lock ran out")
    check(them, deliveries_max=LIMIT)


def the_broker_dies(broker: Broker, count: int, kills: int) -> None:
    topic, group = f"{TOPIC}-crashes", "surviving"
    prepare(broker.bootstrap, topic, group)
    with members(*(Member(f"s{number}", broker.bootstrap, group, topic, "--most", "5", "--pause", "0.02") for number in range(3))) as them:
        sent: list[int] = []
        for kill in range(kills):
            sent += produce(broker.bootstrap, topic, len(sent), count // kills)
            before = len(accepted(them))
            wait_until("work goes on", them, lambda: len(accepted(them)) > before + 20)
            broker.kill()
            broker.start()
        wait_until("all is accepted", them, lambda: settled(them) >= set(sent))
        time.sleep(2 * LOCK_SECONDS)
    check(them)
    lost = set(sent) - accepted(them)
    if len(lost) > kills * ASKED_MAX:
        raise Failed(f"{len(lost)} records were never taken as accepted: {sorted(lost)[:10]}")


def kafkas_tools(bootstrap: str, profile: str) -> None:
    topic, group = f"{TOPIC}-shared", "sharing"
    named = ("--group", group)
    tool(bootstrap, "share-groups", "--describe", *named, "--offsets", says=rf"{group}\s+{topic}\s+0\s+\d+\s+0")
    tool(bootstrap, "share-groups", "--reset-offsets", *named, "--topic", topic, "--to-earliest", "--execute", says=rf"{topic}\s+0\s+0")
    with members(Member("again", bootstrap, group, topic)) as them:
        wait_until("a group that is reset reads again", them, lambda: len(accepted(them)) >= RECORDS[profile])
        if profile == "full":
            tool(bootstrap, "share-groups", "--describe", *named, "--members", says=rf"{group}\s+\S+")
            tool(bootstrap, "share-groups", "--delete", *named, says="(?i)not empty|NonEmpty|NON_EMPTY")
    if profile == "full":
        tool(bootstrap, "share-groups", "--list", says=f"(^|\n){group}\n")
        tool(bootstrap, "share-groups", "--describe", *named, "--state", says=rf"{group}\s+\S+\s+\(\d+\)\s+Empty\s+0")
        tool(bootstrap, "groups", "--list", says=rf"{group}\s+Share\s+share")
        tool(bootstrap, "consumer-groups", "--describe", *named, says="GroupIdNotFound|not a consumer group")
        tool(bootstrap, "share-groups", "--delete-offsets", *named, "--topic", topic, says=rf"{topic}\s+Successful")
    tool(bootstrap, "share-groups", "--delete", *named, says="successful")


def nodes_die(directory: pathlib.Path, port: int, count: int, kills: int) -> None:
    """Three nodes: the leader of a partition is killed and comes back, again and again."""
    directory.mkdir(parents=True)
    topic, group = f"{TOPIC}-nodes", "moving"
    began = time.monotonic()
    with Cluster(directory, port, settings=SETTINGS) as nodes:
        nodes.start()
        prepare(nodes.bootstrap, topic, group, replicas=3)
        with members(*(Member(f"n{number}", nodes.bootstrap, group, topic, "--most", "5", "--pause", "0.02") for number in range(3))) as them:
            sent: list[int] = []
            for kill in range(kills):
                sent += produce(nodes.bootstrap, topic, len(sent), count // kills)
                before = len(accepted(them))
                wait_until("work goes on", them, lambda: len(accepted(them)) > before + 20)
                kill_leader(nodes, topic, kill % PARTITIONS)
            wait_until("all is accepted", them, lambda: settled(them) >= set(sent))
            time.sleep(2 * LOCK_SECONDS)
        check(them)
        nodes.check()
    print(f"nodes_die: ok ({time.monotonic() - began:.1f}s)", flush=True)


def kill_leader(nodes: Cluster, topic: str, partition: int) -> None:
    leader, _, _ = nodes.partitions(topic).get(partition, (1, [], []))
    node = nodes.nodes[max(leader, 1)]
    node.kill()
    time.sleep(1)
    node.start()


if __name__ == "__main__":
    try:
        sys.exit(main())
    except Failed as problem:
        sys.exit(f"FAILED: {problem}")
