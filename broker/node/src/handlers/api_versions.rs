//! ApiVersions (key 18), versions 0 to 4: what this broker serves, read from the table in `apis`.
//!
//! v3 client software name and features (KIP-511, KIP-584). An unsupported version is answered by the rim with a v0
//! body, error 35 and the range of this API alone. Features are those that are implemented; tagged fields that hold
//! their default are left out, because librdkafka before 2.2 misreads them.

use strandline_protocol::error::ErrorCode;
use strandline_protocol::messages::api_versions::{
    ApiVersion, ApiVersionsRequest, ApiVersionsResponse, FinalizedFeatureKey, SupportedFeatureKey,
};

use super::Answer;
use crate::apis::SERVED;
use crate::broker::Broker;
use crate::features::{FEATURES, KRAFT_VERSION_NAME};
use crate::io::RequestContext;

/// From this version on a client names its software.
const SOFTWARE_FROM: i16 = 3;
/// From this version on features with a minimum of 0 are told (KIP-584, KAFKA-17011).
const FEATURES_FROM_ZERO: i16 = 4;

pub(crate) fn api_versions(broker: &mut Broker, context: &RequestContext, request: ApiVersionsRequest) -> Answer {
    let api_keys = SERVED
        .iter()
        .filter(|api| api.is_on(context.listener))
        .map(|api| ApiVersion { api_key: api.key, min_version: api.advertised_from, max_version: api.versions.last })
        .collect();
    let mut response = ApiVersionsResponse { api_keys, ..ApiVersionsResponse::default() };
    if context.api_version < SOFTWARE_FROM {
        return Answer::now(response);
    }
    if !is_software_name(&request.client_software_name) || !is_software_name(&request.client_software_version) {
        return Answer::now(ApiVersionsResponse { error_code: ErrorCode::INVALID_REQUEST, ..ApiVersionsResponse::default() });
    }
    let told = |least: i16| context.api_version >= FEATURES_FROM_ZERO || least > 0;
    response.supported_features = FEATURES
        .iter()
        .filter(|feature| told(feature.least))
        .map(|feature| SupportedFeatureKey {
            name: feature.name.to_owned(),
            min_version: feature.least,
            max_version: feature.most,
        })
        .collect();
    response.finalized_features = FEATURES
        .iter()
        .filter_map(|feature| broker.image.features.get(feature.name).map(|level| (feature, *level)))
        .map(|(feature, level)| FinalizedFeatureKey {
            name: feature.name.to_owned(),
            max_version_level: level,
            min_version_level: level,
        })
        .collect();
    let kraft_version = broker.controller.quorum.history().version();
    if kraft_version > 0 {
        response.finalized_features.push(FinalizedFeatureKey {
            name: KRAFT_VERSION_NAME.to_owned(),
            max_version_level: kraft_version,
            min_version_level: kraft_version,
        });
    }
    response.finalized_features_epoch = broker.image.end.0 - 1;
    Answer::now(response)
}

/// Letters and digits, and between them also '-' and '.'. Source: ApiVersionsRequest.SOFTWARE_NAME_VERSION_PATTERN.
fn is_software_name(name: &str) -> bool {
    let inner = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'.';
    let bytes = name.as_bytes();
    let ends = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_alphanumeric);
    ends(bytes.first()) && ends(bytes.last()) && bytes.iter().copied().all(inner)
}

#[cfg(test)]
mod tests {
    use super::is_software_name;

    #[test]
    fn a_software_name_begins_and_ends_with_a_letter_or_digit() {
        assert!(is_software_name("apache-kafka-java"));
        assert!(is_software_name("2.15.0"));
        assert!(!is_software_name(""));
        assert!(!is_software_name("-kafka"));
        assert!(!is_software_name("kafka java"));
    }
}
