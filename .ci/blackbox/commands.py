"""The command line as people and scripts use it: what a start says when it cannot, what every command prints, and with which code it ends.

Also here, because they are a stopwatch around the binary: from an empty directory to the first acknowledged record, idle memory, and with
the full profile 10,000 partitions that are back after kill -9.
"""

import json
import pathlib
import re
import socket
import statistics
import subprocess
import sys
import time
import urllib.request

from . import cluster, wire
from .cluster import Broker, Failed, Strandline

COMMAND_SECONDS = 60
TOPIC = "commands"
PARTITIONS = 3
LINES = 300_000
FIRST_ACK_ROUNDS = 5
#: Promised is 0.2 s on a quiet machine. The gate runs beside builds, so that only what is out of all proportion fails there.
FIRST_ACK_SECONDS_MAX = {"gate": 1.0, "full": 0.2}
IDLE_RESIDENT_MIB_MAX = 30
MANY_PARTITIONS = 10_000
#: So many a topic that every partition gets some.
KEYS = 20_000
RESTART_SECONDS_MAX = 3.0
DONE, FAILED, USAGE, UNREACHABLE, LOCAL = 0, 1, 2, 3, 4


def main() -> int:
    chosen = cluster.arguments(__doc__).parse_args()
    if chosen.broker != "strandline":
        print("left out: these are our own commands")
        return 0
    port = cluster.free_port(chosen.port)
    with cluster.workspace(chosen.work) as work:
        with cluster.started("strandline", work / "broker", port) as broker:
            assert isinstance(broker, Strandline)
            steps = Steps(broker, work)
            for step in (steps.refusals, steps.topics, steps.produce_and_consume, steps.follow, steps.progress, steps.wrong_ends):
                step()
                print(f"{step.__name__}: ok", flush=True)
        steps.dumps()
        print("dumps: ok", flush=True)
        first_ack(work, port, FIRST_ACK_SECONDS_MAX[chosen.profile])
        if chosen.profile == "full":
            many_partitions(work, port)
    return 0


