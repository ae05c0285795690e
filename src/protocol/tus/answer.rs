//! The answers of tus. Each has `Tus-Resumable` once, and `Cache-Control: no-store`.

use http::{HeaderMap, HeaderValue, Response, StatusCode, header};

use super::{Rules, VERSION, checksum};
use crate::{
    protocol::{
        Answer, Problem,
        address::Link,
        headers::{
            TUS_CHECKSUM_ALGORITHM, TUS_EXTENSION, TUS_MAX_SIZE, TUS_RESUMABLE, TUS_VERSION,
            UPLOAD_DEFER_LENGTH, UPLOAD_EXPIRES, UPLOAD_LENGTH, UPLOAD_METADATA, UPLOAD_OFFSET,
            ascii, number,
        },
    },
    upload::{Dialect, Length, Offset, Timestamp},
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

/// HEAD: 200. The metadata is what the client sent, byte for byte; an empty one is not shown.
pub fn head(progress: Progress, length: Option<Length>, metadata: &str) -> Answer {
    let mut answer = empty(StatusCode::OK);
    let headers = answer.headers_mut();
    progress.write(headers);
    match length {
        Some(length) => headers.insert(UPLOAD_LENGTH, number(length.get())),
        None => headers.insert(UPLOAD_DEFER_LENGTH, HeaderValue::from_static("1")),
    };
    if let Ok(value) = HeaderValue::from_str(metadata)
        && !value.is_empty()
    {
        headers.insert(UPLOAD_METADATA, value);
    }
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
