//! `bootstrap.checkpoint`: what the first leader of a new cluster writes before anything else, as `format` chose it.
//!
//! A snapshot of the metadata log in form, in the log directory itself; only levels of features and credentials stand in it. It is
//! looked at while the metadata log knows no `metadata.version`, and kept afterwards, as Kafka does.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use strandline_log::disk::{DiskError, FilePath, Files};
use strandline_protocol::ids::{Offset, Uuid};
use strandline_protocol::metadata::MetadataRecord;

use super::{LoadError, Replay, SnapshotVoters};
use crate::controller::METADATA_DIRECTORY;
use crate::features::{
    FEATURES, Feature, KRAFT_VERSION, KRAFT_VERSION_LEAST, KRAFT_VERSION_NAME, METADATA_VERSION, METADATA_VERSION_NAME,
    RELEASES, first_level, release,
};
use crate::image::Image;
use crate::quorum::voters::{ReplicaKey, Voter, VoterEndpoint};
use crate::snapshot::write::{SnapshotId, SnapshotPiece};

/// The name of the file.
pub const BOOTSTRAP_CHECKPOINT: &str = "bootstrap.checkpoint";

/// The file of a cluster that begins with these levels.
pub fn encode(levels: &BTreeMap<String, i16>, now_ms: i64) -> Bytes {
    let image = Image { features: levels.clone(), ..Image::default() };
    snapshot(image, SnapshotVoters::default(), now_ms, 0)
}

/// A voter of a new cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FirstVoter {
    pub id: i32,
    /// Of the directory that holds its metadata log.
    pub directory: Uuid,
    pub host: String,
    pub port: u16,
}

/// The first snapshot of a metadata log whose voters are these, reached by a listener of this name: it ends before the log begins.
pub fn first_snapshot(voters: &[FirstVoter], listener: &str, now_ms: i64) -> Bytes {
    let voter = |voter: &FirstVoter| Voter {
        key: ReplicaKey { id: voter.id, directory: voter.directory },
        endpoints: vec![VoterEndpoint { listener: listener.to_owned(), host: voter.host.clone(), port: voter.port }],
        versions: (KRAFT_VERSION_LEAST, KRAFT_VERSION),
    };
    let quorum = SnapshotVoters { version: KRAFT_VERSION, voters: Some(voters.iter().map(voter).collect()) };
    snapshot(Image::default(), quorum, now_ms, now_ms)
}

/// Its directory below the log directory, and its name there.
pub fn first_snapshot_file() -> (&'static str, String) {
    (METADATA_DIRECTORY, SnapshotId::default().file_name())
}

fn snapshot(image: Image, quorum: SnapshotVoters, now_ms: i64, last_contained_ms: i64) -> Bytes {
    let image = Arc::new(image);
    let id = SnapshotId::default();
    let mut next = Some(SnapshotPiece { id, image, quorum, now_ms, last_contained_ms, records: 0 });
    let mut bytes = BytesMut::new();
    while let Some(piece) = next {
        let made = piece.make();
        for part in made.parts {
            bytes.extend_from_slice(&part.prefix);
            bytes.extend_from_slice(&part.body);
        }
        next = made.next;
    }
    bytes.freeze()
}

/// Why a feature cannot have a level.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LevelError {
    #[error("there is no feature {name}; there are {}", FEATURES.iter().map(|feature| feature.name).collect::<Vec<_>>().join(", "))]
    Unknown { name: String },
    #[error("{name} has the levels {least} to {most}, not {level}")]
    OutOfRange { name: String, level: i16, least: i16, most: i16 },
    #[error("{given:?} is no release that is known; there are {} to {}", RELEASES[0].name, RELEASES[RELEASES.len() - 1].name)]
    Release { given: String },
    #[error("a release says what {METADATA_VERSION_NAME} is: name one of the two")]
    Twice,
    #[error(
        "{KRAFT_VERSION_NAME} is {KRAFT_VERSION} where the first voters are named, and {KRAFT_VERSION_LEAST} where they stand in the configuration: it need not be given"
    )]
    KraftVersion,
}

/// Where the first voters of a cluster stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VotersIn {
    Configuration,
    Log,
}

