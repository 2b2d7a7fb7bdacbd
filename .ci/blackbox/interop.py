"""Every client writes, every client reads, with every codec: what one wrote the others see byte for byte.

Keys, null keys, empty and null values, headers (repeated, empty, null), timestamps, values from one byte to 900 KB. Under the
gate profile a writer has one topic in which the codecs follow one another; under the full profile a topic per codec. Prints a
table of writers and readers; a cell that was left out says why. `--dump DIR` keeps what was expected as lines of JSON.
"""

import concurrent.futures
import dataclasses
import pathlib
import sys
import time

from . import admin, cluster
from .clients import Client, Unable
from .clients.aio import Aiokafka
from .clients.confluent import Confluent
from .clients.console import Console
from .clients.kafka_python import KafkaPython
from .clients.kcat import Kcat
from .clients.rust import Rdkafka, Rskafka
from .records import CODECS, Record, logical_records, null_header_records

#: The first of them that is present also settles the timestamps that a writer chose itself.
CLIENTS: tuple[type[Client], ...] = (Confluent, Rdkafka, Rskafka, KafkaPython, Aiokafka, Kcat, Console)
#: Two cores: more at once only makes clients wait for each other.
AT_ONCE = 2
CLOCK_SLACK_MS = 2_000
#: The timestamps lie years back, and retention goes by them.
KEEP = {"retention.ms": "-1"}


@dataclasses.dataclass
class Topic:
    """A topic, who wrote it, and what must be in it."""

    name: str
    writer: Client
    parts: list[tuple[str, list[Record]]]
    written_ms: tuple[int, int] = (0, 0)

    def expected(self) -> list[Record]:
        records = [record for _, part in self.parts for record in part]
        return [dataclasses.replace(record, offset=offset) for offset, record in enumerate(records)]

    def codec_at(self, index: int) -> str:
        for codec, part in self.parts:
            if index < len(part):
                return codec
            index -= len(part)
        return "beyond the end"


def main() -> int:
    parser = cluster.arguments(__doc__)
    parser.add_argument("--clients", help="only these, separated by commas")
    parser.add_argument("--codecs", help="only these, separated by commas")
    parser.add_argument("--dump", help="a directory for the expected records as lines of JSON")
    chosen = parser.parse_args()
    clients, reasons = available(chosen.clients.split(",") if chosen.clients else None)
    codecs = chosen.codecs.split(",") if chosen.codecs else list(CODECS)
    with cluster.workspace(chosen.work) as work, cluster.started(chosen.broker, work / "broker", cluster.free_port(chosen.port)) as broker:
        failures = matrix(broker.bootstrap, clients, codecs, chosen.profile == "full", chosen.dump)
        for reason in reasons:
            print(f"left out: {reason}")
        if failures:
            print("\n".join(failures))
            raise cluster.Failed(f"{len(failures)} pairs of writer and reader differ")
    return 0


def available(wanted: list[str] | None) -> tuple[list[Client], list[str]]:
    clients, reasons = [], []
    for kind in CLIENTS:
        if wanted is not None and kind.name not in wanted:
            continue
        try:
            client = kind()
            print(f"{client.name}: {client.version()}", flush=True)
            clients.append(client)
        except Unable as reason:
            reasons.append(f"{kind.name}: {reason}")
    return clients, reasons


def matrix(bootstrap: str, clients: list[Client], codecs: list[str], topic_per_codec: bool, dump: str | None) -> list[str]:
    """Writes all topics, reads all of them with everyone, prints the table; returns what differs."""
    run = f"{time.time_ns():x}"
    topics = [topic for writer in clients for topic in topics_of(writer, codecs, topic_per_codec, run)]
    admin.create_topics(bootstrap, [topic.name for topic in topics], config=KEEP)
    cells: dict[tuple[str, str], list[str]] = {}
    failures: list[str] = []
    with concurrent.futures.ThreadPoolExecutor(AT_ONCE) as pool:
        written = list(pool.map(lambda topic: attempt(f"{topic.writer.name} writes {topic.name}", lambda: write(bootstrap, topic)), topics))
        failures += [problem for problem in written if problem]
        readable = [topic for topic, problem in zip(topics, written, strict=True) if not problem]
        list(pool.map(lambda topic: attempt("", lambda: settle_timestamps(bootstrap, topic, clients[0])), readable))
        pairs = [(topic, reader) for topic in readable for reader in clients]
        for (topic, reader), outcome in zip(pairs, pool.map(lambda pair: compare(bootstrap, *pair), pairs), strict=True):
            cells.setdefault((topic.writer.name, reader.name), []).append(outcome)
            if outcome not in ("ok",) and not outcome.startswith("skip"):
                failures.append(f"{topic.writer.name} -> {reader.name} ({topic.name}): {outcome}")
    for topic in readable if dump else []:
        assert dump is not None
        path = pathlib.Path(dump) / f"{topic.name}.jsonl"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("".join(record.to_json() + "\n" for record in topic.expected()))
    print_table(clients, cells, sum(len(part) for topic in topics for _, part in topic.parts))
    return failures


