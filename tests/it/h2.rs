//! A small HTTP/2 client with the blocking face of [`crate::client`]: the same requests go in, the
//! same answers come out, and a body may come by pieces, with trailers, or be broken off.

use std::{
    future::{Future, poll_fn},
    io,
    net::SocketAddr,
    time::Duration,
};

use bytes::Bytes;
use h2::{
    Reason,
    client::{self, ResponseFuture, SendRequest},
};
use http::{HeaderMap, HeaderName, HeaderValue, Uri};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    runtime::{Builder, Runtime},
    task::JoinHandle,
    time,
};

use crate::client::{Answer, Request};

/// How long any answer may take before a test gives up.
const PATIENCE: Duration = Duration::from_secs(20);
/// What belongs to a connection of HTTP/1.1, and has no place in a head of HTTP/2.
const OF_CONNECTIONS: [&str; 4] = ["host", "connection", "transfer-encoding", "keep-alive"];

/// One connection; its streams may be open at the same time.
#[derive(Debug)]
pub struct H2 {
    runtime: Runtime,
    client: SendRequest<Bytes>,
    driver: JoinHandle<Result<(), h2::Error>>,
    scheme: &'static str,
}

impl H2 {
    /// Connects in cleartext, with prior knowledge.
    pub fn open(address: SocketAddr) -> Self {
        Self::over("http", TcpStream::connect(address)).unwrap()
    }

    /// Speaks HTTP/2 over whatever `connecting` yields.
    pub fn over<S>(
        scheme: &'static str,
        connecting: impl Future<Output = io::Result<S>>,
    ) -> io::Result<Self>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        let (client, driver) = runtime.block_on(patiently(async {
            let stream = connecting.await?;
            let mut builder = client::Builder::new();
            builder.initial_window_size(1 << 20).initial_connection_window_size(4 << 20);
            let (client, connection) = builder.handshake(stream).await.map_err(io::Error::other)?;
            Ok::<_, io::Error>((client, tokio::spawn(connection)))
        }))?;
        Ok(Self { runtime, client, driver, scheme })
    }

    /// Can a request be asked this way? Chunks, HTTP/1.0 and nonsense in heads belong to HTTP/1.
    pub fn can(request: &Request) -> bool {
        let plain = request.version == "HTTP/1.1"
            && request.target.starts_with('/')
            && format!("http://piton.test{}", request.target).parse::<Uri>().is_ok();
        let fits = |(name, value): &(String, String)| {
            !name.eq_ignore_ascii_case("Transfer-Encoding")
                && HeaderName::try_from(name).is_ok()
                && HeaderValue::try_from(value).is_ok_and(|value| value.to_str().is_ok())
        };
        let of = |name: &str| {
            let named =
                request.headers.iter().filter(|(other, _)| other.eq_ignore_ascii_case(name));
            named.map(|(_, value)| value.clone()).collect::<Vec<_>>()
        };
        let whole = of("Content-Length").iter().all(|n| *n == request.body.len().to_string());
        plain && whole && of("Host").len() == 1 && request.headers.iter().all(fits)
    }

    /// Sends a request with these trailers behind its body and returns the answer.
    #[track_caller]
    pub fn ask_with(&mut self, request: &Request, trailers: &[(&str, &str)]) -> Answer {
        if trailers.is_empty() {
            return self.ask(request);
        }
        let mut stream = self.begin(request);
        stream.trailers(trailers);
        stream.answer()
    }

    /// Sends a whole request and returns the answer.
    #[track_caller]
    pub fn ask(&mut self, request: &Request) -> Answer {
        self.try_ask(request).unwrap_or_else(|error| {
            panic!("no answer to {} {}: {error}", request.method, request.target)
        })
    }

    /// As [`H2::ask`], where no answer is an answer too.
    pub fn try_ask(&mut self, request: &Request) -> Result<Answer, h2::Error> {
        let ends = request.body.is_empty();
        let mut stream = self.stream(request, ends)?;
        if !ends {
            // Whoever refuses need not listen to the end.
            let _ = stream.try_raw(&request.body, true);
        }
        stream.try_answer()
    }

    /// Sends the head, and the body if the request has one, and leaves the stream open.
    pub fn begin(&mut self, request: &Request) -> Stream<'_> {
        let mut stream = self.stream(request, false).unwrap();
        if !request.body.is_empty() {
            stream.raw(&request.body);
        }
        stream
    }

    fn stream(&mut self, request: &Request, ends: bool) -> Result<Stream<'_>, h2::Error> {
        let head = self.head(request);
        let sent = self.runtime.block_on(patiently(async {
            poll_fn(|context| self.client.poll_ready(context)).await?;
            self.client.send_request(head, ends)
        }));
        let (response, body) = sent?;
        Ok(Stream { runtime: &self.runtime, response, body })
    }

    fn head(&self, request: &Request) -> http::Request<()> {
        let host = request.headers.iter().find(|(name, _)| name.eq_ignore_ascii_case("host"));
        let host = host.map_or("piton.test", |(_, host)| host);
        let uri: Uri = if request.target.starts_with('/') {
            format!("{}://{host}{}", self.scheme, request.target).parse().unwrap()
        } else {
            request.target.parse().unwrap()
        };
        let mut head = http::Request::builder().method(request.method.as_str()).uri(uri);
        for (name, value) in &request.headers {
            if !OF_CONNECTIONS.contains(&name.to_ascii_lowercase().as_str()) {
                head = head.header(name, value);
            }
        }
        head.version(http::Version::HTTP_2).body(()).unwrap()
    }

    /// The server ends the connection within `span`; with a farewell, or with this error.
    #[track_caller]
    pub fn closes_within(self, span: Duration) -> Result<(), h2::Error> {
        let Self { runtime, client, driver, .. } = self;
        let ended = runtime.block_on(async { time::timeout(span, driver).await });
        // Held until here: without a handle the client itself would say farewell.
        drop(client);
        ended.unwrap_or_else(|_| panic!("still open after {span:?}")).unwrap()
    }

    /// Has the connection ended?
    pub fn is_closed(&self) -> bool {
        self.driver.is_finished()
    }
}

