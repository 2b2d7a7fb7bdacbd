//! What a consumer and an administrator of groups share: what members tell each other, and offsets on the wire.

mod embedded;
mod offsets;

use strandline_protocol::ids::Uuid;

use crate::backoff::Dice;

pub(crate) use embedded::{assigned_bytes, assigned_partitions, by_topic, subscription_bytes, subscription_of};
pub use offsets::{CommittedOffset, GroupMetadata};
pub(crate) use offsets::{Fetched, Identity, NO_MEMBER, commit, fetch_committed};

/// An id that nobody else has.
pub(crate) fn random_id() -> String {
    let mut dice = Dice::new();
    let mut bytes = [0; 16];
    bytes.iter_mut().for_each(|byte| *byte = dice.below(256) as u8);
    Uuid(bytes).to_string()
}
