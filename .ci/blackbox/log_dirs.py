"""Several data directories: partitions are spread over them and found again after kill -9, what cannot be right is refused with a reason, and a
directory that is taken away costs its own partitions and nothing else.

Our own command moves a partition to the other directory and says what lies where. Where Apache Kafka is beside the checkout: its log-dirs tool says the same, its reassign-partitions tool brings every partition from one directory
to the other under load and through a kill -9, and a data directory of two disks goes from it to the broker and back.
"""

import json
import pathlib
import re
import shutil
import subprocess
import sys

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, KafkaException, Producer, TopicPartition

from . import admin, cluster, load
from .cluster import Failed, Kafka, Strandline, kafka_tool
from .history import History

TOPIC = "spread"
PARTITIONS = 6
RECORDS = 40
SECONDS = 20
#: A tool starts a virtual machine of its own.
TOOL_SECONDS = 180
#: The topic that is moved under load; small enough that a throttled copy takes a few seconds.
BUSY = "busy"
BUSY_BYTES = 12_000_000
COPY_BYTES_PER_SECOND = 2_000_000
#: Whole invocations of the tool.
VERIFICATIONS_MAX = 8


class Two(Strandline):
    """A broker with two data directories."""

    def __init__(self, work: pathlib.Path, port: int) -> None:
        super().__init__(work / "left", port)
        self.right = work / "right"
        self.log_path = work / "broker.log"
        self.directories = [self.directory, self.right]

    def command(self) -> list[str]:
        command = [self.binary, "serve", "--listen", self.bootstrap, "--http", f"127.0.0.1:{self.http_port}"]
        for directory in self.directories:
            command += ["--data", str(directory)]
        return command

    def refuses(self, says: str) -> None:
        done = subprocess.run(self.command(), capture_output=True, text=True, timeout=SECONDS, check=False)
        if done.returncode != 1 or not re.search(says, done.stderr, re.DOTALL):
            raise Failed(f"a start ended with {done.returncode}, expected {says!r} in:\n{done.stderr[-1500:]}")

    def spread(self, topic: str = TOPIC) -> dict[int, int]:
        """In which directory each partition lies."""
        roots = [self.directory, self.right]
        found = {number: [place for place, root in enumerate(roots) if (root / f"{topic}-{number}").is_dir()] for number in range(PARTITIONS)}
        if wrong := {number: places for number, places in found.items() if len(places) != 1}:
            raise Failed(f"partitions and the directories that hold them: {wrong}")
        return {number: places[0] for number, places in found.items()}


def write(bootstrap: str, partitions: list[int]) -> dict[int, str]:
    """Writes to these partitions; answers with the errors."""
    errors: dict[int, str] = {}
    producer = Producer({"bootstrap.servers": bootstrap, "acks": "all", "message.timeout.ms": 4000, "log_level": 0})
    for partition in partitions:
        for number in range(RECORDS):
            told = lambda error, _, partition=partition: errors.update({partition: error.name()}) if error else None  # noqa: E731
            producer.produce(TOPIC, f"{partition}/{number}", partition=partition, on_delivery=told)
    if left := producer.flush(SECONDS):
        raise Failed(f"{left} records were neither taken nor refused")
    return errors


def read(bootstrap: str, partition: int) -> int:
    """Reads a partition to its end; answers with the number of records."""
    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": "reader", "enable.partition.eof": True, "log_level": 0})
    consumer.assign([TopicPartition(TOPIC, partition, OFFSET_BEGINNING)])
    count = 0
    try:
        while (message := consumer.poll(SECONDS)) is not None:
            error = message.error()
            if error is None:
                count += 1
            elif error.code() == KafkaError._PARTITION_EOF:
                return count
            else:
                raise KafkaException(error)
    finally:
        consumer.close()
    raise Failed(f"the end of partition {partition} was not reached in {SECONDS} s")


def expect_all(bootstrap: str, times: int, who: str) -> None:
    counts = {partition: read(bootstrap, partition) for partition in range(PARTITIONS)}
    if set(counts.values()) != {times * RECORDS}:
        raise Failed(f"{who}: {counts} instead of {times * RECORDS} records in each")


