//! Members of groups: how they come in, what they own, and what they may do with it. What they do is `worker.rs`'s.

pub(crate) mod classic;
pub(crate) mod modern;
pub(crate) mod scribe;
pub(crate) mod sharer;
pub(crate) mod worker;

use std::collections::BTreeSet;

use strandline_protocol::api::Response;

use self::classic::Classic;
use self::modern::Modern;
use super::router::{Posted, Router};
use crate::core::{Core, MachineId};
use crate::dice::Dice;
use crate::history::PartitionKey;

/// By which a member may commit: its id, and the generation or epoch that it is in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::cluster) struct Pass {
    pub(super) member: String,
    pub(super) epoch: i32,
}

/// Clocks of a member.
#[derive(Clone, Copy, Debug)]
pub(in crate::cluster) struct Timing {
    pub(in crate::cluster) session_ms: i32,
    pub(in crate::cluster) rebalance_ms: i32,
    pub(in crate::cluster) beat_us: u64,
}

/// A member by one of the protocols.
#[derive(Debug)]
pub(in crate::cluster) enum Membership {
    Classic(Classic),
    Modern(Modern),
}

impl Membership {
    /// Does what is due.
    pub(super) fn turn(&mut self, core: &mut Core, router: &mut Router, dice: &mut Dice) {
        match self {
            Self::Classic(member) => member.turn(core, router, dice),
            Self::Modern(member) => member.turn(core, router, dice),
        }
    }

    /// Takes an answer to one of its own requests.
    pub(super) fn hear(&mut self, core: &mut Core, router: &mut Router, posted: Posted, response: &Response) {
        match self {
            Self::Classic(member) => member.hear(core, router, posted, response),
            Self::Modern(member) => member.hear(core, router, posted, response),
        }
    }

    /// Nothing that was posted there is answered.
    pub(super) fn lost(&mut self, core: &Core, machine: MachineId) {
        match self {
            Self::Classic(member) => member.lost(core, machine),
            Self::Modern(member) => member.lost(core, machine),
        }
    }

    /// By which it may commit, if it is in.
    pub(super) fn pass(&self) -> Option<Pass> {
        match self {
            Self::Classic(member) => member.pass(),
            Self::Modern(member) => member.pass(),
        }
    }

    /// What it has.
    pub(in crate::cluster) fn owned(&self) -> &BTreeSet<PartitionKey> {
        match self {
            Self::Classic(member) => &member.owned,
            Self::Modern(member) => &member.owned,
        }
    }

    /// What it has to give back.
    pub(super) fn wanted_back(&self) -> BTreeSet<PartitionKey> {
        match self {
            Self::Classic(member) => member.wanted_back(),
            Self::Modern(member) => member.revoking.clone(),
        }
    }

    /// It gives back what it has to: nothing is done with that any more.
    pub(super) fn let_go(&mut self, core: &mut Core) {
        match self {
            Self::Classic(member) => member.let_go(),
            Self::Modern(member) => member.let_go(core),
        }
    }

    /// Somebody doubts that it is still in: it asks soon.
    pub(super) fn doubt(&mut self, core: &Core) {
        match self {
            Self::Classic(member) => member.beat_due_us = core.now_us,
            Self::Modern(member) => member.beat_due_us = core.now_us,
        }
    }

    /// Leaves in good order.
    pub(super) fn leave(&mut self, core: &mut Core, router: &mut Router) {
        match self {
            Self::Classic(member) => member.leave(core, router),
            Self::Modern(member) => member.leave(core, router),
        }
    }

    /// The process dies and another one takes its place, which knows nothing of it.
    pub(super) fn crash(&mut self, core: &mut Core, dice: &mut Dice) {
        match self {
            Self::Classic(member) => member.crash(),
            Self::Modern(member) => member.crash(core, dice),
        }
    }

    /// The generation or epoch that it is in.
    pub(in crate::cluster) fn epoch(&self) -> i32 {
        match self {
            Self::Classic(member) => member.generation(),
            Self::Modern(member) => member.epoch(),
        }
    }

    /// Whether it is in, and has nothing to give back or to say.
    pub(super) fn is_settled(&self) -> bool {
        match self {
            Self::Classic(member) => member.is_settled(),
            Self::Modern(member) => member.is_settled(),
        }
    }
}
