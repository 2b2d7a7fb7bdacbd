//! `bootstrap.checkpoint`: what the first leader of a new cluster writes before anything else, as `format` chose it.
//!
//! A snapshot of the metadata log in form, in the log directory itself; only levels of features and credentials stand in it. It is
//! looked at while the metadata log knows no `metadata.version`, and kept afterwards, as Kafka does.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use strandline_log::disk::{DiskError, FilePath, Files};
use strandline_protocol::ids::Offset;
use strandline_protocol::metadata::MetadataRecord;

use super::{LoadError, Replay};
use crate::features::{FEATURES, Feature};
use crate::image::Image;
use crate::registration::new_cluster;
use crate::snapshot::write::{SnapshotId, SnapshotPiece};

/// The name of the file.
pub const BOOTSTRAP_CHECKPOINT: &str = "bootstrap.checkpoint";

/// The file of a cluster that begins with these levels.
pub fn encode(levels: &BTreeMap<String, i16>, now_ms: i64) -> Bytes {
    let image = Image { features: levels.clone(), ..Image::default() };
    let mut next =
        Some(SnapshotPiece { id: SnapshotId::default(), image: Arc::new(image), now_ms, last_contained_ms: 0, records: 0 });
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
}

/// The levels that a new cluster begins with: the usual ones, but for those given. Level 0 is a feature that is off.
///
/// # Errors
/// [`LevelError`] for the first feature that cannot be had so.
pub fn levels(given: &[(String, i16)]) -> Result<BTreeMap<String, i16>, LevelError> {
    let mut levels: BTreeMap<String, i16> = new_cluster()
        .into_iter()
        .filter_map(|record| match record {
            MetadataRecord::FeatureLevelRecord(level) => Some((level.name, level.feature_level)),
            _ => None,
        })
        .collect();
    for (name, level) in given {
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
    use crate::features::{GROUP_VERSION, METADATA_VERSION_NAME};

    fn disk(levels: &BTreeMap<String, i16>) -> MemoryDisk {
        let mut disk = MemoryDisk::default();
        disk.put(FilePath::top(BOOTSTRAP_CHECKPOINT), encode(levels, 5).to_vec());
        disk
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
    }
}
