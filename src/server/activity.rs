//! What an HTTP/2 connection does, so that one that does nothing can be told to go: pings alone
//! would keep it open for ever.

use std::{
    future::ready,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll},
    time::Duration,
};

use http::{Request, Response};
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::sleep,
};

use super::Front;
use crate::{
    protocol::Problem,
    service::{Aborted, ResponseBody},
};

/// Header fields of a request at most; on HTTP/1.1 hyper has the same bound.
const FIELDS_MAX: usize = 100;

/// Shared by the requests of one connection.
#[derive(Debug, Clone)]
pub(super) struct Activity(Arc<Mutex<Seen>>);

#[derive(Debug)]
struct Seen {
    /// Requests without an answer yet. Their bodies have limits of their own.
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
    pub(super) fn begin() -> Self {
        let last = tokio::time::Instant::now();
        Self(Arc::new(Mutex::new(Seen { served: 0, untaken: 0, last })))
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
        change(&mut seen);
        seen.last = tokio::time::Instant::now();
    }

    fn lock(&self) -> MutexGuard<'_, Seen> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a request takes up of what the server has, for as long as it runs: it goes with the
/// request, which may outlive its stream and its connection. Else a client that asks, takes back
/// and asks again would have as much under way as it likes.
#[derive(Debug, Clone, Default)]
pub(super) struct Place {
    _connection: Option<Arc<OwnedSemaphorePermit>>,
    _stream: Option<Arc<OwnedSemaphorePermit>>,
}

impl Place {
    /// One of the connections that may be open.
    pub(super) fn of_connection(permit: OwnedSemaphorePermit) -> Self {
        Self { _connection: Some(Arc::new(permit)), _stream: None }
    }

    fn of_stream(self, permit: OwnedSemaphorePermit) -> Self {
        Self { _stream: Some(Arc::new(permit)), ..self }
    }
}

/// A service whose requests are counted.
#[derive(Debug, Clone)]
pub(super) struct Watched {
    pub(super) service: Front,
    pub(super) activity: Activity,
    pub(super) place: Place,
    /// Requests of this connection that may run at the same time.
    pub(super) streams: Arc<Semaphore>,
}

impl hyper::service::Service<Request<Incoming>> for Watched {
    type Response = Response<WatchedBody>;
    type Error = Aborted;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Aborted>> + Send>>;

    fn call(&self, mut request: Request<Incoming>) -> Self::Future {
        if request.headers().len() > FIELDS_MAX {
            let (parts, _) = request.into_parts();
            let refusal = self.service.refuse_head(&parts, &Problem::HeadTooLarge);
            let untaken = Untaken::begin(&self.activity);
            return Box::pin(ready(Ok(refusal.map(|body| WatchedBody { body, untaken }))));
        }
        let served = Served::begin(&self.activity);
        let (service, streams) = (self.service.clone(), self.streams.clone());
        let place = self.place.clone();
        Box::pin(async move {
            let stream = streams.acquire_owned().await.expect("the semaphore is never closed");
            request.extensions_mut().insert(place.of_stream(stream));
            let answer = service.answer(request).await?;
            Ok(answer.map(|body| WatchedBody { body, untaken: Untaken::begin(&served.0) }))
        })
    }
}

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
