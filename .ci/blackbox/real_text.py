"""Real text goes through the broker: source trees, documentation, dictionaries and logs of this machine, with keys, over 12 partitions.

The key of a record is the file that it comes from, its value a line, a paragraph or a block of that file. What comes back must be
equal byte for byte and in order in every partition, before and after a restart. Each partition is compared by running digests,
one every few thousand records, so that a difference is narrowed down to a range of offsets.
"""

import concurrent.futures
import dataclasses
import hashlib
import os
import pathlib
import sys
import time
import zlib
from collections.abc import Iterator

from confluent_kafka import OFFSET_BEGINNING, KafkaError, KafkaException, Producer, TopicPartition

from . import admin, cluster
from .load import consumer_of, passing
from .records import CODECS

TOPIC = "real-text"
PARTITIONS = 12
WANTED_BYTES = {"gate": 200_000_000, "full": 1_000_000_000}
#: Places where machines keep text; those that are missing are passed over.
PLACES = (
    "/usr/share/dict",
    "/var/log",
    "/usr/share/doc",
    "/usr/share/perl",
    "/usr/include",
    "/usr/lib/python3",
    "/usr/lib/python3.11",
    "~/.cargo/registry/src",
    "~/.rustup/toolchains",
    f"{sys.prefix}/lib",
    f"{sys.base_prefix}/lib",
    "/usr/share",
    "/usr/lib",
    "/usr/src",
)
FILE_BYTES_MAX = 20_000_000
RECORD_BYTES_MAX = 500_000
#: Records of a file are lines, paragraphs or blocks: the least number of bytes that a record gathers before it ends at a line's end.
RECORD_BYTES_LEAST = (0, 700, 700, 16_000)
RECORDS_PER_DIGEST = 4096
FLUSH_SECONDS = 120
STALL_SECONDS = 60
READERS = 2


@dataclasses.dataclass
class Summary:
    """What a partition holds: a digest after every few thousand records, and one at the end."""

    count: int
    data_bytes: int
    marks: list[bytes]


class Digests:
    """Grows into a summary, record by record."""

    def __init__(self) -> None:
        self.count = self.data_bytes = 0
        self.marks: list[bytes] = []
        self.running = hashlib.blake2b(digest_size=16)

    def add(self, key: bytes, value: bytes) -> None:
        self.running.update(b"%d %d " % (len(key), len(value)) + key + value)
        self.count += 1
        self.data_bytes += len(key) + len(value)
        if self.count % RECORDS_PER_DIGEST == 0:
            self.marks.append(self.running.digest())

    def summary(self) -> Summary:
        return Summary(self.count, self.data_bytes, [*self.marks, self.running.digest()])


