use strandline_protocol::ids::{LeaderEpoch, Offset, TopicName, Uuid};
use strandline_protocol::metadata::acl::RemoveAccessControlEntryRecord;
use strandline_protocol::metadata::broker::{BrokerRegistrationChangeRecord, FenceBrokerRecord, UnregisterBrokerRecord};
use strandline_protocol::metadata::controller::ControllerEndpoint;
use strandline_protocol::metadata::delegation_token::RemoveDelegationTokenRecord;
use strandline_protocol::metadata::partition::{ClearElrRecord, PartitionChangeRecord};
use strandline_protocol::metadata::scram::RemoveUserScramCredentialRecord;
use strandline_protocol::metadata::topic::RemoveTopicRecord;
use strandline_protocol::records::Batches;

use super::*;
use crate::dice::Dice;
use crate::metadata_log::SnapshotVoters;
use crate::snapshot::write::{SnapshotId, SnapshotPiece};

/// Draws records that an image takes.
struct Drawn {
    dice: Dice,
    topics: Vec<(TopicId, i32)>,
}

impl Drawn {
    fn below(&mut self, bound: u64) -> u64 {
        self.dice.roll() % bound
    }

    fn number(&mut self, bound: u64) -> i32 {
        i32::try_from(self.below(bound)).expect("small")
    }

    fn word(&mut self, kind: &str) -> String {
        format!("{kind}-{}", self.below(5))
    }

    fn id(&mut self) -> Uuid {
        let mut id = [0; 16];
        id[15] = u8::try_from(self.below(6)).expect("small");
        Uuid(id)
    }

    fn replicas(&mut self) -> Vec<BrokerId> {
        let count = self.below(4);
        (0..count).map(|_| BrokerId(self.number(9))).collect()
    }

    fn maybe<T>(&mut self, draw: impl FnOnce(&mut Self) -> T) -> Option<T> {
        (self.below(2) == 0).then(|| draw(self))
    }

    fn record(&mut self) -> MetadataRecord {
        match self.below(22) {
            0 | 1 => self.topic(),
            2 | 3 => self.partition().unwrap_or_else(|| self.topic()),
            4 => self.partition_change().unwrap_or_else(|| self.topic()),
            5 | 6 => self.broker(),
            7 => FenceBrokerRecord { id: BrokerId(self.number(4)), epoch: 0 }.into(),
            8 => self.broker_change(),
            9 | 10 => self.config(),
            11 => {
                FeatureLevelRecord { name: self.word("feature"), feature_level: i16::try_from(self.below(3)).expect("small") }
                    .into()
            }
            12 => FeatureLevelRecord { name: METADATA_VERSION_NAME.to_owned(), feature_level: 30 }.into(),
            13 => {
                let next = i64::from(self.number(9)) * 1000;
                ProducerIdsRecord { broker_id: BrokerId(1), broker_epoch: 7, next_producer_id: next.into() }.into()
            }
            14 => self.quota(),
            15 => self.controller(),
            16 => AccessControlEntryRecord { id: self.id(), principal: self.word("User:"), ..Default::default() }.into(),
            17 => self.scram(),
            18 => {
                DelegationTokenRecord { token_id: self.word("token"), owner: self.word("User:"), ..Default::default() }.into()
            }
            19 => self.removal(),
            20 => self.topics.pop().map_or_else(|| self.config(), |(topic_id, _)| RemoveTopicRecord { topic_id }.into()),
            _ => ClearElrRecord { topic_name: TopicName::from("") }.into(),
        }
    }

    fn topic(&mut self) -> MetadataRecord {
        let number = self.dice.roll();
        let mut id = [1; 16];
        id[..8].copy_from_slice(&number.to_be_bytes());
        self.topics.push((TopicId(id), 0));
        TopicRecord { name: TopicName::from(format!("topic-{number}")), topic_id: TopicId(id) }.into()
    }

    fn partition(&mut self) -> Option<MetadataRecord> {
        let (topic_id, index) = self.topics.last().copied()?;
        self.topics.last_mut()?.1 += 1;
        let record = PartitionRecord {
            partition_id: index,
            topic_id,
            replicas: self.replicas(),
            isr: self.replicas(),
            removing_replicas: self.replicas(),
            adding_replicas: self.replicas(),
            leader: BrokerId(self.number(9) - 1),
            leader_recovery_state: i8::try_from(self.below(2)).expect("small"),
            leader_epoch: LeaderEpoch(self.number(99)),
            partition_epoch: self.number(99),
            directories: vec![self.id(), self.id()],
            eligible_leader_replicas: self.maybe(Self::replicas),
            last_known_elr: self.maybe(Self::replicas),
        };
        Some(record.into())
    }

