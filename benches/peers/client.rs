//! A client that costs little: blocking sockets, kept alive, one write for a small request.

use std::{
    io::{self, Read, Write},
    net::{SocketAddr, TcpStream},
    sync::LazyLock,
    thread,
    time::Duration,
};

use crate::{KIB, MIB, program::noise, server::Server};

/// How long any answer may take; the slowest takeover that is known takes seven seconds.
const PATIENCE: Duration = Duration::from_mins(1);

/// Bytes that no disk could compress.
pub static PIECE: LazyLock<Vec<u8>> = LazyLock::new(|| noise(MIB));

/// One connection.
#[derive(Debug)]
pub struct Conn {
    stream: TcpStream,
    address: SocketAddr,
    /// What came and was not taken yet lies in `taken..filled`.
    buffer: Vec<u8>,
    taken: usize,
    filled: usize,
    /// Did the server say that it closes?
    closing: bool,
}

/// What of an answer is of interest.
#[derive(Debug, Default)]
pub struct Answer {
    pub status: u16,
    pub location: Option<String>,
    pub offset: Option<u64>,
    /// The extensions of tus that the server offers.
    pub extensions: String,
    pub body: Vec<u8>,
}

impl Conn {
    pub fn try_open(address: SocketAddr) -> io::Result<Self> {
        let stream = open(address)?;
        let buffer = vec![0; 16 * KIB];
        Ok(Self { stream, address, buffer, taken: 0, filled: 0, closing: false })
    }

    /// Sends a whole request, and waits for the answer.
    pub fn ask(&mut self, request: &[u8]) -> Answer {
        self.send(request);
        self.answer(!request.starts_with(b"HEAD "))
    }

    /// Sends some of a request; a server that closes after each answer is connected to again.
    pub fn send(&mut self, bytes: &[u8]) {
        if self.closing {
            self.stream = open(self.address).unwrap();
            (self.taken, self.filled, self.closing) = (0, 0, false);
        }
        self.stream.write_all(bytes).unwrap();
    }

    /// Sends that many bytes of a body.
    pub fn send_noise(&mut self, mut left: usize) {
        while left > 0 {
            let now = left.min(PIECE.len());
            self.stream.write_all(&PIECE[..now]).unwrap();
            left -= now;
        }
    }

    /// Reads an answer, with its body unless it has none whatever its head says.
    pub fn answer(&mut self, with_body: bool) -> Answer {
        loop {
            let (answer, length) = self.head();
            // What comes before the answer itself.
            if answer.status < 200 {
                continue;
            }
            if !with_body || answer.status == 204 {
                return answer;
            }
            let body = match length {
                Length::Known(length) => self.take(length),
                Length::Chunked => self.chunks(),
            };
            return Answer { body, ..answer };
        }
    }

    fn head(&mut self) -> (Answer, Length) {
        let (mut answer, mut length) = (Answer::default(), Length::Known(0));
        let status = self.line();
        let status = status.get(9..12).and_then(|digits| str::from_utf8(digits).ok()?.parse().ok());
        answer.status = status.expect("a status");
        loop {
            let line = self.line();
            if line.is_empty() {
                return (answer, length);
            }
            let line = str::from_utf8(&line).unwrap();
            let (name, value) = line.split_once(':').unwrap();
            let (value, is) = (value.trim(), |other| name.eq_ignore_ascii_case(other));
            if is("content-length") {
                length = Length::Known(value.parse().unwrap());
            } else if is("transfer-encoding") {
                length = Length::Chunked;
            } else if is("location") {
                answer.location = Some(value.to_owned());
            } else if is("upload-offset") {
                answer.offset = value.parse().ok();
            } else if is("tus-extension") {
                value.clone_into(&mut answer.extensions);
            } else if is("connection") {
                self.closing = value.eq_ignore_ascii_case("close");
            }
        }
    }

    fn line(&mut self) -> Vec<u8> {
        let mut looked = self.taken;
        loop {
            let found = self.buffer[looked..self.filled].iter().position(|byte| *byte == b'\n');
            if let Some(at) = found {
                let end = looked + at;
                let line = self.buffer[self.taken..end].trim_ascii_end().to_vec();
                self.taken = end + 1;
                return line;
            }
            looked = self.filled - self.taken;
            self.fill();
        }
    }

