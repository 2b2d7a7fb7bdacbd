"""A data directory fails under load: on one of three brokers, each with two of them.

ext4 on a loop device is shut down (`power.py`), so that every write and read there is an I/O error. What has to hold: no client with default
settings sees an error, every acknowledged record is read, the broker goes on with its other directory and leads what lies there, everything has a leader, and
when the broker starts again with the directory mounted all replicas are in sync. With the full profile the directory of the metadata log fails too: that broker
ends, and says why.
"""

import json
import pathlib
import subprocess
import sys
import time

from . import admin, cluster, power
from .cluster import Failed, kafka_tool
from .nodes import NODES, Cluster
from .rolling import PARTITIONS, TOPIC, Clients

IMAGE_BYTES = 1 << 30
LOAD_SECONDS = 2.0
NOTICE_SECONDS = 20
OFFLINE = "kafka_log_logmanager_offlinelogdirectorycount"
#: `strandline` ends with it when a data directory failed that it cannot do without.
DISK_FAILED = 5


def wait_for(what: str, is_so, seconds: float = NOTICE_SECONDS) -> float:
    began = time.monotonic()
    while not is_so():
        if time.monotonic() - began > seconds:
            raise Failed(f"{what}: not within {seconds:.0f} s")
        time.sleep(0.1)
    return time.monotonic() - began


def lie_in(directory: pathlib.Path) -> set[int]:
    return {int(one.name.rsplit("-", 1)[1]) for one in directory.glob(f"{TOPIC}-*") if one.name.rsplit("-", 1)[1].isdigit()}


def failed_as_told(bootstrap: str, node: int) -> list[pathlib.Path]:
    """The directories of a broker that have an error, as Kafka's log-dirs says (in the order of a hash map)."""
    tool = kafka_tool()
    assert tool is not None
    done = subprocess.run([*tool, "log-dirs", "--bootstrap-server", bootstrap, "--describe", "--broker-list", str(node)], capture_output=True, text=True, timeout=60, check=False)
    told = next((line for line in done.stdout.splitlines() if line.startswith("{")), "")
    if not told:
        raise Failed(f"log-dirs: {done.stdout[-500:]}{done.stderr[-500:]}")
    return [pathlib.Path(one["logDir"]) for one in json.loads(told)["brokers"][0]["logDirs"] if one["error"]]


def fail_and_come_back(nodes: Cluster, disk: power.Disk, victim: int) -> None:
    node = nodes.nodes[victim]
    clients = Clients(nodes.bootstrap)
    time.sleep(LOAD_SECONDS)
    # Their files are there from the first record on.
    there = lie_in(node.further[0])
    if not there or there == set(range(PARTITIONS)):
        raise Failed(f"not spread: {sorted(there)} of {PARTITIONS} lie in the second directory")
    disk.cut()
    took = wait_for("the failed directory is noticed", lambda: nodes.metric(victim, OFFLINE) == 1)
    led = wait_for("everything that lay there is led by others", lambda: all(one[0] not in (victim, -1) for number, one in nodes.partitions(TOPIC).items() if number in there))
    time.sleep(LOAD_SECONDS)
    state = nodes.partitions(TOPIC)
    lost = {number for number, (_, _, in_sync) in state.items() if victim not in in_sync}
    if lost != there:
        raise Failed(f"out of sync at broker {victim}: {sorted(lost)}; in the failed directory lie {sorted(there)}")
    if not any(leader == victim for leader, _, _ in state.values()):
        raise Failed(f"broker {victim} leads nothing any more: {state}")
    if kafka_tool() and (told := failed_as_told(nodes.bootstrap, victim)) != node.further:
        raise Failed(f"Kafka's log-dirs says that {told} failed, not {node.further}")
    node.stop()
    disk.power_up()
    node.start()
    back = nodes.wait_until_healthy()
    clients.finish()
    if clients.problems:
        raise Failed(f"{len(clients.problems)} problems: {clients.problems[:5]}")
    nodes.check()
    if lie_in(node.further[0]) != there:
        raise Failed(f"partitions moved: {sorted(there)} lay there, now {sorted(lie_in(node.further[0]))}")
    print(f"{clients.sent} records through a failed directory, none lost, no error: noticed after {took:.1f} s, led elsewhere {led:.1f} s later, in sync {back:.1f} s after the restart", flush=True)


def metadata_directory(nodes: Cluster, disk: power.Disk, victim: int) -> None:
    node = nodes.nodes[victim]
    disk.cut()
    # Something has to be written to the metadata log.
    admin.create_topics(",".join(one.bootstrap for one in nodes.nodes.values() if one is not node), ["later"], 1, {}, NODES - 1)
    wait_for("the broker without its metadata log ends", node.ended_by_itself)
    if node.running().returncode != DISK_FAILED or "log directory failed" not in node.log_text():
        raise Failed(f"it ended with {node.running().returncode}:\n{node.log_tail()}")
    node.forget_process()
    disk.power_up()
    node.start()
    nodes.wait_until_healthy()
    nodes.check()
    print("without the directory of its metadata log a broker ends, and comes back with it", flush=True)


def main() -> int:
    chosen = cluster.arguments(__doc__).parse_args()
    if chosen.broker != "strandline" or (lacking := power.why_not()):
        print("left out: " + ("the cluster is started here" if chosen.broker != "strandline" else str(lacking)))
        return 0
    with cluster.workspace(chosen.work) as work, power.Disk(work, "second", IMAGE_BYTES) as second, Cluster(work, cluster.free_port(chosen.port)) as nodes:
        for identity, node in nodes.nodes.items():
            node.further = [second.mount_point / "data" if identity == 2 else work / f"node-{identity}" / "second"]
        nodes.start()
        admin.create_topics(nodes.bootstrap, [TOPIC], PARTITIONS, {"min.insync.replicas": "2"}, NODES)
        nodes.wait_until_healthy()
        fail_and_come_back(nodes, second, 2)
    if chosen.profile == "full":
        with cluster.workspace(chosen.work) as work, power.Disk(work, "first", IMAGE_BYTES) as first, Cluster(work, cluster.free_port(chosen.port)) as nodes:
            nodes.nodes[2].directory = first.mount_point / "data"
            for identity, node in nodes.nodes.items():
                node.further = [work / f"node-{identity}" / "second"]
            nodes.start()
            admin.create_topics(nodes.bootstrap, [TOPIC], PARTITIONS, {"min.insync.replicas": "2"}, NODES)
            metadata_directory(nodes, first, 2)
    return 0


if __name__ == "__main__":
    sys.exit(main())
