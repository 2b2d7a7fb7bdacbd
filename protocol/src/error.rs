//! Kafka's error codes: one table, and every lookup reads it.

use std::fmt;

use crate::spec::Type;
use crate::wire::{Field, Format, Reader, WireError, Writer};

/// An error code as it stands in responses. A peer may send one that the table does not know; it is kept as it is.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ErrorCode(pub i16);

/// What a client library does with an error by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retry {
    /// Sends the request again, after a new look at the metadata where that may help.
    Retriable,
    /// Hands the error to its caller.
    Final,
}

/// A row of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ErrorRow {
    pub code: ErrorCode,
    pub name: &'static str,
    pub retry: Retry,
    pub meaning: &'static str,
}

macro_rules! errors {
    ($($code:literal $name:ident $retry:ident $meaning:literal;)*) => {
        impl ErrorCode {
            $(#[doc = $meaning] pub const $name: Self = Self($code);)*
        }

        /// Every error of Kafka 4.3, by ascending code.
        pub const ERRORS: &[ErrorRow] = &[
            $(ErrorRow { code: ErrorCode($code), name: stringify!($name), retry: Retry::$retry, meaning: $meaning },)*
        ];
    };
}

errors! {
    -1 UNKNOWN_SERVER_ERROR Final "something went wrong in the server that it has no code for";
    0 NONE Final "no error";
    1 OFFSET_OUT_OF_RANGE Final "the offset lies outside of what the partition holds";
    2 CORRUPT_MESSAGE Retriable "the batch is damaged or malformed, or lacks a key that a compacted topic needs";
    3 UNKNOWN_TOPIC_OR_PARTITION Retriable "this broker has no such topic or partition";
    4 INVALID_FETCH_SIZE Final "the fetch size cannot be used";
    5 LEADER_NOT_AVAILABLE Retriable "the partition has no leader at the moment";
    6 NOT_LEADER_OR_FOLLOWER Retriable "this broker does not lead the partition, or does not replicate it";
    7 REQUEST_TIMED_OUT Retriable "the request was not completed within its time";
    8 BROKER_NOT_AVAILABLE Final "the broker cannot be reached";
    9 REPLICA_NOT_AVAILABLE Retriable "the replica cannot serve the partition at the moment";
    10 MESSAGE_TOO_LARGE Final "a record batch is larger than the topic allows";
    11 STALE_CONTROLLER_EPOCH Final "the controller that sent the request has been replaced";
    12 OFFSET_METADATA_TOO_LARGE Final "the metadata beside a committed offset is too long";
    13 NETWORK_EXCEPTION Retriable "the connection was lost before the answer came";
    14 COORDINATOR_LOAD_IN_PROGRESS Retriable "the coordinator is still reading its state";
    15 COORDINATOR_NOT_AVAILABLE Retriable "the group or transaction has no coordinator at the moment";
    16 NOT_COORDINATOR Retriable "this broker does not coordinate the group or transaction";
    17 INVALID_TOPIC_EXCEPTION Final "the topic's name is not allowed, or the topic may not be used so";
    18 RECORD_LIST_TOO_LARGE Final "a record batch is larger than a log segment";
    19 NOT_ENOUGH_REPLICAS Retriable "fewer replicas are in sync than the topic demands; nothing was written";
    20 NOT_ENOUGH_REPLICAS_AFTER_APPEND Retriable "written, but fewer replicas are in sync than the topic demands";
    21 INVALID_REQUIRED_ACKS Final "acks is none of -1, 0 and 1";
    22 ILLEGAL_GENERATION Final "the generation is not the group's current one";
    23 INCONSISTENT_GROUP_PROTOCOL Final "the member shares no protocol with the other members, or offers none";
    24 INVALID_GROUP_ID Final "the group id is not allowed";
    25 UNKNOWN_MEMBER_ID Final "the group has no such member";
    26 INVALID_SESSION_TIMEOUT Final "the session timeout lies outside of the broker's bounds";
    27 REBALANCE_IN_PROGRESS Final "the group is rebalancing; join again";
    28 INVALID_COMMIT_OFFSET_SIZE Final "the offsets to commit do not fit into one record batch";
    29 TOPIC_AUTHORIZATION_FAILED Final "the principal may not do this to the topic";
    30 GROUP_AUTHORIZATION_FAILED Final "the principal may not do this to the group";
    31 CLUSTER_AUTHORIZATION_FAILED Final "the principal may not do this to the cluster";
    32 INVALID_TIMESTAMP Final "the record's timestamp is too far from the broker's clock";
    33 UNSUPPORTED_SASL_MECHANISM Final "the SASL mechanism is not enabled on this listener";
    34 ILLEGAL_SASL_STATE Final "the request does not fit the state of the SASL exchange";
    35 UNSUPPORTED_VERSION Final "the API is not served in this version";
    36 TOPIC_ALREADY_EXISTS Final "there is a topic of this name already";
    37 INVALID_PARTITIONS Final "the number of partitions is not allowed";
    38 INVALID_REPLICATION_FACTOR Final "the replication factor is below one or above the number of brokers";
    39 INVALID_REPLICA_ASSIGNMENT Final "the replicas given for a partition are not allowed";
    40 INVALID_CONFIG Final "a configuration value is not allowed";
    41 NOT_CONTROLLER Retriable "this node is not the active controller";
    42 INVALID_REQUEST Final "the request contradicts itself or its protocol";
    43 UNSUPPORTED_FOR_MESSAGE_FORMAT Final "the stored record format cannot answer the request";
    44 POLICY_VIOLATION Final "a policy of the cluster refuses the request";
    45 OUT_OF_ORDER_SEQUENCE_NUMBER Final "the batch's sequence number leaves a gap";
    46 DUPLICATE_SEQUENCE_NUMBER Final "a batch with this sequence number was appended before";
    47 INVALID_PRODUCER_EPOCH Final "the producer's epoch is older than the current one";
    48 INVALID_TXN_STATE Final "the transaction's state does not allow the operation";
    49 INVALID_PRODUCER_ID_MAPPING Final "the producer id does not belong to the transactional id";
    50 INVALID_TRANSACTION_TIMEOUT Final "the transaction timeout is above the broker's maximum";
    51 CONCURRENT_TRANSACTIONS Retriable "another operation on the transaction is still under way";
    52 TRANSACTION_COORDINATOR_FENCED Final "the transaction coordinator that sent the marker has been replaced";
    53 TRANSACTIONAL_ID_AUTHORIZATION_FAILED Final "the principal may not use the transactional id";
    54 SECURITY_DISABLED Final "the broker has no authorizer, so there are no rules to work on";
    55 OPERATION_NOT_ATTEMPTED Final "the operation was skipped because another one of the request failed";
    56 KAFKA_STORAGE_ERROR Retriable "the broker could not read or write the partition's log";
    57 LOG_DIR_NOT_FOUND Final "the broker has no such log directory";
    58 SASL_AUTHENTICATION_FAILED Final "the credentials were refused";
    59 UNKNOWN_PRODUCER_ID Final "the broker has no state of the producer, most often because its records have expired";
    60 REASSIGNMENT_IN_PROGRESS Final "the partition is being reassigned";
    61 DELEGATION_TOKEN_AUTH_DISABLED Final "delegation tokens are not enabled";
    62 DELEGATION_TOKEN_NOT_FOUND Final "there is no such delegation token";
    63 DELEGATION_TOKEN_OWNER_MISMATCH Final "the principal is neither owner nor renewer of the token";
    64 DELEGATION_TOKEN_REQUEST_NOT_ALLOWED Final "tokens are not given out over this kind of connection";
    65 DELEGATION_TOKEN_AUTHORIZATION_FAILED Final "the principal may not do this with delegation tokens";
    66 DELEGATION_TOKEN_EXPIRED Final "the delegation token has expired";
    67 INVALID_PRINCIPAL_TYPE Final "the principal's type is not supported";
    68 NON_EMPTY_GROUP Final "the group still has members";
    69 GROUP_ID_NOT_FOUND Final "there is no such group";
    70 FETCH_SESSION_ID_NOT_FOUND Retriable "the broker has no such fetch session";
    71 INVALID_FETCH_SESSION_EPOCH Retriable "the fetch session's epoch is not the expected one";
    72 LISTENER_NOT_FOUND Retriable "the leader has no listener like the one that was asked";
    73 TOPIC_DELETION_DISABLED Final "topics may not be deleted in this cluster";
    74 FENCED_LEADER_EPOCH Retriable "the leader epoch of the request is older than the broker's";
    75 UNKNOWN_LEADER_EPOCH Retriable "the leader epoch of the request is newer than the broker's";
    76 UNSUPPORTED_COMPRESSION_TYPE Final "the client cannot read the partition's compression";
    77 STALE_BROKER_EPOCH Final "the broker has registered again since";
    78 OFFSET_NOT_AVAILABLE Retriable "the new leader does not know its high watermark yet";
    79 MEMBER_ID_REQUIRED Final "join again with the member id of this answer";
    80 PREFERRED_LEADER_NOT_AVAILABLE Retriable "the preferred leader cannot lead at the moment";
    81 GROUP_MAX_SIZE_REACHED Final "the group has as many members as are allowed";
    82 FENCED_INSTANCE_ID Final "another member has taken over the group instance id";
    83 ELIGIBLE_LEADERS_NOT_AVAILABLE Retriable "no replica may become leader without losing records";
    84 ELECTION_NOT_NEEDED Retriable "the partition has the desired leader already";
    85 NO_REASSIGNMENT_IN_PROGRESS Final "the partition is not being reassigned";
    86 GROUP_SUBSCRIBED_TO_TOPIC Final "the group is subscribed to the topic, so its offsets stay";
    87 INVALID_RECORD Final "a record of the batch was refused; the answer names it";
    88 UNSTABLE_OFFSET_COMMIT Retriable "offsets of an open transaction are still undecided";
    89 THROTTLING_QUOTA_EXCEEDED Retriable "the quota is used up";
    90 PRODUCER_FENCED Final "a newer producer uses the transactional id";
    91 RESOURCE_NOT_FOUND Final "the request names a resource that does not exist";
    92 DUPLICATE_RESOURCE Final "the request names a resource twice";
    93 UNACCEPTABLE_CREDENTIAL Final "the credential is too weak or malformed";
    94 INCONSISTENT_VOTER_SET Final "sender or receiver is not among the voters";
    95 INVALID_UPDATE_VERSION Final "the feature cannot go to this level";
    96 FEATURE_UPDATE_FAILED Final "the features could not be updated";
    97 PRINCIPAL_DESERIALIZATION_FAILURE Final "the forwarded principal could not be read";
    98 SNAPSHOT_NOT_FOUND Final "there is no such snapshot";
    99 POSITION_OUT_OF_RANGE Final "the position lies outside of the snapshot";
    100 UNKNOWN_TOPIC_ID Retriable "this broker has no topic of this id";
    101 DUPLICATE_BROKER_REGISTRATION Final "a live broker uses this id";
    102 BROKER_ID_NOT_REGISTERED Final "no broker of this id is registered";
    103 INCONSISTENT_TOPIC_ID Retriable "the log belongs to a topic with another id";
    104 INCONSISTENT_CLUSTER_ID Final "the request is meant for another cluster";
    105 TRANSACTIONAL_ID_NOT_FOUND Final "there is no such transactional id";
    106 FETCH_SESSION_TOPIC_ID_ERROR Retriable "the fetch session mixes topic names and topic ids";
    107 INELIGIBLE_REPLICA Final "a replica of the proposed ISR may not join it";
    108 NEW_LEADER_ELECTED Final "the change was made, and the partition has a new leader by it";
    109 OFFSET_MOVED_TO_TIERED_STORAGE Final "the offset lies in remote storage only";
    110 FENCED_MEMBER_EPOCH Final "the coordinator has fenced the member; it gives up its partitions and joins again";
    111 UNRELEASED_INSTANCE_ID Final "the instance id is still held by another member, which has to leave first";
    112 UNSUPPORTED_ASSIGNOR Final "the group's coordinator does not know the assignor";
    113 STALE_MEMBER_EPOCH Final "the member epoch is outdated; retry after the next heartbeat";
    114 MISMATCHED_ENDPOINT_TYPE Final "the request came to a broker but is for a controller, or the other way round";
    115 UNSUPPORTED_ENDPOINT_TYPE Final "this kind of endpoint is not supported";
    116 UNKNOWN_CONTROLLER_ID Final "there is no controller of this id";
    117 UNKNOWN_SUBSCRIPTION_ID Final "the telemetry subscription is unknown or outdated";
    118 TELEMETRY_TOO_LARGE Final "the telemetry is larger than the broker takes";
    119 INVALID_REGISTRATION Final "the controller refuses the broker's registration";
    120 TRANSACTION_ABORTABLE Final "the transaction has failed; abort it and go on";
    121 INVALID_RECORD_STATE Final "the record is in a state that this acknowledgement does not fit";
    122 SHARE_SESSION_NOT_FOUND Retriable "the broker has no such share session";
    123 INVALID_SHARE_SESSION_EPOCH Retriable "the share session's epoch is not the expected one";
    124 FENCED_STATE_EPOCH Final "the share group's state epoch does not match";
    125 INVALID_VOTER_KEY Final "the voter's id and directory do not match this replica";
    126 DUPLICATE_VOTER Final "the voter set has this voter already";
    127 VOTER_NOT_FOUND Final "the voter set has no such voter";
    128 INVALID_REGULAR_EXPRESSION Final "the regular expression cannot be compiled";
    129 REBOOTSTRAP_REQUIRED Final "the client's metadata is too old; start over from the bootstrap servers";
    130 STREAMS_INVALID_TOPOLOGY Final "the streams topology is not valid";
    131 STREAMS_INVALID_TOPOLOGY_EPOCH Final "the streams topology epoch is not valid";
    132 STREAMS_TOPOLOGY_FENCED Final "the streams topology epoch is outdated";
    133 SHARE_SESSION_LIMIT_REACHED Retriable "the broker holds as many share sessions as are allowed";
}

impl ErrorCode {
    #[must_use]
    pub fn row(self) -> Option<&'static ErrorRow> {
        ERRORS.binary_search_by_key(&self, |row| row.code).ok().map(|index| &ERRORS[index])
    }

    #[must_use]
    pub fn is_none(self) -> bool {
        self == Self::NONE
    }

    #[must_use]
    pub fn is_retriable(self) -> bool {
        self.row().is_some_and(|row| row.retry == Retry::Retriable)
    }

    /// What it means, in a sentence; codes that are not in the table mean nothing to us.
    #[must_use]
    pub fn meaning(self) -> &'static str {
        self.row().map_or("an error code that this version does not know", |row| row.meaning)
    }

    /// The code by Kafka's name for it.
    #[must_use]
    pub fn by_name(name: &str) -> Option<Self> {
        ERRORS.iter().find(|row| row.name == name).map(|row| row.code)
    }
}

