use crate::postgres::{ServerError, Stream};
use bytes::BytesMut;
use postgres_protocol::message::{backend::Header, frontend};
use std::io;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// Enough for the walsender to stay ahead of us, and what the buffer shrinks back to.
const BUFFER: usize = 256 << 10;

/// A connection in frames. Frames are looked at where they were read to; nothing is copied out.
#[derive(Debug)]
pub(super) struct Wire {
    stream: Stream,
    input: Vec<u8>,
    /// Where in `input` the next frame begins.
    start: usize,
    output: BytesMut,
}

/// One message of the server.
#[derive(Clone, Copy, Debug)]
pub(super) struct Frame<'a> {
    pub(super) tag: u8,
    pub(super) body: &'a [u8],
}

impl Wire {
    pub(super) fn new(stream: Stream) -> Self {
        Self { stream, input: Vec::with_capacity(BUFFER), start: 0, output: BytesMut::new() }
    }

    pub(super) fn stream(&self) -> &Stream {
        &self.stream
    }

    /// The next frame, if all of it is here.
    pub(super) fn frame(&mut self) -> io::Result<Option<Frame<'_>>> {
        let unread = &self.input[self.start..];
        let Some(header) = Header::parse(unread)? else { return Ok(None) };
        let end = 1 + header.len() as usize; // never negative: `parse` refuses that
        if unread.len() < end {
            return Ok(None);
        }
        let from = self.start;
        self.start += end;
        Ok(Some(Frame { tag: header.tag(), body: &self.input[from + 5..from + end] }))
    }

    /// Reads once. Cancel safe.
    pub(super) async fn fill(&mut self) -> io::Result<usize> {
        self.make_room();
        match self.stream.read_buf(&mut self.input).await? {
            0 => Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the server closed the connection")),
            count => Ok(count),
        }
    }

    /// A frame larger than the buffer makes it grow as its bytes arrive, not by what it claims.
    fn make_room(&mut self) {
        self.input.drain(..self.start);
        self.start = 0;
        if self.input.is_empty() && self.input.capacity() > 4 * BUFFER {
            self.input = Vec::with_capacity(BUFFER);
        }
        if self.input.capacity() - self.input.len() < BUFFER / 4 {
            self.input.reserve(BUFFER.max(self.input.len()));
        }
    }

    /// The next frame, waiting for it.
    pub(super) async fn next(&mut self) -> io::Result<Frame<'_>> {
        loop {
            // Asked twice because a borrow that is returned may not be tried before.
            if self.has_frame()? {
                break;
            }
            self.fill().await?;
        }
        self.frame()?.ok_or_else(|| io::Error::other("a frame went missing"))
    }

    fn has_frame(&self) -> io::Result<bool> {
        let unread = &self.input[self.start..];
        Ok(Header::parse(unread)?.is_some_and(|header| unread.len() > header.len() as usize))
    }

    /// Writes a message and flushes it.
    pub(super) async fn send(
        &mut self,
        write: impl FnOnce(&mut BytesMut) -> io::Result<()>,
    ) -> io::Result<()> {
        self.output.clear();
        write(&mut self.output)?;
        self.stream.write_all(&self.output).await?;
        self.stream.flush().await
    }

    /// Says goodbye. The server does not answer.
    pub(super) async fn terminate(&mut self) -> io::Result<()> {
        self.send(|out| {
            frontend::terminate(out);
            Ok(())
        })
        .await?;
        self.stream.shutdown().await
    }
}

/// What an ErrorResponse or NoticeResponse says.
pub(super) fn server_error(body: &[u8]) -> ServerError {
    let mut error = ServerError::default();
    for field in body.split(|byte| *byte == 0) {
        let Some((kind, text)) = field.split_first() else { continue };
        let text = String::from_utf8_lossy(text).into_owned();
        match kind {
            b'C' => error.code = text,
            b'M' => error.message = text,
            b'D' => error.detail = Some(text),
            b'H' => error.hint = Some(text),
            _ => {}
        }
    }
    error
}
