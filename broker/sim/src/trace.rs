//! What happened, one line an event. The hash over all lines is the run's fingerprint: the same seed gives the same hash
//! in every process, or something got in that was not handed in.

use std::collections::VecDeque;
use std::fmt::{Arguments, Write};

use crate::dice::{fnv, fnv_onto};

/// Which lines are kept as text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keep {
    Nothing,
    /// The last so many.
    Last(usize),
    Everything,
}

#[derive(Clone, Debug)]
pub struct Trace {
    keep: Keep,
    hash: u64,
    lines: u64,
    line: String,
    kept: VecDeque<String>,
}

impl Trace {
    pub fn new(keep: Keep) -> Self {
        Self { keep, hash: fnv(b""), lines: 0, line: String::new(), kept: VecDeque::new() }
    }

    /// Notes an event at a point of the world's time.
    pub fn note(&mut self, at_us: u64, event: Arguments<'_>) {
        self.line.clear();
        // A string takes everything that is written into it.
        let _ = write!(self.line, "{:>4}.{:06} {event}", at_us / 1_000_000, at_us % 1_000_000);
        self.hash = fnv_onto(self.hash, self.line.as_bytes());
        self.lines += 1;
        match self.keep {
            Keep::Nothing => return,
            Keep::Last(count) if self.kept.len() >= count => {
                self.kept.pop_front();
            }
            Keep::Last(_) | Keep::Everything => {}
        }
        self.kept.push_back(self.line.clone());
    }

    pub fn hash(&self) -> u64 {
        self.hash
    }

    /// How many events there were.
    pub fn lines(&self) -> u64 {
        self.lines
    }

    pub fn kept(&self) -> impl Iterator<Item = &str> {
        self.kept.iter().map(String::as_str)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_depends_on_every_line_and_not_on_what_is_kept() {
        let mut all = Trace::new(Keep::Everything);
        let mut last = Trace::new(Keep::Last(1));
        for trace in [&mut all, &mut last] {
            trace.note(1_500_000, format_args!("a"));
            trace.note(2_000_001, format_args!("b {}", 1));
        }
        assert_eq!(all.hash(), last.hash());
        assert_eq!(all.kept().collect::<Vec<_>>(), ["   1.500000 a", "   2.000001 b 1"]);
        assert_eq!(last.kept().count(), 1);
        last.note(3, format_args!("c"));
        assert_ne!(all.hash(), last.hash());
    }
}
