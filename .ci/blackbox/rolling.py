"""All three brokers of a cluster are restarted one after the other under load, as an upgrade does; no client with default settings sees an error.

librdkafka: idempotent producers and a consumer whose retries are the defaults; a delivery or a read that ends in an error fails the proof. Java: Kafka's
own verifiable producer, where the peer script is beside the checkout; every send of it has to succeed. The longest time that a record waited is told.
"""

import json
import pathlib
import subprocess
import sys
import threading
import time

from confluent_kafka import Consumer, Producer, TopicPartition

from . import admin, cluster
from .cluster import Failed, kafka_tool
from .nodes import NODES, Cluster

TOPIC, JAVA_TOPIC = "rolling", "rolling-java"
PARTITIONS = 12
ROUNDS = {"gate": 1, "full": 10}
RATE = 500
#: Of the Java producer: paced, so that it lasts as long as the restarts do.
JAVA_RATE = 200
SETTLE_SECONDS = 1.0
FLUSH_SECONDS = 60


class Clients:
    """A producer and a consumer of librdkafka on threads of their own."""

    def __init__(self, bootstrap: str) -> None:
        self.producer = Producer({"bootstrap.servers": bootstrap, "enable.idempotence": True, "log_level": 0})
        self.consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": "rolling", "auto.offset.reset": "earliest", "log_level": 0})
        self.consumer.assign([TopicPartition(TOPIC, partition, 0) for partition in range(PARTITIONS)])
        self.over = threading.Event()
        self.problems: list[str] = []
        self.waits: list[float] = []
        self.sent = 0
        self.read: set[int] = set()
        self.threads = [threading.Thread(target=action, daemon=True) for action in (self.produce, self.consume)]
        for thread in self.threads:
            thread.start()

    def produce(self) -> None:
        due = time.monotonic()
        while not self.over.is_set():
            self.producer.produce(TOPIC, str(self.sent), partition=self.sent % PARTITIONS, on_delivery=self.delivered(time.monotonic()))
            self.sent += 1
            due += 1 / RATE
            self.producer.poll(max(0, due - time.monotonic()))
        if left := self.producer.flush(FLUSH_SECONDS):
            self.problems.append(f"{left} records were not delivered")

    def delivered(self, began: float):
        def on_delivery(error, _message) -> None:
            if error is not None:
                self.problems.append(f"a delivery failed: {error}")
            self.waits.append(time.monotonic() - began)

        return on_delivery

    def consume(self) -> None:
        deadline = None
        while deadline is None or (len(self.read) < self.sent and time.monotonic() < deadline):
            for message in self.consumer.consume(1000, 0.1):
                if (error := message.error()) is not None:
                    self.problems.append(f"a read failed: {error}")
                else:
                    self.read.add(int(message.value() or b"-1"))
            if deadline is None and self.over.is_set():
                deadline = time.monotonic() + FLUSH_SECONDS
        self.consumer.close()

    def finish(self) -> None:
        self.over.set()
        for thread in self.threads:
            thread.join(2 * FLUSH_SECONDS)
        if len(self.read) != self.sent:
            self.problems.append(f"{self.sent} records were sent, {len(self.read)} read")


class JavaProducer:
    """Kafka's verifiable producer. It turns retries off by itself; here it has the client's default."""

    def __init__(self, bootstrap: str, work: pathlib.Path) -> None:
        tool = kafka_tool()
        assert tool is not None
        config = work / "producer.properties"
        config.write_text("retries=2147483647\n")
        words = [*tool, "verifiable-producer", "--bootstrap-server", bootstrap, "--topic", JAVA_TOPIC, "--throughput", str(JAVA_RATE), "--acks", "-1"]
        words += ["--command-config", str(config)]
        self.process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        self.counts = {"producer_send_success": 0, "producer_send_error": 0}
        self.errors: list[str] = []
        self.thread = threading.Thread(target=self.follow, daemon=True)
        self.thread.start()

    def follow(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if not line.startswith("{"):
                continue
            said = json.loads(line)
            if said["name"] in self.counts:
                self.counts[said["name"]] += 1
            if said["name"] == "producer_send_error":
                self.errors.append(line.strip())

    def wait_for(self, records: int) -> None:
        deadline = time.monotonic() + FLUSH_SECONDS
        while self.counts["producer_send_success"] < records:
            if time.monotonic() > deadline:
                raise Failed(f"the Java producer got {self.counts} in {FLUSH_SECONDS} s")
            time.sleep(0.1)

    def finish(self) -> list[str]:
        self.process.terminate()
        self.process.wait(FLUSH_SECONDS)
        self.thread.join(FLUSH_SECONDS)
        return self.errors[:5]


def main() -> int:
    parser = cluster.arguments(__doc__)
    parser.add_argument("--rounds", type=int, help="how often all three are restarted")
    chosen = parser.parse_args()
    if chosen.broker != "strandline":
        print("left out: the cluster is started here")
        return 0
    rounds = chosen.rounds or ROUNDS[chosen.profile]
    with cluster.workspace(chosen.work) as work, Cluster(work, cluster.free_port(chosen.port)) as nodes:
        nodes.start()
        admin.create_topics(nodes.bootstrap, [TOPIC, JAVA_TOPIC], PARTITIONS, {"min.insync.replicas": "2"}, NODES)
        nodes.wait_until_healthy()
        java = JavaProducer(nodes.bootstrap, work) if kafka_tool() else None
        if java:
            java.wait_for(100)
        else:
            print("left out: the Java producer: the peer Kafka is not beside the checkout")
        clients = Clients(nodes.bootstrap)
        stops = [restarted(nodes, identity) for _ in range(rounds) for identity in nodes.nodes]
        clients.finish()
        problems = clients.problems + (java.finish() if java else [])
        nodes.check()
        nodes.stop()
        waits = sorted(clients.waits)
        print(f"{len(stops)} restarts; a stop took {max(stops):.2f} s at most; {clients.sent} records by librdkafka, {java.counts if java else 'none'} by Java")
        print(f"a record waited {waits[len(waits) // 2] * 1000:.0f} ms (p50), {waits[len(waits) * 99 // 100] * 1000:.0f} ms (p99), {waits[-1] * 1000:.0f} ms (most)")
        if problems:
            raise Failed(f"{len(problems)} problems\n" + "\n".join(problems[:10]))
    return 0


def restarted(nodes: Cluster, identity: int) -> float:
    """Stops and starts a broker, and waits until all is whole; answers with how long the stop took."""
    time.sleep(SETTLE_SECONDS)
    began = time.monotonic()
    nodes.nodes[identity].stop()
    stop = time.monotonic() - began
    nodes.nodes[identity].start()
    whole = nodes.wait_until_healthy()
    print(f"node {identity}: stopped in {stop:.2f} s, whole again {whole:.2f} s after it answered", flush=True)
    return stop


if __name__ == "__main__":
    sys.exit(main())
