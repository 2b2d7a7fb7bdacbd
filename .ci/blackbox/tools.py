"""Kafka's own command line tools, pointed at the broker: topics, configs, offsets, delete-records and the tools that describe.

Each step says what has to be in the printed text; the changes are checked through another client, and offsets by time through
three clients beside the tool.
"""

import json
import pathlib
import re
import subprocess
import sys
import time

import kafka
from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient

from . import cluster
from .cluster import Failed
from .kafka_storage import topic_config

TOOL_SECONDS = 60
TOPIC = "tools"
PARTITIONS = 3
BASE_MS = 1_700_000_000_000
RECORDS = 100
STEP_MS = 10


def main() -> int:
    chosen = cluster.arguments(__doc__).parse_args()
    if cluster.kafka_tool() is None:
        print("left out: Kafka's tools: the peer Kafka is not beside the checkout")
        return 0
    with cluster.workspace(chosen.work) as work, cluster.started(chosen.broker, work / "broker", cluster.free_port(chosen.port)) as broker:
        problems: list[str] = []
        for step in (topics, configs, offsets, delete_records, descriptions, deletion):
            try:
                step(broker.bootstrap, work)
                print(f"{step.__name__}: ok", flush=True)
            except Failed as problem:
                problems.append(f"{step.__name__}: {problem}")
        if problems:
            raise Failed("\n".join(problems))
    return 0


def tool(bootstrap: str, name: str, *options: str, says: str = "", fails: bool = False) -> str:
    """Runs a tool; what it prints must match `says`, and it must end well unless it `fails`."""
    prefix = cluster.kafka_tool()
    assert prefix is not None
    # Tools with sub-commands take them first or last, as they please.
    words = [options[0], "--bootstrap-server", bootstrap, *options[1:]] if name == "cluster" else ["--bootstrap-server", bootstrap, *options]
    done = subprocess.run([*prefix, name, *words], capture_output=True, text=True, timeout=TOOL_SECONDS, check=False)
    printed = done.stdout + done.stderr
    if (done.returncode != 0) != fails or not re.search(says, printed, re.DOTALL):
        raise Failed(f"{name} {' '.join(options)}: code {done.returncode}, expected {says!r}, printed:\n{printed[-1500:]}")
    return printed


def topics(bootstrap: str, _: pathlib.Path) -> None:
    tool(bootstrap, "topics", "--create", "--topic", TOPIC, "--partitions", "2", "--replication-factor", "1", "--config", "retention.ms=-1", says=f"Created topic {TOPIC}")
    tool(bootstrap, "topics", "--create", "--topic", TOPIC, fails=True, says="TopicExistsException")
    tool(bootstrap, "topics", "--create", "--topic", "refused", "--config", "no.such.key=1", fails=True, says="(?i)unknown topic config|no.such.key")
    tool(bootstrap, "topics", "--create", "--topic", "refused", "--replication-factor", "2", fails=True, says="(?i)replication factor")
    tool(bootstrap, "topics", "--list", says=f"(^|\n){TOPIC}\n")
    tool(bootstrap, "topics", "--alter", "--topic", TOPIC, "--partitions", str(PARTITIONS))
    tool(bootstrap, "topics", "--alter", "--topic", TOPIC, "--partitions", "1", fails=True, says="(?i)partition")
    tool(bootstrap, "topics", "--describe", "--topic", TOPIC, says=rf"PartitionCount: {PARTITIONS}\s+ReplicationFactor: 1\s+Configs:.*retention.ms=-1.*Partition: 2\s+Leader: \d+\s+Replicas: \d+\s+Isr: \d+")


def configs(bootstrap: str, _: pathlib.Path) -> None:
    named = ("--entity-type", "topics", "--entity-name", TOPIC)
    tool(bootstrap, "configs", *named, "--alter", "--add-config", "segment.bytes=2097152,max.message.bytes=2000000", says="Completed updating config")
    tool(bootstrap, "configs", *named, "--describe", says="segment.bytes=2097152")
    tool(bootstrap, "configs", *named, "--alter", "--delete-config", "max.message.bytes", says="Completed updating config")
    tool(bootstrap, "configs", *named, "--alter", "--add-config", "segment.bytes=never", fails=True, says="(?i)segment.bytes")
    found = topic_config(AdminClient({"bootstrap.servers": bootstrap}), TOPIC)
    if found != {"retention.ms": "-1", "segment.bytes": "2097152"}:
        raise Failed(f"the topic's configs are {found}")


