//! Where a connection too many is told so: it may ask for what costs little, hears 503 for anything
//! else, and leaves.

use std::{
    future::ready,
    pin::{Pin, pin},
    sync::Arc,
    time::Duration,
};

use http::{Request, Response, Version, request::Parts};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    time,
};

use super::{
    Front,
    activity::{Requests, has_too_many_fields},
    connection::{Greeted, Porter, Spoken, http1, http2, note},
    places::Seat,
};
use crate::{
    protocol::{Problem, headers::check_host},
    service::{Aborted, ResponseBody, is_about},
};

/// How long somebody in the lobby may take to say what it wants.
const PATIENCE: Duration = Duration::from_secs(2);
/// How long it may stay at most, the answer and what it still sends included.
const STAY_MAX: Duration = Duration::from_secs(6);
/// Requests of one connection of HTTP/2 that run at the same time, those that were taken back
/// included; further ones wait. There should be one.
const REQUESTS_MAX: usize = 4;
/// Requests of the whole lobby that run at the same time, those included whose connections have
/// left; further ones wait, and leave with their connections. Connections may come and go here as
/// fast as anybody likes, and a HEAD may wait for an upload that is busy.
pub(super) const REQUESTS_OF_ALL: usize = 1024;

impl Porter {
    /// Hears one request, answers it, and closes.
    pub(super) async fn turn_away(self: Box<Self>, stream: TcpStream, seat: Seat) {
        let (stop, seat) = (self.stop.clone(), Arc::new(seat));
        tokio::select! {
            () = self.tell(stream, seat.clone()) => {}
            () = seat.asked_to_leave() => {}
            () = time::sleep(STAY_MAX) => {}
            () = stop.cancelled() => {}
        }
    }

    async fn tell(mut self: Box<Self>, stream: TcpStream, seat: Arc<Seat>) {
        self.patience = self.patience.min(PATIENCE);
        let meeting = self.meet(stream, seat.pulse());
        let Ok(Some(greeted)) = time::timeout(self.patience, meeting).await else { return };
        match greeted {
            Greeted::Clear(Spoken::Http1, wire) => self.tell_http1(wire, seat).await,
            Greeted::Clear(Spoken::Http2, wire) => self.tell_http2(wire, seat).await,
            Greeted::Tls(Spoken::Http1, stream) => self.tell_http1(stream, seat).await,
            Greeted::Tls(Spoken::Http2, stream) => self.tell_http2(stream, seat).await,
        }
    }

    async fn tell_http1<S>(self: Box<Self>, stream: S, seat: Arc<Seat>)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let mut builder = http1(self.patience);
        builder.keep_alive(false);
        let surplus = Surplus::new(*self, seat);
        note(builder.serve_connection(TokioIo::new(stream), surplus).await);
    }

    async fn tell_http2<S>(self: Box<Self>, stream: S, seat: Arc<Seat>)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let (patience, window) = (self.patience, self.ration.window());
        let surplus = Surplus::new(*self, seat);
        let mut connection = pin!(http2(&window).serve_connection(TokioIo::new(stream), surplus));
        tokio::select! {
            ended = connection.as_mut() => return note(ended),
            () = time::sleep(patience) => {}
        }
        connection.as_mut().graceful_shutdown();
        note(connection.await);
    }
}

/// Answers what comes on a connection too many. Whoever is being answered leaves later than those
/// who say nothing.
struct Surplus {
    service: Front,
    seat: Arc<Seat>,
    requests: Requests,
    /// Those of the whole lobby.
    all: Requests,
}

impl Surplus {
    fn new(porter: Porter, seat: Arc<Seat>) -> Self {
        let requests = Requests::at_once(REQUESTS_MAX);
        Self { service: porter.service, seat, requests, all: porter.in_lobby }
    }
}

impl hyper::service::Service<Request<Incoming>> for Surplus {
    type Response = Response<ResponseBody>;
    type Error = Aborted;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Aborted>> + Send>>;

    fn call(&self, request: Request<Incoming>) -> Self::Future {
        self.seat.rest_again();
        let (service, requests) = (self.service.clone(), self.requests.clone());
        let all = self.all.clone();
        let (mut parts, body) = request.into_parts();
        if let Err(problem) = check(&parts) {
            return Box::pin(ready(Ok(service.refuse_head(&parts, &problem))));
        }
        Box::pin(async move {
            let own = requests.next().await;
            // What is asked of the server itself is over at once, and never waits behind others.
            let common = if is_about(parts.uri.path()) { None } else { Some(all.next().await) };
            parts.extensions.insert((own, common));
            service.answer_surplus(Request::from_parts(parts, body)).await
        })
    }
}

/// What is asked of a head on every other connection, too.
fn check(parts: &Parts) -> Result<(), Problem> {
    if has_too_many_fields(&parts.headers) {
        return Err(Problem::HeadTooLarge);
    }
    if parts.version >= Version::HTTP_2 { Ok(()) } else { check_host(parts) }
}
