//! Names in a request: which of them it gives more than once.

use std::collections::BTreeSet;

use strandline_protocol::ids::TopicName;

/// The names that come more than once.
pub(super) fn twice<'a>(names: impl Iterator<Item = &'a TopicName>) -> BTreeSet<TopicName> {
    let mut seen = BTreeSet::new();
    names.filter(|name| !seen.insert(*name)).cloned().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_comes_again_is_found_once() {
        let names: Vec<TopicName> = ["a", "b", "a", "c", "a", "b"].map(TopicName::from).to_vec();
        let found: Vec<_> = twice(names.iter()).into_iter().collect();
        assert_eq!(found, ["a", "b"].map(TopicName::from));
    }
}
