//! CORS: which pages of other origins may read our answers (Fetch standard, §3.2).
//!
//! The browser enforces it, the server only says it: a request of an origin that is not allowed is
//! served like any other, and its page does not get to see the answer. What is said depends on the
//! head of the request alone, so it is added to every answer alike, in one place.

#[cfg(test)]
mod tests;

use std::str::FromStr;

use http::{HeaderMap, HeaderValue, Method, Response, StatusCode, header, request::Parts};

use super::{Answer, headers::is_token};

/// What pages may send.
const METHODS: &str = "POST, GET, HEAD, PATCH, PUT, DELETE, OPTIONS";

/// Headers that clients are known to send (row CORS-02, clients.md B.6). Others that a browser asks
/// for are allowed beside them.
const ALLOWED: &str = "Authorization, Cache-Control, Content-Digest, Content-Disposition, \
    Content-MD5, Content-Range, Content-Type, If-Match, If-None-Match, If-Range, Prefer, Range, \
    Repr-Digest, sha256, Tus-Resumable, Upload-Checksum, Upload-Complete, Upload-Concat, \
    Upload-Defer-Length, Upload-Draft-Interop-Version, Upload-Length, Upload-Metadata, \
    Upload-Name, Upload-Offset, Want-Content-Digest, Want-Repr-Digest, X-Chunk-SHA256, \
    X-HTTP-Method-Override, X-Request-ID, X-Requested-With";

/// What pages may read beside the few headers that they always may (row CORS-03).
const EXPOSED: &str = "Accept-Encoding, Accept-Ranges, Allow, Content-Digest, \
    Content-Disposition, Content-Length, Content-Range, Date, ETag, Location, Range, Repr-Digest, \
    Retry-After, Tus-Checksum-Algorithm, Tus-Extension, Tus-Max-Size, Tus-Resumable, Tus-Version, \
    Upload-Complete, Upload-Concat, Upload-Defer-Length, Upload-Draft-Interop-Version, \
    Upload-Expires, Upload-Length, Upload-Limit, Upload-Metadata, Upload-Offset, WWW-Authenticate";

/// How long a browser may go without asking again, in seconds: a day, the most that any of them
/// takes.
const MAX_AGE: &str = "86400";

/// Bytes of asked-for headers that are allowed beside [`ALLOWED`] at most.
const ASKED_MAX: usize = 2048;

const PRIVATE_NETWORK_ASKED: &str = "access-control-request-private-network";
const PRIVATE_NETWORK_ALLOWED: &str = "access-control-allow-private-network";

/// Whose pages may read our answers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Cors {
    /// CORS is somebody else's affair: not a word of it.
    Off,
    /// Those of every origin, without credentials.
    #[default]
    Any,
    /// Those of these origins.
    Listed {
        /// One of them has to match.
        origins: Vec<OriginPattern>,
        /// May they send cookies along? The Fetch standard never allows that to every origin.
        credentials: bool,
    },
}

/// An origin, `https://example.org` or `http://localhost:3000`, in which the first labels of the
/// host (`https://*.example.org`) and the port (`http://localhost:*`) may be left open.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OriginPattern {
    scheme: String,
    host: HostPattern,
    port: PortPattern,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum HostPattern {
    Exactly(String),
    /// Everything that ends so; begins with a dot.
    Below(String),
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum PortPattern {
    /// Empty where it is the scheme's own.
    Exactly(String),
    Any,
}

/// Text that is no origin.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an origin is scheme://host or scheme://host:port, the host may begin with '*.'")]
pub struct ParseOriginError;

impl Cors {
    /// What a browser is told that asks before it sends a request; `None` for any other request.
    /// The path does not matter, nor does whether the origin is allowed: that is in the headers
    /// which [`Cors::write`] adds.
    pub fn preflight(&self, parts: &Parts) -> Option<Answer> {
        (*self != Self::Off && is_preflight(parts)).then(|| {
            let mut answer = Response::new(Vec::new());
            *answer.status_mut() = StatusCode::NO_CONTENT;
            answer
        })
    }

    /// Adds to an answer of any status what the page that asked needs to read it.
    ///
    /// `Vary: Origin` is there whoever asked: a cache between us would else give the answer to a
    /// page whose browser throws it away.
    pub fn write(&self, parts: &Parts, headers: &mut HeaderMap) {
        if *self == Self::Off {
            return;
        }
        headers.append(header::VARY, HeaderValue::from_static("Origin"));
        let Some(origin) = self.allowed(&parts.headers) else {
            return;
        };
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        if matches!(self, Self::Listed { credentials: true, .. }) {
            let allowed = HeaderValue::from_static("true");
            headers.insert(header::ACCESS_CONTROL_ALLOW_CREDENTIALS, allowed);
        }
        if is_preflight(parts) {
            write_preflight(&parts.headers, headers);
        } else {
            let exposed = HeaderValue::from_static(EXPOSED);
            headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, exposed);
        }
    }

    /// `Access-Control-Allow-Origin` for a request that names its origin and may.
    fn allowed(&self, headers: &HeaderMap) -> Option<HeaderValue> {
        let mut named = headers.get_all(header::ORIGIN).iter();
        let origin = named.next()?;
        match self {
            Self::Off => None,
            Self::Any => Some(HeaderValue::from_static("*")),
            Self::Listed { .. } if named.next().is_some() => None,
            Self::Listed { origins, .. } => {
                let text = origin.to_str().ok()?;
                origins.iter().any(|pattern| pattern.matches(text)).then(|| origin.clone())
            }
        }
    }
}

