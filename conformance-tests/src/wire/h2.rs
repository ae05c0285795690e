//! HTTP/2 with the blocking face of [`super::h1`]: the same requests go in, the same answers come
//! out, and a body may come by pieces, with trailers, or be broken off.

use std::{
    future::{Future, poll_fn},
    io,
    net::SocketAddr,
    pin::Pin,
    sync::LazyLock,
    task::Poll,
    time::Duration,
};

use bytes::Bytes;
use h2::{
    Reason,
    client::{self, ResponseFuture, SendRequest},
};
use http::{HeaderMap, HeaderName, HeaderValue, Uri};
use tokio::{
    net::TcpStream,
    runtime::{Builder, Runtime},
    time,
};

use super::{Answer, Exchange, MOST, PATIENCE, Request, keep};
use crate::stop::{Step, breach};

/// What belongs to a connection of HTTP/1.1, and has no place in a head of HTTP/2.
const OF_CONNECTIONS: [&str; 4] = ["host", "connection", "transfer-encoding", "keep-alive"];

/// All connections of HTTP/2 share one runtime.
static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| {
    let built = Builder::new_multi_thread().worker_threads(2).enable_all().build();
    built.expect("a machine without threads runs no judge")
});

/// One connection; its streams may be open at the same time.
#[derive(Debug)]
pub(crate) struct H2 {
    client: SendRequest<Bytes>,
    host: String,
}

impl H2 {
    /// Connects in cleartext, with prior knowledge (RFC 9113 §3.3).
    pub(crate) fn open(address: SocketAddr, host: &str) -> io::Result<Self> {
        let client = RUNTIME.block_on(patiently(async {
            let stream = TcpStream::connect(address).await?;
            stream.set_nodelay(true)?;
            let mut builder = client::Builder::new();
            builder.initial_window_size(1 << 20).initial_connection_window_size(4 << 20);
            let (client, connection) = builder.handshake(stream).await.map_err(io::Error::other)?;
            // It ends with its client.
            tokio::spawn(connection);
            Ok(client)
        }))?;
        Ok(Self { client, host: host.to_owned() })
    }

    /// Can a request be asked this way? Chunks, HTTP/1.0 and nonsense in heads belong to HTTP/1.
    pub(crate) fn can(request: &Request) -> bool {
        let plain = request.version == "HTTP/1.1"
            && request.target.starts_with('/')
            && format!("http://judge.test{}", request.target).parse::<Uri>().is_ok();
        let fits = |(name, value): &(String, String)| {
            !name.eq_ignore_ascii_case("Transfer-Encoding")
                && !name.eq_ignore_ascii_case("Expect")
                && HeaderName::try_from(name).is_ok()
                && HeaderValue::try_from(value).is_ok_and(|value| value.to_str().is_ok())
        };
        let lengths = request.headers.iter();
        let mut lengths = lengths.filter(|(name, _)| name.eq_ignore_ascii_case("Content-Length"));
        let whole = lengths.all(|(_, length)| *length == request.body.len().to_string());
        plain && whole && request.headers.iter().all(fits)
    }

    /// Sends a whole request and returns the answer.
    pub(crate) fn ask(&mut self, request: &Request) -> Step<Answer> {
        let ends = request.body.is_empty();
        let mut stream = self.stream(request, ends)?;
        if !ends {
            // Whoever refuses need not listen to the end.
            let _ = stream.raw(&request.body, End::Here);
        }
        stream.answer()
    }

    /// Sends a request with these trailers behind its body and returns the answer.
    pub(crate) fn ask_with(
        &mut self,
        request: &Request,
        trailers: &[(&str, &str)],
    ) -> Step<Answer> {
        let mut stream = self.begin(request)?;
        stream.trailers(trailers)?;
        stream.answer()
    }

    /// Sends the head, and the body if the request has one, and leaves the stream open.
    pub(crate) fn begin(&mut self, request: &Request) -> Step<Stream> {
        let mut stream = self.stream(request, false)?;
        if !request.body.is_empty() {
            stream.raw(&request.body, End::Open)?;
        }
        Ok(stream)
    }

    fn stream(&mut self, request: &Request, ends: bool) -> Step<Stream> {
        let head = self.head(request)?;
        let mut sent = Vec::new();
        keep(&mut sent, &[b"(HTTP/2)\r\n", request.wire().as_slice()].concat());
        let begun = RUNTIME.block_on(patiently(async {
            let failed = |error| io::Error::other(format!("HTTP/2: {error}"));
            poll_fn(|context| self.client.poll_ready(context)).await.map_err(failed)?;
            self.client.send_request(head, ends).map_err(failed)
        }));
        let (response, body) = begun?;
        Ok(Stream { response, body, sent })
    }

