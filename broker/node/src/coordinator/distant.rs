//! How far groups are behind in partitions that are not hosted here: whenever somebody looks, the leaders are asked.
//!
//! First for the ends of these partitions, then, where a group is behind, for the batch at its committed offset: once for every
//! such offset. What a leader does not say is not known until somebody looks again.

use std::collections::{BTreeMap, BTreeSet};

use strandline_protocol::api::{Request, Response};
use strandline_protocol::error::ErrorCode;
use strandline_protocol::ids::{Offset, TopicName};
use strandline_protocol::messages::fetch::{FetchPartition, FetchRequest, FetchTopic};
use strandline_protocol::messages::list_offsets::{ListOffsetsPartition, ListOffsetsRequest, ListOffsetsTopic};
use strandline_protocol::records::BatchHeader;

use super::group::offsets::Place;
use super::shard::Phase;
use super::state::State;
use crate::broker::Broker;
use crate::controller_channel::{Ask, ask_broker};
use crate::io::{Asker, Effect, Lane, Now, PeerLost, Tag};

/// Batches that are asked for in one look, each with a request of its own: a leader answers them in some tens of milliseconds.
const BATCHES_PER_LOOK: usize = 128;
/// How long a leader may take; whoever looks does not wait as long.
const TIMEOUT_MS: u32 = 2_000;
/// Of ListOffsets: the high watermark.
const LATEST: i64 = -1;
/// Of Fetch: no session.
const NO_SESSION: i32 = -1;

#[derive(Debug, Default)]
pub(crate) struct Distant {
    /// High watermarks, as they were told to this look.
    ends: BTreeMap<Place, Offset>,
    /// When the batch at an offset was written; none if it does not say, or is not to be had.
    times: BTreeMap<(Place, Offset), Option<i64>>,
    asked: BTreeMap<u64, Question>,
}

#[derive(Debug)]
enum Question {
    Ends,
    /// The batch at a committed offset, or at the log's start if that is gone.
    Time {
        place: Place,
        committed: Offset,
        from: Offset,
    },
}

impl Distant {
    pub(crate) fn end(&self, place: &Place) -> Option<Offset> {
        self.ends.get(place).copied()
    }

    pub(crate) fn time(&self, place: &Place, offset: Offset) -> Option<i64> {
        self.times.get(&(place.clone(), offset)).copied().flatten()
    }

    pub(crate) fn is_asking(&self) -> bool {
        !self.asked.is_empty()
    }
}

/// Somebody looks: leaders are asked, unless they still are.
pub(crate) fn look(broker: &mut Broker, now: Now, outbox: &mut Vec<Effect>) {
    if broker.coordinators.distant.is_asking() {
        return;
    }
    let committed = committed(broker);
    broker.coordinators.distant.ends.clear();
    broker.coordinators.distant.times.retain(|known, _| committed.contains(known));
    let mut by_leader: BTreeMap<i32, BTreeMap<TopicName, BTreeSet<i32>>> = BTreeMap::new();
    for ((topic, partition), _) in committed {
        if let Some(leader) = leader_of(broker, &topic, partition) {
            by_leader.entry(leader).or_default().entry(topic).or_default().insert(partition);
        }
    }
    for (leader, topics) in by_leader {
        ask(broker, now, leader, Question::Ends, ends_request(topics).into(), outbox);
    }
}

/// Offsets that groups have committed in partitions that are not hosted here, as many as are shown.
fn committed(broker: &Broker) -> BTreeSet<(Place, Offset)> {
    let groups = broker.coordinators.shards.values().filter(|shard| shard.phase == Phase::Active);
    let groups = groups.filter_map(|shard| if let State::Groups(groups) = &shard.state { Some(groups) } else { None });
    let places = groups.flat_map(|groups| groups.committed()).take(broker.coordinators.settings.lag_partitions_max);
    let distant = places.filter(|(_, (topic, partition), _)| {
        let id = broker.image.topics.id_of(topic);
        id.is_some_and(|id| broker.replicas.slot(id, *partition).is_none())
    });
    distant.map(|(_, place, offset)| (place.clone(), offset)).collect()
}

fn leader_of(broker: &Broker, topic: &TopicName, partition: i32) -> Option<i32> {
    let topic = broker.image.topics.id_of(topic).and_then(|id| broker.image.topics.by_id(id))?;
    topic.partitions.get(&partition).map(|partition| partition.leader).filter(|leader| *leader >= 0)
}

