//! Preconditions of a GET (RFC 9110 §13): what a client knows of the file, held against the file.
//!
//! What cannot be read promises nothing: an `If-Match` that names no tag fails, and any other
//! header is passed over.

use http::{HeaderMap, HeaderName, HeaderValue, header};

use crate::{protocol::headers::single, upload::Timestamp};

/// What the file is known by.
#[derive(Debug)]
pub(super) struct Validators {
    /// Strong, with its quotes.
    etag: String,
    /// Seconds since 1970, as `Last-Modified` tells them.
    modified: u64,
}

/// What the preconditions come to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// There is none, or they hold.
    Holds,
    /// The client has these bytes: 304.
    NotModified,
    /// The client means other bytes: 412.
    Failed,
}

impl Validators {
    pub(super) fn new(etag: String, at: Timestamp) -> Self {
        Self { etag, modified: at.millis() / 1000 }
    }

    /// In the order of RFC 9110 §13.2.2: dates count only where no list of tags was sent.
    pub(super) fn judge(&self, asked: &HeaderMap) -> Verdict {
        let meant = match listed(asked, &header::IF_MATCH) {
            Some(tags) => tags.name_strongly(&self.etag),
            None => date(asked, &header::IF_UNMODIFIED_SINCE).is_none_or(|at| self.modified <= at),
        };
        let known = match listed(asked, &header::IF_NONE_MATCH) {
            Some(tags) => tags.name_weakly(&self.etag),
            None => date(asked, &header::IF_MODIFIED_SINCE).is_some_and(|at| self.modified <= at),
        };
        match (meant, known) {
            (false, _) => Verdict::Failed,
            (true, true) => Verdict::NotModified,
            (true, false) => Verdict::Holds,
        }
    }

    /// The value of `Range`, where it is to be looked at: `If-Range` is absent or names this file
    /// strongly (§13.1.5). A finished file never changes, so its date is a strong validator too; it
    /// must be the very same.
    pub(super) fn range<'a>(&self, asked: &'a HeaderMap) -> Option<&'a str> {
        let range = single(asked, header::RANGE.as_str()).ok().flatten()?;
        let same = match single(asked, header::IF_RANGE.as_str()) {
            Ok(None) => true,
            Ok(Some(text)) => text == self.etag || seconds(text) == Some(self.modified),
            Err(_) => false,
        };
        same.then_some(range)
    }
}

/// Does `If-None-Match` name this tag? Then the client has these bytes.
pub(in crate::protocol) fn is_known(asked: &HeaderMap, etag: &str) -> bool {
    listed(asked, &header::IF_NONE_MATCH).is_some_and(|tags| tags.name_weakly(etag))
}

/// The lines of `If-Match` or `If-None-Match`.
struct Listed<'a>(Vec<&'a [u8]>);

fn listed<'a>(asked: &'a HeaderMap, name: &HeaderName) -> Option<Listed<'a>> {
    let lines: Vec<_> = asked.get_all(name).iter().map(HeaderValue::as_bytes).collect();
    (!lines.is_empty()).then_some(Listed(lines))
}

impl Listed<'_> {
    fn name_strongly(&self, etag: &str) -> bool {
        self.is_any() || self.tags().any(|tag| tag == etag.as_bytes())
    }

    fn name_weakly(&self, etag: &str) -> bool {
        let opaque = |tag: &[u8]| tag.strip_prefix(b"W/").unwrap_or(tag) == etag.as_bytes();
        self.is_any() || self.tags().any(opaque)
    }

    /// `*`: whatever there is.
    fn is_any(&self) -> bool {
        self.0.iter().any(|line| line.trim_ascii() == b"*")
    }

    fn tags(&self) -> impl Iterator<Item = &[u8]> {
        self.0.iter().flat_map(|line| Tags(line))
    }
}

/// The entity tags of a line, with their quotes, up to the first thing that is none. A comma may
/// stand inside of a tag.
struct Tags<'a>(&'a [u8]);

impl<'a> Iterator for Tags<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        while let [b' ' | b'\t' | b',', rest @ ..] = self.0 {
            self.0 = rest;
        }
        let quoted = self.0.strip_prefix(b"W/").unwrap_or(self.0);
        let opaque = quoted.strip_prefix(b"\"")?;
        let inside = opaque.iter().position(|byte| *byte == b'"')?;
        let before = self.0.len().checked_sub(opaque.len())?;
        let end = before.checked_add(inside)?.checked_add(1)?;
        let (tag, behind) = self.0.split_at_checked(end)?;
        if !matches!(behind, [] | [b' ' | b'\t' | b',', ..]) {
            return None;
        }
        self.0 = behind;
        Some(tag)
    }
}

/// Seconds since 1970 of a date that comes once.
fn date(asked: &HeaderMap, name: &HeaderName) -> Option<u64> {
    let values = asked.get_all(name).iter().count();
    let value = asked.get(name).filter(|_| values == 1)?;
    seconds(value.to_str().ok()?)
}

/// One of the three ways to write a date (RFC 9110 §5.6.7), in seconds since 1970.
fn seconds(text: &str) -> Option<u64> {
    let date = httpdate::parse_http_date(text).ok()?;
    Some(Timestamp::from(date).millis() / 1000)
}
