"""A compacted topic, written to while it is compacted: the latest value of every key stays, and Kafka agrees with the files.

Keys are written again and again, with every codec, some of them deleted, until the broker says that rounds of compaction came to their end; then a
reader from the start must find the latest value of every key, no key that was deleted, at growing offsets. The same after a kill. Kafka's dump-log
reads every file without complaint, and Kafka opens a copy of the directory and shows the same records.
"""

import pathlib
import random
import shutil
import subprocess
import sys
import time
import urllib.request

from . import admin, cluster
from .cluster import Failed, Strandline
from .kafka_storage import KafkaOver, complaints, read, running, write
from .records import CODECS, Record

TOPIC = "table"
KEYS = 200
#: Rounds of writing: each fills more than a segment.
WRITINGS = 6
VALUE_BYTES = 700
ROUNDS_SECONDS = 60
CONFIG = {"cleanup.policy": "compact", "segment.bytes": "1048576", "min.cleanable.dirty.ratio": "0.01", "delete.retention.ms": "100", "file.delete.delay.ms": "1000"}
SETTINGS = {"log.cleaner.backoff.ms": "200"}


def main() -> int:
    chosen = cluster.arguments(__doc__).parse_args()
    if chosen.broker != "strandline":
        print("left out: compaction: it looks into the broker's own metrics")
        return 0
    with cluster.workspace(chosen.work) as work:
        prove(work, cluster.free_port(chosen.port))
    return 0


def prove(work: pathlib.Path, port: int) -> None:
    latest: dict[bytes, bytes | None] = {}
    broker = Strandline(work / "ours", port, SETTINGS)
    try:
        broker.start()
        admin.create_topics(broker.bootstrap, [TOPIC], 1, CONFIG)
        for number in range(WRITINGS):
            write(broker.bootstrap, TOPIC, 0, CODECS[number % len(CODECS)], records_of(number, latest))
            wait_for_round(broker, number)
        compare(broker.bootstrap, latest, "the broker")
        refuse_without_key(broker.bootstrap)
        broker.check_log()
    finally:
        broker.kill()
    again = Strandline(work / "ours", port, SETTINGS)
    with running(again):
        compare(again.bootstrap, latest, "the broker after a kill")
        kept = len(read(again.bootstrap, TOPIC, 0))
        print(f"compacted: {kept:,} of {WRITINGS * KEYS * 10:,} records are left, {metric(again, 'strandline_cleaner_bytes_cleaned_total'):,.0f} bytes cleaned after the kill", flush=True)
    if cluster.kafka_script() is None:
        print("left out: Kafka's view of it: the peer Kafka is not beside the checkout")
        return
    files = sorted((work / "ours").glob(f"{TOPIC}-0/*"))
    for option, suffixes in (("--deep-iteration", (".log",)), (None, (".index", ".txnindex")), (None, (".snapshot",))):
        chosen = [path for path in files if path.suffix in suffixes]
        if chosen:
            complaints(option, chosen)
    check_time_indexes([path for path in files if path.suffix == ".timeindex"])
    left = [path.name for path in files if path.suffix in (".cleaned", ".swap", ".deleted")]
    if left:
        raise Failed(f"a clean stop leaves {left}")
    copied = work / "copied"
    shutil.copytree(work / "ours", copied)
    kafka = KafkaOver(work / "kafka-over", cluster.free_port(port + 4), copied)
    with running(kafka):
        compare(kafka.bootstrap, latest, "Kafka on the broker's directory")
    print(f"dump-log and Kafka agree over {len(files)} files", flush=True)


def check_time_indexes(files: list[pathlib.Path]) -> None:
    """An entry may name a batch that lost all its records and kept its time, as the format allows; dump-log then finds no time in the records and says so. Whether Kafka's own cleaner writes such entries too was read in its code, not tried."""
    tool = cluster.kafka_tool()
    assert tool is not None
    done = subprocess.run([*tool, "dump-log", "--files", ",".join(map(str, files))], capture_output=True, text=True, errors="replace", check=False)
    lines = done.stdout.splitlines() + done.stderr.splitlines()
    bad = [line for line in lines if "out of order" in line or "Exception" in line or ("log timestamp: " in line and "log timestamp: -1" not in line)]
    if done.returncode != 0 or bad:
        raise Failed(f"dump-log complains over time indexes (code {done.returncode}):\n" + "\n".join(bad[:10] or lines[-10:]))


def records_of(number: int, latest: dict[bytes, bytes | None]) -> list[Record]:
    """Ten values for every key, in any order; at the end some keys are deleted."""
    rng = random.Random(number)
    records = []
    for _ in range(KEYS * 10):
        key = b"key-%d" % rng.randrange(KEYS)
        records.append(Record(key, rng.randbytes(VALUE_BYTES)))
        latest[key] = records[-1].value
    for deleted in rng.sample(range(KEYS), 20):
        key = b"key-%d" % deleted
        records.append(Record(key, None))
        latest[key] = None
    return records


def refuse_without_key(bootstrap: str) -> None:
    try:
        write(bootstrap, TOPIC, 0, "none", [Record(None, b"no key")])
    except Failed as failed:
        if "INVALID_RECORD" in str(failed):
            return
        raise
    raise Failed("a record without a key was taken")


def wait_for_round(broker: Strandline, before: int) -> None:
    deadline = time.monotonic() + ROUNDS_SECONDS
    while metric(broker, "strandline_cleaner_rounds_total") <= before:
        if time.monotonic() > deadline:
            raise Failed(f"no round of compaction in {ROUNDS_SECONDS} s after writing {before + 1} times")
        time.sleep(0.1)
    for name in ("strandline_cleaner_failed_rounds_total", "kafka_log_logcleanermanager_uncleanable_partitions_count"):
        if metric(broker, name) != 0:
            raise Failed(f"{name} is {metric(broker, name)}")


def metric(broker: Strandline, name: str) -> float:
    with urllib.request.urlopen(f"http://127.0.0.1:{broker.http_port}/metrics", timeout=10) as answer:
        for line in answer.read().decode().splitlines():
            if line.startswith(f"{name} "):
                return float(line.split()[1])
    raise Failed(f"there is no metric {name}")


def compare(bootstrap: str, latest: dict[bytes, bytes | None], who: str) -> None:
    """A reader from the start ends with the latest value of every key."""
    seen: dict[bytes, bytes | None] = {}
    offset = -1
    for record in read(bootstrap, TOPIC, 0):
        if record.offset is None or record.offset <= offset:
            raise Failed(f"{who}: offset {record.offset} comes behind {offset}")
        offset = record.offset
        assert record.key is not None
        seen[record.key] = record.value
    wanted = {key: value for key, value in latest.items() if value is not None}
    found = {key: value for key, value in seen.items() if value is not None}
    if found != wanted:
        different = [key for key in wanted.keys() | found.keys() if wanted.get(key) != found.get(key)]
        raise Failed(f"{who}: {len(different)} of {len(wanted)} keys have another value, {sorted(different)[:5]}")


if __name__ == "__main__":
    sys.exit(main())
