//! HTTP by hand: requests that no library would send, and answers with the bytes that they came in.

pub(crate) mod h1;
pub(crate) mod h2;

use std::{
    fmt::Display,
    io::{self, ErrorKind},
    time::Duration,
};

use serde_json::Value;

use crate::stop::{Breach, Step, Stop};

/// How long any answer may take before a case gives up.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);
/// How long a whole answer may take, whose bytes come one by one.
pub(crate) const ENOUGH: Duration = Duration::from_mins(2);
/// The most bytes of an answer that are kept: more than any file of a case has.
pub(crate) const MOST: usize = 256 << 20;

/// An answer that is longer than what any case asks for.
pub(crate) fn too_much(what: &str) -> io::Error {
    io::Error::new(ErrorKind::FileTooLarge, what)
}

/// How many bytes of a request or an answer are kept to be shown.
const SHOWN: usize = 4096;

/// A request to be sent.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    pub(crate) method: String,
    pub(crate) target: String,
    pub(crate) version: &'static str,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Request {
    /// A request without a body; whoever sends it fills in `Host`.
    pub(crate) fn new(method: &str, target: &str) -> Self {
        Self {
            method: method.to_owned(),
            target: target.to_owned(),
            version: "HTTP/1.1",
            headers: Vec::new(),
            body: Vec::new(),
        }
    }

    /// Adds a header line, beside lines of the same name.
    #[must_use]
    pub(crate) fn header(mut self, name: &str, value: impl Display) -> Self {
        self.headers.push((name.to_owned(), value.to_string()));
        self
    }

    /// Replaces all header lines of this name by one.
    #[must_use]
    pub(crate) fn set(self, name: &str, value: impl Display) -> Self {
        self.without(name).header(name, value)
    }

    /// Takes out all header lines of this name.
    #[must_use]
    pub(crate) fn without(mut self, name: &str) -> Self {
        self.headers.retain(|(other, _)| !other.eq_ignore_ascii_case(name));
        self
    }

    /// Is there a header line of this name?
    pub(crate) fn has(&self, name: &str) -> bool {
        self.headers.iter().any(|(other, _)| other.eq_ignore_ascii_case(name))
    }

    /// A body with its Content-Length.
    #[must_use]
    pub(crate) fn body(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.body = bytes.into();
        let length = self.body.len();
        self.set("Content-Length", length)
    }

    /// A chunked body in pieces of `size` bytes.
    #[must_use]
    pub(crate) fn chunked(self, bytes: &[u8], size: usize) -> Self {
        self.trailed(bytes, size, &[])
    }

    /// A chunked body in pieces of `size` bytes, with these trailers behind it.
    #[must_use]
    pub(crate) fn trailed(mut self, bytes: &[u8], size: usize, trailers: &[(&str, &str)]) -> Self {
        self.body.clear();
        for piece in bytes.chunks(size) {
            self.body.extend(format!("{:x}\r\n", piece.len()).into_bytes());
            self.body.extend_from_slice(piece);
            self.body.extend(b"\r\n");
        }
        self.body.extend(b"0\r\n");
        for (name, value) in trailers {
            self.body.extend(format!("{name}: {value}\r\n").into_bytes());
        }
        self.body.extend(b"\r\n");
        self.without("Content-Length").set("Transfer-Encoding", "chunked")
    }

    /// Promises `length` bytes and sends none; the case sends them as it likes.
    #[must_use]
    pub(crate) fn announcing(self, length: u64) -> Self {
        self.set("Content-Length", length)
    }

    /// Speaks HTTP/1.0.
    #[must_use]
    pub(crate) fn http_1_0(mut self) -> Self {
        self.version = "HTTP/1.0";
        self
    }

    /// The bytes on the wire of HTTP/1.
    pub(crate) fn wire(&self) -> Vec<u8> {
        let mut wire = format!("{} {} {}\r\n", self.method, self.target, self.version).into_bytes();
        for (name, value) in &self.headers {
            wire.extend(format!("{name}: {value}\r\n").into_bytes());
        }
        wire.extend(b"\r\n");
        wire.extend_from_slice(&self.body);
        wire
    }
}

/// A request and its answer, as far as they are shown.
#[derive(Debug, Clone, Default)]
pub(crate) struct Exchange {
    pub(crate) sent: Vec<u8>,
    pub(crate) received: Vec<u8>,
}

/// Keeps the first bytes of what is sent or received, with a mark where more followed.
pub(crate) fn keep(kept: &mut Vec<u8>, bytes: &[u8]) {
    if kept.len() >= SHOWN {
        return;
    }
    let room = SHOWN.saturating_sub(kept.len());
    kept.extend(bytes.iter().take(room));
    if bytes.len() >= room {
        kept.extend("…".as_bytes());
    }
}

/// A final answer, and which 1xx came before it.
#[derive(Debug, Clone)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
    pub(crate) interim: Vec<u16>,
    pub(crate) exchange: Exchange,
}

