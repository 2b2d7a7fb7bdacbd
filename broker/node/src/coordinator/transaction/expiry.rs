//! What the clock ends: transactions that are open for too long, and ids that nobody uses.

use strandline_protocol::ids::TransactionalId;

use super::ending::Fence;
use super::entry::tombstone;
use super::{Transactions, is_idle, write};
use crate::coordinator::timers::Timer;
use crate::coordinator::turn::Turn;

impl Transactions {
    pub(super) fn abort_timed_out(&mut self, turn: &mut Turn<'_>) {
        turn.set_timer(Timer::AbortTimedOut, turn.settings.abort_timed_out_interval_ms);
        let now_ms = turn.now.wall_ms;
        for (id, entry) in self.entries.iter_mut().filter(|(_, entry)| entry.is_overdue(now_ms)) {
            entry.fence(turn, id, Fence::TimedOut);
            turn.transaction_totals.timed_out += 1;
        }
    }

    pub(super) fn expire(&mut self, turn: &mut Turn<'_>) {
        turn.set_timer(Timer::ExpireTransactionalIds, turn.settings.remove_expired_interval_ms);
        let (now_ms, kept_ms) = (turn.now.wall_ms, turn.settings.transactional_id_expiration_ms);
        let unused = self
            .entries
            .iter()
            .filter(|(_, entry)| is_idle(entry.status) && now_ms.saturating_sub(entry.updated_ms) >= kept_ms);
        let expired: Vec<TransactionalId> = unused.map(|(id, _)| id.clone()).collect();
        for id in expired {
            self.entries.remove(&id);
            write(turn, tombstone(&id));
        }
    }
}
