//! Batches that others wrote: librdkafka 2.0.2 and the Java client 4.3.1 through an Apache Kafka 4.3.1 broker, whose log files these are, and that broker's own
//! metadata log and bootstrap snapshot.

use bytes::{Bytes, BytesMut};
use kafka_protocol::indexmap::IndexMap;
use kafka_protocol::protocol::StrBytes;
use kafka_protocol::records as other;

use super::*;

const LIBRDKAFKA: [(Codec, &[u8]); 5] = [
    (Codec::None, include_bytes!("golden/librdkafka-none.log")),
    (Codec::Gzip, include_bytes!("golden/librdkafka-gzip.log")),
    (Codec::Snappy, include_bytes!("golden/librdkafka-snappy.log")),
    (Codec::Lz4, include_bytes!("golden/librdkafka-lz4.log")),
    (Codec::Zstd, include_bytes!("golden/librdkafka-zstd.log")),
];

const JAVA: [(Codec, &[u8]); 5] = [
    (Codec::None, include_bytes!("golden/java-none.log")),
    (Codec::Gzip, include_bytes!("golden/java-gzip.log")),
    (Codec::Snappy, include_bytes!("golden/java-snappy.log")),
    (Codec::Lz4, include_bytes!("golden/java-lz4.log")),
    (Codec::Zstd, include_bytes!("golden/java-zstd.log")),
];

const METADATA: &[u8] = include_bytes!("golden/cluster-metadata.log");
const BOOTSTRAP: &[u8] = include_bytes!("golden/bootstrap.checkpoint");

/// A batch as the producer sent it: without the leader's stamp.
fn as_sent(batch: &[u8]) -> Vec<u8> {
    let mut sent = batch.to_vec();
    stamp(&mut sent, 0, -1);
    sent
}

fn check(batch: &[u8]) -> Examined {
    examine(&as_sent(batch), &Limits::for_message_bytes(1 << 20), &mut Scratch::default()).unwrap()
}

#[test]
fn librdkafkas_batches_pass_and_are_read() {
    for (codec, log) in LIBRDKAFKA {
        let examined = check(log);
        assert_eq!((examined.codec(), examined.record_count(), examined.first_keyless()), (codec, 4, None));
        assert_eq!(examined.max_timestamp(), examined.header.max_timestamp);
        assert_eq!(examined.inner_offsets(), InnerOffsets::Consecutive);
        let mut scratch = Scratch::default();
        let (_, records) = open(log, 1 << 20, &mut scratch).unwrap();
        let values: Vec<_> = records
            .map(Result::unwrap)
            .map(|record| (record.key, record.value.map(<[u8]>::len), record.headers.len()))
            .collect();
        assert_eq!(
            values,
            [(Some(&b"k1"[..]), Some(23), 2), (Some(b"k2"), Some(29), 2), (Some(b""), Some(0), 2), (Some(b"k4"), Some(180), 2)]
        );
    }
}

#[test]
fn javas_transactions_pass_and_their_markers_are_read() {
    for (codec, log) in JAVA {
        let batches: Vec<_> = Batches::strict(log).map(Result::unwrap).collect();
        let examined = check(batches[0].bytes);
        assert_eq!((examined.codec(), examined.record_count(), examined.first_keyless()), (codec, 6, Some(4)));
        assert_eq!((examined.max_timestamp(), examined.max_timestamp_offset_delta()), (1_700_000_005_000, 3));
        assert_eq!((examined.min_timestamp(), examined.header.max_timestamp), (Some(1_700_000_000_000), 1_700_000_005_000));
        assert!(examined.header.is_transactional());
        assert_eq!((examined.header.base_sequence, examined.header.last_sequence()), (0, 5));
        let mut scratch = Scratch::default();
        let (_, records) = open(batches[0].bytes, 1 << 20, &mut scratch).unwrap();
        let last = records.map(Result::unwrap).last().unwrap();
        assert_eq!((last.key, last.value, last.headers.len()), (Some(&b"key-5"[..]), None, 0));
        assert_marker(batches[1].bytes, ControlType::Commit);
    }
    assert_marker(&JAVA[3].1[478..], ControlType::Abort);
}

fn assert_marker(batch: &[u8], kind: ControlType) {
    let mut scratch = Scratch::default();
    let (header, mut records) = open(batch, 1 << 20, &mut scratch).unwrap();
    let record = records.next().unwrap().unwrap();
    assert_eq!(ControlType::from_key(record.key), Ok(Some(kind)));
    let marker = EndTransactionMarker::from_value(record.value).unwrap();
    let producer = ProducerStamp { id: header.producer_id, epoch: header.producer_epoch, base_sequence: 0 };
    // Our own marker for the same end is the same, byte for byte.
    let mut ours =
        end_transaction_batch(kind, marker, producer, header.base_timestamp, &mut Scratch::default()).unwrap().to_vec();
    stamp(&mut ours, header.base_offset, header.partition_leader_epoch);
    assert_eq!(ours, batch);
    let refused = examine(&as_sent(batch), &Limits::for_message_bytes(1 << 20), &mut Scratch::default());
    assert_eq!(refused, Err(Refusal::Control));
}

