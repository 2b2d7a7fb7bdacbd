"""Exactly once, as clients see it: what transactions promise, and a loop that consumes, transforms and produces while everything dies.

First a producer commits, aborts, commits offsets, is fenced by another, and takes too long. Then workers (processes of their own) copy a
topic within transactions, while brokers and workers are killed with kill -9 at random moments. At the end the output, read as
committed, must be the input: every record once, in order per partition. `--nodes 3` runs it on a cluster.
"""

import json
import pathlib
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable

from confluent_kafka import Consumer, KafkaException, Producer, TopicPartition

from . import admin, cluster
from .cluster import Broker, Failed, Strandline

SOURCE, SINK, GROUP = "txn-source", "txn-sink", "txn-copiers"
PARTITIONS = 4
WORKERS = 2
ROUNDS = {"gate": 6, "full": 100}
PROGRESS_RECORDS = 40
#: The feed waits when so many records have not come through yet.
AHEAD_MAX = 3000
PROGRESS_SECONDS = 60
DRAIN_SECONDS = 90
#: Short sessions, so that a worker's death is noticed within a round.
SETTINGS = {
    "group.initial.rebalance.delay.ms": "0",
    "group.min.session.timeout.ms": "1000",
    "transaction.abort.timed.out.transaction.cleanup.interval.ms": "1000",
    "offsets.topic.num.partitions": "5",
    "transaction.state.log.num.partitions": "5",
}


def main() -> int:
    parser = cluster.arguments(__doc__)
    parser.add_argument("--rounds", type=int)
    parser.add_argument("--nodes", type=int, default=1)
    parser.add_argument("--seed", type=int, default=time.time_ns() % 1_000_000)
    chosen = parser.parse_args()
    rounds = chosen.rounds or ROUNDS[chosen.profile]
    with cluster.workspace(chosen.work) as work:
        print(f"{rounds} rounds on {chosen.nodes} nodes, seed {chosen.seed}", flush=True)
        brokers = brokers_of(chosen, work)
        try:
            for broker in brokers:
                broker.start(wait=False)
            for broker in brokers:
                broker.wait_until_ready()
            bootstrap = ",".join(broker.bootstrap for broker in brokers)
            wait_for_brokers(bootstrap, len(brokers))
            replicas = min(3, len(brokers))
            semantics(bootstrap, replicas)
            for topic in (SOURCE, SINK):
                admin.create_topics(bootstrap, [topic], PARTITIONS, {}, replicas)
            copy(brokers, bootstrap, rounds, random.Random(chosen.seed), work)
            for broker in brokers:
                broker.check_running()
                broker.check_log()
            for broker in brokers:
                broker.stop()
        finally:
            for broker in brokers:
                broker.kill()
    return 0


def brokers_of(chosen, work: pathlib.Path) -> list[Broker]:
    if chosen.nodes == 1:
        return [cluster.broker_of(chosen.broker, work / "broker", cluster.free_port(chosen.port), dict(SETTINGS))]
    first = cluster.free_port(chosen.port)
    ports = [first + 10 * number for number in range(chosen.nodes)]
    voters = ",".join(f"{number + 1}@127.0.0.1:{port + 2}" for number, port in enumerate(ports))
    return [Node(work / f"node-{number + 1}", port, number + 1, voters) for number, port in enumerate(ports)]


class Node(Strandline):
    """One of several: broker and controller."""

    def __init__(self, directory: pathlib.Path, port: int, number: int, voters: str) -> None:
        here = {"node.id": str(number), "cluster.id": "transactions-proof-1-2", "controller.quorum.voters": voters, "controller.listener.names": "CONTROLLER"}
        listeners = f"PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{port + 2}"
        shared = {"default.replication.factor": "3", "min.insync.replicas": "2", "broker.session.timeout.ms": "3000", "broker.heartbeat.interval.ms": "500"}
        super().__init__(directory, port, {**SETTINGS, **here, **shared, "listeners": listeners})

    def command(self) -> list[str]:
        command = super().command()
        listen = command.index("--listen")
        return command[:listen] + command[listen + 2 :]


def wait_for_brokers(bootstrap: str, count: int) -> None:
    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": "none"})
    until(lambda: len(consumer.list_topics(timeout=10).brokers) == count, 30, "the cluster is not complete")
    consumer.close()


