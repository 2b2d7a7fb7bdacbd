//! Lines of a file or of standard input, read by a thread of their own.
//!
//! A thread, not a task: a read of a terminal can last forever, and must not keep the process from ending.

use std::fs::File;
use std::io::{self, Read};
use std::path::PathBuf;
use std::thread;

use bytes::{Bytes, BytesMut};
use tokio::sync::mpsc;

use crate::cli::Failure;

/// The longest line: far above what a record may be, so that the cluster's own limit is the one that is met.
pub(crate) const LINE_BYTES_MAX: usize = 64 << 20;

/// Bytes that are read at once.
const READ_BYTES: usize = 256 << 10;

/// Chunks that are read ahead.
const CHUNKS_AHEAD: usize = 4;

/// Where lines come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    StandardInput,
    File(PathBuf),
}

/// Lines that were read together.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Chunk {
    /// Number of the first line, from 1.
    pub(crate) first_line: u64,
    /// Without their line feeds.
    pub(crate) lines: Vec<Bytes>,
    /// Bytes of the lines with their line feeds.
    pub(crate) bytes: u64,
}

/// Starts to read.
pub(crate) fn read(source: Source) -> Result<mpsc::Receiver<Result<Chunk, Failure>>, Failure> {
    let (sender, chunks) = mpsc::channel(CHUNKS_AHEAD);
    let input: Box<dyn Read + Send> = match &source {
        Source::StandardInput => Box::new(io::stdin()),
        Source::File(path) => Box::new(File::open(path).map_err(|error| Failure::File { path: path.clone(), error })?),
    };
    thread::spawn(move || {
        let mut lines = Lines::new(input, LINE_BYTES_MAX);
        loop {
            let chunk = match lines.next() {
                Ok(Some(chunk)) => Ok(chunk),
                Ok(None) => return,
                Err(Broken::TooLong { line, limit }) => Err(Failure::Line { line, limit }),
                Err(Broken::Io(error)) => Err(match &source {
                    Source::StandardInput => Failure::Input(error),
                    Source::File(path) => Failure::File { path: path.clone(), error },
                }),
            };
            let ended = chunk.is_err();
            if sender.blocking_send(chunk).is_err() || ended {
                return;
            }
        }
    });
    Ok(chunks)
}

/// Cuts what it reads into lines.
struct Lines<R> {
    input: R,
    buffer: BytesMut,
    next_line: u64,
    line_bytes_max: usize,
    ended: bool,
}

#[derive(Debug)]
enum Broken {
    Io(io::Error),
    TooLong { line: u64, limit: usize },
}

impl<R: Read> Lines<R> {
    fn new(input: R, line_bytes_max: usize) -> Self {
        Self { input, buffer: BytesMut::new(), next_line: 1, line_bytes_max, ended: false }
    }

    /// The lines that the next read completes; a last line may lack its line feed.
    fn next(&mut self) -> Result<Option<Chunk>, Broken> {
        while !self.ended {
            let begun = self.buffer.len();
            self.fill()?;
            if let Some(end) = self.buffer[begun..].iter().rposition(|byte| *byte == b'\n') {
                let whole = self.buffer.split_to(begun + end + 1).freeze();
                return Ok(Some(self.chunk(whole)));
            }
            if self.buffer.len() > self.line_bytes_max {
                return Err(Broken::TooLong { line: self.next_line, limit: self.line_bytes_max });
            }
        }
        let rest = self.buffer.split().freeze();
        Ok(if rest.is_empty() { None } else { Some(self.chunk(rest)) })
    }

    fn fill(&mut self) -> Result<(), Broken> {
        let begun = self.buffer.len();
        self.buffer.resize(begun + READ_BYTES, 0);
        let read = loop {
            match self.input.read(&mut self.buffer[begun..]) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                result => break result,
            }
        };
        self.buffer.truncate(begun + read.as_ref().map_or(0, |bytes| *bytes));
        self.ended = read.map_err(Broken::Io)? == 0;
        Ok(())
    }

    fn chunk(&mut self, whole: Bytes) -> Chunk {
        let text = whole.strip_suffix(b"\n").unwrap_or(&whole);
        let lines: Vec<Bytes> = text.split(|byte| *byte == b'\n').map(|line| whole.slice_ref(line)).collect();
        let first_line = self.next_line;
        self.next_line += lines.len() as u64;
        Chunk { first_line, lines, bytes: whole.len() as u64 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Reads that end wherever they like.
    struct Pieces(Vec<&'static str>);

    impl Read for Pieces {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            if self.0.is_empty() {
                return Ok(0);
            }
            let piece = self.0.remove(0);
            buffer[..piece.len()].copy_from_slice(piece.as_bytes());
            Ok(piece.len())
        }
    }

    fn lines(pieces: &[&'static str]) -> Vec<(u64, Vec<Bytes>)> {
        let mut lines = Lines::new(Pieces(pieces.to_vec()), 100);
        std::iter::from_fn(|| lines.next().unwrap().map(|chunk| (chunk.first_line, chunk.lines))).collect()
    }

    #[test]
    fn lines_are_whole_wherever_reads_end() {
        let read = lines(&["one\ntw", "o\nthree\n\nfi", "ve"]);
        let all: Vec<Bytes> = read.iter().flat_map(|(_, lines)| lines.clone()).collect();
        assert_eq!(all, ["one", "two", "three", "", "five"]);
        assert_eq!(read.iter().map(|(first, _)| *first).collect::<Vec<_>>(), [1, 2, 5]);
    }

    #[test]
    fn an_empty_input_has_no_lines() {
        assert!(lines(&[]).is_empty());
    }

    #[test]
    fn a_line_above_the_limit_is_refused() {
        let long: &'static str = "x".repeat(60).leak();
        let mut lines = Lines::new(Pieces(vec!["a\n", long, long]), 100);
        assert_eq!(lines.next().unwrap().unwrap().lines, ["a"]);
        assert!(matches!(lines.next(), Err(Broken::TooLong { line: 2, limit: 100 })));
    }
}
