//! Records of the coordinators' topics: `__consumer_offsets`, `__transaction_state` and `__share_group_state`.
//!
//! ```text
//! key:   | record type int16 | key, version 0 |
//! value: | version int16     | value          |      no value: the key is deleted
//! ```

pub mod classic_group;
pub mod consumer_group;
pub mod offset_commit;
pub mod share_group;
pub mod share_state;
pub mod streams_group;
pub mod transaction_log;

use bytes::Bytes;

use crate::spec::MessageSpec;
use crate::wire::{Message, Reader, WireError, WireErrorKind, Writer};

/// Keys have had one version since their type is what stands in front of them.
const KEY_VERSION: i16 = 0;

fn decode_value<T: Message>(value: Option<Bytes>) -> Result<Option<T>, WireError> {
    let Some(value) = value else {
        return Ok(None);
    };
    let mut reader = Reader::new(value);
    let version = reader.int16().map_err(|error| error.of(T::SPEC.name))?;
    T::from_bytes(reader.rest(), version).map(Some)
}

fn encode_value<T: Message>(value: &Option<T>, version: i16) -> Option<Bytes> {
    value.as_ref().map(|value| {
        let mut writer = Writer::new();
        writer.put_int16(version);
        value.encode(&mut writer, version);
        writer.into_bytes()
    })
}

fn encode_key<T: Message>(key: &T) -> Bytes {
    let mut writer = Writer::new();
    writer.put_int16(T::KEY.unwrap_or_default());
    key.encode(&mut writer, KEY_VERSION);
    writer.into_bytes()
}

