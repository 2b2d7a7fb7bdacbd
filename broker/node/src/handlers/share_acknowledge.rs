//! ShareAcknowledge (key 79), versions 1 to 2: say what became of acquired records (KIP-932).
//!
//! v2 renewing locks (KIP-1222). The answer waits until it is written. Epoch -1 closes the session, which gives everything
//! back that was not acknowledged; epoch 0 is INVALID_SHARE_SESSION_EPOCH, for only a fetch opens one. Other errors: those of
//! ShareFetch. Source: KafkaApis.handleShareAcknowledgeRequest.

use strandline_protocol::error::ErrorCode;
use strandline_protocol::messages::share_acknowledge::{ShareAcknowledgeRequest, ShareAcknowledgeResponse};

use super::Answer;
use super::share_fetch::owner;
use crate::broker::Broker;
use crate::features;
use crate::io::{Now, RequestContext};
use crate::share;
use crate::share::acknowledging::{Said, SaidBatch};
use crate::share::sessions::{CLOSES, OPENS, Owner};
use crate::share::waiting::park;

pub(crate) fn share_acknowledge(
    broker: &mut Broker,
    now: Now,
    context: &RequestContext,
    request: ShareAcknowledgeRequest,
) -> Answer {
    let owner = match session(broker, &request) {
        Ok(owner) => owner,
        Err(code) => return refused(code),
    };
    let (epoch, renews) = (request.share_session_epoch, request.is_renew_ack);
    park(broker, now, context, &owner, said(request), renews, None);
    if epoch == CLOSES {
        broker.shares.sessions.close(&owner);
        share::release(broker, &owner);
    }
    Answer::Parked
}

fn session(broker: &mut Broker, request: &ShareAcknowledgeRequest) -> Result<Owner, ErrorCode> {
    features::check_share_groups(&broker.image)?;
    let owner = owner(request.group_id.as_ref(), request.member_id.as_deref())?;
    match request.share_session_epoch {
        OPENS => Err(ErrorCode::INVALID_SHARE_SESSION_EPOCH)?,
        CLOSES => broker.shares.sessions.check(&owner)?,
        epoch => broker.shares.sessions.go_on(&owner, epoch, Vec::new(), &[])?,
    }
    Ok(owner)
}

fn said(request: ShareAcknowledgeRequest) -> Vec<Said> {
    let mut said = Vec::new();
    for topic in request.topics {
        for partition in topic.partitions {
            let batches = partition.acknowledgement_batches.into_iter();
            let batches = batches.map(|batch| SaidBatch {
                first: batch.first_offset,
                last: batch.last_offset,
                types: batch.acknowledge_types,
            });
            said.push(Said { place: (topic.topic_id, partition.partition_index), batches: batches.collect() });
        }
    }
    said
}

fn refused(error_code: ErrorCode) -> Answer {
    let error_message = Some(error_code.meaning().to_owned());
    Answer::now(ShareAcknowledgeResponse { error_code, error_message, ..ShareAcknowledgeResponse::default() })
}
