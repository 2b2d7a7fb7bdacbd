//! How far a long command has come, on standard error.

use std::io::{self, IsTerminal};
use std::time::{Duration, Instant};

use indicatif::{HumanBytes, HumanCount, ProgressBar, ProgressStyle};

/// Time between two lines where there is no terminal to draw a bar on.
const LINE_EVERY: Duration = Duration::from_secs(1);

/// A bar on a terminal, lines elsewhere if they are asked for, or nothing.
pub(crate) enum Progress {
    Bar(ProgressBar),
    Lines { begun: Instant, said: Instant, bytes: u64, records: u64, total: Option<u64> },
    Silent,
}

/// Whether progress is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wish {
    /// On a terminal.
    WhereSeen,
    /// On a terminal and elsewhere.
    Always,
    Never,
}

impl Progress {
    /// Begins; `total` in bytes, if it is known.
    pub(crate) fn begin(wish: Wish, total: Option<u64>) -> Self {
        match (wish, io::stderr().is_terminal()) {
            (Wish::Never, _) | (Wish::WhereSeen, false) => Self::Silent,
            (_, true) => Self::Bar(bar(total)),
            (Wish::Always, false) => {
                let now = Instant::now();
                Self::Lines { begun: now, said: now, bytes: 0, records: 0, total }
            }
        }
    }

    pub(crate) fn advance(&mut self, more_records: u64, more_bytes: u64) {
        match self {
            Self::Bar(bar) => bar.inc(more_bytes),
            Self::Lines { begun, said, bytes, records, total } => {
                (*records, *bytes) = (*records + more_records, *bytes + more_bytes);
                if said.elapsed() >= LINE_EVERY {
                    *said = Instant::now();
                    let of = total.map_or_else(String::new, |total| format!(" of {}", HumanBytes(total)));
                    let seconds = begun.elapsed().as_secs();
                    eprintln!("{} records, {}{of} in {seconds} s", HumanCount(*records), HumanBytes(*bytes));
                }
            }
            Self::Silent => {}
        }
    }

    pub(crate) fn end(self) {
        if let Self::Bar(bar) = self {
            bar.finish_and_clear();
        }
    }
}

fn bar(total: Option<u64>) -> ProgressBar {
    let (bar, template) = match total {
        Some(total) => (ProgressBar::new(total), "{bar:40} {bytes}/{total_bytes}  {bytes_per_sec}  {eta} left"),
        None => (ProgressBar::no_length(), "{spinner} {bytes}  {bytes_per_sec}  {elapsed}"),
    };
    let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
    bar.with_style(style)
}
