//! Refusals, verdicts, rewrites; then truncation at every byte and seeded mutation.

use super::judge::Offender;
use super::*;
use crate::records::{
    BatchBuilder, BatchError, BatchHeader, BatchOptions, Codec, CodecError, Compression, HEADER_BYTES, NewRecord,
    ProducerStamp, RecordError, RecordFault, Scratch, TimestampType, compress, crc32c, open, position, set_max_timestamp,
};

const NOW: i64 = 1_700_000_000_000;
const LIMITS: Limits = Limits { decompressed_bytes_max: LIMITS_FLOOR_BYTES };
const RULES: ProduceRules = ProduceRules {
    max_message_bytes: 1 << 20,
    segment_bytes: 1 << 30,
    timestamp_type: TimestampType::CreateTime,
    before_max_ms: i64::MAX,
    after_max_ms: 3_600_000,
    compacted: false,
    compression: CompressionRule::Producer,
};

/// Records with these times; the second has no key.
fn batch_of(compression: Compression, timestamps: &[i64]) -> Vec<u8> {
    let mut builder = BatchBuilder::new(BatchOptions { compression, ..BatchOptions::default() });
    for (timestamp, index) in timestamps.iter().zip(0..) {
        let key = (index != 1).then_some(&b"key"[..]);
        builder.append(&NewRecord { timestamp: *timestamp, key, value: Some(&[b'v'; 50]), headers: &[] }).unwrap();
    }
    builder.build(&mut Scratch::default()).unwrap().to_vec()
}

fn batch() -> Vec<u8> {
    batch_of(Compression::None, &[NOW, NOW + 2, NOW + 1])
}

/// The batch with a changed header and the CRC that goes with it.
fn with_header(mut batch: Vec<u8>, change: impl FnOnce(&mut BatchHeader)) -> Vec<u8> {
    let mut header = BatchHeader::parse(&batch).unwrap();
    change(&mut header);
    batch[..HEADER_BYTES].copy_from_slice(&header.to_bytes());
    resealed(batch)
}

fn resealed(mut batch: Vec<u8>) -> Vec<u8> {
    let crc = crc32c(&batch[position::ATTRIBUTES..]);
    batch[position::CRC..position::ATTRIBUTES].copy_from_slice(&crc.to_be_bytes());
    batch
}

/// A batch around these bytes as its records, whatever they are.
fn batch_around(compression: Compression, records: &[u8], record_count: i32) -> Vec<u8> {
    let mut batch = batch()[..HEADER_BYTES].to_vec();
    compress(compression, records, &mut batch, &mut Scratch::default()).unwrap();
    let batch_length = batch.len() as i32 - 12;
    with_header(batch, |header| {
        *header = BatchHeader {
            batch_length,
            record_count,
            last_offset_delta: record_count - 1,
            attributes: compression.codec().bits(),
            ..*header
        };
    })
}

fn examined(batch: &[u8]) -> Result<Examined, Refusal> {
    examine(batch, &LIMITS, &mut Scratch::default())
}

fn judged(batch: &[u8], rules: &ProduceRules) -> Result<Verdict, Refusal> {
    examined(batch).and_then(|examined| judge(&examined, rules, NOW))
}

/// The code of the refusal, and that it is this one.
fn refused(batch: &[u8], expected: Refusal, code: i16) {
    assert_eq!(examined(batch), Err(expected));
    assert_eq!(expected.error_code(), code, "{expected}");
}

#[test]
fn a_good_batch_is_summed_up() {
    for codec in Codec::ALL {
        let summary = examined(&batch_of(Compression::of(codec), &[NOW, NOW + 2, NOW + 1, NOW + 2])).unwrap();
        assert_eq!((summary.codec(), summary.record_count(), summary.inner_offsets()), (codec, 4, InnerOffsets::Consecutive));
        assert_eq!(
            (summary.min_timestamp(), summary.max_timestamp(), summary.max_timestamp_offset_delta()),
            (Some(NOW), NOW + 2, 1)
        );
        assert_eq!(summary.first_keyless(), Some(1));
    }
    let timeless = examined(&batch_of(Compression::None, &[-1, -1])).unwrap();
    assert_eq!((timeless.min_timestamp(), timeless.max_timestamp()), (None, -1));
}

