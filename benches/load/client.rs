//! A client of HTTP/1.1 that waits without a thread.

use std::{
    io,
    net::SocketAddr,
    sync::atomic::{AtomicBool, Ordering},
    time::{Duration, Instant},
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time,
};

/// Headers of every request.
const COMMON: &str = "Host: piton\r\nTus-Resumable: 1.0.0\r\n";
const BYTES: &str = "Content-Type: application/offset+octet-stream\r\n";

/// How long things took.
pub type Spans = Vec<Duration>;

/// One connection.
#[derive(Debug)]
pub struct Client {
    stream: TcpStream,
    unread: Vec<u8>,
}

/// An answer whose body was read and thrown away.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    head: String,
}

impl Answer {
    pub fn header(&self, name: &str) -> Option<&str> {
        let lines = self.head.lines().filter_map(|line| line.split_once(':'));
        let mut found = lines.filter(|(other, _)| other.eq_ignore_ascii_case(name));
        found.next().map(|(_, value)| value.trim())
    }
}

impl Client {
    pub async fn open(address: SocketAddr) -> Self {
        Self::try_open(address).await.unwrap()
    }

    pub async fn try_open(address: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, unread: Vec::new() })
    }

    pub async fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).await.unwrap();
    }

    pub async fn answer(&mut self) -> Answer {
        self.try_answer("").await.unwrap()
    }

    async fn try_answer(&mut self, method: &str) -> io::Result<Answer> {
        let end = loop {
            if let Some(at) = self.unread.windows(4).position(|four| four == b"\r\n\r\n") {
                break at + 4;
            }
            self.fill().await?;
        };
        let rest = self.unread.split_off(end);
        let head = String::from_utf8_lossy(&self.unread).into_owned();
        self.unread = rest;
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
        let answer = Answer { status: status.ok_or(io::ErrorKind::InvalidData)?, head };
        let length = answer.header("content-length").map_or(0, |length| length.parse().unwrap());
        while method != "HEAD" && self.unread.len() < length {
            self.fill().await?;
        }
        self.unread.drain(..length.min(self.unread.len()));
        Ok(answer)
    }

    async fn fill(&mut self) -> io::Result<()> {
        match self.stream.read_buf(&mut self.unread).await? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            _ => Ok(()),
        }
    }

    pub async fn health(&mut self) {
        self.send(b"GET /healthz HTTP/1.1\r\nHost: piton\r\n\r\n").await;
        assert_eq!(self.answer().await.status, 200);
    }

    /// Asks for a new upload, whose answer is not read.
    pub async fn ask_for_upload(&mut self, size: usize, body: &[u8]) -> io::Result<()> {
        let length = body.len();
        let kind = if body.is_empty() { "" } else { BYTES };
        let head = format!(
            "POST /files/ HTTP/1.1\r\n{COMMON}{kind}Upload-Length: {size}\r\n\
             Content-Length: {length}\r\n\r\n"
        );
        self.stream.write_all(&[head.as_bytes(), body].concat()).await
    }

    /// A new upload; its URL.
    pub async fn create(&mut self, size: usize) -> String {
        self.ask_for_upload(size, &[]).await.unwrap();
        let answer = self.answer().await;
        assert_eq!(answer.status, 201, "{answer:?}");
        answer.header("location").unwrap().to_owned()
    }

    /// A new upload that is sent in two halves, where a refusal is an answer too.
    pub async fn try_upload_slowly(&mut self, body: &[u8], pause: Duration) -> io::Result<Answer> {
        let length = body.len();
        let head = format!(
            "POST /files/ HTTP/1.1\r\n{COMMON}{BYTES}Upload-Length: {length}\r\n\
             Content-Length: {length}\r\n\r\n"
        );
        let (first, second) = body.split_at(length / 2);
        // Who refuses may not hear all of it.
        let _ = self.stream.write_all(&[head.as_bytes(), first].concat()).await;
        time::sleep(pause).await;
        let _ = self.stream.write_all(second).await;
        self.try_answer("POST").await
    }

    pub async fn begin_patch(&mut self, url: &str, length: usize) {
        let numbers = format!("Upload-Offset: 0\r\nContent-Length: {length}\r\n");
        let head = format!("PATCH {url} HTTP/1.1\r\n{COMMON}{BYTES}{numbers}\r\n");
        self.send(head.as_bytes()).await;
    }

    /// How far an upload is.
    pub async fn offset(&mut self, url: &str) -> usize {
        self.send(format!("HEAD {url} HTTP/1.1\r\n{COMMON}\r\n").as_bytes()).await;
        let answer = self.try_answer("HEAD").await.unwrap();
        assert_eq!(answer.status, 200, "{answer:?}");
        answer.header("upload-offset").unwrap().parse().unwrap()
    }
}

/// Looks at the health all the time, each time on a connection of its own, until `work` is done.
pub async fn watching_health<T>(address: SocketAddr, work: impl Future<Output = T>) -> (Spans, T) {
    let over = AtomicBool::new(false);
    let watch = async {
        let mut spans = Spans::new();
        while !over.load(Ordering::Relaxed) {
            let since = Instant::now();
            Client::open(address).await.health().await;
            spans.push(since.elapsed());
            time::sleep(Duration::from_millis(20)).await;
        }
        spans
    };
    let work = async {
        let done = work.await;
        over.store(true, Ordering::Relaxed);
        done
    };
    tokio::join!(watch, work)
}

/// The middle, the 99th of a hundred, and the longest.
pub fn percentiles(spans: &[Duration]) -> String {
    if spans.is_empty() {
        return "none".to_owned();
    }
    let mut sorted = spans.to_vec();
    sorted.sort();
    let at = |share: usize| sorted[(sorted.len() * share / 100).min(sorted.len() - 1)];
    format!("p50 {:.1?}, p99 {:.1?}, longest {:.1?}", at(50), at(99), at(100))
}