def tool(*words: str) -> str:
    """What one of Kafka's own tools says."""
    command = kafka_tool()
    assert command is not None
    done = subprocess.run([*command, *words], capture_output=True, text=True, timeout=TOOL_SECONDS, check=False)
    if done.returncode:
        raise Failed(f"{' '.join(words)}: {done.returncode}\n{done.stdout[-800:]}{done.stderr[-800:]}")
    return done.stdout


def described(bootstrap: str, topic: str = TOPIC) -> tuple[dict[str, list[str]], dict[str, list[str]]]:
    """What Kafka's own tool says lies in which directory, and is on its way there."""
    said = tool("log-dirs", "--bootstrap-server", bootstrap, "--describe")
    found = [line for line in said.splitlines() if line.startswith("{")]
    if len(found) != 1:
        raise Failed(f"log-dirs: {said[-800:]}")
    dirs = json.loads(found[0])["brokers"][0]["logDirs"]

    def parts(one: dict, is_future: bool) -> list[str]:
        of_topic = [part for part in one["partitions"] if part["partition"].startswith(f"{topic}-")]
        return sorted(part["partition"] for part in of_topic if part["isFuture"] == is_future)

    return {one["logDir"]: parts(one, False) for one in dirs}, {one["logDir"]: parts(one, True) for one in dirs}


def expected(broker: Two, topic: str, placed: dict[int, int]) -> dict[str, list[str]]:
    roots = [broker.directory, broker.right]
    return {str(root): sorted(f"{topic}-{number}" for number, place in placed.items() if place == index) for index, root in enumerate(roots)}


