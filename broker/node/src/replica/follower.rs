//! A partition as its follower sees it: what it asks its leader for, and what it does with the answer.
//!
//! Nothing is decided here by offsets alone. Every fetch says which epoch wrote the follower's last record; a leader
//! whose log parts ways before that says where, and the follower cuts its log back to there before it takes anything,
//! high watermarks included (KIP-101, KIP-279, KIP-320, KAFKA-14704). An answer to a question of another epoch or offset is dropped.
//! Source: AbstractFetcherThread, ReplicaFetcherThread; `Kip320` of the public models.

use bytes::Bytes;
use strandline_log::log::Log;
use strandline_protocol::error::ErrorCode;
use strandline_protocol::ids::{LeaderEpoch, Offset};
use strandline_protocol::messages::fetch::{EpochEndOffset, PartitionData};

use crate::flaws::{self, Flaw};

/// What the leader is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Question {
    pub(crate) leader_epoch: LeaderEpoch,
    pub(crate) offset: Offset,
    /// The epoch of the record before `offset`.
    pub(crate) last_epoch: LeaderEpoch,
    pub(crate) log_start: Offset,
}

#[derive(Clone, Debug)]
pub(crate) struct Follower {
    /// -1 while there is none.
    pub(crate) leader: i32,
    pub(crate) epoch: LeaderEpoch,
    /// The leader's high watermark as it was told last; ours follows as far as our log reaches.
    leader_high_watermark: Offset,
    asked: Option<Question>,
}

/// What an answer comes to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// It belongs to another question.
    Stale,
    /// Batches for the end of the log; empty if there are none. Then the log start may follow the leader's.
    Append { records: Bytes, log_start: Offset },
    /// The logs part ways: cut ours back to here first, then ask again.
    Truncate { end: Offset },
    /// The leader's log begins behind our end: forget everything and begin there.
    Restart { at: Offset },
    /// Not now: the leader knows less than we do, or more, or cannot serve. Ask again after a while.
    Later(ErrorCode),
}

impl Follower {
    pub(crate) fn begin(leader: i32, epoch: LeaderEpoch) -> Self {
        Self { leader, epoch, leader_high_watermark: Offset::NONE, asked: None }
    }

    /// The next question; remembered, so that only its answer counts.
    pub(crate) fn ask(&mut self, log: &Log) -> Question {
        let positions = log.positions();
        let counts = positions.readable_end == positions.log_end || flaws::is(Flaw::FollowerFetchesUnsynced);
        assert!(counts, "what a follower says it has counts at once");
        let offset = positions.log_end;
        let question =
            Question { leader_epoch: self.epoch, offset, last_epoch: last_epoch(log), log_start: positions.log_start };
        self.asked = Some(question);
        question
    }

    /// Judges an answer. The question is answered by it, whatever it says.
    pub(crate) fn answered(&mut self, log: &Log, data: PartitionData) -> Step {
        let Some(asked) = self.asked.filter(|asked| asked.leader_epoch == self.epoch) else { return Step::Stale };
        if asked.offset != log.positions().log_end && !flaws::is(Flaw::StaleAnswersCount) {
            return Step::Stale;
        }
        let is_below = data.log_start_offset > asked.offset || flaws::is(Flaw::WipesOnOutOfRange);
        if data.error_code == ErrorCode::OFFSET_OUT_OF_RANGE && is_below {
            return Step::Restart { at: data.log_start_offset };
        }
        if data.error_code != ErrorCode::NONE {
            return Step::Later(data.error_code);
        }
        if data.diverging_epoch != EpochEndOffset::default() {
            return Step::Truncate { end: parting(log, &data.diverging_epoch) };
        }
        self.leader_high_watermark = self.leader_high_watermark.max(data.high_watermark);
        Step::Append { records: data.records.unwrap_or_default().into_bytes(), log_start: data.log_start_offset }
    }

    /// Whether the log lacks nothing that the leader has told to be committed.
    pub(crate) fn is_level(&self, log: &Log) -> bool {
        self.leader_high_watermark != Offset::NONE && log.positions().log_end >= self.leader_high_watermark
    }

    /// How high the water stands here, given how far our log counts.
    pub(crate) fn high_watermark(&self, own_end: Offset) -> Option<Offset> {
        (self.leader_high_watermark != Offset::NONE).then(|| self.leader_high_watermark.min(own_end))
    }
}

/// The epoch of the log's last record.
pub(crate) fn last_epoch(log: &Log) -> LeaderEpoch {
    let end = log.positions().log_end;
    let last = if end > log.positions().log_start { Offset(end.0 - 1) } else { return LeaderEpoch::NONE };
    log.epochs().epoch_of(last).unwrap_or(LeaderEpoch::NONE)
}

