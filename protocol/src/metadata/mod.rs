//! Records of `__cluster_metadata`: what the controller decides and every node applies.
//!
//! ```text
//! | frame version varint = 1 | record type varint | version varint | body |
//! ```
//! The values of the log's batches look so; keys are empty. Control records of that log are in `control`.

pub mod acl;
pub mod broker;
pub mod client_quota;
pub mod config;
pub mod controller;
pub mod delegation_token;
pub mod feature_level;
pub mod partition;
pub mod producer_ids;
pub mod scram;
pub mod topic;
pub mod transaction;
pub mod zk_migration;

use bytes::Bytes;

use crate::spec::MessageSpec;
use crate::wire::{Message, Reader, WireError, WireErrorKind, Writer};

/// The only version of the envelope so far.
const FRAME_VERSION: u32 = 1;

macro_rules! metadata_records {
    ($($name:ident $module:ident;)*) => {
        /// A record of any type.
        #[derive(Clone, Debug, PartialEq)]
        pub enum MetadataRecord {
            $($name($module::$name),)*
        }

        /// The definition of every record type.
        pub const METADATA_RECORDS: &[&MessageSpec] = &[$(&$module::$name::MESSAGE,)*];

        impl MetadataRecord {
            #[must_use]
            pub fn spec(&self) -> &'static MessageSpec {
                match self {
                    $(Self::$name(_) => &$module::$name::MESSAGE,)*
                }
            }

            fn decode_body(reader: &mut Reader, key: u32, version: i16) -> Result<Self, WireError> {
                match i16::try_from(key).ok() {
                    $(key if key == $module::$name::KEY => Message::decode(reader, version).map(Self::$name),)*
                    _ => Err(WireErrorKind::UnknownRecordType { key: key.into() }.into()),
                }
            }

            fn encode_body(&self, writer: &mut Writer, version: i16) {
                match self {
                    $(Self::$name(record) => record.encode(writer, version),)*
                }
            }
        }

        $(
            impl From<$module::$name> for MetadataRecord {
                fn from(record: $module::$name) -> Self {
                    Self::$name(record)
                }
            }
        )*
    };
}

metadata_records! {
    RegisterBrokerRecord broker;
    UnregisterBrokerRecord broker;
    TopicRecord topic;
    PartitionRecord partition;
    ConfigRecord config;
    PartitionChangeRecord partition;
    FenceBrokerRecord broker;
    UnfenceBrokerRecord broker;
    RemoveTopicRecord topic;
    DelegationTokenRecord delegation_token;
    UserScramCredentialRecord scram;
    FeatureLevelRecord feature_level;
    ClientQuotaRecord client_quota;
    ProducerIdsRecord producer_ids;
    BrokerRegistrationChangeRecord broker;
    AccessControlEntryRecord acl;
    RemoveAccessControlEntryRecord acl;
    NoOpRecord transaction;
    ZkMigrationStateRecord zk_migration;
    RemoveUserScramCredentialRecord scram;
    BeginTransactionRecord transaction;
    EndTransactionRecord transaction;
    AbortTransactionRecord transaction;
    RemoveDelegationTokenRecord delegation_token;
    RegisterControllerRecord controller;
    ClearElrRecord partition;
}

impl MetadataRecord {
    /// Reads the value of a record of the metadata log.
    ///
    /// # Errors
    /// When the envelope, the type or the version is unknown, or the body is not exactly such a record.
    pub fn decode(value: Bytes) -> Result<Self, WireError> {
        let mut reader = Reader::new(value);
        Self::read(&mut reader).map_err(|error| if error.path().is_empty() { error.of("MetadataRecord") } else { error })
    }

    fn read(reader: &mut Reader) -> Result<Self, WireError> {
        let frame_version = small(reader.unsigned_varint()?);
        if frame_version != FRAME_VERSION as i16 {
            let supported = crate::spec::Versions::new(FRAME_VERSION as i16, FRAME_VERSION as i16);
            return Err(WireErrorKind::UnsupportedVersion { version: frame_version, supported }.into());
        }
        let key = reader.unsigned_varint()?;
        let version = small(reader.unsigned_varint()?);
        let record = Self::decode_body(reader, key, version)?;
        reader.finish()?;
        Ok(record)
    }

    /// The value of a record of the metadata log, in the version that the cluster's `metadata.version` calls for.
    #[must_use]
    pub fn encode(&self, version: i16) -> Bytes {
        let spec = self.spec();
        let mut writer = Writer::new();
        writer.put_unsigned_varint(FRAME_VERSION);
        writer.put_unsigned_varint(spec.key.map_or(0, i16::cast_unsigned).into());
        writer.put_unsigned_varint(version.cast_unsigned().into());
        self.encode_body(&mut writer, version);
        writer.into_bytes()
    }
}

/// A version that no `i16` holds is as unknown as the largest one.
fn small(version: u32) -> i16 {
    i16::try_from(version).unwrap_or(i16::MAX)
}

#[cfg(test)]
mod tests {
    use super::feature_level::FeatureLevelRecord;
    use super::*;

    #[test]
    fn a_record_stands_behind_frame_version_type_and_version() {
        let record = MetadataRecord::from(FeatureLevelRecord { name: "metadata.version".into(), feature_level: 29 });
        let bytes = record.encode(0);
        assert_eq!(bytes[..3], [1, 12, 0]);
        assert_eq!(MetadataRecord::decode(bytes), Ok(record));
    }

    #[test]
    fn an_unknown_type_or_envelope_is_refused() {
        let kind = |bytes: &'static [u8]| MetadataRecord::decode(Bytes::from_static(bytes)).unwrap_err().kind().clone();
        assert_eq!(kind(&[1, 99, 0, 0]), WireErrorKind::UnknownRecordType { key: 99 });
        assert!(matches!(kind(&[0, 20, 0, 0]), WireErrorKind::UnsupportedVersion { version: 0, .. }));
        assert_eq!(kind(&[1, 20, 0, 0, 0]), WireErrorKind::TrailingBytes { bytes: 1 });
    }
}
