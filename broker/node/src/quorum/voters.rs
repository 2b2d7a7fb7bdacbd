//! Who votes (KIP-853): voters with their directories and where they listen, and what the log says of them from offset to offset.
//!
//! The newest set that stands in the log counts, committed or not; with a log that is cut back the set before it counts again. As long
//! as no record names voters, those of the configuration count, whose directories nobody knows: they are the nodes of that number.
//! Source: raft/.../{VoterSet,ReplicaKey}.java, raft/.../internals/{KRaftControlRecordStateMachine,VoterSetHistory}.java.

use std::collections::BTreeMap;

use bytes::Bytes;
use strandline_protocol::control::{Endpoint, KRaftVersionFeature, KRaftVersionRecord, VotersRecord, VotersVoter};
use strandline_protocol::ids::{BrokerId, Offset, Uuid};
use strandline_protocol::records::ControlType;
use strandline_protocol::wire::{Message, WireError};

use crate::flaws::{self, Flaw};

/// A replica of the metadata log: a number, and the directory that holds the log. [`Uuid::ZERO`] is one that was not told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ReplicaKey {
    pub id: i32,
    pub directory: Uuid,
}

impl ReplicaKey {
    /// One of which only the number is known.
    pub const fn without_directory(id: i32) -> Self {
        Self { id, directory: Uuid::ZERO }
    }

    /// Whether `other` is who is meant here: without a directory the number alone tells.
    pub fn names(self, other: Self) -> bool {
        let same_directory = self.directory == other.directory || flaws::is(Flaw::DirectoryIgnored);
        self.id == other.id && (self.directory == Uuid::ZERO || same_directory)
    }
}

/// Where a voter listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VoterEndpoint {
    pub listener: String,
    pub host: String,
    pub port: u16,
}

/// A voter as a record describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Voter {
    pub key: ReplicaKey,
    pub endpoints: Vec<VoterEndpoint>,
    /// Levels of `kraft.version` that it works at: the least and the most.
    pub versions: (i16, i16),
}

impl Voter {
    /// Where it listens under a name.
    pub fn endpoint(&self, listener: &str) -> Option<&VoterEndpoint> {
        self.endpoints.iter().find(|end| end.listener == listener)
    }

    pub fn works_at(&self, version: i16) -> bool {
        self.versions.0 <= version && version <= self.versions.1
    }
}

/// A set of voters; each number occurs once.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct VoterSet {
    voters: BTreeMap<i32, Voter>,
}

impl FromIterator<Voter> for VoterSet {
    fn from_iter<T: IntoIterator<Item = Voter>>(voters: T) -> Self {
        Self { voters: voters.into_iter().map(|voter| (voter.key.id, voter)).collect() }
    }
}

impl VoterSet {
    pub fn from_record(record: VotersRecord) -> Self {
        let endpoint = |end: Endpoint| VoterEndpoint { listener: end.name, host: end.host, port: end.port };
        let voter = |voter: VotersVoter| Voter {
            key: ReplicaKey { id: voter.voter_id.0, directory: voter.voter_directory_id },
            endpoints: voter.endpoints.into_iter().map(endpoint).collect(),
            versions: (voter.k_raft_version_feature.min_supported_version, voter.k_raft_version_feature.max_supported_version),
        };
        record.voters.into_iter().map(voter).collect()
    }

    pub fn to_record(&self) -> VotersRecord {
        let endpoint = |end: &VoterEndpoint| Endpoint { name: end.listener.clone(), host: end.host.clone(), port: end.port };
        let voter = |voter: &Voter| VotersVoter {
            voter_id: BrokerId(voter.key.id),
            voter_directory_id: voter.key.directory,
            endpoints: voter.endpoints.iter().map(endpoint).collect(),
            k_raft_version_feature: KRaftVersionFeature {
                min_supported_version: voter.versions.0,
                max_supported_version: voter.versions.1,
            },
        };
        VotersRecord { version: 0, voters: self.voters.values().map(voter).collect() }
    }

    pub fn len(&self) -> usize {
        self.voters.len()
    }

    pub fn is_empty(&self) -> bool {
        self.voters.is_empty()
    }

    /// In order of number.
    pub fn iter(&self) -> impl Iterator<Item = &Voter> {
        self.voters.values()
    }

    pub fn ids(&self) -> impl Iterator<Item = i32> {
        self.voters.keys().copied()
    }

    pub fn get(&self, id: i32) -> Option<&Voter> {
        self.voters.get(&id)
    }

    /// The voter that this replica is.
    pub fn of(&self, replica: ReplicaKey) -> Option<&Voter> {
        self.get(replica.id).filter(|voter| voter.key.names(replica))
    }

