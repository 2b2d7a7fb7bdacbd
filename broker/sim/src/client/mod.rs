//! Simulated clients. Each is one value that is told what reached it and acts on its own clock; they share nothing but
//! what is known of topics.

pub mod auditor;
pub mod consumer;
pub mod link;
pub mod operator;
pub(crate) mod payload;
pub mod producer;
mod questions;

use auditor::Auditor;
use consumer::Consumer;
use operator::Operator;
use producer::Producer;

use crate::core::{ClientEvent, Core};

pub enum Client {
    Producer(Box<Producer>),
    Consumer(Box<Consumer>),
    Operator(Box<Operator>),
    Auditor(Box<Auditor>),
}

impl Client {
    pub fn start(&mut self, core: &mut Core) {
        match self {
            Self::Producer(producer) => producer.start(core),
            Self::Consumer(consumer) => consumer.start(core),
            Self::Operator(operator) => operator.start(core),
            Self::Auditor(auditor) => auditor.start(core),
        }
    }

    pub fn on_event(&mut self, core: &mut Core, event: ClientEvent) {
        match self {
            Self::Producer(producer) => producer.on_event(core, event),
            Self::Consumer(consumer) => consumer.on_event(core, event),
            Self::Operator(operator) => operator.on_event(core, event),
            Self::Auditor(auditor) => auditor.on_event(core, event),
        }
    }

    /// Nothing of what it does can change a log any more, once the run is draining.
    pub fn is_settled(&self, core: &Core) -> bool {
        match self {
            Self::Producer(producer) => producer.is_idle(),
            Self::Operator(operator) => operator.is_settled(core),
            Self::Consumer(_) | Self::Auditor(_) => true,
        }
    }
}
