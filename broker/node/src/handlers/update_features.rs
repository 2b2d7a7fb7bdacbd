//! UpdateFeatures (key 57), versions 0 to 2: levels at which the cluster works (KIP-584).
//!
//! v1 upgrade types and validation alone (KIP-778) · v2 one error for all. All of the updates are taken, or none.

use strandline_protocol::error::ErrorCode;
use strandline_protocol::messages::update_features::{
    FeatureUpdateKey, UpdatableFeatureResult, UpdateFeaturesRequest, UpdateFeaturesResponse,
};
use strandline_protocol::metadata::MetadataRecord;

use super::Answer;
use crate::broker::Broker;
use crate::controller::feature_levels::{Direction, common_min_isr, update};
use crate::controller::topics::Refused;
use crate::image::Image;
use crate::io::{Now, RequestContext};

pub(crate) fn update_features(
    broker: &mut Broker,
    now: Now,
    context: &RequestContext,
    request: UpdateFeaturesRequest,
) -> Answer {
    let names: Vec<String> = request.feature_updates.iter().map(|update| update.feature.clone()).collect();
    let decided: Result<Vec<Option<MetadataRecord>>, Refused> =
        request.feature_updates.iter().map(|wanted| decide(broker, context, wanted)).collect();
    let records = match decided {
        Ok(records) => records.into_iter().flatten().collect(),
        Err(refused) => {
            let response =
                UpdateFeaturesResponse { error_code: refused.code, error_message: Some(refused.message), ..Default::default() };
            return Answer::now(response);
        }
    };
    let result = |feature| UpdatableFeatureResult { feature, error_code: ErrorCode::NONE, error_message: None };
    let results = names.into_iter().map(result).collect();
    let response = UpdateFeaturesResponse { results, ..Default::default() };
    broker.emit_then(
        now,
        context,
        if request.validate_only { Vec::new() } else { with_min_isr(broker, records) },
        response.into(),
    )
}

fn decide(broker: &Broker, context: &RequestContext, wanted: &FeatureUpdateKey) -> Result<Option<MetadataRecord>, Refused> {
    let direction = match context.api_version {
        0 if wanted.allow_downgrade => Some(Direction::SafelyDown),
        0 => Some(Direction::Up),
        _ => Direction::from_number(wanted.upgrade_type),
    };
    let unknown = || {
        let message = format!("there is no upgrade type {}", wanted.upgrade_type);
        Refused::new(ErrorCode::INVALID_UPDATE_VERSION, message)
    };
    update(&broker.controller.image, &wanted.feature, wanted.max_version_level, direction.ok_or_else(unknown)?)
}

/// What follows for the whole cluster when eligible replicas are kept from now on.
fn with_min_isr(broker: &Broker, mut records: Vec<MetadataRecord>) -> Vec<MetadataRecord> {
    let mut then = Image { configs: broker.controller.image.configs.clone(), ..Image::default() };
    then.features.clone_from(&broker.controller.image.features);
    for record in &records {
        if let MetadataRecord::FeatureLevelRecord(level) = record {
            then.features.insert(level.name.clone(), level.feature_level);
        }
    }
    records.extend(common_min_isr(&then, &broker.config));
    records
}