    fn take(&mut self, mut length: usize) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(length);
        while length > 0 {
            if self.taken == self.filled {
                self.fill();
            }
            let now = length.min(self.filled - self.taken);
            bytes.extend_from_slice(&self.buffer[self.taken..self.taken + now]);
            self.taken += now;
            length -= now;
        }
        bytes
    }

    fn chunks(&mut self) -> Vec<u8> {
        let mut body = Vec::new();
        loop {
            let length = self.line();
            let length = usize::from_str_radix(str::from_utf8(&length).unwrap(), 16).unwrap();
            body.extend(self.take(length));
            self.line();
            if length == 0 {
                return body;
            }
        }
    }

    /// Moves what is left to the front, and reads more behind it.
    fn fill(&mut self) {
        self.buffer.copy_within(self.taken..self.filled, 0);
        self.filled -= self.taken;
        self.taken = 0;
        let read = self.stream.read(&mut self.buffer[self.filled..]).expect("an answer");
        assert_ne!(read, 0, "the server closed the connection");
        self.filled += read;
    }
}

fn open(address: SocketAddr) -> io::Result<TcpStream> {
    let stream = TcpStream::connect(address)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    Ok(stream)
}

/// How long a body is.
#[derive(Debug)]
enum Length {
    Known(usize),
    Chunked,
}

/// Requests of tus.
impl Server {
    fn head_of(&self, method: &str, target: &str) -> String {
        let host = self.address();
        format!("{method} {target} HTTP/1.1\r\nHost: {host}\r\nTus-Resumable: 1.0.0\r\n")
    }

    pub fn options(&self) -> Vec<u8> {
        format!("{}\r\n", self.head_of("OPTIONS", self.path())).into_bytes()
    }

    pub fn create(&self, length: usize) -> Vec<u8> {
        self.create_with(&format!("Upload-Length: {length}\r\n"), &[])
    }

    /// With headers, each with its line end, and the first bytes.
    pub fn create_with(&self, headers: &str, body: &[u8]) -> Vec<u8> {
        let head = self.head_of("POST", self.path());
        let kind = if body.is_empty() { "" } else { OFFSET_TYPE };
        let length = body.len();
        let head = format!("{head}{headers}{kind}Content-Length: {length}\r\n\r\n");
        [head.as_bytes(), body].concat()
    }

    /// The head of a PATCH.
    pub fn patch(&self, url: &str, offset: usize, length: usize) -> Vec<u8> {
        let head = self.head_of("PATCH", url);
        let numbers = format!("Upload-Offset: {offset}\r\nContent-Length: {length}\r\n");
        format!("{head}{OFFSET_TYPE}{numbers}\r\n").into_bytes()
    }

    /// A whole PATCH.
    pub fn patch_with(&self, url: &str, offset: usize, body: &[u8]) -> Vec<u8> {
        let mut request = self.patch(url, offset, body.len());
        request.extend_from_slice(body);
        request
    }

    pub fn head(&self, url: &str) -> Vec<u8> {
        format!("{}\r\n", self.head_of("HEAD", url)).into_bytes()
    }

    /// Makes an upload; its path.
    pub fn upload(&self, conn: &mut Conn, length: usize) -> String {
        created(conn.ask(&self.create(length)))
    }

    /// Makes an upload and sends all of it, `step` bytes in each PATCH; its path.
    pub fn send(&self, conn: &mut Conn, length: usize, step: usize) -> String {
        let url = self.upload(conn, length);
        self.send_on(conn, &url, 0..length, step);
        url
    }

    /// Sends some of an upload's bytes, `step` of them in each PATCH.
    pub fn send_on(&self, conn: &mut Conn, url: &str, bytes: std::ops::Range<usize>, step: usize) {
        for offset in bytes.clone().step_by(step) {
            let now = step.min(bytes.end - offset);
            conn.send(&self.patch(url, offset, now));
            conn.send_noise(now);
            assert_eq!(conn.answer(true).status, 204, "PATCH at {offset}");
        }
    }

    /// Removes uploads; whoever cannot is left with them.
    pub fn delete(&self, urls: &[String]) {
        let mut conn = self.connect();
        for url in urls {
            conn.ask(format!("{}\r\n", self.head_of("DELETE", url)).as_bytes());
        }
    }

    /// The same work on several connections at once.
    pub fn at_once<T: Send>(&self, count: usize, work: impl Fn(&mut Conn) -> T + Sync) -> Vec<T> {
        thread::scope(|scope| {
            let hands: Vec<_> =
                (0..count).map(|_| scope.spawn(|| work(&mut self.connect()))).collect();
            hands.into_iter().map(|hand| hand.join().unwrap()).collect()
        })
    }
}

const OFFSET_TYPE: &str = "Content-Type: application/offset+octet-stream\r\n";

/// The path of the upload that an answer tells of.
pub fn created(answer: Answer) -> String {
    let Answer { status, location, body, .. } = answer;
    assert_eq!(status, 201, "{}", String::from_utf8_lossy(&body));
    let location = location.expect("a 201 has a Location");
    match location.split_once("://") {
        Some((_, rest)) => rest[rest.find('/').unwrap()..].to_owned(),
        None => location,
    }
}