    pub fn has(&self, replica: ReplicaKey) -> bool {
        self.of(replica).is_some()
    }

    pub fn is_only(&self, replica: ReplicaKey) -> bool {
        self.len() == 1 && self.has(replica)
    }

    /// With one more; `None` if its number votes already.
    #[must_use]
    pub fn with(&self, voter: Voter) -> Option<Self> {
        let mut voters = self.voters.clone();
        voters.insert(voter.key.id, voter).is_none().then_some(Self { voters })
    }

    /// With one less; `None` if it is no voter, or the last one.
    #[must_use]
    pub fn without(&self, key: ReplicaKey) -> Option<Self> {
        let mut voters = self.voters.clone();
        let removed = voters.remove(&key.id)?;
        (removed.key == key && !voters.is_empty()).then_some(Self { voters })
    }

    /// With one described anew; `None` if it is no voter.
    #[must_use]
    pub fn updated(&self, voter: Voter) -> Option<Self> {
        self.has(voter.key).then(|| {
            let mut voters = self.voters.clone();
            voters.insert(voter.key.id, voter);
            Self { voters }
        })
    }
}

/// What a control record of the metadata log says of the quorum.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum QuorumRecord {
    /// The level of `kraft.version` from here on.
    Version(i16),
    Voters(VoterSet),
}

impl QuorumRecord {
    /// Reads a control record; `None` if it says nothing of the quorum.
    ///
    /// # Errors
    /// [`WireError`] if its value is none of its kind.
    pub(crate) fn read(key: Option<&[u8]>, value: Option<&[u8]>) -> Result<Option<Self>, WireError> {
        let value = || Bytes::copy_from_slice(value.unwrap_or_default());
        match ControlType::from_key(key) {
            Ok(Some(ControlType::KraftVersion)) => {
                Ok(Some(Self::Version(KRaftVersionRecord::from_bytes(value(), 0)?.k_raft_version)))
            }
            Ok(Some(ControlType::KraftVoters)) => {
                Ok(Some(Self::Voters(VoterSet::from_record(VotersRecord::from_bytes(value(), 0)?))))
            }
            Ok(_) | Err(_) => Ok(None),
        }
    }

    /// Type and value of the control record.
    pub(crate) fn encoded(&self) -> (ControlType, Bytes) {
        match self {
            Self::Version(version) => {
                (ControlType::KraftVersion, KRaftVersionRecord { version: 0, k_raft_version: *version }.to_bytes(0))
            }
            Self::Voters(voters) => (ControlType::KraftVoters, voters.to_record().to_bytes(0)),
        }
    }
}

/// The offset that stands for what `format` wrote down before there was a log.
pub(crate) const BEFORE_THE_LOG: Offset = Offset(-1);

/// The voters and the level of `kraft.version` over the log.
#[derive(Clone, Debug, Default)]
pub struct VoterHistory {
    configured: VoterSet,
    /// In order of offset, as the next ones.
    sets: Vec<(Offset, VoterSet)>,
    versions: Vec<(Offset, i16)>,
}

impl VoterHistory {
    /// Voters of the configuration, which count until a record names others, and what the log has.
    pub fn new(configured: VoterSet, records: impl IntoIterator<Item = (Offset, QuorumRecord)>) -> Self {
        let mut history = Self { configured, ..Self::default() };
        for (offset, record) in records {
            history.push(offset, record);
        }
        history
    }

    /// The log has one more.
    pub fn push(&mut self, offset: Offset, record: QuorumRecord) {
        match record {
            QuorumRecord::Version(version) => self.versions.push((offset, version)),
            QuorumRecord::Voters(voters) => self.sets.push((offset, voters)),
        }
    }

    /// The voters.
    pub fn voters(&self) -> &VoterSet {
        self.sets.last().map_or(&self.configured, |(_, voters)| voters)
    }

    /// Where the record lies that names them.
    pub fn voters_at(&self) -> Option<Offset> {
        self.sets.last().map(|(offset, _)| *offset)
    }

    /// The voters before the last record that names some.
    pub(crate) fn voters_before(&self) -> &VoterSet {
        self.sets.len().checked_sub(2).and_then(|place| self.sets.get(place)).map_or(&self.configured, |(_, voters)| voters)
    }

    /// The level of `kraft.version`.
    pub fn version(&self) -> i16 {
        self.versions.last().map_or(0, |(_, version)| *version)
    }

    /// What a log that ends at `end` would say: nothing of voters if it names none.
    pub fn below(&self, end: Offset) -> (i16, Option<&VoterSet>) {
        let version = self.versions.iter().rev().find(|(offset, _)| *offset < end);
        let voters = self.sets.iter().rev().find(|(offset, _)| *offset < end);
        (version.map_or(0, |(_, version)| *version), voters.map(|(_, voters)| voters))
    }

