//! Facts that this node does not act on and must not lose: controllers, quotas, access rules, SCRAM credentials,
//! delegation tokens. Whoever set them, through Kafka or through another node, finds them again in every snapshot.
//!
//! Each is kept as its record said it, by the key that a later record replaces or removes it with. Not here: the state of a
//! migration from ZooKeeper, which Kafka 4 reads over and never writes, and records that only stand in the log (no-ops,
//! the ends of metadata transactions).

use std::collections::BTreeMap;

use strandline_protocol::ids::Uuid;
use strandline_protocol::metadata::MetadataRecord;
use strandline_protocol::metadata::acl::AccessControlEntryRecord;
use strandline_protocol::metadata::client_quota::ClientQuotaRecord;
use strandline_protocol::metadata::controller::RegisterControllerRecord;
use strandline_protocol::metadata::delegation_token::DelegationTokenRecord;
use strandline_protocol::metadata::scram::UserScramCredentialRecord;

/// Whom a quota limits (pairs of type and name, in order) and in what.
pub(crate) type QuotaKey = (Vec<(String, Option<String>)>, String);

#[derive(Clone, Debug, Default, PartialEq)]
pub struct Kept {
    pub(crate) controllers: BTreeMap<i32, RegisterControllerRecord>,
    pub(crate) quotas: BTreeMap<QuotaKey, f64>,
    pub(crate) access_rules: BTreeMap<Uuid, AccessControlEntryRecord>,
    /// By mechanism and user.
    pub(crate) scram: BTreeMap<(i8, String), UserScramCredentialRecord>,
    pub(crate) tokens: BTreeMap<String, DelegationTokenRecord>,
}

impl Kept {
    pub(super) fn apply(&mut self, record: &MetadataRecord) {
        match record {
            MetadataRecord::RegisterControllerRecord(record) => {
                self.controllers.insert(record.controller_id.0, record.clone());
            }
            MetadataRecord::ClientQuotaRecord(record) => self.set_quota(record),
            MetadataRecord::AccessControlEntryRecord(record) => {
                self.access_rules.insert(record.id, record.clone());
            }
            MetadataRecord::RemoveAccessControlEntryRecord(record) => {
                self.access_rules.remove(&record.id);
            }
            MetadataRecord::UserScramCredentialRecord(record) => {
                self.scram.insert((record.mechanism, record.name.clone()), record.clone());
            }
            MetadataRecord::RemoveUserScramCredentialRecord(record) => {
                self.scram.remove(&(record.mechanism, record.name.clone()));
            }
            MetadataRecord::DelegationTokenRecord(record) => {
                self.tokens.insert(record.token_id.clone(), record.clone());
            }
            MetadataRecord::RemoveDelegationTokenRecord(record) => {
                self.tokens.remove(&record.token_id);
            }
            _ => {}
        }
    }

    fn set_quota(&mut self, record: &ClientQuotaRecord) {
        let mut entity: Vec<_> =
            record.entity.iter().map(|part| (part.entity_type.clone(), part.entity_name.clone())).collect();
        entity.sort_unstable();
        let key = (entity, record.key.clone());
        if record.remove {
            self.quotas.remove(&key);
        } else {
            self.quotas.insert(key, record.value);
        }
    }
}
