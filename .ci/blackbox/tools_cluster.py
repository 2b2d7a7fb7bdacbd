"""Rows of `tool_table.py`: topics, configurations, the quorum, moves, elections, offsets, and the clients that come with Kafka."""

import re
import time

from confluent_kafka.admin import AdminClient

from .tool_table import AT, SETTLED_SECONDS, Table

TOPIC, MOVED, LOADED = "tools", "moved", "loaded"
RECORDS = 300


def topics(table: Table) -> None:
    create = ("--create", "--topic", TOPIC, "--partitions", "3", "--replication-factor", "3", "--config", "retention.ms=-1")
    table.row(f"Created topic {TOPIC}", "topics", *create)
    table.row("TopicExistsException", "topics", *create, fails=True)
    table.row("", "topics", *create, "--if-not-exists")
    table.row("(?i)unknown topic config|no.such.key", "topics", "--create", "--topic", "refused", "--config", "no.such.key=1", fails=True)
    table.row("(?i)replication factor", "topics", "--create", "--topic", "refused", "--replication-factor", "4", fails=True)
    table.row("(?i)invalid.*topic", "topics", "--create", "--topic", "a/b", fails=True)
    table.row(f"Created topic {MOVED}", "topics", "--create", "--topic", MOVED, "--replica-assignment", "1:2,2:1,1:2")
    table.row(f"(^|\n){MOVED}\n.*{TOPIC}\n", "topics", "--list", "--exclude-internal")
    described = rf"PartitionCount: 3\s+ReplicationFactor: 3\s+Configs:.*retention.ms=-1.*Partition: 2\s+Leader: \d\s+Replicas: \d,\d,\d\s+Isr: \d,\d,\d"
    table.row(described, "topics", "--describe", "--topic", TOPIC)
    for which in ("--under-replicated-partitions", "--under-min-isr-partitions", "--unavailable-partitions"):
        table.row(r"\A\s*\Z", "topics", "--describe", which)
    table.row(rf"Topic: {MOVED}\s+Partition: 0", "topics", "--describe", "--at-min-isr-partitions", remark="two replicas, `min.insync.replicas` 2")
    table.row(f"Topic: {TOPIC}", "topics", "--describe", "--topics-with-overrides")
    table.row("", "topics", "--alter", "--topic", TOPIC, "--partitions", "4")
    table.row("(?i)partition", "topics", "--alter", "--topic", TOPIC, "--partitions", "2", fails=True)
    table.row("does not exist", "topics", "--describe", "--topic", "nowhere", fails=True)


def configs(table: Table) -> None:
    named = ("--entity-type", "topics", "--entity-name", TOPIC)
    table.row("Completed updating config", "configs", *named, "--alter", "--add-config", "segment.bytes=2097152,max.message.bytes=2000000")
    table.row("segment.bytes=2097152", "configs", *named, "--describe")
    table.row("cleanup.policy=delete.*segment.bytes=2097152", "configs", *named, "--describe", "--all")
    table.row("Completed updating config", "configs", *named, "--alter", "--delete-config", "max.message.bytes")
    table.row("(?i)segment.bytes", "configs", *named, "--alter", "--add-config", "segment.bytes=never", fails=True)
    broker = ("--entity-type", "brokers", "--entity-name", "1")
    every = ("--entity-type", "brokers", "--entity-default")
    table.row("Completed updating", "configs", *broker, "--alter", "--add-config", "log.segment.delete.delay.ms=30000")
    table.row("log.segment.delete.delay.ms=30000", "configs", *broker, "--describe")
    table.row("node.id=1", "configs", *broker, "--describe", "--all")
    table.row("Completed updating default config", "configs", *every, "--alter", "--add-config", "message.max.bytes=1500000")
    table.row("message.max.bytes=1500000", "configs", *every, "--describe")
    table.row("Completed updating default config", "configs", *every, "--alter", "--delete-config", "message.max.bytes")
    group = ("--entity-type", "groups", "--entity-name", "configured")
    table.row("Completed updating config", "configs", *group, "--alter", "--add-config", "consumer.session.timeout.ms=50000,share.delivery.count.limit=7")
    table.row("consumer.session.timeout.ms=50000.*share.delivery.count.limit=7|share.delivery.count.limit=7.*consumer.session.timeout.ms=50000", "configs", *group, "--describe")
    table.row("(?i)consumer.session.timeout.ms", "configs", *group, "--alter", "--add-config", "consumer.session.timeout.ms=1", fails=True)
    table.row("Completed updating config", "configs", *group, "--alter", "--delete-config", "consumer.session.timeout.ms,share.delivery.count.limit")
    table.row("(?i)level|=INFO|=WARN", "configs", "--entity-type", "broker-loggers", "--entity-name", "1", "--describe", unserved=True)
    table.row("Completed updating", "configs", "--entity-type", "clients", "--entity-name", "slow", "--alter", "--add-config", "producer_byte_rate=1048576", unserved=True)
    table.row("producer_byte_rate=1048576", "configs", "--entity-type", "clients", "--describe", unserved=True)
    table.row("Completed updating", "configs", "--entity-type", "users", "--entity-name", "alice", "--alter", "--add-config", "SCRAM-SHA-256=[iterations=4096,password=secret]", unserved=True)
    table.row("Completed updating", "configs", "--entity-type", "client-metrics", "--entity-name", "all", "--alter", "--add-config", "interval.ms=60000", unserved=True)
    table.row("all", "client-metrics", "--list", unserved=True)


