//! One connection: which HTTP it speaks, and its limits.

use std::{
    future::ready,
    net::IpAddr,
    pin::{Pin, pin},
    sync::Arc,
    time::Duration,
};

use http::{Request, Response};
use hyper::{
    body::Incoming,
    server::conn::{http1::Builder as Http1, http2::Builder as Http2},
};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::{
    io::{AsyncRead, AsyncWrite, AsyncWriteExt},
    net::TcpStream,
    time,
};
use tokio_rustls::server::TlsStream;
use tokio_util::sync::CancellationToken;

use super::{
    Front,
    activity::{Activity, Requests, Rest, Watched, WatchedBody},
    places::Seat,
    ration::{PIECE_MAX, Ration, Window},
    tls::{self, Tls},
    wire::Wire,
};
use crate::{
    protocol::headers::check_host,
    service::{Aborted, shares::Pulse},
};

const STREAMS_MAX: u32 = 100;
/// Bytes of a head on HTTP/2, each header counted with 32 more (RFC 9113 §6.5.2).
const HEAD_MAX: u32 = 64 * 1024;
const PING_EVERY: Duration = Duration::from_secs(30);
/// How long a client may go on after it was told that its idle connection ends.
const GOODBYE: Duration = Duration::from_secs(5);
/// The same where somebody waits for its place.
const QUICK_GOODBYE: Duration = Duration::from_millis(500);
/// The same on HTTP/2, where the client is told and answers: a farewell, or a request that it had
/// sent before it heard of that, comes back from the far side of the world within this time.
const FAR_GOODBYE: Duration = Duration::from_millis(1500);
/// How long such a connection is still listened to before: what its client has sent already may not
/// have been read yet.
const CROSSING: Duration = Duration::from_millis(20);
/// What a client is told that speaks cleartext to a port of TLS.
const SPEAK_TLS: &[u8] = b"HTTP/1.1 400 Bad Request\r\n\
    Content-Type: text/plain; charset=utf-8\r\n\
    Content-Length: 38\r\n\
    Connection: close\r\n\r\n\
    This port speaks TLS: ask with https.\n";
/// How long to wait before the first bytes are looked at again, and how often: who sends `P` and
/// stops speaks HTTP/1.1.
const SNIFF_PAUSE: Duration = Duration::from_millis(5);
const SNIFFS_MAX: u32 = 40;

/// Receives every connection, and serves it.
#[derive(Debug, Clone)]
pub(super) struct Porter {
    pub(super) service: Front,
    /// Without it the port speaks cleartext.
    pub(super) tls: Option<Arc<Tls>>,
    /// How long a request's head or a TLS handshake may take, and how long a connection may be idle
    /// between two requests.
    pub(super) patience: Duration,
    /// How long a client may take nothing of an answer.
    pub(super) stall_max: Duration,
    pub(super) stop: CancellationToken,
    /// How much may be read ahead.
    pub(super) ration: Ration,
    /// Requests that run in the lobby.
    pub(super) in_lobby: Requests,
}

impl Porter {
    /// The same for a connection that comes from there. Boxed, since each function on its way would
    /// have it in its future once more, as long as the connection is open.
    pub(super) fn for_peer(&self, peer: IpAddr) -> Box<Self> {
        Box::new(Self { service: self.service.clone().for_peer(peer), ..self.clone() })
    }

    /// Serves a connection until it ends; after the stop only the requests that have begun. Where
    /// its place is for an address that has fewer, it ends in the middle of what it does, as if the
    /// client had gone.
    pub(super) async fn serve(self: Box<Self>, stream: TcpStream, seat: Seat) {
        let pulse = seat.pulse().clone();
        tokio::select! {
            () = self.serve_at_leisure(stream, seat) => {}
            () = pulse.leave().cancelled() => {
                tracing::debug!("closed: its place is for somebody who has fewer");
            }
        }
    }

