//! GET of a finished file: the head of the answer, which lets no stranger's file run as a page of
//! ours.

#[cfg(test)]
mod tests;

use http::{HeaderMap, HeaderValue, Response, header};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use super::{
    headers::{TUS_RESUMABLE, ascii, essence, number},
    tus,
};
use crate::upload::{Finished, Manifest, is_invisible};

/// A finished file, as it is offered to whoever fetches it.
#[derive(Debug, Clone, Copy)]
pub struct Download<'a> {
    /// What was said of it at creation.
    pub manifest: &'a Manifest,
    /// What it became.
    pub finished: &'a Finished,
}

impl Download<'_> {
    /// The head of a 200 with the whole file.
    pub fn head(&self) -> Response<()> {
        let mut response = Response::new(());
        self.write(response.headers_mut());
        response
    }

    fn write(&self, headers: &mut HeaderMap) {
        let (media_type, disposition) = presentation(self.manifest.media_type.as_deref());
        let modified = httpdate::fmt_http_date(self.finished.at.to_system_time());
        headers.insert(TUS_RESUMABLE, HeaderValue::from_static(tus::VERSION));
        headers.insert(header::CONTENT_LENGTH, number(self.finished.length.get()));
        headers.insert(header::CONTENT_TYPE, ascii(&media_type));
        headers.insert(header::CONTENT_DISPOSITION, self.disposition(disposition));
        headers.insert(header::ETAG, ascii(&self.etag()));
        headers.insert(header::LAST_MODIFIED, ascii(&modified));
        headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    }

    /// A strong validator (RFC 9110 §8.8.3) that outlives a restart: the composite digest, or else
    /// the upload and the millisecond in which it was finished.
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
