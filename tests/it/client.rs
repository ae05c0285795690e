//! A small blocking HTTP/1.1 client, written by hand so that a test can send what no library would:
//! half a body, a head byte by byte, a reset.

use std::{
    io::{self, ErrorKind, Read, Write},
    net::{Shutdown, SocketAddr, TcpStream},
    thread,
    time::{Duration, Instant},
};

use serde_json::Value;
use socket2::{Domain, Socket, Type};

/// How long any answer may take before a test gives up.
const PATIENCE: Duration = Duration::from_secs(20);

/// A request to be sent.
#[derive(Debug, Clone)]
pub struct Request {
    pub method: String,
    pub target: String,
    pub version: &'static str,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Request {
    /// A request without a body.
    pub fn new(method: &str, target: &str) -> Self {
        Self {
            method: method.to_owned(),
            target: target.to_owned(),
            version: "HTTP/1.1",
            headers: vec![("Host".to_owned(), "piton.test".to_owned())],
            body: Vec::new(),
        }
    }

    /// Adds a header line, beside lines of the same name.
    #[must_use]
    pub fn header(mut self, name: &str, value: impl ToString) -> Self {
        self.headers.push((name.to_owned(), value.to_string()));
        self
    }

    /// Replaces all header lines of this name by one.
    #[must_use]
    pub fn set(self, name: &str, value: impl ToString) -> Self {
        self.without(name).header(name, value)
    }

    /// Takes out all header lines of this name.
    #[must_use]
    pub fn without(mut self, name: &str) -> Self {
        self.headers.retain(|(other, _)| !other.eq_ignore_ascii_case(name));
        self
    }

    /// A body with its Content-Length.
    #[must_use]
    pub fn body(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.body = bytes.into();
        let length = self.body.len();
        self.set("Content-Length", length)
    }

    /// A chunked body in pieces of `size`.
    #[must_use]
    pub fn chunked(mut self, bytes: &[u8], size: usize) -> Self {
        self.body.clear();
        for piece in bytes.chunks(size) {
            self.body.extend(format!("{:x}\r\n", piece.len()).into_bytes());
            self.body.extend_from_slice(piece);
            self.body.extend(b"\r\n");
        }
        self.body.extend(b"0\r\n\r\n");
        self.without("Content-Length").set("Transfer-Encoding", "chunked")
    }

    /// A chunked body in pieces of `size`, with these trailers behind it.
    #[must_use]
    pub fn trailed(self, bytes: &[u8], size: usize, trailers: &[(&str, &str)]) -> Self {
        let mut request = self.chunked(bytes, size);
        request.body.truncate(request.body.len() - 2);
        for (name, value) in trailers {
            request.body.extend(format!("{name}: {value}\r\n").into_bytes());
        }
        request.body.extend(b"\r\n");
        request
    }

    /// Promises `length` bytes and sends none; the test sends them as it likes.
    #[must_use]
    pub fn announcing(self, length: u64) -> Self {
        self.set("Content-Length", length)
    }

    /// Speaks HTTP/1.0.
    #[must_use]
    pub fn http_1_0(mut self) -> Self {
        self.version = "HTTP/1.0";
        self
    }

    /// The bytes on the wire.
    pub fn wire(&self) -> Vec<u8> {
        let mut wire = format!("{} {} {}\r\n", self.method, self.target, self.version).into_bytes();
        for (name, value) in &self.headers {
            wire.extend(format!("{name}: {value}\r\n").into_bytes());
        }
        wire.extend(b"\r\n");
        wire.extend_from_slice(&self.body);
        wire
    }
}

/// A final answer, and which 1xx came before it.
#[derive(Clone)]
pub struct Answer {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
    pub interim: Vec<u16>,
}

impl Answer {
    /// The value of a header; of the first line if there are several.
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut lines = self.headers.iter().filter(|(other, _)| other.eq_ignore_ascii_case(name));
        lines.next().map(|(_, value)| value.as_str())
    }

    /// The value of a header that must be there.
    #[track_caller]
    pub fn needs(&self, name: &str) -> &str {
        self.header(name).unwrap_or_else(|| panic!("no {name} in {self:?}"))
    }

    /// How often a header is there.
    pub fn count(&self, name: &str) -> usize {
        self.headers.iter().filter(|(other, _)| other.eq_ignore_ascii_case(name)).count()
    }

    /// `Upload-Offset` as a number.
    #[track_caller]
    pub fn offset(&self) -> u64 {
        self.needs("Upload-Offset").parse().unwrap()
    }

    /// The body as JSON.
    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error} in {self:?}"))
    }

    /// The status must be this one.
    #[track_caller]
    pub fn expect(self, status: u16) -> Self {
        assert_eq!(self.status, status, "{self:?}");
        self
    }

    /// The status must be one of these.
    #[track_caller]
    pub fn expect_one(self, statuses: &[u16]) -> Self {
        assert!(statuses.contains(&self.status), "not one of {statuses:?}: {self:?}");
        self
    }

    /// A refusal: the status, and a problem document that repeats it.
    #[track_caller]
    pub fn refused(self, status: u16) -> Self {
        let answer = self.expect(status);
        let media_type = answer.needs("Content-Type");
        assert!(media_type.starts_with("application/problem+json"), "{answer:?}");
        let problem = answer.json();
        assert_eq!(problem["status"], status, "{answer:?}");
        for member in ["type", "title", "detail"] {
            assert!(problem[member].is_string(), "no {member} in {answer:?}");
        }
        answer
    }

    /// A refusal whose problem type ends in `slug`.
    #[track_caller]
    pub fn refused_as(self, status: u16, slug: &str) -> Self {
        let answer = self.refused(status);
        let problem = answer.json();
        let kind = problem["type"].as_str().unwrap();
        let last = kind.rsplit(['/', '#', ':']).next().unwrap();
        assert_eq!(last, slug, "{answer:?}");
        answer
    }
}

