//! Bytes from a socket to frames: a burst is read in one call, and every frame is a slice of what was read.
//!
//! Chunks are shared by all connections: one is taken when a socket is readable and given back when everything in it
//! is whole frames, so an idle connection holds none. A chunk whose frames were let go is used again from its start. A
//! frame that is larger than a chunk gets memory of its own, is read into it exactly, and the read that finds its
//! successor looks at little, so that little is copied.
//!
//! What large frames hold that are not whole counts against a budget of all connections; who finds it exhausted does not
//! read on (`mod.rs`).
//!
//! Invariant: memory is reserved for a frame only after its length was found within the limit.

use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::{Buf, BufMut, Bytes, BytesMut};
use strandline_protocol::frame::{FrameError, LENGTH_BYTES, frame_length};
use tokio::io::{AsyncRead, AsyncReadExt};

use crate::net::budget::Budget;

/// A chunk: several batches of a usual producer, and still inside the processor's second cache.
pub(crate) const CHUNK_BYTES: usize = 256 << 10;

/// A chunk with less room than this is not read into any more.
const ROOM_BYTES_MIN: usize = 32 << 10;

/// After a large frame, the next read takes no more than this: what is read of another large one has to be moved.
const PEEK_BYTES: usize = 8 << 10;

/// Chunks kept, and bytes of large frames kept, for the next burst.
const CHUNKS_KEPT: usize = 128;
const LARGE_BYTES_KEPT: usize = 32 << 20;

/// How many resting chunks are asked whether they can be used again before a new one is made.
const TRIES: usize = 8;

/// Memory between uses, and what large frames hold.
pub(crate) struct Chunks {
    kept: Mutex<Kept>,
    /// Bytes of large frames that are not whole.
    pub(crate) begun: Budget,
}

#[derive(Default)]
struct Kept {
    /// Chunks with room, the last one used last.
    open: Vec<BytesMut>,
    /// Full ones; free again when their frames are let go.
    resting: VecDeque<BytesMut>,
    /// Memory of large frames with its size.
    large: VecDeque<(BytesMut, usize)>,
    large_bytes: usize,
    taken: bool,
}

impl Chunks {
    /// `begun_bytes_max`: what large frames that are not whole may hold before connections inside one have to wait.
    pub(crate) fn new(begun_bytes_max: usize) -> Self {
        Self { kept: Mutex::default(), begun: Budget::new(begun_bytes_max) }
    }

    /// Hands out an empty chunk with room for `bytes` bytes, at most a chunk's.
    fn take(&self, bytes: usize) -> BytesMut {
        let mut kept = self.kept();
        kept.taken = true;
        while let Some(mut chunk) = kept.open.pop() {
            // From its start again, if nobody holds a frame of it: that memory is warm.
            if chunk.try_reclaim(CHUNK_BYTES) || chunk.capacity() >= bytes {
                return chunk;
            }
            kept.resting.push_back(chunk);
        }
        for _ in 0..TRIES.min(kept.resting.len()) {
            let Some(mut chunk) = kept.resting.pop_front() else { break };
            if chunk.try_reclaim(CHUNK_BYTES) {
                return chunk;
            }
            kept.resting.push_back(chunk);
        }
        BytesMut::with_capacity(CHUNK_BYTES)
    }

    /// Hands out empty memory for a frame of `bytes` bytes, with its size.
    fn take_large(&self, bytes: usize) -> (BytesMut, usize) {
        let mut kept = self.kept();
        kept.taken = true;
        for _ in 0..TRIES.min(kept.large.len()) {
            let Some((mut memory, size)) = kept.large.pop_front() else { break };
            if size >= bytes && memory.try_reclaim(bytes) {
                kept.large_bytes -= size;
                return (memory, size);
            }
            kept.large.push_back((memory, size));
        }
        let size = bytes.next_power_of_two();
        (BytesMut::with_capacity(size), size)
    }

    fn give_back(&self, chunk: BytesMut) {
        let mut kept = self.kept();
        if kept.open.len() + kept.resting.len() >= CHUNKS_KEPT {
            kept.resting.pop_front();
        }
        if chunk.capacity() >= ROOM_BYTES_MIN {
            kept.open.push(chunk);
        } else {
            kept.resting.push_back(chunk);
        }
    }

    fn give_back_large(&self, memory: BytesMut, size: usize) {
        let mut kept = self.kept();
        kept.large_bytes += size;
        kept.large.push_back((memory, size));
        while kept.large_bytes > LARGE_BYTES_KEPT {
            let Some((_, size)) = kept.large.pop_front() else { return };
            kept.large_bytes -= size;
        }
    }

