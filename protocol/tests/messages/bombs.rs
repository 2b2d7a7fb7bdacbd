//! Bytes from someone who means harm: no input makes a decoder panic, and none makes it reserve much more than it was sent.

use bytes::Bytes;
use strandline_protocol::wire::WireErrorKind;

use crate::counting::requested;
use crate::definitions::{self, Definition};
use crate::generate::{self, Dice};

/// What a decoder may ask for in all when it is sent a few bytes: the largest struct, a list of the elements that could still
/// follow, and an error with its path.
const SHORT_BODY_BYTES_MAX: usize = 16 * 1024;

/// Random bodies that are damaged, for each version.
const MUTATIONS: u64 = 60;

/// Lengths and counts as large as their encodings allow, and nothing behind them.
const LIES: [&[u8]; 8] = [
    &[0x7f, 0xff, 0xff, 0xff],
    &[0x7f, 0xff],
    &[0xff, 0xff, 0xff, 0xff, 0x0f],
    &[0xff, 0xff, 0xff, 0xff, 0x07],
    &[0x80, 0x00, 0x00, 0x00],
    &[0x10, 0x00, 0x00, 0x00],
    &[0x00, 0xff, 0xff, 0xff],
    &[0x01, 0xff, 0xff, 0xff, 0xff, 0x0f],
];

#[test]
fn a_huge_count_behind_any_prefix_reserves_next_to_nothing() {
    each_version(|definition, version| {
        let body = generate::body(definition.spec, version, &mut Dice::new(1)).freeze();
        for cut in 0..=body.len().min(160) {
            for lie in LIES {
                let bytes = Bytes::from([&body[..cut], lie].concat());
                let sent = bytes.len();
                let (_, bytes) = requested(|| (definition.rewrite)(bytes, version));
                assert!(
                    bytes <= allowed(sent),
                    "{} v{version}: {bytes} bytes for {lie:x?} behind {cut}",
                    definition.spec.body.name
                );
            }
        }
    });
}

/// What decoding and encoding again may ask for: a decoded struct is larger than its bytes, by a bounded factor.
fn allowed(sent: usize) -> usize {
    SHORT_BODY_BYTES_MAX + 512 * sent
}

#[test]
fn a_body_cut_anywhere_is_an_error() {
    each_version(|definition, version| {
        let body = generate::body(definition.spec, version, &mut Dice::new(2)).freeze();
        for cut in 0..body.len() {
            assert!(
                (definition.rewrite)(body.slice(..cut), version).is_err(),
                "{} v{version} cut at {cut}",
                definition.spec.body.name
            );
        }
    });
}

#[test]
fn damaged_bodies_are_decoded_or_refused_and_what_is_decoded_can_be_encoded() {
    each_version(|definition, version| {
        for seed in 0..MUTATIONS {
            let mut dice = Dice::new(seed);
            let mut body = generate::body(definition.spec, version, &mut dice);
            for _ in 0..=dice.below(3) {
                damage(&mut body, &mut dice);
            }
            let sent = body.len();
            let (again, bytes) = requested(|| (definition.rewrite)(body.freeze(), version));
            let name = definition.spec.body.name;
            assert!(bytes <= allowed(sent), "{name} v{version} seed {seed}: {bytes} bytes for {sent}");
            // What was accepted has one encoding, and that one is accepted and stays.
            if let Ok(again) = again {
                assert_eq!((definition.rewrite)(again.clone(), version), Ok(again), "{name} v{version} seed {seed}");
            }
        }
    });
}

fn damage(body: &mut bytes::BytesMut, dice: &mut Dice) {
    if body.is_empty() {
        return;
    }
    let at = dice.below(body.len());
    match dice.below(4) {
        0 => body[at] = dice.next() as u8,
        1 => body[at] = [0, 1, 0x7f, 0x80, 0xff][dice.below(5)],
        2 => body.truncate(at),
        _ => body[at..].reverse(),
    }
}

#[test]
fn an_error_names_the_field() {
    let produce =
        definitions::all().into_iter().find(|definition| definition.spec.body.name == "ProduceRequest").expect("it exists");
    // No transactional id, acks, timeout, one topic "t" with one partition whose index is cut off.
    let bytes = Bytes::from_static(&[0, 0, 0, 0, 0, 0, 0, 2, 2, b't', 2, 0, 0]);
    let error = (produce.rewrite)(bytes, 9).unwrap_err();
    assert_eq!(error.path(), "ProduceRequest.topic_data[0].partition_data");
    assert_eq!(error.kind(), &WireErrorKind::CountAboveRemaining { count: 1, remaining: 2 });
    let bytes = Bytes::from_static(&[0, 0, 0, 0, 0, 0, 0, 2, 2, b't', 2, 0, 0, 0, 1, 0x64, 1, 2, 3, 4]);
    let error = (produce.rewrite)(bytes, 9).unwrap_err();
    assert_eq!(
        error.to_string(),
        "ProduceRequest.topic_data[0].partition_data[0].records: truncated: 99 bytes needed, 4 remain"
    );
}

fn each_version(check: impl Fn(&Definition, i16)) {
    for definition in definitions::all() {
        definition.spec.versions.iter().for_each(|version| check(&definition, version));
    }
}