impl std::fmt::Debug for Answer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let body = String::from_utf8_lossy(&self.body);
        let body: String = body.chars().take(400).collect();
        write!(f, "{} {:?} {body:?}", self.status, self.headers)
    }
}

/// One connection.
#[derive(Debug)]
pub struct Conn {
    stream: TcpStream,
    unread: Vec<u8>,
}

impl Conn {
    /// Connects.
    pub fn open(address: SocketAddr) -> Self {
        Self::try_open(address).unwrap()
    }

    /// Connects, where a refusal is an answer too.
    pub fn try_open(address: SocketAddr) -> io::Result<Self> {
        Self::on(TcpStream::connect_timeout(&address, PATIENCE)?)
    }

    fn on(stream: TcpStream) -> io::Result<Self> {
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        Ok(Self { stream, unread: Vec::new() })
    }

    /// Connects from another address of this machine, 127.0.0.`last`.
    pub fn open_from(last: u8, address: SocketAddr) -> Self {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        socket.bind(&SocketAddr::from(([127, 0, 0, last], 0)).into()).unwrap();
        socket.connect_timeout(&address.into(), PATIENCE).unwrap();
        Self::on(socket.into()).unwrap()
    }

    /// Another hand on the same connection, to send with.
    pub fn twin(&self) -> Self {
        Self { stream: self.stream.try_clone().unwrap(), unread: Vec::new() }
    }

    /// The next line, without its end.
    pub fn line(&mut self) -> String {
        loop {
            if let Some(at) = find(&self.unread, b"\r\n") {
                let line = String::from_utf8_lossy(&self.unread[..at]).into_owned();
                self.unread.drain(..at + 2);
                return line;
            }
            self.fill().unwrap();
        }
    }

    /// Sends a request; what the server does not want to hear any more is dropped.
    pub fn send(&mut self, request: &Request) {
        let _ = self.try_raw(&request.wire());
    }

    /// Sends bytes as they are.
    pub fn raw(&mut self, bytes: impl AsRef<[u8]>) {
        self.try_raw(bytes.as_ref()).unwrap();
    }