    fn partition_change(&mut self) -> Option<MetadataRecord> {
        let (topic_id, next) = self.topics.last().copied().filter(|(_, next)| *next > 0)?;
        let record = PartitionChangeRecord {
            partition_id: next - 1,
            topic_id,
            isr: self.maybe(Self::replicas),
            leader: BrokerId(self.number(9) - 2),
            replicas: self.maybe(Self::replicas),
            removing_replicas: self.maybe(Self::replicas),
            adding_replicas: self.maybe(Self::replicas),
            leader_recovery_state: i8::try_from(self.below(3)).expect("small") - 1,
            directories: self.maybe(|drawn| vec![drawn.id()]),
            eligible_leader_replicas: self.maybe(Self::replicas),
            last_known_elr: self.maybe(Self::replicas),
        };
        Some(record.into())
    }

    fn broker(&mut self) -> MetadataRecord {
        let end = BrokerEndpoint { name: self.word("listener"), host: self.word("host"), port: 9092, security_protocol: 3 };
        let feature = BrokerFeature { name: self.word("feature"), min_supported_version: 1, max_supported_version: 7 };
        RegisterBrokerRecord {
            broker_id: BrokerId(self.number(4)),
            incarnation_id: self.id(),
            broker_epoch: i64::from(self.number(99)),
            end_points: vec![end],
            features: vec![feature],
            rack: self.maybe(|drawn| drawn.word("rack")),
            fenced: self.below(2) == 0,
            in_controlled_shutdown: self.below(2) == 0,
            log_dirs: vec![self.id()],
            cordoned_log_dirs: self.maybe(|drawn| vec![drawn.id()]),
            ..Default::default()
        }
        .into()
    }

    fn broker_change(&mut self) -> MetadataRecord {
        BrokerRegistrationChangeRecord {
            broker_id: BrokerId(self.number(4)),
            fenced: i8::try_from(self.below(3)).expect("small") - 1,
            log_dirs: vec![self.id()],
            cordoned_log_dirs: self.maybe(|_| Vec::new()),
            ..Default::default()
        }
        .into()
    }

    fn config(&mut self) -> MetadataRecord {
        ConfigRecord {
            resource_type: [2, 4, 16, 32][usize::try_from(self.below(4)).expect("small")],
            resource_name: self.word("resource"),
            name: self.word("key"),
            value: self.maybe(|drawn| drawn.word("value")),
        }
        .into()
    }

    fn quota(&mut self) -> MetadataRecord {
        let part = |kind: &str, name| EntityData { entity_type: kind.to_owned(), entity_name: name };
        let entity = vec![
            part("user", self.maybe(|drawn| drawn.word("user"))),
            part("client-id", self.maybe(|drawn| drawn.word("client"))),
        ];
        ClientQuotaRecord { entity, key: self.word("rate"), value: f64::from(self.number(99)), remove: self.below(4) == 0 }
            .into()
    }

    fn controller(&mut self) -> MetadataRecord {
        let end = ControllerEndpoint { name: self.word("listener"), host: self.word("host"), port: 9093, security_protocol: 0 };
        RegisterControllerRecord {
            controller_id: BrokerId(self.number(4)),
            incarnation_id: self.id(),
            end_points: vec![end],
            ..Default::default()
        }
        .into()
    }

    fn scram(&mut self) -> MetadataRecord {
        let salt = bytes::Bytes::from_static(b"salt");
        UserScramCredentialRecord { name: self.word("user"), mechanism: 1, salt, iterations: 4096, ..Default::default() }.into()
    }

    fn removal(&mut self) -> MetadataRecord {
        match self.below(4) {
            0 => RemoveAccessControlEntryRecord { id: self.id() }.into(),
            1 => RemoveUserScramCredentialRecord { name: self.word("user"), mechanism: 1 }.into(),
            2 => RemoveDelegationTokenRecord { token_id: self.word("token") }.into(),
            _ => UnregisterBrokerRecord { broker_id: BrokerId(self.number(4)), broker_epoch: 0 }.into(),
        }
    }
}