#[test]
fn there_must_be_exactly_one_batch() {
    refused(&[], Refusal::NoBatch, 87);
    let one = batch();
    refused(&[&one[..], &one[..]].concat(), Refusal::MoreThanOneBatch { bytes: one.len() }, 87);
    refused(&[&one[..], &[0]].concat(), Refusal::MoreThanOneBatch { bytes: 1 }, 87);
}

#[test]
fn every_cut_is_refused() {
    for codec in Codec::ALL {
        let whole = batch_of(Compression::of(codec), &[NOW, NOW + 1]);
        for length in 0..whole.len() {
            let refusal = examined(&whole[..length]).unwrap_err();
            assert!(matches!(refusal, Refusal::NoBatch | Refusal::Header(BatchError::Partial { .. })), "{codec:?} {length}");
            assert_eq!(refusal.error_code(), 87);
        }
    }
}

#[test]
fn every_cut_of_the_records_is_refused_also_under_a_good_crc() {
    for codec in Codec::ALL {
        let whole = batch_of(Compression::of(codec), &[NOW, NOW + 1]);
        for length in HEADER_BYTES..whole.len() {
            let cut = with_header(whole[..length].to_vec(), |header| header.batch_length = length as i32 - 12);
            let refusal = examined(&cut).unwrap_err();
            assert!(matches!(refusal, Refusal::Record(_) | Refusal::Codec(_)), "{codec:?} {length} {refusal:?}");
        }
    }
}

#[test]
fn a_header_that_lies_is_refused() {
    let changed = |change: fn(&mut BatchHeader)| with_header(batch(), change);
    refused(&changed(|header| header.base_offset = 4), Refusal::BaseOffset { base_offset: 4 }, 87);
    refused(&changed(|header| header.attributes |= 0x20), Refusal::Control, 87);
    refused(&changed(|header| header.producer_id = 8), Refusal::Sequence { producer_id: 8, base_sequence: -1 }, 87);
    refused(&changed(|header| header.attributes |= 5), Refusal::UnknownCodec { bits: 5 }, 76);
    refused(&changed(|header| header.magic = 1), Refusal::Header(BatchError::OldMagic { magic: 1 }), 87);
    refused(&changed(|header| header.magic = 0), Refusal::Header(BatchError::OldMagic { magic: 0 }), 87);
    refused(&changed(|header| header.magic = 3), Refusal::Header(BatchError::UnknownMagic { magic: 3 }), 2);
    refused(
        &changed(|header| header.batch_length = 48),
        Refusal::Header(BatchError::Length { batch_length: 48, least: 49 }),
        2,
    );
    refused(
        &changed(|header| header.batch_length = -1),
        Refusal::Header(BatchError::Length { batch_length: -1, least: 14 }),
        2,
    );
}

#[test]
fn counts_must_agree_with_each_other_and_with_the_records() {
    for (record_count, last_offset_delta) in [(0, -1), (-1, -2), (3, 3), (3, 1), (i32::MIN, i32::MAX)] {
        let batch = with_header(batch(), |header| *header = BatchHeader { record_count, last_offset_delta, ..*header });
        refused(&batch, Refusal::RecordCount { record_count, last_offset_delta }, 87);
    }
    for codec in Codec::ALL {
        let batch = batch_of(Compression::of(codec), &[NOW; 3]);
        let counted = |count: i32| {
            with_header(batch.clone(), |header| {
                *header = BatchHeader { record_count: count, last_offset_delta: count - 1, ..*header }
            })
        };
        let fault = |index, fault| Refusal::Record(RecordError { index, fault });
        refused(&counted(2), fault(2, RecordFault::LeftInBatch), 87);
        refused(&counted(4), fault(3, RecordFault::Truncated), 87);
        refused(&counted(i32::MAX), fault(3, RecordFault::Truncated), 87);
    }
}

