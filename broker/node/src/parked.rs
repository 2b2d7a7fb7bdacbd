//! Replies that are not sent yet, and why.
//!
//! A parked reply knows what it waits for as data; the owners of those events (partitions, the metadata log) hold its
//! [`ParkedId`] and come back with it, so an event touches only those that wait for it. Every reply has a deadline or
//! waits for something that cannot fail to happen while the process lives.

use std::collections::BTreeSet;

use strandline_protocol::api::{Request, Response};
use strandline_protocol::error::ErrorCode;
use strandline_protocol::ids::{Offset, TransactionalId};
use strandline_protocol::messages::produce::ProduceResponse;
use strandline_protocol::messages::write_txn_markers::WriteTxnMarkersResponse;

use crate::fetching::FetchWait;
use crate::handlers::metadata_fetch::MetadataFetch;
use crate::io::{ConnectionId, RequestContext, Sequence};
use crate::replica::Acknowledged;
use crate::replica::leading::FollowerWait;
use crate::share::waiting::ShareWait;
use crate::verification::Unverified;

/// A place in the table of parked replies; stale ids are recognised by their generation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ParkedId {
    index: u32,
    generation: u32,
}

/// Who gets the reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    pub connection: ConnectionId,
    pub sequence: Sequence,
}

/// Why a reply is not sent yet.
#[derive(Debug)]
pub enum Until {
    /// Appended batches reach the high watermark.
    HighWatermark(AppendWait),
    /// Bytes become readable, or the time is over.
    BytesReadable(Box<FetchWait>),
    /// Partitions that a follower fetches have news, or the time is over.
    FollowerNews(Box<FollowerWait>),
    /// The metadata log is committed far enough; then the reply, made when the records were emitted, is true.
    MetadataCommitted { response: Box<Response> },
    /// So many jobs end; each puts its result into the reply.
    Jobs { outstanding: usize, response: Box<Response> },
    /// Records of the metadata log, or a higher high watermark, for a voter or observer.
    MetadataReadable(Box<MetadataFetch>),
    /// The log starts that DeleteRecords moved are on disk.
    Checkpointed { outstanding: usize, response: Box<Response> },
    /// A group, coordinated in this slot, moves; `lost` is the reply if this broker ceases to coordinate it. The group
    /// has deadlines of its own.
    GroupMoves { slot: u32, lost: Box<Response> },
    /// The transaction of an id that is coordinated in this slot is complete; then the request is carried out. `lost` is the reply
    /// if that takes too long, or this broker ceases to coordinate it.
    TransactionEnds { slot: u32, id: TransactionalId, request: Box<(RequestContext, Request)>, lost: Box<Response> },
    /// Acknowledgements of a share group are written, then records can be given out, or the time is over.
    Share(Box<ShareWait>),
    /// A transaction's coordinator says whether the partitions of a request belong to it; then the request goes on.
    Verified(Box<Unverified>),
    /// What so many coordinators have emitted is committed.
    CoordinatorCommitted { outstanding: usize, response: Box<Response> },
}

/// A request whose batches are appended and not yet below the high watermark.
#[derive(Debug)]
pub struct AppendWait {
    /// The reply as it is if every append succeeds.
    pub response: AppendResponse,
    pub pending: Vec<PendingAppend>,
}

/// The replies that wait for appended batches.
#[derive(Debug)]
pub enum AppendResponse {
    Produce(ProduceResponse),
    Markers(WriteTxnMarkersResponse),
}

impl AppendResponse {
    /// A batch is not acknowledged after all.
    pub(crate) fn fail(&mut self, pending: PendingAppend, code: ErrorCode) {
        let (topic, partition) = (pending.topic as usize, pending.partition as usize);
        match self {
            Self::Produce(response) => {
                let topic = response.responses.get_mut(topic);
                if let Some(partition) = topic.and_then(|topic| topic.partition_responses.get_mut(partition)) {
                    partition.error_code = code;
                    partition.base_offset = Offset::NONE;
                }
            }
            Self::Markers(response) => {
                let topic = response.markers.iter_mut().flat_map(|marker| &mut marker.topics).nth(topic);
                if let Some(partition) = topic.and_then(|topic| topic.partitions.get_mut(partition)) {
                    partition.error_code = code;
                }
            }
        }
    }
}

impl From<AppendResponse> for Response {
    fn from(response: AppendResponse) -> Self {
        match response {
            AppendResponse::Produce(response) => response.into(),
            AppendResponse::Markers(response) => response.into(),
        }
    }
}

/// One appended batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PendingAppend {
    pub slot: u32,
    /// Whether all in-sync replicas are waited for.
    pub acknowledged: Acknowledged,
    /// Index into the response's topics, over all markers where there are several, and that topic's partitions.
    pub topic: u32,
    pub partition: u32,
}

/// A parked reply.
#[derive(Debug)]
pub struct Parked {
    pub place: Place,
    pub until: Until,
    deadline_ms: Option<u64>,
}