/// What `format` is asked for.
#[derive(Clone, Debug)]
pub struct Wanted<'a> {
    /// Kafka's release whose levels the features begin with; the newest known if none is named.
    pub release: Option<&'a str>,
    /// Levels of single features.
    pub levels: &'a [(String, i16)],
    pub voters: VotersIn,
}

/// The levels that a new cluster begins with: those of the release, but for those given. Level 0 is a feature that is off. The level of
/// `kraft.version` follows from the voters, and stands with them.
///
/// # Errors
/// [`LevelError`] for the first feature that cannot be had so.
pub fn levels(wanted: &Wanted<'_>) -> Result<BTreeMap<String, i16>, LevelError> {
    let mut levels = BTreeMap::new();
    let given = wanted.levels;
    if wanted.release.is_some() && given.iter().any(|(name, _)| name == METADATA_VERSION_NAME) {
        return Err(LevelError::Twice);
    }
    let release = match wanted.release {
        Some(name) => release(name).ok_or_else(|| LevelError::Release { given: name.to_owned() })?,
        None => given.iter().find(|(name, _)| name == METADATA_VERSION_NAME).map_or(METADATA_VERSION, |(_, level)| *level),
    };
    for feature in FEATURES.iter().filter(|feature| feature.name != KRAFT_VERSION_NAME) {
        levels.insert(feature.name.to_owned(), first_level(feature.name, release));
    }
    for (name, level) in given {
        if name == KRAFT_VERSION_NAME {
            let follows = if wanted.voters == VotersIn::Log { KRAFT_VERSION } else { KRAFT_VERSION_LEAST };
            if *level != follows {
                return Err(LevelError::KraftVersion);
            }
            continue;
        }
        let Some(feature) = FEATURES.iter().find(|feature| feature.name == name) else {
            return Err(LevelError::Unknown { name: name.clone() });
        };
        if !(feature.least..=feature.most).contains(level) {
            let (least, most) = (feature.least, feature.most);
            return Err(LevelError::OutOfRange { name: name.clone(), level: *level, least, most });
        }
        levels.insert(name.clone(), *level);
    }
    levels.retain(|_, level| *level > 0);
    Ok(levels)
}

/// The records of the file; none if there is no file. Of features only what this node implements: Kafka's `format` finalizes more,
/// and nothing is promised that is not there.
///
/// # Errors
/// [`LoadError`] if the file is damaged.
pub(super) fn records(files: &dyn Files) -> Result<Vec<MetadataRecord>, LoadError> {
    let file = FilePath::top(BOOTSTRAP_CHECKPOINT);
    match files.read(&file, 0, 1) {
        Ok(_) => {}
        Err(DiskError::Missing { .. }) => return Ok(Vec::new()),
        Err(error) => return Err(error.into()),
    }
    let mut replay = Replay { log_from: Some(Offset::ZERO), ..Replay::default() };
    replay.file(files, &file, u64::MAX)?;
    if !replay.ends_with_footer {
        return Err(LoadError::SnapshotTorn { file });
    }
    Ok(replay.records.into_iter().filter_map(|(_, record)| implemented(record)).collect())
}

fn implemented(record: MetadataRecord) -> Option<MetadataRecord> {
    let MetadataRecord::FeatureLevelRecord(mut level) = record else { return Some(record) };
    let Feature { most, .. } = FEATURES.iter().find(|feature| feature.name == level.name)?;
    level.feature_level = level.feature_level.min(*most);
    Some(level.into())
}

#[cfg(test)]
mod tests {
    use strandline_log::memory::MemoryDisk;
    use strandline_protocol::metadata::feature_level::FeatureLevelRecord;

    use super::*;
    use crate::features::GROUP_VERSION;
    use crate::quorum::voters::{BEFORE_THE_LOG, QuorumRecord};

    fn disk(levels: &BTreeMap<String, i16>) -> MemoryDisk {
        let mut disk = MemoryDisk::default();
        disk.put(FilePath::top(BOOTSTRAP_CHECKPOINT), encode(levels, 5).to_vec());
        disk
    }

    fn levels(given: &[(String, i16)]) -> Result<BTreeMap<String, i16>, LevelError> {
        super::levels(&Wanted { release: None, levels: given, voters: VotersIn::Configuration })
    }

    fn level(name: &str, feature_level: i16) -> MetadataRecord {
        FeatureLevelRecord { name: name.to_owned(), feature_level }.into()
    }

