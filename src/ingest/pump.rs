//! Moves bytes from a request to a sink: the async side copies frames into buffers, a blocking
//! thread hashes and writes them. The thread is there only while bytes flow: a stalled client holds
//! no thread and no buffer.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use tokio_util::sync::CancellationToken;

use super::{
    LeaveSignal,
    blocking::{self, Span},
    buffers::{Buffer, BufferPool},
    source::{self, Broken, Source},
    sync::tasks::{self, OwnedSemaphorePermit, Semaphore, mpsc},
};
use crate::{clock::Stopwatch, hold::HoldError};

/// Bodies up to this many bytes take one blocking call and no channel.
pub(super) const SMALL: u64 = 64 * 1024;
/// A half-full buffer is written when no bytes came for this long.
const FLUSH_AFTER: Duration = Duration::from_millis(20);
/// The thread goes when no bytes came for this long.
const REST_AFTER: Duration = Duration::from_secs(1);
/// Buffers on their way to the thread; with the one being filled and the one being written that
/// makes four.
const QUEUE: usize = 2;

/// What goes to the thread.
enum Parcel {
    Bytes(Buffer),
    /// No bytes come for now.
    Rest,
}

/// What takes bytes, on a blocking thread.
pub(super) trait Sink: Send + 'static {
    /// Is told, before the first write, that `bytes` are all that the body has, and at hand.
    fn expect(&mut self, bytes: u64) -> Result<(), HoldError> {
        let _ = bytes;
        Ok(())
    }

    /// Takes all of `bytes`.
    fn write(&mut self, bytes: Bytes) -> Result<(), HoldError>;

    /// No more come for now: lets go of whatever it keeps of them.
    fn rest(&mut self) -> Result<(), HoldError> {
        Ok(())
    }

    /// How long it takes [`SMALL`] bytes.
    fn span(&self) -> Span {
        Span::Open
    }
}

/// How a body ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum End {
    /// Properly, with all bytes that were announced.
    Complete,
    /// In the middle.
    Broken(Broken),
    /// It went on past the bytes that are wanted; those were taken.
    Overflow,
    /// A newcomer asked for the upload.
    TakenOver,
    /// The process stops.
    Stopping,
}

/// What all transfers of a process share.
#[derive(Debug, Clone)]
pub(super) struct Transfers {
    pub(super) pool: Arc<BufferPool>,
    /// Threads that write at the same time.
    pub(super) writers: Arc<Semaphore>,
    pub(super) stop: CancellationToken,
}

/// Moves at most `room` bytes into `sink`. The sink comes back whatever happens; its error stands
/// beside the end.
pub(super) async fn pump<S: Sink>(
    transfers: &Transfers,
    source: &mut dyn Source,
    (sink, room): (S, u64),
    leave: Option<LeaveSignal>,
) -> (S, Result<End, HoldError>) {
    let stop = &transfers.stop;
    let mut gate = Gate { source, room, leave, stop, received: 0, overflowed: false };
    if gate.source.announced().is_some_and(|bytes| bytes <= SMALL) {
        return pump_small(&mut gate, sink).await;
    }
    let mut line = Line::new(transfers, sink);
    let result = pump_large(&mut gate, &mut line).await;
    let (sink, written) = line.close().await;
    (sink, written.and(result))
}

async fn pump_small<S: Sink>(gate: &mut Gate<'_>, mut sink: S) -> (S, Result<End, HoldError>) {
    let mut body = Bytes::new();
    let mut pieces = Vec::new();
    let end = loop {
        match gate.next(None).await {
            Event::Bytes(all) if pieces.is_empty() && gate.has_all() => body = all,
            // Copied: as long as somebody keeps a frame, its memory takes no other bytes.
            Event::Bytes(piece) => {
                pieces.reserve_exact(gate.missing().saturating_add(piece.len()));
                pieces.extend_from_slice(&piece);
            }
            Event::Quiet => {}
            Event::End(end) => break end,
        }
    };
    if body.is_empty() {
        body = pieces.into();
    }
    if body.is_empty() {
        return (sink, Ok(end));
    }
    let bytes = gate.received;
    blocking::run_for(sink.span(), move || {
        let written = match end {
            End::Complete => sink.expect(bytes),
            _ => Ok(()),
        };
        let written = written.and_then(|()| sink.write(body));
        (sink, written.map(|()| end))
    })
    .await
}