    /// The log was cut back.
    pub fn cut(&mut self, end: Offset) {
        if flaws::is(Flaw::VotersNotCutBack) {
            return;
        }
        self.sets.retain(|(offset, _)| *offset < end);
        self.versions.retain(|(offset, _)| *offset < end);
    }

    /// A snapshot took the place of the log.
    pub fn replace(&mut self, end: Offset, version: i16, voters: Option<VoterSet>) {
        if flaws::is(Flaw::SnapshotsWithoutVoters) {
            return;
        }
        let last = Offset(end.0 - 1);
        self.sets = voters.map(|voters| (last, voters)).into_iter().collect();
        self.versions = Some((last, version)).filter(|(_, version)| *version > 0).into_iter().collect();
    }

    /// Nothing will be asked of the log below `start` any more.
    pub fn forget_below(&mut self, start: Offset) {
        let older = |offsets: &mut dyn Iterator<Item = Offset>| offsets.filter(|offset| *offset < start).count();
        let sets = older(&mut self.sets.iter().map(|(offset, _)| *offset));
        self.sets.drain(..sets.saturating_sub(1));
        let versions = older(&mut self.versions.iter().map(|(offset, _)| *offset));
        self.versions.drain(..versions.saturating_sub(1));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn voter(id: i32) -> Voter {
        let key = ReplicaKey { id, directory: Uuid([id as u8; 16]) };
        let endpoint = VoterEndpoint { listener: "CONTROLLER".to_owned(), host: "h".to_owned(), port: 9093 };
        Voter { key, endpoints: vec![endpoint], versions: (0, 1) }
    }

    fn set(ids: &[i32]) -> VoterSet {
        ids.iter().copied().map(voter).collect()
    }

    #[test]
    fn a_set_survives_its_record() {
        assert_eq!(VoterSet::from_record(set(&[1, 2]).to_record()), set(&[1, 2]));
    }

    #[test]
    fn a_voter_is_its_number_and_its_directory() {
        let voters = set(&[1, 2]);
        let another = ReplicaKey { directory: Uuid([9; 16]), ..voter(2).key };
        assert!(voters.has(voter(2).key) && !voters.has(another));
        assert!(ReplicaKey::without_directory(2).names(another), "a configured voter is whoever has the number");
        assert_eq!(voters.with(Voter { key: another, ..voter(2) }), None, "the number votes already");
        assert_eq!(voters.with(voter(3)), Some(set(&[1, 2, 3])));
        assert_eq!(voters.without(another), None);
        assert_eq!(voters.without(voter(2).key), Some(set(&[1])));
        assert_eq!(set(&[1]).without(voter(1).key), None, "the last one stays");
        let moved = Voter { endpoints: Vec::new(), ..voter(2) };
        assert_eq!(voters.updated(moved.clone()).and_then(|set| set.get(2).cloned()), Some(moved));
        assert_eq!(voters.updated(voter(3)), None);
    }

    #[test]
    fn the_newest_set_counts_until_the_log_is_cut_back() {
        let mut history = VoterHistory::new(set(&[7]), []);
        assert_eq!((history.voters(), history.version()), (&set(&[7]), 0));
        history.push(BEFORE_THE_LOG, QuorumRecord::Version(1));
        history.push(BEFORE_THE_LOG, QuorumRecord::Voters(set(&[1])));
        history.push(Offset(10), QuorumRecord::Voters(set(&[1, 2])));
        assert_eq!((history.voters(), history.version()), (&set(&[1, 2]), 1));
        assert_eq!(history.voters_before(), &set(&[1]));
        assert_eq!(history.below(Offset(10)), (1, Some(&set(&[1]))));
        assert_eq!(history.below(Offset(11)), (1, Some(&set(&[1, 2]))));
        history.cut(Offset(10));
        assert_eq!((history.voters(), history.voters_at()), (&set(&[1]), Some(BEFORE_THE_LOG)));
        history.replace(Offset(30), 1, Some(set(&[3])));
        assert_eq!((history.voters(), history.voters_at()), (&set(&[3]), Some(Offset(29))));
    }

    #[test]
    fn what_lies_below_a_snapshot_is_forgotten_but_for_the_last() {
        let mut history = VoterHistory::default();
        for (offset, ids) in [(1, &[1][..]), (5, &[1, 2]), (9, &[1, 2, 3])] {
            history.push(Offset(offset), QuorumRecord::Voters(set(ids)));
        }
        history.forget_below(Offset(9));
        assert_eq!(history.below(Offset(9)).1, Some(&set(&[1, 2])));
        assert_eq!(history.below(Offset(5)).1, None);
        assert_eq!(history.voters(), &set(&[1, 2, 3]));
    }
}
