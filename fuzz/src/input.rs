//! Inputs as people can write them: a request in plain text.

use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Uri, request::Parts};

/// A head, `METHOD target` and lines of `name: value`, and what follows the empty line behind it.
/// `None` for what the HTTP library would not hand on.
pub(crate) fn request(data: &[u8]) -> Option<(Parts, &[u8])> {
    let (head, body) = split(data, b"\n\n").unwrap_or((data, b""));
    let (first, lines) = split(head, b"\n").unwrap_or((head, b""));
    let (method, target) = split(first, b" ")?;
    let mut request = Request::new(());
    *request.method_mut() = Method::from_bytes(method).ok()?;
    *request.uri_mut() = Uri::try_from(target).ok()?;
    *request.headers_mut() = headers(lines)?;
    let (parts, ()) = request.into_parts();
    Some((parts, body))
}

/// Lines of `name: value`.
pub(crate) fn headers(lines: &[u8]) -> Option<HeaderMap> {
    let mut headers = HeaderMap::new();
    for line in lines.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
        let (name, value) = split(line, b":")?;
        let name = HeaderName::from_bytes(name.trim_ascii()).ok()?;
        headers.append(name, value_of(value.trim_ascii())?);
    }
    Some(headers)
}

/// A header of this value alone.
pub(crate) fn header(name: &'static str, value: &[u8]) -> Option<HeaderMap> {
    let mut headers = HeaderMap::new();
    headers.insert(HeaderName::from_bytes(name.as_bytes()).ok()?, value_of(value)?);
    Some(headers)
}

fn value_of(value: &[u8]) -> Option<HeaderValue> {
    HeaderValue::from_bytes(value).ok()
}

/// What stands before and behind the first `mark`.
pub(crate) fn split<'a>(data: &'a [u8], mark: &[u8]) -> Option<(&'a [u8], &'a [u8])> {
    let at = data.windows(mark.len()).position(|window| window == mark)?;
    let (before, rest) = data.split_at_checked(at)?;
    Some((before, rest.get(mark.len()..)?))
}

/// The first bytes as a number, and the rest.
pub(crate) fn number(data: &[u8]) -> (u64, &[u8]) {
    match data.split_first_chunk::<8>() {
        Some((number, rest)) => (u64::from_le_bytes(*number), rest),
        None => (0, data),
    }
}
