//! What takes several questions to share coordinators before a group is told, or a client answered: states that a group needs, and
//! what operators ask of share groups.

use std::collections::BTreeMap;

use strandline_protocol::api::Response;
use strandline_protocol::error::ErrorCode;
use strandline_protocol::ids::{GroupId, TopicId};
use strandline_protocol::messages::alter_share_group_offsets::AlterShareGroupOffsetsResponse;
use strandline_protocol::messages::delete_groups::DeleteGroupsRequest;
use strandline_protocol::messages::delete_share_group_offsets::DeleteShareGroupOffsetsResponse;
use strandline_protocol::messages::describe_share_group_offsets::DescribeShareGroupOffsetsResponse;

use super::states::{Question, Then, Told};
use crate::broker::Broker;
use crate::coordinator::group::consumer::parts::Parts;
use crate::coordinator::share::ShareKey;
use crate::coordinator::turn::Want;
use crate::coordinator::{enter, slot_of};
use crate::handlers::{
    Answer, alter_share_group_offsets, delete_groups, delete_share_group_offsets, describe_share_group_offsets,
};
use crate::io::{CloseReason, Effect, Now, Reply, RequestContext};

use super::ask_wire::UNKNOWN_START;

/// For whom, and what is done with the answers.
#[derive(Debug)]
pub(crate) enum Purpose {
    /// A group needs states of its own.
    Begin {
        group: GroupId,
    },
    /// The response is whole but for what comes of the states.
    Alter {
        context: RequestContext,
        group: GroupId,
        response: AlterShareGroupOffsetsResponse,
    },
    ForgetTopics {
        context: RequestContext,
        group: GroupId,
        response: DeleteShareGroupOffsetsResponse,
    },
    DeleteGroups {
        context: RequestContext,
        request: DeleteGroupsRequest,
    },
    Describe {
        context: RequestContext,
        response: DescribeShareGroupOffsetsResponse,
    },
}

/// What was answered about one partition.
#[derive(Clone, Debug, Default)]
pub(crate) struct Answers {
    pub told: Vec<Told>,
    pub error: Option<ErrorCode>,
}

/// By partition.
pub(crate) type Results = BTreeMap<ShareKey, Answers>;

#[derive(Debug)]
struct Flow {
    outstanding: usize,
    results: Results,
    purpose: Purpose,
}

#[derive(Debug, Default)]
pub(crate) struct Flows {
    flows: BTreeMap<u64, Flow>,
    next: u64,
}

/// Asks all of these, and comes back with the answers.
pub(crate) fn begin(
    broker: &mut Broker,
    now: Now,
    questions: Vec<(ShareKey, Question)>,
    purpose: Purpose,
    outbox: &mut Vec<Effect>,
) {
    let flows = &mut broker.shares.flows;
    flows.next += 1;
    let (number, outstanding) = (flows.next, questions.len());
    flows.flows.insert(number, Flow { outstanding, results: Results::new(), purpose });
    for (key, question) in questions {
        broker.shares.states.ask(now, key, question, Then::Flow(number));
    }
    if outstanding == 0 {
        end(broker, now, number, outbox);
    }
}

/// What a shard of groups wants.
pub(super) fn want(broker: &mut Broker, now: Now, want: Want, outbox: &mut Vec<Effect>) {
    let Want::BeginStates { group, state_epoch, parts } = want;
    let question = Question::Begin { state_epoch, start: UNKNOWN_START };
    let key = |(topic, partition)| ShareKey { group: group.clone(), topic, partition };
    let questions = parts.iter().map(|place| (key(place), question.clone())).collect();
    begin(broker, now, questions, Purpose::Begin { group: group.clone() }, outbox);
}

/// One answer.
pub(super) fn told(
    broker: &mut Broker,
    now: Now,
    number: u64,
    key: ShareKey,
    answer: Result<Told, ErrorCode>,
    outbox: &mut Vec<Effect>,
) {
    let Some(flow) = broker.shares.flows.flows.get_mut(&number) else { return };
    let answers = flow.results.entry(key).or_default();
    match answer {
        Ok(told) => answers.told.push(told),
        Err(code) => answers.error = Some(code),
    }
    flow.outstanding -= 1;
    if flow.outstanding == 0 {
        end(broker, now, number, outbox);
    }
}

fn end(broker: &mut Broker, now: Now, number: u64, outbox: &mut Vec<Effect>) {
    let Some(Flow { results, purpose, .. }) = broker.shares.flows.flows.remove(&number) else { return };
    let (context, answer) = match purpose {
        Purpose::Begin { group } => return begun(broker, now, &group, &results, outbox),
        Purpose::Alter { context, group, response } => {
            begun(broker, now, &group, &results, outbox);
            let answer = alter_share_group_offsets::finish(broker, now, &context, &group, response, &results);
            (context, answer)
        }
        Purpose::ForgetTopics { context, group, response } => {
            let answer = delete_share_group_offsets::finish(broker, now, &context, &group, response, &results, outbox);
            (context, answer)
        }
        Purpose::DeleteGroups { context, request } => {
            let answer = delete_groups::finish(broker, now, &context, request, &results, outbox);
            (context, answer)
        }
        Purpose::Describe { context, response } => {
            (context, Answer::now(Response::from(describe_share_group_offsets::finish(response, &results))))
        }
    };
    let RequestContext { connection, sequence, .. } = context;
    match answer {
        Answer::Reply(reply) => outbox.push(Effect::Reply { connection, sequence, reply }),
        Answer::Silence => outbox.push(Effect::Reply { connection, sequence, reply: Reply::Silence }),
        Answer::Close => outbox.push(Effect::Close { connection, sequence, reason: CloseReason::Unanswerable }),
        Answer::Parked => {}
    }
}

/// The group is told which of its states have begun.
fn begun(broker: &mut Broker, now: Now, group: &GroupId, results: &Results, outbox: &mut Vec<Effect>) {
    // Whoever coordinates it now finds in its records what was asked for, and asks again.
    let Ok(slot) = slot_of(broker, group) else { return };
    let parts = |begun: bool| -> Parts {
        let places = results.iter().filter(|(_, answers)| answers.error.is_none() == begun);
        places.map(|(key, _)| (key.topic, key.partition)).collect()
    };
    let (begun, failed) = (parts(true), parts(false));
    enter(broker, now, slot, outbox, |groups, turn| groups.on_states_begun(turn, group, &begun, &failed));
}

/// What came of a topic's partitions: the first error.
pub(crate) fn error_of(results: &Results, group: &GroupId, topic: TopicId) -> ErrorCode {
    let of = results.iter().filter(|(key, _)| key.group == *group && key.topic == topic);
    of.filter_map(|(_, answers)| answers.error).next().unwrap_or(ErrorCode::NONE)
}
