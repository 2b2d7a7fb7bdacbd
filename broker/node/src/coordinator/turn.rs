//! One step of a shard: what it may look at, and where its wishes go.

use strandline_protocol::api::Response;
use strandline_protocol::coordinator::ConsumerOffsetsRecord;
use strandline_protocol::ids::{ProducerEpoch, ProducerId};

use super::settings::CoordinatorSettings;
use super::timers::{Timer, Timers};
use crate::dice::Dice;
use crate::image::Image;
use crate::io::Now;
use crate::parked::ParkedId;

/// When a reply may leave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum When {
    /// It says nothing that a record has to make true.
    Now,
    /// Once everything that the shard has emitted so far is committed.
    Committed,
}

/// A reply of a shard.
#[derive(Debug)]
pub(crate) struct Said {
    pub to: ParkedId,
    pub response: Response,
    pub when: When,
}

/// A producer that writes within a transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Transactional {
    pub producer_id: ProducerId,
    pub producer_epoch: ProducerEpoch,
}

/// A record that was applied and is to be written.
#[derive(Clone, Debug)]
pub(crate) struct Emitted {
    pub record: ConsumerOffsetsRecord,
    pub transaction: Option<Transactional>,
}

/// What a shard is handed for a step.
pub(crate) struct Turn<'a> {
    pub now: Now,
    pub slot: u32,
    pub settings: &'a CoordinatorSettings,
    pub image: &'a Image,
    pub timers: &'a mut Timers,
    pub dice: &'a mut Dice,
    pub emitted: Vec<Emitted>,
    pub said: Vec<Said>,
}

impl Turn<'_> {
    /// Writes a record that the caller has applied.
    pub(crate) fn emit(&mut self, record: ConsumerOffsetsRecord) {
        self.emitted.push(Emitted { record, transaction: None });
    }

    /// Replies once everything emitted so far is committed.
    pub(crate) fn reply(&mut self, to: ParkedId, response: impl Into<Response>) {
        self.said.push(Said { to, response: response.into(), when: When::Committed });
    }

    /// Replies at once.
    pub(crate) fn reply_now(&mut self, to: ParkedId, response: impl Into<Response>) {
        self.said.push(Said { to, response: response.into(), when: When::Now });
    }

    /// Sets or moves a timer.
    pub(crate) fn set_timer(&mut self, timer: Timer, after_ms: u64) {
        self.timers.set(self.slot, timer, self.now.monotonic_ms.saturating_add(after_ms));
    }

    /// Sets a timer unless it is set.
    pub(crate) fn set_timer_if_none(&mut self, timer: Timer, after_ms: u64) {
        self.timers.set_if_none(self.slot, timer, self.now.monotonic_ms.saturating_add(after_ms));
    }

    pub(crate) fn cancel_timer(&mut self, timer: Timer) {
        self.timers.cancel(self.slot, timer);
    }
}
