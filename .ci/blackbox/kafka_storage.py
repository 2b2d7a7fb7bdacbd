"""The log directory is Kafka's, both ways, judged by Kafka's own tools and by Kafka itself.

`dump`: Kafka's dump-log reads every segment, index, snapshot and the metadata log that the broker wrote, without complaint, and counts
the records that were acknowledged. `to-kafka`: Kafka opens a copy of the directory, shows every topic, config and record, writes on, and the
broker opens what Kafka left. `from-kafka`: a directory that Kafka wrote, stopped cleanly or killed, opens in the broker in the same way.
Groups go along: committed offsets with their metadata, of both protocols and of no members at all, and members that come back go on there.
So do transactions, also those that are open at the switch (the next owner listens at the same port, and their producer goes on), and
share groups.
"""

import concurrent.futures
import contextlib
import pathlib
import random
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, ConfigResource, ConfigSource, ResourceType

from . import admin, cluster, kafka_groups, kafka_transactions
from .cluster import Broker, Failed, Kafka, Strandline
from .load import consumer_of, passing
from .records import CODECS, Record, logical_records

SETTINGS_SECONDS = 30
READ_SECONDS = 60
#: Many batches a segment, so that the indexes have entries.
BATCH_BYTES = 16_384
COMPLAINTS = re.compile(r"Exception|Found|Mismatch|corrupt|isvalid: false|invalid|\bERROR\b|\bError\b|out of order|skipping", re.IGNORECASE)
#: Lines of dump-log that hold one of those words and are no complaint.
NO_COMPLAINT = re.compile(r"passed the sanity check|payload: ")


Contents = dict[tuple[str, int], list[Record]]
Configs = dict[str, dict[str, str]]
#: What goes into a partition: lists of records, each with its codec.
Filling = list[tuple[str, list[Record]]]


def every_codec(partition: int) -> Filling:
    return [(codec, logical_records(codec, 65_536)) for codec in CODECS[partition % 2 :]]


def plain(partition: int) -> Filling:
    rng = random.Random(f"plain {partition}")
    return [("none", [Record(b"key-%d" % (number % 50), rng.randbytes(600)) for number in range(6_000)])]


def few(partition: int) -> Filling:
    return [("lz4", [Record(b"key-%d" % number, b"value of %d" % partition) for number in range(40)])]


def nothing(_: int) -> Filling:
    return []


#: Small segments so that there are several; the configs are those whose loss would change what a topic keeps or takes.
PLANS = (
    ("codecs", 2, {"segment.bytes": "1048576", "retention.ms": "-1"}, every_codec),
    ("plain", 1, {"segment.bytes": "1048576"}, plain),
    ("configured", 3, {"retention.ms": "864000000", "retention.bytes": "1073741824", "max.message.bytes": "2000000", "min.insync.replicas": "1"}, few),
    ("defaults", 1, {}, few),
    ("empty", 5, {}, nothing),
)

#: Topics of coordinators, what decodes their records, and what is to be found there.
COORDINATORS = (
    ("__consumer_offsets", "--offsets-decoder", kafka_transactions.OFFSETS),
    ("__transaction_state", "--transaction-log-decoder", "continued"),
    ("__share_group_state", "--share-group-state-decoder", kafka_transactions.WORKERS),
)


def main() -> int:
    parser = cluster.arguments(__doc__)
    parser.add_argument("--only", choices=("dump", "to-kafka", "from-kafka-clean", "from-kafka-killed"), help="one part of the proof")
    chosen = parser.parse_args()
    if cluster.kafka_script() is None:
        print("left out: Kafka's storage: the peer Kafka is not beside the checkout")
        return 0
    parts: list[Callable[[pathlib.Path, str, int], None]] = []
    if chosen.only in (None, "dump", "to-kafka"):
        parts.append(lambda work, kind, port: ours(work, kind, port, chosen.only))
    if chosen.only in (None, "from-kafka-clean"):
        parts.append(lambda work, kind, port: from_kafka(work, kind, port, killed=False))
    if chosen.only in (None, "from-kafka-killed"):
        parts.append(lambda work, kind, port: from_kafka(work, kind, port, killed=True))
    with cluster.workspace(chosen.work) as work:
        for number, part in enumerate(parts):
            part(work, chosen.broker, cluster.free_port(chosen.port + 10 * number))
    return 0


