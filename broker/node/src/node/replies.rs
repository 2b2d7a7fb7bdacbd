//! Replies that wait leave: with what they waited for, or as they stand when that will not come.

use strandline_protocol::error::ErrorCode;

use super::Node;
use crate::coordinator;
use crate::fetching;
use crate::handlers::{delete_records, describe_log_dirs, fetch_snapshot, list_offsets, metadata_fetch, produce};
use crate::io::{Effect, JobResult, Reply};
use crate::parked::{AppendWait, ParkedId, Until};
use crate::replica::leading::{self, News};

impl Node {
    /// One of the checkpoints that a reply waits for is on disk.
    pub(super) fn on_checkpointed(&mut self, id: ParkedId, outbox: &mut Vec<Effect>) {
        let Some(parked) = self.broker.waiting.get_mut(id) else { return };
        let Until::Checkpointed { outstanding, .. } = &mut parked.until else { return };
        *outstanding -= 1;
        if *outstanding == 0
            && let Some(parked) = self.broker.waiting.take(id)
            && let Until::Checkpointed { response, .. } = parked.until
        {
            outbox.push(Effect::Reply {
                connection: parked.place.connection,
                sequence: parked.place.sequence,
                reply: Reply::Body(response),
            });
        }
    }

    /// A job is done that a reply waits for.
    pub(super) fn on_reply_job(
        &mut self,
        id: ParkedId,
        topic: usize,
        partition: usize,
        result: JobResult,
        outbox: &mut Vec<Effect>,
    ) {
        let Some(parked) = self.broker.waiting.get_mut(id) else { return };
        let Until::Jobs { outstanding, response } = &mut parked.until else { return };
        match result {
            JobResult::FoundTimestamp(found) => list_offsets::looked_up(response, topic, partition, found),
            JobResult::DirectoryMeasured { total_bytes, usable_bytes } => {
                describe_log_dirs::measured(response, topic, total_bytes, usable_bytes)
            }
            JobResult::PieceRead(read) => fetch_snapshot::piece_read(response, read),
            JobResult::Truncated(_)
            | JobResult::SnapshotPiece(_)
            | JobResult::SnapshotRead(_)
            | JobResult::CoordinatorLoaded(_)
            | JobResult::ShareRead(_)
            | JobResult::CopyRead(_)
            | JobResult::Cleaned { .. } => return,
        }
        *outstanding -= 1;
        if *outstanding == 0
            && let Some(parked) = self.broker.waiting.take(id)
            && let Until::Jobs { response, .. } = parked.until
        {
            outbox.push(Effect::Reply {
                connection: parked.place.connection,
                sequence: parked.place.sequence,
                reply: Reply::Body(response),
            });
        }
    }

    /// A batch of a parked Produce is below the high watermark; the reply leaves with the last one.
    pub(super) fn acknowledge(&mut self, slot: u32, id: ParkedId, outbox: &mut Vec<Effect>) {
        let Some(parked) = self.broker.waiting.get_mut(id) else { return };
        let Until::HighWatermark(wait) = &mut parked.until else { return };
        if let Some(index) = wait.pending.iter().position(|pending| pending.slot == slot) {
            let pending = wait.pending.swap_remove(index);
            let replica = self.broker.replicas.get(slot);
            let code = replica.map_or(ErrorCode::NONE, |replica| produce::acknowledged_as(replica, pending.acknowledged));
            if code != ErrorCode::NONE {
                wait.response.fail(pending, code);
            }
        }
        if wait.pending.is_empty()
            && let Some(parked) = self.broker.waiting.take(id)
            && let Until::HighWatermark(wait) = parked.until
        {
            let reply = Reply::Body(Box::new(wait.response.into()));
            outbox.push(Effect::Reply { connection: parked.place.connection, sequence: parked.place.sequence, reply });
        }
    }

    /// A partition that a parked Fetch waits for moved.
    pub(super) fn try_fetch(&mut self, slot: u32, id: ParkedId, outbox: &mut Vec<Effect>) {
        let Some(Until::BytesReadable(fetch)) = self.broker.waiting.get(id).map(|parked| &parked.until) else { return };
        let served = fetching::serve(&self.broker, fetch);
        if !served.is_enough(fetch.bytes_min) {
            if let Some(replica) = self.broker.replicas.get_mut(slot) {
                replica.fetch_waiters.push(id);
            }
            return;
        }
        let Some(parked) = self.broker.waiting.take(id) else { return };
        let Until::BytesReadable(fetch) = parked.until else { return };
        self.forget_waiter(id, &fetch);
        let reply = fetching::reply(&mut self.broker, &fetch, served);
        outbox.push(Effect::Reply { connection: parked.place.connection, sequence: parked.place.sequence, reply });
    }