def topics_of(writer: Client, codecs: list[str], topic_per_codec: bool, run: str) -> list[Topic]:
    def what_it_can(records: list[Record]) -> list[Record]:
        keep = [record for record in records if writer.can_write(record)]
        return keep if writer.writes_timestamps() else [dataclasses.replace(record, timestamp=None) for record in keep]

    parts = [(codec, what_it_can(logical_records(codec))) for codec in codecs]
    topics = [Topic(f"interop-{run}-{writer.name}-{part[0]}", writer, [part]) for part in parts] if topic_per_codec else [Topic(f"interop-{run}-{writer.name}", writer, parts)]
    nulls = [(codec, what_it_can(null_header_records(codec))) for codec in codecs]
    if any(part for _, part in nulls):
        topics.append(Topic(f"interop-{run}-{writer.name}-null-headers", writer, nulls))
    return topics


def attempt(what: str, action) -> str | None:
    try:
        action()
        return None
    except Exception as problem:  # A client may fail with anything; all of it goes into the table.
        return f"{what}: {type(problem).__name__}: {problem}"


def write(bootstrap: str, topic: Topic) -> None:
    before = time.time_ns() // 1_000_000
    for codec, records in topic.parts:
        topic.writer.write(bootstrap, topic.name, codec, records)
    topic.written_ms = (before - CLOCK_SLACK_MS, time.time_ns() // 1_000_000 + CLOCK_SLACK_MS)


def settle_timestamps(bootstrap: str, topic: Topic, reference: Client) -> None:
    """Fills in the timestamps that the writer chose, from what the reference reader sees; they must lie in the time of writing."""
    if topic.writer.writes_timestamps():
        return
    seen = iter(record for record in reference.read(bootstrap, topic.name) if isinstance(record, Record))
    first, last = topic.written_ms
    for _, part in topic.parts:
        for index, record in enumerate(part):
            timestamp = next(seen).timestamp
            if timestamp is not None and first <= timestamp <= last:
                part[index] = dataclasses.replace(record, timestamp=timestamp)


def compare(bootstrap: str, topic: Topic, reader: Client) -> str:
    """`ok`, `skip: why`, or the first difference."""
    expected = topic.expected()
    unable = next((why for record in expected if (why := reader.can_read(record))), None)
    if unable:
        return f"skip: {unable}"
    try:
        seen = reader.read(bootstrap, topic.name)
    except Exception as problem:
        return f"{type(problem).__name__}: {problem}"
    views = [reader.view(record) for record in expected]
    if seen == views:
        return "ok"
    for index, (want, got) in enumerate(zip(views, seen, strict=False)):
        if want != got:
            return f"record {index} ({topic.codec_at(index)})\n  expected {clipped(want)}\n  got      {clipped(got)}"
    return f"{len(seen)} records instead of {len(views)}"


def clipped(view: object) -> str:
    text = str(view)
    return text if len(text) < 600 else f"{text[:600]}..."


def print_table(clients: list[Client], cells: dict[tuple[str, str], list[str]], count: int) -> None:
    width = max(len(client.name) for client in clients) + 2
    print("writer \\ reader".ljust(width + 2) + "".join(client.name.ljust(width) for client in clients))
    skips: set[str] = set()
    for writer in clients:
        row = []
        for reader in clients:
            outcomes = cells.get((writer.name, reader.name), ["not written"])
            skips |= {f"{reader.name}: {outcome}" for outcome in outcomes if outcome.startswith("skip")}
            bad = [outcome for outcome in outcomes if outcome != "ok" and not outcome.startswith("skip")]
            row.append("FAIL" if bad else "ok" if "ok" in outcomes else "-")
        print(writer.name.ljust(width + 2) + "".join(cell.ljust(width) for cell in row))
    print(f"{count} records were written")
    for reason in sorted(skips):
        print(reason)


if __name__ == "__main__":
    sys.exit(main())