async fn pump_large<S: Sink>(
    gate: &mut Gate<'_>,
    line: &mut Line<'_, S>,
) -> Result<End, HoldError> {
    loop {
        match gate.next(line.patience()).await {
            Event::Bytes(bytes) => {
                if let Some(end) = line.take(&bytes, gate).await? {
                    return Ok(end);
                }
            }
            Event::Quiet => {
                let resting = Stopwatch::start();
                line.rest().await?;
                gate.source.excuse(resting.elapsed());
            }
            Event::End(end) => return Ok(end),
        }
    }
}

/// The request's side: bytes, and whatever ends them.
struct Gate<'a> {
    source: &'a mut dyn Source,
    room: u64,
    leave: Option<LeaveSignal>,
    stop: &'a CancellationToken,
    received: u64,
    /// A frame went past the room; what fits of it was handed on.
    overflowed: bool,
}

enum Event {
    Bytes(Bytes),
    /// Nothing came for the time that was given.
    Quiet,
    End(End),
}

impl Gate<'_> {
    async fn next(&mut self, patience: Option<Duration>) -> Event {
        if self.overflowed {
            return Event::End(End::Overflow);
        }
        let bytes = tokio::select! {
            // A newcomer first: a fast client always has bytes ready.
            biased;
            end = interrupted(&mut self.leave, self.stop) => return Event::End(end),
            bytes = source::next(self.source) => bytes,
            () = tasks::sleep(patience.unwrap_or_default()), if patience.is_some() => {
                return Event::Quiet;
            }
        };
        match bytes {
            None => Event::End(self.proper_end()),
            Some(Err(broken)) => Event::End(End::Broken(broken)),
            Some(Ok(bytes)) => self.admit(bytes),
        }
    }

    /// Cuts what goes past the room.
    fn admit(&mut self, mut bytes: Bytes) -> Event {
        if self.room == 0 {
            return Event::End(End::Overflow);
        }
        let room = usize::try_from(self.room).unwrap_or(usize::MAX);
        self.overflowed = bytes.len() > room;
        bytes.truncate(room);
        let count = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        self.room = self.room.saturating_sub(count);
        self.received = self.received.saturating_add(count);
        Event::Bytes(bytes)
    }

    /// Bytes that were announced and have not come.
    fn missing(&self) -> usize {
        let missing = self.source.announced().unwrap_or(0).saturating_sub(self.received);
        usize::try_from(missing).unwrap_or(0)
    }

    fn has_all(&self) -> bool {
        self.source.announced() == Some(self.received)
    }

    /// Received bytes are compared with the announced ones, whatever the HTTP library thinks of the
    /// end.
    fn proper_end(&self) -> End {
        match self.source.announced() {
            Some(announced) if announced != self.received => End::Broken(Broken::Cut),
            _ => End::Complete,
        }
    }
}

/// Returns when a newcomer asks or the process stops.
async fn interrupted(leave: &mut Option<LeaveSignal>, stop: &CancellationToken) -> End {
    let asked = async {
        match leave {
            Some(signal) => signal.asked().await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        () = asked => End::TakenOver,
        () = stop.cancelled() => End::Stopping,
    }
}

/// The disk's side: a buffer being filled, a queue, a thread.
struct Line<'a, S> {
    transfers: &'a Transfers,
    filling: Option<Buffer>,
    worker: Worker<S>,
}

enum Worker<S> {
    Resting(S),
    Running {
        queue: mpsc::Sender<Parcel>,
        thread: blocking::Running<(S, Result<(), HoldError>)>,
        /// Does it know that no bytes come for now?
        at_rest: bool,
    },
    /// Only while it changes hands.
    Gone,
}

impl<'a, S: Sink> Line<'a, S> {
    fn new(transfers: &'a Transfers, sink: S) -> Self {
        Self { transfers, filling: None, worker: Worker::Resting(sink) }
    }

    /// How long to wait for bytes before something should be let go; `None` if nothing is held.
    fn patience(&self) -> Option<Duration> {
        let threads_short = self.transfers.writers.available_permits() == 0;
        match (&self.filling, &self.worker) {
            (Some(_), _) if threads_short || self.transfers.pool.is_short() => Some(Duration::ZERO),
            (None, Worker::Running { .. }) if threads_short => Some(Duration::ZERO),
            (Some(_), _) | (None, Worker::Running { at_rest: false, .. }) => Some(FLUSH_AFTER),
            (None, Worker::Running { .. }) => Some(REST_AFTER),
            (None, _) => None,
        }
    }

