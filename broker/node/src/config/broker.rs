//! The keys of a broker: Kafka 4.3.1's names and defaults for what is served, and a few of our own.

use super::row::{Kind, Row, Scope};
use super::topic::{COMPRESSIONS, DURABILITIES, POLICIES, TIMESTAMP_TYPES};

const INT_MAX: i64 = i32::MAX as i64;
const LONG_MAX: i64 = i64::MAX;
const LONG_MAX_TEXT: &str = "9223372036854775807";

const fn start(name: &'static str, kind: Kind, default: Option<&'static str>, unit: &'static str, prose: &'static str) -> Row {
    Row { name, kind, default, unit, scope: Scope::Start, broker_key: None, prose }
}

const fn dynamic(
    name: &'static str,
    kind: Kind,
    default: Option<&'static str>,
    unit: &'static str,
    prose: &'static str,
) -> Row {
    Row { name, kind, default, unit, scope: Scope::Dynamic, broker_key: None, prose }
}

/// Every broker key, sorted by name.
#[rustfmt::skip]
pub const BROKER_KEYS: &[Row] = &[
    start("advertised.listeners", Kind::Text, None, "", "Where others are told to connect, as NAME://HOST:PORT, several separated by commas; by default what `listeners` says."),
    start("auto.create.topics.enable", Kind::Boolean, Some("true"), "", "Whether a Metadata request that allows it creates the topics it names."),
    start("auto.leader.rebalance.enable", Kind::Boolean, Some("true"), "", "Whether the controller gives partitions back to their preferred leaders when those are in sync again."),
    start("broker.rack", Kind::Text, None, "", "Where this broker stands; told to clients."),
    start("broker.session.timeout.ms", Kind::Int { least: 1, most: INT_MAX }, Some("3000"), "ms", "The controller fences a broker that it has not heard of for so long; Kafka's default is 9000. A broker whose process ended is fenced at once where its machine says so."),
    start("cluster.id", Kind::Text, None, "", "The cluster that the data directory must belong to, and that an empty one is formatted for; by default whatever the directory says, or a new one."),
    dynamic("compression.gzip.level", Kind::Int { least: -1, most: 9 }, Some("-1"), "", "Default of the topic key of this name."),
    dynamic("compression.lz4.level", Kind::Int { least: 9, most: 9 }, Some("9"), "", "Default of the topic key of this name."),
    dynamic("compression.type", Kind::OneOf(COMPRESSIONS), Some("producer"), "", "Default of the topic key of this name."),
    dynamic("compression.zstd.level", Kind::Int { least: -131_072, most: 22 }, Some("3"), "", "Default of the topic key of this name."),
    start("connections.max.idle.ms", Kind::Long { least: 0, most: LONG_MAX }, Some("600000"), "ms", "A connection on which nothing happened for so long is closed."),
    start("controller.listener.names", Kind::Text, Some("CONTROLLER"), "", "Names of listeners that are for controllers; the first is the one at which they are reached."),
    start("controller.quorum.bootstrap.servers", Kind::Text, None, "", "Where voters of the quorum may be found, as HOST:PORT, several separated by commas."),
    start("controller.quorum.voters", Kind::Text, None, "", "The static voters of the quorum, as ID@HOST:PORT, several separated by commas; without them a controller is a quorum of one."),
    start("default.replication.factor", Kind::Int { least: 1, most: 32_767 }, Some("1"), "replicas", "Replicas of a topic that does not say."),
    start("delete.topic.enable", Kind::Boolean, Some("true"), "", "Whether topics can be deleted."),
    dynamic("durability", Kind::OneOf(DURABILITIES), Some("fsync"), "", "Default of the topic key of this name: when a record counts."),
    start("fetch.max.bytes", Kind::Int { least: 1024, most: INT_MAX }, Some("57671680"), "bytes", "Most bytes of records in one Fetch response, its first batch excepted."),
    start("group.initial.rebalance.delay.ms", Kind::Int { least: 0, most: INT_MAX }, Some("3000"), "ms", "How long the first rebalance of an empty classic group waits for more members."),
    start("group.max.session.timeout.ms", Kind::Int { least: 1, most: INT_MAX }, Some("1800000"), "ms", "Longest session timeout that a member of a classic group may ask for."),
    start("group.max.size", Kind::Int { least: 1, most: INT_MAX }, Some("2147483647"), "members", "Most members of a classic group."),
    start("group.min.session.timeout.ms", Kind::Int { least: 1, most: INT_MAX }, Some("6000"), "ms", "Shortest session timeout that a member of a classic group may ask for."),
    start("inter.broker.listener.name", Kind::Text, None, "", "The listener at which brokers reach each other; by default the first that is not for controllers."),
    start("leader.imbalance.check.interval.seconds", Kind::Long { least: 1, most: 86_400 }, Some("300"), "seconds", "How often partitions are given back to their preferred leaders."),
    start("listener.security.protocol.map", Kind::Text, None, "", "NAME:PROTOCOL for every listener, several separated by commas; the only protocol is PLAINTEXT."),
    start("listeners", Kind::Text, Some("PLAINTEXT://127.0.0.1:9092"), "", "Where the process listens, as NAME://HOST:PORT, several separated by commas."),
    dynamic("log.cleanup.policy", Kind::List(POLICIES), Some("delete"), "", "Default of the topic key `cleanup.policy`."),
    start("log.dirs", Kind::Text, Some("./strandline-data"), "", "The data directory (one)."),
    dynamic("log.flush.interval.messages", Kind::Long { least: 1, most: LONG_MAX }, Some(LONG_MAX_TEXT), "records", "Default of the topic key `flush.messages`."),
    dynamic("log.flush.interval.ms", Kind::Long { least: 0, most: LONG_MAX }, Some(LONG_MAX_TEXT), "ms", "Default of the topic key `flush.ms`."),
    start("log.flush.offset.checkpoint.interval.ms", Kind::Int { least: 100, most: INT_MAX }, Some("60000"), "ms", "How often recovery points are written: a restart after a crash scans what was appended since."),
    dynamic("log.index.interval.bytes", Kind::Int { least: 0, most: INT_MAX }, Some("4096"), "bytes", "Default of the topic key `index.interval.bytes`."),
    dynamic("log.index.size.max.bytes", Kind::Int { least: 4, most: INT_MAX }, Some("10485760"), "bytes", "Default of the topic key `segment.index.bytes`."),
    start("log.io.executor", Kind::OneOf(&["auto", "uring", "threads", "buffered"]), Some("auto"), "", "How files are written and read: `uring` and `threads` go around the page cache, `buffered` through it; `auto` takes the first that the file system allows."),
    dynamic("log.message.timestamp.after.max.ms", Kind::Long { least: 0, most: LONG_MAX }, Some("3600000"), "ms", "Default of the topic key `message.timestamp.after.max.ms`."),
    dynamic("log.message.timestamp.before.max.ms", Kind::Long { least: 0, most: LONG_MAX }, Some(LONG_MAX_TEXT), "ms", "Default of the topic key `message.timestamp.before.max.ms`."),
    dynamic("log.message.timestamp.type", Kind::OneOf(TIMESTAMP_TYPES), Some("CreateTime"), "", "Default of the topic key `message.timestamp.type`."),
    dynamic("log.retention.bytes", Kind::Long { least: -1, most: LONG_MAX }, Some("-1"), "bytes", "Default of the topic key `retention.bytes`."),
    start("log.retention.check.interval.ms", Kind::Long { least: 1, most: LONG_MAX }, Some("300000"), "ms", "How often segments are looked at for retention."),
    start("log.retention.hours", Kind::Int { least: -1, most: INT_MAX }, Some("168"), "hours", "Default of the topic key `retention.ms` where neither the minutes nor the milliseconds are set."),
    start("log.retention.minutes", Kind::Int { least: -1, most: INT_MAX }, None, "minutes", "Goes before the hours."),
    dynamic("log.retention.ms", Kind::Long { least: -1, most: LONG_MAX }, None, "ms", "Goes before the minutes and hours."),
    start("log.roll.hours", Kind::Int { least: 1, most: INT_MAX }, Some("168"), "hours", "Default of the topic key `segment.ms` where the milliseconds are not set."),
    dynamic("log.roll.jitter.ms", Kind::Long { least: 0, most: LONG_MAX }, None, "ms", "Default of the topic key `segment.jitter.ms`; 0 if unset."),
    dynamic("log.roll.ms", Kind::Long { least: 1, most: LONG_MAX }, None, "ms", "Goes before the hours."),
    dynamic("log.segment.bytes", Kind::Int { least: 1_048_576, most: INT_MAX }, Some("1073741824"), "bytes", "Default of the topic key `segment.bytes`."),
    dynamic("log.segment.delete.delay.ms", Kind::Long { least: 0, most: LONG_MAX }, Some("60000"), "ms", "Default of the topic key `file.delete.delay.ms`."),
    start("max.connections", Kind::Int { least: 0, most: INT_MAX }, Some("2147483647"), "connections", "Most connections at a time."),
    start("max.connections.per.ip", Kind::Int { least: 0, most: INT_MAX }, Some("2147483647"), "connections", "Most connections of one address at a time."),
    start("max.incremental.fetch.session.cache.slots", Kind::Int { least: 0, most: INT_MAX }, Some("1000"), "sessions", "Most fetch sessions kept."),
    start("max.request.partition.size.limit", Kind::Int { least: 1, most: INT_MAX }, Some("2000"), "partitions", "Most partitions in one DescribeTopicPartitions response."),
    dynamic("message.max.bytes", Kind::Int { least: 0, most: INT_MAX }, Some("1048588"), "bytes", "Default of the topic key `max.message.bytes`."),
    start("metadata.log.max.record.bytes.between.snapshots", Kind::Long { least: 1, most: LONG_MAX }, Some("20971520"), "bytes", "Bytes of metadata log after which a new snapshot is made."),
    start("metadata.log.max.snapshot.interval.ms", Kind::Long { least: 0, most: LONG_MAX }, Some("3600000"), "ms", "Time after which a new snapshot of the metadata log is made if anything was committed since; 0 makes none by time."),
    start("metadata.log.segment.bytes", Kind::Int { least: 8_388_608, most: INT_MAX }, Some("1073741824"), "bytes", "Size at which a new segment of the metadata log begins; one also begins with a snapshot that is smaller than the segment."),
    start("metadata.log.segment.ms", Kind::Long { least: 1, most: LONG_MAX }, Some("604800000"), "ms", "Span of time in one segment of the metadata log."),
    start("metadata.max.retention.bytes", Kind::Long { least: -1, most: LONG_MAX }, Some("104857600"), "bytes", "Size of metadata log and snapshots together above which the oldest go, as long as a newer snapshot is there; -1 is no limit."),
    start("metadata.max.retention.ms", Kind::Long { least: -1, most: LONG_MAX }, Some("604800000"), "ms", "Age at which a snapshot goes, with the log before the next one, as long as there is a newer one; -1 is no limit."),
    dynamic("min.insync.replicas", Kind::Int { least: 1, most: INT_MAX }, Some("1"), "replicas", "Default of the topic key of this name."),
    start("node.id", Kind::Int { least: 0, most: INT_MAX }, Some("1"), "", "This node's number in the cluster."),
    start("num.partitions", Kind::Int { least: 1, most: INT_MAX }, Some("1"), "partitions", "Partitions of a topic that does not say."),
    start("num.recovery.threads.per.data.dir", Kind::Int { least: 1, most: 1024 }, Some("2"), "threads", "Threads that open partitions at start."),
    start("offset.metadata.max.bytes", Kind::Int { least: 0, most: INT_MAX }, Some("4096"), "bytes", "Longest text that may be committed beside an offset."),
    start("offsets.commit.timeout.ms", Kind::Int { least: 1, most: INT_MAX }, Some("5000"), "ms", "How long an answer of a coordinator waits for its records to be committed."),
    start("offsets.retention.check.interval.ms", Kind::Long { least: 1, most: LONG_MAX }, Some("600000"), "ms", "How often committed offsets are looked at for expiry."),
    start("offsets.retention.minutes", Kind::Int { least: 1, most: INT_MAX }, Some("10080"), "minutes", "How long offsets of a group without members, or of topics it is no longer subscribed to, are kept."),
    start("offsets.topic.num.partitions", Kind::Int { least: 1, most: INT_MAX }, Some("50"), "partitions", "Partitions of `__consumer_offsets` when it is made; not to be changed afterwards."),
    start("offsets.topic.replication.factor", Kind::Int { least: 1, most: 32_767 }, Some("3"), "replicas", "Replicas of `__consumer_offsets` when it is made; fewer if the cluster has fewer brokers."),
    start("offsets.topic.segment.bytes", Kind::Int { least: 1_048_576, most: INT_MAX }, Some("104857600"), "bytes", "Segment size of `__consumer_offsets` when it is made."),
    start("partitions.per.broker.max", Kind::Int { least: 1, most: INT_MAX }, Some("200000"), "partitions", "Most partitions that this broker hosts; more are refused."),
    start("process.roles", Kind::List(&["broker", "controller"]), Some("broker,controller"), "", "What the process is."),
    start("producer.id.expiration.ms", Kind::Int { least: 1, most: INT_MAX }, Some("86400000"), "ms", "A partition forgets an idle producer after this long."),
    start("queued.max.request.bytes", Kind::Long { least: 1_048_576, most: LONG_MAX }, Some("268435456"), "bytes", "Most bytes of requests held at a time; connections wait unread above it. Kafka has no limit by default."),
    start("queued.max.requests", Kind::Int { least: 1, most: INT_MAX }, Some("500"), "requests", "Most requests of one connection under way at a time; it waits unread above it."),
    start("replica.fetch.backoff.ms", Kind::Int { least: 0, most: INT_MAX }, Some("250"), "ms", "How long a follower waits before it asks a leader again that could not answer. Kafka waits a second."),
    start("replica.fetch.max.bytes", Kind::Int { least: 0, most: INT_MAX }, Some("1048576"), "bytes", "Most bytes that a follower asks for of one partition at a time, its first batch excepted."),
    start("replica.fetch.min.bytes", Kind::Int { least: 0, most: INT_MAX }, Some("1"), "bytes", "Bytes that a follower waits for at its leader."),
    start("replica.fetch.response.max.bytes", Kind::Int { least: 0, most: INT_MAX }, Some("10485760"), "bytes", "Most bytes that a follower asks one leader for at a time, the first batch excepted."),
    start("replica.fetch.wait.max.ms", Kind::Int { least: 0, most: INT_MAX }, Some("500"), "ms", "How long a follower's fetch waits at the leader for records."),
    start("replica.high.watermark.checkpoint.interval.ms", Kind::Long { least: 100, most: LONG_MAX }, Some("5000"), "ms", "How often high watermarks and log starts that moved are written."),
    start("replica.lag.time.max.ms", Kind::Long { least: 0, most: LONG_MAX }, Some("30000"), "ms", "A follower that has not had everything for so long is taken out of the in-sync set."),
    start("request.threads", Kind::Int { least: 1, most: 1024 }, None, "threads", "Threads that serve connections; by default one for each core."),
    start("socket.listen.backlog.size", Kind::Int { least: 1, most: INT_MAX }, Some("50"), "connections", "Connections that wait to be accepted."),
    start("socket.request.max.bytes", Kind::Int { least: 1, most: INT_MAX }, Some("104857600"), "bytes", "Largest request frame."),
    start("tail.cache.bytes", Kind::Long { least: 0, most: LONG_MAX }, Some("134217728"), "bytes", "Memory of the whole broker for the newest bytes of its partitions, from which tail readers are answered."),
    dynamic("unclean.leader.election.enable", Kind::OneOf(&["false"]), Some("false"), "", "A replica that is not in sync never becomes leader by itself; `true` is refused."),
];