/// Where our log parts ways with the leader's, as far as one answer can say: the leader's end of an epoch, or if ours
/// ended earlier, or we never had it, our end of the largest one that is not above it. The next fetch goes on from there.
fn parting(log: &Log, diverging: &EpochEndOffset) -> Offset {
    let positions = log.positions();
    let own = log.epochs().end_offset_for(diverging.epoch, positions.log_end);
    let end = match own {
        Some(own) if own.epoch == diverging.epoch => own.end.min(diverging.end_offset),
        Some(own) => own.end,
        None => diverging.end_offset,
    };
    end.min(positions.log_end).max(positions.log_start)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use strandline_log::config::LogConfig;
    use strandline_log::memory::MemoryDisk;
    use strandline_protocol::ids::TopicId;
    use strandline_protocol::records::{BatchBuilder, BatchOptions, NewRecord, Scratch};

    use super::*;

    fn batch(records: usize) -> Bytes {
        let mut builder = BatchBuilder::new(BatchOptions::default());
        for _ in 0..records {
            builder.append(&NewRecord { timestamp: 1, key: None, value: Some(b"v"), headers: &[] }).expect("fits");
        }
        builder.build(&mut Scratch::default()).expect("builds")
    }

    /// A log with so many records of each epoch, all of them durable.
    fn log(epochs: &[(i32, usize)]) -> Log {
        let mut log = Log::new("t-0", TopicId::METADATA, Arc::new(LogConfig::default()));
        let mut disk = MemoryDisk::default();
        for (epoch, records) in epochs {
            log.append(0, batch(*records), LeaderEpoch(*epoch)).expect("appends");
        }
        while let Some(op) = log.poll(0) {
            log.on_done(0, disk.perform(&op)).expect("a good disk");
        }
        log
    }

    fn diverging(epoch: i32, end: i64) -> PartitionData {
        let diverging_epoch = EpochEndOffset { epoch: LeaderEpoch(epoch), end_offset: Offset(end) };
        PartitionData { diverging_epoch, high_watermark: Offset(999), ..PartitionData::default() }
    }

    /// Given our epochs and the leader's answer, where we cut.
    fn check(ours: &[(i32, usize)], epoch: i32, end: i64, expected: i64) {
        let log = log(ours);
        let mut follower = Follower::begin(2, LeaderEpoch(9));
        follower.ask(&log);
        assert_eq!(follower.answered(&log, diverging(epoch, end)), Step::Truncate { end: Offset(expected) });
        assert_eq!(follower.high_watermark(Offset(50)), None, "a diverging answer says nothing of the high watermark");
    }

    #[test]
    fn the_log_is_cut_where_the_epochs_part() {
        // The leader's epoch 3 ended at 15, ours at 20.
        check(&[(1, 10), (3, 10)], 3, 15, 15);
        // Ours ended earlier.
        check(&[(1, 10), (3, 2), (5, 4)], 3, 15, 12);
        // We never had the leader's epoch 2: back to the end of our epoch 1, and ask again.
        check(&[(1, 10), (3, 10)], 2, 15, 10);
    }

    #[test]
    fn only_the_answer_to_the_last_question_counts() {
        let (shorter, longer) = (log(&[(1, 10)]), log(&[(1, 10), (2, 1)]));
        let mut follower = Follower::begin(2, LeaderEpoch(9));
        assert_eq!(follower.answered(&shorter, PartitionData::default()), Step::Stale, "nothing was asked");
        follower.ask(&shorter);
        assert_eq!(follower.answered(&longer, PartitionData::default()), Step::Stale, "the log has moved");
        follower.epoch = LeaderEpoch(10);
        assert_eq!(follower.answered(&shorter, PartitionData::default()), Step::Stale, "the epoch has moved");
    }

    #[test]
    fn a_follower_below_the_leaders_log_begins_again_there() {
        let log = log(&[(1, 10)]);
        let mut follower = Follower::begin(2, LeaderEpoch(9));
        follower.ask(&log);
        let mut data =
            PartitionData { error_code: ErrorCode::OFFSET_OUT_OF_RANGE, log_start_offset: Offset(40), ..Default::default() };
        assert_eq!(follower.answered(&log, data.clone()), Step::Restart { at: Offset(40) });
        data.log_start_offset = Offset(4);
        assert_eq!(follower.answered(&log, data), Step::Later(ErrorCode::OFFSET_OUT_OF_RANGE), "nothing is wiped on a guess");
    }

    #[test]
    fn the_question_names_the_epoch_of_the_last_record() {
        let mut log = log(&[(1, 10), (4, 2)]);
        let mut follower = Follower::begin(2, LeaderEpoch(9));
        let expected =
            Question { leader_epoch: LeaderEpoch(9), offset: Offset(12), last_epoch: LeaderEpoch(4), log_start: Offset(0) };
        assert_eq!(follower.ask(&log), expected);
        // An epoch that this replica began as a leader and never wrote in is no record.
        log.begin_epoch(LeaderEpoch(7)).expect("newer");
        assert_eq!(follower.ask(&log).last_epoch, LeaderEpoch(4));
    }

    #[test]
    fn the_high_watermark_follows_as_far_as_the_log_counts() {
        let log = log(&[(1, 10)]);
        let mut follower = Follower::begin(2, LeaderEpoch(9));
        follower.ask(&log);
        let data = PartitionData { high_watermark: Offset(25), ..PartitionData::default() };
        assert!(matches!(follower.answered(&log, data), Step::Append { .. }));
        assert_eq!(follower.high_watermark(Offset(10)), Some(Offset(10)));
        assert_eq!(follower.high_watermark(Offset(30)), Some(Offset(25)));
    }
}
