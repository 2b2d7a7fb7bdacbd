"""What happens to a cluster while clients use it: processes die or stand still, networks split, power goes, disks fill and forget a bit.

Every fault strikes and then heals what it broke; afterwards the cluster has to become whole by itself.
"""

import os
import pathlib
import random
import signal
import time

from .cluster import Failed
from .nodes import NODES, Cluster, Node

#: Longer than the session of a broker (3 s) and than the quorum's timeouts, so that everybody has noticed.
NOTICED_SECONDS = (3.5, 6.0)
FAIL_SECONDS = 30
SPARE_BYTES = 64 << 10
SEALED_SECONDS = 90


class Fault:
    """`topic` is the one that is written to. `strike` returns when the fault is over, and answers with what was hit."""

    name = ""
    needs_disks = False
    needs_network = False

    def __init__(self, cluster: Cluster, topic: str, rng: random.Random) -> None:
        self.cluster, self.topic, self.rng = cluster, topic, rng

    def strike(self) -> str:
        raise NotImplementedError

    def is_mended(self) -> bool:
        """Whether what the fault broke is whole again, where being in sync does not say so."""
        return True

    def leader(self) -> Node:
        """Of a partition chosen at random."""
        partitions = self.cluster.partitions(self.topic)
        leaders = sorted({leader for leader, _, _ in partitions.values() if leader in self.cluster.nodes})
        if not leaders:
            raise Failed(f"nobody leads any partition of {self.topic}")
        return self.cluster.nodes[self.rng.choice(leaders)]

    def controller(self) -> Node:
        return self.cluster.nodes[self.cluster.controller()]

    def follower(self) -> Node:
        """One that does not lead the quorum; with three nodes it leads some partitions and follows in others."""
        controller = self.cluster.controller()
        return self.cluster.nodes[self.rng.choice([node for node in self.cluster.nodes if node != controller])]

    def others(self, node: Node) -> list[int]:
        return [other for other in self.cluster.nodes if other != node.identity]


class Kill(Fault):
    """kill -9, sometimes once more while the broker starts."""

    def victim(self) -> Node:
        raise NotImplementedError

    def strike(self) -> str:
        node = self.victim()
        node.kill()
        time.sleep(self.rng.choice((0, 0.2, 1.0, 2.0)))
        while self.rng.random() < 0.2:
            node.start(wait=False)
            time.sleep(self.rng.uniform(0, 0.5))
            node.kill()
        node.start()
        return f"node {node.identity}"


class KillLeader(Kill):
    name = "kill-leader"

    def victim(self) -> Node:
        return self.leader()


class KillFollower(Kill):
    name = "kill-follower"

    def victim(self) -> Node:
        return self.follower()


class KillController(Kill):
    name = "kill-controller"

    def victim(self) -> Node:
        return self.controller()


class KillTwo(Fault):
    """Two of three at once: the quorum and every min.insync.replicas are gone until they are back."""

    name = "kill-two"

    def strike(self) -> str:
        nodes = [self.cluster.nodes[node] for node in self.rng.sample(sorted(self.cluster.nodes), 2)]
        for node in nodes:
            node.kill()
        time.sleep(self.rng.choice((0, 1.0)))
        for node in nodes:
            node.start(wait=False)
        for node in nodes:
            node.wait_until_ready()
        return f"nodes {nodes[0].identity} and {nodes[1].identity}"


class Pause(Fault):
    """SIGSTOP: the process keeps its connections, says nothing, and goes on later in the belief that no time has passed."""

    name = "pause"

    def strike(self) -> str:
        node = self.rng.choice((self.leader, self.controller, self.follower))()
        process = node.running()
        process.send_signal(signal.SIGSTOP)
        seconds = self.rng.choice((0.5, 1.5, self.rng.uniform(*NOTICED_SECONDS)))
        time.sleep(seconds)
        process.send_signal(signal.SIGCONT)
        return f"node {node.identity} for {seconds:.1f} s"


class Partition(Fault):
    """Links between brokers are cut; clients reach all of them. Which links says the subclass."""

    needs_network = True

    def cuts(self) -> tuple[str, list[tuple[int, int]]]:
        """In words, and as (from, to)."""
        raise NotImplementedError

    def strike(self) -> str:
        network = self.cluster.network
        assert network is not None
        words, cuts = self.cuts()
        seconds = self.rng.uniform(*NOTICED_SECONDS)
        try:
            for source, target in cuts:
                network.cut(source, target)
            time.sleep(seconds)
        finally:
            network.heal()
        return f"{words} for {seconds:.1f} s"


class Isolate(Partition):
    name = "isolate"

    def cuts(self) -> tuple[str, list[tuple[int, int]]]:
        node = self.rng.choice((self.leader, self.controller))()
        cuts = [pair for other in self.others(node) for pair in ((node.identity, other), (other, node.identity))]
        return f"node {node.identity} from both others", cuts


class OneWay(Partition):
    """A node is heard by nobody, or hears nobody."""

    name = "one-way"

    def cuts(self) -> tuple[str, list[tuple[int, int]]]:
        node = self.rng.choice((self.leader, self.controller))()
        if self.rng.random() < 0.5:
            return f"node {node.identity} is not heard", [(node.identity, other) for other in self.others(node)]
        return f"node {node.identity} does not hear", [(other, node.identity) for other in self.others(node)]


