"""How many records a second a share group takes, with Kafka's own tool for that, and what the broker works for them.

Strandline and Apache Kafka run beside each other, one node each; groups that begin at the earliest record take turns, a new one each time.
The tool accepts records as it gets them, so that deliveries, acknowledgements and the states that are kept of them are all in the figure.
"""

import os
import pathlib
import re
import statistics
import subprocess
import sys

from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient, AlterConfigOpType, ConfigEntry, ConfigResource, ResourceType

from . import admin, cluster
from .cluster import Broker, Failed
from .tool_table import prefix

TOPIC = "share-rate"
PARTITIONS = 6
SECONDS = 60
#: Of the tool, until it gives up.
TOOL_SECONDS = 300


def main() -> int:
    parser = cluster.arguments(__doc__)
    parser.add_argument("--records", type=int, default=500_000)
    parser.add_argument("--bytes", type=int, default=100, help="of a record")
    parser.add_argument("--members", type=int, default=1, help="threads of the tool")
    parser.add_argument("--rounds", type=int, default=4)
    chosen = parser.parse_args()
    if cluster.kafka_tool() is None:
        print("left out: the peer Kafka is not beside the checkout")
        return 0
    taken: dict[str, list[tuple[float, float]]] = {"strandline": [], "kafka": []}
    with cluster.workspace(chosen.work) as work:
        brokers = {kind: cluster.broker_of(kind, work / kind, cluster.free_port(chosen.port + 10 * place)) for place, kind in enumerate(taken)}
        try:
            for broker in brokers.values():
                broker.start()
                fill(broker, chosen.records, chosen.bytes)
            for number in range(chosen.rounds + 1):
                for kind in list(brokers) if number % 2 == 0 else reversed(list(brokers)):
                    figures = measured(brokers[kind], f"round-{number}", chosen.records, chosen.members)
                    print(f"round {number}{' (to warm up)' if number == 0 else ''}: {kind} {figures[0]:,.0f} records/s, {figures[1]:.2f} µs of the broker's CPU a record", flush=True)
                    if number > 0:
                        taken[kind].append(figures)
        finally:
            for broker in brokers.values():
                broker.kill()
    for kind, figures in taken.items():
        rates, costs = zip(*figures, strict=True)
        print(f"{kind}: {statistics.median(rates):,.0f} records/s ({min(rates):,.0f} to {max(rates):,.0f}), {statistics.median(costs):.2f} µs of CPU a record, {chosen.records:,} records of {chosen.bytes} bytes, {PARTITIONS} partitions, {chosen.members} members, {chosen.rounds} rounds")
    return 0


def fill(broker: Broker, records: int, size: int) -> None:
    admin.create_topics(broker.bootstrap, [TOPIC], PARTITIONS)
    producer = Producer({"bootstrap.servers": broker.bootstrap, "linger.ms": 20, "batch.size": 65_536, "log_level": 0})
    value = bytes(size)
    for number in range(records):
        while True:
            try:
                producer.produce(TOPIC, value, partition=number % PARTITIONS)
                break
            except BufferError:
                producer.poll(0.05)
        producer.poll(0)
    if producer.flush(SECONDS):
        raise Failed("not all records were acknowledged")


def measured(broker: Broker, group: str, records: int, members: int) -> tuple[float, float]:
    """Records a second, and microseconds of the broker's CPU for each."""
    reset = ConfigEntry("share.auto.offset.reset", "earliest", incremental_operation=AlterConfigOpType.SET)
    client = AdminClient({"bootstrap.servers": broker.bootstrap})
    for future in client.incremental_alter_configs([ConfigResource(ResourceType.GROUP, group, incremental_configs=[reset])]).values():
        future.result(SECONDS)
    before = processor_seconds(broker)
    command = [*prefix("share-consumer-perf-test"), "--bootstrap-server", broker.bootstrap, "--topic", TOPIC, "--group", group]
    command += ["--num-records", str(records), "--threads", str(members), "--timeout", str(SECONDS * 1000)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=TOOL_SECONDS, check=False)
    spent = processor_seconds(broker) - before
    found = re.findall(r"^\d{4}-\d\d-\d\d [^,]*, [^,]*, *([\d.]+), *([\d.]+), *([\d.]+), *(\d+), *(\d+)", done.stdout, re.MULTILINE)
    if not found or int(found[-1][3]) < records:
        raise Failed(f"the tool says {done.stdout[-1500:]}{done.stderr[-1500:]}")
    return float(found[-1][2]), 1e6 * spent / int(found[-1][3])


def processor_seconds(broker: Broker) -> float:
    fields = pathlib.Path(f"/proc/{broker.running().pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


if __name__ == "__main__":
    sys.exit(main())