def cluster(table: Table) -> None:
    table.row(r"LeaderId: +\d.*HighWatermark: +\d+.*CurrentVoters: +\[.*\d", "metadata-quorum", "describe", "--status")
    table.row(r"NodeId.*LogEndOffset.*Leader.*Follower", "metadata-quorum", "describe", "--replication")
    table.row(r"NodeId.*ms ago.*Follower", "metadata-quorum", "describe", "--replication", "--human-readable")
    table.row("metadata.version.*FinalizedVersionLevel: 4", "features", "describe")
    table.row("(?i)dry|would|can", "features", "downgrade", "--feature", "share.version=0", "--dry-run")
    table.row("(?i)no.such", "features", "upgrade", "--feature", "no.such.feature=1", fails=True)
    table.row("Cluster ID: [A-Za-z0-9_-]{22}", "cluster", "cluster-id")
    table.row("127.0.0.1.*127.0.0.1.*127.0.0.1", "cluster", "list-endpoints")
    table.row("(?i)broker.*9|BrokerIdNotRegistered", "cluster", "unregister", "--id", "9", fails=True)
    table.row(r"Produce\(0\): .*Fetch\(1\)", "broker-api-versions")
    table.row(rf'"partition":"{TOPIC}-0"', "log-dirs", "--describe", "--topic-list", TOPIC)
    table.row(r'"broker":1.*"broker":2', "log-dirs", "--describe", "--broker-list", "1,2")
    table.row("(?i)no authorizer|SecurityDisabled", "acls", "--list", fails=True, unserved=True, remark="Apache Kafka has no authorizer by default, and says so")
    table.row("(?i)Delegation ?Token", "delegation-tokens", "--describe", "--command-config", table.file("none.properties", ""), fails=True, unserved=True, remark="Apache Kafka has none without a secret, and says so")


def moves(table: Table) -> None:
    """Reassignments and elections."""
    wanted = table.file("topics.json", {"version": 1, "topics": [{"topic": MOVED}]})
    printed = table.row("Proposed partition reassignment configuration", "reassign-partitions", "--topics-to-move-json-file", wanted, "--broker-list", "2,3", "--generate")
    found = re.findall(r"^\{.*\}$", printed, re.MULTILINE)
    plan = table.file("plan.json", found[-1] if found else "{}")
    table.row("Successfully started partition reassignment", "reassign-partitions", "--reassignment-json-file", plan, "--execute", "--throttle", "50000000")
    table.until("(?i)is complete(?!.*still in progress)", "reassign-partitions", "--reassignment-json-file", plan, "--verify", "--preserve-throttles")
    table.row(f"Reassignment of partition {MOVED}-0 is completed", "reassign-partitions", "--reassignment-json-file", plan, "--verify")
    table.row("No partition reassignments found", "reassign-partitions", "--list")
    table.row(rf"Partition: 0\s+Leader: [23]\s+Replicas: [23],[23]\s", "topics", "--describe", "--topic", MOVED)
    back = {"version": 1, "partitions": [{"topic": MOVED, "partition": 0, "replicas": [1, 2], "log_dirs": ["any", "any"]}]}
    cancelled = table.file("back.json", back)
    table.row("Successfully started partition reassignment", "reassign-partitions", "--reassignment-json-file", cancelled, "--execute", "--additional")
    table.row("(?i)cancel|None of the specified", "reassign-partitions", "--reassignment-json-file", cancelled, "--cancel")
    table.row("(?i)does not exist|not valid|no broker|unknown", "reassign-partitions", "--reassignment-json-file", table.file("bad.json", {"version": 1, "partitions": [{"topic": MOVED, "partition": 0, "replicas": [8, 9]}]}), "--execute", fails=True)
    table.row("(?i)Valid replica already elected|Successfully completed leader election|\\A\\s*\\Z", "leader-election", "--election-type", "preferred", "--all-topic-partitions")
    table.row("(?i)already elected|Successfully", "leader-election", "--election-type", "preferred", "--topic", TOPIC, "--partition", "0")
    table.row("(?i)already elected|Successfully", "leader-election", "--election-type", "unclean", "--topic", TOPIC, "--partition", "0")
    chosen = table.file("elections.json", {"partitions": [{"topic": TOPIC, "partition": 1}, {"topic": "nowhere", "partition": 0}]})
    table.row("(?i)nowhere|UnknownTopicOrPartition", "leader-election", "--election-type", "preferred", "--path-to-json-file", chosen, fails=True)