    /// A partition that a follower's parked fetch waits for has news.
    pub(super) fn try_follower(&mut self, id: ParkedId, outbox: &mut Vec<Effect>) {
        let Some(Until::FollowerNews(wait)) = self.broker.waiting.get(id).map(|parked| &parked.until) else { return };
        let wait = wait.clone();
        let news = leading::serve(&mut self.broker, &wait);
        if news.is_enough(&wait) {
            self.send_news(id, wait.session, news, outbox);
        }
    }

    /// A follower's parked fetch is answered with whatever there is.
    pub(super) fn answer_follower(&mut self, id: ParkedId, outbox: &mut Vec<Effect>) {
        let Some(Until::FollowerNews(wait)) = self.broker.waiting.get(id).map(|parked| &parked.until) else { return };
        let wait = wait.at_once();
        let news = leading::serve(&mut self.broker, &wait);
        self.send_news(id, wait.session, news, outbox);
    }

    fn send_news(&mut self, id: ParkedId, session: i32, news: News, outbox: &mut Vec<Effect>) {
        let Some(parked) = self.broker.waiting.take(id) else { return };
        if let Some(session) = self.broker.followers.get_mut(session) {
            session.parked = None;
        }
        let reply = news.into_reply(session);
        outbox.push(Effect::Reply { connection: parked.place.connection, sequence: parked.place.sequence, reply });
    }

    /// The time of a parked reply is over, or what it waits for will not come: it leaves as it stands.
    pub(super) fn give_up(&mut self, id: ParkedId, outbox: &mut Vec<Effect>) {
        match self.broker.waiting.get(id).map(|parked| &parked.until) {
            Some(Until::FollowerNews(_)) => return self.answer_follower(id, outbox),
            // It has a way of its own: see `share::overdue`.
            Some(Until::Share(_)) => return,
            Some(Until::MetadataReadable(_)) => return metadata_fetch::end(&mut self.broker, id, outbox),
            _ => {}
        }
        let Some(parked) = self.broker.waiting.take(id) else { return };
        let (connection, sequence) = (parked.place.connection, parked.place.sequence);
        let reply = match parked.until {
            Until::HighWatermark(wait) => {
                self.forget_batches(id, &wait);
                Reply::Body(Box::new(produce::given_up(&self.broker, wait)))
            }
            Until::FollowerNews(_) | Until::Share(_) => return,
            Until::BytesReadable(fetch) => {
                self.forget_waiter(id, &fetch);
                let served = fetching::serve(&self.broker, &fetch);
                fetching::reply(&mut self.broker, &fetch, served)
            }
            // It has no deadline: an answer or its loss always comes.
            Until::MetadataReadable(_) | Until::Verified(_) => return,
            Until::MetadataCommitted { response } | Until::Jobs { response, .. } => Reply::Body(response),
            Until::Checkpointed { response, .. } => Reply::Body(Box::new(delete_records::given_up(*response))),
            Until::GroupMoves { lost, .. } => Reply::Body(lost),
            Until::TransactionEnds { slot, id: of, lost, .. } => {
                self.broker.held.give_up(slot, of, id);
                Reply::Body(lost)
            }
            Until::CoordinatorCommitted { response, .. } => Reply::Body(Box::new(coordinator::failed_by_time(*response))),
        };
        outbox.push(Effect::Reply { connection, sequence, reply });
    }

    /// What a reply waited for in other partitions is waited for no more.
    fn forget_batches(&mut self, id: ParkedId, wait: &AppendWait) {
        for pending in &wait.pending {
            if let Some(replica) = self.broker.replicas.get_mut(pending.slot) {
                replica.produce_waiters.retain(|waiter| waiter.parked != id);
                replica.leader_waiters.retain(|waiter| waiter.parked != id);
            }
        }
    }

    fn forget_waiter(&mut self, id: ParkedId, fetch: &fetching::FetchWait) {
        for slot in fetch.wanted.iter().filter_map(|target| target.slot.ok()) {
            if let Some(replica) = self.broker.replicas.get_mut(slot) {
                replica.fetch_waiters.retain(|waiter| *waiter != id);
            }
        }
    }
}
