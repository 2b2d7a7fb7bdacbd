//! What a consumer and an administrator of groups share: what members tell each other, and offsets on the wire.

mod embedded;
mod offsets;

pub(crate) use embedded::{assigned_bytes, assigned_partitions, by_topic, subscription_bytes, subscription_of};
pub use offsets::{CommittedOffset, GroupMetadata};
pub(crate) use offsets::{Fetched, Identity, NO_MEMBER, commit, fetch_committed};
