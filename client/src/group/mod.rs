//! What a consumer and an administrator of groups share: the way to a group's coordinator, and offsets on the wire.

mod coordinator;
mod embedded;
mod offsets;

pub(crate) use coordinator::{Coordinator, GroupError, Lost};
pub(crate) use embedded::{assigned_bytes, assigned_partitions, subscription_bytes, subscription_of};
pub use offsets::CommittedOffset;
pub(crate) use offsets::{Fetched, Identity, NO_MEMBER, commit, fetch_committed};