impl fmt::Display for ErrorCode {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.row() {
            Some(row) => formatter.write_str(row.name),
            None => write!(formatter, "error {}", self.0),
        }
    }
}

impl fmt::Debug for ErrorCode {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{self}")
    }
}

impl Field for ErrorCode {
    const TYPE: Type = Type::Int16;
    const MIN_BYTES: usize = 2;

    fn read(reader: &mut Reader, _: Format) -> Result<Self, WireError> {
        reader.int16().map(Self)
    }

    fn write(&self, writer: &mut Writer, _: Format) {
        writer.put_int16(self.0);
        if !self.is_none() {
            writer.note_error(*self);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_ascend_without_a_gap() {
        let codes: Vec<i16> = ERRORS.iter().map(|row| row.code.0).collect();
        assert_eq!(codes, (-1..=133).collect::<Vec<i16>>());
    }

    #[test]
    fn a_code_is_found_by_number_and_by_name() {
        assert_eq!(ErrorCode(6).to_string(), "NOT_LEADER_OR_FOLLOWER");
        assert!(ErrorCode::NOT_LEADER_OR_FOLLOWER.is_retriable());
        assert_eq!(ErrorCode::by_name("CORRUPT_MESSAGE"), Some(ErrorCode(2)));
        assert_eq!(ErrorCode(4711).to_string(), "error 4711");
    }

    #[test]
    fn a_writer_counts_the_errors_of_an_answer() {
        let mut writer = Writer::new();
        let format = Format::new(0, false);
        for code in [ErrorCode::NONE, ErrorCode::NOT_CONTROLLER, ErrorCode::UNKNOWN_TOPIC_ID, ErrorCode::NOT_CONTROLLER] {
            code.write(&mut writer, format);
        }
        assert_eq!(writer.take_errors(), [(ErrorCode::NOT_CONTROLLER, 2), (ErrorCode::UNKNOWN_TOPIC_ID, 1)]);
        assert!(writer.take_errors().is_empty());
    }
}
