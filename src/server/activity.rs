//! What a connection does, so that one that does nothing can be told to go: to make room for
//! another, or since pings alone would keep it open for ever.

use std::{
    future::ready,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll},
    time::Duration,
};

use http::{HeaderMap, Request, Response, request::Parts};
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::sleep,
};

use super::{Front, places::Seat};
use crate::{
    protocol::Problem,
    service::{Aborted, ResponseBody},
};

/// Header fields of a request at most; on HTTP/1.1 hyper has the same bound.
const FIELDS_MAX: usize = 100;

/// Requests of one connection that run at the same time, those included that the client has taken
/// back meanwhile: they go on, and only their streams are over.
const REQUESTS_MAX: usize = 100;

/// Shared by the requests of one connection.
#[derive(Debug, Clone)]
pub(super) struct Activity(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    seen: Mutex<Seen>,
    seat: Seat,
}

#[derive(Debug)]
struct Seen {
    /// Requests without an answer yet, and those that were taken back and go on. Their bodies have
    /// limits of their own.
    served: usize,
    /// Answers that the client has not taken to their end.
    untaken: usize,
    last: tokio::time::Instant,
}

/// Why a connection may be closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Rest {
    /// Nothing is asked and nothing is answered.
    Idle,
    /// Answers lie there, and the client takes nothing of them.
    Stuck,
}

impl Activity {
    /// Of a connection that rests on its seat.
    pub(super) fn begin(seat: Seat) -> Self {
        let last = tokio::time::Instant::now();
        let seen = Mutex::new(Seen { served: 0, untaken: 0, last });
        Self(Arc::new(Shared { seen, seat }))
    }

    /// The connection's place, which it may be asked to give up while it rests.
    pub(super) fn seat(&self) -> &Seat {
        &self.0.seat
    }

    /// Waits until nothing has happened for `idle_max`, or nothing was taken for `stall_max`.
    pub(super) async fn rest(&self, idle_max: Duration, stall_max: Duration) -> Rest {
        loop {
            let (limit, rest) = match *self.lock() {
                Seen { served: 0, untaken: 0, .. } => (idle_max, Some(Rest::Idle)),
                Seen { served: 0, .. } => (stall_max, Some(Rest::Stuck)),
                _ => (idle_max, None),
            };
            let left = limit.saturating_sub(self.lock().last.elapsed());
            match rest {
                Some(rest) if left.is_zero() => return rest,
                Some(_) => sleep(left).await,
                None => sleep(limit).await,
            }
        }
    }

    fn change(&self, change: impl FnOnce(&mut Seen)) {
        let mut seen = self.lock();
        let rested = seen.rests();
        change(&mut seen);
        seen.last = tokio::time::Instant::now();
        match (rested, seen.rests()) {
            (true, false) => self.0.seat.work(),
            (false, true) => self.0.seat.rest(),
            _ => {}
        }
    }

    fn lock(&self) -> MutexGuard<'_, Seen> {
        self.0.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Seen {
    const fn rests(&self) -> bool {
        self.served == 0 && self.untaken == 0
    }
}

/// What a request takes up of what the server has: the place of its connection, and one of those
/// that a connection has for requests. It goes with the request, which may outlive its stream and
/// its connection. Else a client that asks, takes back and asks again would have as much under way
/// as it likes; and its connection would be asked to make room, which it cannot before that.
#[derive(Debug, Clone)]
struct Place {
    _served: Arc<Served>,
    _request: Running,
}

/// How many requests of a connection may run at the same time.
#[derive(Debug, Clone)]
pub(super) struct Requests(Arc<Semaphore>);

/// One of them, until it ends.
#[derive(Debug, Clone)]
pub(super) struct Running(#[expect(dead_code, reason = "held")] Arc<OwnedSemaphorePermit>);

impl Requests {
    pub(super) fn at_once(count: usize) -> Self {
        Self(Arc::new(Semaphore::new(count)))
    }

    /// Waits until one more may run.
    pub(super) async fn next(self) -> Running {
        Running(Arc::new(self.0.acquire_owned().await.expect("the semaphore is never closed")))
    }
}

/// A service whose requests are counted.
#[derive(Debug, Clone)]
pub(super) struct Watched {
    service: Front,
    activity: Activity,
    requests: Requests,
}

/// Has its head more fields than any client sends?
pub(super) fn has_too_many_fields(headers: &HeaderMap) -> bool {
    headers.len() > FIELDS_MAX
}

impl hyper::service::Service<Request<Incoming>> for Watched {
    type Response = Response<WatchedBody>;
    type Error = Aborted;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Aborted>> + Send>>;

    fn call(&self, mut request: Request<Incoming>) -> Self::Future {
        if has_too_many_fields(request.headers()) {
            let (parts, _) = request.into_parts();
            return Box::pin(ready(Ok(self.refuse_head(&parts, &Problem::HeadTooLarge))));
        }
        let served = Arc::new(Served::begin(&self.activity));
        let (service, requests) = (self.service.clone(), self.requests.clone());
        Box::pin(async move {
            let place = Place { _served: served.clone(), _request: requests.next().await };
            request.extensions_mut().insert(place);
            let answer = service.answer(request).await?;
            Ok(answer.map(|body| WatchedBody { body, untaken: Untaken::begin(&served.0) }))
        })
    }
}

impl Watched {
    pub(super) fn new(service: Front, activity: &Activity) -> Self {
        let requests = Requests::at_once(REQUESTS_MAX);
        Self { service, activity: activity.clone(), requests }
    }

    /// As [`Service::refuse_head`](crate::service::Service::refuse_head).
    pub(super) fn refuse_head(&self, parts: &Parts, problem: &Problem) -> Response<WatchedBody> {
        let untaken = Untaken::begin(&self.activity);
        self.service.refuse_head(parts, problem).map(|body| WatchedBody { body, untaken })
    }
}

#[derive(Debug)]
struct Served(Activity);

impl Served {
    fn begin(activity: &Activity) -> Self {
        activity.change(|seen| seen.served += 1);
        Self(activity.clone())
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        self.0.change(|seen| seen.served -= 1);
    }
}

#[derive(Debug)]
struct Untaken(Activity);

impl Untaken {
    fn begin(activity: &Activity) -> Self {
        activity.change(|seen| seen.untaken += 1);
        Self(activity.clone())
    }
}

impl Drop for Untaken {
    fn drop(&mut self) {
        self.0.change(|seen| seen.untaken -= 1);
    }
}

/// A body that notes when something of it is taken.
#[derive(Debug)]
pub(super) struct WatchedBody {
    body: ResponseBody,
    untaken: Untaken,
}

impl Body for WatchedBody {
    type Data = <ResponseBody as Body>::Data;
    type Error = <ResponseBody as Body>::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        let frame = Pin::new(&mut self.body).poll_frame(context);
        if frame.is_ready() {
            self.untaken.0.change(|_| {});
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::{super::places::Places, *};

    #[tokio::test]
    async fn a_seat_is_free_when_the_last_request_has_ended_and_rests_no_sooner() {
        let places = Places::new(1);
        let activity = Activity::begin(places.seat().await.unwrap());
        let served = Arc::new(Served::begin(&activity));
        let running = Requests::at_once(1).next().await;
        let place = Place { _served: served.clone(), _request: running };
        // The client takes it back, and the request goes on.
        drop(served);
        assert!(!activity.lock().rests());
        // The connection ends, too.
        drop(activity);
        assert!(places.seat().await.is_none());
        drop(place);
        assert!(places.seat().await.is_some());
    }
}