#[test]
fn a_flipped_bit_anywhere_under_the_crc_is_corruption() {
    let good = batch();
    for at in position::CRC..good.len() {
        for bit in 0..8 {
            let mut bad = good.clone();
            bad[at] ^= 1 << bit;
            assert!(matches!(examined(&bad), Err(Refusal::Crc { .. })), "byte {at} bit {bit}");
        }
    }
    assert_eq!(Refusal::Crc { stored: 0, computed: 1 }.error_code(), 2);
}

#[test]
fn both_readers_of_records_take_and_refuse_the_same() {
    let plain = batch_of(Compression::None, &[NOW, NOW + 300, -1])[HEADER_BYTES..].to_vec();
    let mut roll = dice(0x5eed);
    let mut accepted = 0;
    for _ in 0..30_000 {
        let mut records = plain.clone();
        for _ in 0..roll(3) {
            let at = roll(records.len());
            records[at] = [roll(256) as u8, records[at] ^ (1 << roll(8)), 0xff, 1][roll(4)];
        }
        records.truncate(records.len() - if roll(8) == 0 { roll(records.len()) } else { 0 });
        let count = 3 + if roll(10) == 0 { roll(3) as i32 - 1 } else { 0 };
        let in_place = examined(&batch_around(Compression::None, &records, count));
        let streamed = examined(&batch_around(Compression::Lz4, &records, count));
        let facts = |examined: Examined| (examined.earliest, examined.latest, examined.inner_offsets, examined.first_keyless);
        // Where several things are wrong the two may meet another one first, but in the same record.
        let blame = |refusal: Refusal| refusal.record_index().expect("a record is to blame");
        assert_eq!(in_place.map(facts).map_err(blame), streamed.map(facts).map_err(blame), "{records:?}");
        accepted += i32::from(in_place.is_ok());
    }
    assert!((1_000..29_000).contains(&accepted), "{accepted} of the mutants pass");
}

#[test]
fn mutated_batches_neither_panic_nor_pass_unread() {
    let mut roll = dice(0xfeed);
    let mut scratch = Scratch::default();
    for codec in Codec::ALL {
        let good = batch_of(Compression::of(codec), &[NOW, NOW + 1, NOW + 2]);
        for round in 0..6_000 {
            let mut bad = good.clone();
            for _ in 0..=roll(3) {
                let at = roll(bad.len());
                bad[at] = roll(256) as u8;
            }
            let bad = if round % 8 == 0 { bad } else { resealed(bad) };
            let Ok(examined) = examine(&bad, &LIMITS, &mut scratch) else { continue };
            let (_, records) = open(&bad, LIMITS.decompressed_bytes_max, &mut scratch).unwrap();
            assert_eq!(records.map(Result::unwrap).count(), examined.record_count() as usize);
            carried_out(&bad, &ProduceRules { compression: CompressionRule::Always(Compression::Snappy), ..RULES });
        }
    }
}

#[test]
fn a_record_larger_than_the_window_streams_through() {
    let value: Vec<u8> = (0..400_000u32).map(|i| (i.wrapping_mul(i) >> 7) as u8).collect();
    for codec in Codec::ALL {
        let mut builder = BatchBuilder::new(BatchOptions { compression: Compression::of(codec), ..BatchOptions::default() });
        for _ in 0..3 {
            builder.append(&NewRecord { timestamp: NOW, key: None, value: Some(&value), headers: &[] }).unwrap();
        }
        let batch = builder.build(&mut Scratch::default()).unwrap();
        let mut scratch = Scratch::default();
        assert_eq!(examine(&batch, &LIMITS, &mut scratch).map(|examined| examined.record_count()), Ok(3));
        assert!(scratch.plain.len() <= 64 << 10);
    }
}

