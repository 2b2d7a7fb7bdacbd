"""How many transactions a second clients get through that begin the next one at once.

Every producer is a thread with a transactional id of its own: it writes a record into each of some partitions, commits, and begins again.
Binaries that are compared (`--arm NAME=PATH`, each with `--set` keys of its own behind commas) take turns, each time on an empty directory.
"""

import argparse
import pathlib
import statistics
import sys
import threading
import time

from . import admin, cluster
from .cluster import Failed
from .transactions import Node, SETTINGS, transactional, wait_for_brokers

TOPIC = "rate"
PARTITIONS = 6
#: Before it is counted: topics of coordinators are made, connections opened.
WARM_SECONDS = 2


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--arm", action="append", required=True, help="NAME=PATH[,key=value...]")
    parser.add_argument("--nodes", type=int, default=1)
    parser.add_argument("--producers", type=int, default=1)
    parser.add_argument("--writes", type=int, default=1, help="partitions written to in a transaction")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=6)
    parser.add_argument("--port", type=int, default=cluster.DEFAULT_PORT)
    parser.add_argument("--work")
    chosen = parser.parse_args()
    rates: dict[str, list[float]] = {}
    with cluster.workspace(chosen.work) as work:
        for number in range(chosen.rounds):
            for arm in chosen.arm if number % 2 == 0 else reversed(chosen.arm):
                name, rest = arm.split("=", 1)
                path, *settings = rest.split(",")
                keys = dict(setting.split("=", 1) for setting in settings)
                rates.setdefault(name, []).append(measured(work / f"{name}-{number}", path, keys, chosen))
            print(f"round {number + 1}: " + ", ".join(f"{name} {taken[-1]:.1f}/s" for name, taken in rates.items()), flush=True)
    for name, taken in rates.items():
        print(f"{name}: {statistics.median(taken):.1f} transactions/s ({min(taken):.1f} to {max(taken):.1f}), {chosen.producers} producers, {chosen.nodes} nodes, {chosen.rounds} rounds")
    return 0


def measured(work: pathlib.Path, binary: str, keys: dict[str, str], chosen: argparse.Namespace) -> float:
    work.mkdir()
    brokers = brokers_of(work, chosen, keys)
    try:
        for broker in brokers:
            broker.binary = binary
            broker.start(wait=False)
        for broker in brokers:
            broker.wait_until_ready()
        bootstrap = ",".join(broker.bootstrap for broker in brokers)
        wait_for_brokers(bootstrap, len(brokers))
        admin.create_topics(bootstrap, [TOPIC], PARTITIONS, {}, min(3, len(brokers)))
        rate = committed(bootstrap, chosen) / chosen.seconds
        for broker in brokers:
            broker.check_running()
            broker.check_log()
        return rate
    finally:
        for broker in brokers:
            broker.kill()


def brokers_of(work: pathlib.Path, chosen: argparse.Namespace, keys: dict[str, str]) -> list[cluster.Strandline]:
    first = cluster.free_port(chosen.port)
    if chosen.nodes == 1:
        return [cluster.Strandline(work / "broker", first, {**SETTINGS, **keys})]
    ports = [first + 10 * number for number in range(chosen.nodes)]
    voters = ",".join(f"{number + 1}@127.0.0.1:{port + 2}" for number, port in enumerate(ports))
    nodes = [Node(work / f"node-{number + 1}", port, number + 1, voters) for number, port in enumerate(ports)]
    for node in nodes:
        node.settings.update(keys)
    return nodes


def committed(bootstrap: str, chosen: argparse.Namespace) -> int:
    """Transactions that all producers committed together."""
    counts, failures = [0] * chosen.producers, []
    ready = threading.Barrier(chosen.producers + 1)
    counting, ending = threading.Event(), threading.Event()

    def produce(number: int) -> None:
        try:
            producer = transactional(bootstrap, f"rate-{number}", **{"linger.ms": 0})
            producer.init_transactions(30)
            ready.wait()
            while not ending.is_set():
                producer.begin_transaction()
                for partition in range(chosen.writes):
                    producer.produce(TOPIC, b"x" * 100, partition=(number + partition) % PARTITIONS)
                producer.commit_transaction(30)
                counts[number] += counting.is_set() and not ending.is_set()
        except Exception as error:
            failures.append(error)
            ready.abort()

    threads = [threading.Thread(target=produce, args=(number,), daemon=True) for number in range(chosen.producers)]
    for thread in threads:
        thread.start()
    try:
        ready.wait()
        time.sleep(WARM_SECONDS)
        counting.set()
        time.sleep(chosen.seconds)
    except threading.BrokenBarrierError:
        pass
    ending.set()
    for thread in threads:
        thread.join()
    if failures:
        raise Failed(f"a producer ended: {failures[0]}")
    return sum(counts)


if __name__ == "__main__":
    sys.exit(main())
