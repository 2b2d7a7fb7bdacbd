//! Where a client believes coordinators to be: it asks any broker, and asks again when an answer shows that it was wrong.

use std::collections::BTreeMap;

use strandline_protocol::api::Response;
use strandline_protocol::error::ErrorCode;
use strandline_protocol::messages::find_coordinator::{FindCoordinatorRequest, FindCoordinatorResponse};

use super::router::Posted;
use crate::core::MachineId;

/// What is coordinated, with Kafka's numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Office {
    Group = 0,
    Transaction = 1,
}

/// From this version on a request names several keys.
const SEVERAL_FROM: i16 = 4;

#[derive(Clone, Copy, Debug, Default)]
struct Seat {
    machine: Option<MachineId>,
    asked: Option<Posted>,
    not_before_us: u64,
}

#[derive(Debug, Default)]
pub(super) struct Seats {
    seats: BTreeMap<(Office, String), Seat>,
}

impl Seats {
    /// Who coordinates a key, if the client knows.
    pub(super) fn get(&self, office: Office, key: &str) -> Option<MachineId> {
        self.seats.get(&(office, key.to_owned()))?.machine
    }

    /// Whether it is time to ask.
    pub(super) fn may_ask(&self, now_us: u64, office: Office, key: &str) -> bool {
        self.seats.get(&(office, key.to_owned())).is_none_or(|seat| seat.asked.is_none() && now_us >= seat.not_before_us)
    }

    pub(super) fn asked(&mut self, office: Office, key: &str, posted: Posted, not_before_us: u64) {
        let seat = self.seats.entry((office, key.to_owned())).or_default();
        (seat.asked, seat.not_before_us) = (Some(posted), not_before_us);
    }

    /// Who was believed to coordinate a key does not.
    pub(super) fn forget(&mut self, office: Office, key: &str) {
        if let Some(seat) = self.seats.get_mut(&(office, key.to_owned())) {
            seat.machine = None;
        }
    }

    /// Nothing that was posted there is answered.
    pub(super) fn lost(&mut self, machine: MachineId) {
        for seat in self.seats.values_mut() {
            seat.asked.take_if(|asked| asked.to == machine);
            seat.machine.take_if(|known| *known == machine);
        }
    }

    /// Takes an answer, if it is one to these questions.
    pub(super) fn hear(&mut self, posted: Posted, response: &Response, numbers: &[i32]) -> bool {
        let Some(seat) = self.seats.values_mut().find(|seat| seat.asked == Some(posted)) else { return false };
        seat.asked = None;
        if let Response::FindCoordinator(response) = response {
            seat.machine = found(response).and_then(|number| numbers.iter().position(|known| *known == number));
        }
        true
    }
}

fn found(response: &FindCoordinatorResponse) -> Option<i32> {
    let (code, node) = match response.coordinators.first() {
        Some(coordinator) => (coordinator.error_code, coordinator.node_id),
        None => (response.error_code, response.node_id),
    };
    (code == ErrorCode::NONE).then(|| node.into())
}

/// The question in a version.
pub(super) fn question(office: Office, key: &str, version: i16) -> FindCoordinatorRequest {
    let key_type = office as i8;
    if version >= SEVERAL_FROM {
        FindCoordinatorRequest { key_type, coordinator_keys: vec![key.to_owned()], ..FindCoordinatorRequest::default() }
    } else {
        FindCoordinatorRequest { key_type, key: key.to_owned(), ..FindCoordinatorRequest::default() }
    }
}

/// Whether an answer says that somebody else coordinates, or nobody yet.
pub(super) fn is_moved(code: ErrorCode) -> bool {
    matches!(code, ErrorCode::NOT_COORDINATOR | ErrorCode::COORDINATOR_NOT_AVAILABLE | ErrorCode::COORDINATOR_LOAD_IN_PROGRESS)
}
