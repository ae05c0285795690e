//! Where the server is: on the machine, on its own host, and seen from outside.

use std::net::SocketAddr;

use http::Uri;

/// `IP:PORT`; names are refused, since what they stand for may change while we run.
pub(super) fn socket_address(text: &str) -> Result<SocketAddr, String> {
    text.parse().map_err(|_| "is not an IP address with a port".to_owned())
}

/// A path that begins and ends with a slash and shares no first segment with our other routes.
pub(super) fn base_path(text: &str) -> Result<String, String> {
    let inner = text.strip_prefix('/').unwrap_or(text);
    let inner = inner.strip_suffix('/').unwrap_or(inner);
    if inner.is_empty() {
        return Err("leaves no path to the server's other routes".to_owned());
    }
    for segment in inner.split('/') {
        check_segment(segment)?;
    }
    match RESERVED.iter().find(|&&name| inner.split('/').next() == Some(name)) {
        Some(name) => Err(format!("collides with the server's own /{name}")),
        None => Ok(format!("/{inner}/")),
    }
}

/// An absolute http or https URL without query and fragment, returned without a slash at its end.
pub(super) fn public_url(text: &str) -> Result<String, String> {
    // The parser drops a fragment without a word.
    if text.contains(['?', '#']) {
        return Err("has a query or a fragment".to_owned());
    }
    let url: Uri = text.parse().map_err(|error| format!("is not a URL: {error}"))?;
    if !matches!(url.scheme_str(), Some("http" | "https")) {
        return Err("does not begin with http:// or https://".to_owned());
    }
    let authority = url.authority().map_or("", http::uri::Authority::as_str);
    if authority.contains('@') {
        return Err("has a user name, which every client would be told".to_owned());
    }
    Ok(text.trim_end_matches('/').to_owned())
}

/// Only characters that no client and no proxy rewrites, so that paths compare as bytes.
fn check_segment(segment: &str) -> Result<(), String> {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_' | '~');
    match segment {
        "" => Err("has an empty segment".to_owned()),
        "." | ".." => Err("has a segment that clients resolve away".to_owned()),
        _ if !segment.chars().all(plain) => {
            Err("has a character other than letters, digits and - . _ ~".to_owned())
        }
        _ => Ok(()),
    }
}

/// First segments of the routes beside the base path.
const RESERVED: [&str; 10] = [
    "upload",
    "merge",
    "healthz",
    "readyz",
    "metrics",
    "openapi.json",
    "piton.js",
    "piton.d.ts",
    "page.js",
    "page.css",
];
