//! What members say of records that they have: checked, done, and waited for.

use strandline_protocol::error::ErrorCode;
use strandline_protocol::ids::Offset;

use super::hosted::{self, Hosted, bounds_of, config_of};
use super::partition::{Acknowledgement, Limit, Taker, Verdict};
use super::sessions::{Owner, Place};
use crate::broker::Broker;
use crate::coordinator::share::ShareKey;
use crate::flaws::{self, Flaw};
use crate::io::Now;

/// Acknowledgements of one partition.
#[derive(Clone, Debug)]
pub(crate) struct Said {
    pub place: Place,
    pub batches: Vec<SaidBatch>,
}

/// One batch as it came.
#[derive(Clone, Debug)]
pub(crate) struct SaidBatch {
    pub first: Offset,
    pub last: Offset,
    pub types: Vec<i8>,
}

/// What became of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Decided {
    /// It is so.
    Now(ErrorCode),
    /// It is so once this write is done.
    With(u64),
}

/// Does what a member says of records of one partition.
pub(crate) fn acknowledge(broker: &mut Broker, now: Now, owner: &Owner, said: Said, renews: bool) -> Decided {
    match try_acknowledge(broker, now, owner, said, renews) {
        Ok(decided) => decided,
        Err(code) => Decided::Now(code),
    }
}

fn try_acknowledge(broker: &mut Broker, now: Now, owner: &Owner, said: Said, renews: bool) -> Result<Decided, ErrorCode> {
    let key = ShareKey { group: owner.0.clone(), topic: said.place.0, partition: said.place.1 };
    let acknowledgements = parsed(said.batches, renews)?;
    if broker.image.topics.by_id(key.topic).is_none() {
        return Err(ErrorCode::UNKNOWN_TOPIC_ID);
    }
    let slot = broker.slot(key.topic, key.partition)?;
    broker.replicas.get(slot).ok_or(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION)?.leader()?;
    if acknowledgements.is_empty() {
        return Ok(Decided::Now(ErrorCode::NONE));
    }
    let config = config_of(broker, &key);
    let has_renewals = acknowledgements.iter().any(|said| said.verdicts.contains(&Verdict::Renew));
    if has_renewals && !config.may_renew {
        return Err(ErrorCode::INVALID_RECORD_STATE);
    }
    // Who is no leader any more, or has just begun to be, gave nothing out.
    let partition = broker.shares.hosted.get_mut(&key).and_then(Hosted::active).ok_or(ErrorCode::INVALID_RECORD_STATE)?;
    let taker = Taker {
        member: owner.1.clone(),
        now_ms: now.monotonic_ms,
        lock_ms: config.lock_ms,
        records_max: 0,
        limit: Limit::Records,
        bounds: bounds_of(&config),
    };
    partition.acknowledge(&taker, &acknowledgements)?;
    acknowledgements.iter().for_each(|said| said.count_into(&mut broker.shares.acknowledgements));
    let write = partition.awaited_write(&acknowledgements);
    broker.shares.changed.insert(key.clone());
    broker.shares.wake(&key);
    let write = write.filter(|_| !flaws::is(Flaw::ShareAcknowledgesAtOnce));
    Ok(write.map_or(Decided::Now(ErrorCode::NONE), Decided::With))
}

/// A reply waits for what was decided in one partition.
pub(crate) fn wait(broker: &mut Broker, owner: &Owner, place: Place, parked: crate::parked::ParkedId, write: u64) {
    let key = ShareKey { group: owner.0.clone(), topic: place.0, partition: place.1 };
    hosted::wait(broker, &key, parked, write);
}

/// Batches in order, with a verdict for all of a batch or one for each of its records.
fn parsed(batches: Vec<SaidBatch>, renews: bool) -> Result<Vec<Acknowledgement>, ErrorCode> {
    let mut before = -1;
    let mut parsed = Vec::with_capacity(batches.len());
    for batch in batches {
        let (first, last) = (batch.first.0, batch.last.0);
        let records = last.checked_sub(first).and_then(|more| usize::try_from(more).ok()).ok_or(ErrorCode::INVALID_REQUEST)?;
        let fits = batch.types.len() == 1 || batch.types.len().checked_sub(1) == Some(records);
        if first <= before || !fits {
            return Err(ErrorCode::INVALID_REQUEST);
        }
        before = last;
        let verdict = |number: &i8| Verdict::from_number(*number).filter(|verdict| renews || *verdict != Verdict::Renew);
        let verdicts: Option<Vec<Verdict>> = batch.types.iter().map(verdict).collect();
        let verdicts = verdicts.ok_or(ErrorCode::INVALID_REQUEST)?;
        parsed.push(Acknowledgement { first: batch.first, last: batch.last, verdicts });
    }
    Ok(parsed)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn batch(first: i64, last: i64, types: &[i8]) -> SaidBatch {
        SaidBatch { first: Offset(first), last: Offset(last), types: types.to_vec() }
    }

    fn check(batches: &[SaidBatch], renews: bool) -> Result<usize, ErrorCode> {
        parsed(batches.to_vec(), renews).map(|parsed| parsed.len())
    }

    #[test]
    fn batches_are_in_order_and_have_one_verdict_or_one_for_each_record() {
        let refused = Err(ErrorCode::INVALID_REQUEST);
        assert_eq!(check(&[batch(0, 2, &[1]), batch(3, 4, &[1, 2])], false), Ok(2));
        assert_eq!(check(&[batch(0, 2, &[1, 2])], false), refused);
        assert_eq!(check(&[batch(0, 2, &[])], false), refused);
        assert_eq!(check(&[batch(2, 1, &[1])], false), refused);
        assert_eq!(check(&[batch(-3, 1, &[1])], false), refused);
        assert_eq!(check(&[batch(0, 2, &[1]), batch(2, 3, &[1])], false), refused);
        assert_eq!(check(&[batch(0, 2, &[5])], true), refused);
        assert_eq!(check(&[batch(0, 2, &[4])], false), refused);
        assert_eq!(check(&[batch(0, 2, &[4])], true), Ok(1));
        assert_eq!(check(&[batch(0, i64::MAX, &[1, 1])], false), refused);
    }
}
