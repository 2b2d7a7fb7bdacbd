//! Finalized levels of features, `metadata.version` among them.
//!
//! - `FeatureLevelRecord`: key 12, version 0, flexible

use strandline_protocol_derive::Wire;

#[derive(Clone, Debug, PartialEq, Wire)]
#[wire(kind = "metadata", key = 12, versions = 0, flexible = 0..)]
pub struct FeatureLevelRecord {
    pub name: String,
    pub feature_level: i16,
}
