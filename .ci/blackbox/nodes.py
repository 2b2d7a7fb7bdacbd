"""Three brokers that are one cluster: processes with a configuration file each, on loopback or in network namespaces, on directories or on disks.

`Cluster` asks through clients who leads, who is in sync and who controls; nothing here knows what happens inside of a broker.
"""

import contextlib
import json
import pathlib
import re
import subprocess
import time
import urllib.request
import uuid

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from . import power
from .cluster import Broker, Failed, strandline_binary
from .network import Network

NODES = 3
ASK_SECONDS = 10
HEALTHY_SECONDS = 90
#: As many bytes as fit on a node's disk; small enough that filling it takes a moment.
DISK_BYTES = 6 << 30
#: Ports of a node on loopback: clients, controllers, HTTP. In a namespace every node has the first one's.
PORTS_A_NODE = 3


class Node(Broker):
    """One of the brokers; each is controller, too."""

    kind = "strandline"

    def __init__(self, cluster: "Cluster", identity: int) -> None:
        home = cluster.work / f"node-{identity}"
        super().__init__((cluster.disks[identity].mount_point if cluster.disks else home) / "data", cluster.port_of(identity))
        self.cluster, self.identity = cluster, identity
        #: Data directories besides the first.
        self.further: list[pathlib.Path] = []
        self.host = cluster.host_of(identity)
        self.bootstrap = f"{self.host}:{self.port}"
        self.http_port = self.port + 2
        self.log_path = cluster.work / f"node-{identity}.log"
        self.file = cluster.work / f"node-{identity}.toml"
        self.file.write_text("".join(f'{key} = "{value}"\n' for key, value in self.settings().items()))

    def settings(self) -> dict[str, str]:
        own = {
            "node.id": str(self.identity),
            "process.roles": "broker,controller",
            "cluster.id": self.cluster.identity,
            "listeners": f"PLAINTEXT://{self.bootstrap},CONTROLLER://{self.host}:{self.port + 1}",
        }
        return own | self.cluster.quorum_keys() | self.cluster.settings

    def command(self) -> list[str]:
        http = f"{self.host}:{self.http_port}"
        data = [word for directory in (self.directory, *self.further) for word in ("--data", str(directory))]
        serve = [strandline_binary(), "serve", "--config", str(self.file), *data, "--http", http]
        return [*(self.cluster.network.wrap(self.identity) if self.cluster.network else []), *serve]

    def ended_by_itself(self) -> bool:
        return self.process is not None and self.process.poll() is not None

    def forget_process(self) -> None:
        """It ended by itself, and that was expected."""
        self.process = None


class Cluster:
    """The nodes and what they stand on."""

    def __init__(self, work: pathlib.Path, port: int, network: Network | None = None, on_disks: bool = False, settings: dict[str, str] | None = None) -> None:
        self.work, self.port, self.network = work, port, network
        self.settings = settings or {}
        self.identity = uuid.uuid4().hex[:22]
        self.closing = contextlib.ExitStack()
        self.disks: dict[int, power.Disk] = {}
        if on_disks:
            self.disks = {node: self.closing.enter_context(power.Disk(work, f"disk-{node}", DISK_BYTES)) for node in range(1, NODES + 1)}
        self.nodes = {identity: Node(self, identity) for identity in range(1, NODES + 1)}
        self.bootstrap = ",".join(node.bootstrap for node in self.nodes.values())

    def host_of(self, node: int) -> str:
        return self.network.address(node) if self.network else "127.0.0.1"

    def port_of(self, node: int) -> int:
        return self.port if self.network else self.port + PORTS_A_NODE * (node - 1)

    def quorum_keys(self) -> dict[str, str]:
        return {"controller.quorum.voters": self.voters()}

    def voters(self) -> str:
        return ",".join(f"{node}@{self.host_of(node)}:{self.port_of(node) + 1}" for node in range(1, NODES + 1))

    def __enter__(self) -> "Cluster":
        return self

    def __exit__(self, *_: object) -> None:
        for node in self.nodes.values():
            node.kill()
        self.closing.close()

    def start(self) -> None:
        for node in self.nodes.values():
            node.start(wait=False)
        for node in self.nodes.values():
            node.wait_until_ready()
        self.wait_until_healthy()

    def stop(self) -> None:
        """All are asked at once, as an operator would stop a cluster."""
        for node in self.nodes.values():
            node.running().terminate()
        for node in self.nodes.values():
            node.wait_until_stopped()

    def check(self) -> None:
        for node in self.nodes.values():
            node.check_running()
            node.check_log()

    def admin(self) -> AdminClient:
        return AdminClient({"bootstrap.servers": self.bootstrap, "log_level": 0, "reconnect.backoff.max.ms": 200})

    def partitions(self, topic: str) -> dict[int, tuple[int, list[int], list[int]]]:
        """Leader, replicas and those in sync, by partition; empty while nobody says."""
        try:
            shown = self.admin().list_topics(topic, timeout=ASK_SECONDS).topics[topic].partitions
        except KafkaException:
            return {}
        return {index: (one.leader, list(one.replicas), list(one.isrs)) for index, one in shown.items()}

    def command(self, *words: str, seconds: float = ASK_SECONDS) -> subprocess.CompletedProcess[str]:
        whole = [strandline_binary(), *words, "--bootstrap", self.bootstrap]
        try:
            return subprocess.run(whole, capture_output=True, text=True, timeout=seconds, check=False)
        except subprocess.TimeoutExpired:
            return subprocess.CompletedProcess(whole, 1, "", f"no answer in {seconds} s")

    def controller(self) -> int:
        """Who leads the quorum."""
        deadline = time.monotonic() + HEALTHY_SECONDS
        while time.monotonic() < deadline:
            said = self.command("cluster", "quorum", "--format", "json")
            if said.returncode == 0 and (leader := json.loads(said.stdout).get("leader", -1)) in self.nodes:
                return int(leader)
            time.sleep(0.1)
        raise Failed(f"nobody leads the quorum after {HEALTHY_SECONDS} s")

    def wait_until_healthy(self, seconds: float = HEALTHY_SECONDS) -> float:
        """Waits until every partition has a leader and all replicas in sync; answers with the seconds that took."""
        began = time.monotonic()
        while True:
            said = self.command("cluster", "health")
            if said.returncode == 0 and f"{NODES} brokers" in said.stdout:
                return time.monotonic() - began
            for node in self.nodes.values():
                node.check_running()
            if time.monotonic() - began > seconds:
                listed = self.command("partition", "list", "--unhealthy").stdout[-2000:]
                raise Failed(f"not healthy after {seconds:.0f} s: {said.stdout}{said.stderr}\n{listed}")
            time.sleep(0.2)

    def metric(self, node: int, name: str) -> float | None:
        """The sum of a metric's samples, or None if the node does not say."""
        one = self.nodes[node]
        try:
            with urllib.request.urlopen(f"http://{one.host}:{one.http_port}/metrics", timeout=ASK_SECONDS) as answer:
                text = answer.read().decode()
        except OSError:
            return None
        found = re.findall(rf"^{name}(?:{{[^}}]*}})? (\S+)$", text, re.MULTILINE)
        return sum(map(float, found)) if found else None
