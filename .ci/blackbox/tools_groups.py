"""Rows of `tool_table.py`: groups of consumers of both protocols, share groups, transactions, and the clients that Kafka tests them with."""

import re
from collections.abc import Iterator
from contextlib import contextmanager

from confluent_kafka import Producer

from . import admin
from .tool_table import AT, SETTLED_SECONDS, Table

TOPIC, COPIED, OPENED = "grouped", "copied", "opened"
PARTITIONS = 3
EACH = 30
RECORDS = PARTITIONS * EACH
#: A group of each protocol, and what its members are configured with.
PROTOCOLS = {"classic-group": "classic", "consumer-group": "consumer"}


def prepare(table: Table) -> None:
    admin.create_topics(table.bootstrap, [TOPIC, COPIED, OPENED], PARTITIONS, replicas=3)
    producer = Producer({"bootstrap.servers": table.bootstrap, "log_level": 0})
    for number in range(RECORDS):
        producer.produce(TOPIC, b"value-%d" % number, b"key-%d" % number, partition=number % PARTITIONS)
    producer.flush(SETTLED_SECONDS)


def reads(protocol: str, group: str) -> tuple[str, ...]:
    return ("--topic", TOPIC, "--group", group, "--command-property", f"group.protocol={protocol}", "--command-property", "auto.offset.reset=earliest")


def consumer_groups(table: Table) -> None:
    for group, protocol in PROTOCOLS.items():
        consumed = ("--max-messages", str(RECORDS), "--timeout-ms", "60000")
        table.row(f"Processed a total of {RECORDS} messages", "console-consumer", *reads(protocol, group), *consumed)
    table.row("(?s)(?=.*classic-group)(?=.*consumer-group)", "consumer-groups", "--list")
    table.row(r"(?s)(?=.*classic-group\s+Empty)(?=.*consumer-group\s+Empty)", "consumer-groups", "--list", "--state")
    table.row(r"(?s)(?=.*classic-group\s+Classic)(?=.*consumer-group\s+Consumer)", "consumer-groups", "--list", "--type")
    table.row(r"\A\s*GROUP\s+STATE\s*\Z", "consumer-groups", "--list", "--state", "Stable")
    table.row("(?i)not a valid|Invalid state", "consumer-groups", "--list", "--state", "Odd", fails=True)
    table.row("(?s)(?!.*classic-group).*consumer-group", "consumer-groups", "--list", "--type", "consumer")
    for group, protocol in PROTOCOLS.items():
        one_group(table, group, protocol)
    table.row(r"(?s)classic-group.*consumer-group|consumer-group.*classic-group", "consumer-groups", "--describe", "--all-groups", "--state")
    table.row("GroupIdNotFoundException", "consumer-groups", "--describe", "--group", "nobody")
    both = [word for group in PROTOCOLS for word in ("--group", group)]
    table.row("(?s)successful", "consumer-groups", "--delete", *both)
    table.row("(?i)GroupIdNotFound|does not exist|not found", "consumer-groups", "--delete", "--group", "nobody", fails=False)


