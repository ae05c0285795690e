//! How many requests bring bytes of uploads at the same time, over the whole server. What has begun
//! goes on, as long as its address has no more than its share; what comes beyond waits a little and
//! is then told to come back, before its body is read.
//!
//! Whatever brings no bytes is never held up here: a client that looks how far its upload is, or
//! deletes it, costs little, and the one that looks would throw its upload away over a refusal.

use std::{error::Error, num::NonZeroUsize, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, StatusCode, Version, request::Parts};
use http_body::Body;

use super::{
    Aborted, ResponseBody, Service,
    about::is_about,
    body::RequestBody,
    shares::{Share, Shares, Whose},
};
use crate::{
    protocol::{
        Problem,
        chunks::{Route, route},
        headers::X_HTTP_METHOD_OVERRIDE,
    },
    telemetry::Surplus,
};

/// How long a body waits for a place where its client comes back by itself, or where waiting costs
/// others: unread bodies would use up the window of a connection of HTTP/2.
const BRIEFLY: Duration = Duration::from_secs(2);
/// Bodies that may wait at most.
const WAITING_MAX: usize = 4096;
/// The longest time after which a refused client is asked to come back, seconds; the shortest is
/// one. Everybody is told another time, else all would come back together.
const RETRY_AFTER_MAX: u8 = 4;

/// Places for bodies; none where they are not counted.
#[derive(Debug)]
pub(super) struct Intake(Option<Arc<Shares>>);

/// A place, to be kept until the body is stored; none where places are not counted.
#[derive(Debug)]
pub(super) struct Place(Option<Share>);

impl Intake {
    /// So many places, or no limit.
    pub(super) fn new(places: Option<NonZeroUsize>) -> Self {
        Self(places.map(|places| Shares::new(places.get())))
    }

    /// `None` where no place became free in time.
    async fn take(&self, whose: Whose, wait: Duration) -> Option<Place> {
        let Some(places) = &self.0 else { return Some(Place(None)) };
        if let Some(share) = places.try_take(whose) {
            return Some(Place(Some(share)));
        }
        // Who gets the place of somebody else is not kept out by those who only wait.
        if !places.make_room(whose) && places.waiting() >= WAITING_MAX {
            return None;
        }
        places.wait(whose, wait).await.map(|share| Place(Some(share)))
    }
}

impl Service {
    /// A place for the body of a tus request, whose client comes back by itself. The body ends as
    /// [`Broken::GaveWay`](crate::ingest::Broken) where the place is wanted back.
    ///
    /// [`Problem::Overloaded`] after a short wait, [`Problem::ShuttingDown`] during a stop.
    pub(super) async fn place(&self, body: &RequestBody) -> Result<Place, Problem> {
        self.place_within(self.0.options.turns.wait.min(BRIEFLY), body).await
    }

    /// A place for the body of a numbered chunk. It waits as long as chunks wait for their turn,
    /// since many of those clients give a file up over one refusal, or repeat it at once.
    pub(super) async fn place_for_chunk(
        &self,
        parts: &Parts,
        body: &RequestBody,
    ) -> Result<Place, Problem> {
        if parts.version >= Version::HTTP_2 {
            return self.place(body).await;
        }
        self.place_within(self.0.options.turns.wait, body).await
    }

    async fn place_within(&self, wait: Duration, body: &RequestBody) -> Result<Place, Problem> {
        let place = tokio::select! {
            place = self.0.intake.take(self.1.whose, wait) => place,
            () = self.0.stop.cancelled() => return Err(Problem::ShuttingDown),
        };
        let Some(place) = place else {
            self.ingest().meter().refused(Surplus::Upload);
            return Err(overloaded());
        };
        if let Some(share) = &place.0 {
            body.has_place(share.pulse());
        }
        Ok(place)
    }

    /// Answers a request on a connection too many: whatever costs little as ever, anything else
    /// with 503. The connection is to be closed behind it.
    pub async fn answer_surplus<B>(
        &self,
        request: Request<B>,
    ) -> Result<Response<ResponseBody>, Aborted>
    where
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<Box<dyn Error + Send + Sync>>,
    {
        if self.costs_little(&request) {
            return self.clone().answer(request).await;
        }
        let (parts, _) = request.into_parts();
        self.count(&parts, Some(StatusCode::SERVICE_UNAVAILABLE));
        Ok(self.refuse_head(&parts, &overloaded()))
    }

    /// Clients throw an upload away over a HEAD that fails, so it does not; a DELETE makes room.
    fn costs_little<B>(&self, request: &Request<B>) -> bool {
        match *request.method() {
            Method::HEAD | Method::OPTIONS | Method::DELETE => true,
            Method::POST => self.stands_for_little(request),
            Method::GET => {
                let path = request.uri().path();
                let looks = |route| matches!(route, Ok(Route::Check | Route::Status));
                is_about(path) || route(&Method::GET, path, self.served()).is_some_and(looks)
            }
            _ => false,
        }
    }

    /// A POST that is a HEAD or a DELETE by the word of its client, which counts in tus only.
    fn stands_for_little<B>(&self, request: &Request<B>) -> bool {
        let of_tus = self.rules().base.strip(request.uri().path()).is_some();
        let meant = request.headers().get(X_HTTP_METHOD_OVERRIDE).map(HeaderValue::as_bytes);
        of_tus && matches!(meant, Some(b"HEAD" | b"DELETE"))
    }
}

/// More than can be taken on now.
pub(super) fn overloaded() -> Problem {
    let mut chance = [0];
    // Without chance all are told the same, which is no harm.
    let _ = getrandom::fill(&mut chance);
    let [chance] = chance;
    Problem::Overloaded { retry_after: u64::from(chance % RETRY_AFTER_MAX) + 1 }
}