def ours(work: pathlib.Path, kind: str, port: int, only: str | None) -> None:
    """What the broker under test writes, read by the tool and then opened by Kafka."""
    broker = cluster.broker_of(kind, work / "ours", port)
    with running(broker):
        contents, configs = fill(broker.bootstrap)
        groups = kafka_groups.fill(broker.bootstrap, "plain")
        transactions = kafka_transactions.fill(broker.bootstrap)
    if only != "to-kafka":
        dump(broker.data, contents)
    if only == "dump":
        return
    copied = work / "ours-for-kafka"
    shutil.copytree(broker.data, copied)
    kafka = KafkaOver(work / "kafka-over", broker.port, copied)
    with running(kafka):
        compare(kafka.bootstrap, contents, configs, "Kafka on the broker's directory")
        kafka_groups.compare(kafka.bootstrap, groups, "Kafka on the broker's directory")
        kafka_transactions.compare(kafka.bootstrap, transactions, "Kafka on the broker's directory")
        write_on(kafka.bootstrap, contents)
        compare(kafka.bootstrap, contents, configs, "Kafka after writing on")
        groups = kafka_groups.go_on(kafka.bootstrap, groups)
        transactions = kafka_transactions.go_on(kafka.bootstrap, transactions)
    again = over(kind, work / "again", cluster.free_port(port + 8), copied)
    with running(again):
        compare(again.bootstrap, contents, configs, "the broker on the directory that Kafka left")
        kafka_groups.compare(again.bootstrap, groups, "the broker on the directory that Kafka left")
        kafka_transactions.went_on(again.bootstrap, transactions, "the broker on the directory that Kafka left")
    print("to Kafka and back: every topic, config, record, group and transaction is there", flush=True)


def from_kafka(work: pathlib.Path, kind: str, port: int, killed: bool) -> None:
    how = "killed" if killed else "stopped"
    kafka = Kafka(work / f"kafka-{how}", port)
    try:
        kafka.start()
        contents, configs = fill(kafka.bootstrap)
        groups = kafka_groups.fill(kafka.bootstrap, "plain")
        transactions = kafka_transactions.fill(kafka.bootstrap)
        if killed:
            kafka.kill()
        else:
            kafka.stop()
    finally:
        kafka.kill()
    copied = work / f"kafka-{how}-copied"
    shutil.copytree(kafka.data, copied)
    broker = over(kind, work / f"over-{how}", kafka.port, copied)
    with running(broker):
        compare(broker.bootstrap, contents, configs, f"the broker on the directory of a {how} Kafka")
        kafka_groups.compare(broker.bootstrap, groups, f"the broker on the directory of a {how} Kafka")
        kafka_transactions.compare(broker.bootstrap, transactions, f"the broker on the directory of a {how} Kafka")
        write_on(broker.bootstrap, contents)
        compare(broker.bootstrap, contents, configs, "the broker after writing on")
        groups = kafka_groups.go_on(broker.bootstrap, groups)
        kafka_groups.compare(broker.bootstrap, groups, "the broker after members went on")
        transactions = kafka_transactions.go_on(broker.bootstrap, transactions)
        kafka_transactions.went_on(broker.bootstrap, transactions, "the broker after producers went on")
    print(f"from a {how} Kafka: every topic, config, record, group and transaction is there", flush=True)


def over(kind: str, scratch: pathlib.Path, port: int, data: pathlib.Path) -> Broker:
    """A broker of this kind on a directory that another one wrote."""
    if kind == "kafka":
        return KafkaOver(scratch, port, data)
    broker = Strandline(data, port)
    broker.log_path = scratch.with_suffix(".log")
    return broker


class KafkaOver(Kafka):
    """Kafka on a directory that it did not format: the node's number is read from there."""

    def __init__(self, scratch: pathlib.Path, port: int, data: pathlib.Path) -> None:
        super().__init__(scratch, port)
        self.foreign = data

    @property
    def data(self) -> pathlib.Path:
        return self.foreign

    def prepare(self) -> None:
        self.write_properties()
        meta = dict(line.split("=", 1) for line in (self.foreign / "meta.properties").read_text().splitlines() if "=" in line)
        node = meta["node.id"]
        text = self.properties.read_text()
        text = re.sub(r"(?m)^log\.dirs=.*$", f"log.dirs={self.foreign}", text)
        text = re.sub(r"(?m)^node\.id=.*$", f"node.id={node}", text)
        text = re.sub(r"(?m)^controller\.quorum\.voters=\d+@", f"controller.quorum.voters={node}@", text)
        self.properties.write_text(text)