fn ask(broker: &mut Broker, now: Now, leader: i32, question: Question, request: Request, outbox: &mut Vec<Effect>) {
    let number = broker.next_tag();
    let ask = Ask { tag: Tag { asker: Asker::Lag, number }, request, timeout_ms: TIMEOUT_MS };
    broker.coordinators.distant.asked.insert(number, question);
    if ask_broker(broker, now, leader, Lane::Lag, ask, outbox).is_err() {
        broker.coordinators.distant.asked.remove(&number);
    }
}

fn ends_request(topics: BTreeMap<TopicName, BTreeSet<i32>>) -> ListOffsetsRequest {
    let partition =
        |partition_index| ListOffsetsPartition { partition_index, timestamp: LATEST, ..ListOffsetsPartition::default() };
    let topic = |(name, partitions): (TopicName, BTreeSet<i32>)| ListOffsetsTopic {
        name,
        partitions: partitions.into_iter().map(partition).collect(),
    };
    ListOffsetsRequest { topics: topics.into_iter().map(topic).collect(), ..ListOffsetsRequest::default() }
}

/// A leader answered, or is lost.
pub(crate) fn on_response(
    broker: &mut Broker,
    now: Now,
    number: u64,
    result: Result<Box<Response>, PeerLost>,
    outbox: &mut Vec<Effect>,
) {
    let Some(question) = broker.coordinators.distant.asked.remove(&number) else { return };
    match (question, result.map(|response| *response)) {
        (Question::Ends, Ok(Response::ListOffsets(response))) => {
            let mut told = BTreeMap::new();
            for topic in response.topics {
                let good = topic.partitions.into_iter().filter(|partition| partition.error_code.is_none());
                told.extend(good.map(|partition| ((topic.name.clone(), partition.partition_index), partition.offset)));
            }
            ask_times(broker, now, &told, outbox);
            broker.coordinators.distant.ends.append(&mut told);
        }
        (Question::Time { place, committed, from }, Ok(Response::Fetch(response))) => {
            let data = response.responses.into_iter().flat_map(|topic| topic.partitions).next().unwrap_or_default();
            if data.error_code == ErrorCode::OFFSET_OUT_OF_RANGE && data.log_start_offset > from {
                return ask_time(broker, now, place, committed, data.log_start_offset, outbox);
            }
            if data.error_code.is_none() {
                let header = data.records.and_then(|records| BatchHeader::parse(&records.into_bytes()).ok());
                let time = header.and_then(|header| header.first_timestamp());
                broker.coordinators.distant.times.insert((place, committed), time);
            }
        }
        _ => {}
    }
}

/// Asks for the batches that groups have not read, where that is not known yet.
fn ask_times(broker: &mut Broker, now: Now, ends: &BTreeMap<Place, Offset>, outbox: &mut Vec<Effect>) {
    let times = &broker.coordinators.distant.times;
    let is_new = |(place, committed): &(Place, Offset)| {
        ends.get(place).is_some_and(|end| committed < end) && !times.contains_key(&(place.clone(), *committed))
    };
    let left = BATCHES_PER_LOOK.saturating_sub(broker.coordinators.distant.asked.len());
    let wanted: Vec<(Place, Offset)> = committed(broker).into_iter().filter(is_new).take(left).collect();
    for (place, committed) in wanted {
        ask_time(broker, now, place, committed, committed, outbox);
    }
}

fn ask_time(broker: &mut Broker, now: Now, place: Place, committed: Offset, from: Offset, outbox: &mut Vec<Effect>) {
    let (topic, index) = &place;
    let (Some(leader), Some(topic_id)) = (leader_of(broker, topic, *index), broker.image.topics.id_of(topic)) else { return };
    // The first batch is whole, however large it is.
    let partition =
        FetchPartition { partition: *index, fetch_offset: from, partition_max_bytes: 1, ..FetchPartition::default() };
    let request = FetchRequest {
        max_bytes: 1,
        session_epoch: NO_SESSION,
        topics: vec![FetchTopic { topic: topic.clone(), topic_id, partitions: vec![partition] }],
        ..FetchRequest::default()
    };
    ask(broker, now, leader, Question::Time { place, committed, from }, request.into(), outbox);
}
