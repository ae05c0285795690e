//! One connection of HTTP/1.1, written by hand: half a body, a head byte by byte, a reset.

use std::{
    io::{self, ErrorKind, Read, Write},
    net::{IpAddr, Shutdown, SocketAddr, TcpStream},
    thread,
    time::{Duration, Instant},
};

use rustix::net::{AddressFamily, SocketType, bind, connect, socket};

use super::{Answer, ENOUGH, Exchange, MOST, PATIENCE, Request, keep, too_much};
use crate::stop::{Step, breach, ensure};

/// A body larger than this is sent while the answer is read.
const AT_ONCE: usize = 64 * 1024;
/// No head is longer than this.
const LONGEST: usize = 1 << 20;
/// No more 1xx come before an answer.
const INTERIM: usize = 100;

/// A status, and the lines behind it.
type Head = (u16, Vec<(String, String)>);

/// One connection.
#[derive(Debug)]
pub(crate) struct Conn {
    stream: TcpStream,
    host: String,
    unread: Vec<u8>,
    /// What was sent since the last answer, as far as it is shown.
    sent: Vec<u8>,
    /// What came since then.
    received: Vec<u8>,
    /// When the answer that is being read has to be there, however often a byte of it comes.
    deadline: Option<Instant>,
}

impl Conn {
    /// Connects; `host` is what requests that name none put into `Host`.
    pub(crate) fn open(address: SocketAddr, host: &str) -> io::Result<Self> {
        Self::over(TcpStream::connect_timeout(&address, PATIENCE)?, host)
    }

    /// Connects from another address of this machine.
    pub(crate) fn open_from(source: IpAddr, address: SocketAddr, host: &str) -> io::Result<Self> {
        let socket = socket(AddressFamily::INET, SocketType::STREAM, None)?;
        bind(&socket, &SocketAddr::new(source, 0))?;
        connect(&socket, &address)?;
        Self::over(TcpStream::from(socket), host)
    }

    fn over(stream: TcpStream, host: &str) -> io::Result<Self> {
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        Ok(Self::around(stream, host))
    }

    fn around(stream: TcpStream, host: &str) -> Self {
        let (unread, sent, received) = (Vec::new(), Vec::new(), Vec::new());
        Self { stream, host: host.to_owned(), unread, sent, received, deadline: None }
    }

    /// The bytes of a request as this connection sends it.
    fn wire(&self, request: &Request) -> Vec<u8> {
        if request.has("Host") {
            return request.wire();
        }
        let mut named = request.clone();
        named.headers.insert(0, ("Host".to_owned(), self.host.clone()));
        named.wire()
    }

    /// Sends a request; what the server does not want to hear any more is dropped.
    pub(crate) fn send(&mut self, request: &Request) {
        let wire = self.wire(request);
        // The answer tells why.
        let _ = self.raw(&wire);
    }

    /// Sends bytes as they are.
    pub(crate) fn raw(&mut self, bytes: impl AsRef<[u8]>) -> io::Result<()> {
        keep(&mut self.sent, bytes.as_ref());
        self.stream.write_all(bytes.as_ref())
    }

    /// Sends a request, reading at the same time, and returns the answer.
    pub(crate) fn ask(&mut self, request: &Request) -> io::Result<Answer> {
        let wire = self.wire(request);
        if wire.len() < AT_ONCE {
            let _ = self.raw(&wire);
            return self.answer(&request.method);
        }
        keep(&mut self.sent, &wire);
        let mut writer = self.stream.try_clone()?;
        thread::scope(|scope| {
            scope.spawn(move || {
                let since = Instant::now();
                // Who takes it byte by byte is not fed for ever.
                let mut pieces = wire.chunks(AT_ONCE).take_while(|_| since.elapsed() < ENOUGH);
                let _ = pieces.try_for_each(|piece| writer.write_all(piece));
            });
            self.answer(&request.method)
        })
    }

    /// The next answer; `method` tells whether it has a body.
    pub(crate) fn answer(&mut self, method: &str) -> io::Result<Answer> {
        self.in_time(|connection| connection.whole_answer(method))
    }

    /// Reads something that has to be there in time, however often a byte of it comes.
    fn in_time<T>(&mut self, read: impl FnOnce(&mut Self) -> io::Result<T>) -> io::Result<T> {
        self.deadline = Some(Instant::now() + ENOUGH);
        let found = read(self);
        self.deadline = None;
        found
    }