def main() -> int:
    parser = cluster.arguments(__doc__)
    parser.add_argument("--bytes", type=int, help="how much text")
    chosen = parser.parse_args()
    wanted = chosen.bytes or WANTED_BYTES[chosen.profile]
    with cluster.workspace(chosen.work) as work, cluster.started(chosen.broker, work / "broker", cluster.free_port(chosen.port)) as broker:
        topic = f"{TOPIC}-{time.time_ns():x}"
        admin.create_topics(broker.bootstrap, [topic], PARTITIONS, {"retention.bytes": "-1"})
        expected = timed("written", lambda: produce(broker.bootstrap, topic, wanted))
        check(expected, timed("read", lambda: read(broker.bootstrap, topic, list(range(PARTITIONS)))))
        if broker.kind != "attached":
            broker.stop()
            broker.start()
            again = list(range(PARTITIONS if chosen.profile == "full" else PARTITIONS // 4))
            check(expected, timed("read after a restart", lambda: read(broker.bootstrap, topic, again)))
    return 0


def timed(what: str, action):
    began = time.monotonic()
    partitions: dict[int, Summary] = action()
    seconds = time.monotonic() - began
    count, data_bytes = (sum(getattr(summary, field) for summary in partitions.values()) for field in ("count", "data_bytes"))
    print(f"{what}: {count:,} records, {data_bytes:,} bytes in {len(partitions)} partitions, {seconds:.1f} s", flush=True)
    return partitions


def text_files() -> Iterator[pathlib.Path]:
    """Every readable text file of the places, in an order that does not change between runs."""
    seen: set[str] = set()
    for place in PLACES:
        for directory, subdirectories, names in os.walk(os.path.expanduser(place)):
            subdirectories.sort()
            for name in sorted(names):
                path = os.path.join(directory, name)
                if path not in seen and os.path.isfile(path) and not os.path.islink(path):
                    seen.add(path)
                    yield pathlib.Path(path)


def text_of(path: pathlib.Path) -> bytes:
    """The file's bytes if it is text, otherwise nothing."""
    try:
        if not 0 < path.stat().st_size <= FILE_BYTES_MAX:
            return b""
        data = path.read_bytes()
    except OSError:
        return b""
    return b"" if b"\0" in data[:8192] else data


def records(wanted: int) -> Iterator[tuple[bytes, bytes]]:
    """Keys and values until `wanted` bytes are reached; if the machine has less text, its files come again."""
    total = passes = 0
    while total < wanted:
        passes += 1
        before = total
        for path in text_files():
            data = text_of(path)
            key = f"{path}#{passes}".encode()
            for value in pieces(data, RECORD_BYTES_LEAST[zlib.crc32(key) % len(RECORD_BYTES_LEAST)]):
                total += len(value)
                yield key, value
            if total >= wanted:
                return
        if total == before:
            raise RuntimeError("this machine has no text")


def pieces(data: bytes, least: int) -> Iterator[bytes]:
    """The data cut at line ends, each piece at least `least` bytes long; lines too long for a record are cut anywhere."""
    start = 0
    while start < len(data):
        end = data.find(b"\n", start + least)
        end = len(data) if end < 0 else end + 1
        end = min(end, start + RECORD_BYTES_MAX)
        yield data[start:end]
        start = end


def produce(bootstrap: str, topic: str, wanted: int) -> dict[int, Summary]:
    """Writes the text with one codec after the other; returns what every partition must hold."""
    partitions = {partition: Digests() for partition in range(PARTITIONS)}
    source = records(wanted)
    for number, codec in enumerate(CODECS):
        written = 0
        refused: list[str] = []
        producer = Producer(
            {
                "bootstrap.servers": bootstrap,
                "enable.idempotence": True,
                "compression.type": codec,
                "linger.ms": 10,
                "batch.size": 256 * 1024,
                "delivery.report.only.error": True,
                "on_delivery": lambda error, _, refused=refused: refused.append(str(error)),
            }
        )
        for key, value in source:
            partition = zlib.crc32(key) % PARTITIONS
            partitions[partition].add(key, value)
            send(producer, topic, key, value, partition)
            written += len(value)
            if written * len(CODECS) >= wanted and number + 1 < len(CODECS):
                break
        unsent = producer.flush(FLUSH_SECONDS)
        if unsent or refused:
            raise cluster.Failed(f"{codec}: {unsent} records unsent, refused: {refused[:3]}")
    return {partition: digests.summary() for partition, digests in partitions.items()}


def send(producer: Producer, topic: str, key: bytes, value: bytes, partition: int) -> None:
    while True:
        try:
            return producer.produce(topic, value, key, partition)
        except BufferError:
            producer.poll(0.05)


def read(bootstrap: str, topic: str, partitions: list[int]) -> dict[int, Summary]:
    """Reads the partitions to their ends, divided among processes."""
    shares = [partitions[number::READERS] for number in range(READERS)]
    with concurrent.futures.ProcessPoolExecutor(READERS) as pool:
        shared = pool.map(read_some, [bootstrap] * READERS, [topic] * READERS, shares)
        return {partition: summary for share in shared for partition, summary in share.items()}


def read_some(bootstrap: str, topic: str, partitions: list[int]) -> dict[int, Summary]:
    found = {partition: Digests() for partition in partitions}
    consumer = consumer_of(bootstrap)
    consumer.assign([TopicPartition(topic, partition, OFFSET_BEGINNING) for partition in partitions])
    unfinished = set(partitions)
    deadline = time.monotonic() + STALL_SECONDS
    while unfinished:
        messages = consumer.consume(10_000, 0.5)
        if messages:
            deadline = time.monotonic() + STALL_SECONDS
        elif time.monotonic() > deadline:
            raise cluster.Failed(f"nothing came for {STALL_SECONDS} s; partitions {sorted(unfinished)} are not read to their end")
        for message in messages:
            error = message.error()
            if error is None:
                digests = found[message.partition()]
                if message.offset() != digests.count:
                    raise cluster.Failed(f"partition {message.partition()}: offset {message.offset()} instead of {digests.count}")
                digests.add(message.key(), message.value())
            elif error.code() == KafkaError._PARTITION_EOF:
                unfinished.discard(message.partition())
            elif not passing(error):
                raise KafkaException(error)
    consumer.close()
    return {partition: digests.summary() for partition, digests in found.items()}


def check(expected: dict[int, Summary], found: dict[int, Summary]) -> None:
    problems = []
    for partition, got in sorted(found.items()):
        want = expected[partition]
        if got.count != want.count:
            problems.append(f"partition {partition}: {got.count} records instead of {want.count}")
        if got.marks != want.marks:
            pairs = enumerate(zip(want.marks, got.marks, strict=False))
            first = next((number for number, (one, other) in pairs if one != other), min(len(want.marks), len(got.marks)))
            problems.append(f"partition {partition}: the first difference is at offset {first * RECORDS_PER_DIGEST} or up to {RECORDS_PER_DIGEST} after it")
    if problems:
        raise cluster.Failed("\n".join(problems))


if __name__ == "__main__":
    sys.exit(main())
