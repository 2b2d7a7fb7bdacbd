"""Replicas that move from broker to broker under a throttle of Kafka's reassign-partitions: slowly while it is in force, then fast, and without a trace.

Nothing here is measured against the clock but this: a copy that cannot be complete at the rate that was set, whatever the machine does, is
not. A machine on which that moment is over before it can be looked at says so.
"""

import json
import pathlib
import sys
import time

from confluent_kafka import Producer
from confluent_kafka.admin import ConfigResource, ResourceType

from . import cluster
from .cluster import Failed, kafka_tool
from .load import Value, everything, payload
from .log_dirs import tool
from .nodes import NODES, PORTS_A_NODE, Cluster

TOPIC = "throttled"
PARTITIONS = 3
FROM, TO = 1, 2
BYTES = 60_000_000
RATE = 200_000
#: What is copied before anybody waits: a whole answer of the leader.
BURST_BYTES = 10 << 20
FAST = 1_000_000_000
#: Whole invocations of the tool.
VERIFICATIONS_MAX = 15
BROKER_KEYS = {"leader.replication.throttled.rate", "follower.replication.throttled.rate"}
TOPIC_KEYS = {"leader.replication.throttled.replicas", "follower.replication.throttled.replicas"}


def main() -> int:
    chosen = cluster.arguments(__doc__).parse_args()
    if chosen.broker != "strandline" or kafka_tool() is None:
        print("left out: a cluster is started here, and Kafka's tool moves its replicas")
        return 0
    with cluster.workspace(chosen.work) as work, Cluster(work, free_ports(chosen.port)) as nodes:
        nodes.start()
        throttled(nodes, work)
        nodes.check()
        nodes.stop()
    return 0


def free_ports(first: int) -> int:
    """Where the ports of all nodes are free; they come in pairs."""
    port = cluster.free_port(first)
    while any(cluster.free_port(port + more) != port + more for more in range(0, NODES * PORTS_A_NODE, 2)):
        port = cluster.free_port(port + 2)
    return port


def throttled(nodes: Cluster, work: pathlib.Path) -> None:
    tool("topics", "--bootstrap-server", nodes.bootstrap, "--create", "--topic", TOPIC, "--replica-assignment", ",".join([str(FROM)] * PARTITIONS))
    values = fill(nodes.bootstrap)
    plan = work / "plan.json"
    plan.write_text(json.dumps({"version": 1, "partitions": [{"topic": TOPIC, "partition": number, "replicas": [TO]} for number in range(PARTITIONS)]}))
    reassign = ["reassign-partitions", "--bootstrap-server", nodes.bootstrap, "--reassignment-json-file", str(plan)]
    began = time.monotonic()
    tool(*reassign, "--execute", "--throttle", str(RATE))
    if set_keys(nodes) != (BROKER_KEYS, TOPIC_KEYS):
        raise Failed(f"the tool set a throttle, and in force are {set_keys(nodes)}")
    said = tool(*reassign, "--verify")
    moved = sum(replicas == [TO] for _, replicas, _ in nodes.partitions(TOPIC).values())
    could = RATE * (time.monotonic() - began) + BURST_BYTES
    if could > BYTES:
        print("left out: the copy may be complete by now, at its rate too: this machine is too slow to tell", flush=True)
    elif "still in progress" not in said or moved == PARTITIONS:
        raise Failed(f"{could / 1e6:.0f} MB may be copied by now at most, and {moved} of {PARTITIONS} partitions have moved; the tool says:\n{said}")
    tool(*reassign, "--execute", "--additional", "--throttle", str(FAST))
    for _ in range(VERIFICATIONS_MAX):
        said = tool(*reassign, "--verify")
        if said.count("is completed") == PARTITIONS:
            break
    else:
        raise Failed(f"without a throttle the copies do not end:\n{said}")
    if set_keys(nodes) != (set(), set()):
        raise Failed(f"the tool took the throttle away, and in force are {set_keys(nodes)}; it said:\n{said}")
    left = {number: (leader, replicas) for number, (leader, replicas, _) in nodes.partitions(TOPIC).items() if (leader, replicas) != (TO, [TO])}
    read = {value for _, _, value in everything(nodes.bootstrap, TOPIC, PARTITIONS)}
    if left or read != values:
        raise Failed(f"not moved: {left}; {len(read)} of {len(values)} records are there")
    print(f"{PARTITIONS} partitions moved slowly under a throttle and fast without; {len(read)} records are there, and no key is left", flush=True)


def fill(bootstrap: str) -> set[Value]:
    """Records of so many bytes, in every partition by turns."""
    producer = Producer({"bootstrap.servers": bootstrap, "linger.ms": 50, "log_level": 0})
    errors: list[str] = []
    values: list[Value] = []
    sent = 0
    while sent < BYTES:
        values.append(("filler", len(values)))
        data = payload(values[-1])
        sent += len(data)
        producer.produce(TOPIC, data, partition=len(values) % PARTITIONS, on_delivery=lambda error, _: errors.append(str(error)) if error else None)
        producer.poll(0)
    if producer.flush(60) or errors:
        raise Failed(f"not all records were taken: {errors[:3]}")
    return set(values)


def set_keys(nodes: Cluster) -> tuple[set[str], set[str]]:
    """The keys of throttles that are set for the two brokers and for the topic."""
    resources = [ConfigResource(ResourceType.BROKER, str(node)) for node in (FROM, TO)] + [ConfigResource(ResourceType.TOPIC, TOPIC)]
    asker = nodes.admin()
    # A call describes one broker at most.
    asked = [asker.describe_configs([resource]) for resource in resources]
    found = {resource: future.result(30) for answers in asked for resource, future in answers.items()}
    keys: dict[ResourceType, set[str]] = {ResourceType.BROKER: set(), ResourceType.TOPIC: set()}
    for resource, entries in found.items():
        wanted = BROKER_KEYS if resource.restype == ResourceType.BROKER else TOPIC_KEYS
        keys[resource.restype] |= {key for key, entry in entries.items() if key in wanted and not entry.is_default and entry.value}
    return keys[ResourceType.BROKER], keys[ResourceType.TOPIC]


if __name__ == "__main__":
    sys.exit(main())
