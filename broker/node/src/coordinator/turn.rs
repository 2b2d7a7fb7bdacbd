//! One step of a shard: what it may look at, and where its wishes go.

use strandline_log::producers::Marker;
use strandline_protocol::api::Response;
use strandline_protocol::ids::{GroupId, ProducerEpoch, ProducerId, TransactionalId};

use super::group::consumer::parts::Parts;
use super::settings::CoordinatorSettings;
use super::state::StateRecord;
use super::timers::{Timer, Timers};
use super::transaction::TransactionTotals;
use super::transaction::entry::Producer;
use crate::config::BrokerConfig;
use crate::config::consumer::ConsumerConfig;
use crate::config::share::ShareConfig;
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

/// What was applied and is to be written.
#[derive(Clone, Debug)]
pub(crate) enum Emitted {
    Record {
        record: Box<StateRecord>,
        transaction: Option<Transactional>,
    },
    /// The end of a transaction that committed offsets here.
    Marker {
        transaction: Transactional,
        marker: Marker,
    },
}

/// What a shard goes on with once everything that it has emitted so far is committed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Task {
    /// This producer's transaction is decided: its partitions have to know.
    SendMarkers { id: TransactionalId, producer: Producer },
}

/// What a shard wants of others; it is told what came of it.
#[derive(Clone, Debug)]
pub(crate) enum Want {
    /// The share coordinator is to begin states of these partitions.
    BeginStates { group: GroupId, state_epoch: i32, parts: Parts },
}

/// What a shard is handed for a step.
pub(crate) struct Turn<'a> {
    pub now: Now,
    pub slot: u32,
    pub settings: &'a CoordinatorSettings,
    pub transaction_totals: &'a mut TransactionTotals,
    pub config: &'a BrokerConfig,
    pub image: &'a Image,
    pub timers: &'a mut Timers,
    pub dice: &'a mut Dice,
    pub emitted: Vec<Emitted>,
    pub said: Vec<Said>,
    pub wants: Vec<Want>,
    pub tasks: Vec<Task>,
}

impl Turn<'_> {
    /// Writes a record that the caller has applied.
    pub(crate) fn emit(&mut self, record: impl Into<StateRecord>) {
        self.emitted.push(Emitted::Record { record: Box::new(record.into()), transaction: None });
    }

    /// Goes on with this once everything emitted so far is committed.
    pub(crate) fn when_committed(&mut self, task: Task) {
        self.tasks.push(task);
    }

    /// Replies once everything emitted so far is committed.
    pub(crate) fn reply(&mut self, to: ParkedId, response: impl Into<Response>) {
        self.said.push(Said { to, response: response.into(), when: When::Committed });
    }

    /// Replies at once.
    pub(crate) fn reply_now(&mut self, to: ParkedId, response: impl Into<Response>) {
        self.said.push(Said { to, response: response.into(), when: When::Now });
    }

    pub(crate) fn want(&mut self, want: Want) {
        self.wants.push(want);
    }

    /// What the configuration says of a share group.
    pub(crate) fn share_config(&self, group: &GroupId) -> ShareConfig {
        ShareConfig::read(self.config, self.image.group_overrides(group.as_str()))
    }

    /// What the configuration says of a consumer group.
    pub(crate) fn consumer_config(&self, group: &GroupId) -> ConsumerConfig {
        ConsumerConfig::read(self.config, self.image.group_overrides(group.as_str()))
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