    async fn serve_at_leisure(self: Box<Self>, stream: TcpStream, seat: Seat) {
        let greeted = tokio::select! {
            greeted = time::timeout(self.patience, self.meet(stream, seat.pulse())) => greeted,
            () = seat.asked_to_leave() => return,
            () = self.stop.cancelled() => return,
        };
        // Nothing came in time, or it ended before it began.
        let Ok(Some(spoken)) = greeted else { return };
        match spoken {
            Greeted::Clear(Spoken::Http1, wire) => self.serve_http1(wire, seat).await,
            Greeted::Clear(Spoken::Http2, wire) => self.serve_http2(wire, seat).await,
            Greeted::Tls(Spoken::Http1, stream) => self.serve_http1(stream, seat).await,
            Greeted::Tls(Spoken::Http2, stream) => self.serve_http2(stream, seat).await,
        }
    }

    /// What a connection speaks; `None` where it ends before that is known.
    pub(super) async fn meet(&self, stream: TcpStream, pulse: &Pulse) -> Option<Greeted> {
        match &self.tls {
            Some(tls) => self.shake_hands(stream, tls, pulse).await,
            None => self.greet(stream, pulse).await,
        }
    }

    async fn greet(&self, stream: TcpStream, pulse: &Pulse) -> Option<Greeted> {
        let spoken = sniff(&stream).await?;
        let wire = self.wire(stream, pulse);
        let wire = match spoken {
            Spoken::Http1 => wire,
            Spoken::Http2 => wire.reading_ahead(),
        };
        Some(Greeted::Clear(spoken, wire))
    }

    fn wire(&self, stream: TcpStream, pulse: &Pulse) -> Wire {
        let shared = (pulse.clone(), self.ration.clone());
        Wire::new(stream, shared, self.stall_max, self.stop.clone())
    }

    async fn shake_hands(&self, stream: TcpStream, tls: &Tls, pulse: &Pulse) -> Option<Greeted> {
        let mut first = [0];
        stream.peek(&mut first).await.ok().filter(|seen| *seen > 0)?;
        let [first] = first;
        let mut wire = self.wire(stream, pulse).reading_ahead();
        if first.is_ascii_uppercase() {
            // A method, as it seems: its client can be helped. Whether it listens is its affair.
            let _ = wire.write_all(SPEAK_TLS).await;
            let _ = wire.shutdown().await;
            return None;
        }
        let shaken = tls.acceptor().accept(wire).await;
        let stream =
            shaken.inspect_err(|error| tracing::debug!(%error, "no TLS handshake")).ok()?;
        let chosen = stream.get_ref().1.alpn_protocol();
        let spoken = if chosen == Some(tls::H2) { Spoken::Http2 } else { Spoken::Http1 };
        Some(Greeted::Tls(spoken, Box::new(stream)))
    }
}

/// A connection that has said what it wants.
pub(super) enum Greeted {
    Clear(Spoken, Wire),
    Tls(Spoken, Box<TlsStream<Wire>>),
}

pub(super) enum Spoken {
    Http1,
    Http2,
}

/// Looks at the first bytes without taking them: only HTTP/2 with prior knowledge begins with
/// `PRI`.
async fn sniff(stream: &TcpStream) -> Option<Spoken> {
    const PREFACE: &[u8] = b"PRI";
    let mut first = [0; PREFACE.len()];
    for _ in 0..SNIFFS_MAX {
        let seen = stream.peek(&mut first).await.ok().filter(|seen| *seen > 0)?;
        let seen = first.get(..seen)?;
        if !PREFACE.starts_with(seen) {
            return Some(Spoken::Http1);
        }
        if seen == PREFACE {
            return Some(Spoken::Http2);
        }
        time::sleep(SNIFF_PAUSE).await;
    }
    Some(Spoken::Http1)
}

