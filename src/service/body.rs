//! A request's body under an idle timeout and a minimum rate, and what becomes of the part that
//! nobody wants.

use std::{
    error::Error,
    io::{self, ErrorKind},
    num::NonZeroU64,
    pin::Pin,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use futures_core::Stream;
use http_body::{Body, Frame};
use http_body_util::{BodyExt, combinators::UnsyncBoxBody};
use tokio::time;
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

use super::{shares::Pulse, waiting::Waiting};
use crate::{
    ingest::{Broken, Source},
    protocol::tus::checksum,
    telemetry::Meter,
    upload::{Checksum, NotAChecksum},
};

/// Unwanted bytes that are read at most, so that an early answer reaches the client. Both limits
/// hold, else a stranger buys bandwidth.
const DRAIN_BYTES: u64 = 64 * 1024 * 1024;
/// How long unwanted bytes are read at most.
const DRAIN_TIME: Duration = Duration::from_secs(5);

/// The same, once the process stops.
const DRAIN_TIME_OF_STOP: Duration = Duration::from_millis(250);

/// Pauses in which the form parser must have made sense of something: it looks at what it has after
/// every other one only.
const PAUSES_MAX: u8 = 2;

/// Bytes that the form parser may take in before it hands something on: more than one frame, which
/// may be all file.
const HOARD_MAX: usize = 256 * 1024;

/// A handle on the body: the handler reads it, and whatever it leaves is drained behind the answer.
#[derive(Clone)]
pub(super) struct RequestBody {
    shared: Arc<Mutex<Shared>>,
    announced: Option<u64>,
}

struct Shared {
    body: UnsyncBoxBody<Bytes, Broken>,
    /// What came behind the bytes.
    checksum: Result<Option<Checksum>, NotAChecksum>,
    /// Read ahead, not handed out yet.
    peeked: Option<Bytes>,
    patience: Patience,
    place: Option<Held>,
    /// Bytes that are still to come, where that is known and nothing comes behind them.
    left: Option<u64>,
    progress: Progress,
    /// Bytes that the form parser took since it last handed something on.
    hoarded: usize,
    /// How often it was told to make sense of them before it gets more, or hears of the end.
    pauses: u8,
    meter: Meter,
    /// As long as it comes in.
    received: Option<Received>,
}

/// Counts a body that is being received.
pub(super) struct Received(Arc<AtomicUsize>);

impl Received {
    pub(super) fn begin(bodies: Arc<AtomicUsize>) -> Self {
        bodies.fetch_add(1, Ordering::Relaxed);
        Self(bodies)
    }
}

impl Drop for Received {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Progress {
    Untouched,
    Begun,
    /// Nothing more will come, properly or not.
    Over,
}

/// How long a body may make us wait.
#[derive(Debug, Clone, Copy)]
pub struct Pace {
    /// For its next byte.
    pub idle_timeout: Duration,
    /// Bytes a second, on average over twice `idle_timeout`.
    pub min_rate: Option<NonZeroU64>,
}

impl Pace {
    /// How long a client may take nothing of an answer.
    pub const fn stall_max(&self) -> Duration {
        self.idle_timeout.saturating_mul(2)
    }
}

/// The place that the body has.
struct Held {
    pulse: Pulse,
    /// Made when the body makes us wait.
    asked: Option<Pin<Box<WaitForCancellationFutureOwned>>>,
}

/// Runs whenever the body makes us wait; a slow disk does not count.
struct Patience {
    pace: Pace,
    waiting: Waiting,
    /// What this window of the average has seen.
    waited: Duration,
    bytes: u128,
}

impl RequestBody {
    pub(super) fn new<B>(
        body: B,
        announced: Option<u64>,
        pace: Pace,
        (meter, received): (Meter, Option<Received>),
    ) -> Self
    where
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<Box<dyn Error + Send + Sync>>,
    {
        let progress = if body.is_end_stream() { Progress::Over } else { Progress::Untouched };
        let patience = Patience::new(pace);
        let body = body.map_err(|error| broken(&*error.into())).boxed_unsync();
        let shared = Shared {
            body,
            checksum: Ok(None),
            peeked: None,
            patience,
            place: None,
            left: announced,
            progress,
            hoarded: 0,
            pauses: 0,
            meter,
            received,
        };
        Self { shared: Arc::new(Mutex::new(shared)), announced }
    }

    /// What it brings is counted for this place, and it ends when the place is wanted back.
    pub(super) fn has_place(&self, pulse: &Pulse) {
        self.lock().place = Some(Held { pulse: pulse.clone(), asked: None });
    }

    /// Its last byte is not its end.
    pub(super) fn expect_trailers(&self) {
        self.lock().left = None;
    }

    /// Has nobody asked for bytes yet? Then a client that waits for 100 has not been told to send.
    pub(super) fn is_untouched(&self) -> bool {
        self.lock().progress == Progress::Untouched
    }

    /// Has the end come, properly or not?
    pub(super) fn is_over(&self) -> bool {
        self.lock().progress == Progress::Over
    }

    /// Waits for the first bytes without taking them. Is there a body at all?
    pub(super) async fn has_bytes(&mut self) -> Result<bool, Broken> {
        loop {
            let next = std::future::poll_fn(|context| self.poll_bytes(context)).await;
            match next.transpose()? {
                None => return Ok(false),
                Some(bytes) if bytes.is_empty() => {}
                Some(bytes) => {
                    self.lock().peeked = Some(bytes);
                    return Ok(true);
                }
            }
        }
    }

    /// All of a small body; `None` if it is larger than `limit` bytes.
    pub(super) async fn collect(&mut self, limit: u64) -> Result<Option<Vec<u8>>, Broken> {
        let mut collected = Vec::new();
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        while let Some(bytes) = std::future::poll_fn(|context| self.poll_bytes(context)).await {
            let bytes = bytes?;
            if collected.len().saturating_add(bytes.len()) > limit {
                return Ok(None);
            }
            collected.extend_from_slice(&bytes);
        }
        Ok(Some(collected))
    }

    /// Reads on and throws away, within bounds: unread bytes would make the kernel reset the
    /// connection, and the reset destroys the answer before the client reads it.
    pub(super) async fn drain(mut self, stop: CancellationToken) {
        let all = async {
            let mut left = DRAIN_BYTES;
            while let Some(Ok(bytes)) =
                std::future::poll_fn(|context| self.poll_bytes(context)).await
            {
                let Some(rest) = left.checked_sub(u64::try_from(bytes.len()).unwrap_or(u64::MAX))
                else {
                    break;
                };
                left = rest;
            }
        };
        let hurried = async {
            stop.cancelled().await;
            time::sleep(DRAIN_TIME_OF_STOP).await;
        };
        tokio::select! {
            () = all => {}
            () = hurried => {}
            () = time::sleep(DRAIN_TIME) => {}
        }
    }

    /// The form parser handed something on.
    pub(super) fn handed_on(&self) {
        let mut shared = self.lock();
        shared.hoarded = 0;
        shared.pauses = 0;
    }

    fn lock(&self) -> MutexGuard<'_, Shared> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Shared {
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Bytes, Broken>>> {
        if let Some(bytes) = self.peeked.take() {
            return Poll::Ready(Some(Ok(bytes)));
        }
        if self.progress == Progress::Over {
            return Poll::Ready(None);
        }
        self.progress = Progress::Begun;
        loop {
            match Pin::new(&mut self.body).poll_frame(context) {
                Poll::Ready(frame) => {
                    self.patience.end_wait();
                    match frame.map(|frame| frame.map(Frame::into_data)) {
                        Some(Ok(Ok(bytes))) => {
                            self.patience.count(bytes.len());
                            let count = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
                            self.left = self.left.map(|left| left.saturating_sub(count));
                            if let Some(place) = &self.place {
                                place.pulse.moved(bytes.len());
                            }
                            self.meter.received(count);
                            return Poll::Ready(Some(Ok(bytes)));
                        }
                        Some(Ok(Err(frame))) => self.keep_checksum(frame),
                        Some(Err(broken)) => return self.end(Some(Err(broken))),
                        None => return self.end(None),
                    }
                }
                Poll::Pending if self.gives_way(context).is_ready() => {
                    // All of it is here, and only its end was not said yet.
                    let is_whole = self.left == Some(0);
                    return self.end((!is_whole).then_some(Err(Broken::GaveWay)));
                }
                Poll::Pending if self.patience.poll(context).is_ready() => {
                    return self.end(Some(Err(Broken::Stalled)));
                }
                Poll::Pending => return Poll::Pending,
            }
        }
    }

    /// Is the place wanted back? Asked only where there is nothing to read.
    fn gives_way(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let Some(Held { pulse, asked }) = &mut self.place else { return Poll::Pending };
        let leave = || Box::pin(pulse.leave().clone().cancelled_owned());
        asked.get_or_insert_with(leave).as_mut().poll(context)
    }

    /// Of trailers nothing else is read (RFC 9110 §6.5.1).
    fn keep_checksum(&mut self, frame: Frame<Bytes>) {
        if let Ok(trailers) = frame.into_trailers() {
            self.checksum = checksum(&trailers);
        }
    }

    /// Makes the form parser look at what it has.
    fn pause<T>(&mut self, context: &mut Context<'_>) -> Poll<T> {
        self.pauses = self.pauses.saturating_add(1);
        context.waker().wake_by_ref();
        Poll::Pending
    }

    fn end<T>(&mut self, last: T) -> Poll<T> {
        self.progress = Progress::Over;
        self.received = None;
        Poll::Ready(last)
    }
}

/// Nonsense from a client that is there to be told, or the end of the connection?
fn broken(error: &(dyn Error + 'static)) -> Broken {
    let mut cause = Some(error);
    while let Some(error) = cause {
        let kind = error.downcast_ref().map(io::Error::kind);
        if matches!(kind, Some(ErrorKind::InvalidInput | ErrorKind::InvalidData)) {
            return Broken::Malformed;
        }
        cause = error.source();
    }
    Broken::Cut
}

impl Patience {
    fn new(pace: Pace) -> Self {
        Self { pace, waiting: Waiting::default(), waited: Duration::ZERO, bytes: 0 }
    }

    fn window(&self) -> Duration {
        self.pace.idle_timeout.saturating_mul(2)
    }

    /// Were there enough bytes for one window?
    fn is_content(&self) -> bool {
        self.pace.min_rate.is_none_or(|rate| {
            self.bytes * 1000 >= u128::from(rate.get()) * self.window().as_millis()
        })
    }

    fn end_wait(&mut self) {
        self.waited = self.waited.saturating_add(self.waiting.end());
    }

    fn count(&mut self, bytes: usize) {
        self.bytes += u128::try_from(bytes).unwrap_or_default();
        // A client that was too slow is ended when it makes us wait again, not with bytes at hand.
        if self.waited >= self.window() && self.is_content() {
            (self.waited, self.bytes) = (Duration::ZERO, 0);
        }
    }

    fn poll(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let idle = self.pace.idle_timeout;
        let left = self.window().saturating_sub(self.waited);
        let limit = if self.is_content() { idle } else { idle.min(left) };
        self.waiting.poll(context, limit)
    }
}

impl Source for RequestBody {
    fn poll_bytes(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Bytes, Broken>>> {
        self.lock().poll(context)
    }

    fn announced(&self) -> Option<u64> {
        self.announced
    }

    fn excuse(&mut self, span: Duration) {
        self.lock().patience.waiting.excuse(span);
    }

    fn checksum(&self) -> Result<Option<Checksum>, NotAChecksum> {
        self.lock().checksum.clone()
    }
}

/// For the form parser.
impl Stream for RequestBody {
    type Item = Result<Bytes, Broken>;

    /// The parser keeps what it cannot make sense of yet, without a bound of its own.
    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let mut shared = self.lock();
        if shared.hoarded > HOARD_MAX {
            if shared.pauses >= PAUSES_MAX {
                return Poll::Ready(Some(Err(Broken::Malformed)));
            }
            // It takes whatever is ready before it looks: a pause makes it look.
            return shared.pause(context);
        }
        let polled = shared.poll(context);
        match &polled {
            Poll::Ready(Some(Ok(bytes))) => {
                shared.hoarded = shared.hoarded.saturating_add(bytes.len());
            }
            // Bytes and end in one go it would take for an end without bytes.
            Poll::Ready(None) if shared.hoarded > 0 && shared.pauses == 0 => {
                return shared.pause(context);
            }
            _ => {}
        }
        polled
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use super::*;

    /// Brings these bytes, and never says that it has ended.
    struct Endless(VecDeque<&'static [u8]>);

    impl Body for Endless {
        type Data = Bytes;
        type Error = io::Error;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
            let bytes = self.0.pop_front();
            bytes.map_or(Poll::Pending, |bytes| Poll::Ready(Some(Ok(Frame::data(bytes.into())))))
        }
    }

    fn body(announced: Option<u64>) -> RequestBody {
        let pace = Pace { idle_timeout: Duration::from_secs(30), min_rate: None };
        let bytes = Endless([b"hello".as_slice(), b" world"].into());
        RequestBody::new(bytes, announced, pace, (Meter::default(), None))
    }

    /// All that comes after the place was wanted back.
    async fn read(mut body: RequestBody) -> (usize, Option<Broken>) {
        let pulse = Pulse::begin();
        body.has_place(&pulse);
        pulse.leave().cancel();
        let mut came = 0;
        loop {
            match std::future::poll_fn(|context| body.poll_bytes(context)).await {
                Some(Ok(bytes)) => came += bytes.len(),
                Some(Err(broken)) => return (came, Some(broken)),
                None => return (came, None),
            }
        }
    }

    // spec: CORE-95: whoever gives way with all bytes there has ended.
    #[tokio::test]
    async fn a_body_that_is_all_there_does_not_give_way() {
        assert!(matches!(read(body(Some(11))).await, (11, None)));
        for announced in [None, Some(12)] {
            assert!(matches!(read(body(announced)).await, (11, Some(Broken::GaveWay))));
        }
        let trailed = body(Some(11));
        trailed.expect_trailers();
        assert!(matches!(read(trailed).await, (11, Some(Broken::GaveWay))));
    }
}
