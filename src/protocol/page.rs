//! What browsers are served beside the dialects: a page to send files with, and the module behind
//! it. Both are part of the program, and name nothing outside of this server.

#[cfg(test)]
mod tests;

use std::sync::Arc;

use http::{HeaderMap, HeaderValue, Method, Response, StatusCode, header, request::Parts};

use super::{Answer, Problem, download::is_known, headers::ascii, tus::Rules};
use crate::upload::Sha256Digest;

/// Scripts, styles and requests of our own and nothing else; nobody may put the page into a frame.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; \
    worker-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// A browser asks each time, and is told in a few bytes that nothing changed: after an update of
/// the program nobody has half of an old page.
const CACHING: &str = "no-cache";

const HTML: &str = "text/html; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";
const STYLE: &str = "text/css; charset=utf-8";

/// The module and its types.
const MODULE: [(&str, &str, &str); 2] = [
    ("/piton.js", SCRIPT, include_str!("../../web/piton.js")),
    ("/piton.d.ts", "text/plain; charset=utf-8", include_str!("../../web/piton.d.ts")),
];

/// The page but for its root.
const PARTS: [(&str, &str, &str); 2] = [
    ("/page.js", SCRIPT, include_str!("../../web/page.js")),
    ("/page.css", STYLE, include_str!("../../web/page.css")),
];

const ROOT: &str = include_str!("../../web/index.html");

/// Where the page is told what this server does not do.
const SERVER: &str = "data-server=\"\"";

/// The files that browsers are served; none by default.
#[derive(Debug, Clone, Default)]
pub struct Page(Arc<[Asset]>);

#[derive(Debug)]
struct Asset {
    path: &'static str,
    media_type: &'static str,
    text: String,
    /// Strong, with its quotes.
    etag: String,
}

impl Asset {
    fn new((path, media_type, text): (&'static str, &'static str, &str)) -> Self {
        let etag = format!("\"{}\"", Sha256Digest::of(text.as_bytes()));
        Self { path, media_type, text: text.to_owned(), etag }
    }
}

impl Page {
    /// `/piton.js` and its types, for pages of somebody else.
    pub fn module() -> Self {
        Self(MODULE.map(Asset::new).into_iter().collect())
    }

    /// These, and the page at `/`, which offers what the rules allow.
    pub fn whole(rules: &Rules) -> Self {
        let lacks = if rules.download_disabled { "no-download" } else { "" };
        let root = ROOT.replacen(SERVER, &format!("data-server=\"{lacks}\""), 1);
        let files = MODULE.into_iter().chain(PARTS).chain([("/", HTML, root.as_str())]);
        Self(files.map(Asset::new).collect())
    }

    /// Answers a GET or HEAD of one of the files: 200, or 304 to a browser that has it. `None` if
    /// the path is none of them; another method is [`Problem::MethodNotAllowed`].
    pub fn answer(&self, parts: &Parts) -> Option<Result<Answer, Problem>> {
        let path = parts.uri.path();
        let asset = self.0.iter().find(|asset| asset.path == path)?;
        if !matches!(parts.method, Method::GET | Method::HEAD) {
            return Some(Err(Problem::MethodNotAllowed { allow: "GET, HEAD".to_owned() }));
        }
        Some(Ok(asset.answer(&parts.headers)))
    }
}

impl Asset {
    fn answer(&self, asked: &HeaderMap) -> Answer {
        let mut answer = Response::new(Vec::new());
        let headers = answer.headers_mut();
        headers.insert(header::ETAG, ascii(&self.etag));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static(CACHING));
        if is_known(asked, &self.etag) {
            *answer.status_mut() = StatusCode::NOT_MODIFIED;
            return answer;
        }
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(self.media_type));
        headers.insert(header::CONTENT_LENGTH, HeaderValue::from(self.text.len()));
        headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
        // URLs of uploads are secrets.
        headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
        self.text.as_bytes().clone_into(answer.body_mut());
        answer
    }
}
