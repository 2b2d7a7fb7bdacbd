//! The headers in front of requests and responses.
//!
//! Which version of a header stands before a body follows from the API and its version: `ApiKey::request_header_version` and
//! `ApiKey::response_header_version`. Request header 0 left with the last version of ControlledShutdown in Kafka 4.0.

use strandline_protocol_derive::Wire;

use crate::api::{ApiKey, UnknownApiKey};
use crate::wire::{Message, Reader, WireError};

/// Versions 1 to 2: v2 carries tagged fields (KIP-482).
///
/// The client id keeps its old length prefix in version 2, so that a broker can read the header of an ApiVersions request from
/// the future.
#[derive(Clone, Debug, PartialEq, Eq, Wire)]
#[wire(kind = "header", versions = 1..=2, flexible = 2..)]
pub struct RequestHeader {
    pub request_api_key: i16,
    pub request_api_version: i16,
    pub correlation_id: i32,
    #[wire(nullable, flexible = none)]
    pub client_id: Option<String>,
}

/// Versions 0 to 1: v1 carries tagged fields (KIP-482).
#[derive(Clone, Debug, PartialEq, Eq, Wire)]
#[wire(kind = "header", versions = 0..=1, flexible = 1..)]
pub struct ResponseHeader {
    pub correlation_id: i32,
}

/// Why the header of a request cannot be read. After either error the connection is of no use: nothing can be answered.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HeaderError {
    #[error(transparent)]
    UnknownApiKey(#[from] UnknownApiKey),
    #[error(transparent)]
    Wire(#[from] WireError),
}

impl RequestHeader {
    /// Reads the header in the version that its own first four bytes call for; the API's version need not exist.
    ///
    /// # Errors
    /// When the API is unknown or the bytes are no header.
    pub fn read(reader: &mut Reader) -> Result<(Self, ApiKey), HeaderError> {
        let mut ahead = reader.clone();
        let (key, version) = (ahead.int16()?, ahead.int16()?);
        let key = ApiKey::try_from(key)?;
        let header = Self::decode(reader, key.request_header_version(version))?;
        Ok((header, key))
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    #[test]
    fn a_header_from_the_future_of_api_versions_is_read() {
        let header =
            RequestHeader { request_api_key: 18, request_api_version: 99, correlation_id: 7, client_id: Some("c".into()) };
        let bytes = header.to_bytes(2);
        assert_eq!(&bytes[..], [0, 18, 0, 99, 0, 0, 0, 7, 0, 1, b'c', 0]);
        assert_eq!(RequestHeader::read(&mut Reader::new(bytes)), Ok((header, ApiKey::ApiVersions)));
    }

    #[test]
    fn a_header_of_an_unknown_api_is_refused() {
        let bytes = Bytes::from_static(&[0x7f, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff]);
        assert_eq!(RequestHeader::read(&mut Reader::new(bytes)), Err(HeaderError::UnknownApiKey(UnknownApiKey(0x7f00))));
    }
}
