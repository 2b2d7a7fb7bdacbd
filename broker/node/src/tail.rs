//! The budget of the tail cache: the newest bytes of all partitions, oldest out first.
//!
//! A log keeps what it appended; this keeps the order in which that happened over all logs, and makes the oldest give
//! way when the broker's budget is used up.

use std::collections::VecDeque;

use crate::broker::Broker;

#[derive(Debug)]
pub(crate) struct TailCache {
    bytes_max: usize,
    bytes: usize,
    /// Slots and the bytes that came in at once, oldest first.
    order: VecDeque<(u32, usize)>,
}

impl TailCache {
    pub(crate) fn new(bytes_max: usize) -> Self {
        Self { bytes_max, bytes: 0, order: VecDeque::new() }
    }

    /// A log keeps `bytes` more.
    pub(crate) fn grown(&mut self, broker: &mut Broker, slot: u32, bytes: usize) {
        if bytes == 0 {
            return;
        }
        self.bytes += bytes;
        self.order.push_back((slot, bytes));
        while self.bytes > self.bytes_max {
            let Some((slot, bytes)) = self.order.pop_front() else { return };
            self.bytes -= bytes;
            if let Some(replica) = broker.replicas.get_mut(slot) {
                replica.log.shed(bytes);
            }
        }
    }
}
