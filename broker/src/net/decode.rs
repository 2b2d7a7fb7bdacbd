//! From a frame to what the node is asked: header, version, body, and for Produce the judgement over its batches.
//!
//! Pure work, done by the connection's task in parallel with others. A frame that cannot be answered ends its
//! connection, as in Kafka: an unknown API or a version that is not served (except ApiVersions, which is answered in
//! version 0 with the versions that are, KIP-511), or bytes that are no such request.

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use strandline_node::apis;
use strandline_node::io::{Asked, ListenerKind, RulesTable};
use strandline_protocol::api::{ApiKey, Request, Response};
use strandline_protocol::error::ErrorCode;
use strandline_protocol::header::{HeaderError, RequestHeader};
use strandline_protocol::messages::api_versions::{ApiVersion, ApiVersionsResponse};
use strandline_protocol::wire::{Message, Reader, WireError};

use crate::net::answers::ANSWER_BYTES_MAX;
use crate::net::batches;
use crate::net::replies::Question;

/// What one Fetch may ask for, as its own limits are: a number of the wire.
const FETCH_BYTES_MAX: i32 = ANSWER_BYTES_MAX as i32;

/// Bytes of a request that carries no records: twenty thousand partitions with all their names and settings fit in. What is
/// decoded of it takes several times its size.
const QUESTION_BYTES_MAX: usize = 16 << 20;