def one_group(table: Table, group: str, protocol: str) -> None:
    named = ("--group", group)
    row = rf"{group}\s+{TOPIC}\s+"
    table.row(rf"{row}0\s+{EACH}\s+{EACH}\s+0\s+-.*", "consumer-groups", "--describe", *named)
    table.row(rf"{group}\s+\S+\s+\(\d\)\s+(\S+\s+)?Empty\s+0", "consumer-groups", "--describe", *named, "--state")
    table.row("(?i)has no active members", "consumer-groups", "--describe", *named, "--members")
    with table.running("console-consumer", *reads(protocol, group), says="", remark="a member, for the rows below"):
        table.until(r"Stable\s+1", "consumer-groups", "--describe", *named, "--state")
        table.row(rf"{group}\s+\S+\s+\(\d\)\s+(range|uniform)\s+Stable\s+1", "consumer-groups", "--describe", *named, "--state")
        table.row(rf"{group}\s+\S+\s+\(\d\)\s+(range|uniform)\s+Stable\s+.*1", "consumer-groups", "--describe", *named, "--state", "--verbose")
        table.row(rf"{group}\s+\S+\s+/127.0.0.1\s+\S+\s+{PARTITIONS}\s", "consumer-groups", "--describe", *named, "--members")
        table.row(rf"{group}\s+\S+\s+/127.0.0.1\s.*{TOPIC}[(:]0,1,2", "consumer-groups", "--describe", *named, "--members", "--verbose")
        table.row(rf"{row}0\s+{EACH}\s+{EACH}\s+0\s+\S+\s+/127.0.0.1", "consumer-groups", "--describe", *named, "--offsets")
        table.row(rf"{row}0\s+.*{EACH}\s+{EACH}\s+0\s+\S+\s+/127.0.0.1", "consumer-groups", "--describe", *named, "--offsets", "--verbose")
        table.row("(?i)inactive", "consumer-groups", "--reset-offsets", *named, "--topic", TOPIC, "--to-earliest", "--execute")
        table.row("(?i)not empty|NonEmptyGroup", "consumer-groups", "--delete", *named)
        table.row("GroupSubscribedToTopicException", "consumer-groups", "--delete-offsets", *named, "--topic", TOPIC)
    table.until("Empty", "consumer-groups", "--describe", *named, "--state")
    resets(table, group)
    table.row(rf"{TOPIC}\s+0\s+Successful", "consumer-groups", "--delete-offsets", *named, "--topic", f"{TOPIC}:0")
    table.row(rf"(?s)(?!.*{row}0\s).*{row}1\s", "consumer-groups", "--describe", *named)


def resets(table: Table, group: str) -> None:
    """Each is shown first, and nothing has moved then; the last one is carried out."""
    reset = ("--reset-offsets", "--group", group)
    whole = (*reset, "--topic", TOPIC)
    for how, offset in (
        (("--to-earliest",), "0"),
        (("--to-latest",), str(EACH)),
        (("--to-offset", "7"), "7"),
        (("--shift-by", "-4"), str(EACH - 4)),
        (("--by-duration", "PT1H"), "0"),
        (("--to-datetime", "2020-01-01T00:00:00.000"), "0"),
        (("--to-current",), str(EACH)),
    ):
        table.row(rf"{group}\s+{TOPIC}\s+0\s+{offset}\s", "consumer-groups", *whole, *how, "--dry-run")
    table.row(rf"{group}\s+{TOPIC}\s+0\s+{EACH}\s+{EACH}\s+0\s", "consumer-groups", "--describe", "--group", group, remark="nothing was moved yet")
    exported = table.row(rf"{TOPIC},1,11", "consumer-groups", *reset, "--topic", f"{TOPIC}:1", "--to-offset", "11", "--export", "--dry-run")
    lines = re.findall(r'^"?.*,\d+,\d+$', exported, re.MULTILINE)
    plan = table.file(f"{group}.csv", "\n".join(lines) + "\n")
    table.row(rf"{TOPIC}\s+1\s+11\s", "consumer-groups", *reset, "--from-file", plan, "--execute")
    table.row(rf"{group}\s+{TOPIC}\s+2\s+0\s", "consumer-groups", *reset, "--topic", f"{TOPIC}:2", "--to-earliest", "--execute")
    table.row(rf"(?s)(?=.*{TOPIC}\s+1\s+11\s+{EACH}\s+{EACH - 11}\s)(?=.*{TOPIC}\s+2\s+0\s+{EACH}\s+{EACH}\s)", "consumer-groups", "--describe", "--group", group)


def verifiable(table: Table) -> None:
    for protocol in ("classic", "consumer"):
        options = ("--topic", TOPIC, "--group-id", f"verifiable-{protocol}", "--max-messages", str(RECORDS), "--reset-policy", "earliest", "--group-protocol", protocol)
        table.row(r'(?s)"name":"partitions_assigned".*"name":"offsets_committed".*"success":true', "verifiable-consumer", *options)
    copier = ("--broker-list", AT, "--transactional-id", "copier", "--input-topic", TOPIC, "--input-partition", "0", "--output-topic", COPIED, "--max-messages", str(EACH), "--transaction-size", "10")
    table.row(rf'"totalProcessed":"?{EACH}', "transactional-copier", *copier, "--consumer-group", "copiers")
    table.row(rf"copiers\s+{TOPIC}\s+0\s+{EACH}\s", "consumer-groups", "--describe", "--group", "copiers")
    read = ("--topic", COPIED, "--from-beginning", "--max-messages", str(EACH), "--timeout-ms", "30000", "--isolation-level", "read_committed")
    table.row(f"Processed a total of {EACH} messages", "console-consumer", *read)