    #[test]
    fn levels_are_read_back_as_they_were_chosen() {
        let levels = levels(&[(METADATA_VERSION_NAME.to_owned(), 25), (GROUP_VERSION.to_owned(), 0)]).expect("in range");
        let read = records(&disk(&levels)).expect("whole");
        assert!(read.contains(&level(METADATA_VERSION_NAME, 25)));
        assert!(
            !read
                .iter()
                .any(|record| matches!(record, MetadataRecord::FeatureLevelRecord(level) if level.name == GROUP_VERSION))
        );
        assert_eq!(read.len(), levels.len());
    }

    #[test]
    fn what_is_not_implemented_is_not_promised() {
        let levels = BTreeMap::from([("streams.version".to_owned(), 1), (GROUP_VERSION.to_owned(), 9)]);
        assert_eq!(records(&disk(&levels)).expect("whole"), [level(GROUP_VERSION, 1)]);
    }

    #[test]
    fn a_damaged_file_is_refused_and_none_is_nothing() {
        assert_eq!(records(&MemoryDisk::default()).expect("none"), []);
        let whole = encode(&levels(&[]).expect("in range"), 5).to_vec();
        let mut disk = MemoryDisk::default();
        disk.put(FilePath::top(BOOTSTRAP_CHECKPOINT), whole[..whole.len() - 4].to_vec());
        assert!(matches!(records(&disk), Err(LoadError::SnapshotTorn { .. })));
        let mut flipped = whole;
        let behind_a_header = flipped.len() - 10;
        flipped[behind_a_header] ^= 1;
        disk.put(FilePath::top(BOOTSTRAP_CHECKPOINT), flipped);
        assert!(matches!(records(&disk), Err(LoadError::Checksum { .. })));
    }

    #[test]
    fn levels_that_cannot_be_had_are_refused() {
        let given = |name: &str, level| levels(&[(name.to_owned(), level)]);
        assert!(matches!(given("nonsense", 1), Err(LevelError::Unknown { .. })));
        assert!(matches!(given(METADATA_VERSION_NAME, 3), Err(LevelError::OutOfRange { .. })));
        assert_eq!(given(KRAFT_VERSION_NAME, 1), Err(LevelError::KraftVersion), "nobody named the first voters");
        assert!(given(KRAFT_VERSION_NAME, 0).expect("as it is").keys().all(|name| name != KRAFT_VERSION_NAME));
    }

    #[test]
    fn a_release_says_where_the_features_begin() {
        let of = |release, given: &[(String, i16)]| {
            super::levels(&Wanted { release: Some(release), levels: given, voters: VotersIn::Log })
        };
        let old = of("3.9", &[]).expect("known");
        assert_eq!(old, BTreeMap::from([(METADATA_VERSION_NAME.to_owned(), 21)]));
        assert_eq!(of("4.3.1", &[]).expect("known"), levels(&[]).expect("the default"));
        let groups = of("4.0-IV0", &[]).expect("known");
        assert_eq!((groups.get(GROUP_VERSION), groups.len()), (Some(&1), 2));
        assert!(matches!(of("2.8", &[]), Err(LevelError::Release { .. })));
        assert_eq!(of("4.0", &[(METADATA_VERSION_NAME.to_owned(), 25)]), Err(LevelError::Twice));
    }

    #[test]
    fn the_first_voters_are_read_back() {
        let voter = FirstVoter { id: 4, directory: Uuid([4; 16]), host: "h".to_owned(), port: 9093 };
        let mut disk = MemoryDisk::default();
        let (directory, name) = first_snapshot_file();
        disk.put(FilePath::inside(directory, &name), first_snapshot(&[voter], "CONTROLLER", 5).to_vec());
        let loaded = super::super::load(&disk, 6).expect("whole");
        let [(at, QuorumRecord::Version(1)), (_, QuorumRecord::Voters(voters))] = &loaded.quorum[..] else {
            panic!("{:?}", loaded.quorum)
        };
        assert_eq!((*at, loaded.log.positions().log_end), (BEFORE_THE_LOG, Offset::ZERO));
        assert!(voters.is_only(ReplicaKey { id: 4, directory: Uuid([4; 16]) }));
        assert_eq!(voters.get(4).and_then(|voter| voter.endpoint("CONTROLLER")).map(|end| end.port), Some(9093));
    }
}
