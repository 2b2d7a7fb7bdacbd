//! The newest batches of a log, still in memory: what readers at the end are answered from.
//!
//! Each chunk is the buffer of one finished append, as the executor gave it back; nothing is copied. Chunks follow each
//! other without a gap, the oldest are let go first. A small index of batch ends makes an answer a binary search and a slice.

use std::collections::VecDeque;

use bytes::Bytes;
use strandline_protocol::ids::Offset;

use crate::segment::BatchEnd;

/// One finished append.
#[derive(Clone, Debug)]
struct Chunk {
    /// Its batches are read from here on; records before it are not in it.
    first: Offset,
    end: Offset,
    bytes: Bytes,
    /// Last offset of each batch, and where the batch ends in `bytes`.
    ends: Vec<BatchEnd>,
}

/// The tail cache of one log.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tail {
    chunks: VecDeque<Chunk>,
    bytes: usize,
}

impl Tail {
    /// Bytes held.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// The first offset that can be read from here; `None` if nothing can.
    pub(crate) fn first(&self) -> Option<Offset> {
        self.chunks.front().map(|chunk| chunk.first)
    }

    /// Adds the batches of a finished append. `ends` carries the length of each batch.
    pub(crate) fn push(&mut self, first: Offset, end: Offset, bytes: Bytes, mut ends: Vec<BatchEnd>) {
        let mut position = 0;
        for batch in &mut ends {
            position += batch.bytes;
            batch.bytes = position;
        }
        assert_eq!(position as usize, bytes.len(), "an append brings back exactly its parts");
        self.bytes += bytes.len();
        self.chunks.push_back(Chunk { first, end, bytes, ends });
    }

    /// Whole batches from the one that holds `from` on, none of which ends at or above `below`, up to `bytes_max` bytes but
    /// the first one whatever its size if `first_whole`. `None` if `from` is not held.
    pub(crate) fn read(&self, from: Offset, below: Offset, bytes_max: usize, first_whole: bool) -> Option<Vec<Bytes>> {
        if self.first().is_none_or(|first| from < first) {
            return None;
        }
        let mut slices = Vec::new();
        let mut room = bytes_max;
        let begin = self.chunks.partition_point(|chunk| chunk.end <= from);
        for chunk in self.chunks.range(begin..) {
            let whole = first_whole && slices.is_empty();
            let (start, end, ended) = chunk.range(from, below, room, whole);
            if end > start {
                slices.push(chunk.bytes.slice(start..end));
                room = room.saturating_sub(end - start);
            }
            if ended {
                break;
            }
        }
        Some(slices)
    }

    /// Lets go of the oldest chunks until at least `bytes` bytes are free, or all are gone. Answers with the bytes freed.
    pub(crate) fn shed(&mut self, bytes: usize) -> usize {
        let mut freed = 0;
        while freed < bytes
            && let Some(chunk) = self.chunks.pop_front()
        {
            freed += chunk.bytes.len();
        }
        self.bytes -= freed;
        if self.chunks.is_empty() {
            self.chunks = VecDeque::new();
        }
        freed
    }

    /// Lets go of chunks that end at or below `offset`.
    pub(crate) fn drop_below(&mut self, offset: Offset) {
        while self.chunks.front().is_some_and(|chunk| chunk.end <= offset) {
            self.shed(1);
        }
    }
}

impl Chunk {
    /// From where to where this chunk answers, and whether the answer ends here.
    fn range(&self, from: Offset, below: Offset, room: usize, first_whole: bool) -> (usize, usize, bool) {
        let position = |batch: usize| batch.checked_sub(1).map_or(0, |before| self.ends[before].bytes as usize);
        let first = self.ends.partition_point(|batch| batch.last_offset < from);
        let readable = self.ends.partition_point(|batch| batch.last_offset < below);
        let start = position(first);
        let mut fitting = self.ends.partition_point(|batch| (batch.bytes as usize).saturating_sub(start) <= room);
        if first_whole {
            fitting = fitting.max(first + 1);
        }
        let last = fitting.min(readable).max(first);
        (start, position(last), last < self.ends.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Batches of ten bytes and two offsets each: 0-1, 2-3 | 4-5, 6-7, 8-9.
    fn tail() -> Tail {
        let mut tail = Tail::default();
        for (first, batches) in [(0, 2), (4, 3)] {
            let ends = (0..batches).map(|batch| BatchEnd { last_offset: Offset(first + batch * 2 + 1), bytes: 10 }).collect();
            let bytes = Bytes::from(vec![first as u8; 10 * batches as usize]);
            tail.push(Offset(first), Offset(first + batches * 2), bytes, ends);
        }
        tail
    }

    fn sizes(from: i64, below: i64, bytes_max: usize, first_whole: bool) -> Option<Vec<usize>> {
        let slices = tail().read(Offset(from), Offset(below), bytes_max, first_whole)?;
        Some(slices.iter().map(Bytes::len).collect())
    }

    #[test]
    fn a_read_begins_with_the_batch_that_holds_the_offset() {
        assert_eq!(sizes(0, 10, 100, false), Some(vec![20, 30]));
        assert_eq!(sizes(1, 10, 100, false), Some(vec![20, 30]));
        assert_eq!(sizes(3, 10, 100, false), Some(vec![10, 30]));
        assert_eq!(sizes(9, 10, 100, false), Some(vec![10]));
        assert_eq!(sizes(10, 10, 100, false), Some(vec![]));
    }

    #[test]
    fn a_read_ends_before_the_batch_that_reaches_the_bound() {
        assert_eq!(sizes(0, 4, 100, false), Some(vec![20]));
        assert_eq!(sizes(0, 5, 100, false), Some(vec![20]));
        assert_eq!(sizes(0, 6, 100, false), Some(vec![20, 10]));
        assert_eq!(sizes(0, 1, 100, true), Some(vec![]));
    }

    #[test]
    fn a_read_ends_with_its_bytes_but_gives_the_first_batch_whole_if_asked() {
        assert_eq!(sizes(0, 10, 19, false), Some(vec![10]));
        assert_eq!(sizes(0, 10, 20, false), Some(vec![20]));
        assert_eq!(sizes(0, 10, 35, false), Some(vec![20, 10]));
        assert_eq!(sizes(2, 10, 5, false), Some(vec![]));
        assert_eq!(sizes(2, 10, 5, true), Some(vec![10]));
    }

    #[test]
    fn what_was_let_go_cannot_be_read() {
        let mut tail = tail();
        assert_eq!(tail.shed(1), 20);
        assert_eq!((tail.bytes(), tail.first()), (30, Some(Offset(4))));
        assert_eq!(tail.read(Offset(3), Offset(10), 100, true), None);
        assert_eq!(tail.shed(1_000), 30);
        assert_eq!((tail.bytes(), tail.first()), (0, None));
        assert_eq!(tail.read(Offset(9), Offset(10), 100, true), None);
    }
}
