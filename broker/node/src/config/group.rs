//! The keys of a group: Kafka 4.3.1's names, set through the GROUP resource. A key that is not set has the value of its
//! broker key, or its own default.

use super::layers::Overrides;
use super::row::{Kind, Row, Scope, ValueError, find};
use super::{BrokerConfig, broker_row};

const INT_MAX: i64 = i32::MAX as i64;

const fn group(
    name: &'static str,
    kind: Kind,
    default: Option<&'static str>,
    unit: &'static str,
    broker_key: Option<&'static str>,
    prose: &'static str,
) -> Row {
    Row { name, kind, default, unit, scope: Scope::Dynamic, broker_key, prose }
}

/// Every group key, sorted by name. The bounds of those that have a broker key are bounded by the broker too: see `LIMITS`.
#[rustfmt::skip]
pub const GROUP_KEYS: &[Row] = &[
    group("consumer.assignment.interval.ms", Kind::Int { least: 0, most: INT_MAX }, None, "ms", Some("group.consumer.assignment.interval.ms"), "How long after partitions were assigned members and topics that come or go wait for the next assignment, which is for all of them; 0 assigns at once."),
    group("consumer.heartbeat.interval.ms", Kind::Int { least: 1, most: INT_MAX }, None, "ms", Some("group.consumer.heartbeat.interval.ms"), "How often members of the consumer protocol are told to send heartbeats."),
    group("consumer.session.timeout.ms", Kind::Int { least: 1, most: INT_MAX }, None, "ms", Some("group.consumer.session.timeout.ms"), "A member of the consumer protocol that is silent for so long is out."),
    group("share.assignment.interval.ms", Kind::Int { least: 0, most: INT_MAX }, None, "ms", Some("group.share.assignment.interval.ms"), "How long after partitions were assigned members and topics that come or go wait for the next assignment, which is for all of them; 0 assigns at once."),
    group("share.auto.offset.reset", Kind::OffsetReset, Some("latest"), "", None, "Where a share group begins in a partition that it has not read: `earliest`, `latest`, or `by_duration:` with an ISO 8601 duration before now."),
    group("share.delivery.count.limit", Kind::Int { least: 2, most: 25 }, None, "deliveries", Some("group.share.delivery.count.limit"), "How often a record is given out before it is given up."),
    group("share.heartbeat.interval.ms", Kind::Int { least: 1, most: INT_MAX }, None, "ms", Some("group.share.heartbeat.interval.ms"), "How often members are told to send heartbeats."),
    group("share.isolation.level", Kind::OneOf(&["read_committed", "read_uncommitted"]), Some("read_uncommitted"), "", None, "Whether records of transactions wait until they are committed."),
    group("share.partition.max.record.locks", Kind::Int { least: 100, most: 10_000 }, None, "records", Some("group.share.partition.max.record.locks"), "Most records of a partition between the first that is not done with and the last that was given out."),
    group("share.record.lock.duration.ms", Kind::Int { least: 1000, most: 3_600_000 }, None, "ms", Some("group.share.record.lock.duration.ms"), "How long a member may keep a record before others get it."),
    group("share.renew.acknowledge.enable", Kind::Boolean, Some("true"), "", None, "Whether members may renew the locks of records that they work on."),
    group("share.session.timeout.ms", Kind::Int { least: 1, most: INT_MAX }, None, "ms", Some("group.share.session.timeout.ms"), "A member that is silent for so long is out."),
];

/// Group keys whose values the broker bounds: the key of the least and of the most.
#[rustfmt::skip]
const LIMITS: &[(&str, &str, &str)] = &[
    ("consumer.assignment.interval.ms", "group.consumer.min.assignment.interval.ms", "group.consumer.max.assignment.interval.ms"),
    ("consumer.heartbeat.interval.ms", "group.consumer.min.heartbeat.interval.ms", "group.consumer.max.heartbeat.interval.ms"),
    ("consumer.session.timeout.ms", "group.consumer.min.session.timeout.ms", "group.consumer.max.session.timeout.ms"),
    ("share.assignment.interval.ms", "group.share.min.assignment.interval.ms", "group.share.max.assignment.interval.ms"),
    ("share.delivery.count.limit", "group.share.min.delivery.count.limit", "group.share.max.delivery.count.limit"),
    ("share.heartbeat.interval.ms", "group.share.min.heartbeat.interval.ms", "group.share.max.heartbeat.interval.ms"),
    ("share.partition.max.record.locks", "group.share.min.partition.max.record.locks", "group.share.max.partition.max.record.locks"),
    ("share.record.lock.duration.ms", "group.share.min.record.lock.duration.ms", "group.share.max.record.lock.duration.ms"),
    ("share.session.timeout.ms", "group.share.min.session.timeout.ms", "group.share.max.session.timeout.ms"),
];

/// The row of a group key.
///
/// # Errors
/// [`ValueError::UnknownKey`].
pub fn group_row(key: &str) -> Result<&'static Row, ValueError> {
    find(GROUP_KEYS, key).ok_or_else(|| ValueError::UnknownKey { key: key.to_owned() })
}

/// What holds for a group: its own value, that of the broker key, or the default.
pub(super) fn group_text<'a>(start: &'a BrokerConfig, overrides: Option<&'a Overrides>, key: &str) -> &'a str {
    let own = overrides.and_then(|overrides| overrides.get(key)).map(|value| value.trim());
    let row = group_row(key).ok();
    let below = || row.and_then(|row| row.broker_key.map_or(row.default, |key| start.text(key)));
    own.or_else(below).unwrap_or_default()
}

/// Checks a value for a group, also against what this broker allows.
///
/// # Errors
/// [`ValueError`] if the key is unknown or the value not legal.
pub fn check_group(start: &BrokerConfig, key: &str, value: &str) -> Result<(), ValueError> {
    let row = group_row(key)?;
    row.check(value)?;
    let Some((_, least, most)) = LIMITS.iter().find(|(name, ..)| *name == key) else { return Ok(()) };
    Row { kind: Kind::Int { least: start.number(least), most: start.number(most) }, ..*row }.check(value)
}

/// Holds what was given at start against the bounds that were given with it.
///
/// # Errors
/// [`ValueError`] for the first broker key whose value the bounds do not allow.
pub(super) fn check_start(start: &BrokerConfig) -> Result<(), ValueError> {
    for (name, least, most) in LIMITS {
        let Some(key) = group_row(name)?.broker_key else { continue };
        let row = broker_row(key)?;
        let bounded = Row { kind: Kind::Int { least: start.number(least), most: start.number(most) }, ..*row };
        bounded.check(start.text(key).unwrap_or_default())?;
    }
    Ok(())
}