class Steps:
    def __init__(self, broker: Strandline, work: pathlib.Path) -> None:
        self.broker, self.work = broker, work

    def run(self, *words: str, code: int = DONE, says: str = "", given: str = "") -> str:
        """Runs a command; its code must be `code` and its standard error match `says`. Answers with its standard output."""
        done = subprocess.run([self.broker.binary, *words], input=given, capture_output=True, text=True, timeout=COMMAND_SECONDS, check=False)
        if done.returncode != code or not re.search(says, done.stderr, re.DOTALL):
            raise Failed(f"{' '.join(words)}: code {done.returncode} instead of {code}, expected {says!r} in:\n{done.stderr[-1500:]}\n{done.stdout[-500:]}")
        return done.stdout

    def ask(self, *words: str, code: int = DONE, says: str = "", given: str = "") -> str:
        return self.run(*words, "--bootstrap", self.broker.bootstrap, code=code, says=says, given=given)

    def ask_json(self, *words: str, code: int = DONE, given: str = "") -> object:
        return json.loads(self.ask(*words, "--format", "json", code=code, given=given))

    def refusals(self) -> None:
        """A start that cannot be says why, and what to do."""
        taken, free = self.broker.bootstrap, cluster.free_port(self.broker.port + 2)
        http, free_http = f"127.0.0.1:{self.broker.http_port}", f"127.0.0.1:{free + 1}"
        other, no_directory, strange = self.work / "other", self.work / "file", self.work / "strange"
        no_directory.write_text("x")
        strange.mkdir()
        (strange / "somebody.txt").write_text("x")
        listen = ("--listen", f"127.0.0.1:{free}", "--http", free_http)
        self.run("serve", "--data", str(other), "--listen", taken, "--http", free_http, code=FAILED, says=f"{taken}.*--listen HOST:PORT")
        self.run("serve", "--data", str(other), "--listen", f"127.0.0.1:{free}", "--http", http, code=FAILED, says=f"{http}.*--http HOST:PORT")
        process = self.broker.running().pid
        self.run("serve", "--data", str(self.broker.data), *listen, code=FAILED, says=f"in use by process {process}.*--data DIR")
        self.run("serve", "--data", str(no_directory), *listen, code=FAILED, says="cannot use the data directory.*--data DIR")
        self.run("serve", "--data", str(strange), *listen, code=FAILED, says="no meta.properties.*empty one")
        self.run("serve", "--data", str(other), *listen, "--set", "no.such.key=1", code=FAILED, says="unknown configuration key no.such.key.*strandline keys")
        self.run("serve", "--data", str(other), *listen, "--set", "log.segment.bytes=many", code=FAILED, says="log.segment.bytes")
        self.run("serve", "--data", str(other), *listen, "--config", str(self.work / "missing.toml"), code=FAILED, says="missing.toml")
        with cluster.started("strandline", other, free):
            pass
        self.run("serve", "--data", str(other), *listen, "--set", "cluster.id=another", code=FAILED, says="belongs to cluster.*not another")
        self.run("serve", "--data", str(other), *listen, "--set", "node.id=77", code=FAILED, says="belongs to node 1.*node.id=1")

    def topics(self) -> None:
        keys = json.loads(self.run("keys", "segment.bytes", "--format", "json"))
        expect("keys", [(one["of"], one["key"], one["default"]) for one in keys][-1], ("topic", "segment.bytes", "1073741824"))
        expect("keys for people", "durability" in self.run("keys", "--of", "topic"), True)
        self.ask("topic", "create", TOPIC, "--partitions", "2")
        self.ask("topic", "create", TOPIC, code=FAILED, says="exists already.*--if-not-exists")
        self.ask("topic", "create", TOPIC, "--if-not-exists")
        self.ask("topic", "alter", TOPIC, "--partitions", str(PARTITIONS), "--set", "retention.ms=-1")
        self.ask("topic", "alter", TOPIC, "--set", "retention.ms=soon", code=FAILED, says="retention.ms")
        expect("listed", [one["topic"] for one in self.ask_json("topic", "list")], [TOPIC])
        (described,) = self.ask_json("topic", "describe", TOPIC)
        expect("partitions", [one["partition"] for one in described["partitions"]], list(range(PARTITIONS)))
        expect("configs", list(described["configs"]), ["retention.ms"])
        expect("described for people", len(self.ask("topic", "describe", TOPIC).splitlines()) > PARTITIONS, True)
        self.ask("topic", "create", "short-lived")
        answers = self.ask_json("topic", "delete", "short-lived", "never-there", code=FAILED)
        expect("deleted", [one["status"] for one in answers], ["deleted", "failed"])

    def produce_and_consume(self) -> None:
        before = time.time_ns() // 1_000_000
        for codec in ("none", "gzip:9", "snappy", "lz4", "zstd:3"):
            told = self.ask_json("produce", TOPIC, "-k", ":", "--null", "NIL", "--header", "color=red", "-c", codec, "-p", "0", given="a:1\nNIL:2\nc:NIL\n")
            expect(f"{codec}: stored", told["records"], 3)
        self.ask("produce", TOPIC, "--acks", "1", "-p", "1", given="one\n")
        self.ask("produce", TOPIC, "--acks", "0", "-p", "1", given="none\n")
        self.ask("produce", TOPIC, "-f", str(self.broker.log_path), "-p", "2")
        lines = [json.loads(line) for line in self.ask("consume", TOPIC, "-p", "0", "--format", "json").splitlines()]
        expect("records", [(one["offset"], one["key"], one["value"]) for one in lines[:3]], [(0, "a", "1"), (1, None, "2"), (2, "c", None)])
        expect("headers", lines[0]["headers"], [{"key": "color", "value": "red"}])
        expect("from an offset", len(self.ask("consume", TOPIC, "-p", "0", "--from", "10").splitlines()), 5)
        expect("from a time", len(self.ask("consume", TOPIC, "-p", "0", "--from", f"@{before}").splitlines()), 15)
        expect("from a later time", self.ask("consume", TOPIC, "-p", "0", "--from", "2100-01-01T00:00:00Z"), "")
        expect("from the end", self.ask("consume", TOPIC, "--from", "end"), "")
        expect("a count", self.ask("consume", TOPIC, "-p", "0", "-n", "2", "--format", "key-value", "-k", "=", "--null", "~"), "a=1\n~=2\n")
        expect("acks 1 and 0", self.ask("consume", TOPIC, "-p", "1"), "one\nnone\n")

    def follow(self) -> None:
        words = [self.broker.binary, "consume", TOPIC, "--from", "end", "--follow", "-n", "1", "--bootstrap", self.broker.bootstrap]
        with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as following:
            time.sleep(1.0)
            self.ask("produce", TOPIC, given="late\n")
            expect("followed", following.communicate(timeout=COMMAND_SECONDS)[0], "late\n")

    def progress(self) -> None:
        long = self.work / "long.txt"
        long.write_text("".join(f"line {number} of a long input\n" for number in range(LINES)))
        self.ask("produce", TOPIC, "-f", str(long), "--progress", says=f"{LINES:,} records, .* in ")

    def wrong_ends(self) -> None:
        self.run("topic", "list", "--bootstrap", "127.0.0.1:1", code=UNREACHABLE, says="strandline serve.*--bootstrap HOST:PORT")
        self.ask("consume", "never-there", code=FAILED, says="strandline topic list")
        self.ask("produce", TOPIC, "-f", str(self.work / "missing.txt"), code=LOCAL, says="missing.txt")
        self.ask("produce", TOPIC, "-k", ":", given="no separator\n", code=LOCAL, says="line 1 has no key separator")
        self.run("topic", "create", code=USAGE)
        self.run("log", "dump", str(self.work / "long.txt"), code=LOCAL, says="no file of a log directory")
        help_text = self.run("--help")
        expect("exit codes in the help", all(f"  {code}  " in help_text for code in (DONE, FAILED, USAGE, UNREACHABLE, LOCAL)), True)

    def dumps(self) -> None:
        """Every kind of file that a broker leaves, read by our own tool, as a table and as JSON."""
        root = self.broker.data
        files = sorted(path for path in root.rglob("*") if path.is_file() and path.name not in (".lock", ".kafka_cleanshutdown"))
        kinds = {re.sub(r"^\d{20}(-\d{10})?", "", path.name) for path in files}
        needed = {".log", ".index", ".timeindex", ".snapshot", "leader-epoch-checkpoint", "partition.metadata", "meta.properties", "quorum-state", "recovery-point-offset-checkpoint", "log-start-offset-checkpoint", "replication-offset-checkpoint"}
        expect("kinds of files that are missing", needed - kinds, set())
        for path in files:
            self.run("log", "dump", str(path))
            for line in self.run("log", "dump", str(path), "--format", "json").splitlines():
                json.loads(line)
        segment = next(path for path in files if path.suffix == ".log" and TOPIC in path.parent.name)
        expect("records of a segment", self.run("log", "dump", "--records", str(segment)) != "", True)


