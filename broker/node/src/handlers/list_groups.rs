//! ListGroups (key 16), versions 0 to 5: the groups that this broker coordinates.
//!
//! v4 filter by state (KIP-518) · v5 filter by type (KIP-848).

use strandline_protocol::messages::list_groups::{ListGroupsRequest, ListGroupsResponse, ListedGroup};

use super::Answer;
use crate::broker::Broker;
use crate::coordinator::group::Filter;
use crate::coordinator::kind::Kind;
use crate::coordinator::{enter, reply_when_committed};
use crate::io::{Effect, Now, RequestContext};

pub(crate) fn list_groups(
    broker: &mut Broker,
    now: Now,
    context: &RequestContext,
    request: ListGroupsRequest,
    outbox: &mut Vec<Effect>,
) -> Answer {
    let slots = match broker.coordinators.active(Kind::Groups) {
        Ok(slots) => slots,
        Err(error_code) => return Answer::now(ListGroupsResponse { error_code, ..ListGroupsResponse::default() }),
    };
    let filter = Filter { states: request.states_filter, types: request.types_filter };
    let mut groups = Vec::new();
    for slot in &slots {
        let listed = enter(broker, now, *slot, outbox, |groups, _| groups.list(&filter));
        groups.extend(listed.into_iter().map(|listed| ListedGroup {
            group_id: listed.group,
            protocol_type: listed.protocol_type,
            group_state: listed.state.to_owned(),
            group_type: listed.kind.to_owned(),
        }));
    }
    let response = ListGroupsResponse { groups, ..ListGroupsResponse::default() };
    reply_when_committed(broker, now, context, &slots, response.into())
}
