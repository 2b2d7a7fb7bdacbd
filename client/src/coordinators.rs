//! Who coordinates a group or a transactional id.

use strandline_protocol::messages::find_coordinator::{Coordinator, FindCoordinatorRequest, FindCoordinatorResponse};

use crate::client::Client;
use crate::metadata::MetadataError;

/// What a key names. Source: FindCoordinatorRequest.CoordinatorType.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum KeyType {
    Group = 0,
    Transaction = 1,
}

/// Asks any broker. The answer may be a refusal: its error code says so.
pub(crate) async fn find(client: &Client, key_type: KeyType, key: &str) -> Result<Coordinator, MetadataError> {
    let request =
        FindCoordinatorRequest { key: key.to_owned(), key_type: key_type as i8, coordinator_keys: vec![key.to_owned()] };
    Ok(single(client.shared.metadata.call_any(request).await?))
}

/// Before version 4 there is one key, and one answer.
fn single(response: FindCoordinatorResponse) -> Coordinator {
    let FindCoordinatorResponse { error_code, error_message, node_id, host, port, coordinators, .. } = response;
    let only = Coordinator { key: String::new(), node_id, host, port, error_code, error_message };
    coordinators.into_iter().next().unwrap_or(only)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_coordinator_is_read_from_answers_of_both_shapes() {
        let old = FindCoordinatorResponse { host: "a".to_owned(), port: 1, ..FindCoordinatorResponse::default() };
        let one = Coordinator { host: "b".to_owned(), port: 2, ..Coordinator::default() };
        let new = FindCoordinatorResponse { coordinators: vec![one], ..FindCoordinatorResponse::default() };
        assert_eq!(single(old).host, "a");
        assert_eq!(single(new).host, "b");
    }
}