    /// Lets everything go if nothing was taken since the last call.
    pub(crate) fn trim(&self) {
        let mut kept = self.kept();
        if kept.taken {
            kept.taken = false;
        } else {
            *kept = Kept::default();
        }
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a connection has read and not yet handed on.
pub(crate) struct Intake {
    chunks: Arc<Chunks>,
    /// What counts against the budget of large frames.
    begun_bytes: usize,
    frame_bytes_max: usize,
    held: Held,
    /// Bytes of the frame in front with its length; 0 while that is not known.
    frame_bytes: usize,
    after_large: bool,
}

enum Held {
    Nothing,
    Chunk(BytesMut),
    /// A frame larger than a chunk, and the size of its memory.
    Large(BytesMut, usize),
}

impl Intake {
    pub(crate) fn new(chunks: Arc<Chunks>, frame_bytes_max: usize) -> Self {
        Self { chunks, begun_bytes: 0, frame_bytes_max, held: Held::Nothing, frame_bytes: 0, after_large: false }
    }

    /// Bytes of the frame in front with its length; 0 while that is not known.
    pub(crate) fn frame_bytes(&self) -> usize {
        self.frame_bytes
    }

    /// Whether the frame in front has memory of its own.
    pub(crate) fn is_inside_large_frame(&self) -> bool {
        matches!(self.held, Held::Large(..)) && self.missing() > 0
    }

    /// Bytes that the frame in front still lacks; 0 if it is whole or its length is not known.
    fn missing(&self) -> usize {
        self.frame_bytes.saturating_sub(self.bytes().len())
    }

    /// Whether a frame has begun and not ended.
    pub(crate) fn is_inside_frame(&self) -> bool {
        !self.bytes().is_empty()
    }

    /// Reads once from the socket; 0 at its end.
    ///
    /// # Errors
    /// What the socket says.
    pub(crate) async fn read(&mut self, socket: &mut (impl AsyncRead + Unpin)) -> io::Result<usize> {
        self.make_room();
        let missing = self.missing();
        match &mut self.held {
            Held::Large(memory, _) => {
                let read = socket.read_buf(&mut memory.limit(missing)).await;
                let begun = memory.len();
                self.count_begun(begun);
                read
            }
            Held::Chunk(chunk) if self.after_large && chunk.is_empty() => socket.read_buf(&mut chunk.limit(PEEK_BYTES)).await,
            Held::Chunk(chunk) => socket.read_buf(chunk).await,
            Held::Nothing => Ok(0),
        }
    }

    /// The next whole frame without its length, if there is one.
    ///
    /// # Errors
    /// Its length is negative or above the limit.
    pub(crate) fn next_frame(&mut self) -> Result<Option<Bytes>, FrameError> {
        Ok(self.has_frame()?.then(|| self.take_frame()))
    }

    /// Whether the frame in front is whole.
    ///
    /// # Errors
    /// Its length is negative or above the limit.
    pub(crate) fn has_frame(&mut self) -> Result<bool, FrameError> {
        let Some(prefix) = self.bytes().first_chunk::<LENGTH_BYTES>() else { return Ok(false) };
        self.frame_bytes = LENGTH_BYTES + frame_length(*prefix, self.frame_bytes_max)?;
        Ok(self.missing() == 0)
    }

    /// The frame in front, which [`Intake::has_frame`] found whole, without its length.
    pub(crate) fn take_frame(&mut self) -> Bytes {
        let length = self.frame_bytes - LENGTH_BYTES;
        self.frame_bytes = 0;
        self.after_large = matches!(self.held, Held::Large(..));
        self.count_begun(0);
        let (Held::Chunk(memory) | Held::Large(memory, _)) = &mut self.held else { return Bytes::new() };
        memory.advance(LENGTH_BYTES);
        memory.split_to(length).freeze()
    }

    fn count_begun(&mut self, bytes: usize) {
        self.chunks.begun.take(bytes);
        self.chunks.begun.give_back(std::mem::replace(&mut self.begun_bytes, bytes));
    }

    /// Gives memory back that holds nothing: to be called before waiting for the socket.
    pub(crate) fn rest(&mut self) {
        if self.bytes().is_empty() {
            self.let_go();
        }
    }

    fn bytes(&self) -> &[u8] {
        match &self.held {
            Held::Nothing => &[],
            Held::Chunk(memory) | Held::Large(memory, _) => memory,
        }
    }

    /// Sees to memory in which the frame in front fits.
    fn make_room(&mut self) {
        let begun = self.bytes().len();
        let room = match &self.held {
            Held::Nothing => 0,
            Held::Chunk(memory) | Held::Large(memory, _) => memory.capacity() - begun,
        };
        if room > 0 && room >= self.missing() && (room >= ROOM_BYTES_MIN || self.missing() > 0) {
            return;
        }
        let bytes = self.frame_bytes.max(begun + 1);
        let mut replacement = if bytes <= CHUNK_BYTES {
            Held::Chunk(self.chunks.take(bytes))
        } else {
            let (memory, size) = self.chunks.take_large(bytes);
            Held::Large(memory, size)
        };
        if let Held::Chunk(memory) | Held::Large(memory, _) = &mut replacement {
            memory.extend_from_slice(self.bytes());
        }
        self.let_go();
        self.held = replacement;
    }

    fn let_go(&mut self) {
        match std::mem::replace(&mut self.held, Held::Nothing) {
            Held::Nothing => {}
            Held::Chunk(mut chunk) => {
                chunk.clear();
                self.chunks.give_back(chunk);
            }
            Held::Large(mut memory, size) => {
                memory.clear();
                self.chunks.give_back_large(memory, size);
            }
        }
    }
}

impl Drop for Intake {
    fn drop(&mut self) {
        self.count_begun(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(byte: u8, bytes: usize) -> Vec<u8> {
        let mut frame = (bytes as u32).to_be_bytes().to_vec();
        frame.extend(vec![byte; bytes]);
        frame
    }

    /// Sends `stream` in pieces of `step` bytes and expects the frames back.
    async fn check(sizes: &[usize], step: usize) {
        let stream: Vec<u8> = sizes.iter().enumerate().flat_map(|(n, &bytes)| frame(n as u8, bytes)).collect();
        let (mut near, mut far) = tokio::io::duplex(step);
        let sender = tokio::spawn(async move {
            tokio::io::AsyncWriteExt::write_all(&mut far, &stream).await.unwrap();
        });
        let chunks = Arc::new(Chunks::new(1));
        let mut intake = Intake::new(Arc::clone(&chunks), 8 << 20);
        let mut held = VecDeque::new();
        let mut expected = sizes.iter().enumerate();
        loop {
            while let Some(frame) = intake.next_frame().unwrap() {
                let (n, &bytes) = expected.next().expect("no more frames than were sent");
                assert_eq!(frame.len(), bytes);
                held.push_back((n as u8, frame));
                if held.len() > 3 {
                    let (byte, frame): (u8, Bytes) = held.pop_front().unwrap();
                    assert!(frame.iter().all(|&one| one == byte), "nobody wrote into a held frame");
                }
            }
            intake.rest();
            if intake.read(&mut near).await.unwrap() == 0 {
                break;
            }
        }
        assert!(expected.next().is_none(), "every frame came");
        assert!(!intake.is_inside_frame());
        assert_eq!(chunks.begun.used(), 0);
        sender.await.unwrap();
        let kept = chunks.kept();
        assert!(kept.open.len() + kept.resting.len() <= 8);
    }

    #[tokio::test]
    async fn frames_come_whole_however_they_are_torn() {
        let small = [1, 0, 5, 100, 3, 2, 70, 4000, 9];
        for step in [1, 2, 3, 5, 7, 64, 5000] {
            check(&small, step).await;
        }
        let mixed = [100_000, 20, 1 << 20, 300_000, 1 << 20, 65_536, 65_536, 65_536, 65_536, 262_140, 262_144, 1];
        for step in [1000, 65_536, 1 << 20, 8 << 20] {
            check(&mixed, step).await;
        }
        check(&[66_000; 40], 300_000).await;
        check(&[1 << 20; 5], 300_000).await;
    }

    #[tokio::test]
    async fn a_length_beyond_the_limit_is_refused_before_memory_is_reserved() {
        let chunks = Arc::new(Chunks::new(1));
        let mut intake = Intake::new(Arc::clone(&chunks), 1000);
        assert_eq!(intake.read(&mut &frame(0, 1001)[..]).await.unwrap(), 1005);
        assert!(intake.next_frame().is_err());
        let mut intake = Intake::new(chunks, 1000);
        intake.read(&mut &[0xff_u8; 4][..]).await.unwrap();
        assert!(intake.next_frame().is_err());
    }

    #[tokio::test]
    async fn an_idle_connection_holds_no_memory_and_pools_let_go() {
        let chunks = Arc::new(Chunks::new(1));
        let mut intake = Intake::new(Arc::clone(&chunks), 8 << 20);
        intake.read(&mut &frame(3, 10)[..]).await.unwrap();
        assert!(intake.next_frame().unwrap().is_some());
        intake.rest();
        assert!(matches!(intake.held, Held::Nothing));
        assert_eq!(chunks.kept().open.len(), 1);
        chunks.trim();
        assert_eq!(chunks.kept().open.len(), 1, "it was in use since the start");
        chunks.trim();
        assert_eq!(chunks.kept().open.len(), 0);
    }
}
