"""Topics through a well-known client, for the set-up of proofs."""

import concurrent.futures
import time

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient, NewTopic

ADMIN_SECONDS = 30
SHOWN_SECONDS = 10


def create_topics(bootstrap: str, names: list[str], partitions: int = 1, config: dict[str, str] | None = None, replicas: int = 1) -> None:
    """Creates the topics and waits until metadata shows them with all their partitions."""
    admin = AdminClient({"bootstrap.servers": bootstrap})
    wanted = [NewTopic(name, num_partitions=partitions, replication_factor=replicas, config=config or {}) for name in names]
    concurrent.futures.wait(created := list(admin.create_topics(wanted, operation_timeout=ADMIN_SECONDS).values()), timeout=ADMIN_SECONDS)
    for future in created:
        future.result(0)
    deadline = time.monotonic() + SHOWN_SECONDS
    while missing := not_shown(admin, names, partitions):
        if time.monotonic() > deadline:
            raise KafkaException(f"created with {partitions} partitions, but metadata shows {missing}")
        time.sleep(0.05)


def not_shown(admin: AdminClient, names: list[str], partitions: int) -> dict[str, int]:
    """The topics that metadata shows with another number of partitions."""
    shown = admin.list_topics(timeout=ADMIN_SECONDS).topics
    counts = {name: len(shown[name].partitions) if name in shown else 0 for name in names}
    return {name: count for name, count in counts.items() if count != partitions}