/// One request that is still being sent.
#[derive(Debug)]
pub struct Stream<'a> {
    runtime: &'a Runtime,
    response: ResponseFuture,
    body: h2::SendStream<Bytes>,
}

impl Stream<'_> {
    /// Sends bytes of the body.
    #[track_caller]
    pub fn raw(&mut self, bytes: impl AsRef<[u8]>) {
        self.try_raw(bytes.as_ref(), false).unwrap();
    }

    /// Sends bytes of the body, the last ones if `ends`, and says whether they were taken.
    pub fn try_raw(&mut self, bytes: &[u8], ends: bool) -> Result<(), h2::Error> {
        let body = &mut self.body;
        self.runtime.block_on(patiently(async {
            let mut left = Bytes::copy_from_slice(bytes);
            while !left.is_empty() {
                body.reserve_capacity(left.len());
                let window = poll_fn(|context| body.poll_capacity(context)).await;
                let room = window.unwrap_or_else(|| Err(Reason::STREAM_CLOSED.into()))?;
                let piece = left.split_to(room.min(left.len()));
                body.send_data(piece, ends && left.is_empty())?;
            }
            if ends && bytes.is_empty() {
                body.send_data(Bytes::new(), true)?;
            }
            Ok(())
        }))
    }

    /// Ends the body.
    pub fn finish(&mut self) {
        self.try_raw(&[], true).unwrap();
    }

    /// Ends the body with trailers.
    pub fn trailers(&mut self, trailers: &[(&str, &str)]) {
        let named = trailers.iter().map(|(name, value)| {
            (HeaderName::try_from(*name).unwrap(), HeaderValue::try_from(*value).unwrap())
        });
        self.body.send_trailers(named.collect::<HeaderMap>()).unwrap();
    }

    /// Breaks the request off.
    pub fn reset(mut self) {
        self.body.send_reset(Reason::CANCEL);
    }

    /// The answer.
    #[track_caller]
    pub fn answer(self) -> Answer {
        self.try_answer().unwrap_or_else(|error| panic!("no answer: {error}"))
    }

    /// As [`Stream::answer`], where no answer is an answer too.
    pub fn try_answer(self) -> Result<Answer, h2::Error> {
        // Kept to the end: letting it go would break the request off.
        let Self { runtime, mut response, body: _body } = self;
        runtime.block_on(patiently(async {
            let mut interim = Vec::new();
            let (parts, mut body) = poll_fn(|context| {
                while let std::task::Poll::Ready(Some(head)) = response.poll_informational(context)
                {
                    interim.push(head?.status().as_u16());
                }
                std::pin::Pin::new(&mut response).poll(context)
            })
            .await?
            .into_parts();
            let mut bytes = Vec::new();
            while let Some(piece) = body.data().await {
                let piece = piece?;
                let _ = body.flow_control().release_capacity(piece.len());
                bytes.extend_from_slice(&piece);
            }
            let text = |value: &HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
            let headers = parts.headers.iter();
            let headers = headers.map(|(name, value)| (name.to_string(), text(value))).collect();
            Ok(Answer { status: parts.status.as_u16(), headers, body: bytes, interim })
        }))
    }

    /// Whether no answer comes for `span`.
    pub fn silent_for(&mut self, span: Duration) -> bool {
        let response = &mut self.response;
        self.runtime.block_on(async { time::timeout(span, response).await.is_err() })
    }
}

async fn patiently<T>(what: impl Future<Output = T>) -> T {
    time::timeout(PATIENCE, what).await.unwrap_or_else(|_| panic!("nothing for {PATIENCE:?}"))
}