    /// Sends bytes as they are, and says whether that worked.
    pub fn try_raw(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes)
    }

    /// From now on it gives up sending after `span`.
    pub fn patient_for(&self, span: Duration) {
        self.stream.set_write_timeout(Some(span)).unwrap();
    }

    /// Sends a request, reading at the same time, and returns the answer.
    #[track_caller]
    pub fn ask(&mut self, request: &Request) -> Answer {
        self.try_ask(request).unwrap_or_else(|error| {
            panic!("no answer to {} {}: {error}", request.method, request.target)
        })
    }

    /// As [`Conn::ask`], where no answer is an answer too.
    pub fn try_ask(&mut self, request: &Request) -> io::Result<Answer> {
        let wire = request.wire();
        if wire.len() < 64 * 1024 {
            let _ = self.try_raw(&wire);
            return self.try_answer(&request.method);
        }
        let mut writer = self.stream.try_clone()?;
        thread::scope(|scope| {
            scope.spawn(move || {
                let _ = writer.write_all(&wire);
            });
            self.try_answer(&request.method)
        })
    }

    /// The next answer; `method` tells whether it has a body.
    #[track_caller]
    pub fn answer(&mut self, method: &str) -> Answer {
        self.try_answer(method).unwrap_or_else(|error| panic!("no answer to {method}: {error}"))
    }

    /// As [`Conn::answer`], where no answer is an answer too.
    pub fn try_answer(&mut self, method: &str) -> io::Result<Answer> {
        let mut interim = Vec::new();
        loop {
            let (status, headers) = self.head()?;
            if (100..200).contains(&status) {
                interim.push(status);
                continue;
            }
            let mut answer = Answer { status, headers, body: Vec::new(), interim };
            let bodiless = method == "HEAD" || status == 204 || status == 304;
            if !bodiless {
                answer.body = self.body(&answer)?;
            }
            return Ok(answer);
        }
    }

    /// One head, whatever its status.
    pub fn head(&mut self) -> io::Result<(u16, Vec<(String, String)>)> {
        let end = loop {
            if let Some(at) = find(&self.unread, b"\r\n\r\n") {
                break at;
            }
            self.fill()?;
        };
        let text = String::from_utf8_lossy(&self.unread[..end]).into_owned();
        self.unread.drain(..end + 4);
        let mut lines = text.split("\r\n");
        let status = lines.next().and_then(|line| line.split(' ').nth(1));
        let status = status.and_then(|status| status.parse().ok()).ok_or(ErrorKind::InvalidData)?;
        let headers = lines.filter_map(|line| line.split_once(':'));
        let headers = headers.map(|(name, value)| (name.to_owned(), value.trim().to_owned()));
        Ok((status, headers.collect()))
    }

    fn body(&mut self, answer: &Answer) -> io::Result<Vec<u8>> {
        if let Some(length) = answer.header("Content-Length") {
            let length = length.parse().map_err(|_| ErrorKind::InvalidData)?;
            return self.take(length);
        }
        if answer.header("Transfer-Encoding").is_some() {
            return self.chunks();
        }
        loop {
            match self.fill() {
                Ok(()) => {}
                Err(error) if error.kind() == ErrorKind::UnexpectedEof => {
                    return Ok(std::mem::take(&mut self.unread));
                }
                Err(error) => return Err(error),
            }
        }
    }

    fn chunks(&mut self) -> io::Result<Vec<u8>> {
        let mut body = Vec::new();
        loop {
            let end = loop {
                if let Some(at) = find(&self.unread, b"\r\n") {
                    break at;
                }
                self.fill()?;
            };
            let line = self.take(end + 2)?;
            let size = String::from_utf8_lossy(&line[..end]).into_owned();
            let size = size.split(';').next().unwrap_or_default();
            let size =
                usize::from_str_radix(size.trim(), 16).map_err(|_| ErrorKind::InvalidData)?;
            let data = self.take(size + 2)?;
            if size == 0 {
                return Ok(body);
            }
            body.extend_from_slice(&data[..size]);
        }
    }

    /// The next `length` bytes, whatever they are.
    pub fn take(&mut self, length: usize) -> io::Result<Vec<u8>> {
        while self.unread.len() < length {
            self.fill()?;
        }
        let rest = self.unread.split_off(length);
        Ok(std::mem::replace(&mut self.unread, rest))
    }

    /// Reads a little more; the end of the stream is an error.
    fn fill(&mut self) -> io::Result<()> {
        let mut buffer = [0; 16 * 1024];
        match self.stream.read(&mut buffer)? {
            0 => Err(ErrorKind::UnexpectedEof.into()),
            read => {
                self.unread.extend_from_slice(&buffer[..read]);
                Ok(())
            }
        }
    }

    /// Ends our side (FIN) and leaves the other side open.
    pub fn finish(&mut self) {
        let _ = self.stream.shutdown(Shutdown::Write);
    }

    /// Hangs up with a reset.
    pub fn reset(self) {
        rustix::net::sockopt::set_socket_linger(&self.stream, Some(Duration::ZERO)).unwrap();
    }

    /// The server closes within `span`, whatever it says before; what it said is returned.
    #[track_caller]
    pub fn closes_within(&mut self, span: Duration) -> Vec<u8> {
        let deadline = Instant::now() + span;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            assert!(!left.is_zero(), "still open after {span:?}");
            self.stream.set_read_timeout(Some(left)).unwrap();
            match self.fill() {
                Ok(()) => {}
                Err(error) if is_timeout(&error) => panic!("still open after {span:?}"),
                Err(_) => return std::mem::take(&mut self.unread),
            }
        }
    }

    /// Whether the server says nothing for `span` and keeps the connection.
    pub fn silent_for(&mut self, span: Duration) -> bool {
        self.stream.set_read_timeout(Some(span)).unwrap();
        let silent = self.unread.is_empty() && self.fill().is_err_and(|error| is_timeout(&error));
        self.stream.set_read_timeout(Some(PATIENCE)).unwrap();
        silent
    }
}

impl Drop for Conn {
    /// Closing alone would not end the connection while a process that another test is about to
    /// start still has it, and somebody may count connections.
    fn drop(&mut self) {
        let resets = rustix::net::sockopt::socket_linger(&self.stream).is_ok_and(|l| l.is_some());
        if !resets {
            self.finish();
        }
    }
}

fn is_timeout(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut)
}

fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack.windows(needle.len()).position(|window| window == needle)
}