#[test]
fn a_bomb_is_refused_at_the_cap_with_little_memory() {
    // One record with a value of 64 MiB of zeros: length, attributes, two deltas, no key, value length.
    let mut records = vec![0x94, 0x80, 0x80, 0x40, 0, 0, 0, 1, 0x80, 0x80, 0x80, 0x40];
    records.resize(records.len() + (64 << 20), 0);
    for codec in [Codec::Gzip, Codec::Snappy, Codec::Lz4, Codec::Zstd] {
        let bomb = batch_around(Compression::of(codec), &records, 1);
        let mut scratch = Scratch::default();
        let refusal = examine(&bomb, &LIMITS, &mut scratch).unwrap_err();
        assert_eq!(refusal, Refusal::Codec(CodecError::TooLarge { bytes_max: LIMITS_FLOOR_BYTES }));
        assert_eq!(refusal.error_code(), 10);
        assert!(scratch.plain.capacity() <= 64 << 10);
    }
}

#[test]
fn limits_grow_with_the_greatest_message() {
    assert_eq!(Limits::for_message_bytes(1000), LIMITS);
    assert_eq!(Limits::for_message_bytes(1 << 20).decompressed_bytes_max, 20 << 20);
    assert_eq!(Limits::for_message_bytes(usize::MAX).decompressed_bytes_max, usize::MAX);
}

#[test]
fn zstd_needs_produce_version_7() {
    let examined = examined(&batch_of(Compression::of(Codec::Zstd), &[NOW])).unwrap();
    assert_eq!(examined.permitted_in(6), Err(Refusal::ZstdNotAllowed { version: 6 }));
    assert_eq!(Refusal::ZstdNotAllowed { version: 6 }.error_code(), 76);
    assert_eq!(examined.permitted_in(7), Ok(()));
}

#[test]
fn a_batch_as_it_should_be_is_kept() {
    let kept = Ok(Verdict { action: Action::Keep, max_timestamp: NOW + 2, log_append_time_ms: -1 });
    assert_eq!(judged(&batch(), &RULES), kept);
    // The level of the topic's codec is no reason to recompress.
    let gzip = batch_of(Compression::Gzip { level: 1 }, &[NOW, NOW + 2]);
    assert_eq!(
        judged(&gzip, &ProduceRules { compression: CompressionRule::Always(Compression::Gzip { level: 9 }), ..RULES }),
        kept
    );
    let timeless = batch_of(Compression::None, &[-1, -1]);
    assert_eq!(judged(&timeless, &RULES).map(|verdict| (verdict.action, verdict.max_timestamp)), Ok((Action::Keep, -1)));
}

#[test]
fn sizes_are_held_against_topic_and_segment() {
    let bytes = batch().len();
    let refusal = Refusal::MessageTooLarge { bytes, bytes_max: bytes - 1 };
    assert_eq!(judged(&batch(), &ProduceRules { max_message_bytes: bytes - 1, ..RULES }), Err(refusal));
    assert_eq!(refusal.error_code(), 10);
    let refusal = Refusal::RecordListTooLarge { bytes, bytes_max: bytes - 1 };
    assert_eq!(judged(&batch(), &ProduceRules { segment_bytes: bytes - 1, ..RULES }), Err(refusal));
    assert_eq!(refusal.error_code(), 18);
    assert!(judged(&batch(), &ProduceRules { max_message_bytes: bytes, segment_bytes: bytes, ..RULES }).is_ok());
}

#[test]
fn times_outside_of_the_window_are_refused_and_all_are_named() {
    let rules = ProduceRules { before_max_ms: 100, after_max_ms: 10, ..RULES };
    let batch = batch_of(Compression::Lz4, &[NOW - 100, -1, NOW - 101, NOW + 10, NOW + 11]);
    let old = Refusal::Timestamp { index: 2, timestamp: NOW - 101, earliest: NOW - 100, latest: NOW + 10 };
    let new = Refusal::Timestamp { index: 4, timestamp: NOW + 11, earliest: NOW - 100, latest: NOW + 10 };
    assert_eq!(judged(&batch, &rules), Err(old));
    assert_eq!((old.error_code(), old.record_index()), (32, Some(2)));
    let named = offenders(&batch, &rules, NOW, &LIMITS, &mut Scratch::default());
    assert_eq!(named, Ok(vec![Offender { index: 2, refusal: old }, Offender { index: 4, refusal: new }]));
    assert!(judged(&batch_of(Compression::None, &[NOW - 100, -1, NOW + 10]), &rules).is_ok());
    // The leader's clock takes the place of any time.
    assert!(judged(&batch, &ProduceRules { timestamp_type: TimestampType::LogAppendTime, ..rules }).is_ok());
}

