//! How the process ends, in numbers.
//!
//! | code | meaning                                                                  |
//! |------|--------------------------------------------------------------------------|
//! | 0    | done; a broker was stopped and closed everything cleanly                 |
//! | 1    | the command failed, or the broker could not start; the reason is on stderr |
//! | 2    | wrong usage                                                              |
//! | 3    | the log directory failed while the broker ran                            |
//! | 4    | the broker was asked to stop and did not end in time, or was asked twice |

use std::process::ExitCode;

/// The ends of `strandline serve`. Usage errors are clap's, with code 2.
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
            Exit::DiskFailed => ExitCode::from(3),
            Exit::StoppedUncleanly => ExitCode::from(4),
        }
    }
}
