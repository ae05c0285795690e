//! GET of a finished file: whether, and which of its bytes; and a head that lets no stranger's file
//! run as a page of ours.

mod condition;
mod range;
#[cfg(test)]
mod tests;

use base64::{Engine, engine::general_purpose::STANDARD};
use http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

pub(super) use self::condition::is_known;
pub use self::range::{Boundary, Piece};
use self::{
    condition::{Validators, Verdict},
    range::Selection,
};
use super::{
    Problem,
    headers::{REPR_DIGEST, TUS_RESUMABLE, ascii, essence, number},
    tus,
};
use crate::upload::{Finished, Manifest, Sha256Digest, is_invisible};

/// A finished file, as it is offered to whoever fetches it.
#[derive(Debug, Clone, Copy)]
pub struct Download<'a> {
    /// What was said of it at creation.
    pub manifest: &'a Manifest,
    /// What it became.
    pub finished: &'a Finished,
    /// The SHA-256 of the whole file, where somebody has computed it.
    pub sha256: Option<Sha256Digest>,
}

impl Download<'_> {
    /// The answer to a GET with these headers: 200, 206 or 304, whose body is the pieces in their
    /// order; else 412 or 416. Preconditions come first, in the order of RFC 9110 §13.2.2, then
    /// `Range`, where `If-Range` holds (§14.2).
    ///
    /// `boundary` stands between several ranges; it must be one that nobody can foresee.
    pub fn answer(
        &self,
        asked: &HeaderMap,
        boundary: &Boundary,
    ) -> Result<Response<Vec<Piece>>, Problem> {
        let validators = Validators::new(self.etag(), self.finished.at);
        match validators.judge(asked) {
            Verdict::Failed => return Err(Problem::PreconditionFailed { stored: None }),
            Verdict::NotModified => return Ok(self.not_modified()),
            Verdict::Holds => {}
        }
        let length = self.finished.length;
        let selection = match validators.range(asked) {
            Some(range) => Selection::of(range, length),
            None => Selection::Whole,
        };
        let (media_type, _) = presentation(self.manifest.media_type.as_deref());
        let mut response = Response::new(Vec::new());
        self.write(response.headers_mut());
        match selection {
            Selection::Unsatisfiable => return Err(Problem::RangeNotSatisfiable { length }),
            Selection::Whole => response.body_mut().push(Piece::File(0..length.get())),
            Selection::One(span) => {
                *response.status_mut() = StatusCode::PARTIAL_CONTENT;
                let range = range::content_range(&span, length);
                response.headers_mut().insert(header::CONTENT_RANGE, ascii(&range));
                response.body_mut().push(Piece::File(span));
            }
            Selection::Several(spans) => {
                *response.status_mut() = StatusCode::PARTIAL_CONTENT;
                let headers = response.headers_mut();
                headers.insert(header::CONTENT_TYPE, ascii(&boundary.media_type()));
                *response.body_mut() = range::multipart(&spans, length, &media_type, boundary);
            }
        }
        let bytes = response.body().iter().map(Piece::len).fold(0, u64::saturating_add);
        response.headers_mut().insert(header::CONTENT_LENGTH, number(bytes));
        Ok(response)
    }

    /// What a 200 would tell for caches, and no more (RFC 9110 §15.4.5).
    fn not_modified(&self) -> Response<Vec<Piece>> {
        let mut response = Response::new(Vec::new());
        *response.status_mut() = StatusCode::NOT_MODIFIED;
        let headers = response.headers_mut();
        headers.insert(TUS_RESUMABLE, HeaderValue::from_static(tus::VERSION));
        self.write_validators(headers);
        response
    }

    fn write(&self, headers: &mut HeaderMap) {
        let (media_type, disposition) = presentation(self.manifest.media_type.as_deref());
        headers.insert(TUS_RESUMABLE, HeaderValue::from_static(tus::VERSION));
        headers.insert(header::CONTENT_TYPE, ascii(&media_type));
        headers.insert(header::CONTENT_DISPOSITION, self.disposition(disposition));
        headers.insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
        headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        self.write_validators(headers);
        if let Some(digest) = &self.sha256 {
            // Of the whole file, also where only some of it is sent (RFC 9530 §3).
            let value = format!("sha-256=:{}:", STANDARD.encode(digest.bytes()));
            headers.insert(REPR_DIGEST, ascii(&value));
        }
    }

    fn write_validators(&self, headers: &mut HeaderMap) {
        let modified = httpdate::fmt_http_date(self.finished.at.to_system_time());
        headers.insert(header::ETAG, ascii(&self.etag()));
        headers.insert(header::LAST_MODIFIED, ascii(&modified));
    }

    /// A strong validator (RFC 9110 §8.8.3) that outlives a restart: the composite digest where it
    /// was known when the upload was finished, or else the upload and the millisecond of that. Both
    /// never change afterwards.
    pub fn etag(&self) -> String {
        // The composite of joined bytes comes later than the first download.
        let composite = self.finished.composite.filter(|_| self.manifest.parts().is_none());
        match composite {
            Some(digest) => format!("\"{digest}\""),
            None => format!("\"{}-{}\"", self.manifest.id, self.finished.at.millis()),
        }
    }

    /// `Content-Disposition` (RFC 6266): a name in plain ASCII for old clients, the real one beside
    /// it (RFC 8187).
    fn disposition(&self, disposition: Disposition) -> HeaderValue {
        let given = self.manifest.filename.as_deref().map(segment).filter(|name| !name.is_empty());
        let name = given.unwrap_or_else(|| self.finished.name.as_str().to_owned());
        let plain: String = name.chars().map(plain_char).collect();
        let encoded = utf8_percent_encode(&name, EXTENDED);
        let kind = match disposition {
            Disposition::Inline => "inline",
            Disposition::Attachment => "attachment",
        };
        ascii(&format!("{kind}; filename=\"{plain}\"; filename*=UTF-8''{encoded}"))
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Disposition {
    Inline,
    Attachment,
}

const OPAQUE: &str = "application/octet-stream";

/// The media type and how it is shown. What can carry script (HTML, SVG, XML, …) or is unknown
/// becomes bytes to save; PDF keeps its type and is saved too (own rule, row TUS-GET-05).
fn presentation(given: Option<&str>) -> (String, Disposition) {
    let Some(essence) = given.and_then(essence) else {
        return (OPAQUE.to_owned(), Disposition::Attachment);
    };
    let (kind, _) = essence.split_once('/').unwrap_or_default();
    match (kind, essence.as_str()) {
        (_, "text/plain") => ("text/plain; charset=utf-8".to_owned(), Disposition::Inline),
        ("audio" | "video", _)
        | (_, "image/png" | "image/jpeg" | "image/gif" | "image/webp" | "image/avif") => {
            (essence, Disposition::Inline)
        }
        (_, "application/pdf") => (essence, Disposition::Attachment),
        _ => (OPAQUE.to_owned(), Disposition::Attachment),
    }
}

/// Bytes of a name that are offered to whoever saves the file.
const NAME_BYTES_MAX: usize = 255;

/// The last path segment without characters that cannot be seen, at most 255 bytes.
fn segment(given: &str) -> String {
    let last = given.rsplit(['/', '\\']).next().unwrap_or_default();
    let visible: String = last.chars().filter(|c| !is_invisible(*c)).collect();
    let cut = visible.floor_char_boundary(NAME_BYTES_MAX);
    visible.get(..cut).unwrap_or_default().trim().to_owned()
}

/// What stands for a character in the plain name: itself where no client can misread it.
fn plain_char(c: char) -> char {
    if (c.is_ascii_graphic() || c == ' ') && !matches!(c, '"' | '\\' | '%') { c } else { '_' }
}

/// Everything but `attr-char` (RFC 8187 §3.2.1).
const EXTENDED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'!')
    .remove(b'#')
    .remove(b'$')
    .remove(b'&')
    .remove(b'+')
    .remove(b'-')
    .remove(b'.')
    .remove(b'^')
    .remove(b'_')
    .remove(b'`')
    .remove(b'|')
    .remove(b'~');