fn drawn(seed: u64, records: u64) -> Image {
    let mut drawn = Drawn { dice: Dice::new(seed), topics: Vec::new() };
    let mut image = Image::default();
    for offset in 0..records {
        let record = drawn.record();
        image.apply(Offset(i64::try_from(offset).expect("small")), &record).expect("drawn to fit");
    }
    image
}

/// Reads whole batches as a start does.
fn replay(batches: &[u8]) -> Image {
    let mut image = Image::default();
    let mut scratch = strandline_protocol::records::Scratch::default();
    let mut next = 0;
    for batch in Batches::new(batches).map(|batch| batch.expect("whole batches")) {
        assert_eq!(batch.header.base_offset, next, "offsets count from 0");
        assert_eq!(batch.header.partition_leader_epoch, 3);
        next = batch.header.next_offset();
        let (header, records) = strandline_protocol::records::open(batch.bytes, 1 << 20, &mut scratch).expect("opens");
        for record in records.filter(|_| !header.is_control()) {
            let value = bytes::Bytes::copy_from_slice(record.expect("good").value.expect("a value"));
            image.apply(Offset(0), &MetadataRecord::decode(value).expect("decodes")).expect("a snapshot fits itself");
        }
    }
    image
}

fn bytes_of(image: &Image) -> (Vec<u8>, usize) {
    let id = SnapshotId { end: image.end, epoch: LeaderEpoch(3) };
    let quorum = SnapshotVoters::default();
    let image = image.clone().into();
    let mut next = Some(SnapshotPiece { id, image, quorum, now_ms: 5, last_contained_ms: 4, records: 0 });
    let (mut bytes, mut pieces) = (Vec::new(), 0);
    while let Some(piece) = next {
        let made = piece.make();
        pieces += 1;
        for part in made.parts {
            bytes.extend_from_slice(&part.prefix);
            bytes.extend_from_slice(&part.body);
        }
        next = made.next;
    }
    (bytes, pieces)
}

#[test]
fn records_of_an_image_applied_to_an_empty_one_give_an_equal_one() {
    for seed in 0..200 {
        let image = drawn(seed, seed * 2);
        let mut again = replay(&bytes_of(&image).0);
        again.end = image.end;
        assert_eq!(again, image, "seed {seed}");
    }
}

#[test]
fn a_large_image_is_written_in_pieces_that_give_the_same_records() {
    let mut drawn = Drawn { dice: Dice::new(7), topics: Vec::new() };
    let mut image = Image::default();
    image.apply(Offset(0), &drawn.topic()).expect("a topic");
    for offset in 1..20_000 {
        image.apply(Offset(offset), &drawn.partition().expect("there is a topic")).expect("a partition");
    }
    let (bytes, pieces) = bytes_of(&image);
    assert!(pieces >= 2, "{pieces} pieces for {} bytes", bytes.len());
    let mut again = replay(&bytes);
    again.end = image.end;
    assert!(again == image);
}

#[test]
fn metadata_version_comes_first_and_topics_before_their_partitions() {
    let image = drawn(11, 500);
    let records: Vec<MetadataRecord> = facts(&image).map(Fact::record).collect();
    assert!(matches!(&records[0], MetadataRecord::FeatureLevelRecord(record) if record.name == METADATA_VERSION_NAME));
    let place = |wanted: fn(&MetadataRecord) -> bool| records.iter().position(wanted).expect("drawn often enough");
    let order = [
        place(|record| matches!(record, MetadataRecord::RegisterBrokerRecord(_))),
        place(|record| matches!(record, MetadataRecord::RegisterControllerRecord(_))),
        place(|record| matches!(record, MetadataRecord::TopicRecord(_))),
        place(|record| matches!(record, MetadataRecord::PartitionRecord(_))),
        place(|record| matches!(record, MetadataRecord::ConfigRecord(_))),
        place(|record| matches!(record, MetadataRecord::ClientQuotaRecord(_))),
        place(|record| matches!(record, MetadataRecord::ProducerIdsRecord(_))),
        place(|record| matches!(record, MetadataRecord::AccessControlEntryRecord(_))),
        place(|record| matches!(record, MetadataRecord::UserScramCredentialRecord(_))),
        place(|record| matches!(record, MetadataRecord::DelegationTokenRecord(_))),
    ];
    assert!(order.is_sorted(), "{order:?}");
}
