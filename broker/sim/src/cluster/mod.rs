//! Clusters: several machines with their nodes, clients that follow leaders, and what does harm to them. The same parts as in
//! the world of a single node (`crate::world`), and besides the judge, who holds the nodes against each other.
//!
//! A run has three parts: the work under faults; the settling, in which everything must become available again; and the
//! audit, after which the history is judged as a whole.

pub(crate) mod ambush;
pub(crate) mod books;
pub(crate) mod committed;
pub(crate) mod consumer;
pub(crate) mod electorates;
pub mod judge;
pub(crate) mod ledger;
pub(crate) mod members;
pub(crate) mod nemesis;
pub(crate) mod operator;
pub(crate) mod plan;
pub(crate) mod producer;
pub(crate) mod reader;
pub(crate) mod reading;
pub(crate) mod router;
pub(crate) mod seats;
pub(crate) mod voters;
pub(crate) mod votes;
pub(crate) mod work;
pub(crate) mod world;
