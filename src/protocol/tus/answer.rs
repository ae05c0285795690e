//! The answers of tus. Each has `Tus-Resumable` once, and `Cache-Control: no-store`.

use http::{HeaderMap, HeaderValue, Response, StatusCode, header};

use super::{Rules, VERSION, checksum};
use crate::{
    protocol::{
        Answer, Problem,
        address::Link,
        headers::{
            TUS_CHECKSUM_ALGORITHM, TUS_EXTENSION, TUS_MAX_SIZE, TUS_RESUMABLE, TUS_VERSION,
            UPLOAD_CONCAT, UPLOAD_DEFER_LENGTH, UPLOAD_EXPIRES, UPLOAD_LENGTH, UPLOAD_METADATA,
            UPLOAD_OFFSET, ascii, number,
        },
    },
    upload::{Concatenation, Dialect, Length, Offset, Timestamp},
};

/// Where an upload stands, as every answer about it tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// Bytes of the contiguous prefix.
    pub offset: Offset,
    /// When the upload expires; none once it is finished.
    pub expires_at: Option<Timestamp>,
}

impl Progress {
    /// Adds `Upload-Offset` and `Upload-Expires`, replacing what is there.
    pub fn write(&self, headers: &mut HeaderMap) {
        headers.insert(UPLOAD_OFFSET, number(self.offset.get()));
        write_expires(headers, self.expires_at);
    }
}

/// OPTIONS (tus core, OPTIONS): what the server can do; the same for every path.
pub fn options(rules: &Rules) -> Answer {
    let mut answer = empty(StatusCode::NO_CONTENT);
    let headers = answer.headers_mut();
    headers.insert(TUS_VERSION, HeaderValue::from_static(VERSION));
    headers.insert(TUS_EXTENSION, ascii(&rules.extensions()));
    headers.insert(TUS_CHECKSUM_ALGORITHM, ascii(&checksum::algorithms()));
    if let Some(max) = rules.max_size {
        headers.insert(TUS_MAX_SIZE, number(max.get()));
    }
    answer
}

impl Rules {
    /// Only what works, without blanks: `TUSKit` does not trim (row TUS-CORE-02).
    fn extensions(&self) -> String {
        let mut extensions = vec![
            "creation",
            "creation-with-upload",
            "creation-defer-length",
            "expiration",
            "checksum",
            "checksum-trailer",
        ];
        if !self.termination_disabled {
            extensions.push("termination");
        }
        extensions.extend(["concatenation", "concatenation-unfinished"]);
        extensions.join(",")
    }
}

/// POST: 201. `Upload-Offset` is always told, since some clients ask for it after every POST.
pub fn created(location: &Link, progress: Progress) -> Answer {
    let mut answer = empty(StatusCode::CREATED);
    answer.headers_mut().insert(header::LOCATION, location.header());
    progress.write(answer.headers_mut());
    answer
}

/// POST of a final upload: 201. One that has to wait for its parts has no offset yet.
pub fn concatenated(
    location: &Link,
    finished: Option<Length>,
    expires_at: Option<Timestamp>,
) -> Answer {
    let mut answer = empty(StatusCode::CREATED);
    let headers = answer.headers_mut();
    headers.insert(header::LOCATION, location.header());
    if let Some(length) = finished {
        headers.insert(UPLOAD_OFFSET, number(length.get()));
    }
    write_expires(headers, expires_at);
    answer
}

/// HEAD of a final upload that waits for its parts: 200 without `Upload-Offset` (tus
/// Concatenation), with `Upload-Length` where every part's is known (rows TUS-CATU-02, -03).
pub fn head_of_awaited(
    length: Option<Length>,
    expires_at: Option<Timestamp>,
    metadata: &str,
) -> Answer {
    let mut answer = empty(StatusCode::OK);
    let headers = answer.headers_mut();
    write_length(headers, length);
    write_expires(headers, expires_at);
    write_metadata(headers, metadata);
    answer
}

/// Adds `Upload-Concat` to the answer of a HEAD; of a final upload as it was received.
pub fn with_concatenation(mut answer: Answer, concatenation: Option<&Concatenation>) -> Answer {
    let value = match concatenation {
        None => return answer,
        Some(Concatenation::Partial) => "partial",
        Some(Concatenation::Final(parts)) => &parts.header,
    };
    if let Ok(value) = HeaderValue::from_str(value) {
        answer.headers_mut().insert(UPLOAD_CONCAT, value);
    }
    answer
}

/// Exactly one of both (tus Creation).
fn write_length(headers: &mut HeaderMap, length: Option<Length>) {
    match length {
        Some(length) => headers.insert(UPLOAD_LENGTH, number(length.get())),
        None => headers.insert(UPLOAD_DEFER_LENGTH, HeaderValue::from_static("1")),
    };
}

fn write_metadata(headers: &mut HeaderMap, metadata: &str) {
    if let Ok(value) = HeaderValue::from_str(metadata)
        && !value.is_empty()
    {
        headers.insert(UPLOAD_METADATA, value);
    }
}

/// HEAD: 200. The metadata is what the client sent, byte for byte; an empty one is not shown.
pub fn head(progress: Progress, length: Option<Length>, metadata: &str) -> Answer {
    let mut answer = empty(StatusCode::OK);
    let headers = answer.headers_mut();
    progress.write(headers);
    write_length(headers, length);
    write_metadata(headers, metadata);
    answer
}

/// PATCH: 204.
pub fn appended(progress: Progress) -> Answer {
    let mut answer = empty(StatusCode::NO_CONTENT);
    progress.write(answer.headers_mut());
    answer
}

/// DELETE: 204.
pub fn deleted() -> Answer {
    empty(StatusCode::NO_CONTENT)
}

/// What a refusal still tells of the upload.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rest {
    /// Of a creation whose upload stays: where it is.
    pub location: Option<Link>,
    /// How far the upload is, where bytes were kept or the client needs to know.
    pub offset: Option<Offset>,
    /// When an unfinished upload expires (tus expiration: in every PATCH answer).
    pub expires_at: Option<Timestamp>,
}

/// A refusal, with what it still tells.
pub fn refused(problem: &Problem, rest: &Rest) -> Answer {
    let mut answer = problem.response(Dialect::Tus);
    let headers = answer.headers_mut();
    if let Some(location) = &rest.location {
        headers.insert(header::LOCATION, location.header());
    }
    if let Some(offset) = rest.offset {
        headers.insert(UPLOAD_OFFSET, number(offset.get()));
    }
    write_expires(headers, rest.expires_at);
    answer
}

/// `Upload-Expires` as IMF-fixdate (tus expiration; RFC 9110 §5.6.7).
fn write_expires(headers: &mut HeaderMap, at: Option<Timestamp>) {
    if let Some(at) = at {
        headers.insert(UPLOAD_EXPIRES, ascii(&httpdate::fmt_http_date(at.to_system_time())));
    }
}

fn empty(status: StatusCode) -> Answer {
    let mut answer = Response::new(Vec::new());
    *answer.status_mut() = status;
    let headers = answer.headers_mut();
    headers.insert(TUS_RESUMABLE, HeaderValue::from_static(VERSION));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    answer
}