def until(holds: Callable[[], bool], seconds: float, otherwise: str) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > deadline:
            raise Failed(f"{otherwise} after {seconds} s")
        time.sleep(0.05)


# What is promised.


def semantics(bootstrap: str, replicas: int) -> None:
    topic = "txn-semantics"
    admin.create_topics(bootstrap, [topic], 1, {}, replicas)
    one = transactional(bootstrap, "one")
    one.init_transactions(30)
    for outcome in ("commit", "abort", "commit"):
        one.begin_transaction()
        one.produce(topic, outcome.encode())
        one.flush(10)
        before = read(bootstrap, topic)
        one.commit_transaction(30) if outcome == "commit" else one.abort_transaction(30)
        settled = [b"commit"] * (len(before) + (outcome == "commit"))
        until(lambda settled=settled: read(bootstrap, topic) == settled, 20, f"after {outcome} readers of committed records see {read(bootstrap, topic)}")
    expect(len(read(bootstrap, topic, "read_uncommitted")) == 3, "readers of everything see what was aborted")
    print("commits and aborts are seen as such", flush=True)
    offsets_within(bootstrap, topic)
    fencing(bootstrap, topic)
    overtime(bootstrap, topic)


def offsets_within(bootstrap: str, topic: str) -> None:
    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": "txn-offsets", "enable.auto.commit": False})
    place = TopicPartition(topic, 0)
    consumer.assign([TopicPartition(topic, 0, 0)])
    producer = transactional(bootstrap, "offsets")
    producer.init_transactions(30)
    for outcome, offset, seen in (("abort", 2, -1001), ("commit", 3, 3), ("abort", 1, 3)):
        producer.begin_transaction()
        producer.send_offsets_to_transaction([TopicPartition(topic, 0, offset)], consumer.consumer_group_metadata(), 30)
        producer.commit_transaction(30) if outcome == "commit" else producer.abort_transaction(30)
        until(lambda seen=seen: consumer.committed([place], 10)[0].offset == seen, 20, f"after {outcome} of {offset} the group is at {consumer.committed([place], 10)[0].offset}")
    consumer.close()
    print("offsets count with their transaction", flush=True)


def fencing(bootstrap: str, topic: str) -> None:
    first = transactional(bootstrap, "fenced")
    first.init_transactions(30)
    first.begin_transaction()
    first.produce(topic, b"fenced")
    first.flush(10)
    second = transactional(bootstrap, "fenced")
    second.init_transactions(30)
    try:
        first.commit_transaction(30)
        raise Failed("a producer that was fenced has committed")
    except KafkaException as error:
        expect(error.args[0].fatal(), f"a fenced producer gets {error.args[0]}, which it may take for passing")
    second.begin_transaction()
    second.produce(topic, b"after fencing")
    second.commit_transaction(30)
    until(lambda: read(bootstrap, topic)[-1:] == [b"after fencing"], 20, "the second producer's record is not there")
    expect(b"fenced" not in read(bootstrap, topic), "the fenced producer's record is committed")
    print("a second producer fences the first", flush=True)


def overtime(bootstrap: str, topic: str) -> None:
    slow = transactional(bootstrap, "slow", **{"transaction.timeout.ms": 1500})
    slow.init_transactions(30)
    slow.begin_transaction()
    slow.produce(topic, b"slow")
    slow.flush(10)
    quick = transactional(bootstrap, "quick")
    quick.init_transactions(30)
    quick.begin_transaction()
    quick.produce(topic, b"behind the slow one")
    quick.commit_transaction(30)
    until(lambda: read(bootstrap, topic)[-1:] == [b"behind the slow one"], 30, "a transaction over its time still holds readers up")
    expect(b"slow" not in read(bootstrap, topic), "a transaction over its time is committed")
    try:
        slow.commit_transaction(30)
        raise Failed("a transaction over its time was committed after all")
    except KafkaException:
        pass
    print("a transaction over its time is aborted", flush=True)


def transactional(bootstrap: str, name: str, **settings) -> Producer:
    # librdkafka 2.16 that begins anew with its bootstrap servers while a request to the coordinator is to be sent again never sends it.
    return Producer({"bootstrap.servers": bootstrap, "metadata.recovery.strategy": "none", "transactional.id": name, "transaction.timeout.ms": 15000, "linger.ms": 2, "log_level": 2, **settings})


