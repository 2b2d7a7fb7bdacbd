//! UpdateFeatures (key 57), versions 0 to 2: levels at which the cluster works (KIP-584).
//!
//! v1 upgrade types and validation alone (KIP-778) · v2 one error for all. All of the updates are taken, or none. The level of
//! `kraft.version` is the quorum's (KIP-853): with 1 the voters of the configuration move into the log.

use strandline_protocol::error::ErrorCode;
use strandline_protocol::messages::update_features::{
    FeatureUpdateKey, UpdatableFeatureResult, UpdateFeaturesRequest, UpdateFeaturesResponse,
};
use strandline_protocol::metadata::MetadataRecord;

use super::Answer;
use crate::broker::Broker;
use crate::controller::feature_levels::{Direction, common_min_isr, update};
use crate::controller::topics::Refused;
use crate::features::{KRAFT_VERSION, KRAFT_VERSION_LEAST, KRAFT_VERSION_NAME};
use crate::image::Image;
use crate::io::{Now, RequestContext};
use crate::quorum::voters::VoterSet;

pub(crate) fn update_features(
    broker: &mut Broker,
    now: Now,
    context: &RequestContext,
    request: UpdateFeaturesRequest,
) -> Answer {
    let names: Vec<String> = request.feature_updates.iter().map(|update| update.feature.clone()).collect();
    let (of_quorum, others): (Vec<&FeatureUpdateKey>, Vec<&FeatureUpdateKey>) =
        request.feature_updates.iter().partition(|wanted| wanted.feature == KRAFT_VERSION_NAME);
    let decided = of_quorum.first().map(|wanted| decide_quorum(broker, context, wanted)).transpose();
    let decided = decided.and_then(|voters| {
        let records = others.iter().map(|wanted| decide(broker, context, wanted));
        Ok((voters.flatten(), records.collect::<Result<Vec<_>, _>>()?))
    });
    let (voters, records) = match decided {
        Ok((voters, records)) => (voters, records.into_iter().flatten().collect()),
        Err(refused) => {
            let response =
                UpdateFeaturesResponse { error_code: refused.code, error_message: Some(refused.message), ..Default::default() };
            return Answer::now(response);
        }
    };
    let result = |feature| UpdatableFeatureResult { feature, error_code: ErrorCode::NONE, error_message: None };
    let results = names.into_iter().map(result).collect();
    let response = UpdateFeaturesResponse { results, ..Default::default() };
    if request.validate_only {
        return Answer::now(response);
    }
    if let Some(voters) = voters {
        broker.controller.write_voters(now, Some(KRAFT_VERSION), voters);
    }
    let records = with_min_isr(broker, records);
    broker.emit_then(now, context, records, response.into())
}

/// The voters that a higher level of `kraft.version` begins with; nothing if it is there already.
fn decide_quorum(broker: &Broker, context: &RequestContext, wanted: &FeatureUpdateKey) -> Result<Option<VoterSet>, Refused> {
    let refuse = |message: String| Refused::new(ErrorCode::INVALID_UPDATE_VERSION, message);
    let (name, level) = (KRAFT_VERSION_NAME, wanted.max_version_level);
    let direction = direction(context, wanted)?;
    if !(KRAFT_VERSION_LEAST..=KRAFT_VERSION).contains(&level) {
        return Err(refuse(format!(
            "the controller works at levels {KRAFT_VERSION_LEAST} to {KRAFT_VERSION} of {name}, not {level}"
        )));
    }
    if level > broker.controller.quorum.history().version() && direction != Direction::Up {
        return Err(refuse(format!("{name} at {level} is no downgrade")));
    }
    broker.controller.quorum.raise_version(level).map_err(|refusal| Refused::new(refusal.code, refusal.message))
}

fn decide(broker: &Broker, context: &RequestContext, wanted: &FeatureUpdateKey) -> Result<Option<MetadataRecord>, Refused> {
    let direction = direction(context, wanted)?;
    update(&broker.controller.image, &wanted.feature, wanted.max_version_level, direction)
}

fn direction(context: &RequestContext, wanted: &FeatureUpdateKey) -> Result<Direction, Refused> {
    let direction = match context.api_version {
        0 if wanted.allow_downgrade => Some(Direction::SafelyDown),
        0 => Some(Direction::Up),
        _ => Direction::from_number(wanted.upgrade_type),
    };
    let unknown = || {
        let message = format!("there is no upgrade type {}", wanted.upgrade_type);
        Refused::new(ErrorCode::INVALID_UPDATE_VERSION, message)
    };
    direction.ok_or_else(unknown)
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
