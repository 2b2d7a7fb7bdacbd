"""Three brokers under acks=all load while everything happens to them that happens to computers; nothing acknowledged is lost, twice, or elsewhere.

Idempotent producers, a reader that follows and a consumer group run through all of it. A round is one fault, and ends when every partition
has all its replicas in sync again. The gate strikes once each; the full profile as often as `--kills`, `--power-cuts`, `--pauses`, `--partitions`,
`--full-disks` and `--bit-flips` say. Power cuts and full disks need root and loop devices; partitions need root and iptables: what
cannot be done here is left out, and said.
"""

import collections
import contextlib
import pathlib
import random
import sys
import time

from . import admin, cluster, faults, network, power
from .cluster import Failed
from .crashes import acknowledged_places, checked, fail_on, wait_for_progress
from .ends import Ends
from .history import History, Place, Value
from .keepers import Keepers
from .load import Load, everything
from .nodes import NODES, Cluster

TOPIC = "faults"
PARTITIONS = 6
PRODUCERS = 3
#: Records a second of each producer: enough that every fault falls into writes, little enough that hours fit on a disk.
RATE = 150
#: Small segments, so that faults fall on rolls and bits can turn over in sealed ones.
CONFIG = {"segment.bytes": "1048576", "min.insync.replicas": "2"}
SETTINGS = {
    "offsets.topic.num.partitions": "6",
    "offsets.topic.replication.factor": "3",
    "group.initial.rebalance.delay.ms": "0",
    # Recovery points move every few seconds, so that there is something below them.
    "log.flush.offset.checkpoint.interval.ms": "2000",
}
#: How many of each kind the full profile strikes.
COUNTS = {"kills": 300, "power-cuts": 50, "pauses": 30, "partitions": 30, "full-disks": 5, "bit-flips": 10}
KINDS: dict[str, tuple[type[faults.Fault], ...]] = {
    "kills": (faults.KillLeader, faults.KillFollower, faults.KillController, faults.KillTwo),
    "power-cuts": (faults.PowerOne, faults.PowerAll),
    "pauses": (faults.Pause,),
    "partitions": (faults.Isolate, faults.OneWay, faults.Chain),
    "full-disks": (faults.DiskFull,),
    "bit-flips": (faults.BitFlip,),
}
#: Once each, in this order.
GATE = (
    faults.KillLeader,
    faults.KillController,
    faults.KillTwo,
    faults.Pause,
    faults.OneWay,
    faults.PowerOne,
    faults.PowerAll,
    faults.DiskFull,
    faults.BitFlip,
)
#: The whole log is read and compared with all that is known so often.
READ_EVERY = 20
MENDED_SECONDS = 240
#: Who met damage takes so long at most until a good copy is in its place; else another reading is begun.
RENEWED_SECONDS = 20
HEARD_SECONDS = 1


def main() -> int:
    parser = cluster.arguments(__doc__)
    for kind, count in COUNTS.items():
        parser.add_argument(f"--{kind}", type=int, metavar="N", help=f"with the full profile: {count}")
    parser.add_argument("--only", metavar="FAULTS", help="faults by name, separated by commas, one round each")
    parser.add_argument("--seed", type=int, default=time.time_ns() % 1_000_000)
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="a setting of every broker")
    chosen = parser.parse_args()
    if chosen.broker != "strandline":
        print("left out: faults strike a cluster that is started here")
        return 0
    lacks = {"network": network.why_not(), "disks": power.why_not()}
    for what, reason in lacks.items():
        if reason:
            print(f"left out: faults of {what}: {reason}")
    rng = random.Random(chosen.seed)
    plan = [kind for kind in planned(chosen, rng) if not (kind.needs_network and lacks["network"]) and not (kind.needs_disks and lacks["disks"])]
    with cluster.workspace(chosen.work) as work, contextlib.ExitStack() as stack:
        print(f"{len(plan)} faults, seed {chosen.seed}", flush=True)
        net = None if lacks["network"] else stack.enter_context(network.Network(NODES))
        settings = SETTINGS | dict(setting.split("=", 1) for setting in chosen.set)
        nodes = stack.enter_context(Cluster(work, cluster.free_port(chosen.port), net, not lacks["disks"], settings))
        Proof(nodes, rng, work).run(plan)
    return 0


def planned(chosen, rng: random.Random) -> list[type[faults.Fault]]:
    """The faults of this run, in a random order."""
    if chosen.only:
        return [next(fault for fault in faults.ALL if fault.name == name) for name in chosen.only.split(",")]
    asked = {kind: getattr(chosen, kind.replace("-", "_")) for kind in COUNTS}
    counts = COUNTS if chosen.profile == "full" else {}
    if any(count is not None for count in asked.values()):
        counts = {kind: count or 0 for kind, count in asked.items()}
    if not counts:
        return list(GATE)
    plan = [rng.choice(KINDS[kind]) for kind, count in counts.items() for _ in range(count)]
    rng.shuffle(plan)
    return plan