def first_ack(work: pathlib.Path, port: int, seconds_max: float) -> None:
    """From the start of the process in an empty directory to the first acknowledged record, and what the idle broker weighs then."""
    found = []
    for number in range(FIRST_ACK_ROUNDS):
        broker = cluster.broker_of("strandline", work / f"empty-{number}", port)
        began = time.monotonic()
        broker.start(wait=False)
        acknowledge(broker)
        found.append(time.monotonic() - began)
        time.sleep(0.5)
        resident = broker.resident_bytes() >> 20
        broker.stop()
    print(f"first acknowledged record after {statistics.median(found) * 1000:.0f} ms ({min(found) * 1000:.0f} to {max(found) * 1000:.0f}); {resident} MiB idle", flush=True)
    if statistics.median(found) > seconds_max:
        raise Failed(f"the first acknowledged record took {statistics.median(found):.2f} s")
    if resident > IDLE_RESIDENT_MIB_MAX:
        raise Failed(f"an idle broker holds {resident} MiB")


def acknowledge(broker: Broker) -> None:
    """Creates a topic and has one record acknowledged, trying again until somebody listens and leads."""
    while True:
        broker.check_running()
        try:
            with socket.create_connection(("127.0.0.1", broker.port), 1) as connection:
                wire.exchange(connection, wire.create_topics("first", 1, validate_only=False))
                request = wire.produce("first", wire.batch([b"first"]))
                while not wire.is_acknowledged("first", wire.exchange(connection, request)):
                    time.sleep(0.002)
                return
        except ConnectionRefusedError:
            time.sleep(0.002)


def many_partitions(work: pathlib.Path, port: int) -> None:
    """10,000 partitions, all with records, killed with -9: how long until they serve again."""
    broker = cluster.broker_of("strandline", work / "many", port)
    assert isinstance(broker, Strandline)
    broker.start()
    steps = Steps(broker, work)
    names = [f"many-{number}" for number in range(10)]
    keyed = work / "keyed.txt"
    keyed.write_text("".join(f"{number}:value\n" for number in range(KEYS)))
    for name in names:
        steps.ask("topic", "create", name, "--partitions", str(MANY_PARTITIONS // len(names)))
        steps.ask("produce", name, "-k", ":", "-f", str(keyed))
    broker.kill()
    began = time.monotonic()
    broker.start()
    took = time.monotonic() - began
    expect("partitions after the restart", sum(len(one["partitions"]) for one in steps.ask_json("topic", "describe", *names)), MANY_PARTITIONS)
    directories = sum(1 for path in broker.data.iterdir() if path.name.startswith("many-"))
    expect("partitions with records", directories, MANY_PARTITIONS)
    with urllib.request.urlopen(f"http://127.0.0.1:{broker.http_port}/readyz", timeout=5) as answer:
        expect("ready", answer.status, 200)
    print(f"{MANY_PARTITIONS:,} partitions serve {took:.2f} s after kill -9; {broker.resident_bytes() >> 20} MiB", flush=True)
    broker.stop()
    if took > RESTART_SECONDS_MAX:
        raise Failed(f"the restart took {took:.2f} s")


def expect(what: str, found: object, wanted: object) -> None:
    if found != wanted:
        raise Failed(f"{what}: {found!r} instead of {wanted!r}")


if __name__ == "__main__":
    sys.exit(main())
