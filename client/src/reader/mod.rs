//! Reading partitions that are assigned by hand, from a place to a place.
//!
//! A task fetches ahead of the caller; see `fetcher/`. Not here: groups, and who remembers how far a reader has come: see
//! `consumer/`.
//!
//! Invariants. Records of a partition come in the order of their offsets, none twice. What is buffered is bounded by
//! `prefetch_bytes` and one answer of each broker.

mod builder;
mod error;
mod open;

use std::vec::IntoIter;

use tokio::sync::mpsc;

use crate::fetcher::Chunk;
use crate::record::ConsumerRecord;

pub use builder::{End, Isolation, OutOfRange, ReaderBuilder, Start};
pub use error::{Damage, ReadError};
pub(crate) use open::find;

/// Reads the records of a topic. Dropping it ends its task.
#[derive(Debug)]
pub struct Reader {
    chunks: mpsc::Receiver<Result<Chunk, ReadError>>,
    current: IntoIter<ConsumerRecord>,
}

impl Reader {
    fn new(chunks: mpsc::Receiver<Result<Chunk, ReadError>>) -> Self {
        Self { chunks, current: Vec::new().into_iter() }
    }

    /// The next record; `None` when the reader has come to its end. Partitions take turns.
    ///
    /// A record shares the memory of the answer that it came in: who keeps few of many copies them.
    ///
    /// # Errors
    /// [`ReadError`]. The reader has ended then; records that came before the error have been handed out.
    ///
    /// Dropping the future loses nothing.
    pub async fn next(&mut self) -> Result<Option<ConsumerRecord>, ReadError> {
        loop {
            if let Some(record) = self.current.next() {
                return Ok(Some(record));
            }
            match self.chunks.recv().await.transpose()? {
                Some(chunk) => self.current = chunk.records.into_iter(),
                None => return Ok(None),
            }
        }
    }

    /// The next records, all of one partition, in order and never none; `None` at the end. Faster than `next` for many
    /// small records.
    ///
    /// # Errors
    /// As `next`.
    ///
    /// Dropping the future loses nothing.
    pub async fn next_batch(&mut self) -> Result<Option<Vec<ConsumerRecord>>, ReadError> {
        let rest: Vec<ConsumerRecord> = self.current.by_ref().collect();
        if !rest.is_empty() {
            return Ok(Some(rest));
        }
        Ok(self.chunks.recv().await.transpose()?.map(|chunk| chunk.records))
    }
}
