//! A TCP stream with manners: it does not wait for ever for a client to take bytes, and it does not
//! hang up on one that has not read its answer yet.

use std::{
    io::{self, ErrorKind, IoSlice},
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::{Buf, BytesMut};
use socket2::SockRef;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};
use tokio_util::{io::poll_read_buf, sync::CancellationToken};

use super::ration::{PIECE_MAX, Ration};
use crate::service::{Waiting, shares::Pulse};

/// How long, and how many bytes, are read and thrown away after our last word: bytes that nobody
/// reads would make the kernel reset the connection, and the reset destroys the last answer.
const LINGER_TIME: Duration = Duration::from_secs(2);
const LINGER_BYTES: usize = 64 * 1024 * 1024;
/// The same time, once the process stops.
const LINGER_TIME_OF_STOP: Duration = Duration::from_millis(250);
/// Bytes that the kernel takes from us before it has sent any of them. Without a bound it takes
/// megabytes, and a client that reads on, slowly, looks for minutes as if it took nothing.
const UNSENT_MAX: u32 = 256 * 1024;
/// Read at once for TLS and for HTTP/2 at most, which by themselves would ask the kernel for 4 and
/// 8 KiB at a time.
const AHEAD: usize = 64 * 1024;

/// The stream below HTTP, or below TLS.
#[derive(Debug)]
pub(super) struct Wire {
    stream: TcpStream,
    /// Of the place that the connection has.
    pulse: Pulse,
    ration: Ration,
    stop: CancellationToken,
    /// How long a client may leave our bytes lying.
    stall_max: Duration,
    /// Read and not asked for yet; without memory while nothing comes.
    ahead: BytesMut,
    reads: Reads,
    stall: Waiting,
    spoke: Option<tokio::time::Instant>,
    farewell: Farewell,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reads {
    AsAsked,
    Ahead,
}

#[derive(Debug)]
enum Farewell {
    NotYet,
    Lingering { left: usize, time: Duration, waiting: Waiting },
    Said,
}

impl Wire {
    /// For HTTP/1.1, which reads large pieces by itself.
    pub(super) fn new(
        stream: TcpStream,
        (pulse, ration): (Pulse, Ration),
        stall_max: Duration,
        stop: CancellationToken,
    ) -> Self {
        let socket = SockRef::from(&stream);
        let set = socket.set_tcp_notsent_lowat(UNSENT_MAX).and_then(|()| stream.set_nodelay(true));
        if let Err(error) = set {
            tracing::debug!(%error, "a socket without its options");
        }
        Self {
            stream,
            pulse,
            ration,
            stop,
            stall_max,
            ahead: BytesMut::new(),
            reads: Reads::AsAsked,
            stall: Waiting::default(),
            spoke: None,
            farewell: Farewell::NotYet,
        }
    }

    /// For TLS and HTTP/2, which read small pieces.
    pub(super) fn reading_ahead(self) -> Self {
        Self { reads: Reads::Ahead, ..self }
    }

    fn fill(&mut self, context: &mut Context<'_>) -> Poll<io::Result<usize>> {
        if let Err(error) = ready!(self.stream.poll_read_ready(context)) {
            return Poll::Ready(Err(error));
        }
        self.ahead.reserve(AHEAD.min(self.ration.piece()));
        let read = ready!(poll_read_buf(Pin::new(&mut self.stream), context, &mut self.ahead));
        Poll::Ready(read.inspect(|bytes| self.pulse.moved(*bytes)))
    }

    /// Reads no more than there is for one at present: the buffers of HTTP/1.1 grow when they are
    /// filled, and shrink when they are not.
    fn read_piece(
        &mut self,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let (before, piece) = (buffer.filled().len(), self.ration.piece());
        // Where there is no crowd, nothing is written over before it is read into.
        if piece >= PIECE_MAX || buffer.remaining() <= piece {
            let read = ready!(Pin::new(&mut self.stream).poll_read(context, buffer));
            self.pulse.moved(buffer.filled().len().saturating_sub(before));
            return Poll::Ready(read);
        }
        let mut part = ReadBuf::new(buffer.initialize_unfilled_to(piece));
        let read = ready!(Pin::new(&mut self.stream).poll_read(context, &mut part));
        let bytes = part.filled().len();
        buffer.advance(bytes);
        self.pulse.moved(bytes);
        Poll::Ready(read)
    }

    /// What a write came to; one that waits too long has failed.
    fn taken(
        &mut self,
        written: Poll<io::Result<usize>>,
        context: &mut Context<'_>,
    ) -> Poll<io::Result<usize>> {
        if let Poll::Ready(written) = &written {
            self.pulse.moved(written.as_ref().copied().unwrap_or_default());
        }
        if written.is_ready() {
            self.stall.end();
            self.spoke = Some(tokio::time::Instant::now());
            return written;
        }
        ready!(self.stall.poll(context, self.stall_max));
        Poll::Ready(Err(ErrorKind::TimedOut.into()))
    }

    fn begin_farewell(&self) -> Farewell {
        // Whoever was told nothing of late has nothing to lose.
        if self.spoke.is_none_or(|spoke| spoke.elapsed() > LINGER_TIME) {
            return Farewell::Said;
        }
        let time = if self.stop.is_cancelled() { LINGER_TIME_OF_STOP } else { LINGER_TIME };
        Farewell::Lingering { left: LINGER_BYTES, time, waiting: Waiting::default() }
    }

    /// Reads and throws away until the client hangs up too, within bounds.
    fn linger(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let Farewell::Lingering { left, time, waiting } = &mut self.farewell else {
            return Poll::Ready(());
        };
        let mut scratch = [0; 16 * 1024];
        while waiting.poll(context, *time).is_pending() {
            let mut bytes = ReadBuf::new(&mut scratch);
            let read = ready!(Pin::new(&mut self.stream).poll_read(context, &mut bytes));
            let length = bytes.filled().len();
            if read.is_err() || length == 0 || length > *left {
                break;
            }
            *left -= length;
        }
        Poll::Ready(())
    }
}

impl AsyncRead for Wire {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.reads == Reads::AsAsked {
            return self.read_piece(context, buffer);
        }
        if self.ahead.is_empty() {
            let filled = self.fill(context);
            if self.ahead.is_empty() {
                self.ahead = BytesMut::new();
            }
            if let Err(error) = ready!(filled) {
                return Poll::Ready(Err(error));
            }
        }
        let length = self.ahead.len().min(buffer.remaining());
        buffer.put_slice(self.ahead.get(..length).unwrap_or_default());
        self.ahead.advance(length);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Wire {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.taken(written, context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(context, pieces);
        self.taken(written, context)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if matches!(self.farewell, Farewell::NotYet) {
            ready!(Pin::new(&mut self.stream).poll_shutdown(context))?;
            self.farewell = self.begin_farewell();
        }
        ready!(self.linger(context));
        self.farewell = Farewell::Said;
        Poll::Ready(Ok(()))
    }
}
