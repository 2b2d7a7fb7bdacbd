//! Reads the partitions of a member from their leaders, one request at a time, each from where it stands.

use std::collections::BTreeMap;

use strandline_protocol::api::ApiKey;
use strandline_protocol::error::ErrorCode;
use strandline_protocol::ids::{LeaderEpoch, Offset, TopicName};
use strandline_protocol::messages::fetch::{FetchPartition, FetchRequest, FetchResponse, FetchTopic, PartitionData};
use strandline_protocol::records::Scratch;

use super::reading::{Isolation, Wanted, unfold};
use super::router::{Lead, Posted, Router};
use crate::core::{Core, MachineId};
use crate::dice::Dice;
use crate::history::PartitionKey;
use crate::invariants::Invariant;

/// The first version of Fetch that names topics by id.
const IDS_FROM_VERSION: i16 = 13;

/// How much a member reads at once.
const PARTITION_BYTES_MAX: i32 = 2000;

#[derive(Clone, Debug)]
struct UnderWay {
    posted: Posted,
    /// From where, and believing in which leader.
    asked: BTreeMap<PartitionKey, (i64, Lead)>,
}

pub(super) struct Reader {
    isolation: Isolation,
    /// The record wanted next.
    cursors: BTreeMap<PartitionKey, i64>,
    under_way: Option<UnderWay>,
    stable: StableEnds,
    scratch: Scratch,
}

impl Reader {
    pub(super) fn new(isolation: Isolation) -> Self {
        Self {
            isolation,
            cursors: BTreeMap::new(),
            under_way: None,
            stable: StableEnds::default(),
            scratch: Scratch::default(),
        }
    }

    pub(super) fn read_from(&mut self, key: PartitionKey, position: i64) {
        self.cursors.insert(key, position);
    }

    pub(super) fn stop(&mut self, key: PartitionKey) {
        self.cursors.remove(&key);
    }

    pub(super) fn stop_all(&mut self) {
        self.cursors.clear();
    }

    /// Nothing that was posted there is answered.
    pub(super) fn lost(&mut self, router: &mut Router, machine: MachineId) {
        if let Some(under_way) = self.under_way.take_if(|under_way| under_way.posted.to == machine) {
            under_way.asked.keys().for_each(|key| router.forget(key.topic, key.partition));
        }
    }

    /// Asks some leader for more.
    pub(super) fn turn(&mut self, core: &mut Core, router: &mut Router, dice: &mut Dice) {
        if self.under_way.is_some() {
            return;
        }
        let wanting = || self.cursors.iter().map(|(key, at)| (*key, *at, router.lead(key.topic, key.partition)));
        let leaders: Vec<MachineId> = wanting().filter_map(|(_, _, lead)| Some(lead?.machine)).collect();
        let asked: BTreeMap<PartitionKey, (i64, Lead)> = match dice.pick(&leaders) {
            Some(to) => {
                wanting().filter_map(|(key, at, lead)| Some((key, (at, lead.filter(|lead| lead.machine == *to)?)))).collect()
            }
            None => BTreeMap::new(),
        };
        if leaders.len() < self.cursors.len() {
            router.refresh(core);
        }
        if let Some((_, (_, lead))) = asked.first_key_value() {
            let to = lead.machine;
            self.fetch(core, router, dice, to, asked);
        }
    }

    fn fetch(
        &mut self,
        core: &mut Core,
        router: &mut Router,
        dice: &mut Dice,
        to: MachineId,
        asked: BTreeMap<PartitionKey, (i64, Lead)>,
    ) {
        let version = router.version(core, ApiKey::Fetch, IDS_FROM_VERSION);
        let mut topics: Vec<FetchTopic> = Vec::new();
        for (key, (position, lead)) in &asked {
            let partition = FetchPartition {
                partition: key.partition,
                fetch_offset: Offset(*position),
                current_leader_epoch: LeaderEpoch(lead.epoch),
                partition_max_bytes: PARTITION_BYTES_MAX,
                ..FetchPartition::default()
            };
            match topics.last_mut().filter(|topic| topic.topic_id == key.topic) {
                Some(topic) => topic.partitions.push(partition),
                None => {
                    topics.push(FetchTopic { topic: TopicName::default(), topic_id: key.topic, partitions: vec![partition] })
                }
            }
        }
        let request = FetchRequest {
            max_wait_ms: [0, 100, 500][dice.index(3)],
            min_bytes: 1,
            max_bytes: 1 << 20,
            isolation_level: self.isolation as i8,
            session_id: 0,
            session_epoch: -1,
            topics,
            ..FetchRequest::default()
        };
        let posted = router.post(core, to, version, &request.into());
        self.under_way = Some(UnderWay { posted, asked });
    }

