//! A request header is refused, or comes back from its own encoding.
#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use strandline_protocol::header::RequestHeader;
use strandline_protocol::wire::{Message, Reader};

fuzz_target!(|data: &[u8]| {
    if let Ok((header, key)) = RequestHeader::read(&mut Reader::new(Bytes::copy_from_slice(data))) {
        let again = header.to_bytes(key.request_header_version(header.request_api_version));
        assert_eq!(RequestHeader::read(&mut Reader::new(again)), Ok((header, key)));
    }
});
