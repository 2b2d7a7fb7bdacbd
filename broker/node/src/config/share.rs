//! What the configuration of a share group comes to.

use super::BrokerConfig;
use super::group::group_text;
use super::layers::Overrides;

/// Where a share group begins in a partition that it has not read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OffsetReset {
    Earliest,
    Latest,
    /// So many milliseconds ago.
    Ago(i64),
}

impl OffsetReset {
    pub(crate) fn parse(text: &str) -> Option<Self> {
        match text {
            "earliest" => Some(Self::Earliest),
            "latest" => Some(Self::Latest),
            _ => duration_ms(text.strip_prefix("by_duration:")?).map(Self::Ago),
        }
    }
}

/// An ISO 8601 duration as Java reads it: `PnDTnHnMnS`, seconds with a fraction; not negative.
fn duration_ms(text: &str) -> Option<i64> {
    let (days, time) = match text.strip_prefix('P')?.split_once('T') {
        Some((days, time)) if !time.is_empty() => (days, time),
        Some(_) => return None,
        None => (text.strip_prefix('P')?, ""),
    };
    if days.is_empty() && time.is_empty() {
        return None;
    }
    let mut total = parts_ms(days, &[('D', 86_400_000)])?;
    total = total.checked_add(parts_ms(time, &[('H', 3_600_000), ('M', 60_000), ('S', 1000)])?)?;
    Some(total)
}

/// Numbers with their units, in this order, each once at most.
fn parts_ms(mut text: &str, units: &[(char, i64)]) -> Option<i64> {
    let mut total = 0i64;
    for (unit, factor) in units {
        let Some((number, rest)) = text.split_once(*unit) else { continue };
        let (whole, fraction) = number.split_once('.').map_or((number, ""), |(whole, fraction)| (whole, fraction));
        let is_number = |digits: &str| digits.bytes().all(|byte| byte.is_ascii_digit());
        if whole.is_empty() || !is_number(whole) || !is_number(fraction) || (number.contains('.') && *unit != 'S') {
            return None;
        }
        let thousandths: i64 = format!("{fraction:0<3}").get(..3)?.parse().ok()?;
        total = total.checked_add(whole.parse::<i64>().ok()?.checked_mul(*factor)?)?.checked_add(thousandths)?;
        text = rest;
    }
    text.is_empty().then_some(total)
}

/// A share group's keys, typed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ShareConfig {
    pub assignment_interval_ms: i32,
    pub heartbeat_interval_ms: i32,
    pub session_timeout_ms: u64,
    pub lock_ms: u64,
    pub locks_max: u64,
    pub deliveries_max: u16,
    pub offset_reset: OffsetReset,
    pub reads_committed: bool,
    pub may_renew: bool,
}

impl ShareConfig {
    /// Reads the keys of a group; `overrides` are its own.
    pub(crate) fn read(start: &BrokerConfig, overrides: Option<&Overrides>) -> Self {
        let text = |key: &str| group_text(start, overrides, key);
        let number = |key: &str| text(key).parse::<i64>().unwrap_or_default();
        let natural = |key: &str| u64::try_from(number(key)).unwrap_or(0);
        Self {
            assignment_interval_ms: i32::try_from(number("share.assignment.interval.ms")).unwrap_or(i32::MAX),
            heartbeat_interval_ms: i32::try_from(number("share.heartbeat.interval.ms")).unwrap_or(i32::MAX),
            session_timeout_ms: natural("share.session.timeout.ms"),
            lock_ms: natural("share.record.lock.duration.ms"),
            locks_max: natural("share.partition.max.record.locks"),
            deliveries_max: u16::try_from(number("share.delivery.count.limit")).unwrap_or(u16::MAX),
            offset_reset: OffsetReset::parse(text("share.auto.offset.reset")).unwrap_or(OffsetReset::Latest),
            reads_committed: text("share.isolation.level") == "read_committed",
            may_renew: text("share.renew.acknowledge.enable") == "true",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_is_read_as_java_reads_it() {
        assert_eq!(OffsetReset::parse("by_duration:P1DT2H3M4.5S"), Some(OffsetReset::Ago(93_784_500)));
        assert_eq!(OffsetReset::parse("by_duration:PT10M"), Some(OffsetReset::Ago(600_000)));
        assert_eq!(OffsetReset::parse("by_duration:P3D"), Some(OffsetReset::Ago(259_200_000)));
        for odd in ["by_duration:", "by_duration:P", "by_duration:PT", "by_duration:PT-1H", "by_duration:PT1H2D", "later", ""] {
            assert_eq!(OffsetReset::parse(odd), None, "{odd}");
        }
    }

    #[test]
    fn what_a_group_sets_goes_before_what_the_broker_says() {
        let start = BrokerConfig::from_pairs([("group.share.record.lock.duration.ms", "20000")]).expect("legal");
        let own = Overrides::from([("share.delivery.count.limit".to_owned(), "3".to_owned())]);
        let config = ShareConfig::read(&start, Some(&own));
        assert_eq!((config.lock_ms, config.deliveries_max, config.locks_max), (20_000, 3, 2000));
        assert_eq!((config.offset_reset, config.reads_committed, config.may_renew), (OffsetReset::Latest, false, true));
    }
}
