//! Frames: a length of four bytes, then a header and a body.
//!
//! ```text
//! | length int32 | header | body |      length counts what follows it
//! ```
//! Reading exactly one frame, and how long that may take, is the business of whoever owns the connection.

use bytes::Bytes;

use crate::api::{Request, Response};
use crate::header::{RequestHeader, ResponseHeader};
use crate::wire::{Message, Writer};

/// Bytes of the length in front of a frame.
pub const LENGTH_BYTES: usize = 4;

/// Why a length prefix was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    #[error("negative frame length {0}")]
    Negative(i32),
    #[error("frame of {bytes} bytes above the limit of {limit}")]
    TooLarge { bytes: usize, limit: usize },
}

/// Bytes that follow the prefix.
///
/// # Errors
/// When the length is negative or above `limit`; nothing may be reserved for such a frame.
pub fn frame_length(prefix: [u8; LENGTH_BYTES], limit: usize) -> Result<usize, FrameError> {
    let length = i32::from_be_bytes(prefix);
    let bytes = usize::try_from(length).map_err(|_| FrameError::Negative(length))?;
    if bytes > limit { Err(FrameError::TooLarge { bytes, limit }) } else { Ok(bytes) }
}

/// A request as the parts of a gathered write, length first.
#[must_use]
pub fn request_frame(version: i16, correlation_id: i32, client_id: Option<&str>, request: &Request) -> Vec<Bytes> {
    let key = request.key();
    let header = RequestHeader {
        request_api_key: key as i16,
        request_api_version: version,
        correlation_id,
        client_id: client_id.map(str::to_owned),
    };
    frame(|writer| {
        header.encode(writer, key.request_header_version(version));
        request.encode(writer, version);
    })
}

/// A response as the parts of a gathered write, length first.
#[must_use]
pub fn response_frame(version: i16, correlation_id: i32, response: &Response) -> Vec<Bytes> {
    let header = ResponseHeader { correlation_id };
    frame(|writer| {
        header.encode(writer, response.key().response_header_version(version));
        response.encode(writer, version);
    })
}

fn frame(write: impl FnOnce(&mut Writer)) -> Vec<Bytes> {
    let mut writer = Writer::new();
    writer.put_int32(0);
    write(&mut writer);
    let length = i32::try_from(writer.len() - LENGTH_BYTES).expect("limits keep a frame far below two gigabytes");
    writer.patch_int32(0, length);
    writer.finish()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::messages::api_versions::ApiVersionsRequest;

    #[test]
    fn a_length_above_the_limit_is_refused() {
        assert_eq!(frame_length([0, 0, 1, 0], 256), Ok(256));
        assert_eq!(frame_length([0, 0, 1, 1], 256), Err(FrameError::TooLarge { bytes: 257, limit: 256 }));
        assert_eq!(frame_length([0xff; 4], 256), Err(FrameError::Negative(-1)));
    }

    #[test]
    fn a_frame_counts_what_follows_its_length() {
        let parts = request_frame(0, 5, Some("me"), &ApiVersionsRequest::default().into());
        assert_eq!(parts.concat(), [0, 0, 0, 12, 0, 18, 0, 0, 0, 0, 0, 5, 0, 2, b'm', b'e']);
    }
}