    /// Takes an answer, if it is one to this reader. Answers with what was read, in order.
    pub(super) fn hear(
        &mut self,
        core: &mut Core,
        router: &mut Router,
        posted: Posted,
        response: FetchResponse,
    ) -> Vec<(PartitionKey, i64)> {
        let mut read = Vec::new();
        let Some(under_way) = self.under_way.take_if(|under_way| under_way.posted == posted) else { return read };
        for topic in response.responses {
            for data in topic.partitions {
                let key = PartitionKey { topic: topic.topic_id, partition: data.partition_index };
                let Some((position, lead)) = under_way.asked.get(&key) else { continue };
                // It may have been taken away meanwhile, or begun elsewhere.
                if self.cursors.get(&key) == Some(position) {
                    self.partition(core, router, key, *lead, data, &mut read);
                }
            }
        }
        read
    }

    fn partition(
        &mut self,
        core: &mut Core,
        router: &mut Router,
        key: PartitionKey,
        lead: Lead,
        data: PartitionData,
        read: &mut Vec<(PartitionKey, i64)>,
    ) {
        let Some(topic) = core.topics.by_id(key.topic).cloned() else { return };
        let Some(position) = self.cursors.get_mut(&key) else { return };
        core.check_refusal(key, *position, &data);
        match data.error_code {
            ErrorCode::NONE => {
                self.stable.told(core, key, lead, data.last_stable_offset.0);
                let wanted = Wanted { topic: &topic, key, position: *position, isolation: self.isolation };
                *position = unfold(core, &mut self.scratch, &wanted, data, |offset, _| read.push((key, offset)));
            }
            ErrorCode::NOT_LEADER_OR_FOLLOWER
            | ErrorCode::FENCED_LEADER_EPOCH
            | ErrorCode::UNKNOWN_LEADER_EPOCH
            | ErrorCode::UNKNOWN_TOPIC_ID
            | ErrorCode::UNKNOWN_TOPIC_OR_PARTITION
            | ErrorCode::OFFSET_NOT_AVAILABLE
            | ErrorCode::KAFKA_STORAGE_ERROR => router.forget(key.topic, key.partition),
            ErrorCode::OFFSET_OUT_OF_RANGE => {
                // Whoever leads no more may be behind what a group has committed.
                let leads = core.judge_of_cluster.as_ref().is_some_and(|judge| judge.leads_now(key, lead.machine));
                if leads {
                    let story = format_args!("{} {key}: {position} is out of range at {lead:?}", topic.name);
                    core.violate(Invariant::RecordsStay, story);
                }
                router.forget(key.topic, key.partition);
            }
            other => core.violate(Invariant::AnswersAsAsked, format_args!("fetch of {} {key}: {other:?}", topic.name)),
        }
    }
}

/// What leaders said is stable: within an epoch that does not fall.
#[derive(Debug, Default)]
pub(super) struct StableEnds(BTreeMap<PartitionKey, (i32, i64)>);

impl StableEnds {
    pub(super) fn told(&mut self, core: &mut Core, key: PartitionKey, lead: Lead, end: i64) {
        let before = self.0.insert(key, (lead.epoch, end));
        if let Some((epoch, before)) = before.filter(|(epoch, before)| *epoch == lead.epoch && *before > end) {
            core.violate(Invariant::StableOnlyRises, format_args!("{key} in {epoch}: stable to {end} after {before}"));
        }
    }
}