impl Porter {
    async fn serve_http1<S>(self: Box<Self>, stream: S, seat: Seat)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let activity = Activity::begin(seat);
        let hosted = Hosted(Watched::new(self.service, &activity));
        let connection = http1(self.patience).serve_connection(TokioIo::new(stream), hosted);
        let mut connection = pin!(connection);
        tokio::select! {
            ended = connection.as_mut() => return note(ended),
            () = activity.seat().asked_to_leave() => {}
            () = self.stop.cancelled() => {
                connection.as_mut().graceful_shutdown();
                return note(connection.await);
            }
        }
        // A request may have crossed the question, and is served: many clients do not send one
        // again. From here on an idle connection reads nothing more.
        if let Ok(ended) = time::timeout(CROSSING, connection.as_mut()).await {
            return note(ended);
        }
        connection.as_mut().graceful_shutdown();
        // A head that is not whole yet is not waited for.
        tokio::select! {
            biased;
            ended = connection.as_mut() => note(ended),
            _ = activity.rest(QUICK_GOODBYE, self.stall_max) => {}
        }
    }

    async fn serve_http2<S>(self: Box<Self>, stream: S, seat: Seat)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let (activity, window) = (Activity::begin(seat), self.ration.window());
        let watched = Watched::new(self.service, &activity);
        let mut connection = pin!(http2(&window).serve_connection(TokioIo::new(stream), watched));
        let mut goodbye = self.patience.min(GOODBYE);
        let rest = tokio::select! {
            ended = connection.as_mut() => return note(ended),
            rest = activity.rest(self.patience, self.stall_max) => Some(rest),
            () = activity.seat().asked_to_leave() => {
                goodbye = FAR_GOODBYE.min(goodbye);
                Some(Rest::Idle)
            }
            () = self.stop.cancelled() => None,
        };
        if rest == Some(Rest::Stuck) {
            tracing::debug!("closed: the client does not take its answers");
            return;
        }
        connection.as_mut().graceful_shutdown();
        if rest.is_none() {
            return note(connection.await);
        }
        // Requests may have crossed our farewell, and are served. Who neither asks nor leaves, or
        // is in the middle of a head that never ends, is left, and so is who takes no answer.
        if let Ok(ended) = time::timeout(goodbye, connection.as_mut()).await {
            return note(ended);
        }
        tokio::select! {
            ended = connection.as_mut() => note(ended),
            _ = activity.rest(goodbye, self.stall_max) => {}
        }
    }
}

/// HTTP/1.1 as it is spoken here.
pub(super) fn http1(patience: Duration) -> Http1 {
    let mut builder = Http1::new();
    builder
        .timer(TokioTimer::new())
        .header_read_timeout(patience)
        // A head is not longer either.
        .max_buf_size(PIECE_MAX)
        // Some clients close their sending side behind the body and still want the answer.
        .half_close(true);
    builder
}

/// HTTP/2 as it is spoken here.
pub(super) fn http2(window: &Window) -> Http2<TokioExecutor> {
    let mut builder = Http2::new(TokioExecutor::new());
    builder
        .timer(TokioTimer::new())
        .initial_stream_window_size(window.of_stream())
        .initial_connection_window_size(window.of_connection())
        .max_frame_size(window.of_frame())
        .max_header_list_size(HEAD_MAX)
        .max_concurrent_streams(STREAMS_MAX)
        .keep_alive_interval(PING_EVERY);
    builder
}

pub(super) fn note(ended: Result<(), hyper::Error>) {
    if let Err(error) = ended {
        // A client that hangs up is nothing to worry about.
        tracing::debug!(%error, "connection ended early");
    }
}

/// What HTTP/1.1 asks of a head, and hyper leaves to its user: exactly one `Host`.
struct Hosted(Watched);

impl hyper::service::Service<Request<Incoming>> for Hosted {
    type Response = Response<WatchedBody>;
    type Error = Aborted;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Aborted>> + Send>>;

    fn call(&self, request: Request<Incoming>) -> Self::Future {
        let (parts, body) = request.into_parts();
        match check_host(&parts) {
            Ok(()) => self.0.call(Request::from_parts(parts, body)),
            Err(problem) => Box::pin(ready(Ok(self.0.refuse_head(&parts, &problem)))),
        }
    }
}