#[test]
fn times_at_the_ends_of_the_range_do_not_overflow() {
    let endless = ProduceRules { before_max_ms: i64::MAX, after_max_ms: i64::MAX, ..RULES };
    assert!(judged(&batch_of(Compression::None, &[i64::MAX, 0]), &endless).is_ok());
    assert!(matches!(judged(&batch_of(Compression::None, &[i64::MAX, 0]), &RULES), Err(Refusal::Timestamp { .. })));
    assert!(matches!(judged(&batch_of(Compression::None, &[i64::MIN, 0]), &RULES), Err(Refusal::Timestamp { .. })));
    assert!(matches!(
        judged(&batch_of(Compression::None, &[-5]), &ProduceRules { before_max_ms: 5, ..RULES }),
        Err(Refusal::Timestamp { .. })
    ));
}

#[test]
fn a_producer_may_not_claim_log_append_time() {
    for timestamp_type in [TimestampType::CreateTime, TimestampType::LogAppendTime] {
        let mut batch = batch();
        set_max_timestamp(&mut batch, TimestampType::LogAppendTime, NOW).unwrap();
        assert_eq!(judged(&batch, &ProduceRules { timestamp_type, ..RULES }), Err(Refusal::TimestampType));
    }
    assert_eq!(Refusal::TimestampType.error_code(), 32);
}

#[test]
fn a_compacted_topic_needs_keys() {
    let rules = ProduceRules { compacted: true, ..RULES };
    let keyless = Refusal::Keyless { index: 1 };
    assert_eq!(judged(&batch(), &rules), Err(keyless));
    assert_eq!((keyless.error_code(), keyless.record_index()), (87, Some(1)));
    let named = offenders(&batch(), &rules, NOW, &LIMITS, &mut Scratch::default());
    assert_eq!(named, Ok(vec![Offender { index: 1, refusal: keyless }]));
    assert!(judged(&batch_of(Compression::None, &[NOW]), &rules).is_ok());
}

/// What is stored after a verdict, which must then be kept by the same rules.
fn carried_out(batch: &[u8], rules: &ProduceRules) -> Option<Vec<u8>> {
    let verdict = judged(batch, rules).ok()?;
    let mut stored = batch.to_vec();
    match verdict.action {
        Action::Keep => {}
        Action::Restamp { timestamp_type, max_timestamp } => {
            set_max_timestamp(&mut stored, timestamp_type, max_timestamp).unwrap()
        }
        Action::Rewrite(wanted) => stored = rewrite(batch, &wanted, rules, &LIMITS, &mut Scratch::default()).unwrap().to_vec(),
    }
    let header = BatchHeader::parse(&stored).unwrap();
    assert_eq!((header.max_timestamp, header.timestamp_type()), (verdict.max_timestamp, rules.timestamp_type));
    let summary = examined(&stored).unwrap();
    assert_eq!(summary.inner_offsets(), InnerOffsets::Consecutive);
    if rules.timestamp_type == TimestampType::CreateTime {
        assert_eq!(judge(&summary, rules, NOW).map(|verdict| verdict.action), Ok(Action::Keep));
    }
    Some(stored)
}

#[test]
fn a_wrong_maximum_and_log_append_time_are_patched() {
    let wrong = with_header(batch(), |header| header.max_timestamp = NOW + 50);
    assert_eq!(carried_out(&wrong, &RULES), Some(batch()));
    let rules = ProduceRules { timestamp_type: TimestampType::LogAppendTime, ..RULES };
    let verdict = judged(&batch(), &rules).unwrap();
    assert_eq!((verdict.max_timestamp, verdict.log_append_time_ms), (NOW, NOW));
    let stored = carried_out(&batch(), &rules).unwrap();
    assert_eq!(stored[HEADER_BYTES..], batch()[HEADER_BYTES..]);
}

