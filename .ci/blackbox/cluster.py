"""A broker under test: start it, stop it, kill it, start it again, watch it.

Three kinds behind one shape: Strandline's binary, Apache Kafka through the peer script (the reference every proof is
validated against), and a broker that somebody else runs. All listen on loopback only.
"""

import argparse
import atexit
import base64
import contextlib
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator

from . import wire

ROOT = pathlib.Path(__file__).resolve().parents[2]
START_SECONDS_MAX = 60
STOP_SECONDS_MAX = 30
DEFAULT_PORT = 24200


def kafka_tool() -> list[str] | None:
    """The command that runs one of Kafka's own tools, or None if the peer is not beside the checkout."""
    script = kafka_script()
    return [script, "tool"] if script else None


def kafka_script() -> str | None:
    script = os.environ.get("PEER_KAFKA", str(ROOT.parent / "shared/peers/kafka"))
    return script if os.access(script, os.X_OK) else None


class Failed(Exception):
    """The broker did something that no broker may do."""


def strandline_binary() -> str:
    binary = os.environ.get("STRANDLINE", str(ROOT / "target/release/strandline"))
    if not os.access(binary, os.X_OK):
        raise Failed(f"{binary} is not there: build it with `cargo build --release -p strandline`, or name it in STRANDLINE")
    return binary


