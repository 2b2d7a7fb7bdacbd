//! Every message in every version that the crate `kafka-protocol` knows too: it reads our bytes, and writes them again as we
//! do.

use std::collections::BTreeSet;

use bytes::{Bytes, BytesMut};
use kafka_protocol::messages::{ApiKey as TheirKey, RequestHeader, RequestKind, ResponseHeader, ResponseKind};
use kafka_protocol::protocol::{Decodable, Encodable};
use strandline_protocol::spec::{Kind, MessageSpec};

use crate::definitions;
use crate::generate::{self, Dice};

/// Random bodies for each version; the seeds are their numbers.
const BODIES: u64 = 20;

/// What the other crate cannot confirm, each with the reason; the test fails, too, when an entry is no longer needed.
const UNCONFIRMED: &[(&str, i16, &str)] = &[
    ("InitProducerIdRequest", 6, OFFERED_ONLY),
    ("OffsetCommitRequest", 10, OFFERED_ONLY),
    ("OffsetFetchRequest", 10, OFFERED_ONLY),
];

const OFFERED_ONLY: &str = "its table of versions goes by the response, its request ends one version earlier";

#[test]
fn another_codec_reads_and_writes_the_same_bytes() {
    let mut compared = 0;
    let mut differing = BTreeSet::new();
    for definition in definitions::all() {
        for version in definition.spec.versions.iter() {
            let Some(theirs) = theirs(definition.spec, version) else {
                continue;
            };
            compared += 1;
            for seed in 0..BODIES {
                let body = generate::body(definition.spec, version, &mut Dice::new(seed)).freeze();
                let ours = (definition.rewrite)(body.clone(), version).expect("what the specification allows can be read");
                if theirs(body) != Ok(ours) {
                    differing.insert((definition.spec.body.name, version));
                }
            }
        }
    }
    let expected = UNCONFIRMED.iter().map(|(name, version, _)| (*name, *version)).collect();
    assert_eq!(differing, expected);
    assert!(compared > 300, "only {compared} versions were compared");
}

type Codec = Box<dyn Fn(Bytes) -> Result<Bytes, String>>;

/// The other codec, where it has the message in this version.
fn theirs(spec: &MessageSpec, version: i16) -> Option<Codec> {
    match (spec.kind, spec.body.name) {
        (Kind::Request, _) => their_key(spec, version)
            .map(|key| codec(version, move |bytes| RequestKind::decode(key, bytes, version), RequestKind::encode)),
        (Kind::Response, _) => their_key(spec, version)
            .map(|key| codec(version, move |bytes| ResponseKind::decode(key, bytes, version), ResponseKind::encode)),
        (Kind::Header, "RequestHeader") => {
            Some(codec(version, move |bytes| RequestHeader::decode(bytes, version), RequestHeader::encode))
        }
        (Kind::Header, "ResponseHeader") => {
            Some(codec(version, move |bytes| ResponseHeader::decode(bytes, version), ResponseHeader::encode))
        }
        _ => None,
    }
}

fn their_key(spec: &MessageSpec, version: i16) -> Option<TheirKey> {
    let key = TheirKey::try_from(spec.key?).ok()?;
    let versions = key.valid_versions();
    (versions.min..=versions.max).contains(&version).then_some(key)
}

fn codec<M: 'static, D: ToString, E: ToString + 'static>(
    version: i16,
    decode: impl Fn(&mut Bytes) -> Result<M, D> + 'static,
    encode: fn(&M, &mut BytesMut, i16) -> Result<(), E>,
) -> Codec {
    Box::new(move |mut bytes| {
        let mut written = BytesMut::new();
        let message = decode(&mut bytes).map_err(|error| error.to_string())?;
        encode(&message, &mut written, version).map_err(|error| error.to_string())?;
        Ok(written.freeze())
    })
}