def read(bootstrap: str, topic: str, isolation: str = "read_committed") -> list[bytes]:
    """What is there now."""
    return [value for values in everything(bootstrap, topic, isolation).values() for value in values]


def everything(bootstrap: str, topic: str, isolation: str) -> dict[int, list[bytes]]:
    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": "txn-reader", "isolation.level": isolation, "enable.auto.commit": False, "enable.partition.eof": True, "log_level": 2})
    partitions = list(consumer.list_topics(topic, 20).topics[topic].partitions)
    values: dict[int, list[bytes]] = {partition: [] for partition in partitions}
    consumer.assign([TopicPartition(topic, partition, 0) for partition in partitions])
    ended: set[int] = set()
    deadline = time.monotonic() + 60
    while len(ended) < len(partitions):
        if time.monotonic() > deadline:
            raise Failed(f"{topic} cannot be read to its end")
        for message in consumer.consume(1000, 0.2):
            if message.error() is None:
                values[message.partition()].append(message.value())
            elif message.error().name() == "_PARTITION_EOF":
                ended.add(message.partition())
    consumer.close()
    return values


def expect(holds: bool, otherwise: str) -> None:
    if not holds:
        raise Failed(otherwise)


# The loop.


def copy(brokers: list[Broker], bootstrap: str, rounds: int, rng: random.Random, work: pathlib.Path) -> None:
    workers = Workers(bootstrap, work)
    watch = Watch(bootstrap)
    feed = Feed(bootstrap, watch)
    try:
        for number in range(1, rounds + 1):
            before = watch.seen
            until(lambda before=before: workers.revive() and watch.seen >= before + PROGRESS_RECORDS, PROGRESS_SECONDS, f"round {number}: {watch.seen - before} of {PROGRESS_RECORDS} records came through")
            time.sleep(rng.uniform(0, 0.4))
            struck = strike(brokers, workers, rng)
            print(f"round {number}: {watch.seen} records through, then {struck}", flush=True)
        feed.stop()
        source = everything(bootstrap, SOURCE, "read_committed")
        count = sum(map(len, source.values()))
        until(lambda: workers.revive() and watch.seen >= count, DRAIN_SECONDS, f"{watch.seen} of {count} records came through")
    finally:
        feed.stop()
        workers.stop()
        watch.stop()
    sink = everything(bootstrap, SINK, "read_committed")
    judge(source, sink, feed.acknowledged)
    print(f"{count} records, each through once and in order; {workers.started - WORKERS} workers were replaced", flush=True)


def strike(brokers: list[Broker], workers: "Workers", rng: random.Random) -> str:
    if rng.random() < 0.25:
        return f"worker {workers.kill(rng)} is killed"
    broker = rng.choice(brokers)
    broker.check_running()
    broker.kill()
    time.sleep(rng.choice((0, 0, 0.5, 1.5)))
    broker.start()
    return f"{broker.directory.name} is killed"


def judge(source: dict[int, list[bytes]], sink: dict[int, list[bytes]], acknowledged: set[bytes]) -> None:
    problems = []
    for partition, given in source.items():
        copied = sink[partition]
        if copied == given:
            continue
        twice, lost = len(copied) - len(set(copied)), set(given) - set(copied)
        place = next((index for index, pair in enumerate(zip(given, copied)) if pair[0] != pair[1]), min(len(given), len(copied)))
        problems.append(f"partition {partition}: {len(given)} in, {len(copied)} out, {twice} twice, {len(lost)} lost ({sorted(lost)[:3]}); they part at {place}: {given[place : place + 3]} and {copied[place : place + 3]}")
    missing = acknowledged - {value for values in source.values() for value in values}
    if missing:
        problems.append(f"{len(missing)} acknowledged records are not in the source: {sorted(missing)[:3]}")
    if problems:
        raise Failed("\n".join(problems))


class Feed:
    """Writes into the source, a little all the time."""

    def __init__(self, bootstrap: str, watch: "Watch") -> None:
        self.watch = watch
        self.producer = Producer({"bootstrap.servers": bootstrap, "enable.idempotence": True, "linger.ms": 5, "log_level": 2, "message.timeout.ms": 120000})
        self.acknowledged: set[bytes] = set()
        self.ending = threading.Event()
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def run(self) -> None:
        number = 0
        while not self.ending.is_set():
            if number * PARTITIONS < self.watch.seen + AHEAD_MAX:
                for partition in range(PARTITIONS):
                    self.producer.produce(SOURCE, f"{partition}:{number}".encode(), partition=partition, on_delivery=self.delivered)
                number += 1
            self.producer.poll(0.02)
        self.producer.flush(120)

    def delivered(self, error, message) -> None:
        if error is None:
            self.acknowledged.add(message.value())

    def stop(self) -> None:
        self.ending.set()
        self.thread.join()


