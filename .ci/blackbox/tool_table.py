"""Kafka's command line tools on three brokers, one row a command, so that two systems can be laid beside each other.

`--broker strandline` or `--broker kafka` runs every command of `tools_cluster.py` and `tools_groups.py` and holds what it prints against what it has to
say; `--rows FILE` keeps the rows. `--beside OURS THEIRS` prints the rows of two such files as the table of `KAFKA_TOOLS.md`.
"""

import contextlib
import json
import os
import pathlib
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator

from . import cluster
from .cluster import Failed
from .nodes import Cluster

#: A tool is a Java machine that starts; some wait for a group to settle.
TOOL_SECONDS = 90
SETTLED_SECONDS = 60
#: What both systems are started with.
SETTINGS = {"default.replication.factor": "3", "min.insync.replicas": "2", "group.initial.rebalance.delay.ms": "0"}
#: Tools that the peer script has no name for.
CLASSES = {
    "client-metrics": "org.apache.kafka.tools.ClientMetricsCommand",
    "console-share-consumer": "org.apache.kafka.tools.consumer.ConsoleShareConsumer",
    "delegation-tokens": "org.apache.kafka.tools.DelegationTokenCommand",
    "share-consumer-perf-test": "org.apache.kafka.tools.ShareConsumerPerformance",
    "verifiable-share-consumer": "org.apache.kafka.tools.VerifiableShareConsumer",
}
#: Stands in a command for the brokers' addresses; a command without it gets `--bootstrap-server` in front.
AT = "{at}"
#: How Strandline says that it does not serve something.
UNSERVED = "does not support|have no configuration here"
#: A tool lives for a second: it is not to be compiled for longer than that, and loads its classes from an archive.
QUICK = "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC"