/// Why a connection cannot go on.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Unreadable {
    #[error(transparent)]
    Header(#[from] HeaderError),
    #[error("{key} version {version} is not served")]
    NotServed { key: ApiKey, version: i16 },
    #[error("a request to {key} has at most {QUESTION_BYTES_MAX} bytes, this one has {bytes}")]
    TooLarge { key: ApiKey, bytes: usize },
    #[error(transparent)]
    Body(#[from] WireError),
}

/// A frame that was read.
pub(crate) enum Decoded {
    /// For the node.
    Ask(Asked),
    /// Answered without it.
    Answer(Box<Response>),
}

/// What a frame says of itself.
pub(crate) struct Opened {
    pub(crate) question: Question,
    pub(crate) client_id: Option<String>,
    body: Reader,
}

/// Reads a frame's header.
///
/// # Errors
/// It is none, or names an API that does not exist.
pub(crate) fn open(frame: Bytes, received: Instant) -> Result<Opened, Unreadable> {
    let bytes = frame.len();
    let mut reader = Reader::new(frame);
    let (header, key) = RequestHeader::read(&mut reader)?;
    let question = Question { key, version: header.request_api_version, correlation: header.correlation_id, bytes, received };
    Ok(Opened { question, client_id: header.client_id, body: reader })
}

/// Reads the body. An answer that is given here goes out in the version that `question` then has.
///
/// # Errors
/// The version is not served at this listener, or the bytes are not the request in it.
pub(crate) fn body(
    opened: &mut Opened,
    listener: ListenerKind,
    rules: &RulesTable,
    now_ms: i64,
) -> Result<Decoded, Unreadable> {
    let Question { key, version, .. } = opened.question;
    if apis::find(key as i16, version, listener).is_none() {
        if key == ApiKey::ApiVersions {
            opened.question.version = 0;
            return Ok(Decoded::Answer(Box::new(versions_of_api_versions().into())));
        }
        return Err(Unreadable::NotServed { key, version });
    }
    if key == ApiKey::Produce {
        let request = Message::decode(&mut opened.body, version)?;
        let checked = batches::check(request, version, rules, now_ms);
        return Ok(Decoded::Ask(Asked::Produce(Box::new(checked))));
    }
    if opened.question.bytes > QUESTION_BYTES_MAX {
        return Err(Unreadable::TooLarge { key, bytes: opened.question.bytes });
    }
    // What the node keeps of such a request must not hold on to the memory of a whole burst.
    let mut own = Reader::new(Bytes::copy_from_slice(&opened.body.rest()));
    let mut request = Request::decode(key, version, &mut own)?;
    if let Request::Fetch(fetch) = &mut request {
        fetch.max_bytes = fetch.max_bytes.min(FETCH_BYTES_MAX);
        fetch.min_bytes = fetch.min_bytes.min(fetch.max_bytes);
    }
    Ok(Decoded::Ask(Asked::Other(Box::new(request))))
}

/// The client's id, shared with the request before if it is the same.
pub(crate) fn shared_client_id(last: &mut Arc<str>, client_id: Option<&str>) -> Arc<str> {
    let client_id = client_id.unwrap_or_default();
    if &**last != client_id {
        *last = client_id.into();
    }
    Arc::clone(last)
}

fn versions_of_api_versions() -> ApiVersionsResponse {
    let served = apis::SERVED.iter().find(|served| served.api == ApiKey::ApiVersions);
    let keys = served.map(|served| ApiVersion {
        api_key: served.key,
        min_version: served.advertised_from,
        max_version: served.versions.last,
    });
    ApiVersionsResponse {
        error_code: ErrorCode::UNSUPPORTED_VERSION,
        api_keys: keys.into_iter().collect(),
        ..ApiVersionsResponse::default()
    }
}

#[cfg(test)]
mod tests {
    use strandline_protocol::frame::request_frame;
    use strandline_protocol::messages::api_versions::ApiVersionsRequest;
    use strandline_protocol::messages::metadata::MetadataRequest;
    use strandline_protocol::messages::produce::ProduceRequest;

    use super::*;

    fn decoded(version: i16, request: impl Into<Request>) -> Result<(Question, Decoded), Unreadable> {
        let frame = request_frame(version, 7, Some("me"), &request.into()).concat();
        let mut opened = open(Bytes::from(frame).slice(4..), Instant::now())?;
        assert_eq!(opened.client_id.as_deref(), Some("me"));
        let decoded = body(&mut opened, ListenerKind::Client, &RulesTable::default(), 0)?;
        Ok((opened.question, decoded))
    }

    #[test]
    fn a_request_is_decoded_in_its_version() {
        let (question, decoded) = decoded(4, MetadataRequest::default()).unwrap();
        assert_eq!((question.key, question.version, question.correlation), (ApiKey::Metadata, 4, 7));
        assert!(matches!(decoded, Decoded::Ask(Asked::Other(request)) if request.key() == ApiKey::Metadata));
        let (_, decoded) = self::decoded(9, ProduceRequest::default()).unwrap();
        assert!(matches!(decoded, Decoded::Ask(Asked::Produce(_))));
    }

    #[test]
    fn api_versions_from_the_future_is_answered_in_version_0() {
        let mut frame = request_frame(4, 7, Some("me"), &ApiVersionsRequest::default().into()).concat().split_off(4);
        frame[3] = 99;
        let mut opened = open(frame.into(), Instant::now()).unwrap();
        let Ok(Decoded::Answer(response)) = body(&mut opened, ListenerKind::Client, &RulesTable::default(), 0) else {
            panic!("answered here")
        };
        let Response::ApiVersions(response) = *response else { panic!("of its own kind") };
        assert_eq!((opened.question.version, response.error_code), (0, ErrorCode::UNSUPPORTED_VERSION));
        assert_eq!(response.api_keys.len(), 1);
    }

    #[test]
    fn what_is_not_served_cannot_be_answered() {
        let mut frame = request_frame(4, 7, Some("me"), &MetadataRequest::default().into()).concat().split_off(4);
        frame[3] = 99;
        let mut opened = open(frame.clone().into(), Instant::now()).unwrap();
        let error = body(&mut opened, ListenerKind::Client, &RulesTable::default(), 0);
        assert!(matches!(error, Err(Unreadable::NotServed { key: ApiKey::Metadata, version: 99 })));
        frame[0] = 0x70;
        assert!(matches!(open(frame.into(), Instant::now()), Err(Unreadable::Header(_))));
    }

    #[test]
    fn a_client_id_is_kept_once() {
        let mut last = Arc::from("");
        let first = shared_client_id(&mut last, Some("me"));
        assert!(Arc::ptr_eq(&first, &shared_client_id(&mut last, Some("me"))));
        assert_eq!(&*shared_client_id(&mut last, None), "");
    }
}