class Chain(Partition):
    """Two nodes do not see each other, and the third sees both."""

    name = "chain"

    def cuts(self) -> tuple[str, list[tuple[int, int]]]:
        node = self.rng.choice((self.leader, self.controller))()
        other = self.rng.choice(self.others(node))
        return f"nodes {node.identity} and {other} from each other", [(node.identity, other), (other, node.identity)]


class PowerOne(Fault):
    """The file system of one node stops and forgets what was not synced."""

    name = "power-one"
    needs_disks = True

    def strike(self) -> str:
        node = self.rng.choice((self.leader, self.controller))()
        lose_power(self.cluster, [node], self.rng)
        return f"node {node.identity}"


class PowerAll(Fault):
    name = "power-all"
    needs_disks = True

    def strike(self) -> str:
        lose_power(self.cluster, list(self.cluster.nodes.values()), self.rng)
        return f"all {NODES} nodes"


def lose_power(cluster: Cluster, nodes: list[Node], rng: random.Random) -> None:
    for node in nodes:
        cluster.disks[node.identity].cut()
    time.sleep(rng.choice((0, 0, 0.3)))
    for node in nodes:
        node.kill()
    for node in nodes:
        cluster.disks[node.identity].power_up()
    time.sleep(rng.choice((0, 1.0)))
    for node in nodes:
        node.start(wait=False)
    for node in nodes:
        node.wait_until_ready()


class DiskFull(Fault):
    """A node whose disk is full ends by itself rather than go on with half of a log; with room again it comes back."""

    name = "disk-full"
    needs_disks = True

    def strike(self) -> str:
        node = self.rng.choice((self.leader, self.controller))()
        filler = self.cluster.disks[node.identity].mount_point / "filler"
        fill(filler)
        deadline = time.monotonic() + FAIL_SECONDS
        while not node.ended_by_itself() and time.monotonic() < deadline:
            time.sleep(0.1)
        ended = node.ended_by_itself()
        node.kill()
        filler.unlink()
        if not ended:
            raise Failed(f"node {node.identity} still runs {FAIL_SECONDS} s after its disk was full:\n{node.log_tail()}")
        node.start()
        return f"node {node.identity}"


def fill(path: pathlib.Path) -> None:
    with path.open("wb") as file:
        free = os.statvfs(path.parent)
        size = free.f_bavail * free.f_frsize
        while size > SPARE_BYTES:
            try:
                os.posix_fallocate(file.fileno(), os.fstat(file.fileno()).st_size, size)
            except OSError:
                size //= 2


class BitFlip(Fault):
    """A bit of a sealed segment turns over while its broker is down.

    The broker is to lead that partition afterwards, so that readers from the start come by. It may serve good records or an error, never the
    damage; and the replica is to be taken out, made anew from its leader, and put back in sync.
    """

    name = "bit-flip"

    def strike(self) -> str:
        node = self.cluster.nodes[self.rng.choice(sorted(self.cluster.nodes))]
        sealed = self.wait_for_sealed(node)
        node.kill()
        self.segment = self.rng.choice(sealed)
        self.place, self.turned = flip(self.segment, self.rng)
        node.start()
        return f"node {node.identity}, {self.segment.parent.name}/{self.segment.name} at byte {self.place}"

    def wait_for_sealed(self, node: Node) -> list[pathlib.Path]:
        """Segments that may be flipped, of partitions whose preferred leader the node is."""
        preferred = [index for index, (_, replicas, _) in self.cluster.partitions(self.topic).items() if replicas[0] == node.identity]
        deadline = time.monotonic() + SEALED_SECONDS
        while not (sealed := [path for index in preferred for path in sealed_segments(node.data, self.topic, index)]):
            if time.monotonic() > deadline:
                raise Failed(f"node {node.identity} has no sealed segment below a recovery point after {SEALED_SECONDS} s")
            time.sleep(0.2)
        return sealed

    def is_mended(self) -> bool:
        """The damaged bytes are not there any more."""
        if not self.segment.exists():
            return True
        with self.segment.open("rb") as file:
            file.seek(self.place)
            return file.read(1) != self.turned


def sealed_segments(data: pathlib.Path, topic: str, partition: int) -> list[pathlib.Path]:
    """The segments that lie below the partition's recovery point."""
    checkpoint = data / "recovery-point-offset-checkpoint"
    lines = [line.split() for line in checkpoint.read_text().splitlines()] if checkpoint.exists() else []
    points = [int(line[2]) for line in lines if line[:2] == [topic, str(partition)]]
    segments = sorted((data / f"{topic}-{partition}").glob("*.log"))
    return [segment for segment, later in zip(segments, segments[1:], strict=False) if points and int(later.stem) <= points[0]]


def flip(segment: pathlib.Path, rng: random.Random) -> tuple[int, bytes]:
    """Turns one bit in the first half of the file, where records are; answers with the place and the byte there now."""
    with segment.open("r+b") as file:
        size = os.fstat(file.fileno()).st_size
        place = rng.randrange(61, max(size // 2, 62))
        file.seek(place)
        old = file.read(1)[0]
        file.seek(place)
        turned = bytes([old ^ 1 << rng.randrange(8)])
        file.write(turned)
        file.flush()
        os.fsync(file.fileno())
    return place, turned


ALL: tuple[type[Fault], ...] = (
    KillLeader,
    KillFollower,
    KillController,
    KillTwo,
    Pause,
    Isolate,
    OneWay,
    Chain,
    PowerOne,
    PowerAll,
    DiskFull,
    BitFlip,
)
