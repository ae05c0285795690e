//! How single headers are read: once, plainly, or not at all.

#[cfg(test)]
mod tests;

use http::{HeaderMap, HeaderValue, Version, header, request::Parts, uri::Authority};

use super::problem::Problem;

/// `Content-Digest` (RFC 9530 §2).
pub const CONTENT_DIGEST: &str = "Content-Digest";
/// `Content-Encoding`.
pub const CONTENT_ENCODING: &str = "Content-Encoding";
/// `Content-Length`.
pub const CONTENT_LENGTH: &str = "Content-Length";
/// How a body is framed where its length is not known.
pub const TRANSFER_ENCODING: &str = "Transfer-Encoding";
/// `Content-MD5` (RFC 1864).
pub const CONTENT_MD5: &str = "Content-MD5";
/// `If-Match`.
pub const IF_MATCH: &str = "If-Match";
/// `If-None-Match`.
pub const IF_NONE_MATCH: &str = "If-None-Match";
/// `Repr-Digest` (RFC 9530 §3).
pub const REPR_DIGEST: &str = "Repr-Digest";
/// `sha256`, a header of the chunk flow.
pub const SHA256: &str = "sha256";
/// `Tus-Checksum-Algorithm`.
pub const TUS_CHECKSUM_ALGORITHM: &str = "Tus-Checksum-Algorithm";
/// `Tus-Extension`.
pub const TUS_EXTENSION: &str = "Tus-Extension";
/// `Tus-Max-Size`, in bytes.
pub const TUS_MAX_SIZE: &str = "Tus-Max-Size";
/// `Tus-Resumable`.
pub const TUS_RESUMABLE: &str = "Tus-Resumable";
/// `Tus-Version`.
pub const TUS_VERSION: &str = "Tus-Version";
/// `Upload-Checksum`.
pub const UPLOAD_CHECKSUM: &str = "Upload-Checksum";
/// `Upload-Concat`.
pub const UPLOAD_CONCAT: &str = "Upload-Concat";
/// `Upload-Defer-Length`.
pub const UPLOAD_DEFER_LENGTH: &str = "Upload-Defer-Length";
/// `Upload-Expires`, an IMF-fixdate.
pub const UPLOAD_EXPIRES: &str = "Upload-Expires";
/// `Upload-Length`, in bytes.
pub const UPLOAD_LENGTH: &str = "Upload-Length";
/// `Upload-Metadata`.
pub const UPLOAD_METADATA: &str = "Upload-Metadata";
/// `Upload-Offset`, in bytes.
pub const UPLOAD_OFFSET: &str = "Upload-Offset";
/// `X-Chunk-SHA256`, a header of the chunk flow.
pub const X_CHUNK_SHA256: &str = "X-Chunk-SHA256";
/// `X-HTTP-Method-Override`.
pub const X_HTTP_METHOD_OVERRIDE: &str = "X-HTTP-Method-Override";

/// The value of a header that may come once; `None` where it is absent. Twice, or other than
/// visible ASCII and blanks: [`Problem::MalformedHeader`] (RFC 9110 §5.3 forbids a sender to repeat
/// a single-valued header).
pub fn single<'a>(headers: &'a HeaderMap, name: &'static str) -> Result<Option<&'a str>, Problem> {
    let mut values = headers.get_all(name).iter();
    let Some(value) = values.next() else {
        return Ok(None);
    };
    if values.next().is_some() {
        return Err(Problem::MalformedHeader { name, why: "it may come only once" });
    }
    let text = value.to_str();
    text.map(Some).map_err(|_| Problem::MalformedHeader { name, why: "it must be plain ASCII" })
}

/// Why digits are no number of ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NotDecimal {
    /// Not `0` or `[1-9][0-9]*`.
    Malformed,
    /// A number above 2^63 − 1.
    TooLarge,
}

impl NotDecimal {
    /// What the client is told.
    pub const fn why(self) -> &'static str {
        match self {
            Self::Malformed => "it must be a plain decimal number without sign or leading zero",
            Self::TooLarge => "the number is above 2^63-1",
        }
    }
}

/// Reads a plain decimal, `0` or `[1-9][0-9]*`, up to 2^63 − 1. Own rule: a number has one
/// spelling.
pub fn decimal(text: &str) -> Result<u64, NotDecimal> {
    let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    if !digits || (text.len() > 1 && text.starts_with('0')) {
        return Err(NotDecimal::Malformed);
    }
    let number: i64 = text.parse().map_err(|_| NotDecimal::TooLarge)?;
    Ok(number.unsigned_abs())
}