macro_rules! coordinator_records {
    ($(#[$doc:meta])* $enum:ident { $($name:ident $module:ident::{$key:ident, $value:ident};)* }) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq)]
        pub enum $enum {
            $($name($module::$key, Option<$module::$value>),)*
        }

        impl $enum {
            /// The definitions of the keys and values.
            pub const SPECS: &[(&MessageSpec, &MessageSpec)] = &[$((&$module::$key::MESSAGE, &$module::$value::MESSAGE),)*];

            /// Reads a record of the topic; `None` as value is a deletion.
            ///
            /// # Errors
            /// When the type of the key or the version of the value is unknown, or the bytes do not fit exactly.
            pub fn decode(key: Bytes, value: Option<Bytes>) -> Result<Self, WireError> {
                let mut reader = Reader::new(key);
                let record_type = reader.int16().map_err(|error| error.of(stringify!($enum)))?;
                match Some(record_type) {
                    $(known if known == $module::$key::KEY => {
                        Ok(Self::$name($module::$key::from_bytes(reader.rest(), KEY_VERSION)?, decode_value(value)?))
                    })*
                    _ => {
                        let error = WireError::from(WireErrorKind::UnknownRecordType { key: record_type.into() });
                        Err(error.of(stringify!($enum)))
                    }
                }
            }

            #[must_use]
            pub fn key(&self) -> Bytes {
                match self {
                    $(Self::$name(key, _) => encode_key(key),)*
                }
            }

            /// The value in this version of its type; `None` for a deletion.
            #[must_use]
            pub fn value(&self, version: i16) -> Option<Bytes> {
                match self {
                    $(Self::$name(_, value) => encode_value(value, version),)*
                }
            }
        }
    };
}

coordinator_records! {
    /// A record of `__consumer_offsets`.
    ConsumerOffsetsRecord {
        LegacyOffsetCommit offset_commit::{LegacyOffsetCommitKey, LegacyOffsetCommitValue};
        OffsetCommit offset_commit::{OffsetCommitKey, OffsetCommitValue};
        GroupMetadata classic_group::{GroupMetadataKey, GroupMetadataValue};
        ConsumerGroupMetadata consumer_group::{ConsumerGroupMetadataKey, ConsumerGroupMetadataValue};
        ConsumerGroupPartitionMetadata consumer_group::{ConsumerGroupPartitionMetadataKey, ConsumerGroupPartitionMetadataValue};
        ConsumerGroupMemberMetadata consumer_group::{ConsumerGroupMemberMetadataKey, ConsumerGroupMemberMetadataValue};
        ConsumerGroupTargetAssignmentMetadata consumer_group::{
            ConsumerGroupTargetAssignmentMetadataKey, ConsumerGroupTargetAssignmentMetadataValue
        };
        ConsumerGroupTargetAssignmentMember consumer_group::{
            ConsumerGroupTargetAssignmentMemberKey, ConsumerGroupTargetAssignmentMemberValue
        };
        ConsumerGroupCurrentMemberAssignment consumer_group::{
            ConsumerGroupCurrentMemberAssignmentKey, ConsumerGroupCurrentMemberAssignmentValue
        };
        ShareGroupMemberMetadata share_group::{ShareGroupMemberMetadataKey, ShareGroupMemberMetadataValue};
        ShareGroupMetadata share_group::{ShareGroupMetadataKey, ShareGroupMetadataValue};
        ShareGroupTargetAssignmentMetadata share_group::{
            ShareGroupTargetAssignmentMetadataKey, ShareGroupTargetAssignmentMetadataValue
        };
        ShareGroupTargetAssignmentMember share_group::{
            ShareGroupTargetAssignmentMemberKey, ShareGroupTargetAssignmentMemberValue
        };
        ShareGroupCurrentMemberAssignment share_group::{
            ShareGroupCurrentMemberAssignmentKey, ShareGroupCurrentMemberAssignmentValue
        };
        ShareGroupStatePartitionMetadata share_group::{
            ShareGroupStatePartitionMetadataKey, ShareGroupStatePartitionMetadataValue
        };
        ConsumerGroupRegularExpression consumer_group::{ConsumerGroupRegularExpressionKey, ConsumerGroupRegularExpressionValue};
        StreamsGroupMetadata streams_group::{StreamsGroupMetadataKey, StreamsGroupMetadataValue};
        StreamsGroupMemberMetadata streams_group::{StreamsGroupMemberMetadataKey, StreamsGroupMemberMetadataValue};
        StreamsGroupTargetAssignmentMetadata streams_group::{
            StreamsGroupTargetAssignmentMetadataKey, StreamsGroupTargetAssignmentMetadataValue
        };
        StreamsGroupTargetAssignmentMember streams_group::{
            StreamsGroupTargetAssignmentMemberKey, StreamsGroupTargetAssignmentMemberValue
        };
        StreamsGroupCurrentMemberAssignment streams_group::{
            StreamsGroupCurrentMemberAssignmentKey, StreamsGroupCurrentMemberAssignmentValue
        };
        StreamsGroupTopology streams_group::{StreamsGroupTopologyKey, StreamsGroupTopologyValue};
    }
}

coordinator_records! {
    /// A record of `__transaction_state`.
    TransactionStateRecord {
        TransactionLog transaction_log::{TransactionLogKey, TransactionLogValue};
    }
}

coordinator_records! {
    /// A record of `__share_group_state`.
    ShareGroupStateRecord {
        ShareSnapshot share_state::{ShareSnapshotKey, ShareSnapshotValue};
        ShareUpdate share_state::{ShareUpdateKey, ShareUpdateValue};
    }
}

#[cfg(test)]
mod tests {
    use super::transaction_log::{TransactionLogKey, TransactionLogValue};
    use super::*;

    #[test]
    fn a_record_comes_back_from_its_key_and_value() {
        let key = TransactionLogKey { transactional_id: "t".into() };
        let record = TransactionStateRecord::TransactionLog(key.clone(), Some(TransactionLogValue::default()));
        assert_eq!(record.key(), [0, 0, 0, 1, b't'].as_slice());
        assert_eq!(TransactionStateRecord::decode(record.key(), record.value(1)), Ok(record));
        let deletion = TransactionStateRecord::TransactionLog(key, None);
        assert_eq!(TransactionStateRecord::decode(deletion.key(), deletion.value(0)), Ok(deletion));
    }

    #[test]
    fn an_unknown_type_is_refused() {
        let error = ConsumerOffsetsRecord::decode(Bytes::from_static(&[0x7f, 0]), None).unwrap_err();
        assert_eq!(error.to_string(), "ConsumerOffsetsRecord: unknown record type 32512");
    }
}
