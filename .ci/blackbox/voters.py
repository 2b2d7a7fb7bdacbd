"""The voters of the quorum change while the cluster works (KIP-853): one standalone controller becomes three, its leader dies by kill -9, one voter is
removed and comes back with an empty directory. What was acknowledged meanwhile is there in the end.

Where the peer script is beside the checkout, Kafka's own `metadata-quorum` sees the same voters; with the full profile it removes and adds one, too, and the
round of kill and replacement is repeated.
"""

import json
import shutil
import subprocess
import sys
import threading
import time

from confluent_kafka import Consumer, Producer, TopicPartition

from . import admin, cluster
from .cluster import Failed, kafka_tool, strandline_binary
from .nodes import NODES, Cluster, Node

TOPIC = "voters"
PARTITIONS = 3
ROUNDS = {"gate": 1, "full": 5}
CHANGE_SECONDS = 30
TOOL_SECONDS = 60
RATE = 200


class Grown(Cluster):
    """A cluster whose nodes find the quorum by bootstrap servers; the voters stand in the metadata log."""

    def quorum_keys(self) -> dict[str, str]:
        servers = ",".join(f"{self.host_of(node)}:{self.port_of(node) + 1}" for node in range(1, NODES + 1))
        return {"controller.quorum.bootstrap.servers": servers}

    def format(self, node: Node, option: str) -> None:
        words = [strandline_binary(), "format", "--config", str(node.file), "--data", str(node.directory), option]
        subprocess.run(words, check=True, capture_output=True, timeout=CHANGE_SECONDS)

    def quorum(self) -> dict[str, object] | None:
        said = self.command("cluster", "quorum", "--format", "json")
        return json.loads(said.stdout) if said.returncode == 0 else None

    def replicas(self, role: str) -> set[int]:
        """Numbers of the voters, the leader among them, or of the observers."""
        quorum = self.quorum()
        if quorum is None:
            return set()
        return {one["id"] for one in quorum["replicas"] if (one["role"] == "observer") == (role == "observer")}

    def wait_for(self, role: str, wanted: set[int]) -> None:
        deadline = time.monotonic() + CHANGE_SECONDS
        while (found := self.replicas(role)) != wanted:
            if time.monotonic() > deadline:
                raise Failed(f"{role}s are {sorted(found)} instead of {sorted(wanted)} after {CHANGE_SECONDS} s: {self.quorum()}")
            time.sleep(0.1)

    def change(self, *words: str) -> None:
        """A change is refused while another one is under way, or the newcomer has not caught up: then it is asked for again."""
        deadline = time.monotonic() + CHANGE_SECONDS
        while (said := self.command("cluster", "quorum", *words)).returncode != 0:
            if time.monotonic() > deadline:
                raise Failed(f"{' '.join(words)}: {said.stderr}")
            time.sleep(0.2)

    def add(self, node: int) -> None:
        listener = f"CONTROLLER://{self.host_of(node)}:{self.port_of(node) + 1}"
        self.change("add-controller", "--id", str(node), "--listener", listener)

    def remove(self, node: int) -> None:
        self.change("remove-controller", "--id", str(node))

    def refuses(self, reason: str, *words: str) -> None:
        said = self.command("cluster", "quorum", *words)
        if said.returncode != 1 or reason not in said.stderr:
            raise Failed(f"{' '.join(words)}: code {said.returncode}, expected {reason!r} in: {said.stderr}")


class Load:
    """An idempotent producer whose retries are the defaults."""

    def __init__(self, bootstrap: str) -> None:
        self.producer = Producer({"bootstrap.servers": bootstrap, "enable.idempotence": True, "log_level": 0})
        self.over = threading.Event()
        self.acknowledged: set[int] = set()
        self.problems: list[str] = []
        self.thread = threading.Thread(target=self.produce, daemon=True)
        self.thread.start()

    def produce(self) -> None:
        number = 0
        while not self.over.is_set():
            self.producer.produce(TOPIC, str(number), partition=number % PARTITIONS, on_delivery=self.delivered(number))
            number += 1
            self.producer.poll(1 / RATE)
        self.producer.flush(CHANGE_SECONDS)

    def delivered(self, number: int):
        def on_delivery(error, _message) -> None:
            if error is None:
                self.acknowledged.add(number)
            else:
                self.problems.append(str(error))

        return on_delivery

    def finish(self) -> None:
        self.over.set()
        self.thread.join(2 * CHANGE_SECONDS)


def main() -> int:
    parser = cluster.arguments(__doc__)
    parser.add_argument("--rounds", type=int, help="how often the leader is killed and a voter replaced")
    chosen = parser.parse_args()
    if chosen.broker != "strandline":
        print("left out: the cluster is started here")
        return 0
    rounds = chosen.rounds or ROUNDS[chosen.profile]
    with cluster.workspace(chosen.work) as work, Grown(work, cluster.free_port(chosen.port)) as nodes:
        grow(nodes)
        admin.create_topics(nodes.bootstrap, [TOPIC], PARTITIONS, {"min.insync.replicas": "2"}, NODES)
        nodes.wait_until_healthy()
        load = Load(nodes.bootstrap)
        for number in range(rounds):
            killed = kill_leader(nodes)
            replaced = replace(nodes, number)
            print(f"round {number + 1}: leader {killed} killed and back, voter {replaced} replaced", flush=True)
        if kafka_tool():
            kafkas_tool(nodes, chosen.profile)
        else:
            print("left out: Kafka's metadata-quorum: the peer Kafka is not beside the checkout")
        load.finish()
        read = read_all(nodes.bootstrap)
        missing = load.acknowledged - read
        nodes.check()
        nodes.stop()
        print(f"{len(load.acknowledged)} records acknowledged, {len(read)} read")
        if missing or load.problems:
            raise Failed(f"{len(missing)} acknowledged records are missing; {load.problems[:3]}")
    return 0


