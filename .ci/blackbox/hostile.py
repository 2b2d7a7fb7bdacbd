"""A hundred connections send what no client would; the broker neither falls nor swells, and a well-behaved client beside them is served.

Random bytes, mutated and truncated frames, lengths and counts out of all proportion, batches with a right checksum around wrong
content, bombs of compression, drop-by-drop senders, half-closed and reset connections; and those who ask for everything that a
full topic holds and take none of it, begin large frames and end none, or say nothing at all. Loopback only, bounded in time. With `--nodes 3`
they fall upon a cluster, at the ports of its brokers and of its controllers.
"""

import concurrent.futures
import contextlib
import os
import pathlib
import random
import socket
import struct
import sys
import threading
import time
import urllib.request
import zlib

from confluent_kafka import KafkaError, Producer, TopicPartition
from confluent_kafka.admin import AdminClient

from . import admin, cluster, wire
from .cluster import Broker, Failed
from .load import consumer_of, passing
from .nodes import NODES, Cluster

CONNECTIONS = 100
SECONDS = {"gate": 10, "full": 60}
TOPIC = "hostile"
POLITE_TOPIC = "polite"
#: What the attackers' topic holds from the start, so that an answer that nobody takes weighs something: small batches first, then large.
SMALL_BATCHES = 4_000
LARGE_BATCHES = 40
LARGE_BATCH_BYTES = 1_000_000
POLITE_PAUSE_SECONDS = 0.02
#: The polite client shares two cores with a hundred attackers; served means answered within this.
POLITE_ANSWER_SECONDS_MAX = 5.0
POLITE_SERVED_LEAST_PER_SECOND = 5
#: Kafka's heap is a gigabyte from the start and fills as it likes.
GROWTH_MIB_MAX = {"kafka": 1536}
GROWTH_MIB_MAX_ELSE = 512
#: File descriptors that may remain after all attackers are gone.
DESCRIPTORS_LEFT_MAX = 30
#: Who began a large frame, and is waited for while room for such frames is scarce, is closed ten seconds and one for every MiB declared later.
SETTLE_SECONDS_MAX = 120
SOCKET_SECONDS = 0.3
#: How long an attacker sits on what it has, at most.
HOLD_SECONDS_MAX = 8.0
#: Of a frame that is never whole: what is declared, and what comes at most.
BEGUN_DECLARED = 90 << 20
BEGUN_SENT_MAX = 20 << 20
#: One attack in so many goes to the HTTP port, where there is one.
HTTP_SHARE = 0.1
HTTP_SECONDS = 5
EXTREMES = (b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff", b"\x80\0\0\0", b"\0\0\0\0", b"\xff\xff", b"\x7f\xff", b"\xff\xff\xff\xff\x0f", b"\xff" * 10)


def main() -> int:
    parser = cluster.arguments(__doc__)
    parser.add_argument("--seconds", type=float)
    parser.add_argument("--seed", type=int, default=time.time_ns() % 1_000_000)
    parser.add_argument("--growth-mib", type=int, help=f"by how much a broker's memory may grow (default: {GROWTH_MIB_MAX_ELSE})")
    parser.add_argument("--nodes", type=int, choices=(1, NODES), default=1, help="how many brokers are attacked")
    chosen = parser.parse_args()
    seconds = chosen.seconds or SECONDS[chosen.profile]
    with cluster.workspace(chosen.work) as work, contextlib.ExitStack() as stack:
        if chosen.nodes == 1:
            broker = stack.enter_context(cluster.started(chosen.broker, work / "broker", cluster.free_port(chosen.port)))
            brokers, ports = [broker], [broker.port]
        elif chosen.broker == "strandline":
            nodes = stack.enter_context(Cluster(work, cluster.free_port(chosen.port)))
            nodes.start()
            brokers = list(nodes.nodes.values())
            ports = [port for node in brokers for port in (node.port, node.port + 1)]
        else:
            print("left out: a cluster is started here")
            return 0
        bootstrap = ",".join(broker.bootstrap for broker in brokers)
        admin.create_topics(bootstrap, [TOPIC, POLITE_TOPIC], replicas=chosen.nodes)
        fill(leader_of(brokers, bootstrap).port)
        growth_mib = chosen.growth_mib or GROWTH_MIB_MAX.get(brokers[0].kind, GROWTH_MIB_MAX_ELSE)
        siege(brokers, ports, bootstrap, seconds, chosen.seed, growth_mib << 20)
        if chosen.nodes > 1:
            nodes.wait_until_healthy()
            nodes.stop()
    return 0


def leader_of(brokers: list[Broker], bootstrap: str) -> Broker:
    shown = AdminClient({"bootstrap.servers": bootstrap}).list_topics(TOPIC, timeout=POLITE_ANSWER_SECONDS_MAX)
    leader = shown.brokers[shown.topics[TOPIC].partitions[0].leader]
    return next(broker for broker in brokers if broker.port == leader.port)


def fill(port: int) -> None:
    small = wire.batch([b"alpha", b"beta" * 100])
    large = wire.batch([random.Random(1).randbytes(LARGE_BATCH_BYTES)])
    with socket.create_connection(("127.0.0.1", port)) as connection:
        for record_batch, count in ((small, SMALL_BATCHES), (large, LARGE_BATCHES)):
            for _ in range(count):
                wire.exchange(connection, wire.produce(TOPIC, record_batch))


def siege(brokers: list[Broker], ports: list[int], bootstrap: str, seconds: float, seed: int, growth_max: int) -> None:
    polite = Polite(bootstrap)
    polite.run_for(2.0)
    before = [resident(broker) for broker in brokers]
    descriptors = [open_descriptors(broker) for broker in brokers]
    print(f"{CONNECTIONS} connections to {len(ports)} ports for {seconds:g} s, seed {seed}", flush=True)
    with concurrent.futures.ProcessPoolExecutor(1) as other_process:
        attacks = other_process.submit(attack, ports, [broker.http_port for broker in brokers if broker.http_port], seed, seconds)
        highest, served_before, began = list(before), polite.served, time.monotonic()
        worker = threading.Thread(target=polite.run_for, args=(seconds,))
        worker.start()
        while worker.is_alive():
            time.sleep(0.1)
            for broker in brokers:
                broker.check_running()
            highest = [max(most, resident(broker)) for most, broker in zip(highest, brokers, strict=True)]
        served_per_second = (polite.served - served_before) / (time.monotonic() - began)
        count = attacks.result(timeout=60)
    print(
        f"{count:,} attacks; memory {mebibytes(before)} MiB before, {mebibytes(highest)} MiB at most; "
        f"polite client: {served_per_second:.1f} round trips a second, slowest {polite.slowest * 1000:.0f} ms"
    )
    grown = [most - least for most, least in zip(highest, before, strict=True)]
    problems = [f"memory grew by {growth >> 20} MiB" for growth in grown if growth > growth_max]
    verdict(brokers, polite, served_per_second, descriptors, problems)


def resident(broker: Broker) -> int:
    return broker.resident_bytes() if broker.process else 0


def mebibytes(amounts: list[int]) -> str:
    return ", ".join(str(amount >> 20) for amount in amounts)


def attack(ports: list[int], http_ports: list[int], seed: int, seconds: float) -> int:
    """All attackers, in a process of their own so that they do not slow the polite client down by the interpreter's lock."""
    over = threading.Event()
    attackers = [Attacker(ports, http_ports, random.Random(f"{seed} {number}"), over) for number in range(CONNECTIONS)]
    for attacker in attackers:
        attacker.start()
    over.wait(seconds)
    over.set()
    for attacker in attackers:
        attacker.join(10)
    return sum(attacker.attacks for attacker in attackers)


def verdict(brokers: list[Broker], polite: "Polite", served_per_second: float, descriptors: list[int], problems: list[str]) -> None:
    problems += polite.problems
    if polite.slowest > POLITE_ANSWER_SECONDS_MAX:
        problems.append(f"the polite client waited {polite.slowest:.1f} s for an answer")
    if served_per_second < POLITE_SERVED_LEAST_PER_SECOND:
        problems.append(f"the polite client was served only {served_per_second:.1f} times a second")
    for broker, before in zip(brokers, descriptors, strict=True):
        if not wire.answers(broker.port):
            problems.append(f"the broker on port {broker.port} does not answer any more")
        if broker.http_port is not None and not serves_metrics(broker.http_port):
            problems.append(f"the HTTP port {broker.http_port} does not serve metrics any more")
        left = settled_descriptors(broker, before)
        if left > before + DESCRIPTORS_LEFT_MAX:
            problems.append(f"{left} file descriptors are open, {before} were before")
        broker.check_running()
        broker.check_log()
    polite.run_for(1.0)
    if problems + polite.problems:
        raise Failed("\n".join(dict.fromkeys(problems + polite.problems)))


def serves_metrics(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=HTTP_SECONDS) as answer:
            return answer.status == 200
    except OSError:
        return False


def open_descriptors(broker: Broker) -> int:
    return len(os.listdir(pathlib.Path("/proc") / str(broker.process.pid) / "fd")) if broker.process else 0


def settled_descriptors(broker: Broker, before: int) -> int:
    """Closed connections take the broker a moment to notice; those with a large frame that never ends longer."""
    deadline = time.monotonic() + SETTLE_SECONDS_MAX
    while open_descriptors(broker) > before + DESCRIPTORS_LEFT_MAX and time.monotonic() < deadline:
        time.sleep(0.1)
    return open_descriptors(broker)


class Polite:
    """Writes a record, waits for the acknowledgement, reads it back, again and again."""

    def __init__(self, bootstrap: str) -> None:
        self.producer = Producer({"bootstrap.servers": bootstrap, "enable.idempotence": True, "linger.ms": 0, "log_level": 0})
        self.consumer = consumer_of(bootstrap)
        self.consumer.assign([TopicPartition(POLITE_TOPIC, 0, 0)])
        self.served = 0
        self.slowest = 0.0
        self.problems: list[str] = []

    def run_for(self, seconds: float) -> None:
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline and not self.problems:
            began = time.monotonic()
            value = b"polite %d" % self.served
            self.producer.produce(POLITE_TOPIC, value, on_delivery=self.answered)
            if self.producer.flush(POLITE_ANSWER_SECONDS_MAX * 2):
                self.problems.append("a polite record was not acknowledged")
            elif not self.problems:
                self.read_back(value)
            if self.served:
                self.slowest = max(self.slowest, time.monotonic() - began)
            self.served += 1
            time.sleep(POLITE_PAUSE_SECONDS)

    def answered(self, error: KafkaError | None, _: object) -> None:
        if error is not None:
            self.problems.append(f"a polite record was refused: {error}")

    def read_back(self, value: bytes) -> None:
        deadline = time.monotonic() + POLITE_ANSWER_SECONDS_MAX * 2
        while time.monotonic() < deadline:
            message = self.consumer.poll(0.5)
            if message is None:
                continue
            error = message.error()
            if error is None:
                if message.value() != value:
                    self.problems.append(f"the polite client read {message.value()!r} instead of {value!r}")
                return
            if error.code() >= 0 and not passing(error):
                self.problems.append(f"the polite client cannot read: {error}")
                return
        self.problems.append("a polite record was not read back")


class Attacker(threading.Thread):
    """One connection at a time, one bad idea after the other."""

    def __init__(self, ports: list[int], http_ports: list[int], rng: random.Random, over: threading.Event) -> None:
        super().__init__(daemon=True)
        self.ports, self.http_ports, self.rng, self.over = ports, http_ports, rng, over
        self.attacks = 0
        self.frames = wire.valid_requests(TOPIC)

    def run(self) -> None:
        broken = (self.noise, self.mutants, self.mutants, self.mutants, self.cut_short, self.out_of_proportion, self.wrong_batches)
        rude = (self.drop_by_drop, self.half_closed, self.reset, self.unread_answers)
        greedy = (self.hoard, self.hoard, self.begin_large_frames, self.say_nothing)
        ideas = broken + rude + greedy
        while not self.over.is_set():
            to_http = self.http_ports and self.rng.random() < HTTP_SHARE
            port, idea = (self.rng.choice(self.http_ports), self.http_noise) if to_http else (self.rng.choice(self.ports), self.rng.choice(ideas))
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 2) as connection:
                connection.settimeout(SOCKET_SECONDS)
                idea(connection)
            self.attacks += 1

    def drain(self, connection: socket.socket) -> None:
        """Takes one answer, or the end of the connection, or nothing for a while."""
        connection.recv(65536)

    def noise(self, connection: socket.socket) -> None:
        connection.sendall(self.rng.randbytes(self.rng.choice((1, 4, 100, 5_000, 200_000))))
        self.drain(connection)

    def http_noise(self, connection: socket.socket) -> None:
        """The other port, with requests too long, too many, cut short, or not HTTP at all."""
        ask = b"GET /metrics HTTP/1.1\r\nHost: x\r\n"
        connection.sendall(
            self.rng.choice(
                (
                    self.rng.randbytes(2_000),
                    ask,
                    ask + b"X-Long: " + b"a" * 200_000,
                    b"GET /" + b"%2e%2e/" * 5_000 + b" HTTP/1.1\r\n\r\n",
                    b"POST /metrics HTTP/1.1\r\nHost: x\r\nContent-Length: 9999999999\r\n\r\n" + b"x" * 50_000,
                    b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\n",
                    (ask + b"\r\n") * 50,
                    self.rng.choice(self.frames),
                )
            )
        )
        self.drain(connection)

    def mutants(self, connection: socket.socket) -> None:
        for _ in range(self.rng.randrange(1, 30)):
            connection.sendall(mutated(self.rng, self.rng.choice(self.frames)))
            if self.rng.random() < 0.5:
                self.drain(connection)

    def cut_short(self, connection: socket.socket) -> None:
        frame = self.rng.choice(self.frames)
        connection.sendall(frame[: self.rng.randrange(1, len(frame))])
        if self.rng.random() < 0.5:
            self.drain(connection)

    def out_of_proportion(self, connection: socket.socket) -> None:
        length = self.rng.choice((-1, -(1 << 31), 0, 1, 3, 7, (1 << 31) - 1, 100 << 20, (100 << 20) + 1, 0x48545450))
        connection.sendall(struct.pack(">i", length) + self.rng.randbytes(self.rng.randrange(0, 20_000)))
        self.drain(connection)

    def wrong_batches(self, connection: socket.socket) -> None:
        for _ in range(self.rng.randrange(1, 10)):
            connection.sendall(wire.produce(TOPIC, wrong_batch(self.rng), acks=self.rng.choice((-1, 1))))
            self.drain(connection)

    def drop_by_drop(self, connection: socket.socket) -> None:
        frame = self.rng.choice(self.frames)
        for position in range(len(frame)):
            connection.sendall(frame[position : position + 1])
            if self.over.wait(0.02):
                return

    def half_closed(self, connection: socket.socket) -> None:
        frame = self.rng.choice(self.frames)
        connection.sendall(frame if self.rng.random() < 0.5 else frame[:-1])
        connection.shutdown(socket.SHUT_WR)
        self.drain(connection)

    def reset(self, connection: socket.socket) -> None:
        connection.sendall(self.rng.choice(self.frames))
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    def unread_answers(self, connection: socket.socket) -> None:
        """Asks and asks without ever taking an answer."""
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        asks = (wire.fetch(TOPIC, max_bytes=50 << 20, max_wait_ms=0), wire.metadata([TOPIC]), wire.api_versions())
        for _ in range(self.rng.randrange(1, 2_000)):
            connection.sendall(self.rng.choice(asks))
        self.over.wait(0.2)

    def hoard(self, connection: socket.socket) -> None:
        """Asks for everything from anywhere, takes nothing, and stays."""
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        for _ in range(self.rng.randrange(1, 50)):
            offset = self.rng.choice((0, self.rng.randrange(SMALL_BATCHES * 2 + LARGE_BATCHES)))
            connection.sendall(wire.fetch(TOPIC, offset=offset, max_bytes=(1 << 31) - 1, max_wait_ms=0))
        self.over.wait(self.rng.uniform(0, HOLD_SECONDS_MAX))

    def begin_large_frames(self, connection: socket.socket) -> None:
        connection.sendall(struct.pack(">i", BEGUN_DECLARED) + self.rng.choice(self.frames)[4:])
        piece = bytes(1 << 20)
        for _ in range(self.rng.randrange(BEGUN_SENT_MAX // len(piece))):
            connection.sendall(piece)
        self.over.wait(self.rng.uniform(0, HOLD_SECONDS_MAX))

    def say_nothing(self, _: socket.socket) -> None:
        self.over.wait(self.rng.uniform(0, HOLD_SECONDS_MAX))


def mutated(rng: random.Random, frame: bytes) -> bytes:
    """The frame with a few bytes changed; mostly its length is put right, so that the change is reached."""
    body = bytearray(frame[4:])
    for _ in range(rng.choice((1, 1, 1, 2, 5, 20))):
        at = rng.randrange(len(body)) if body else 0
        change = rng.randrange(6)
        if change == 0 and body:
            body[at] ^= 1 << rng.randrange(8)
        elif change == 1 and body:
            body[at] = rng.randrange(256)
        elif change == 2:
            extreme = rng.choice(EXTREMES)
            body[at : at + len(extreme)] = extreme
        elif change == 3:
            del body[at : at + rng.randrange(1, 9)]
        elif change == 4:
            body[at:at] = rng.randbytes(rng.randrange(1, 9))
        else:
            body[at:at] = body[at : at + rng.randrange(1, 64)]
    length = len(body) if rng.random() < 0.9 else len(body) + rng.choice((-3, -1, 1, 3))
    return struct.pack(">i", length) + bytes(body)


def wrong_batch(rng: random.Random) -> bytes:
    """A batch whose checksum holds and whose content does not."""
    kind = rng.randrange(7)
    if kind == 0:
        return wire.batch([], attributes=1, payload=BOMB, count=1)
    if kind == 1:
        return wire.batch([], attributes=2, payload=wire.uvarint((1 << 32) - 1) + rng.randbytes(50), count=1)
    if kind == 2:
        return wire.batch([b"x"], count=rng.choice((0, -1, 2, 1 << 30, (1 << 31) - 1)))
    if kind == 3:
        return wire.batch([b"x"], attributes=rng.choice((0x10, 0x20, 0x30, 5, 6, 7, 0x7FFF)))
    if kind == 4:
        return wire.batch([], attributes=rng.randrange(5), payload=rng.randbytes(rng.randrange(0, 300)), count=rng.randrange(1, 5))
    if kind == 5:
        return wire.batch([], payload=wire.varint(rng.choice((-1, 1 << 31, 1 << 40, 5))) + rng.randbytes(40), count=1)
    whole = bytearray(wire.batch([b"a" * 100] * 3))
    whole[rng.randrange(len(whole))] ^= 1 << rng.randrange(8)
    return bytes(whole) + rng.randbytes(rng.choice((0, 0, 1, 61)))


def bomb() -> bytes:
    """A gzip member of half a megabyte that becomes 512 MiB of zeroes."""
    squeeze = zlib.compressobj(9, zlib.DEFLATED, 31)
    return b"".join([squeeze.compress(b"\0" * (1 << 20)) for _ in range(512)]) + squeeze.flush()


BOMB = bomb()


if __name__ == "__main__":
    sys.exit(main())
