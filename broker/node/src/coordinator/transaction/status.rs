//! Where a transaction stands, with Kafka's numbers and names.

use std::collections::BTreeMap;

/// Legal moves:
/// ```text
/// Empty, Complete* -> Ongoing        partitions are added
/// Ongoing          -> Prepare*       the producer ends it, or it is fenced, or its time is over
/// Empty, Complete* -> PrepareAbort   a producer that gets a new epoch with every end aborts a transaction of nothing
/// Prepare*         -> Complete*      all partitions have their marker
/// Empty, Complete* -> Empty          a producer initialises itself
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Status {
    Empty,
    Ongoing,
    PrepareCommit,
    PrepareAbort,
    CompleteCommit,
    CompleteAbort,
}

/// Names that filters may use although no transaction here ever stands there.
const PASSING: [&str; 2] = ["Dead", "PrepareEpochFence"];

impl Status {
    const ALL: [Self; 6] =
        [Self::Empty, Self::Ongoing, Self::PrepareCommit, Self::PrepareAbort, Self::CompleteCommit, Self::CompleteAbort];

    pub(crate) fn number(self) -> i8 {
        match self {
            Self::Empty => 0,
            Self::Ongoing => 1,
            Self::PrepareCommit => 2,
            Self::PrepareAbort => 3,
            Self::CompleteCommit => 4,
            Self::CompleteAbort => 5,
        }
    }

    pub(crate) fn from_number(number: i8) -> Option<Self> {
        Self::ALL.into_iter().find(|status| status.number() == number)
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Empty => "Empty",
            Self::Ongoing => "Ongoing",
            Self::PrepareCommit => "PrepareCommit",
            Self::PrepareAbort => "PrepareAbort",
            Self::CompleteCommit => "CompleteCommit",
            Self::CompleteAbort => "CompleteAbort",
        }
    }

    pub(crate) fn is_name(name: &str) -> bool {
        PASSING.contains(&name) || Self::ALL.into_iter().any(|status| status.name() == name)
    }

    /// Decided, and its partitions do not all know yet.
    pub(crate) fn is_prepared(self) -> bool {
        matches!(self, Self::PrepareCommit | Self::PrepareAbort)
    }

    pub(crate) fn is_complete(self) -> bool {
        matches!(self, Self::CompleteCommit | Self::CompleteAbort)
    }
}

/// A count of none for every status.
pub(crate) fn none_of_each() -> BTreeMap<&'static str, usize> {
    Status::ALL.into_iter().map(|status| (status.name(), 0)).collect()
}

/// How a transaction ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum End {
    Commit,
    Abort,
}

impl End {
    pub(crate) fn of(committed: bool) -> Self {
        if committed { Self::Commit } else { Self::Abort }
    }

    pub(crate) fn prepared(self) -> Status {
        match self {
            Self::Commit => Status::PrepareCommit,
            Self::Abort => Status::PrepareAbort,
        }
    }

    pub(crate) fn complete(self) -> Status {
        match self {
            Self::Commit => Status::CompleteCommit,
            Self::Abort => Status::CompleteAbort,
        }
    }

    /// The end that this status is of.
    pub(crate) fn of_status(status: Status) -> Option<Self> {
        match status {
            Status::PrepareCommit | Status::CompleteCommit => Some(Self::Commit),
            Status::PrepareAbort | Status::CompleteAbort => Some(Self::Abort),
            Status::Empty | Status::Ongoing => None,
        }
    }
}