    fn whole_answer(&mut self, method: &str) -> io::Result<Answer> {
        let mut interim = Vec::new();
        loop {
            let (status, headers) = self.whole_head()?;
            if (100..200).contains(&status) {
                interim.push(status);
                if interim.len() > INTERIM {
                    return Err(too_much("1xx without an end"));
                }
                continue;
            }
            let exchange = Exchange::default();
            let mut answer = Answer { status, headers, body: Vec::new(), interim, exchange };
            if method != "HEAD" && status != 204 && status != 304 {
                answer.body = self.body(&answer)?;
            }
            answer.exchange.sent = std::mem::take(&mut self.sent);
            answer.exchange.received = std::mem::take(&mut self.received);
            return Ok(answer);
        }
    }

    /// One head, whatever its status.
    pub(crate) fn head(&mut self) -> io::Result<Head> {
        self.in_time(Self::whole_head)
    }

    fn whole_head(&mut self) -> io::Result<Head> {
        let end = self.until(b"\r\n\r\n")?;
        let text = self.take(end)?;
        let text = String::from_utf8_lossy(&text);
        let mut lines = text.trim_end().split("\r\n");
        let status = lines.next().and_then(|line| line.split(' ').nth(1));
        let status = status.and_then(|status| status.parse().ok()).ok_or(ErrorKind::InvalidData)?;
        let headers = lines.filter_map(|line| line.split_once(':'));
        let headers = headers.map(|(name, value)| (name.to_owned(), value.trim().to_owned()));
        Ok((status, headers.collect()))
    }

    fn body(&mut self, answer: &Answer) -> io::Result<Vec<u8>> {
        if answer.header("Transfer-Encoding").is_some() {
            return self.chunks();
        }
        if let Some(length) = answer.header("Content-Length") {
            let length = length.parse().map_err(|_| ErrorKind::InvalidData)?;
            return self.take(length);
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
            let end = self.until(b"\r\n")?;
            let line = self.take(end)?;
            let line = String::from_utf8_lossy(&line);
            let size = line.split(';').next().unwrap_or_default().trim();
            let size = usize::from_str_radix(size, 16).map_err(|_| ErrorKind::InvalidData)?;
            let data = self.take(size.checked_add(2).ok_or(ErrorKind::InvalidData)?)?;
            if body.len().saturating_add(size) > MOST {
                return Err(too_much("a body without an end"));
            }
            if size == 0 {
                return Ok(body);
            }
            body.extend_from_slice(data.get(..size).unwrap_or_default());
        }
    }

    /// The length of what comes up to `mark` and with it.
    fn until(&mut self, mark: &[u8]) -> io::Result<usize> {
        loop {
            let begin = &self.unread[..self.unread.len().min(LONGEST)];
            if let Some(at) = find(begin, mark) {
                return Ok(at.saturating_add(mark.len()));
            }
            if self.unread.len() > LONGEST {
                return Err(too_much("a head without an end"));
            }
            self.fill()?;
        }
    }

    /// The next `length` bytes, whatever they are.
    pub(crate) fn take(&mut self, length: usize) -> io::Result<Vec<u8>> {
        if length > MOST {
            return Err(too_much("a body of such a length"));
        }
        while self.unread.len() < length {
            self.fill()?;
        }
        let rest = self.unread.split_off(length);
        Ok(std::mem::replace(&mut self.unread, rest))
    }

    /// Reads a little more; the end of the stream is an error.
    fn fill(&mut self) -> io::Result<()> {
        if self.deadline.is_some_and(|deadline| Instant::now() > deadline) {
            return Err(io::Error::new(ErrorKind::TimedOut, format!("not whole in {ENOUGH:?}")));
        }
        if self.unread.len() > MOST {
            return Err(too_much("bytes without an end"));
        }
        let mut buffer = [0; 16 * 1024];
        let read = loop {
            match self.stream.read(&mut buffer) {
                // We were stopped and went on.
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                read => break read?,
            }
        };
        let Some(bytes) = buffer.get(..read).filter(|bytes| !bytes.is_empty()) else {
            return Err(ErrorKind::UnexpectedEof.into());
        };
        self.unread.extend_from_slice(bytes);
        keep(&mut self.received, bytes);
        Ok(())
    }

    /// Ends our side (FIN) and leaves the other side open.
    pub(crate) fn finish(&mut self) {
        let _ = self.stream.shutdown(Shutdown::Write);
    }

    /// Hangs up with a reset (RST).
    pub(crate) fn reset(self) -> Step {
        rustix::net::sockopt::set_socket_linger(&self.stream, Some(Duration::ZERO))
            .map_err(|error| breach(format_args!("no reset can be sent here: {error}")))
    }

