//! DeleteTopics (key 20), versions 1 to 6.
//!
//! v5 error messages (KIP-599) · v6 topic ids (KIP-516). Source: ControllerApis.deleteTopics.

use strandline_protocol::error::ErrorCode;
use strandline_protocol::ids::{TopicId, TopicName};
use strandline_protocol::messages::delete_topics::{DeletableTopicResult, DeleteTopicsRequest, DeleteTopicsResponse};

use super::Answer;
use crate::broker::Broker;
use crate::controller::topics::{Refused, delete};
use crate::io::{Now, RequestContext};

pub(crate) fn delete_topics(broker: &mut Broker, now: Now, context: &RequestContext, request: DeleteTopicsRequest) -> Answer {
    let by_name = request.topic_names.into_iter().map(|name| (Some(name), TopicId::default()));
    let wanted: Vec<(Option<TopicName>, TopicId)> =
        by_name.chain(request.topics.into_iter().map(|topic| (topic.name, topic.topic_id))).collect();
    let mut responses = Vec::with_capacity(wanted.len());
    for (name, id) in wanted {
        responses.push(match delete_one(broker, now, name.as_ref(), id) {
            Ok((name, topic_id)) => DeletableTopicResult { name: Some(name), topic_id, ..DeletableTopicResult::default() },
            Err(refused) => {
                DeletableTopicResult { name, topic_id: id, error_code: refused.code, error_message: Some(refused.message) }
            }
        });
    }
    let before = broker.controller.end();
    broker.reply_when_committed(context, before, DeleteTopicsResponse { responses, ..DeleteTopicsResponse::default() }.into())
}

fn delete_one(broker: &mut Broker, now: Now, name: Option<&TopicName>, id: TopicId) -> Result<(TopicName, TopicId), Refused> {
    if !broker.settings.delete_topics {
        return Err(Refused::new(ErrorCode::TOPIC_DELETION_DISABLED, "topics cannot be deleted: delete.topic.enable is false"));
    }
    let topics = &broker.controller.image.topics;
    let topic = match name {
        Some(name) => topics
            .by_name(name)
            .ok_or_else(|| Refused::new(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION, format!("there is no topic {name}")))?,
        None => topics
            .by_id(id)
            .ok_or_else(|| Refused::new(ErrorCode::UNKNOWN_TOPIC_ID, format!("there is no topic with id {id}")))?,
    };
    let found = (topic.name.clone(), topic.id);
    let record = delete(&broker.controller.image, found.1)?;
    broker.controller.emit(now, vec![record]);
    Ok(found)
}