def share_groups(table: Table) -> None:
    group = "sharers"
    named = ("--group", group)
    for name in (group, "verifiable-sharers", "perf-sharers"):
        table.row("Completed updating config", "configs", "--entity-type", "groups", "--entity-name", name, "--alter", "--add-config", "share.auto.offset.reset=earliest")
    table.row(f"Processed a total of {RECORDS} messages", "console-share-consumer", "--topic", TOPIC, *named, "--max-messages", str(RECORDS), "--timeout-ms", "60000")
    table.row(r'(?s)"name":"records_consumed".*"name":"offsets_acknowledged"', "verifiable-share-consumer", "--topic", TOPIC, "--group-id", "verifiable-sharers", "--max-messages", str(RECORDS))
    table.row(rf"(?s)data.consumed.in.MB.*\n.*, {RECORDS},", "share-consumer-perf-test", "--topic", TOPIC, "--group", "perf-sharers", "--num-records", str(RECORDS), "--timeout", "60000")
    table.row(f"(^|\n){group}\n", "share-groups", "--list")
    table.row(rf"{group}\s+Empty", "share-groups", "--list", "--state")
    table.row(rf"{group}\s+Empty", "share-groups", "--list", "--state", "Empty")
    table.row(rf"{group}\s+{TOPIC}\s+0\s+{EACH}\s+0", "share-groups", "--describe", *named)
    table.row(rf"{group}\s+{TOPIC}\s+0\s+.*{EACH}\s+0", "share-groups", "--describe", *named, "--offsets", "--verbose")
    table.row(rf"{group}\s+\S+\s+\(\d\)\s+Empty\s+0", "share-groups", "--describe", *named, "--state")
    table.row("(?i)no active members", "share-groups", "--describe", *named, "--members")
    with table.running("console-share-consumer", "--topic", TOPIC, *named, says="", remark="a member, for the rows below"):
        table.until(r"Stable\s+1", "share-groups", "--describe", *named, "--state")
        table.row(rf"{group}\s+\S+\s+\(\d\)\s+Stable\s+1", "share-groups", "--describe", *named, "--state")
        table.row(rf"{group}\s+\S+\s+\(\d\)\s+Stable\s+.*1", "share-groups", "--describe", *named, "--state", "--verbose")
        table.row(rf"{group}\s+\S+\s+/127.0.0.1\s+\S+\s+{PARTITIONS}\s", "share-groups", "--describe", *named, "--members")
        table.row(rf"{group}\s+\S+\s+/127.0.0.1\s+.*{TOPIC}:0,1,2", "share-groups", "--describe", *named, "--members", "--verbose")
        table.row("is not empty", "share-groups", "--reset-offsets", *named, "--topic", TOPIC, "--to-earliest", "--execute", fails=True)
        table.row("(?i)not empty|NonEmpty", "share-groups", "--delete", *named)
        table.row("(?i)not empty|NonEmpty|still has members", "share-groups", "--delete-offsets", *named, "--topic", TOPIC)
    table.until("Empty", "share-groups", "--describe", *named, "--state")
    reset = ("--reset-offsets", *named, "--topic", TOPIC)
    table.row(rf"{group}\s+{TOPIC}\s+0\s+0", "share-groups", *reset, "--to-earliest", "--dry-run")
    table.row(rf"{group}\s+{TOPIC}\s+0\s+{EACH}\s+0", "share-groups", "--describe", *named, remark="nothing was moved yet")
    table.row(rf"{group}\s+{TOPIC}\s+0\s+0", "share-groups", *reset, "--to-datetime", "2020-01-01T00:00:00.000", "--dry-run")
    table.row(rf"{group}\s+{TOPIC}\s+0\s+{EACH}", "share-groups", *reset, "--to-latest", "--dry-run")
    table.row(rf"{group}\s+{TOPIC}\s+0\s+0", "share-groups", *reset, "--to-earliest", "--execute")
    table.row(rf"{group}\s+{TOPIC}\s+0\s+0\s+{EACH}", "share-groups", "--describe", *named)
    table.row(rf"{TOPIC}\s+Successful", "share-groups", "--delete-offsets", *named, "--topic", TOPIC)
    table.row("(?i)successful", "share-groups", "--delete", *named)
    table.row("GroupIdNotFoundException", "share-groups", "--describe", "--group", "nobody")


