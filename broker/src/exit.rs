//! How the process ends, in numbers: [`CODES`] is the whole table. Client commands end as `cli/exit.rs` says.

use std::process::ExitCode;

/// Shown by `--help`.
pub(crate) const CODES: &str = "\
Exit codes:
  0  done; a broker was stopped and closed everything cleanly
  1  the command failed, or the broker could not start; the reason is on standard error
  2  wrong usage
  3  a client command could not reach the cluster, or got no answer in time
  4  a client command could not use a local file or stream
  5  the log directory failed while the broker ran
  6  the broker was asked to stop and did not end in time, or was asked twice";

/// The ends of `strandline serve` and `strandline dev`. Usage errors are clap's, with code 2.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    Done,
    Failed,
    DiskFailed,
    StoppedUncleanly,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        match exit {
            Exit::Done => ExitCode::from(0),
            Exit::Failed => ExitCode::from(1),
            Exit::DiskFailed => ExitCode::from(5),
            Exit::StoppedUncleanly => ExitCode::from(6),
        }
    }
}