class Table:
    """Runs commands, and keeps a row for each."""

    def __init__(self, kind: str, bootstrap: str, work: pathlib.Path, kept: pathlib.Path | None) -> None:
        self.kind, self.bootstrap, self.work = kind, bootstrap, work
        #: Where rows are kept as they come.
        self.kept = kept
        if kept:
            kept.write_text("")
        self.rows: list[dict[str, str]] = []
        archive = work / "tools.jsa"
        making = os.environ | {"JAVA_TOOL_OPTIONS": f"{QUICK} -XX:ArchiveClassesAtExit={archive}"}
        subprocess.run(self.command("consumer-groups", ("--list",)), env=making, capture_output=True, check=False)
        self.environment = os.environ | {"JAVA_TOOL_OPTIONS": f"{QUICK} -XX:SharedArchiveFile={archive}"}

    def row(self, says: str, name: str, *options: str, fails: bool = False, remark: str = "", typed: str = "", unserved: bool = False) -> str:
        """A command that has to print this, and to end well unless it `fails`. Answers with what it printed. What is `unserved` by Strandline is
        to be refused clearly there."""
        began = time.monotonic()
        if unserved and self.kind == "strandline":
            says, fails = UNSERVED, True
        try:
            done = subprocess.run(self.command(name, options), input=typed, env=self.environment, capture_output=True, text=True, timeout=TOOL_SECONDS, check=False)
            printed, code = without_notes(done.stdout + done.stderr), done.returncode
        except subprocess.TimeoutExpired as late:
            printed, code = text_of(late.stdout) + text_of(late.stderr) + f"\nno end in {TOOL_SECONDS} s", -1
        good = (code != 0) == fails and re.search(says, printed, re.DOTALL) is not None
        well = "not served" if unserved and self.kind == "strandline" else "ok"
        self.keep(name, options, well if good else told(printed, code), remark)
        if not good:
            print(f"{name} {' '.join(options)}: code {code}, expected {says!r}, printed:\n{printed[-3000:]}", flush=True)
        print(f"{'ok' if good else 'NOT'} ({time.monotonic() - began:.1f}s) {name} {' '.join(options)}", flush=True)
        return printed

    def keep(self, name: str, options: tuple[str, ...], result: str, remark: str) -> None:
        shown = " ".join(option.replace(f"{self.work}/", "") for option in options)
        self.rows.append({"tool": name, "command": shown.replace(AT, "..."), "result": result, "remark": remark})
        if self.kept:
            with self.kept.open("a") as file:
                file.write(json.dumps(self.rows[-1]) + "\n")

    def command(self, name: str, options: tuple[str, ...]) -> list[str]:
        words = [option.replace(AT, self.bootstrap) for option in options]
        if not any(AT in option for option in options):
            # Tools with sub-commands take them first or last, as they please.
            words = [words[0], "--bootstrap-server", self.bootstrap, *words[1:]] if name == "cluster" else ["--bootstrap-server", self.bootstrap, *words]
        return [*prefix(name), *words]

    @contextlib.contextmanager
    def running(self, name: str, *options: str, remark: str = "", says: str = "") -> Iterator[pathlib.Path]:
        """A tool that runs meanwhile, with the file that it prints to; its row is whether it printed this by the end."""
        printed = self.work / f"running-{len(self.rows)}.txt"
        with printed.open("wb") as output:
            process = subprocess.Popen(self.command(name, options), stdin=subprocess.DEVNULL, stdout=output, stderr=output, env=self.environment, start_new_session=True)
        try:
            yield printed
        finally:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(SETTLED_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            text = printed.read_text(errors="replace")
            good = re.search(says, text, re.DOTALL) is not None
            self.keep(name, options, "ok" if good else told(text, process.returncode), remark)
            print(f"{'ok' if good else f'NOT {text[-2000:]}'} {name} {' '.join(options)}", flush=True)

    def until(self, says: str, name: str, *options: str) -> None:
        """Asks again until it is said: what stands behind is settled then. No row."""
        deadline = time.monotonic() + SETTLED_SECONDS
        while True:
            done = subprocess.run(self.command(name, options), env=self.environment, capture_output=True, text=True, timeout=TOOL_SECONDS, check=False)
            if re.search(says, done.stdout + done.stderr, re.DOTALL):
                return
            if time.monotonic() > deadline:
                print(f"{name} {' '.join(options)} never said {says!r}: {(done.stdout + done.stderr)[-1500:]}", flush=True)
                return

    def file(self, name: str, contents: object) -> str:
        path = self.work / name
        path.write_text(contents if isinstance(contents, str) else json.dumps(contents))
        return str(path)


def text_of(output: bytes | str | None) -> str:
    return output.decode(errors="replace") if isinstance(output, bytes) else output or ""


def without_notes(printed: str) -> str:
    """Less what Java says of its options."""
    return re.sub(r"^Picked up JAVA_TOOL_OPTIONS.*\n", "", printed, flags=re.MULTILINE)


def told(printed: str, code: int) -> str:
    """The line that says most, of a command that did not do what it has to."""
    lines = [line.strip() for line in printed.splitlines() if line.strip()]
    telling = [line.rpartition("errors.")[2] for line in lines if "Exception: " in line] or [line for line in lines if re.search(r"[Ee]rror|not ", line)]
    return f"code {code}: {(telling or lines or ['nothing printed'])[0][:160]}"


def prefix(name: str) -> list[str]:
    """What runs a tool."""
    if name not in CLASSES:
        tool = cluster.kafka_tool()
        assert tool is not None
        return [*tool, name]
    cache = pathlib.Path(os.environ.get("XDG_CACHE_HOME", pathlib.Path.home() / ".cache"))
    home = pathlib.Path(os.environ.get("STRANDLINE_PEERS", cache / "strandline-peers"))
    libraries = home / f"kafka-{os.environ.get('KAFKA_VERSION', '4.3.1')}/libs"
    return ["java", "-Xmx512M", "-cp", f"{libraries}/*", CLASSES[name]]


@contextlib.contextmanager
def three(kind: str, work: pathlib.Path, port: int) -> Iterator[str]:
    """Three brokers of either kind; answers with their addresses."""
    if kind == "kafka":
        script = cluster.kafka_script()
        assert script is not None
        settings = [word for key, value in SETTINGS.items() for word in ("-s", f"{key}={value}")]
        try:
            started = subprocess.run([script, "start", str(work / "kafka"), "-n", "3", "-p", str(port), "-h", "512M", *settings], check=True, capture_output=True, text=True)
            yield started.stdout.split()[-1]
        finally:
            subprocess.run([script, "stop", str(work / "kafka")], check=False, capture_output=True)
    elif kind == "strandline":
        with Cluster(work, port, settings=SETTINGS) as nodes:
            nodes.start()
            yield nodes.bootstrap
            nodes.check()
            nodes.stop()
    else:
        yield kind


def beside(ours: pathlib.Path, theirs: pathlib.Path) -> None:
    """Prints the table."""
    left, right = ([json.loads(line) for line in path.read_text().splitlines()] for path in (ours, theirs))
    print("| tool | command | Strandline | Apache Kafka | remark |\n|---|---|---|---|---|")
    for row, other in zip(left, right, strict=True):
        if row["tool"] != other["tool"]:
            raise Failed(f"{row} stands beside {other}")
        cells = (row["tool"], f"`{row['command']}`", row["result"], other["result"], row["remark"])
        print("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")


def main() -> int:
    # They use what stands here.
    from . import tools_cluster, tools_groups

    parser = cluster.arguments(__doc__)
    parser.add_argument("--rows", type=pathlib.Path, help="where to keep the rows, a JSON object a line")
    parser.add_argument("--beside", type=pathlib.Path, nargs=2, metavar=("OURS", "THEIRS"), help="print the table of two files of rows, and run nothing")
    steps = {step.__name__: step for step in (*tools_cluster.STEPS, *tools_groups.STEPS)}
    parser.add_argument("--only", choices=sorted(steps), action="append", help="only these steps")
    chosen = parser.parse_args()
    if chosen.beside:
        beside(*chosen.beside)
        return 0
    if cluster.kafka_tool() is None:
        print("left out: Kafka's tools: the peer Kafka is not beside the checkout")
        return 0
    with cluster.workspace(chosen.work) as work, three(chosen.broker, work, cluster.free_port(chosen.port)) as bootstrap:
        table = Table(chosen.broker, bootstrap, work, chosen.rows)
        for name in chosen.only or steps:
            steps[name](table)
        bad = [f"{row['tool']} {row['command']}: {row['result']}" for row in table.rows if row["result"] not in ("ok", "not served")]
        print(f"{len(table.rows)} commands, {len(bad)} not as expected")
        if bad:
            raise Failed("\n".join(bad))
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except Failed as problem:
        sys.exit(f"FAILED: {problem}")
