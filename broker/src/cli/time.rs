//! Moments, as people write and read them: RFC 3339 in UTC, or milliseconds since 1970.

use std::time::{SystemTime, UNIX_EPOCH};

const DAY_MS: i64 = 24 * 60 * 60 * 1000;

/// Reads `2026-11-21`, `2026-11-21T07:00`, `2026-11-21T07:00:05.250Z`; UTC, with or without the Z.
pub(crate) fn parse(text: &str) -> Option<i64> {
    let text = text.strip_suffix(['Z', 'z']).unwrap_or(text);
    let (date, time) = text.split_once(['T', 't', ' ']).unwrap_or((text, "00:00"));
    let mut date = date.splitn(3, '-').map(|part| number(part, 4));
    let (year, month, day) = (date.next()??, date.next()??, date.next()??);
    let days = days_since_1970(year, month, day)?;
    let mut time = time.splitn(3, ':');
    let (hour, minute) = (number(time.next()?, 2)?, number(time.next()?, 2)?);
    let (seconds, fraction) = time.next().map_or(("0", ""), |text| text.split_once('.').unwrap_or((text, "")));
    let second = number(seconds, 2)?;
    if hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    Some(days * DAY_MS + ((hour * 60 + minute) * 60 + second) * 1000 + milliseconds(fraction)?)
}

/// Milliseconds since 1970, by this machine's clock.
pub(crate) fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

/// Reads `90s`, `15m`, `6h`, `2d`, `500ms`, several of them in a row, and ISO 8601's `P1DT2H30M5S`; answers in milliseconds.
pub(crate) fn parse_duration(text: &str) -> Result<i64, &'static str> {
    let wrong = "expected a duration such as 90s, 15m, 6h, 2d or PT1H30M";
    let lower = text.to_ascii_lowercase();
    let mut rest = lower.strip_prefix('p').unwrap_or(&lower);
    let mut millis: i64 = 0;
    while !rest.is_empty() {
        rest = rest.strip_prefix('t').unwrap_or(rest);
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let (number, unit) = rest.split_at(digits);
        let (each, tail) = unit_of(unit).ok_or(wrong)?;
        let number: i64 = number.parse().map_err(|_| wrong)?;
        millis = number.checked_mul(each).and_then(|more| millis.checked_add(more)).ok_or(wrong)?;
        rest = tail;
    }
    if lower.is_empty() || lower == "p" || lower == "pt" { Err(wrong) } else { Ok(millis) }
}

/// The unit that a text begins with, in milliseconds, and what follows it.
fn unit_of(text: &str) -> Option<(i64, &str)> {
    let units = [("ms", 1), ("s", 1000), ("m", 60_000), ("h", 3_600_000), ("d", DAY_MS)];
    units.iter().find_map(|(unit, each)| text.strip_prefix(unit).map(|rest| (*each, rest)))
}

/// Writes `2026-11-21T07:00:05.250Z`, or `-` for a time that is not known.
pub(crate) fn show(timestamp_ms: i64) -> String {
    if timestamp_ms < 0 {
        return "-".to_owned();
    }
    let (days, rest) = (timestamp_ms.div_euclid(DAY_MS), timestamp_ms.rem_euclid(DAY_MS));
    let (year, month, day) = date(days);
    let (seconds, milliseconds) = (rest / 1000, rest % 1000);
    let (hour, minute, second) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{milliseconds:03}Z")
}

fn number(text: &str, digits_max: usize) -> Option<i64> {
    let valid = (1..=digits_max).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
    if valid { text.parse().ok() } else { None }
}

/// The first three digits of a fraction of a second.
fn milliseconds(fraction: &str) -> Option<i64> {
    if fraction.is_empty() {
        return Some(0);
    }
    let digits: String = fraction.chars().chain("00".chars()).take(3).collect();
    number(&digits, 3).filter(|_| fraction.bytes().all(|byte| byte.is_ascii_digit()))
}

fn days_since_1970(year: i64, month: i64, day: i64) -> Option<i64> {
    if !(1970..=9999).contains(&year) || !(1..=12).contains(&month) || !(1..=month_days(year, month)).contains(&day) {
        return None;
    }
    // Years are counted from March, so that the leap day is the last of a year.
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let days = year * 365 + year / 4 - year / 100 + year / 400 + (month * 153 + 2) / 5 + day - 1;
    Some(days - 719_468)
}

fn month_days(year: i64, month: i64) -> i64 {
    match month {
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Year, month and day of the day that is so many days after the first of 1970.
fn date(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month + 2) / 5 + 1;
    let (month, year) = if month < 10 { (month + 3, 0) } else { (month - 9, 1) };
    (era * 400 + year_of_era + year, month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_read_and_shown_alike() {
        for (text, expected) in [
            ("1970-01-01T00:00:00.000Z", 0),
            ("2000-02-29T12:34:56.789Z", 951_827_696_789),
            ("2026-11-21T07:00:05.250Z", 1_795_244_405_250),
            ("2100-03-01T00:00:00.000Z", 4_107_542_400_000),
        ] {
            assert_eq!(parse(text), Some(expected), "{text}");
            assert_eq!(show(expected), text);
        }
    }

    #[test]
    fn parts_may_be_left_out_from_the_end() {
        assert_eq!(parse("2026-11-21"), parse("2026-11-21T00:00:00Z"));
        assert_eq!(parse("2026-11-21 07:00"), parse("2026-11-21T07:00:00.000Z"));
        assert_eq!(parse("2026-11-21T07:00:05.2"), parse("2026-11-21T07:00:05.200Z"));
    }

    #[test]
    fn durations_are_read_in_both_spellings() {
        for (text, millis) in [
            ("90s", 90_000),
            ("1h30m", 5_400_000),
            ("PT1H30M", 5_400_000),
            ("P1DT1S", 86_401_000),
            ("2d", 172_800_000),
            ("500ms", 500),
        ] {
            assert_eq!(parse_duration(text), Ok(millis), "{text}");
        }
        for text in ["", "5", "P", "PT", "-1s", "h", "1y", "9999999999999999999s", "1.5h"] {
            assert!(parse_duration(text).is_err(), "{text}");
        }
    }

    #[test]
    fn what_is_no_moment_is_refused() {
        for text in ["", "2026", "2026-13-01", "2026-02-29", "2026-01-01T25:00", "2026-01-01T00:00:00.x", "1969-01-01", "a-b-c"]
        {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
