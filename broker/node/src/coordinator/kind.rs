//! Which coordinators there are: each kind keeps its state in an internal topic of its own.

/// A kind of coordinator.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    /// Groups and their offsets.
    Groups,
    /// What share groups have done with partitions.
    ShareStates,
    /// Transactional ids and the transactions under them.
    Transactions,
}

impl Kind {
    pub(crate) const ALL: [Self; 3] = [Self::Groups, Self::ShareStates, Self::Transactions];

    /// The topic that state of this kind lives in.
    pub(crate) const fn topic(self) -> &'static str {
        match self {
            Self::Groups => "__consumer_offsets",
            Self::ShareStates => "__share_group_state",
            Self::Transactions => "__transaction_state",
        }
    }

    /// The kind whose state lives in a topic.
    pub(crate) fn of_topic(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.topic() == name)
    }
}