@contextlib.contextmanager
def running(broker: Broker) -> Iterator[None]:
    """The broker for as long as the block lasts; it has to stop cleanly and without a panic."""
    try:
        broker.start()
        yield
        broker.check_log()
        broker.stop()
    finally:
        broker.kill()


def fill(bootstrap: str) -> tuple[Contents, Configs]:
    """Creates the topics and writes their records; returns both as they must be found."""
    contents: Contents = {}
    configs: Configs = {}
    for name, partitions, config, plan in PLANS:
        admin.create_topics(bootstrap, [name], partitions, config)
        configs[name] = config
        for partition in range(partitions):
            contents[name, partition] = []
            for codec, records in plan(partition):
                write(bootstrap, name, partition, codec, records)
    # What is there is what one reader saw, after it was compared with what was sent.
    for (name, partition), seen in contents.items():
        seen += read(bootstrap, name, partition)
        plan = next(plan for topic, _, _, plan in PLANS if topic == name)
        sent = [(record.key, record.value, record.headers) for _, records in plan(partition) for record in records]
        if [(record.key, record.value, record.headers) for record in seen] != sent:
            raise Failed(f"{name}-{partition}: {len(seen)} records came back, {len(sent)} were sent, and they differ")
    return contents, configs


def write_on(bootstrap: str, contents: Contents) -> None:
    """Appends to every partition that has records, so that a second owner's writing is tested too."""
    for (name, partition), records in contents.items():
        if records:
            write(bootstrap, name, partition, "zstd", [Record(b"later", b"written by the next owner %d" % number) for number in range(20)])
            before = len(records)
            records += read(bootstrap, name, partition, start=records[-1].offset + 1 if records[-1].offset is not None else before)
            if len(records) != before + 20:
                raise Failed(f"{name}-{partition}: {len(records) - before} records instead of 20 after the old end")


def write(bootstrap: str, topic: str, partition: int, codec: str, records: list[Record]) -> None:
    refused: list[str] = []
    producer = Producer(
        {
            "bootstrap.servers": bootstrap,
            "enable.idempotence": True,
            "compression.type": codec,
            "linger.ms": 5,
            "batch.size": BATCH_BYTES,
            "delivery.report.only.error": True,
            "on_delivery": lambda error, _: refused.append(str(error)),
        }
    )
    for record in records:
        producer.produce(topic, record.value, record.key, partition, timestamp=record.timestamp or 0, headers=list(record.headers))
        producer.poll(0)
    unsent = producer.flush(SETTINGS_SECONDS)
    if unsent or refused:
        raise Failed(f"{topic}-{partition}: {unsent} records unsent, refused: {refused[:3]}")


def read(bootstrap: str, topic: str, partition: int, start: int = OFFSET_BEGINNING) -> list[Record]:
    consumer = consumer_of(bootstrap)
    consumer.assign([TopicPartition(topic, partition, start)])
    try:
        return list(to_the_end(consumer))
    finally:
        consumer.close()


def to_the_end(consumer: Consumer) -> Iterator[Record]:
    while True:
        message = consumer.poll(READ_SECONDS)
        if message is None:
            raise Failed(f"the end was not reached in {READ_SECONDS} s")
        error = message.error()
        if error is None:
            yield Record(message.key(), message.value(), tuple(message.headers() or ()), message.timestamp()[1], message.offset())
        elif error.code() == KafkaError._PARTITION_EOF:
            return
        elif not passing(error):
            raise KafkaException(error)


