//! One connection: which HTTP it speaks, and its limits.

use std::{
    future::ready,
    pin::{Pin, pin},
    time::Duration,
};

use http::{Request, Response};
use hyper::{
    body::Incoming,
    server::conn::{http1, http2},
};
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::graceful::GracefulConnection,
};
use tokio::{net::TcpStream, time};
use tokio_util::sync::CancellationToken;

use crate::{
    protocol::headers::check_host,
    service::{Aborted, ResponseBody, Service},
};

/// How long a request's head may take, and how long a connection may be idle between two requests.
const HEAD_TIMEOUT: Duration = Duration::from_secs(30);
/// The read buffer of an HTTP/1.1 connection grows to this at most.
const READ_BUFFER: usize = 128 * 1024;
/// HTTP/2 flow control: what one stream may have in flight, and all streams of a connection
/// together.
const STREAM_WINDOW: u32 = 4 * 1024 * 1024;
const CONNECTION_WINDOW: u32 = 16 * 1024 * 1024;
const FRAME_MAX: u32 = 256 * 1024;
const STREAMS_MAX: u32 = 100;
const PING_EVERY: Duration = Duration::from_secs(30);
/// How long to wait before the first bytes are looked at again, and how often: who sends `P` and
/// stops speaks HTTP/1.1.
const SNIFF_PAUSE: Duration = Duration::from_millis(5);
const SNIFFS_MAX: u32 = 40;

/// Serves a connection until it ends; after `stop` only the requests that have begun.
pub(super) async fn serve(stream: TcpStream, service: Service, stop: CancellationToken) {
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "no TCP_NODELAY");
    }
    let spoken = tokio::select! {
        spoken = time::timeout(HEAD_TIMEOUT, sniff(&stream)) => spoken,
        () = stop.cancelled() => return,
    };
    match spoken {
        Ok(Some(Spoken::Http1)) => serve_http1(stream, service, stop).await,
        Ok(Some(Spoken::Http2)) => serve_http2(stream, service, stop).await,
        // Nothing came, or it ended before it began.
        Ok(None) | Err(_) => {}
    }
}

enum Spoken {
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

async fn serve_http1(stream: TcpStream, service: Service, stop: CancellationToken) {
    let mut builder = http1::Builder::new();
    builder
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_buf_size(READ_BUFFER)
        // Some clients close their sending side behind the body and still want the answer.
        .half_close(true);
    drive(builder.serve_connection(TokioIo::new(stream), Hosted(service)), stop).await;
}

/// What HTTP/1.1 asks of a head, and hyper leaves to its user: exactly one `Host`.
struct Hosted(Service);

impl hyper::service::Service<Request<Incoming>> for Hosted {
    type Response = Response<ResponseBody>;
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

async fn serve_http2(stream: TcpStream, service: Service, stop: CancellationToken) {
    let mut builder = http2::Builder::new(TokioExecutor::new());
    builder
        .timer(TokioTimer::new())
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_frame_size(FRAME_MAX)
        .max_concurrent_streams(STREAMS_MAX)
        .keep_alive_interval(PING_EVERY);
    drive(builder.serve_connection(TokioIo::new(stream), service), stop).await;
}

/// Serves until the connection ends; after `stop` it ends with the requests that have begun.
async fn drive(connection: impl GracefulConnection<Error = hyper::Error>, stop: CancellationToken) {
    let mut connection = pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = stop.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        // A client that hangs up is nothing to worry about.
        tracing::debug!(%error, "connection ended early");
    }
}
