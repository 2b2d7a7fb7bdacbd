//! CreatePartitions (key 37), versions 0 to 3: more partitions for topics that exist. Source: ControllerApis.createPartitions.

use strandline_protocol::error::ErrorCode;
use strandline_protocol::messages::create_partitions::{
    CreatePartitionsRequest, CreatePartitionsResponse, CreatePartitionsTopic, CreatePartitionsTopicResult,
};

use super::{Answer, named};
use crate::broker::Broker;
use crate::controller::topics::{Refused, add_partitions, check_request_size};
use crate::io::{Now, RequestContext};

pub(crate) fn create_partitions(
    broker: &mut Broker,
    now: Now,
    context: &RequestContext,
    request: CreatePartitionsRequest,
) -> Answer {
    let twice = named::twice(request.topics.iter().map(|topic| &topic.name));
    let fits = check_request_size(request.topics.iter().map(|topic| partitions_wanted(broker, topic)).sum());
    let mut results = Vec::with_capacity(request.topics.len());
    for topic in request.topics {
        let outcome = if twice.contains(&topic.name) {
            Err(Refused::new(ErrorCode::INVALID_REQUEST, "the request names this topic twice"))
        } else {
            fits.clone().and_then(|()| add(broker, now, &topic, request.validate_only))
        };
        let (error_code, error_message) = match outcome {
            Ok(()) => (ErrorCode::NONE, None),
            Err(refused) => (refused.code, Some(refused.message)),
        };
        results.push(CreatePartitionsTopicResult { name: topic.name, error_code, error_message });
    }
    let before = broker.controller.end();
    broker.reply_when_committed(
        context,
        before,
        CreatePartitionsResponse { results, ..CreatePartitionsResponse::default() }.into(),
    )
}

/// Of topics that exist: the others are refused one by one.
fn partitions_wanted(broker: &Broker, topic: &CreatePartitionsTopic) -> usize {
    let known = broker.controller.image.topics.by_name(&topic.name);
    let count = usize::try_from(topic.count).unwrap_or(0);
    known.map_or(0, |known| count.saturating_sub(known.partitions.len()))
}

fn add(broker: &mut Broker, now: Now, topic: &CreatePartitionsTopic, validate_only: bool) -> Result<(), Refused> {
    let assignments: Option<Vec<Vec<i32>>> =
        topic.assignments.as_ref().map(|all| all.iter().map(|one| one.broker_ids.iter().map(|id| id.0).collect()).collect());
    let bounds = broker.bounds();
    let records =
        add_partitions(&broker.controller.image, bounds, &mut broker.dice, &topic.name, topic.count, assignments.as_deref())?;
    if !validate_only {
        broker.controller.emit(now, records);
    }
    Ok(())
}