class Broker:
    """What every kind offers. `log_path` is the file with the broker's own messages."""

    kind = ""
    host = "127.0.0.1"

    def __init__(self, directory: pathlib.Path, port: int) -> None:
        self.directory = directory
        self.port = port
        self.bootstrap = f"127.0.0.1:{port}"
        self.http_port: int | None = None
        self.log_path = directory.with_name(directory.name + ".log")
        self.process: subprocess.Popen[bytes] | None = None
        atexit.register(self.kill)

    def command(self) -> list[str]:
        raise NotImplementedError

    @property
    def data(self) -> pathlib.Path:
        """The log directory: topics and the metadata log."""
        return self.directory

    def start(self, wait: bool = True) -> None:
        assert self.process is None
        with self.log_path.open("ab") as log:
            self.process = subprocess.Popen(self.command(), stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)
        if wait:
            self.wait_until_ready()

    def wait_until_ready(self) -> None:
        deadline = time.monotonic() + START_SECONDS_MAX
        while not wire.answers(self.port, self.host):
            if self.process is not None and self.process.poll() is not None:
                raise Failed(f"the broker stopped with {self.process.returncode} while starting:\n{self.log_tail()}")
            if time.monotonic() > deadline:
                raise Failed(f"the broker does not answer after {START_SECONDS_MAX} s:\n{self.log_tail()}")
            time.sleep(0.02)

    def stop(self) -> None:
        """Asks to stop and waits; a broker that does not stop cleanly has failed."""
        self.running().send_signal(signal.SIGTERM)
        self.wait_until_stopped()

    def wait_until_stopped(self) -> None:
        process = self.running()
        try:
            code = process.wait(STOP_SECONDS_MAX)
        except subprocess.TimeoutExpired as late:
            raise Failed(f"still running {STOP_SECONDS_MAX} s after SIGTERM:\n{self.log_tail()}") from late
        self.process = None
        if code not in self.clean_codes():
            raise Failed(f"stopped with {code} after SIGTERM:\n{self.log_tail()}")

    def clean_codes(self) -> tuple[int, ...]:
        return (0,)

    def kill(self) -> None:
        """kill -9; nothing happens if it is not running."""
        if self.process is not None:
            with contextlib.suppress(ProcessLookupError):
                self.process.kill()
            self.process.wait()
            self.process = None

    def running(self) -> subprocess.Popen[bytes]:
        if self.process is None:
            raise Failed("the broker was not started")
        return self.process

    def check_running(self) -> None:
        if self.process is not None and self.process.poll() is not None:
            raise Failed(f"the broker stopped by itself with {self.process.returncode}:\n{self.log_tail()}")

    def resident_bytes(self) -> int:
        process = self.running()
        for line in pathlib.Path(f"/proc/{process.pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) * 1024
        return 0

    def log_text(self) -> str:
        return self.log_path.read_text(errors="replace") if self.log_path.exists() else ""

    def log_tail(self) -> str:
        return self.log_text()[-3000:]

    def check_log(self) -> None:
        """A panic is a failure even if the broker lived on."""
        lines = [line for line in self.log_text().splitlines() if "panicked" in line]
        if lines:
            raise Failed("the broker's log tells of a panic:\n" + "\n".join(lines[:5]))


class Strandline(Broker):
    kind = "strandline"

    def __init__(self, directory: pathlib.Path, port: int, settings: dict[str, str] | None = None) -> None:
        super().__init__(directory, port)
        self.settings = settings or {}
        self.http_port = port + 1
        self.binary = strandline_binary()

    def command(self) -> list[str]:
        command = [self.binary, "serve", "--data", str(self.directory), "--listen", self.bootstrap, "--http", f"127.0.0.1:{self.http_port}"]
        for key, value in self.settings.items():
            command += ["--set", f"{key}={value}"]
        return command


class Kafka(Broker):
    """Apache Kafka. The first one of a run is started by the peer script, and its command line and configuration are the pattern of all later starts."""

    kind = "kafka"
    pattern: "tuple[list[str], str, pathlib.Path, int] | None" = None

    def __init__(self, directory: pathlib.Path, port: int, settings: dict[str, str] | None = None) -> None:
        super().__init__(directory, port)
        self.settings = settings or {}

    @property
    def data(self) -> pathlib.Path:
        return self.directory / "node1/data"

    @property
    def properties(self) -> pathlib.Path:
        return self.directory / "node1/server.properties"

    def command(self) -> list[str]:
        if not self.properties.exists():
            self.prepare()
            os.sync()  # Its configuration is not what a power cut is to take away.
        assert Kafka.pattern is not None
        return [*Kafka.pattern[0][:-1], str(self.properties)]

    def prepare(self) -> None:
        """Writes the configuration, and formats the directory."""
        self.write_properties()
        tool = kafka_tool()
        assert tool is not None
        identity = base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
        subprocess.run([*tool, "storage", "format", "-t", identity, "-c", str(self.properties)], check=True, capture_output=True)

    def write_properties(self) -> None:
        _, text, directory, port = self.learned()
        self.properties.parent.mkdir(parents=True)
        text = text.replace(str(directory), str(self.directory)).replace(f":{port + 1000}", f":{self.port + 1000}").replace(f":{port}", f":{self.port}")
        self.properties.write_text(text + "".join(f"{key}={value}\n" for key, value in self.settings.items()))

    def learned(self) -> "tuple[list[str], str, pathlib.Path, int]":
        """Lets the peer script start a node once, and keeps how it did that."""
        if Kafka.pattern is None:
            script = kafka_script()
            if script is None:
                raise Failed("the peer Kafka is not beside the checkout")
            subprocess.run([script, "install"], check=True, capture_output=True)
            with tempfile.TemporaryDirectory(prefix="kafka-") as scratch:
                subprocess.run([script, "start", scratch, "-p", str(self.port)], check=True, capture_output=True)
                pid = int(pathlib.Path(scratch, "node1/pid").read_text())
                command = pathlib.Path(f"/proc/{pid}/cmdline").read_text().rstrip("\0").split("\0")
                text = pathlib.Path(scratch, "node1/server.properties").read_text()
                subprocess.run([script, "stop", scratch], check=True, capture_output=True)
                Kafka.pattern = (command, text, pathlib.Path(scratch), self.port)
        return Kafka.pattern

    def clean_codes(self) -> tuple[int, ...]:
        return (0, 143)


class Attached(Broker):
    """A broker that runs already; it cannot be stopped from here."""

    kind = "attached"

    def __init__(self, bootstrap: str) -> None:
        super().__init__(pathlib.Path(tempfile.gettempdir()) / "attached", int(bootstrap.rsplit(":", 1)[1]))
        self.bootstrap = bootstrap

    def start(self, wait: bool = True) -> None:
        self.wait_until_ready()

    def stop(self) -> None:
        pass

    def check_running(self) -> None:
        pass


def arguments(description: str | None) -> argparse.ArgumentParser:
    """The options that all proofs share."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--broker", default="strandline", help="strandline, kafka, or the address of a running one (default: %(default)s)")
    parser.add_argument("--profile", choices=("gate", "full"), default="gate", help="gate: minutes; full: the numbers of the promise")
    parser.add_argument("--port", type=int, default=DEFAULT_PORT, help="first of the ports to use on loopback")
    parser.add_argument("--work", help="where to put data (default: a temporary directory, removed after success)")
    return parser


@contextlib.contextmanager
def workspace(chosen: str | None) -> Iterator[pathlib.Path]:
    """A directory for the data of a proof. It stays when the proof fails, and its path is printed."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("stopped from outside"))
    directory = pathlib.Path(chosen or tempfile.mkdtemp(prefix="blackbox-", dir=os.environ.get("BLACKBOX_TMP")))
    directory.mkdir(parents=True, exist_ok=True)
    try:
        yield directory
    except BaseException:
        print(f"data and logs stay in {directory}", flush=True)
        raise
    shutil.rmtree(directory, ignore_errors=True)


def broker_of(kind: str, directory: pathlib.Path, port: int, settings: dict[str, str] | None = None) -> Broker:
    if kind == "strandline":
        return Strandline(directory, port, settings)
    if kind == "kafka":
        return Kafka(directory, port, settings)
    return Attached(kind)


@contextlib.contextmanager
def started(kind: str, directory: pathlib.Path, port: int, settings: dict[str, str] | None = None) -> Iterator[Broker]:
    """A running broker; at the end its log is searched for panics, and it has to stop cleanly."""
    broker = broker_of(kind, directory, port, settings)
    try:
        broker.start()
        yield broker
        broker.check_running()
        broker.check_log()
        if broker.process is not None:
            broker.stop()
    finally:
        broker.kill()


def free_port(first: int) -> int:
    """The first free port from `first` on whose successor is free too."""
    for port in range(first, first + 500, 2):
        with socket.socket() as one, socket.socket() as two:
            try:
                one.bind(("127.0.0.1", port))
                two.bind(("127.0.0.1", port + 1))
            except OSError:
                continue
            return port
    raise Failed(f"no free port from {first} on")