class Proof:
    def __init__(self, nodes: Cluster, rng: random.Random, work: pathlib.Path) -> None:
        self.nodes, self.rng, self.work = nodes, rng, work
        self.history = History()
        self.held: dict[Place, Value | None] = {}
        self.struck: collections.Counter[str] = collections.Counter()
        self.whole_after: list[float] = []
        #: Readers that are told ends, where bits turn over.
        self.ends: Ends | None = None

    def run(self, plan: list[type[faults.Fault]]) -> None:
        try:
            self.nodes.start()
            admin.create_topics(self.nodes.bootstrap, [TOPIC], PARTITIONS, CONFIG, NODES)
            self.nodes.wait_until_healthy()
            self.load = Load(self.nodes.bootstrap, TOPIC, PARTITIONS, self.history, PRODUCERS, RATE, self.work).start()
            self.ends = Ends(self.nodes.bootstrap, TOPIC, PARTITIONS).start() if faults.BitFlip in plan else None
            self.keepers = [Keepers(self.nodes.bootstrap, TOPIC, PARTITIONS, protocol=protocol).start() for protocol in ("classic", "consumer")]
            for number, kind in enumerate(plan, 1):
                self.round(number, kind)
            self.end()
        except BaseException:
            self.history.write(str(self.work / "history.jsonl"))
            raise

    def round(self, number: int, kind: type[faults.Fault]) -> None:
        wait_for_progress(self.load)
        known = acknowledged_places(self.history, self.load)
        if self.ends:
            self.ends.know(known.values())
            # Whoever leads next has heard of what was acknowledged.
            time.sleep(HEARD_SECONDS)
        fault = kind(self.nodes, TOPIC, self.rng)
        hit = fault.strike()
        if kind is faults.BitFlip:
            self.meet(fault, f"round {number}, {kind.name}: {hit}")
        whole = self.nodes.wait_until_healthy()
        if kind is faults.BitFlip or number % READ_EVERY == 0:
            self.compare(known, f"round {number}")
        self.nodes.check()
        self.whole_after.append(whole)
        self.struck[kind.name] += 1
        fail_on(self.problems(), f"round {number}, {kind.name}")
        print(f"round {number}: {kind.name}: {hit}; {len(known)} acknowledged before, whole again in {whole:.1f} s", flush=True)

    def meet(self, fault: faults.BitFlip, what: str) -> None:
        """Reads everything until somebody has met the damage at its leader and it is gone; nothing that is read is wrong."""
        deadline = time.monotonic() + MENDED_SECONDS
        while not fault.is_mended():
            if time.monotonic() > deadline:
                leaders = {index: leader for index, (leader, _, _) in self.nodes.partitions(TOPIC).items()}
                raise Failed(f"{what}: what was damaged is still there after {MENDED_SECONDS} s; leaders are {leaders}")
            self.nodes.wait_until_healthy()
            elected = self.nodes.command("partition", "elect")
            if elected.returncode:
                print(f"{what}: partition elect: {elected.stdout}{elected.stderr}", flush=True)
            wrong = [place for place, value in places(self.nodes.bootstrap).items() if self.held.get(place, value) != value or value is None]
            fail_on([f"offset {place} held {self.held.get(place)} before" for place in wrong], f"{what}, while the damage is met")
            wait_for(fault.is_mended, RENEWED_SECONDS)

    def compare(self, known: dict[Value, Place], when: str) -> None:
        self.held = checked(self.held, known, everything(self.nodes.bootstrap, TOPIC, PARTITIONS), when)

    def problems(self) -> list[str]:
        ends = self.ends.problems if self.ends else []
        return self.load.problems + ends + [problem for keeper in self.keepers for problem in keeper.problems]

    def end(self) -> None:
        if self.ends:
            self.ends.finish()
            fail_on(self.ends.problems, "at the end")
        self.load.finish()
        known = acknowledged_places(self.history, self.load)
        problems = [problem for keeper in self.keepers for problem in keeper.finish(set(known))]
        last = everything(self.nodes.bootstrap, TOPIC, PARTITIONS)
        self.compare(known, "at the end")
        self.history.read_at_last(last)
        if self.load.unanswered:
            problems.append(f"{self.load.unanswered} sends were never answered although the brokers came back")
        fail_on(problems + self.load.problems + [str(violation) for violation in self.history.violations()], "at the end")
        self.nodes.check()
        self.nodes.stop()
        self.tell()

    def tell(self) -> None:
        print(", ".join(f"{name} {count}" for name, count in sorted(self.struck.items())))
        print(f"whole again after {max(self.whole_after, default=0):.1f} s at most")
        if self.ends:
            print(f"{self.ends.told} ends were told to readers from the beginning, none below what was acknowledged; {self.ends.replaced} readers were stuck and replaced")
        for keeper in self.keepers:
            print(f"{keeper.group}: {keeper.commits} commits, {keeper.rebalances} assignments, {len(keeper.read)} records read at least once")
        print(f"{self.history.acknowledged_count()} of {len(self.history.sends)} sends acknowledged, each there once, at its offset")


def places(bootstrap: str) -> dict[Place, Value | None]:
    return {(partition, offset): value for partition, offset, value in everything(bootstrap, TOPIC, PARTITIONS)}


def wait_for(holds, seconds: float) -> None:
    """Until something holds, or the time is over."""
    deadline = time.monotonic() + seconds
    while not holds() and time.monotonic() < deadline:
        time.sleep(0.1)


if __name__ == "__main__":
    sys.exit(main())
