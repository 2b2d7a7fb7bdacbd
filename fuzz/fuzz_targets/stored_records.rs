//! Records of the metadata log and of the coordinators' topics, as a disk or another controller may hold them.
//!
//! The first byte is how much of the rest is the key of a coordinator's record.
#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use strandline_protocol::coordinator::{ConsumerOffsetsRecord, ShareGroupStateRecord, TransactionStateRecord};
use strandline_protocol::metadata::MetadataRecord;

fuzz_target!(|data: &[u8]| {
    let Some((split, rest)) = data.split_first() else {
        return;
    };
    let rest = Bytes::copy_from_slice(rest);
    // The version is the third varint; where all three take a byte, the record has to come back.
    if let (Ok(record), [1, 0..0x80, version @ 0..0x80, ..]) = (MetadataRecord::decode(rest.clone()), &rest[..]) {
        let version = i16::from(*version);
        let again = record.encode(version);
        assert_eq!(MetadataRecord::decode(again.clone()).map(|record| record.encode(version)), Ok(again));
    }
    let key = rest.slice(..rest.len().min(usize::from(*split)));
    let value = rest.slice(key.len()..);
    for value in [None, Some(value)] {
        if let Ok(record) = ConsumerOffsetsRecord::decode(key.clone(), value.clone()) {
            assert_eq!(record.key(), key);
        }
        if let Ok(record) = TransactionStateRecord::decode(key.clone(), value.clone()) {
            assert_eq!(record.key(), key);
        }
        if let Ok(record) = ShareGroupStateRecord::decode(key.clone(), value) {
            assert_eq!(record.key(), key);
        }
    }
});