#[test]
fn another_codec_is_recompressed_and_the_records_stay() {
    for from in Codec::ALL {
        let producer = ProducerStamp { id: 4, epoch: 1, base_sequence: 12 };
        let sent = with_header(batch_of(Compression::of(from), &[NOW, NOW + 2, NOW + 1]), |header| {
            *header = BatchHeader {
                producer_id: producer.id,
                producer_epoch: 1,
                base_sequence: 12,
                attributes: header.attributes | 0x50,
                ..*header
            };
        });
        for to in Codec::ALL {
            let rules = ProduceRules { compression: CompressionRule::Always(Compression::of(to)), ..RULES };
            let stored = carried_out(&sent, &rules).unwrap();
            assert_eq!(stored == sent, from == to);
            let header = BatchHeader::parse(&stored).unwrap();
            assert_eq!((header.codec(), header.is_transactional(), header.base_sequence), (Some(to), true, 12));
            assert_eq!(header.has_delete_horizon(), from == to, "a rewritten batch has none");
            let (mut a, mut b) = (Scratch::default(), Scratch::default());
            let contents =
                |records: crate::records::Records<'_>| format!("{:?}", records.map(Result::unwrap).collect::<Vec<_>>());
            assert_eq!(contents(open(&stored, 10_000, &mut a).unwrap().1), contents(open(&sent, 10_000, &mut b).unwrap().1));
        }
    }
}

#[test]
fn inner_offsets_with_gaps_are_renumbered_in_every_codec() {
    let mut builder = BatchBuilder::new(BatchOptions::default());
    let header = [crate::records::Header { key: b"h", value: None }];
    for offset_delta in [0, 3, 700] {
        builder.append_at(offset_delta, &NewRecord { timestamp: NOW, key: Some(b"k"), value: None, headers: &header }).unwrap();
    }
    let records = builder.build(&mut Scratch::default()).unwrap()[HEADER_BYTES..].to_vec();
    for codec in Codec::ALL {
        let scattered = batch_around(Compression::of(codec), &records, 3);
        assert_eq!(examined(&scattered).map(|examined| examined.inner_offsets()), Ok(InnerOffsets::Scattered));
        let stored = carried_out(&scattered, &RULES).unwrap();
        assert_eq!(BatchHeader::parse(&stored).unwrap().codec(), Some(codec));
        let mut scratch = Scratch::default();
        let (_, records) = open(&stored, 10_000, &mut scratch).unwrap();
        let found: Vec<_> = records.map(Result::unwrap).map(|record| (record.offset_delta, record.headers.len())).collect();
        assert_eq!(found, [(0, 1), (1, 1), (2, 1)]);
    }
}

#[test]
fn sizes_are_checked_again_after_a_rewrite() {
    let mut builder = BatchBuilder::new(BatchOptions { compression: Compression::of(Codec::Zstd), ..BatchOptions::default() });
    builder.append(&NewRecord { timestamp: NOW, key: None, value: Some(&[0; 9_000]), headers: &[] }).unwrap();
    let small = builder.build(&mut Scratch::default()).unwrap();
    let grown = |max_message_bytes, segment_bytes| {
        let rules =
            ProduceRules { max_message_bytes, segment_bytes, compression: CompressionRule::Always(Compression::None), ..RULES };
        let Action::Rewrite(wanted) = judged(&small, &rules).unwrap().action else { panic!("zstd is not none") };
        rewrite(&small, &wanted, &rules, &LIMITS, &mut Scratch::default())
    };
    assert!(matches!(grown(5_000, 1 << 20), Err(Refusal::MessageTooLarge { bytes_max: 5_000, .. })));
    assert!(matches!(grown(10_000, 6_000), Err(Refusal::RecordListTooLarge { bytes_max: 6_000, .. })));
    assert!(grown(10_000, 10_000).is_ok());
}

/// A seeded generator of numbers below a bound.
fn dice(seed: u64) -> impl FnMut(usize) -> usize {
    let mut state = seed | 1;
    move |sides| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) as usize % sides
    }
}
