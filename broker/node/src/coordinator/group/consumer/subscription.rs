//! Subscriptions by regular expression: which topics they mean now.
//!
//! Expressions are matched in linear time whatever they are (crate `regex`), and their compiled size is limited, for
//! they come from clients.

use std::collections::{BTreeMap, BTreeSet};

use regex::{Regex, RegexBuilder};
use strandline_protocol::error::ErrorCode;
use strandline_protocol::ids::TopicName;

use super::member::Member;
use crate::image::Image;

/// Bytes that a compiled expression may take; far more than names of topics need.
const COMPILED_BYTES_MAX: usize = 1 << 20;

/// What expressions of a group's members mean.
#[derive(Debug, Default)]
pub(crate) struct Patterns(BTreeMap<String, BTreeSet<TopicName>>);

impl Patterns {
    /// Holds all expressions of these members against the topics that there are.
    pub(crate) fn refresh<'a>(&mut self, members: impl Iterator<Item = &'a Member>, image: &Image) {
        let wanted: BTreeSet<&str> = members.filter_map(|member| member.regex.as_deref()).collect();
        let resolved = wanted.into_iter().filter(|pattern| !pattern.is_empty()).map(|pattern| {
            let topics = compile(pattern).map(|regex| matching(&regex, image)).unwrap_or_default();
            (pattern.to_owned(), topics)
        });
        self.0 = resolved.collect();
    }

    /// Topics that the member's expression means.
    pub(crate) fn topics(&self, member: &Member) -> impl Iterator<Item = &TopicName> {
        member.regex.as_deref().and_then(|pattern| self.0.get(pattern)).into_iter().flatten()
    }

    pub(crate) fn matches(&self, member: &Member, topic: &TopicName) -> bool {
        self.topics(member).any(|known| known == topic)
    }
}

/// Compiles an expression, which has to match a whole name.
///
/// # Errors
/// INVALID_REGULAR_EXPRESSION.
pub(crate) fn compile(pattern: &str) -> Result<Regex, ErrorCode> {
    let whole = format!("^(?:{pattern})$");
    RegexBuilder::new(&whole).size_limit(COMPILED_BYTES_MAX).build().map_err(|_| ErrorCode::INVALID_REGULAR_EXPRESSION)
}

fn matching(regex: &Regex, image: &Image) -> BTreeSet<TopicName> {
    let names = image.topics.iter().map(|topic| &topic.name);
    names.filter(|name| !name.as_str().starts_with("__") && regex.is_match(name.as_str())).cloned().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_expression_matches_whole_names_and_a_broken_or_giant_one_is_refused() {
        let regex = compile("orders-[0-9]+|bills").expect("good");
        assert!(regex.is_match("orders-7"));
        assert!(regex.is_match("bills"));
        assert!(!regex.is_match("unbills"));
        assert!(!regex.is_match("orders-7x"));
        assert_eq!(compile("(").err(), Some(ErrorCode::INVALID_REGULAR_EXPRESSION));
        assert_eq!(compile("((a{1000}){1000}){1000}").err(), Some(ErrorCode::INVALID_REGULAR_EXPRESSION));
    }
}
