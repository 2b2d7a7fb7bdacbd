//! What a share consumer consumes, and how.

use std::collections::BTreeSet;
use std::time::Duration;

use super::ShareConsumer;
use super::error::ShareError;
use crate::client::Client;

#[derive(Clone, Debug)]
pub(super) struct Settings {
    pub(super) group: String,
    pub(super) topics: BTreeSet<String>,
    pub(super) rack: Option<String>,
    pub(super) records_max: i32,
    pub(super) fetch_bytes_max: i32,
    pub(super) max_wait: Duration,
    pub(super) decompressed_bytes_max: usize,
}

/// Begins a share consumer; see the defaults at each setting. Where a group begins, how long records are locked and how often they
/// are given out is the group's configuration (`share.auto.offset.reset` and others).
#[derive(Clone, Debug)]
pub struct ShareConsumerBuilder {
    client: Client,
    settings: Settings,
}

impl ShareConsumerBuilder {
    pub(crate) fn new(client: Client, group: String) -> Self {
        let settings = Settings {
            group,
            topics: BTreeSet::new(),
            rack: None,
            records_max: 500,
            fetch_bytes_max: 16 << 20,
            max_wait: Duration::from_millis(500),
            decompressed_bytes_max: 64 << 20,
        };
        Self { client, settings }
    }

    /// The topics to consume. One that does not exist yet is consumed once it does.
    #[must_use]
    pub fn topics(mut self, topics: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.settings.topics = topics.into_iter().map(Into::into).collect();
        self
    }

    /// Where this consumer is, for assignors that look at it.
    #[must_use]
    pub fn rack(mut self, rack: impl Into<String>) -> Self {
        self.settings.rack = Some(rack.into());
        self
    }

    /// Records that one leader gives out at a time; default 500. Few of them when each takes long: all are locked meanwhile.
    #[must_use]
    pub fn records_max(mut self, records: u32) -> Self {
        self.settings.records_max = i32::try_from(records).unwrap_or(i32::MAX);
        self
    }

    /// How long a leader waits for records before it answers; default 500 ms. What was said of earlier ones is sent so often too.
    #[must_use]
    pub fn wait_for(mut self, max_wait: Duration) -> Self {
        self.settings.max_wait = max_wait;
        self
    }

    /// Begins to join the group; it must be called within a tokio runtime. Records come with `poll`, and so does what is wrong.
    ///
    /// # Errors
    /// `InvalidSetting`.
    pub fn build(self) -> Result<ShareConsumer, ShareError> {
        let invalid = |what| Err(ShareError::InvalidSetting { what });
        if self.settings.group.is_empty() {
            return invalid("a group has a name");
        }
        if self.settings.topics.is_empty() {
            return invalid("a share consumer has topics");
        }
        if self.settings.records_max == 0 {
            return invalid("at least one record is given out at a time");
        }
        Ok(ShareConsumer::start(self.client, self.settings))
    }
}