def compare(bootstrap: str, contents: Contents, configs: Configs, who: str) -> None:
    """Topics, partitions, configs that were set, and every record with its offset and timestamp."""
    client = AdminClient({"bootstrap.servers": bootstrap})
    shown = {name: len(topic.partitions) for name, topic in client.list_topics(timeout=SETTINGS_SECONDS).topics.items() if not name.startswith("__") and name not in kafka_transactions.TOPICS}
    problems = [] if shown == {name: partitions for name, partitions, _, _ in PLANS} else [f"topics are {shown}"]
    for name, wanted in configs.items():
        found = topic_config(client, name)
        if found != wanted:
            problems.append(f"{name}: configs are {found} instead of {wanted}")
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        readings = pool.map(lambda place: read(bootstrap, *place), contents)
        for (name, partition), records, seen in zip(contents, contents.values(), readings, strict=True):
            if seen != records:
                first = next((number for number, pair in enumerate(zip(records, seen, strict=False)) if pair[0] != pair[1]), min(len(records), len(seen)))
                problems.append(f"{name}-{partition}: {len(seen)} records instead of {len(records)}, the first difference is record {first}: {seen[first] if first < len(seen) else 'missing'}")
    if problems:
        raise Failed(f"{who}:\n" + "\n".join(problems))


def topic_config(client: AdminClient, name: str) -> dict[str, str]:
    """What was set on the topic itself."""
    (future,) = client.describe_configs([ConfigResource(ResourceType.TOPIC, name)]).values()
    entries = future.result(SETTINGS_SECONDS)
    return {key: entry.value for key, entry in entries.items() if entry.source == ConfigSource.DYNAMIC_TOPIC_CONFIG.value}


def dump(data: pathlib.Path, contents: Contents) -> None:
    """Kafka's dump-log over every file."""
    counted = 0
    logs = [path for path in sorted(data.glob("*/*.log")) if "__" not in path.parent.name]
    per_partition: dict[str, int] = {}
    directory = ""
    for line in complaints("--deep-iteration", logs):
        if line.startswith("Dumping "):
            directory = pathlib.Path(line.removeprefix("Dumping ")).parent.name
        elif line.startswith("| offset: "):
            per_partition[directory] = per_partition.get(directory, 0) + 1
            counted += 1
    wanted = {f"{name}-{partition}": len(records) for (name, partition), records in contents.items() if records}
    found = {place: count for place, count in per_partition.items() if place.rpartition("-")[0] not in kafka_transactions.TOPICS}
    if found != wanted:
        raise Failed(f"dump-log counts {found} instead of {wanted}")
    for topic, decoder, word in COORDINATORS:
        decoded = complaints(decoder, [path for path in sorted(data.glob(f"{topic}-*/*.log")) if path.stat().st_size > 0])
        if not any(word in line for line in decoded):
            raise Failed(f"dump-log {decoder} finds no {word} in {topic}")
    indexes = [path for path in sorted(data.glob("*/*index")) if "__" not in path.parent.name and path.suffix in (".index", ".timeindex", ".txnindex")]
    complaints(None, indexes)
    snapshots = sorted(data.glob("*/*.snapshot"))
    complaints(None, snapshots)
    metadata = sorted(data.glob("__cluster_metadata-0/*.log")) + sorted(data.glob("__cluster_metadata-0/*.checkpoint"))
    decoded = complaints("--cluster-metadata-decoder", metadata)
    for name, *_ in PLANS:
        if not any('"TOPIC_RECORD"' in line and f'"name":"{name}"' in line for line in decoded):
            raise Failed(f"the metadata log has no record of the topic {name}")
    print(f"dump-log: {len(logs)} segments with {counted:,} records, {len(indexes)} indexes, {len(snapshots)} producer snapshots, {len(metadata)} metadata files, no complaint", flush=True)


def complaints(option: str | None, files: list[pathlib.Path]) -> list[str]:
    """Runs dump-log over the files; returns its lines, and fails on any that complains."""
    tool = cluster.kafka_tool()
    assert tool is not None
    if not files:
        raise Failed(f"there are no files for dump-log {option or ''}")
    command = [*tool, "dump-log", "--files", ",".join(str(path) for path in files)] + ([option] if option else [])
    done = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)
    lines = done.stdout.splitlines() + done.stderr.splitlines()
    bad = [line for line in lines if COMPLAINTS.search(line) and not NO_COMPLAINT.search(line)]
    if done.returncode != 0 or bad:
        raise Failed(f"dump-log {option or ''} complains (code {done.returncode}):\n" + "\n".join(bad[:10] or lines[-10:]))
    return lines


if __name__ == "__main__":
    sys.exit(main())
