//! What a connection does with the first bytes that a stranger sends: length, header, body.
#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use strandline_protocol::api::Request;
use strandline_protocol::frame::{frame_length, request_frame};
use strandline_protocol::header::RequestHeader;
use strandline_protocol::wire::Reader;

/// Kafka's limit before authentication.
const FRAME_BYTES_MAX: usize = 512 * 1024;

fuzz_target!(|data: &[u8]| {
    let Some((prefix, rest)) = data.split_first_chunk() else {
        return;
    };
    let Ok(length) = frame_length(*prefix, FRAME_BYTES_MAX) else {
        return;
    };
    let Some(frame) = rest.get(..length) else {
        return;
    };
    let mut reader = Reader::new(Bytes::copy_from_slice(frame));
    let Ok((header, key)) = RequestHeader::read(&mut reader) else {
        return;
    };
    let version = header.request_api_version;
    if let Ok(request) = Request::decode(key, version, &mut reader) {
        let parts = request_frame(version, header.correlation_id, header.client_id.as_deref(), &request);
        let whole = parts.concat();
        assert_eq!(frame_length(*whole.first_chunk().expect("a length"), usize::MAX), Ok(whole.len() - 4));
    }
});
