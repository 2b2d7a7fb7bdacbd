//! Bytes made from the specification come back the same through decoder and encoder, in every version of every definition.

use strandline_protocol::spec::Kind;

use crate::definitions;
use crate::generate::{self, Dice};

/// Random bodies for each version; the seeds are their numbers.
const BODIES: u64 = 30;

#[test]
fn every_version_of_every_definition_comes_back() {
    for definition in definitions::all() {
        for version in definition.spec.versions.iter() {
            for seed in 0..BODIES {
                let body = generate::body(definition.spec, version, &mut Dice::new(seed)).freeze();
                let name = definition.spec.body.name;
                let again = (definition.rewrite)(body.clone(), version)
                    .unwrap_or_else(|error| panic!("{name} v{version} seed {seed}: {error}"));
                assert_eq!(again, body, "{name} v{version} seed {seed}");
            }
        }
    }
}

#[test]
fn defaults_come_back_and_no_tagged_field_is_written_for_them() {
    for definition in definitions::all() {
        for version in definition.spec.versions.iter() {
            let body = generate::default_body(definition.spec, version).freeze();
            let again = (definition.rewrite)(body.clone(), version);
            assert_eq!(again, Ok(body), "{} v{version}", definition.spec.body.name);
        }
    }
}

#[test]
fn a_version_that_does_not_exist_is_refused() {
    // A coordinator's key has no version on the wire.
    for definition in definitions::all().iter().filter(|definition| definition.spec.kind != Kind::CoordinatorKey) {
        for version in [definition.spec.versions.first - 1, definition.spec.versions.last + 1] {
            let body = generate::default_body(definition.spec, version).freeze();
            assert!((definition.rewrite)(body, version).is_err(), "{} v{version}", definition.spec.body.name);
        }
    }
}

#[test]
fn bytes_behind_a_body_are_noticed() {
    for definition in definitions::all() {
        let version = definition.spec.versions.last;
        let mut body = generate::default_body(definition.spec, version);
        body.extend_from_slice(&[0]);
        assert!((definition.rewrite)(body.freeze(), version).is_err(), "{}", definition.spec.body.name);
    }
}