def grow(nodes: Grown) -> None:
    first, others = nodes.nodes[1], [nodes.nodes[node] for node in range(2, NODES + 1)]
    nodes.format(first, "--standalone")
    first.start()
    # The others are formatted as they start, for whatever quorum there is.
    for node in others:
        node.start()
    nodes.wait_for("observer", {2, 3})
    nodes.refuses("votes nowhere", "remove-controller", "--id", "2")
    for node in others:
        nodes.add(node.identity)
    nodes.wait_for("voter", {1, 2, 3})
    again = ("add-controller", "--id", "2", "--directory-id", directory_of(nodes, 2), "--listener", "CONTROLLER://127.0.0.1:1")
    nodes.refuses("DUPLICATE_VOTER", *again)
    print("one controller became three", flush=True)


def directory_of(nodes: Grown, identity: int) -> str:
    quorum = nodes.quorum()
    assert quorum is not None
    return next(one["directory"] for one in quorum["replicas"] if one["id"] == identity)


def kill_leader(nodes: Grown) -> int:
    leader = nodes.controller()
    nodes.nodes[leader].kill()
    other = nodes.controller()
    if other == leader:
        raise Failed(f"node {leader} leads the quorum although it is dead")
    nodes.nodes[leader].start()
    nodes.wait_until_healthy()
    return leader


def replace(nodes: Grown, number: int) -> int:
    """One that does not lead goes, and comes back with an empty directory; every other time it is not removed before."""
    victim = next(node for node in nodes.nodes if node != nodes.controller())
    node = nodes.nodes[victim]
    node.stop()
    rest = set(nodes.nodes) - {victim}
    if number % 2 == 0:
        nodes.remove(victim)
        nodes.wait_for("voter", rest)
    shutil.rmtree(node.directory)
    node.start()
    nodes.wait_for("observer", {victim})
    if number % 2 == 1:
        nodes.remove(victim)
    nodes.add(victim)
    nodes.wait_for("voter", set(nodes.nodes))
    nodes.wait_until_healthy()
    return victim


def kafkas_tool(nodes: Grown, profile: str) -> None:
    said = metadata_quorum(nodes, "describe", "--replication", "--human-readable")
    roles = [line.split() for line in said.splitlines() if line[:1].isdigit()]
    voters = {int(words[0]) for words in roles if words[-1] in ("Leader", "Follower")}
    if voters != set(nodes.nodes):
        raise Failed(f"Kafka's tool sees other voters:\n{said}")
    if profile == "full":
        controllers = ",".join(f"{node.host}:{node.port + 1}" for node in nodes.nodes.values())
        status = metadata_quorum(nodes, "describe", "--status", address=("--bootstrap-controller", controllers))
        if "CurrentVoters" not in status:
            raise Failed(f"Kafka's tool does not get a status of controllers:\n{status}")
        victim = next(node for node in nodes.nodes if node != nodes.controller())
        metadata_quorum(nodes, "remove-controller", "--controller-id", str(victim), "--controller-directory-id", directory_of(nodes, victim))
        nodes.wait_for("voter", set(nodes.nodes) - {victim})
        properties = nodes.work / "controller.properties"
        lines = nodes.nodes[victim].settings() | {"log.dirs": str(nodes.nodes[victim].directory), "controller.listener.names": "CONTROLLER"}
        lines["listener.security.protocol.map"] = "CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT"
        properties.write_text("".join(f"{key}={value}\n" for key, value in lines.items()))
        metadata_quorum(nodes, "add-controller", before=("--command-config", str(properties)))
        nodes.wait_for("voter", set(nodes.nodes))
    print("Kafka's metadata-quorum agrees", flush=True)


def metadata_quorum(nodes: Grown, *words: str, address: tuple[str, str] | None = None, before: tuple[str, ...] = ()) -> str:
    tool = kafka_tool()
    assert tool is not None
    whole = [*tool, "metadata-quorum", *(address or ("--bootstrap-server", nodes.bootstrap)), *before, *words]
    done = subprocess.run(whole, capture_output=True, text=True, timeout=TOOL_SECONDS, check=False)
    if done.returncode != 0:
        raise Failed(f"{' '.join(words)}: {done.stdout[-1000:]}{done.stderr[-2000:]}")
    return done.stdout


def read_all(bootstrap: str) -> set[int]:
    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": "voters", "log_level": 0})
    ends = {partition: consumer.get_watermark_offsets(TopicPartition(TOPIC, partition), CHANGE_SECONDS)[1] for partition in range(PARTITIONS)}
    consumer.assign([TopicPartition(TOPIC, partition, 0) for partition in range(PARTITIONS)])
    read: set[int] = set()
    count, deadline = 0, time.monotonic() + CHANGE_SECONDS
    while count < sum(ends.values()) and time.monotonic() < deadline:
        for message in consumer.consume(1000, 0.5):
            if message.error() is None:
                count += 1
                read.add(int(message.value() or b"-1"))
    consumer.close()
    return read


if __name__ == "__main__":
    sys.exit(main())