/// The table.
#[derive(Debug, Default)]
pub struct Waiting {
    entries: Vec<(u32, Option<Parked>)>,
    free: Vec<u32>,
    deadlines: BTreeSet<(u64, ParkedId)>,
}

impl Waiting {
    /// Parks a reply; `deadline_ms` is a point of the monotonic clock.
    pub fn park(&mut self, place: Place, deadline_ms: Option<u64>, until: Until) -> ParkedId {
        let index = self.free.pop().unwrap_or_else(|| {
            self.entries.push((0, None));
            u32::try_from(self.entries.len() - 1).expect("requests under way are limited far below four billion")
        });
        let entry = &mut self.entries[index as usize];
        let id = ParkedId { index, generation: entry.0 };
        entry.1 = Some(Parked { place, until, deadline_ms });
        if let Some(deadline) = deadline_ms {
            self.deadlines.insert((deadline, id));
        }
        id
    }

    /// The parked reply, unless it was taken meanwhile.
    pub fn get(&self, id: ParkedId) -> Option<&Parked> {
        self.entries.get(id.index as usize).filter(|entry| entry.0 == id.generation)?.1.as_ref()
    }

    /// The parked reply, unless it was taken meanwhile.
    pub fn get_mut(&mut self, id: ParkedId) -> Option<&mut Parked> {
        let entry = self.entries.get_mut(id.index as usize)?;
        if entry.0 == id.generation { entry.1.as_mut() } else { None }
    }

    /// A parked reply waits for something else from now on; `false` if it was taken meanwhile.
    pub fn defer(&mut self, id: ParkedId, deadline_ms: u64, until: Until) -> bool {
        let Some(parked) = self.get_mut(id) else { return false };
        parked.until = until;
        self.set_deadline(id, deadline_ms);
        true
    }

    /// A parked reply has another deadline from now on.
    pub fn set_deadline(&mut self, id: ParkedId, deadline_ms: u64) {
        let Some(parked) = self.get_mut(id) else { return };
        let before = parked.deadline_ms.replace(deadline_ms);
        if let Some(before) = before {
            self.deadlines.remove(&(before, id));
        }
        self.deadlines.insert((deadline_ms, id));
    }

    /// Takes the reply out of the table; the id is stale from now on.
    pub fn take(&mut self, id: ParkedId) -> Option<Parked> {
        let entry = self.entries.get_mut(id.index as usize)?;
        if entry.0 != id.generation {
            return None;
        }
        let parked = entry.1.take()?;
        entry.0 = entry.0.wrapping_add(1);
        self.free.push(id.index);
        if let Some(deadline) = parked.deadline_ms {
            self.deadlines.remove(&(deadline, id));
        }
        Some(parked)
    }

    /// The next reply whose deadline is over.
    pub fn overdue(&self, now_ms: u64) -> Option<ParkedId> {
        self.deadlines.first().filter(|(deadline, _)| *deadline <= now_ms).map(|(_, id)| *id)
    }

    /// When the next deadline is.
    pub fn next_deadline(&self) -> Option<u64> {
        self.deadlines.first().map(|(deadline, _)| *deadline)
    }

    /// Ids of all parked replies that `wanted` picks; for disconnects and shutdown, not for the hot path.
    pub fn select(&self, wanted: impl Fn(&Parked) -> bool) -> Vec<ParkedId> {
        let id = |(index, entry): (usize, &(u32, Option<Parked>))| {
            let parked = entry.1.as_ref()?;
            let index = u32::try_from(index).ok()?;
            wanted(parked).then_some(ParkedId { index, generation: entry.0 })
        };
        self.entries.iter().enumerate().filter_map(id).collect()
    }

    /// Replies parked now.
    pub fn count(&self) -> usize {
        self.entries.len() - self.free.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn park(waiting: &mut Waiting, deadline: u64) -> ParkedId {
        let place = Place { connection: ConnectionId(1), sequence: Sequence(0) };
        let wait = AppendWait { response: AppendResponse::Produce(ProduceResponse::default()), pending: Vec::new() };
        waiting.park(place, Some(deadline), Until::HighWatermark(wait))
    }

    #[test]
    fn an_id_is_stale_once_its_reply_was_taken_even_if_the_place_is_used_again() {
        let mut waiting = Waiting::default();
        let first = park(&mut waiting, 5);
        assert!(waiting.take(first).is_some());
        let second = park(&mut waiting, 6);
        assert!(waiting.take(first).is_none());
        assert!(waiting.get_mut(second).is_some());
    }

    #[test]
    fn deadlines_come_in_order_and_leave_with_their_reply() {
        let mut waiting = Waiting::default();
        let late = park(&mut waiting, 9);
        let early = park(&mut waiting, 4);
        assert_eq!(waiting.overdue(3), None);
        assert_eq!(waiting.overdue(9), Some(early));
        waiting.take(early);
        assert_eq!(waiting.next_deadline(), Some(9));
        waiting.take(late);
        assert_eq!(waiting.next_deadline(), None);
        assert_eq!(waiting.count(), 0);
    }
}
