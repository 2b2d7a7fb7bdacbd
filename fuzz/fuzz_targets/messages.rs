//! Every request and response in every version: what is decoded has one encoding, which is decoded to the same bytes again.
//!
//! The first two bytes choose the API and the version.
#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use strandline_protocol::api::{APIS, ApiKey, Request, Response};
use strandline_protocol::wire::{Reader, WireError, Writer};

fuzz_target!(|data: &[u8]| {
    let Some(([api, version], body)) = data.split_first_chunk() else {
        return;
    };
    let row = &APIS[usize::from(*api) % APIS.len()];
    let versions = row.request.versions;
    let count = versions.last - versions.first + 1;
    let version = versions.first + i16::from(*version) % count;
    comes_back(row.key, version, body, request);
    comes_back(row.key, version, body, response);
});

type Rewrite = fn(ApiKey, i16, Bytes) -> Result<Bytes, WireError>;

fn comes_back(key: ApiKey, version: i16, body: &[u8], rewrite: Rewrite) {
    if let Ok(once) = rewrite(key, version, Bytes::copy_from_slice(body)) {
        assert_eq!(rewrite(key, version, once.clone()), Ok(once));
    }
}

fn request(key: ApiKey, version: i16, body: Bytes) -> Result<Bytes, WireError> {
    let request = Request::decode(key, version, &mut Reader::new(body))?;
    let mut writer = Writer::new();
    request.encode(&mut writer, version);
    Ok(writer.into_bytes())
}

fn response(key: ApiKey, version: i16, body: Bytes) -> Result<Bytes, WireError> {
    let response = Response::decode(key, version, &mut Reader::new(body))?;
    let mut writer = Writer::new();
    response.encode(&mut writer, version);
    Ok(writer.into_bytes())
}