    /// Copies a frame. An end if the request was interrupted while it waited for a buffer.
    async fn take(&mut self, bytes: &[u8], gate: &mut Gate<'_>) -> Result<Option<End>, HoldError> {
        let mut rest = bytes;
        while !rest.is_empty() {
            // The thread first, then the buffer, for everybody: who holds a buffer can always write
            // it.
            if let Some(end) = self.start_worker(gate).await {
                return Ok(Some(end));
            }
            let buffer = if let Some(buffer) = &mut self.filling {
                buffer
            } else {
                tokio::select! {
                    buffer = self.transfers.pool.take() => self.filling.insert(buffer),
                    end = interrupted(&mut gate.leave, gate.stop) => return Ok(Some(end)),
                }
            };
            rest = buffer.fill(rest);
            if buffer.is_full() {
                self.flush().await?;
            }
        }
        Ok(None)
    }

    /// Lets go of the buffer, or, if there is none, of what the thread keeps, or of the thread.
    async fn rest(&mut self) -> Result<(), HoldError> {
        if self.filling.is_some() {
            return self.flush().await;
        }
        match &mut self.worker {
            Worker::Running { at_rest: at_rest @ false, .. } => {
                *at_rest = true;
                self.send(Parcel::Rest).await
            }
            _ => self.stop_worker().await,
        }
    }

    async fn flush(&mut self) -> Result<(), HoldError> {
        let Some(buffer) = self.filling.take() else { return Ok(()) };
        if let Worker::Running { at_rest, .. } = &mut self.worker {
            *at_rest = false;
        }
        self.send(Parcel::Bytes(buffer)).await
    }

    async fn send(&mut self, parcel: Parcel) -> Result<(), HoldError> {
        let Worker::Running { queue, .. } = &self.worker else { return Ok(()) };
        if queue.send(parcel).await.is_err() {
            // The thread ended early: it met an error.
            return self.stop_worker().await;
        }
        Ok(())
    }

    /// An end if the request was interrupted while it waited for a thread.
    async fn start_worker(&mut self, gate: &mut Gate<'_>) -> Option<End> {
        if matches!(self.worker, Worker::Running { .. }) {
            return None;
        }
        let permit = tokio::select! {
            permit = self.transfers.writers.clone().acquire_owned() => permit,
            end = interrupted(&mut gate.leave, gate.stop) => return Some(end),
        };
        let permit = permit.expect("the semaphore is never closed");
        if let Worker::Resting(sink) = std::mem::replace(&mut self.worker, Worker::Gone) {
            let (queue, parcels) = mpsc::channel(QUEUE);
            let thread = blocking::start(move || work(sink, parcels, permit));
            self.worker = Worker::Running { queue, thread, at_rest: false };
        }
        None
    }

    async fn stop_worker(&mut self) -> Result<(), HoldError> {
        match std::mem::replace(&mut self.worker, Worker::Gone) {
            Worker::Running { queue, thread, .. } => {
                drop(queue);
                let (sink, written) = thread.end().await;
                self.worker = Worker::Resting(sink);
                written
            }
            resting => {
                self.worker = resting;
                Ok(())
            }
        }
    }

    /// Writes what is left and gives the sink back.
    async fn close(mut self) -> (S, Result<(), HoldError>) {
        let flushed = self.flush().await;
        let stopped = self.stop_worker().await;
        match self.worker {
            Worker::Resting(sink) => (sink, flushed.and(stopped)),
            Worker::Running { .. } | Worker::Gone => unreachable!("a stopped worker rests"),
        }
    }
}

fn work<S: Sink>(
    mut sink: S,
    mut parcels: mpsc::Receiver<Parcel>,
    _permit: OwnedSemaphorePermit,
) -> (S, Result<(), HoldError>) {
    while let Some(parcel) = parcels.blocking_recv() {
        let done = match parcel {
            Parcel::Bytes(buffer) => sink.write(Bytes::from_owner(buffer)),
            Parcel::Rest => sink.rest(),
        };
        if let Err(error) = done {
            return (sink, Err(error));
        }
    }
    let rested = sink.rest();
    (sink, rested)
}
