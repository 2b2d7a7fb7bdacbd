//! Frames from and to a socket, with bounded memory.

use std::io::{self, ErrorKind, IoSlice};
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use strandline_protocol::frame::{LENGTH_BYTES, frame_length};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader};

use crate::address::Address;
use crate::error::RequestError;

/// Bytes that are read ahead of a frame's end, so that small answers cost one system call together.
const READ_AHEAD_BYTES: usize = 32 << 10;

/// Bytes that are reserved on a server's word; a longer frame gets more memory as it arrives.
const RESERVED_BYTES_MAX: usize = 2 << 20;

/// Slices of one gathered write; Linux takes 1024.
const SLICES_MAX: usize = 256;

/// The frames that arrive on a socket.
pub(super) struct Frames<R> {
    socket: BufReader<R>,
    address: Address,
    bytes_max: usize,
}

impl<R: AsyncRead + Unpin> Frames<R> {
    pub(super) fn new(socket: R, address: Address, bytes_max: usize) -> Self {
        Self { socket: BufReader::with_capacity(READ_AHEAD_BYTES, socket), address, bytes_max }
    }

    /// The next frame without its length.
    pub(super) async fn next(&mut self) -> Result<Bytes, RequestError> {
        let mut prefix = [0; LENGTH_BYTES];
        self.socket.read_exact(&mut prefix).await.map_err(|error| self.lost(error))?;
        let length = frame_length(prefix, self.bytes_max)
            .map_err(|error| RequestError::Frame { address: self.address.clone(), error })?;
        let mut frame = BytesMut::with_capacity(length.min(RESERVED_BYTES_MAX));
        let mut rest = (&mut self.socket).take(length as u64);
        while frame.len() < length {
            frame.reserve(1);
            if rest.read_buf(&mut frame).await.map_err(|error| lost(&self.address, error))? == 0 {
                return Err(lost(&self.address, ErrorKind::UnexpectedEof.into()));
            }
        }
        Ok(frame.freeze())
    }

    fn lost(&self, error: io::Error) -> RequestError {
        lost(&self.address, error)
    }

    /// The socket, for writing.
    pub(super) fn socket_mut(&mut self) -> &mut R {
        self.socket.get_mut()
    }

    /// The socket, if nothing was read ahead.
    pub(super) fn into_socket(self) -> Option<R> {
        self.socket.buffer().is_empty().then(|| self.socket.into_inner())
    }
}

fn lost(address: &Address, error: io::Error) -> RequestError {
    RequestError::Disconnected { address: address.clone(), source: Arc::new(error) }
}

/// Writes the parts in order, gathered into as few system calls as the socket takes.
pub(super) async fn write_parts(socket: &mut (impl AsyncWrite + Unpin), parts: Vec<Bytes>) -> io::Result<()> {
    let mut slices: Vec<IoSlice<'_>> = parts.iter().filter(|part| !part.is_empty()).map(|part| IoSlice::new(part)).collect();
    let mut rest = &mut slices[..];
    while !rest.is_empty() {
        let count = rest.len().min(SLICES_MAX);
        let written = socket.write_vectored(&rest[..count]).await?;
        if written == 0 {
            return Err(ErrorKind::WriteZero.into());
        }
        IoSlice::advance_slices(&mut rest, written);
    }
    socket.flush().await
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::{KafkaError, Kind};

    fn address() -> Address {
        Address { host: "test".into(), port: 1 }
    }

    #[tokio::test]
    async fn frames_are_cut_at_their_lengths() {
        let bytes: &[u8] = &[0, 0, 0, 2, 8, 9, 0, 0, 0, 0, 0, 0, 0, 1, 7];
        let mut frames = Frames::new(bytes, address(), 10);
        assert_eq!(frames.next().await.unwrap(), &[8, 9][..]);
        assert_eq!(frames.next().await.unwrap(), &[][..]);
        assert_eq!(frames.next().await.unwrap(), &[7][..]);
        assert_eq!(frames.next().await.unwrap_err().kind(), Kind::Disconnected);
    }

    #[tokio::test]
    async fn a_frame_above_the_limit_is_refused_before_anything_is_reserved() {
        let bytes: &[u8] = &[0x7f, 0xff, 0xff, 0xff, 0];
        let error = Frames::new(bytes, address(), 1 << 20).next().await.unwrap_err();
        assert_eq!(error.kind(), Kind::Corrupt);
    }

    #[tokio::test]
    async fn parts_are_written_in_order_through_a_narrow_pipe() {
        let (mut client, mut server) = tokio::io::duplex(7);
        let parts: Vec<Bytes> = (0..600_u32).map(|number| Bytes::from(number.to_be_bytes().to_vec())).collect();
        let expected = parts.concat();
        let writer = tokio::spawn(async move { write_parts(&mut client, parts).await });
        let mut received = Vec::new();
        server.read_to_end(&mut received).await.unwrap();
        writer.await.unwrap().unwrap();
        assert_eq!(received, expected);
    }
}