def groups(table: Table) -> None:
    table.row(r"(?s)(?=.*copiers\s+Classic\s)(?=.*verifiable-consumer\s+Consumer\s+consumer)(?=.*verifiable-sharers\s+Share\s+share)", "groups", "--list")
    table.row(r"(?s)(?!.*sharers).*verifiable-consumer", "groups", "--list", "--consumer")
    table.row(r"(?s)(?!.*copiers).*sharers", "groups", "--list", "--share")
    table.row(r"(?s)(?!.*sharers).*copiers", "groups", "--list", "--group-type", "classic")
    table.row(r"(?s)(?!.*sharers)(?!.*copiers).*verifiable-classic", "groups", "--list", "--protocol", "consumer", remark="`copiers` has no members, and so no protocol")


def transactions(table: Table) -> None:
    table.row(r"copier\s+\d\s+\d+\s+CompleteCommit", "transactions", "list")
    table.row(r"(?s)(?!.*copier).*\Z", "transactions", "list", "--duration-filter", "10000000", remark="open for longer than that")
    table.row(r"copier\s", "transactions", "list", "--transactional-id-pattern", "cop.*")
    table.row(r"copier\s+\d+\s+\d+\s+CompleteCommit", "transactions", "describe", "--transactional-id", "copier")
    table.row("(?i)TransactionalIdNotFound|not.*found", "transactions", "describe", "--transactional-id", "nobody", fails=True)
    table.row(r"ProducerId\s.*\n\d+\s+\d+\s+", "transactions", "describe-producers", "--topic", COPIED, "--partition", "0")
    with opened(table, "opened-one"):
        table.row(r"opened-one\s+\d\s+\d+\s+Ongoing", "transactions", "list")
        table.row(rf"opened-one\s+\d+\s+\d+\s+Ongoing\s.*{OPENED}-0", "transactions", "describe", "--transactional-id", "opened-one")
        table.row(r"\n\d+\s+\d+\s+-?\d+\s+\d+\s+\d+\s+0\b", "transactions", "describe-producers", "--topic", OPENED, "--partition", "0")
        table.row(r"\ATopic\s+Partition[^\n]*\s*\Z", "transactions", "find-hanging", "--topic", OPENED, "--max-transaction-timeout", "0", remark="open, and known to its coordinator: it does not hang")
        table.row("", "transactions", "find-hanging", "--broker-id", "1")
        table.row("", "transactions", "abort", "--topic", OPENED, "--partition", "0", "--start-offset", "0")
        table.row(r"\n\d+\s+\d+\s+-?\d+\s+\d+\s+\d+\s+None", "transactions", "describe-producers", "--topic", OPENED, "--partition", "0", remark="what was open is aborted")
    with opened(table, "opened-two"):
        table.row("", "transactions", "forceTerminateTransaction", "--transactionalId", "opened-two")
        table.row(r"opened-two\s+\d+\s+\d+\s+Empty", "transactions", "describe", "--transactional-id", "opened-two")


@contextmanager
def opened(table: Table, name: str) -> Iterator[None]:
    """A transaction that is open meanwhile; what becomes of it, its producer is not told."""
    producer = Producer({"bootstrap.servers": table.bootstrap, "transactional.id": name, "transaction.timeout.ms": 600000, "log_level": 0})
    producer.init_transactions(SETTLED_SECONDS)
    producer.begin_transaction()
    producer.produce(OPENED, b"open", partition=0)
    producer.flush(SETTLED_SECONDS)
    yield


STEPS = (prepare, consumer_groups, verifiable, share_groups, groups, transactions)