fn is_preflight(parts: &Parts) -> bool {
    parts.method == Method::OPTIONS
        && parts.headers.contains_key(header::ORIGIN)
        && parts.headers.contains_key(header::ACCESS_CONTROL_REQUEST_METHOD)
}

fn write_preflight(asked: &HeaderMap, headers: &mut HeaderMap) {
    headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static(METHODS));
    headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, allowed_headers(asked));
    headers.insert(header::ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static(MAX_AGE));
    let vary = HeaderValue::from_static("Access-Control-Request-Headers");
    headers.append(header::VARY, vary);
    if asked.get(PRIVATE_NETWORK_ASKED).is_some_and(|asked| asked == "true") {
        headers.insert(PRIVATE_NETWORK_ALLOWED, HeaderValue::from_static("true"));
    }
}

/// The headers that we know of, and what the page wants to send besides: tokens and traces of
/// whatever stands between mean nothing to us and must not make an upload fail.
fn allowed_headers(asked: &HeaderMap) -> HeaderValue {
    let lists = asked.get_all(header::ACCESS_CONTROL_REQUEST_HEADERS).iter();
    let names = lists.filter_map(|list| list.to_str().ok()).flat_map(|list| list.split(','));
    let mut all = ALLOWED.to_owned();
    for name in names.map(str::trim) {
        let plain = !name.is_empty() && name.bytes().all(is_token);
        let known = || ALLOWED.split(", ").any(|known| known.eq_ignore_ascii_case(name));
        if all.len() + name.len() > ALLOWED.len() + ASKED_MAX {
            break;
        }
        if plain && !known() {
            all.push_str(", ");
            all.push_str(name);
        }
    }
    HeaderValue::from_str(&all).unwrap_or_else(|_| HeaderValue::from_static(ALLOWED))
}

impl OriginPattern {
    /// Is `origin`, as a browser sends it, one of these?
    fn matches(&self, origin: &str) -> bool {
        let Some((scheme, host, port)) = split(origin) else {
            return false;
        };
        let port = match &self.port {
            PortPattern::Exactly(own) => own == own_port(scheme, port),
            PortPattern::Any => port.bytes().all(|b| b.is_ascii_digit()),
        };
        let host = match &self.host {
            HostPattern::Exactly(own) => own == host,
            HostPattern::Below(end) => host.strip_suffix(end.as_str()).is_some_and(is_host),
        };
        self.scheme == scheme && host && port
    }
}

impl FromStr for OriginPattern {
    type Err = ParseOriginError;

    fn from_str(text: &str) -> Result<Self, ParseOriginError> {
        let text = text.to_ascii_lowercase();
        let (scheme, host, port) = split(&text).ok_or(ParseOriginError)?;
        let name = host.strip_prefix("*.").unwrap_or(host);
        let scheme_begins = scheme.bytes().next().is_some_and(|b| b.is_ascii_lowercase());
        let in_scheme = |b: u8| b.is_ascii_alphanumeric() || b"+-.".contains(&b);
        if !scheme_begins || !scheme.bytes().all(in_scheme) || !is_host(name) {
            return Err(ParseOriginError);
        }
        let port = match port {
            "*" => PortPattern::Any,
            digits if digits.is_empty() || digits.parse::<u16>().is_ok_and(|port| port > 0) => {
                PortPattern::Exactly(own_port(scheme, digits).to_owned())
            }
            _ => return Err(ParseOriginError),
        };
        let host = match host.strip_prefix('*') {
            Some(end) => HostPattern::Below(end.to_owned()),
            None => HostPattern::Exactly(host.to_owned()),
        };
        Ok(Self { scheme: scheme.to_owned(), host, port })
    }
}

/// Scheme, host and port, which is empty where none is written.
fn split(origin: &str) -> Option<(&str, &str, &str)> {
    let (scheme, authority) = origin.split_once("://")?;
    match authority.rsplit_once(':') {
        Some((host, port)) if !port.is_empty() && !port.contains(']') => Some((scheme, host, port)),
        Some((_, "")) => None,
        _ => Some((scheme, authority, "")),
    }
}

/// The port as an origin writes it: the scheme's own is left out.
fn own_port<'a>(scheme: &str, port: &'a str) -> &'a str {
    match (scheme, port) {
        ("http", "80") | ("https", "443") => "",
        _ => port,
    }
}

/// A name or an IP address, in lower case.
fn is_host(text: &str) -> bool {
    if let Some(inner) = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')) {
        return inner.parse::<std::net::Ipv6Addr>().is_ok();
    }
    let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b".-_".contains(&b);
    !text.is_empty() && !text.starts_with('.') && text.bytes().all(plain)
}
