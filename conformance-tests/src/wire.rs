//! HTTP/1.1 by hand: one request on one connection.

use std::{
    io::{self, ErrorKind, Read, Write},
    net::{Shutdown, TcpStream},
    time::Duration,
};

use crate::target::Target;

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// An answer: its status and headers. Bodies play no part in the rows that are judged here.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    headers: Vec<(String, String)>,
}

impl Answer {
    /// The value of a header, if it is there once.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let mut lines = self.headers.iter().filter(|(other, _)| other.eq_ignore_ascii_case(name));
        let value = lines.next().map(|(_, value)| value.as_str());
        value.filter(|_| lines.next().is_none())
    }

    /// Reads a head; 1xx are passed over. `None` while more has to come.
    fn parse(text: &str) -> Option<Self> {
        let (head, rest) = text.split_once("\r\n\r\n")?;
        let mut lines = head.split("\r\n");
        let status = lines.next()?.split(' ').nth(1)?.parse().ok()?;
        if (100..200).contains(&status) {
            return Self::parse(rest);
        }
        let headers = lines.filter_map(|line| line.split_once(':'));
        let headers = headers.map(|(name, value)| (name.to_owned(), value.trim().to_owned()));
        Some(Self { status, headers: headers.collect() })
    }
}

/// A request in the making.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    head: String,
    body: &'static str,
}

impl Request {
    /// A request without `Tus-Resumable` and without a body.
    pub(crate) fn bare(method: &str, path: &str) -> Self {
        Self { head: format!("{method} {path} HTTP/1.1\r\nConnection: close\r\n"), body: "" }
    }

    /// A request of tus 1.0.0.
    pub(crate) fn tus(method: &str, path: &str) -> Self {
        Self::bare(method, path).header("Tus-Resumable", "1.0.0")
    }

    /// A PATCH that lacks nothing.
    pub(crate) fn patch(url: &str, offset: &str, body: &'static str) -> Self {
        let patch = Self::tus("PATCH", url).header("Upload-Offset", offset).body(body);
        patch.header("Content-Type", "application/offset+octet-stream")
    }

    /// Adds a header line.
    pub(crate) fn header(mut self, name: &str, value: &str) -> Self {
        self.head.extend([name, ": ", value, "\r\n"]);
        self
    }

    /// A body with its length.
    pub(crate) fn body(mut self, body: &'static str) -> Self {
        self.body = body;
        let length = body.len().to_string();
        self.header("Content-Length", &length)
    }

    /// Sends it and reads the head of the answer.
    pub(crate) fn send(&self, target: &Target) -> Result<Answer, String> {
        self.exchange(target).map_err(|error| format!("no answer: {error}"))
    }

    fn exchange(&self, target: &Target) -> io::Result<Answer> {
        let mut stream = TcpStream::connect(target.address())?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        let request = format!("{}Host: {}\r\n\r\n{}", self.head, target.authority, self.body);
        stream.write_all(request.as_bytes())?;
        let mut text = Vec::new();
        let mut piece = [0; 4096];
        loop {
            let read = stream.read(&mut piece)?;
            text.extend_from_slice(piece.get(..read).unwrap_or_default());
            if let Some(answer) = Answer::parse(&String::from_utf8_lossy(&text)) {
                let _ = stream.shutdown(Shutdown::Both);
                return Ok(answer);
            }
            if read == 0 {
                return Err(ErrorKind::UnexpectedEof.into());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heads_are_read_once_they_are_whole() {
        let text = "HTTP/1.1 204 No Content\r\nUpload-Offset:  5\r\nX: a\r\nx: b\r\n\r\n";
        for cut in 0..text.len() {
            assert_eq!(Answer::parse(&text[..cut]), None, "{cut}");
        }
        let answer = Answer::parse(text).unwrap();
        assert_eq!((answer.status, answer.header("upload-offset")), (204, Some("5")));
        assert_eq!(answer.header("X"), None, "twice is not once");
        assert_eq!(answer.header("Y"), None);
    }

    #[test]
    fn what_only_informs_is_passed_over() {
        let text = "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 201 Created\r\n\r\n";
        assert_eq!(Answer::parse(text).unwrap().status, 201);
        assert_eq!(Answer::parse("HTTP/1.1 100 Continue\r\n\r\n"), None);
    }
}
