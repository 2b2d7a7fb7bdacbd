//! What operators see of transactions.

use regex::{Regex, RegexBuilder};
use strandline_protocol::error::ErrorCode;
use strandline_protocol::ids::{ProducerId, TransactionalId};

use super::Transactions;
use super::entry::{Entry, NEVER};

/// Bytes that a compiled expression may take; far more than names need.
const COMPILED_BYTES_MAX: usize = 1 << 20;

/// Which transactions are listed; empty lists mean all.
#[derive(Clone, Debug, Default)]
pub(crate) struct Filter {
    pub states: Vec<String>,
    pub producers: Vec<ProducerId>,
    /// Only those that began so long ago.
    pub running_ms: Option<i64>,
    pub pattern: Option<Regex>,
}

impl Filter {
    fn wants(&self, id: &TransactionalId, entry: &Entry, now_ms: i64) -> bool {
        let runs = |least: i64| entry.started_ms != NEVER && now_ms.saturating_sub(entry.started_ms) > least;
        (self.states.is_empty() || self.states.iter().any(|state| state == entry.status.name()))
            && (self.producers.is_empty() || self.producers.contains(&entry.producer.id))
            && self.running_ms.is_none_or(runs)
            && self.pattern.as_ref().is_none_or(|pattern| pattern.is_match(id.as_str()))
    }
}

/// Compiles an expression that a whole transactional id has to match.
///
/// # Errors
/// INVALID_REGULAR_EXPRESSION.
pub(crate) fn pattern(text: &str) -> Result<Regex, ErrorCode> {
    // On its own first: behind an unbalanced parenthesis the anchors would not hold.
    let compile = |text: &str| RegexBuilder::new(text).size_limit(COMPILED_BYTES_MAX).build();
    compile(text).and_then(|_| compile(&format!("^(?:{text})$"))).map_err(|_| ErrorCode::INVALID_REGULAR_EXPRESSION)
}

impl Transactions {
    pub(crate) fn list(&self, filter: &Filter, now_ms: i64) -> Vec<(TransactionalId, Entry)> {
        let wanted = self.entries.iter().filter(|(id, entry)| filter.wants(id, entry, now_ms));
        wanted.map(|(id, entry)| (id.clone(), entry.clone())).collect()
    }

    /// # Errors
    /// TRANSACTIONAL_ID_NOT_FOUND.
    pub(crate) fn describe(&self, id: &TransactionalId) -> Result<Entry, ErrorCode> {
        self.entries.get(id).cloned().ok_or(ErrorCode::TRANSACTIONAL_ID_NOT_FOUND)
    }
}