#[test]
fn kafkas_own_logs_are_read_and_their_control_records_known() {
    for (log, first, others) in
        [(METADATA, ControlType::LeaderChange, &[9, 1][..]), (BOOTSTRAP, ControlType::SnapshotHeader, &[6, 1])]
    {
        let mut scratch = Scratch::default();
        let counts: Vec<_> = Batches::strict(log).map(|batch| batch.unwrap().header.record_count).collect();
        assert_eq!(counts[0], 1);
        assert!(counts[1..].starts_with(&others[..1]), "{counts:?}");
        for batch in Batches::strict(log) {
            let batch = batch.unwrap();
            assert_eq!(crc32c(&batch.bytes[position::ATTRIBUTES..]), batch.header.crc);
            let (_, records) = open(batch.bytes, 1 << 20, &mut scratch).unwrap();
            assert_eq!(records.filter(Result::is_ok).count(), batch.header.record_count as usize);
        }
        let (header, mut records) = open(log, 1 << 20, &mut scratch).unwrap();
        assert!(header.is_control());
        assert_eq!(ControlType::from_key(records.next().unwrap().unwrap().key), Ok(Some(first)));
    }
}

#[test]
fn batches_without_compression_are_rebuilt_byte_for_byte() {
    for log in [LIBRDKAFKA[0].1, &JAVA[0].1[..344], &METADATA[..91], &METADATA[91..421]] {
        let mut scratch = Scratch::default();
        let (header, records) = open(log, 1 << 20, &mut scratch).unwrap();
        let mut builder = BatchBuilder::new(BatchOptions {
            base_offset: header.base_offset,
            partition_leader_epoch: header.partition_leader_epoch,
            producer: ProducerStamp {
                id: header.producer_id,
                epoch: header.producer_epoch,
                base_sequence: header.base_sequence,
            },
            transactional: header.is_transactional(),
            control: header.is_control(),
            ..BatchOptions::default()
        });
        for record in records {
            let record = record.unwrap();
            let headers: Vec<_> = record.headers.collect();
            let timestamp = header.timestamp_of(record.timestamp_delta);
            builder.append(&NewRecord { timestamp, key: record.key, value: record.value, headers: &headers }).unwrap();
        }
        assert_eq!(builder.build(&mut Scratch::default()).unwrap(), log);
    }
}

#[test]
fn another_codec_reads_what_we_build_and_writes_what_we_read() {
    let records: Vec<other::Record> = (0..50).map(other_record).collect();
    let options = other::RecordEncodeOptions { version: 2, compression: other::Compression::None };
    let mut theirs = BytesMut::new();
    other::RecordBatchEncoder::encode(&mut theirs, &records, &options).unwrap();
    let producer = ProducerStamp { id: 9, epoch: 2, base_sequence: 100 };
    let mut builder = BatchBuilder::new(BatchOptions { producer, transactional: true, ..BatchOptions::default() });
    for record in &records {
        let headers: Vec<_> =
            record.headers.iter().map(|(key, value)| Header { key: key.as_bytes(), value: value.as_deref() }).collect();
        let new = NewRecord {
            timestamp: record.timestamp,
            key: record.key.as_deref(),
            value: record.value.as_deref(),
            headers: &headers,
        };
        builder.append(&new).unwrap();
    }
    let ours = builder.build(&mut Scratch::default()).unwrap();
    let read = other::RecordBatchDecoder::decode(&mut ours.clone()).unwrap().records;
    assert_eq!(read, records);
    // They take the least timestamp for the base, we the first; only that may differ.
    let examined = check(&theirs);
    assert_eq!((examined.record_count(), examined.max_timestamp()), (50, check(&ours).max_timestamp()));
}

fn other_record(index: i64) -> other::Record {
    let filled = |share: i64| (index % share != 0).then(|| Bytes::from(vec![b'x'; (index * 37 % 300) as usize]));
    let mut headers = IndexMap::new();
    for number in 0..index % 4 {
        headers.insert(StrBytes::from_string(format!("h{number}")), filled(2));
    }
    other::Record {
        transactional: true,
        control: false,
        delete_horizon: false,
        partition_leader_epoch: -1,
        producer_id: 9,
        producer_epoch: 2,
        timestamp_type: other::TimestampType::Creation,
        offset: index,
        sequence: 100 + index as i32,
        timestamp: 1_700_000_000_000 + index * 7919 % 100,
        key: filled(3),
        value: filled(5),
        headers,
    }
}
