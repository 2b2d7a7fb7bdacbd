//! Whoever is behind the beginning of the leader's log begins anew from its snapshot (KIP-630).
//!
//! The leader says so in its answer to a fetch. Then pieces of the snapshot are asked for instead of records, one after the
//! other; with the last one nothing is asked for until the snapshot has taken the place of the log, or is of no use.

use strandline_protocol::ids::Offset;

use super::Quorum;
use super::message::{FetchVerdict, LogEnd, SnapshotAnswer, SnapshotAsk, SnapshotNews, SnapshotPlace};
use super::role::Role;
use super::voters::VoterSet;

impl Quorum {
    /// Somebody fetches a piece of a snapshot; says why not, if it may not.
    pub fn on_snapshot_fetch(&mut self, now_ms: u64, ask: SnapshotAsk) -> Result<(), FetchVerdict> {
        if ask.epoch < self.epoch {
            return Err(FetchVerdict::Fenced);
        }
        if ask.epoch > self.epoch {
            return Err(FetchVerdict::Unknown);
        }
        let Role::Leader(leader) = &mut self.role else { return Err(FetchVerdict::NotLeader) };
        leader.on_heard(now_ms, ask.replica);
        Ok(())
    }

    /// The snapshot that is fetched, and from which position on it is missing.
    pub fn wanted_snapshot(&self) -> Option<(LogEnd, u64)> {
        if let Role::Follower(follower) = &self.role { follower.snapshot } else { None }
    }

    /// A question for a piece of a snapshot was answered. One that was refused is given up: the next fetch tells what there is.
    pub fn on_snapshot_answer(&mut self, now_ms: u64, from: i32, answer: SnapshotAnswer) -> SnapshotNews {
        let asked_in = self.fetch.under_way.take().map(|(_, epoch)| epoch);
        self.learn(now_ms, answer.leadership);
        let (epoch, retry_ms) = (self.epoch, now_ms + self.timing.retry_ms);
        let Role::Follower(follower) = &mut self.role else { return SnapshotNews::Nothing };
        let Some((id, position)) = follower.snapshot.filter(|_| follower.leader == from && asked_in == Some(epoch)) else {
            return SnapshotNews::Nothing;
        };
        follower.until_ms = now_ms + self.timing.fetch_ms;
        follower.suspects = false;
        let fits = |piece: &SnapshotPlace| {
            let end = position.checked_add(piece.bytes);
            piece.id == id && piece.position == position && piece.bytes > 0 && end.is_some_and(|end| end <= piece.size)
        };
        let Some(piece) = answer.piece.filter(fits) else {
            follower.snapshot = None;
            self.fetch.again_ms = retry_ms;
            return SnapshotNews::Nothing;
        };
        self.fetch.again_ms = now_ms;
        if position + piece.bytes < piece.size {
            follower.snapshot = Some((id, position + piece.bytes));
            return SnapshotNews::Piece;
        }
        follower.snapshot = None;
        self.fetch.held = true;
        SnapshotNews::LastPiece
    }

    /// The log begins and ends at `end` now, which is what the snapshot says is committed, with what it says of the voters.
    pub fn on_installed(&mut self, now_ms: u64, end: Offset, version: i16, voters: Option<VoterSet>) {
        assert!(self.leading().is_none(), "a leader has all that is committed");
        self.history.replace(end, version, voters);
        self.high_watermark = self.high_watermark.max(end);
        self.told_high_watermark = self.told_high_watermark.max(end);
        self.fetch.held = false;
        self.fetch.again_ms = now_ms;
    }

    /// A snapshot that was fetched is of no use.
    pub fn on_discarded(&mut self, now_ms: u64) {
        if let Role::Follower(follower) = &mut self.role {
            follower.snapshot = None;
        }
        self.fetch.held = false;
        self.fetch.again_ms = now_ms + self.timing.fetch_ms / 2;
    }
}