impl Answer {
    /// A breach that this answer shows.
    pub(crate) fn breach(&self, what: impl Display) -> Stop {
        let exchange = Some(self.exchange.clone());
        Stop::Breach(Box::new(Breach { what: what.to_string(), exchange }))
    }

    /// A breach that this answer shows, unless `fulfilled`.
    pub(crate) fn ensure(&self, fulfilled: bool, what: impl Display) -> Step {
        if fulfilled { Ok(()) } else { Err(self.breach(what)) }
    }

    /// The value of a header; of the first line if there are several.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let mut lines = self.headers.iter().filter(|(other, _)| other.eq_ignore_ascii_case(name));
        lines.next().map(|(_, value)| value.as_str())
    }

    /// The value of a header that must be there.
    pub(crate) fn needs(&self, name: &str) -> Step<&str> {
        self.header(name).ok_or_else(|| self.breach(format_args!("the answer has no {name}")))
    }

    /// A header must have this value.
    pub(crate) fn has(&self, name: &str, value: impl Display) -> Step {
        let (found, expected) = (self.needs(name)?, value.to_string());
        self.ensure(found == expected, format_args!("{name} is {found:?}, not {expected:?}"))
    }

    /// A header must not be there.
    pub(crate) fn lacks(&self, name: &str) -> Step {
        let found = self.header(name);
        self.ensure(found.is_none(), format_args!("there is a {name}: {found:?}"))
    }

    /// How often a header is there.
    pub(crate) fn count(&self, name: &str) -> usize {
        self.headers.iter().filter(|(other, _)| other.eq_ignore_ascii_case(name)).count()
    }

    /// `Upload-Offset` as a number.
    pub(crate) fn offset(&self) -> Step<u64> {
        let text = self.needs("Upload-Offset")?;
        text.parse().map_err(|_| self.breach(format_args!("Upload-Offset is {text:?}")))
    }

    /// The body as JSON.
    pub(crate) fn json(&self) -> Step<Value> {
        let read = serde_json::from_slice(&self.body);
        read.map_err(|error| self.breach(format_args!("the body is no JSON: {error}")))
    }

    /// The status must be this one.
    pub(crate) fn expect(self, status: u16) -> Step<Self> {
        self.expect_one(&[status])
    }

    /// The status must be one of these.
    pub(crate) fn expect_one(self, statuses: &[u16]) -> Step<Self> {
        if statuses.contains(&self.status) {
            return Ok(self);
        }
        let wanted: Vec<_> = statuses.iter().map(u16::to_string).collect();
        Err(self.breach(format_args!("the status is {}, not {}", self.status, wanted.join(" or "))))
    }

    /// Any 4xx: an error that the client can understand, whichever it is.
    pub(crate) fn refused_somehow(self) -> Step<Self> {
        let status = self.status;
        self.ensure((400..500).contains(&status), format_args!("the status {status} is no 4xx"))?;
        Ok(self)
    }

    /// The body must be a problem document that repeats the status (RFC 9457).
    pub(crate) fn is_problem(&self) -> Step {
        let media_type = self.needs("Content-Type")?;
        self.ensure(media_type.starts_with("application/problem+json"), "no problem document")?;
        let problem = self.json()?;
        let status = problem["status"] == self.status;
        self.ensure(status, "the problem document does not repeat the status")?;
        for member in ["type", "title", "detail"] {
            let text = problem[member].is_string();
            self.ensure(text, format_args!("the problem document has no {member}"))?;
        }
        Ok(())
    }

    /// A refusal with this status and a problem document; ours.
    pub(crate) fn refused(self, status: u16) -> Step<Self> {
        let answer = self.expect(status)?;
        answer.is_problem()?;
        Ok(answer)
    }

    /// The elements of a header that is a list, of all its lines (RFC 9110 §5.6.1).
    pub(crate) fn list(&self, name: &str) -> Vec<String> {
        let lines = self.headers.iter().filter(|(other, _)| other.eq_ignore_ascii_case(name));
        let elements = lines.flat_map(|(_, value)| value.split(',')).map(str::trim);
        elements.filter(|element| !element.is_empty()).map(str::to_owned).collect()
    }

    /// The last word of the `type` of its problem document.
    pub(crate) fn slug(&self) -> Step<String> {
        let problem = self.json()?;
        let kind = problem["type"].as_str().unwrap_or_default();
        Ok(kind.rsplit(['/', '#', ':']).next().unwrap_or_default().to_owned())
    }

    /// A refusal with this status whose problem type ends in `slug`; for the flows that are ours.
    pub(crate) fn refused_as(self, status: u16, slug: &str) -> Step<Self> {
        let answer = self.expect(status)?;
        answer.is_problem()?;
        let found = answer.slug()?;
        answer.ensure(found == slug, format_args!("the problem is {found:?}, not {slug:?}"))?;
        Ok(answer)
    }
}