def clients(table: Table) -> None:
    """What reads and writes, and the offsets that are there then."""
    table.row(f"Created topic {LOADED}", "topics", "--create", "--topic", LOADED, "--partitions", "3", "--replication-factor", "3")
    lines = "".join(f"key-{number}:value-{number}\n" for number in range(20))
    table.row(r"\A[\s>]*\Z", "console-producer", "--topic", TOPIC, "--reader-property", "parse.key=true", "--reader-property", "key.separator=:", typed=lines)
    table.row("key-0.value-0.*Processed a total of 20 messages", "console-consumer", "--topic", TOPIC, "--from-beginning", "--max-messages", "20", "--timeout-ms", "30000", "--formatter-property", "print.key=true")
    table.row(f'"acked":{RECORDS}', "verifiable-producer", "--topic", LOADED, "--max-messages", str(RECORDS), "--acks", "-1")
    table.row(r"\d+ records sent, .*ms 99.9th", "producer-perf-test", "--bootstrap-server", AT, "--topic", LOADED, "--num-records", "3000", "--record-size", "100", "--throughput", "-1", "--command-property", "acks=all")
    table.row(r"(?s)data.consumed.in.MB.*\n.*, 3\d\d\d,", "consumer-perf-test", "--topic", LOADED, "--num-records", str(3000 + RECORDS), "--timeout", "60000")
    table.row(r"Avg latency: .*Percentiles", "e2e-latency", AT, LOADED, "50", "all", "100")
    table.row(rf"{TOPIC}:0:\d+\n{TOPIC}:1:\d+", "get-offsets", "--topic", TOPIC)
    table.row(rf"{TOPIC}:0:0\n{TOPIC}:1:0", "get-offsets", "--topic", TOPIC, "--time", "earliest")
    table.row(rf"{TOPIC}:\d:\d+", "get-offsets", "--topic", TOPIC, "--time", "max-timestamp")
    table.row(rf"{TOPIC}:0:0\n", "get-offsets", "--topic", TOPIC, "--time", "-4", remark="the earliest that is kept here")
    table.row("", "get-offsets", "--topic", TOPIC, "--time", "-5", remark="the last in tiered storage: there is none")
    table.row(rf"{TOPIC}:1:\d+", "get-offsets", "--topic-partitions", f"{TOPIC}:1", "--time", "latest")
    deleted = {"version": 1, "partitions": [{"topic": LOADED, "partition": 0, "offset": 5}]}
    table.row("low_watermark: 5", "delete-records", "--offset-json-file", table.file("delete.json", deleted))
    table.row("(?i)out of range|OffsetOutOfRange", "delete-records", "--offset-json-file", table.file("beyond.json", {"version": 1, "partitions": [{"topic": LOADED, "partition": 0, "offset": 1 << 40}]}))
    table.row(f"{LOADED}:0:5\n", "get-offsets", "--topic", LOADED, "--time", "earliest")
    table.row("", "topics", "--delete", "--topic", LOADED)
    deadline = time.monotonic() + SETTLED_SECONDS
    while LOADED in AdminClient({"bootstrap.servers": table.bootstrap}).list_topics(timeout=SETTLED_SECONDS).topics and time.monotonic() < deadline:
        time.sleep(0.2)
    table.row(rf"\A(?!.*{LOADED})", "topics", "--list")


STEPS = (topics, configs, cluster, moves, clients)
