//! The first exchange on a connection: which APIs the server serves, in which versions.
//!
//! The request goes out in the newest version. A server that does not know it answers in version 0 with an error and the
//! versions that it has (KIP-511); older ones answer with the error alone.

use std::sync::Arc;

use bytes::Bytes;
use strandline_protocol::api::ApiKey;
use strandline_protocol::error::ErrorCode;
use strandline_protocol::frame::request_frame;
use strandline_protocol::header::ResponseHeader;
use strandline_protocol::messages::api_versions::{ApiVersionsRequest, ApiVersionsResponse};
use strandline_protocol::wire::{Message, Reader, WireError};
use tokio::net::TcpStream;

use super::frames::{Frames, write_parts};
use super::{ConnectionSettings, Served, ServedVersions};
use crate::address::Address;
use crate::error::RequestError;

/// Attempts at the exchange: the newest version, the one that the server names, version 0.
const ATTEMPTS_MAX: usize = 3;

/// Connects to the first of the host's addresses that accepts, and asks for the versions.
pub(super) async fn connect(address: &Address, settings: &ConnectionSettings) -> Result<(TcpStream, Served), RequestError> {
    let unreachable = |error| RequestError::Unreachable { address: address.clone(), source: Arc::new(error) };
    let stream = TcpStream::connect((address.host.as_str(), address.port)).await.map_err(unreachable)?;
    // Requests are gathered by us already; waiting for more would only cost time.
    stream.set_nodelay(true).map_err(unreachable)?;
    let mut frames = Frames::new(stream, address.clone(), settings.response_bytes_max);
    let served = negotiate(&mut frames, address, settings).await?;
    let stream = frames
        .into_socket()
        .ok_or_else(|| RequestError::Protocol { address: address.clone(), what: "it sent more than it was asked for" })?;
    Ok((stream, served))
}

async fn negotiate(
    frames: &mut Frames<TcpStream>,
    address: &Address,
    settings: &ConnectionSettings,
) -> Result<Served, RequestError> {
    let lost = |error| RequestError::Disconnected { address: address.clone(), source: Arc::new(error) };
    let malformed = |error| RequestError::Malformed { address: address.clone(), error };
    let mut version = ApiKey::ApiVersions.row().stable_last;
    for attempt in 0..ATTEMPTS_MAX {
        let request = request_frame(version, attempt as i32, Some(&settings.client_id), &introduction().into());
        write_parts(frames.socket_mut(), request).await.map_err(lost)?;
        let response = decode(frames.next().await?, version).map_err(malformed)?;
        match response.error_code {
            ErrorCode::NONE => return Ok(served(&response)),
            ErrorCode::UNSUPPORTED_VERSION if version > 0 => version = next_version(&response, version),
            code => return Err(RequestError::Refused { address: address.clone(), code }),
        }
    }
    Err(RequestError::UnsupportedApi { address: address.clone(), api: ApiKey::ApiVersions })
}

fn introduction() -> ApiVersionsRequest {
    ApiVersionsRequest {
        client_software_name: env!("CARGO_PKG_NAME").to_owned(),
        client_software_version: env!("CARGO_PKG_VERSION").to_owned(),
    }
}

/// Reads the answer; one that refuses the version is written in version 0.
fn decode(frame: Bytes, version: i16) -> Result<ApiVersionsResponse, WireError> {
    let mut reader = Reader::new(frame);
    ResponseHeader::decode(&mut reader, ApiKey::ApiVersions.response_header_version(version))?;
    let refused = ErrorCode(reader.clone().int16()?) == ErrorCode::UNSUPPORTED_VERSION;
    ApiVersionsResponse::decode(&mut reader, if refused { 0 } else { version })
}

/// The version to try after `refused`: the newest that the server names, always an older one.
fn next_version(response: &ApiVersionsResponse, refused: i16) -> i16 {
    let named = table(response).get(&(ApiKey::ApiVersions as i16)).map_or(0, |(_, last)| *last);
    named.clamp(0, refused - 1)
}

fn served(response: &ApiVersionsResponse) -> Served {
    let features = response.finalized_features.iter().map(|one| (one.name.clone(), one.max_version_level));
    // A server that does not know the cluster yet says epoch -1.
    let is_known = response.finalized_features_epoch >= 0;
    Served { versions: table(response), finalized: features.filter(|_| is_known).collect() }
}

fn table(response: &ApiVersionsResponse) -> ServedVersions {
    response.api_keys.iter().map(|row| (row.api_key, (row.min_version, row.max_version))).collect()
}

#[cfg(test)]
mod tests {
    use strandline_protocol::messages::api_versions::{ApiVersion, FinalizedFeatureKey};

    use super::*;

    fn refusal(api_keys: Vec<ApiVersion>) -> ApiVersionsResponse {
        ApiVersionsResponse { error_code: ErrorCode::UNSUPPORTED_VERSION, api_keys, ..Default::default() }
    }

    #[test]
    fn a_refusal_is_read_in_version_0_whatever_was_asked() {
        let response = refusal(vec![ApiVersion { api_key: 18, min_version: 0, max_version: 3 }]);
        let mut frame = vec![0, 0, 0, 0];
        frame.extend_from_slice(&response.to_bytes(0));
        assert_eq!(decode(frame.into(), 4), Ok(response));
    }

    #[test]
    fn features_count_once_the_server_knows_the_cluster() {
        let feature = FinalizedFeatureKey { name: "f".to_owned(), max_version_level: 2, min_version_level: 1 };
        let answer = |finalized_features_epoch| ApiVersionsResponse {
            finalized_features_epoch,
            finalized_features: vec![feature.clone()],
            ..Default::default()
        };
        assert_eq!(served(&answer(7)).finalized.get("f"), Some(&2));
        assert!(served(&answer(-1)).finalized.is_empty());
    }

    #[test]
    fn the_next_version_is_the_one_that_the_server_names_and_always_older() {
        let named = |max_version| refusal(vec![ApiVersion { api_key: 18, min_version: 0, max_version }]);
        assert_eq!(next_version(&named(3), 4), 3);
        assert_eq!(next_version(&named(9), 4), 3);
        assert_eq!(next_version(&refusal(Vec::new()), 4), 0);
    }
}
