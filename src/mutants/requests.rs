//! Heads that the service hears otherwise than they were sent.

use http::{HeaderMap, HeaderValue, Method, Uri, header, request::Parts};

use crate::protocol::headers::{
    CONTENT_DIGEST, CONTENT_MD5, TUS_RESUMABLE, UPLOAD_CHECKSUM, UPLOAD_CONCAT, UPLOAD_LENGTH,
    UPLOAD_OFFSET, X_CHUNK_SHA256, X_HTTP_METHOD_OVERRIDE,
};

pub(super) fn right_version(parts: &mut Parts) {
    if parts.uri.path().starts_with("/files") {
        parts.headers.insert(TUS_RESUMABLE, HeaderValue::from_static("1.0.0"));
    }
}

pub(super) fn right_media_type(parts: &mut Parts) {
    if parts.method == Method::PATCH {
        let offset = HeaderValue::from_static("application/offset+octet-stream");
        parts.headers.insert(header::CONTENT_TYPE, offset);
    }
}

pub(super) fn no_plus(parts: &mut Parts) {
    reword(&mut parts.headers, UPLOAD_OFFSET, |text| Some(text.strip_prefix('+')?.to_owned()));
}

pub(super) fn no_checksum(parts: &mut Parts) {
    parts.headers.remove(UPLOAD_CHECKSUM);
}

pub(super) fn no_override(parts: &mut Parts) {
    parts.headers.remove(X_HTTP_METHOD_OVERRIDE);
}

/// An upload of one byte less than the client will send.
pub(super) fn one_short(parts: &mut Parts) {
    reword(&mut parts.headers, UPLOAD_LENGTH, |text| {
        let length = text.parse::<u64>().ok().filter(|length| *length > 1)?;
        Some((length - 1).to_string())
    });
}

pub(super) fn parts_reversed(parts: &mut Parts) {
    reword(&mut parts.headers, UPLOAD_CONCAT, reversed);
}

/// `final;a b` as `final;b a`.
pub(super) fn reversed(list: &str) -> Option<String> {
    let mut parts: Vec<&str> = list.strip_prefix("final;")?.split(' ').collect();
    parts.reverse();
    Some(format!("final;{}", parts.join(" ")))
}

pub(super) fn range_one_short(parts: &mut Parts) {
    reword(&mut parts.headers, header::RANGE.as_str(), |text| {
        let (first, last) = text.split_once('-')?;
        let last = last.parse::<u64>().ok().filter(|last| *last > 0)?;
        Some(format!("{first}-{}", last - 1))
    });
}

pub(super) fn no_chunk_digest(parts: &mut Parts) {
    for name in [CONTENT_DIGEST, CONTENT_MD5, X_CHUNK_SHA256, "sha256"] {
        parts.headers.remove(name);
    }
    let Some(query) = parts.uri.query().filter(|_| parts.uri.path() == "/upload") else { return };
    let kept: Vec<&str> = query.split('&').filter(|pair| !pair.starts_with("sha256=")).collect();
    if let Ok(uri) = format!("{}?{}", parts.uri.path(), kept.join("&")).parse::<Uri>() {
        parts.uri = uri;
    }
}

pub(super) fn no_condition(parts: &mut Parts) {
    if parts.uri.path() == "/upload" {
        parts.headers.remove(header::IF_NONE_MATCH);
        parts.headers.remove(header::IF_MATCH);
    }
}

/// Replaces the value of a header, where it has one and there is something to say instead.
pub(super) fn reword(
    headers: &mut HeaderMap,
    name: &'static str,
    other: impl FnOnce(&str) -> Option<String>,
) {
    let value = headers.get(name).and_then(|value| value.to_str().ok()).and_then(other);
    if let Some(Ok(value)) = value.map(|value| HeaderValue::from_str(&value)) {
        headers.insert(name, value);
    }
}
