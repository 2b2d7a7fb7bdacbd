//! A connection to a peer from the first packet to the agreed versions.

use std::io;
use std::time::Duration;

use strandline_node::io::{PeerAddress, PeerLost};
use strandline_protocol::api::Request;
use strandline_protocol::error::ErrorCode;
use strandline_protocol::frame::{frame_length, request_frame};
use strandline_protocol::header::ResponseHeader;
use strandline_protocol::messages::api_versions::{ApiVersion, ApiVersionsRequest, ApiVersionsResponse};
use strandline_protocol::wire::{Message, Reader};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout, timeout_at};

/// Brokers since Kafka 2.4 know it, and Kafka 4 serves none that is older than 0.
const API_VERSIONS_VERSION: i16 = 3;

/// A peer that does not take the connection within this is unreachable, however long the asker would wait.
const CONNECT_MAX: Duration = Duration::from_secs(3);

/// The list of APIs takes a kilobyte or two.
const API_VERSIONS_BYTES_MAX: usize = 1 << 20;

/// A connection that is ready, and what the peer serves.
pub(super) struct Ready {
    pub(super) stream: TcpStream,
    pub(super) served: Vec<ApiVersion>,
}

/// Connects and asks for the versions.
pub(super) async fn open(to: &PeerAddress, client_id: &str, due: Instant) -> Result<Ready, PeerLost> {
    let connected = timeout(CONNECT_MAX, TcpStream::connect((&*to.host, to.port)));
    let stream = match timeout_at(due, connected).await {
        Err(_) | Ok(Err(_)) => return Err(PeerLost::TimedOut),
        Ok(Ok(Err(error))) if error.kind() == io::ErrorKind::ConnectionRefused => return Err(PeerLost::Refused),
        Ok(Ok(Err(_))) => return Err(PeerLost::Broken),
        Ok(Ok(Ok(stream))) => stream,
    };
    // Requests are small and each is waited for.
    let _ = stream.set_nodelay(true);
    match timeout_at(due, greet(stream, client_id)).await {
        Err(_) => Err(PeerLost::TimedOut),
        Ok(Err(_)) => Err(PeerLost::Broken),
        Ok(Ok(ready)) => Ok(ready),
    }
}

async fn greet(mut stream: TcpStream, client_id: &str) -> io::Result<Ready> {
    let request = ApiVersionsRequest {
        client_software_name: "strandline".to_owned(),
        client_software_version: env!("CARGO_PKG_VERSION").to_owned(),
    };
    let frame = request_frame(API_VERSIONS_VERSION, 0, Some(client_id), &Request::from(request)).concat();
    stream.write_all(&frame).await?;
    let mut prefix = [0; 4];
    stream.read_exact(&mut prefix).await?;
    let mut body = vec![0; frame_length(prefix, API_VERSIONS_BYTES_MAX).map_err(io::Error::other)?];
    stream.read_exact(&mut body).await?;
    let mut reader = Reader::new(body.into());
    // The header of this answer is always the oldest one (KIP-511).
    ResponseHeader::decode(&mut reader, 0).map_err(io::Error::other)?;
    let response = ApiVersionsResponse::decode(&mut reader, API_VERSIONS_VERSION).map_err(io::Error::other)?;
    if response.error_code != ErrorCode::NONE {
        return Err(io::Error::other("the peer does not tell its versions"));
    }
    Ok(Ready { stream, served: response.api_keys })
}