def spread_and_found_again(broker: Two) -> None:
    broker.start()
    admin.create_topics(broker.bootstrap, [TOPIC], PARTITIONS)
    if errors := write(broker.bootstrap, list(range(PARTITIONS))):
        raise Failed(f"refused: {errors}")
    placed = broker.spread()
    if sorted(placed.values()) != [0] * (PARTITIONS // 2) + [1] * (PARTITIONS // 2):
        raise Failed(f"not spread: {placed}")
    if kafka_tool() and (said := described(broker.bootstrap)[0]) != expected(broker, TOPIC, placed):
        raise Failed(f"Kafka's log-dirs says {said} instead of {expected(broker, TOPIC, placed)}")
    broker.kill()
    broker.start()
    expect_all(broker.bootstrap, 1, "after kill -9")
    broker.stop()
    for root in (broker.directory, broker.right):
        if not (root / ".kafka_cleanshutdown").exists() or not (root / "recovery-point-offset-checkpoint").exists():
            raise Failed(f"{root} was not closed: {sorted(one.name for one in root.iterdir())}")
    print("spread over two directories, and found again after kill -9", flush=True)


def refusals(broker: Two, work: pathlib.Path) -> None:
    broker.directories = [broker.directory, broker.directory / ".." / "left"]
    broker.refuses("are the same")
    copied = work / "copied"
    shutil.copytree(broker.right, copied)
    broker.directories = [broker.directory, broker.right, copied]
    broker.refuses("same directory.id")
    broker.directories = [broker.directory, broker.right]
    number = next(number for number, place in broker.spread().items() if place == 1)
    shutil.copytree(broker.right / f"{TOPIC}-{number}", broker.directory / f"{TOPIC}-{number}")
    broker.start()
    broker.stop()
    aside = [one for one in broker.directory.iterdir() if one.name.startswith(f"{TOPIC}-{number}.") and one.name.endswith("-stray")]
    if len(aside) != 1 or broker.spread()[number] != 1:
        raise Failed(f"a partition in both directories: {sorted(one.name for one in broker.directory.iterdir())}")
    shutil.rmtree(aside[0])
    print("refused: the same directory twice, a copy of one; of a partition in both the one counts that the metadata names", flush=True)


def taken_away(broker: Two) -> None:
    placed = broker.spread()
    broker.directories = [broker.directory]
    broker.start()
    errors = write(broker.bootstrap, [number for number, place in placed.items() if place == 0])
    if errors:
        raise Failed(f"the directory that is there does not take records: {errors}")
    gone = next(number for number, place in placed.items() if place == 1)
    if gone not in write(broker.bootstrap, [gone]):
        raise Failed("a partition whose directory is not there took records")
    broker.stop()
    broker.directories = [broker.directory, broker.right]
    broker.start()
    if errors := write(broker.bootstrap, [number for number, place in placed.items() if place == 1]):
        raise Failed(f"the directory that came back does not take records: {errors}")
    expect_all(broker.bootstrap, 2, "after a directory was away")
    if broker.spread() != placed:
        raise Failed(f"partitions moved: {placed} became {broker.spread()}")
    broker.check_log()
    broker.stop()
    print("a directory that was away cost its own partitions, and they are back with it", flush=True)


def moved_by_command(broker: Two) -> None:
    """Our own command brings one partition to the other directory, waits for it, and says so; what cannot be is refused."""
    broker.start()
    placed = broker.spread()
    roots = [str(broker.directory), str(broker.right)]
    number, there = 0, 1 - placed[0]

    def command(*words: str, code: int = 0, says: str = "") -> str:
        done = subprocess.run([broker.binary, *words, "--bootstrap", broker.bootstrap], capture_output=True, text=True, timeout=SECONDS, check=False)
        if done.returncode != code or not re.search(says, done.stderr):
            raise Failed(f"{' '.join(words)}: {done.returncode} instead of {code}, expected {says!r} in:\n{done.stderr[-800:]}")
        return done.stdout

    node = str(json.loads(command("broker", "dirs", "--format", "json"))[0]["broker"])
    command("partition", "move", f"{TOPIC}:{number}", "--broker", node, "--dir", "/nowhere", code=1, says="strandline broker dirs")
    command("partition", "move", f"{TOPIC}:{number}", "--broker", node, "--dir", roots[there])
    command("partition", "move", f"{TOPIC}:{number}", "--broker", node, "--cancel")
    said = {one["directory"]: [part["partition"] for part in one["replicas"] if part["topic"] == TOPIC] for one in json.loads(command("broker", "dirs", node, "--format", "json"))}
    if broker.spread() != placed | {number: there} or number not in said[roots[there]] or number in said[roots[1 - there]]:
        raise Failed(f"{placed} became {broker.spread()}, and `broker dirs` says {said}")
    if f"{TOPIC} " not in command("broker", "dirs", "--replicas") or roots[there] not in command("broker", "dirs"):
        raise Failed("`broker dirs` does not show the partition, or the directory")
    expect_all(broker.bootstrap, 2, "after a partition was moved")
    broker.stop()
    print("a partition was moved to the other directory by `partition move`, and `broker dirs` says so", flush=True)


def moved_under_load(broker: Two, work: pathlib.Path) -> None:
    """Kafka's tool moves every partition into the other directory while producers and a reader are at it."""
    broker.start()
    admin.create_topics(broker.bootstrap, [BUSY], PARTITIONS)
    filler = Producer({"bootstrap.servers": broker.bootstrap, "enable.idempotence": True, "log_level": 0})
    history = History()
    clients = load.Load(broker.bootstrap, BUSY, PARTITIONS, history, producers=2, rate=200)
    value = ("filler", 500)
    for number in range(BUSY_BYTES // len(load.payload(value))):
        value = ("filler", 500 + 997 * number)
        history.sent(value, number % PARTITIONS)
        filler.produce(BUSY, load.payload(value), partition=number % PARTITIONS, on_delivery=lambda error, message, value=value: clients.answered(value, error, message))
        filler.poll(0)
    filler.flush(SECONDS)
    before = broker.spread(BUSY)
    after = {number: 1 - place for number, place in before.items()}
    roots = [str(broker.directory), str(broker.right)]
    node = int(re.search(r"(?m)^node\.id=(\d+)$", (broker.directory / "meta.properties").read_text())[1])
    plan = work / "moves.json"
    wanted = [{"topic": BUSY, "partition": number, "replicas": [node], "log_dirs": [roots[place]]} for number, place in after.items()]
    plan.write_text(json.dumps({"version": 1, "partitions": wanted}))
    clients.start()
    reassign = ["reassign-partitions", "--bootstrap-server", broker.bootstrap, "--reassignment-json-file", str(plan)]
    tool(*reassign, "--execute", "--replica-alter-log-dirs-throttle", str(COPY_BYTES_PER_SECOND))
    _, copies = described(broker.bootstrap, BUSY)
    if not any(copies.values()):
        raise Failed("Kafka's log-dirs shows no replica on its way: the moves were over before the kill")
    broker.kill()
    broker.start()
    for _ in range(VERIFICATIONS_MAX):
        said = tool(*reassign, "--verify")
        if said.count("completed successfully") == PARTITIONS:
            break
    else:
        raise Failed(f"the moves did not end:\n{said}")
    clients.finish()
    if clients.problems or clients.unanswered:
        raise Failed(f"{clients.unanswered} without an answer; {clients.problems[:5]}")
    history.read_at_last(load.everything(broker.bootstrap, BUSY, PARTITIONS))
    if broken := history.violations():
        raise Failed("\n".join(map(str, broken[:10])))
    if broker.spread(BUSY) != after or described(broker.bootstrap, BUSY) != (expected(broker, BUSY, after), dict.fromkeys(roots, [])):
        raise Failed(f"{before} became {broker.spread(BUSY)}, and Kafka's log-dirs says {described(broker.bootstrap, BUSY)}")
    broker.check_log()
    broker.stop()
    print(f"Kafka's reassign-partitions moved {PARTITIONS} partitions to the other directory through a kill -9; {len(history.sends)} records, none lost or doubled", flush=True)


class KafkaTwo(Kafka):
    """Apache Kafka on two directories that are formatted already."""

    def __init__(self, scratch: pathlib.Path, port: int, directories: list[pathlib.Path]) -> None:
        super().__init__(scratch, port)
        self.directories = directories

    def prepare(self) -> None:
        self.write_properties()
        meta = dict(line.split("=", 1) for line in (self.directories[0] / "meta.properties").read_text().splitlines() if "=" in line)
        text = self.properties.read_text()
        text = re.sub(r"(?m)^log\.dirs=.*$", "log.dirs=" + ",".join(map(str, self.directories)), text)
        text = re.sub(r"(?m)^node\.id=.*$", f"node.id={meta['node.id']}", text)
        text = re.sub(r"(?m)^controller\.quorum\.voters=\d+@", f"controller.quorum.voters={meta['node.id']}@", text)
        self.properties.write_text(text)


def to_kafka_and_back(broker: Two, work: pathlib.Path) -> None:
    placed = broker.spread()
    kafka = KafkaTwo(work / "kafka", cluster.free_port(broker.port + 4), [broker.directory, broker.right])
    try:
        kafka.start()
        expect_all(kafka.bootstrap, 2, "Kafka on the broker's directories")
        if errors := write(kafka.bootstrap, list(range(PARTITIONS))):
            raise Failed(f"Kafka refused: {errors}")
        kafka.stop()
    finally:
        kafka.kill()
    if broker.spread() != placed:
        raise Failed("Kafka moved partitions")
    broker.start()
    expect_all(broker.bootstrap, 3, "the broker on the directories that Kafka left")
    broker.check_log()
    broker.stop()
    print("two directories went to Kafka and came back", flush=True)


def main() -> int:
    chosen = cluster.arguments(__doc__).parse_args()
    if chosen.broker != "strandline":
        print("left out: the broker is started here")
        return 0
    with cluster.workspace(chosen.work) as work:
        broker = Two(work, cluster.free_port(chosen.port))
        try:
            spread_and_found_again(broker)
            refusals(broker, work)
            taken_away(broker)
            moved_by_command(broker)
            if kafka_tool():
                moved_under_load(broker, work)
                to_kafka_and_back(broker, work)
        finally:
            broker.kill()
    return 0


if __name__ == "__main__":
    sys.exit(main())