def offsets(bootstrap: str, _: pathlib.Path) -> None:
    """The first record at or after a time, as four clients see it."""
    producer = Producer({"bootstrap.servers": bootstrap})
    for number in range(RECORDS):
        producer.produce(TOPIC, b"%d" % number, partition=0, timestamp=BASE_MS + number * STEP_MS)
    if producer.flush(TOOL_SECONDS):
        raise Failed("not all records were acknowledged")
    for asked, wanted in ((BASE_MS, 0), (BASE_MS + 1, 1), (BASE_MS + 50 * STEP_MS, 50), (BASE_MS + 505, 51), (BASE_MS + RECORDS * STEP_MS, None)):
        found = {"confluent-kafka": by_confluent(bootstrap, asked), "kafka-python": by_kafka_python(bootstrap, asked), "kcat": by_kcat(bootstrap, asked)}
        wrong = {who: offset for who, offset in found.items() if offset != wanted}
        if wrong:
            raise Failed(f"the offset at {asked} is {wanted}, but {wrong}")
    tool(bootstrap, "get-offsets", "--topic", TOPIC, says=f"{TOPIC}:0:{RECORDS}\n{TOPIC}:1:0\n{TOPIC}:2:0")
    tool(bootstrap, "get-offsets", "--topic", TOPIC, "--time", "earliest", says=f"{TOPIC}:0:0\n")
    tool(bootstrap, "get-offsets", "--topic", TOPIC, "--time", "max-timestamp", says=f"{TOPIC}:0:{RECORDS - 1}\n")
    tool(bootstrap, "get-offsets", "--topic-partitions", f"{TOPIC}:0", "--time", str(BASE_MS + 505), says=f"{TOPIC}:0:51")


def by_confluent(bootstrap: str, asked: int) -> int | None:
    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": "assigned-only"})
    (found,) = consumer.offsets_for_times([TopicPartition(TOPIC, 0, asked)], timeout=TOOL_SECONDS)
    consumer.close()
    return found.offset if found.offset >= 0 else None


def by_kafka_python(bootstrap: str, asked: int) -> int | None:
    consumer = kafka.KafkaConsumer(bootstrap_servers=bootstrap)
    partition = kafka.TopicPartition(TOPIC, 0)
    found = consumer.offsets_for_times({partition: asked})[partition]
    consumer.close()
    return None if found is None or found.offset < 0 else found.offset


def by_kcat(bootstrap: str, asked: int) -> int | None:
    done = subprocess.run(["kcat", "-b", bootstrap, "-Q", "-t", f"{TOPIC}:0:{asked}"], capture_output=True, text=True, timeout=TOOL_SECONDS, check=True)
    offset = int(done.stdout.split()[-1])
    return offset if offset >= 0 else None


def delete_records(bootstrap: str, work: pathlib.Path) -> None:
    wanted = work / "delete-records.json"
    wanted.write_text(json.dumps({"version": 1, "partitions": [{"topic": TOPIC, "partition": 0, "offset": 30}]}))
    tool(bootstrap, "delete-records", "--offset-json-file", str(wanted), says="low_watermark: 30")
    tool(bootstrap, "get-offsets", "--topic", TOPIC, "--time", "earliest", says=f"{TOPIC}:0:30\n")
    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": "assigned-only", "auto.offset.reset": "earliest"})
    consumer.assign([TopicPartition(TOPIC, 0, 10)])
    message = consumer.poll(TOOL_SECONDS)
    consumer.close()
    if message is None or message.offset() != 30:
        raise Failed(f"a reader of offset 10 is not sent on to 30: {message and (message.error() or message.offset())}")


def descriptions(bootstrap: str, _: pathlib.Path) -> None:
    tool(bootstrap, "broker-api-versions", says=r"Produce\(0\): .*Fetch\(1\)")
    tool(bootstrap, "cluster", "cluster-id", says="Cluster ID: [A-Za-z0-9_-]{22}")
    tool(bootstrap, "log-dirs", "--describe", "--topic-list", TOPIC, says=f'"partition":"{TOPIC}-0"')
    tool(bootstrap, "metadata-quorum", "describe", "--status", says=r"HighWatermark: +\d+.*CurrentVoters: +\[.*\d")
    tool(bootstrap, "features", "describe", says="metadata.version.*FinalizedVersionLevel: 4")


def deletion(bootstrap: str, _: pathlib.Path) -> None:
    tool(bootstrap, "topics", "--delete", "--topic", TOPIC)
    deadline = time.monotonic() + TOOL_SECONDS
    client = AdminClient({"bootstrap.servers": bootstrap})
    while TOPIC in client.list_topics(timeout=TOOL_SECONDS).topics:
        if time.monotonic() > deadline:
            raise Failed("the topic is still listed")
        time.sleep(0.1)
    tool(bootstrap, "topics", "--describe", "--topic", TOPIC, fails=True, says="does not exist")


if __name__ == "__main__":
    sys.exit(main())
