//! CPU time of processes, from `/proc/PID/stat`.

use std::fs;
use std::io;
use std::time::Duration;

use crate::failure::Failure;

/// `/proc` counts in hundredths of a second on every architecture that Linux still has: USER_HZ is part of its interface.
const TICK: Duration = Duration::from_millis(10);

/// Fields of the line, counted from the one behind the name, which may hold spaces and brackets.
const UTIME: usize = 11;
const STIME: usize = 12;

/// CPU time used so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Cpu(Duration);

impl Cpu {
    /// User and system time of all threads of the processes together.
    pub(crate) fn of(pids: &[u32]) -> Result<Self, Failure> {
        let mut sum = Duration::ZERO;
        for pid in pids {
            let line = fs::read_to_string(format!("/proc/{pid}/stat"));
            let used = line.and_then(|line| used(&line).ok_or_else(|| io::ErrorKind::InvalidData.into()));
            sum += used.map_err(|error| Failure::Process { pid: *pid, error })?;
        }
        Ok(Self(sum))
    }

    pub(crate) fn since(self, before: Self) -> Duration {
        self.0.saturating_sub(before.0)
    }
}

fn used(line: &str) -> Option<Duration> {
    let (_, fields) = line.rsplit_once(')')?;
    let fields: Vec<&str> = fields.split_whitespace().collect();
    let ticks = |index: usize| fields.get(index)?.parse::<u32>().ok();
    Some(TICK * (ticks(UTIME)? + ticks(STIME)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_of_a_process_does_not_shift_the_fields() {
        let line = "42 (a ) b) S 1 42 42 0 -1 4194560 100 0 0 0 150 50 0 0 20 0 8 0 100 0 0";
        assert_eq!(used(line), Some(Duration::from_secs(2)));
        assert_eq!(used("42 (a) S 1"), None);
    }

    #[test]
    fn this_process_has_used_some() {
        assert!(Cpu::of(&[std::process::id()]).is_ok());
        assert!(Cpu::of(&[u32::MAX]).is_err());
    }
}