    fn head(&self, request: &Request) -> Step<http::Request<()>> {
        let host = request.headers.iter().find(|(name, _)| name.eq_ignore_ascii_case("host"));
        let host = host.map_or(self.host.as_str(), |(_, host)| host);
        let uri = format!("http://{host}{}", request.target);
        let mut head = http::Request::builder().method(request.method.as_str()).uri(uri);
        for (name, value) in &request.headers {
            if !OF_CONNECTIONS.contains(&name.to_ascii_lowercase().as_str()) {
                head = head.header(name, value);
            }
        }
        let head = head.version(http::Version::HTTP_2).body(());
        head.map_err(|error| breach(format_args!("HTTP/2 cannot say this request: {error}")))
    }
}

/// Does the body end with these bytes?
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// More is to come.
    Open,
    /// These are the last ones.
    Here,
}

/// One request that is still being sent.
#[derive(Debug)]
pub(crate) struct Stream {
    response: ResponseFuture,
    body: h2::SendStream<Bytes>,
    sent: Vec<u8>,
}

impl Stream {
    /// Sends bytes of the body.
    pub(crate) fn raw(&mut self, bytes: impl AsRef<[u8]>, end: End) -> io::Result<()> {
        let (body, bytes) = (&mut self.body, bytes.as_ref());
        let sent: Result<(), h2::Error> = RUNTIME.block_on(patiently_all(async {
            let mut left = Bytes::copy_from_slice(bytes);
            while !left.is_empty() {
                body.reserve_capacity(left.len());
                let window = poll_fn(|context| body.poll_capacity(context)).await;
                let room = window.unwrap_or_else(|| Err(Reason::STREAM_CLOSED.into()))?;
                let piece = left.split_to(room.min(left.len()));
                body.send_data(piece, end == End::Here && left.is_empty())?;
            }
            if end == End::Here && bytes.is_empty() {
                body.send_data(Bytes::new(), true)?;
            }
            Ok(())
        }))?;
        sent.map_err(io::Error::other)
    }

    /// Ends the body with trailers.
    pub(crate) fn trailers(&mut self, trailers: &[(&str, &str)]) -> Step {
        let mut named = HeaderMap::new();
        for (name, value) in trailers {
            let (Ok(name), Ok(value)) =
                (HeaderName::try_from(*name), HeaderValue::try_from(*value))
            else {
                return Err(breach(format_args!("{name}: {value} is no trailer")));
            };
            named.append(name, value);
        }
        self.body.send_trailers(named).map_err(|error| breach(format_args!("no answer: {error}")))
    }

    /// Breaks the request off.
    pub(crate) fn reset(mut self) {
        self.body.send_reset(Reason::CANCEL);
    }

    /// Whether no answer comes for `span`.
    pub(crate) fn silent_for(&mut self, span: Duration) -> bool {
        let response = &mut self.response;
        RUNTIME.block_on(async { time::timeout(span, response).await.is_err() })
    }

    /// The answer.
    pub(crate) fn answer(self) -> Step<Answer> {
        // Kept to the end: letting it go would break the request off.
        let Self { mut response, body: _body, sent } = self;
        let answered: Result<Answer, h2::Error> = RUNTIME.block_on(patiently_all(async {
            let mut interim = Vec::new();
            let (parts, mut body) = poll_fn(|context| {
                while let Poll::Ready(Some(head)) = response.poll_informational(context) {
                    interim.push(head?.status().as_u16());
                }
                Pin::new(&mut response).poll(context)
            })
            .await?
            .into_parts();
            let mut bytes = Vec::new();
            while let Some(piece) = body.data().await {
                let piece = match piece {
                    Ok(piece) => piece,
                    // All is said; only the rest of the request is not wanted (RFC 9113 §8.1).
                    Err(error) if error.reason() == Some(Reason::NO_ERROR) => break,
                    Err(error) => return Err(error),
                };
                let _ = body.flow_control().release_capacity(piece.len());
                if bytes.len().saturating_add(piece.len()) > MOST {
                    return Err(Reason::ENHANCE_YOUR_CALM.into());
                }
                bytes.extend_from_slice(&piece);
            }
            let text = |value: &HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
            let headers = parts.headers.iter();
            let headers: Vec<_> =
                headers.map(|(name, value)| (name.to_string(), text(value))).collect();
            let status = parts.status.as_u16();
            let exchange = Exchange { sent, received: received(status, &headers, &bytes) };
            Ok(Answer { status, headers, body: bytes, interim, exchange })
        }))?;
        answered.map_err(|error| breach(format_args!("no answer: HTTP/2: {error}")))
    }
}

/// An answer of HTTP/2 as it would be read in HTTP/1.
fn received(status: u16, headers: &[(String, String)], body: &[u8]) -> Vec<u8> {
    let mut text = format!(":status {status}\r\n");
    for (name, value) in headers {
        text.extend([name, ": ", value, "\r\n"]);
    }
    text.push_str("\r\n");
    let mut kept = text.into_bytes();
    keep(&mut kept, body);
    kept
}

async fn patiently<T>(what: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    patiently_all(what).await?
}

async fn patiently_all<T>(what: impl Future<Output = T>) -> io::Result<T> {
    let late = |_| io::Error::new(io::ErrorKind::TimedOut, format!("nothing for {PATIENCE:?}"));
    time::timeout(PATIENCE, what).await.map_err(late)
}