class Watch:
    """Counts what is committed in the sink."""

    def __init__(self, bootstrap: str) -> None:
        self.consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": "txn-watch", "isolation.level": "read_committed", "enable.auto.commit": False, "log_level": 2})
        self.consumer.assign([TopicPartition(SINK, partition, 0) for partition in range(PARTITIONS)])
        self.seen = 0
        self.ending = threading.Event()
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def run(self) -> None:
        while not self.ending.is_set():
            self.seen += sum(message.error() is None for message in self.consumer.consume(500, 0.1))
        self.consumer.close()

    def stop(self) -> None:
        self.ending.set()
        self.thread.join()


class Workers:
    """Processes that copy; one that ends is replaced under its name."""

    def __init__(self, bootstrap: str, work: pathlib.Path) -> None:
        self.bootstrap, self.work = bootstrap, work
        self.running: dict[int, subprocess.Popen[bytes]] = {}
        self.started = 0
        self.revive()

    def revive(self) -> bool:
        for number in range(WORKERS):
            process = self.running.get(number)
            if process is None or process.poll() is not None:
                with (self.work / f"worker-{number}.log").open("ab") as log:
                    command = [sys.executable, "-m", __spec__.name, "--worker", str(number), self.bootstrap]
                    self.running[number] = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
                self.started += 1
        return True

    def kill(self, rng: random.Random) -> int:
        number = rng.choice(list(self.running))
        self.running[number].kill()
        self.running[number].wait()
        return number

    def stop(self) -> None:
        for process in self.running.values():
            process.send_signal(signal.SIGTERM)
        for process in self.running.values():
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def work_forever(number: int, bootstrap: str) -> None:
    """One worker. What a client cannot mend ends the process, and another takes its name."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    producer = transactional(bootstrap, f"copier-{number}")
    producer.init_transactions(60)
    settings = {"isolation.level": "read_committed", "enable.auto.commit": False, "auto.offset.reset": "earliest", "session.timeout.ms": 2000, "heartbeat.interval.ms": 300, "log_level": 2}
    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": GROUP, **settings})
    moved = []
    consumer.subscribe([SOURCE], on_assign=lambda *_: moved.append("given"), on_revoke=lambda *_: moved.append("taken"))
    while True:
        moved.clear()
        messages = [message for message in consumer.consume(50, 0.1) if message.error() is None]
        if moved:
            # What came before and after the change cannot be told apart: from the committed offsets on, again.
            rewind(consumer)
        elif messages:
            copy_some(producer, consumer, messages)


def copy_some(producer: Producer, consumer: Consumer, messages: list) -> None:
    try:
        producer.begin_transaction()
        for message in messages:
            producer.produce(SINK, message.value(), partition=message.partition())
        ends = {message.partition(): message.offset() + 1 for message in messages}
        places = [TopicPartition(SOURCE, partition, offset) for partition, offset in ends.items()]
        patiently(lambda: producer.send_offsets_to_transaction(places, consumer.consumer_group_metadata(), 30))
        patiently(lambda: producer.commit_transaction(30))
    except KafkaException as error:
        print(json.dumps({"error": str(error.args[0])}), flush=True)
        if not error.args[0].txn_requires_abort():
            raise
        patiently(lambda: producer.abort_transaction(30))
        rewind(consumer)


def rewind(consumer: Consumer) -> None:
    assigned = consumer.assignment()
    for place in consumer.committed(assigned, 30) if assigned else []:
        consumer.seek(TopicPartition(place.topic, place.partition, max(place.offset, 0)))


def patiently(step: Callable[[], None]) -> None:
    while True:
        try:
            return step()
        except KafkaException as error:
            if not error.args[0].retriable():
                raise


if __name__ == "__main__":
    if sys.argv[1:2] == ["--worker"]:
        work_forever(int(sys.argv[2]), sys.argv[3])
    sys.exit(main())
