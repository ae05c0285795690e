//! Method, path and version: what is asked of which upload.

use http::{HeaderMap, Method, request::Parts};
use percent_encoding::percent_decode_str;

use super::{Creation, FinalCreation, Patch, VERSION, concatenation::upload_concat};
use crate::{
    protocol::{BasePath, BodyLength, Problem, chunks::Deleting, headers},
    upload::{Concatenation, Length, UploadId},
};

/// What this server takes and offers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rules {
    /// Where the dialect lives.
    pub base: BasePath,
    /// The largest file (`Tus-Max-Size`), in bytes; none for no limit.
    pub max_size: Option<Length>,
    /// Is DELETE refused, in every dialect, and the termination extension not announced?
    pub termination_disabled: bool,
    /// Is GET refused?
    pub download_disabled: bool,
}

/// A request, decoded once; afterwards only this value counts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Request {
    /// What can the server do? Answered alike for every path under the base.
    Options,
    /// A new upload.
    Create(Creation),
    /// A new upload that is part of another one.
    CreatePartial(Creation),
    /// A new upload out of partial ones.
    Concatenate(FinalCreation),
    /// How far is it? Also the answer to POST with `X-HTTP-Method-Override: HEAD`.
    Head(UploadId),
    /// More bytes. First find the upload (404, 410), then look at the head (415, 400).
    Patch(UploadId, Result<Patch, Problem>),
    /// Away with it.
    Delete(UploadId),
    /// The finished file. No tus request: the version is not checked.
    Get(UploadId),
}

/// Reads a request head. `None` for a path outside of the base.
///
/// `body` is what the head, or the stream's early end, tells of the body ([`BodyLength::of`]).
///
/// The method is overridden for POST only: a safe method stays safe (row TUS-OVR-03). The path is
/// percent-decoded once, and its last segment is an upload id or nothing (404).
pub fn decode(parts: &Parts, body: BodyLength, rules: &Rules) -> Option<Result<Request, Problem>> {
    let rest = rules.base.strip(parts.uri.path())?;
    Some(request(parts, body, rules, rest))
}

fn request(parts: &Parts, body: BodyLength, rules: &Rules, rest: &str) -> Result<Request, Problem> {
    let method = effective_method(parts);
    if !matches!(method, Ok(Method::OPTIONS | Method::GET)) {
        check_version(&parts.headers)?;
    }
    let method = method?;
    if method == Method::OPTIONS {
        return Ok(Request::Options);
    }
    if rest.is_empty() {
        return match method {
            Method::POST => creation(parts, body, rules),
            _ => Err(Problem::MethodNotAllowed { allow: "POST, OPTIONS".to_owned() }),
        };
    }
    let id = upload_id(rest)?;
    match method {
        Method::HEAD => Ok(Request::Head(id)),
        Method::PATCH => Ok(Request::Patch(id, Patch::decode(parts, body, rules))),
        Method::GET if !rules.download_disabled => Ok(Request::Get(id)),
        Method::DELETE if !rules.termination_disabled => Ok(Request::Delete(id)),
        _ => Err(Problem::MethodNotAllowed { allow: rules.upload_methods() }),
    }
}

fn creation(parts: &Parts, body: BodyLength, rules: &Rules) -> Result<Request, Problem> {
    match upload_concat(&parts.headers, rules) {
        Ok(Some(Concatenation::Final(list))) => {
            FinalCreation::decode(list, &parts.headers, body).map(Request::Concatenate)
        }
        Ok(Some(Concatenation::Partial)) => {
            Creation::decode(parts, body, rules).map(Request::CreatePartial)
        }
        Ok(None) => Creation::decode(parts, body, rules).map(Request::Create),
        Err(malformed) => {
            // A media type that is not taken is said first.
            Creation::decode(parts, body, rules)?;
            Err(malformed)
        }
    }
}

impl Rules {
    /// May clients delete, in the other dialect too?
    pub const fn deleting(&self) -> Deleting {
        if self.termination_disabled { Deleting::Refused } else { Deleting::Allowed }
    }

    fn upload_methods(&self) -> String {
        let mut methods = vec!["HEAD", "PATCH"];
        if !self.download_disabled {
            methods.push("GET");
        }
        if !self.termination_disabled {
            methods.push("DELETE");
        }
        methods.push("OPTIONS");
        methods.join(", ")
    }
}

/// The method, or what `X-HTTP-Method-Override` makes of POST (tus core). Case-sensitive (RFC 9110
/// §9.1): `patch` is a method that nobody knows, 405; a list or two headers are malformed, 400;
/// empty is absent.
fn effective_method(parts: &Parts) -> Result<Method, Problem> {
    const NAME: &str = headers::X_HTTP_METHOD_OVERRIDE;
    if parts.method != Method::POST {
        return Ok(parts.method.clone());
    }
    match headers::single(&parts.headers, NAME)? {
        None | Some("") => Ok(Method::POST),
        Some(text) => Method::from_bytes(text.as_bytes())
            .map_err(|_| Problem::MalformedHeader { name: NAME, why: "it must name one method" }),
    }
}

/// Exactly one `Tus-Resumable: 1.0.0`; anything else is no version of ours (tus core,
/// Tus-Resumable).
fn check_version(headers: &HeaderMap) -> Result<(), Problem> {
    match headers::single(headers, headers::TUS_RESUMABLE) {
        Ok(Some(VERSION)) => Ok(()),
        _ => Err(Problem::UnsupportedVersion),
    }
}

/// The id out of what follows the base: decoded once, one trailing slash forgiven, then an
/// allow-list.
pub(super) fn upload_id(rest: &str) -> Result<UploadId, Problem> {
    let segment = rest.strip_suffix('/').unwrap_or(rest);
    let mut escapes = segment.split('%').skip(1);
    let whole = |escape: &str| {
        escape.get(..2).is_some_and(|digits| digits.bytes().all(|b| b.is_ascii_hexdigit()))
    };
    if !escapes.all(whole) {
        return Err(Problem::MalformedPath);
    }
    let text = percent_decode_str(segment).decode_utf8().map_err(|_| Problem::UnknownUpload)?;
    UploadId::parse(&text).map_err(|_| Problem::UnknownUpload)
}
