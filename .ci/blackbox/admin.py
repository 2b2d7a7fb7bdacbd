"""Topics through a well-known client, for the set-up of proofs."""

import concurrent.futures

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient, NewTopic

ADMIN_SECONDS = 30


def create_topics(bootstrap: str, names: list[str], partitions: int = 1, config: dict[str, str] | None = None) -> None:
    """Creates the topics and waits until metadata shows them with all their partitions."""
    admin = AdminClient({"bootstrap.servers": bootstrap})
    wanted = [NewTopic(name, num_partitions=partitions, replication_factor=1, config=config or {}) for name in names]
    concurrent.futures.wait(created := list(admin.create_topics(wanted, operation_timeout=ADMIN_SECONDS).values()), timeout=ADMIN_SECONDS)
    for future in created:
        future.result(0)
    shown = admin.list_topics(timeout=ADMIN_SECONDS).topics
    for name in names:
        count = len(shown[name].partitions) if name in shown else 0
        if count != partitions:
            raise KafkaException(f"{name} was created with {partitions} partitions, metadata shows {count}")
