//! What to read, from where, until where.

use std::time::Duration;

use strandline_protocol::ids::Offset;

use super::error::ReadError;
use super::{Reader, open};
use crate::client::Client;
use crate::fetcher::FetchSettings;

/// Where reading begins, in every partition that is read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Start {
    /// At the first record that there is.
    #[default]
    Beginning,
    /// Behind the last record that there is now.
    End,
    /// At this offset.
    Offset(Offset),
    /// At the first record whose time is not before this one, in milliseconds since 1970; at the end if there is none.
    Timestamp(i64),
}

/// Where reading ends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum End {
    /// Never: the reader waits for new records.
    #[default]
    Never,
    /// Behind the last record that there is when the reader is opened.
    Now,
}

/// Whether records of transactions that are open or were aborted are read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Isolation {
    /// Everything that the replicas in sync have.
    #[default]
    ReadUncommitted,
    /// Nothing of aborted transactions, and nothing behind the first open one.
    ReadCommitted,
}

/// What to do when the offset to read is not in the log any more.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OutOfRange {
    /// End with an error, because records are missing.
    #[default]
    Fail,
    /// Go on at the first record that there is.
    Beginning,
    /// Go on behind the last record that there is.
    End,
}

/// What a reader needs to know.
#[derive(Clone, Debug)]
pub(super) struct Settings {
    pub(super) topic: String,
    /// Empty: all.
    pub(super) partitions: Vec<i32>,
    pub(super) start: Start,
    pub(super) end: End,
    pub(super) fetch: FetchSettings,
}

/// What a reader reads; see the defaults at each setting.
#[derive(Clone, Debug)]
pub struct ReaderBuilder {
    client: Client,
    settings: Settings,
}

impl ReaderBuilder {
    pub(crate) fn new(client: Client, topic: String) -> Self {
        let settings = Settings {
            topic,
            partitions: Vec::new(),
            start: Start::Beginning,
            end: End::Never,
            fetch: FetchSettings::default(),
        };
        Self { client, settings }
    }

    /// Reads these partitions only; default all that the topic has when the reader is opened.
    #[must_use]
    pub fn partitions(mut self, partitions: impl IntoIterator<Item = i32>) -> Self {
        self.settings.partitions = partitions.into_iter().collect();
        self.settings.partitions.sort_unstable();
        self.settings.partitions.dedup();
        self
    }

    /// Where reading begins; default at the beginning.
    #[must_use]
    pub fn from(mut self, start: Start) -> Self {
        self.settings.start = start;
        self
    }

    /// Where reading ends; default never.
    #[must_use]
    pub fn until(mut self, end: End) -> Self {
        self.settings.end = end;
        self
    }

    /// Which records of transactions are read; default all.
    #[must_use]
    pub fn isolation(mut self, isolation: Isolation) -> Self {
        self.settings.fetch.isolation = isolation;
        self
    }

    /// What to do when the offset to read is not in the log any more; default end with an error.
    #[must_use]
    pub fn on_out_of_range(mut self, out_of_range: OutOfRange) -> Self {
        self.settings.fetch.out_of_range = out_of_range;
        self
    }

    /// Bytes that the broker waits for before it answers, and how long; default 1 byte, 500 ms.
    #[must_use]
    pub fn wait_for(mut self, min_bytes: i32, max_wait: Duration) -> Self {
        (self.settings.fetch.min_bytes, self.settings.fetch.max_wait) = (min_bytes, max_wait);
        self
    }

    /// Bytes of one partition, and of all partitions together, in one answer; default 1 MiB and 16 MiB. A larger batch
    /// comes alone.
    #[must_use]
    pub fn fetch_bytes_max(mut self, partition: i32, all: i32) -> Self {
        (self.settings.fetch.partition_bytes_max, self.settings.fetch.fetch_bytes_max) = (partition, all);
        self
    }

    /// Bytes that are fetched ahead of the caller; default 16 MiB. What is in flight to each broker comes on top.
    #[must_use]
    pub fn prefetch_bytes(mut self, bytes: usize) -> Self {
        self.settings.fetch.prefetch_bytes = bytes;
        self
    }

    /// The most that one batch may grow to when it is decompressed, and about what the batches of one answer may take
    /// together; default 64 MiB.
    #[must_use]
    pub fn decompressed_bytes_max(mut self, bytes: usize) -> Self {
        self.settings.fetch.decompressed_bytes_max = bytes;
        self
    }

    /// Finds out where to begin and to end, and begins to fetch.
    ///
    /// # Errors
    /// [`ReadError`] if the topic or a partition does not exist, or its offsets cannot be found out.
    ///
    /// Dropping the future drops the attempt.
    pub async fn open(self) -> Result<Reader, ReadError> {
        self.settings.fetch.check().map_err(|what| ReadError::InvalidSetting { what })?;
        open::open(self.client, self.settings).await
    }
}
