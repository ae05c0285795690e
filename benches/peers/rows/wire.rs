//! HTTP/2 and TLS, as multiples of piton's own HTTP/1.1 in cleartext.

use std::{future::poll_fn, net::SocketAddr, path::PathBuf, pin::Pin, sync::Arc};

use bytes::Bytes;
use h2::client::{self, SendRequest};
use http::Request;
use rcgen::{CertifiedKey, generate_simple_self_signed};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::TcpStream,
    runtime::Builder,
};
use tokio_rustls::{
    TlsConnector,
    client::TlsStream,
    rustls::{
        ClientConfig, RootCertStore,
        crypto::ring,
        pki_types::{CertificateDer, ServerName},
    },
};

use super::streams;
use crate::{
    GIB, MIB,
    client::PIECE,
    contender::{Contender, Field},
    row::{Entry, Row, Unit},
    server::{Sample, Server},
};

/// The entry that the others are multiples of.
pub const PLAIN: &str = "piton, HTTP/1.1";
const DIGEST: &str = "--chunk-digest=none";

pub fn rows(field: &Field) -> Vec<Row> {
    let size = field.stream();
    let pair = Pair::new(field);
    let secure: Vec<_> = [DIGEST.to_owned()].into_iter().chain(pair.args()).collect();
    let secure: Vec<_> = secure.iter().map(String::as_str).collect();
    let plain = |name| Contender::piton(name, &[DIGEST]);
    let secured = |name| Contender::piton(name, &secure);
    let (over_1, over_2) = (pair.client("http/1.1"), pair.client("h2"));
    let entries = vec![
        Entry::of(&plain(PLAIN), move |server| streams::upload(server, 1, size, size)),
        Entry::of(&plain("piton, HTTP/2"), move |server| {
            measure(server, size, async move |address| {
                streams_over(TcpStream::connect(address).await.unwrap(), "http", size).await
            })
        }),
        Entry::of(&secured("piton, TLS 1.3, HTTP/1.1"), move |server| {
            let tls = over_1.clone();
            measure(server, size, async move |address| {
                lines_over(tls.connect(address).await, size).await
            })
        }),
        Entry::of(&secured("piton, TLS 1.3, HTTP/2"), move |server| {
            let tls = over_2.clone();
            measure(server, size, async move |address| {
                streams_over(tls.connect(address).await, "https", size).await
            })
        }),
    ];
    let title = format!("one upload in one PATCH, {} MiB, no digests", size / MIB);
    vec![Row::new("wire", title, Unit::PerGib, entries)]
}

/// Has a client of its own runtime send, then remove what it sent.
fn measure(server: &Server, size: usize, send: impl AsyncFnOnce(SocketAddr) -> Removal) -> Sample {
    let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let (address, mut removal) = (server.address(), None);
    let sample = server.cost(size as f64 / GIB as f64, || {
        removal = Some(runtime.block_on(send(address)));
    });
    runtime.block_on(removal.unwrap().0);
    sample
}

/// Removes what was sent.
struct Removal(Pin<Box<dyn Future<Output = ()>>>);

/// Sends an upload over HTTP/2.
async fn streams_over<S>(io: S, scheme: &'static str, size: usize) -> Removal
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (mut client, connection) = client::handshake(io).await.unwrap();
    tokio::spawn(connection);
    let request = move |method: &str, path: &str| {
        let uri = format!("{scheme}://piton.test{path}");
        Request::builder().method(method).uri(uri).header("tus-resumable", "1.0.0")
    };
    let create = request("POST", "/files/").header("upload-length", size).body(()).unwrap();
    let answer = ask(&mut client, create).await;
    assert_eq!(answer.status(), 201);
    let url = answer.headers()["location"].to_str().unwrap();
    let url = format!("/files/{}", url.rsplit('/').next().unwrap());
    let patch = request("PATCH", &url)
        .header("upload-offset", 0)
        .header("content-length", size)
        .header("content-type", "application/offset+octet-stream");
    client = client.ready().await.unwrap();
    let (answer, mut body) = client.send_request(patch.body(()).unwrap(), false).unwrap();
    let (piece, mut left) = (Bytes::from_static(&PIECE), size);
    while left > 0 {
        body.reserve_capacity(left.min(piece.len()));
        let room = poll_fn(|cx| body.poll_capacity(cx)).await.unwrap().unwrap();
        let now = room.min(left).min(piece.len());
        left -= now;
        body.send_data(piece.slice(..now), left == 0).unwrap();
    }
    assert_eq!(answer.await.unwrap().status(), 204);
    Removal(Box::pin(async move {
        let delete = request("DELETE", &url).body(()).unwrap();
        ask(&mut client, delete).await;
    }))
}

