//! What both shells do between the node and its peers: the version of a request, and a look at records that came back.
//! Pure; connections are the shell's.

use strandline_protocol::api::{APIS, ApiKey, Response};
use strandline_protocol::error::ErrorCode;
use strandline_protocol::messages::api_versions::ApiVersion;
use strandline_protocol::messages::fetch::FetchResponse;
use strandline_protocol::records::whole_batches;

/// The newest version of an API that this node speaks and that the peer serves.
pub fn version(served: &[ApiVersion], key: ApiKey) -> Option<i16> {
    let own = APIS.iter().find(|row| row.key == key)?;
    let theirs = served.iter().find(|version| version.api_key == key as i16)?;
    let newest = own.stable_last.min(theirs.max_version);
    (newest >= own.request.versions.first && newest >= theirs.min_version).then_some(newest)
}

/// Everything that costs time per byte, before the node sees an answer: batches whose checksum does not hold become
/// CORRUPT_MESSAGE, and what was cut at the end is left out.
pub fn check(response: &mut Response) {
    if let Response::Fetch(response) = response {
        check_fetched(response);
    }
}

fn check_fetched(response: &mut FetchResponse) {
    for data in response.responses.iter_mut().flat_map(|topic| &mut topic.partitions) {
        let Some(records) = data.records.take() else { continue };
        match whole_batches(records.into_bytes()) {
            Ok(whole) => data.records = Some(whole.into()),
            Err(_) => data.error_code = ErrorCode::CORRUPT_MESSAGE,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_version_that_both_know_is_taken() {
        let served = |min_version, max_version| [ApiVersion { api_key: ApiKey::Fetch as i16, min_version, max_version }];
        assert_eq!(version(&served(4, 12), ApiKey::Fetch), Some(12));
        assert_eq!(version(&served(0, 99), ApiKey::Fetch), Some(18));
        assert_eq!(version(&served(0, 3), ApiKey::Fetch), None);
        assert_eq!(version(&served(99, 100), ApiKey::Fetch), None);
        assert_eq!(version(&[], ApiKey::Fetch), None);
    }
}
