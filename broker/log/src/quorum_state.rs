//! `quorum-state`: the vote of this controller, which must survive it.
//!
//! One line of JSON. Version 0 goes with `kraft.version` 0 (voters from the configuration), version 1 with 1 (voters in the
//! log, votes by directory). A vote is written durably before it is answered: a voter that forgets may vote twice.

use bytes::Bytes;
use serde_json::{Value, json};
use strandline_protocol::ids::{BrokerId, LeaderEpoch, Uuid};

use crate::format::{FormatError, text};

/// Which voters the file knows, which decides its version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Voters {
    /// Version 0: the ids of the configured voters.
    Configured(Vec<BrokerId>),
    /// Version 1: voters stand in the log; a vote names the directory too.
    InLog { voted_directory: Uuid },
}

/// What the file says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QuorumState {
    /// The leader of the epoch, if it is known.
    pub leader: BrokerId,
    pub leader_epoch: LeaderEpoch,
    /// Whom this node voted for in the epoch, if anyone.
    pub voted: BrokerId,
    pub voters: Voters,
}

impl QuorumState {
    /// Renders the file.
    pub fn encode(&self) -> Bytes {
        let (leader, epoch, voted) = (self.leader.0, self.leader_epoch.0, self.voted.0);
        let value = match &self.voters {
            Voters::Configured(voters) => {
                let voters: Vec<Value> = voters.iter().map(|voter| json!({ "voterId": voter.0 })).collect();
                // The empty cluster id and the offset 0 are what Kafka writes: both fields are dead.
                json!({
                    "clusterId": "", "leaderId": leader, "leaderEpoch": epoch, "votedId": voted, "appliedOffset": 0,
                    "currentVoters": voters, "data_version": 0
                })
            }
            Voters::InLog { voted_directory } => json!({
                "leaderId": leader, "leaderEpoch": epoch, "votedId": voted,
                "votedDirectoryId": voted_directory.to_string(), "data_version": 1
            }),
        };
        Bytes::from(value.to_string())
    }

    /// Parses the file.
    ///
    /// # Errors
    /// [`FormatError`] if it is no JSON object, its version is unknown or a field is missing.
    pub fn parse(contents: &[u8]) -> Result<Self, FormatError> {
        let value: Value = serde_json::from_str(text(contents)?).map_err(|_| FormatError::NotJson)?;
        let voters = match number(&value, "data_version")? {
            0 => configured_voters(&value)?,
            1 => Voters::InLog { voted_directory: voted_directory(&value)? },
            found => return Err(FormatError::Version { expected: 1, found }),
        };
        Ok(Self {
            leader: BrokerId(number(&value, "leaderId")?),
            leader_epoch: LeaderEpoch(number(&value, "leaderEpoch")?),
            voted: BrokerId(number(&value, "votedId")?),
            voters,
        })
    }
}

fn number(value: &Value, field: &'static str) -> Result<i32, FormatError> {
    let number = value.get(field).and_then(Value::as_i64);
    number.and_then(|number| i32::try_from(number).ok()).ok_or(FormatError::Field { field })
}

fn configured_voters(value: &Value) -> Result<Voters, FormatError> {
    const FIELD: &str = "currentVoters";
    match value.get(FIELD) {
        None | Some(Value::Null) => Ok(Voters::Configured(Vec::new())),
        Some(Value::Array(voters)) => {
            let ids = voters.iter().map(|voter| number(voter, "voterId").map(BrokerId));
            ids.collect::<Result<_, _>>().map(Voters::Configured)
        }
        Some(_) => Err(FormatError::Field { field: FIELD }),
    }
}

fn voted_directory(value: &Value) -> Result<Uuid, FormatError> {
    const FIELD: &str = "votedDirectoryId";
    let text = value.get(FIELD).and_then(Value::as_str);
    text.and_then(|text| text.parse().ok()).ok_or(FormatError::Field { field: FIELD })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state(voters: Voters) -> QuorumState {
        QuorumState { leader: BrokerId(1), leader_epoch: LeaderEpoch(2), voted: BrokerId(-1), voters }
    }

    #[test]
    fn both_versions_are_read_back() {
        let configured = state(Voters::Configured(vec![BrokerId(1), BrokerId(2)]));
        assert_eq!(QuorumState::parse(&configured.encode()), Ok(configured));
        let in_log = state(Voters::InLog { voted_directory: Uuid([9; 16]) });
        assert_eq!(QuorumState::parse(&in_log.encode()), Ok(in_log));
    }

    #[test]
    fn what_kafka_writes_is_read() {
        let text =
            br#"{"leaderId":1,"leaderEpoch":2,"votedId":-1,"votedDirectoryId":"AAAAAAAAAAAAAAAAAAAAAA","data_version":1}"#;
        assert_eq!(QuorumState::parse(text), Ok(state(Voters::InLog { voted_directory: Uuid::ZERO })));
        let text = br#"{"clusterId":"","leaderId":1,"leaderEpoch":2,"votedId":-1,"appliedOffset":0,"currentVoters":[{"voterId":1}],"data_version":0}"#;
        assert_eq!(QuorumState::parse(text), Ok(state(Voters::Configured(vec![BrokerId(1)]))));
    }

    #[test]
    fn an_unknown_version_or_a_missing_field_is_refused() {
        assert_eq!(QuorumState::parse(br#"{"data_version":2}"#), Err(FormatError::Version { expected: 1, found: 2 }));
        assert_eq!(QuorumState::parse(br#"{"data_version":0}"#), Err(FormatError::Field { field: "leaderId" }));
        assert_eq!(QuorumState::parse(b"1 2 3"), Err(FormatError::NotJson));
    }
}