async fn ask(client: &mut SendRequest<Bytes>, request: Request<()>) -> http::Response<()> {
    let mut ready = client.clone().ready().await.unwrap();
    let answer = ready.send_request(request, true).unwrap().0.await.unwrap();
    answer.map(drop)
}

/// Sends an upload over HTTP/1.1.
async fn lines_over(mut io: TlsStream<TcpStream>, size: usize) -> Removal {
    const COMMON: &str = "HTTP/1.1\r\nHost: piton\r\nTus-Resumable: 1.0.0\r\n";
    let create = format!("POST /files/ {COMMON}Upload-Length: {size}\r\n\r\n");
    let answer = ask_line(&mut io, &create).await;
    assert!(answer.starts_with("HTTP/1.1 201"), "{answer}");
    let url = answer.lines().find_map(|line| line.strip_prefix("location: ")).unwrap();
    let url = format!("/files/{}", url.rsplit('/').next().unwrap());
    let patch = format!(
        "PATCH {url} {COMMON}Upload-Offset: 0\r\nContent-Length: {size}\r\n\
         Content-Type: application/offset+octet-stream\r\n\r\n"
    );
    io.write_all(patch.as_bytes()).await.unwrap();
    for _ in 0..size / PIECE.len() {
        io.write_all(&PIECE).await.unwrap();
    }
    let answer = ask_line(&mut io, "").await;
    assert!(answer.starts_with("HTTP/1.1 204"), "{answer}");
    Removal(Box::pin(async move {
        ask_line(&mut io, &format!("DELETE {url} {COMMON}\r\n")).await;
    }))
}

/// Sends a request and reads the head of its answer, which has no body.
async fn ask_line(io: &mut TlsStream<TcpStream>, request: &str) -> String {
    io.write_all(request.as_bytes()).await.unwrap();
    io.flush().await.unwrap();
    let (mut answer, mut buffer) = (Vec::new(), [0; 4096]);
    while !answer.ends_with(b"\r\n\r\n") {
        let read = io.read(&mut buffer).await.unwrap();
        assert_ne!(read, 0, "no answer");
        answer.extend_from_slice(&buffer[..read]);
    }
    String::from_utf8(answer).unwrap().to_ascii_lowercase().replace("http/1.1", "HTTP/1.1")
}

/// A certificate and its key, in files.
#[derive(Debug)]
struct Pair {
    cert_file: PathBuf,
    key_file: PathBuf,
    cert: CertificateDer<'static>,
}

impl Pair {
    fn new(field: &Field) -> Self {
        let (cert_file, key_file) = (field.folder().join("cert"), field.folder().join("key"));
        let names = vec!["piton.test".to_owned()];
        let CertifiedKey { cert, signing_key } = generate_simple_self_signed(names).unwrap();
        std::fs::write(&cert_file, cert.pem()).unwrap();
        std::fs::write(&key_file, signing_key.serialize_pem()).unwrap();
        Self { cert_file, key_file, cert: cert.der().clone() }
    }

    /// The options that name both.
    fn args(&self) -> [String; 2] {
        let (cert, key) = (self.cert_file.display(), self.key_file.display());
        [format!("--tls-cert={cert}"), format!("--tls-key={key}")]
    }

    /// Who trusts nothing else, and speaks `protocol`.
    fn client(&self, protocol: &str) -> Tls {
        let mut roots = RootCertStore::empty();
        roots.add(self.cert.clone()).unwrap();
        let mut config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = vec![protocol.as_bytes().to_vec()];
        Tls(TlsConnector::from(Arc::new(config)))
    }
}

#[derive(Clone)]
struct Tls(TlsConnector);

impl Tls {
    async fn connect(&self, address: SocketAddr) -> TlsStream<TcpStream> {
        let stream = TcpStream::connect(address).await.unwrap();
        stream.set_nodelay(true).unwrap();
        self.0.connect(ServerName::try_from("piton.test").unwrap(), stream).await.unwrap()
    }
}