    /// The server closes within `span`, whatever it says before; what it said is returned.
    pub(crate) fn closes_within(&mut self, span: Duration) -> Step<Vec<u8>> {
        let deadline = Instant::now() + span;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let open = || format!("the connection is still open after {span:?}");
            ensure(!left.is_zero(), open())?;
            self.stream.set_read_timeout(Some(left))?;
            match self.fill() {
                Ok(()) => {}
                Err(error) if is_timeout(&error) => return Err(breach(open())),
                Err(error) if error.kind() == ErrorKind::FileTooLarge => return Err(error.into()),
                Err(_) => return Ok(std::mem::take(&mut self.unread)),
            }
        }
    }

    /// Whether the server says nothing for `span` and keeps the connection.
    pub(crate) fn silent_for(&mut self, span: Duration) -> io::Result<bool> {
        self.stream.set_read_timeout(Some(span))?;
        let silent = self.unread.is_empty() && self.fill().is_err_and(|error| is_timeout(&error));
        self.stream.set_read_timeout(Some(PATIENCE))?;
        Ok(silent)
    }
}

fn is_timeout(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut)
}

fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack.windows(needle.len()).position(|window| window == needle)
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    /// What comes of an answer that is sent in pieces of `size` bytes, and then the end.
    fn answer_to(method: &str, sent: &'static [u8], size: usize) -> io::Result<Answer> {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let server = thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut request = [0; 1024];
            let read = stream.read(&mut request).unwrap();
            for piece in sent.chunks(size) {
                stream.write_all(piece).unwrap();
            }
            request[..read].to_vec()
        });
        let answer = Conn::open(address, "h:1").unwrap().ask(&Request::new(method, "/x"));
        let asked = String::from_utf8(server.join().unwrap()).unwrap();
        assert!(asked.contains("Host: h:1\r\n"), "{asked}");
        answer
    }

    #[test]
    fn answers_are_read_whatever_their_framing_and_their_pieces() {
        let framings: [(&str, &[u8], &[u8]); 6] = [
            ("GET", b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", b"hello"),
            ("GET", b"HTTP/1.1 200 OK\r\n\r\nhello", b"hello"),
            (
                "GET",
                b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5;x=y\r\nhello\r\n0\r\n\r\n",
                b"hello",
            ),
            ("HEAD", b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", b""),
            ("PATCH", b"HTTP/1.1 204 No Content\r\nUpload-Offset:  7 \r\n\r\n", b""),
            (
                "GET",
                b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
                b"",
            ),
        ];
        for (method, sent, body) in framings {
            for size in [1, 7, 4096] {
                let answer = answer_to(method, sent, size).unwrap();
                assert_eq!(answer.body, body, "{}", String::from_utf8_lossy(sent));
                assert_eq!(answer.exchange.received, sent);
            }
        }
    }

    #[test]
    fn half_an_answer_is_none() {
        for sent in [
            &b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhell"[..],
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
            b"HTTP/1.1 100 Continue\r\n\r\n",
            b"HTTP/1.1 OK\r\n\r\n",
            b"",
        ] {
            answer_to("GET", sent, 4096).unwrap_err();
        }
    }

    #[test]
    fn what_never_ends_is_not_read_for_ever() {
        let chunk = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nfffffffff\r\n";
        for (what, begin) in [
            ("head", "HTTP/1.1 200 OK\r\nX: "),
            ("1xx", "HTTP/1.1 102 Processing\r\n\r\n"),
            ("length", "HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n"),
            ("chunk", chunk),
        ] {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let address = listener.local_addr().unwrap();
            let server = thread::spawn(move || {
                let (mut stream, _) = listener.accept().unwrap();
                // It ends with the client, who has had enough.
                while stream.write_all(begin.repeat(100).as_bytes()).is_ok() {}
            });
            let answer = Conn::open(address, "h:1").unwrap().ask(&Request::new("GET", "/x"));
            assert_eq!(answer.unwrap_err().kind(), ErrorKind::FileTooLarge, "{what}");
            server.join().unwrap();
        }
    }

    #[test]
    fn headers_are_told_apart_by_name_and_count() {
        let sent = b"HTTP/1.1 204 X\r\nUpload-Offset:  7 \r\nX: a\r\nx: b\r\n\r\n";
        let answer = answer_to("PATCH", sent, 4096).unwrap();
        assert_eq!((answer.offset().unwrap(), answer.count("X")), (7, 2));
        assert_eq!(answer.header("y"), None);
    }
}