/// HTTP/1.1 wants exactly one `Host`, which is empty or names a host and perhaps a port
/// (RFC 9112 §3.2).
pub fn check_host(parts: &Parts) -> Result<(), Problem> {
    let malformed = |why| Err(Problem::MalformedHeader { name: "Host", why });
    let lines = parts.headers.get_all(header::HOST);
    if parts.version == Version::HTTP_11 && lines.iter().count() != 1 {
        return malformed("it must come exactly once");
    }
    if lines.iter().all(|line| line.is_empty() || is_authority(line.as_bytes())) {
        return Ok(());
    }
    malformed("it must name a host, and perhaps a port")
}

/// A host, and perhaps a port; nobody's name before it (RFC 9110 §7.2).
fn is_authority(text: &[u8]) -> bool {
    !text.contains(&b'@') && Authority::try_from(text).is_ok()
}

/// What the head says about the body's length.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BodyLength {
    /// There is no body.
    Empty,
    /// `Content-Length`, in bytes; not zero.
    Exactly(u64),
    /// A body whose end only its arrival tells; it may turn out to be empty.
    Unknown,
}

impl BodyLength {
    /// Reads `Content-Length` and `Transfer-Encoding`. HTTP/2 and later may send a body without
    /// announcing it; whoever knows that the stream has ended already says [`BodyLength::Empty`]
    /// instead.
    pub fn of(parts: &Parts) -> Result<Self, Problem> {
        if let Some(text) = single(&parts.headers, CONTENT_LENGTH)? {
            let length = decimal(text)
                .map_err(|e| Problem::MalformedHeader { name: CONTENT_LENGTH, why: e.why() })?;
            return Ok(if length == 0 { Self::Empty } else { Self::Exactly(length) });
        }
        let announced = plain_transfer(&parts.headers)?;
        Ok(if announced || parts.version > Version::HTTP_11 { Self::Unknown } else { Self::Empty })
    }
}

/// Is there a transfer coding? `chunked` alone is one that hides nothing: behind any other the
/// bytes are not those of the file, and nobody decodes them here (RFC 9112 §6.1).
fn plain_transfer(headers: &HeaderMap) -> Result<bool, Problem> {
    let why = "only chunked is taken";
    match single(headers, TRANSFER_ENCODING)? {
        None => Ok(false),
        Some(coding) if coding.eq_ignore_ascii_case("chunked") => Ok(true),
        Some(_) => Err(Problem::MalformedHeader { name: TRANSFER_ENCODING, why }),
    }
}

/// The `type/subtype` of a media type in lower case, without its parameters; `None` for other text
/// (RFC 9110 §8.3.1).
pub fn essence(text: &str) -> Option<String> {
    let (essence, parameters) = text.split_once(';').unwrap_or((text, ""));
    let (kind, subtype) = essence.trim_end_matches([' ', '\t']).split_once('/')?;
    let token = |t: &str| !t.is_empty() && t.bytes().all(is_token);
    let visible = !parameters.bytes().any(|b| b.is_ascii_control() && b != b'\t');
    (token(kind) && token(subtype) && visible)
        .then(|| format!("{kind}/{subtype}").to_ascii_lowercase())
}

/// May this byte stand in a token (RFC 9110 §5.6.2)?
pub(super) fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

/// The request's media type as [`essence`] has it; `None` where it is absent, comes twice or cannot
/// be read.
pub fn media_type(headers: &HeaderMap) -> Option<String> {
    single(headers, "Content-Type").ok().flatten().and_then(essence)
}

/// Refuses a coded body: it is neither decoded nor stored as if it were plain (row TUS-PATCH-14).
pub fn plain_coding(headers: &HeaderMap) -> Result<(), Problem> {
    let identity = |value: &HeaderValue| {
        value.to_str().is_ok_and(|text| {
            text.split(',').all(|coding| coding.trim().eq_ignore_ascii_case("identity"))
        })
    };
    let plain = headers.get_all(CONTENT_ENCODING).iter().all(identity);
    if plain { Ok(()) } else { Err(Problem::UnsupportedEncoding) }
}

/// A number as a header value.
pub(super) fn number(value: u64) -> HeaderValue {
    HeaderValue::from(value)
}

/// Text that is known to be visible ASCII as a header value.
pub(super) fn ascii(text: &str) -> HeaderValue {
    HeaderValue::from_str(text).expect("the text was made of visible ASCII")
}
