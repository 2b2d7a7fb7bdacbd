//! What clients of groups and transactions were promised, over all of them: who owns what, how far groups are, which records
//! are done with, how transactions ended. Each book says what is wrong with what it is told.
//!
//! A coordinator or leader that does not know yet that it was replaced still answers questions that need no record, from what it
//! knew. As in Kafka that is no promise, and what it says is not written into these books: see `Judge::leads_now`.

pub(crate) mod offsets;
pub(crate) mod ownership;
pub(crate) mod shared;
pub(crate) mod transactions;

use offsets::Offsets;
use ownership::Ownership;
use shared::Shared;
use transactions::Transactions;

#[derive(Debug, Default)]
pub(crate) struct Books {
    pub(crate) offsets: Offsets,
    pub(crate) ownership: Ownership,
    pub(crate) shared: Shared,
    pub(crate) transactions: Transactions,
}
