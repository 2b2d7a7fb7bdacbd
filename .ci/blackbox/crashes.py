"""The broker dies again and again under acks=all load, on the same data; nothing acknowledged is lost, twice, or elsewhere.

`--fault kill` is kill -9 at random moments, also while it starts. `--fault power` cuts the power of its file system: an ext4
image on a loop device whose shutdown ioctl throws away everything that was not synced (needs root). After every restart the whole
log is read and compared with all that was acknowledged or read before.
"""

import collections
import pathlib
import random
import sys
import time

from . import admin, cluster, power
from .cluster import Broker, Failed
from .history import History, Place, Value
from .load import Load, everything

TOPIC = "crashes"
PARTITIONS = 6
ROUNDS = {("kill", "gate"): 5, ("kill", "full"): 50, ("power", "gate"): 2, ("power", "full"): 20}
PROGRESS_RECORDS = 300
PROGRESS_SECONDS = 60
#: Small segments, so that deaths fall on rolls and on recovery of several files; the smallest that Kafka accepts.
CONFIG = {"segment.bytes": "1048576"}


def main() -> int:
    parser = cluster.arguments(__doc__)
    parser.add_argument("--fault", choices=("kill", "power"), default="kill")
    parser.add_argument("--rounds", type=int)
    parser.add_argument("--seed", type=int, default=time.time_ns() % 1_000_000)
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="a setting of the broker")
    chosen = parser.parse_args()
    rounds = chosen.rounds or ROUNDS[chosen.fault, chosen.profile]
    settings = dict(setting.split("=", 1) for setting in chosen.set)
    why_not = power.why_not() if chosen.fault == "power" else None
    if why_not:
        print(f"left out: power cuts: {why_not}")
        return 0
    with cluster.workspace(chosen.work) as work:
        print(f"{rounds} times {chosen.fault}, seed {chosen.seed}", flush=True)
        port = cluster.free_port(chosen.port)
        if chosen.fault == "kill":
            broker = cluster.broker_of(chosen.broker, work / "broker", port, settings)
            run(broker, KillNine(broker), rounds, random.Random(chosen.seed), work)
        else:
            with power.Disk(work) as disk:
                broker = cluster.broker_of(chosen.broker, disk.mount_point / "broker", port, settings)
                broker.log_path = work / "broker.log"
                run(broker, PowerCut(broker, disk), rounds, random.Random(chosen.seed), work)
    return 0


class KillNine:
    """kill -9, sometimes once more while the broker starts."""

    def __init__(self, broker: Broker) -> None:
        self.broker = broker

    def strike(self, rng: random.Random) -> None:
        self.broker.check_running()
        self.broker.kill()
        while rng.random() < 0.25:
            self.broker.start(wait=False)
            time.sleep(rng.uniform(0, 0.3))
            self.broker.kill()


class PowerCut:
    """The file system stops at once; then the process, which can no longer write anyway, is taken away."""

    def __init__(self, broker: Broker, disk: power.Disk) -> None:
        self.broker, self.disk = broker, disk

    def strike(self, rng: random.Random) -> None:
        self.broker.check_running()
        self.disk.cut()
        time.sleep(rng.choice((0, 0, 0.3)))
        self.broker.kill()
        self.disk.power_up()


def run(broker: Broker, fault: KillNine | PowerCut, rounds: int, rng: random.Random, work: pathlib.Path) -> None:
    history = History()
    held: dict[Place, Value | None] = {}
    restarts: list[float] = []
    try:
        broker.start()
        admin.create_topics(broker.bootstrap, [TOPIC], PARTITIONS, CONFIG)
        load = Load(broker.bootstrap, TOPIC, PARTITIONS, history).start()
        for number in range(1, rounds + 1):
            wait_for_progress(load)
            time.sleep(rng.uniform(0, 1.2))
            known = acknowledged_places(history, load)
            fault.strike(rng)
            began = time.monotonic()
            broker.start()
            restarts.append(time.monotonic() - began)
            held = checked(held, known, everything(broker.bootstrap, TOPIC, PARTITIONS), f"round {number}")
            fail_on(load.problems, f"round {number}")
            print(f"round {number}: {len(known)} acknowledged before, {len(held)} records there, up again in {restarts[-1]:.2f} s", flush=True)
        load.finish()
        checked(held, acknowledged_places(history, load), judged(broker, history, load), "at the end")
        broker.check_log()
        broker.stop()
        broker.start()
        history.read_at_last(everything(broker.bootstrap, TOPIC, PARTITIONS))
        fail_on([str(violation) for violation in history.violations()], "after a clean stop")
        broker.stop()
    except BaseException:
        history.write(str(work / "history.jsonl"))
        raise
    finally:
        broker.kill()
    print(f"{history.acknowledged_count()} of {len(history.sends)} sends acknowledged, each there once; slowest restart {max(restarts):.2f} s")


def wait_for_progress(load: Load) -> None:
    """A death among idle clients proves nothing: some records have to be acknowledged first."""
    before = load.acknowledged
    deadline = time.monotonic() + PROGRESS_SECONDS
    while load.acknowledged < before + PROGRESS_RECORDS:
        fail_on(load.problems, "while waiting for progress")
        if time.monotonic() > deadline:
            raise Failed(f"fewer than {PROGRESS_RECORDS} records were acknowledged in {PROGRESS_SECONDS} s")
        time.sleep(0.02)


def judged(broker: Broker, history: History, load: Load) -> list[tuple[int, int, Value | None]]:
    """The last reading, held against every rule."""
    last = everything(broker.bootstrap, TOPIC, PARTITIONS)
    history.read_at_last(last)
    if load.unanswered:
        load.problems.append(f"{load.unanswered} sends were never answered although the broker came back")
    fail_on(load.problems + [str(violation) for violation in history.violations()], "at the end")
    return last


def acknowledged_places(history: History, load: Load) -> dict[Value, Place]:
    """What is acknowledged now, with its offset (-1 where the client did not learn it)."""
    with load.lock:
        return {value: (send.partition, -1 if send.offset is None else send.offset) for value, send in history.sends.items() if send.ended is not None}


def checked(held: dict[Place, Value | None], known: dict[Value, Place], reading: list[tuple[int, int, Value | None]], when: str) -> dict[Place, Value | None]:
    """What was there before is there now, and so is what was acknowledged; returns the new state."""
    now = {(partition, offset): value for partition, offset, value in reading}
    problems = [f"offset {place} held {value}, now {now.get(place, 'nothing')}" for place, value in held.items() if now.get(place) != value or place not in now]
    where = {value: place for place, value in now.items()}
    for value, place in known.items():
        found = where.get(value)
        if found is None or (place[1] >= 0 and found != place):
            problems.append(f"{value} acknowledged at {place}, now at {found or 'no offset'}")
    problems += [f"{value} is there {count} times" for value, count in collections.Counter(now.values()).items() if count > 1]
    fail_on(problems, when)
    return now


def fail_on(problems: list[str], when: str) -> None:
    if problems:
        raise Failed(f"{when}: {len(problems)} problems\n" + "\n".join(problems[:20]))


if __name__ == "__main__":
    sys.exit(main())
