//! Heads of requests: methods, targets, and every header that a decoder of ours reads.

use std::{net::IpAddr, time::Duration};

use http::{HeaderName, Response, StatusCode, Uri, header, request::Parts};
use piton::{
    protocol::{
        BodyLength, Cors, Links, OwnerHeader, Page, Problem, Proxies, PublicUrl,
        chunks::{
            BodyKind, Check, ChunkUpload, Deleting, Instantly, Named, Params, Served, StatusQuery,
            accepts_json, patience, route,
        },
        headers::{check_host, decimal, essence, media_type, plain_coding},
        tus::{self, Request, Rules},
    },
    upload::{Dialect, Length, UploadId},
};

use crate::input;

/// Bytes of a refusal at most, whatever was asked: nobody's text comes back at length.
const REFUSAL_MAX: usize = 4096;

/// A request of tus, and what all dialects read of a head.
pub(crate) fn tus(data: &[u8]) {
    let Some((parts, _)) = input::request(data) else { return };
    common(&parts);
    let rules = Rules { max_size: Some(Length::new(1 << 40).unwrap()), ..Rules::default() };
    let body = BodyLength::of(&parts).unwrap_or(BodyLength::Unknown);
    let decoded = tus::decode(&parts, body, &rules);
    let below = rules.base.strip(parts.uri.path()).is_some();
    assert_eq!(decoded.is_some(), below, "only what lies under the base is tus");
    match decoded {
        Some(Err(problem)) => refusal(&problem, Dialect::Tus),
        Some(Ok(request)) => understood(&parts, request, &rules),
        None => {}
    }
}

fn understood(parts: &Parts, request: Request, rules: &Rules) {
    let id = match request {
        Request::Options | Request::Concatenate(_) => return,
        Request::Create(creation) | Request::CreatePartial(creation) => {
            assert!(creation.length <= rules.max_size, "a file above the maximum");
            let verbatim = &creation.metadata.verbatim;
            let again = input::header("upload-metadata", verbatim.as_bytes()).unwrap();
            assert_eq!(tus::Metadata::decode(&again), Ok(creation.metadata));
            return;
        }
        Request::Patch(id, Err(problem)) => {
            refusal(&problem, Dialect::Tus);
            id
        }
        Request::Patch(id, Ok(patch)) => {
            let told = parts.headers.get("upload-offset").unwrap().to_str().unwrap();
            assert_eq!(patch.offset.get().to_string(), told, "a number has one spelling");
            id
        }
        Request::Head(id) | Request::Delete(id) | Request::Get(id) => id,
    };
    // Printed, it is found again: whatever was escaped, an id is one thing.
    let link = Links::default().upload(&id);
    assert_eq!(link.as_str(), format!("/files/{id}"));
    assert_eq!(UploadId::parse(id.as_str()), Ok(id));
    let mut again = parts.clone();
    again.uri = link.as_str().parse::<Uri>().unwrap();
    assert!(tus::decode(&again, BodyLength::Unknown, rules).is_some());
}

/// A request of the chunk flow.
pub(crate) fn chunks(data: &[u8]) {
    let Some((parts, body)) = input::request(data) else { return };
    common(&parts);
    let served = Served { deleting: Deleting::Allowed, instantly: Instantly::Offered };
    if let Some(Err(problem)) = route(&parts.method, parts.uri.path(), served) {
        refusal(&problem, Dialect::Chunks);
    }
    let length = BodyLength::of(&parts).unwrap_or(BodyLength::Unknown);
    check(BodyKind::of(&parts.headers, length).map(drop));
    check(accepts_json(&parts.headers, length));
    assert!(patience(&parts.headers).is_none_or(|wait| wait <= Duration::from_mins(1)));
    let fields = str::from_utf8(body).unwrap_or_default().lines();
    let fields = fields.filter_map(|line| line.split_once('='));
    let params = Params::from_query(parts.uri.query()).and_then(|query| query.with_form(fields));
    let params = match params {
        Ok(params) => params,
        Err(problem) => return refusal(&problem, Dialect::Chunks),
    };
    check(Named::decode(&params).map(|name| {
        let named = name.filename.as_deref().unwrap_or_default();
        assert!(named.len() <= 255, "a name longer than any file system takes");
        assert!((8..=64).contains(&name.hash.as_str().len()));
        // What tus clients are told of it, they may say themselves.
        let told = tus::Metadata::named(name.filename.as_deref());
        let headers = input::header("upload-metadata", told.verbatim.as_bytes()).unwrap();
        assert_eq!(tus::Metadata::decode(&headers).unwrap().filename, name.filename);
    }));
    check(Check::decode(&params).map(drop));
    check(StatusQuery::decode(&params).map(drop));
    check(ChunkUpload::decode(&params, &parts.headers).and_then(|chunk| {
        let layout = chunk.layout()?;
        chunk.fits(&layout)?;
        let (bytes, most) = (layout.chunk_len(chunk.index).unwrap(), layout.chunk_size().get());
        assert!(bytes < most.saturating_mul(2), "a chunk of {bytes} bytes");
        assert!(layout.end(chunk.index).unwrap().get() <= chunk.size.unwrap().get());
        Ok(())
    }));
}

fn check(decoded: Result<(), Problem>) {
    if let Err(problem) = decoded {
        refusal(&problem, Dialect::Chunks);
    }
}

/// What is read of every head, whoever is meant.
fn common(parts: &Parts) {
    check(check_host(parts));
    check(plain_coding(&parts.headers));
    check(BodyLength::of(parts).map(drop));
    if let Some(kind) = media_type(&parts.headers) {
        assert_eq!(essence(&kind).as_deref(), Some(&*kind), "an essence is its own");
    }
    let owner = OwnerHeader::new(HeaderName::from_static("x-user")).read(&parts.headers);
    check(owner.map(|owner| assert!(owner.len() <= 255)));
    if let Some(Ok(answer)) = Page::whole(&Rules::default()).answer(parts) {
        assert!(answer.status().is_success() || answer.status() == StatusCode::NOT_MODIFIED);
    }
    origins(parts);
}

/// Nobody but who is listed is allowed to read.
fn origins(parts: &Parts) {
    const OURS: &str = "https://app.example.org";
    let origins = vec![OURS.parse().unwrap(), "https://*.example.net".parse().unwrap()];
    let cors = Cors::Listed { origins, credentials: true };
    let _ = cors.preflight(parts);
    let mut answer = Response::new(());
    cors.write(parts, answer.headers_mut());
    let bytes: usize = answer.headers().values().map(http::HeaderValue::len).sum();
    assert!(
        bytes < REFUSAL_MAX + parts.headers.get(header::ORIGIN).map_or(0, http::HeaderValue::len)
    );
    let Some(allowed) = answer.headers().get(header::ACCESS_CONTROL_ALLOW_ORIGIN) else { return };
    let allowed = allowed.to_str().unwrap();
    let host = allowed.strip_prefix("https://").unwrap().trim_end_matches(":443");
    let below = host.strip_suffix(".example.net");
    let name = |b: u8| b.is_ascii_alphanumeric() || b"-._".contains(&b);
    let listed = host == "app.example.org" || below.is_some_and(|sub| sub.bytes().all(name));
    assert!(listed, "allowed {allowed}");
}

/// A refusal is small, its status is an error of the client, and its body repeats it.
pub(crate) fn refusal(problem: &Problem, dialect: Dialect) {
    let answer = problem.response(dialect);
    let status = answer.status();
    assert!(status.is_client_error(), "{status} to a head that was read: {problem:?}");
    let document: serde_json::Value = serde_json::from_slice(answer.body()).unwrap();
    assert_eq!(document["status"], status.as_u16());
    assert!(answer.body().len() <= REFUSAL_MAX, "{} bytes", answer.body().len());
}

/// `Forwarded` and `X-Forwarded-*`: from strangers they are nothing, from proxies of ours a plain
/// address or nothing.
pub(crate) fn forwarded(data: &[u8]) {
    let Some(headers) = input::headers(data) else { return };
    let proxies = Proxies::new(vec!["10.0.0.0/8".parse().unwrap(), "::1/128".parse().unwrap()]);
    let stranger: IpAddr = "192.0.2.1".parse().unwrap();
    let seen = proxies.look(stranger, &headers);
    assert_eq!((seen.client, seen.public), (stranger, None));
    let ours: IpAddr = "10.0.0.1".parse().unwrap();
    let seen = proxies.look(ours, &headers);
    assert_eq!(seen, proxies.look(ours, &headers));
    let Some(public) = seen.public else { return };
    let id = UploadId::from_random([7; 16]);
    let url = Links::default().behind(public).upload(&id);
    let (told, _) = url.as_str().split_once("/files/").unwrap();
    assert!(url.as_str().bytes().all(|b| b.is_ascii_graphic()), "{url}");
    assert!(!url.as_str().contains(['?', '#', '@', '\\', '"', '<', '>']), "{url}");
    assert!(told.is_empty() || told.starts_with('/') || told.parse::<PublicUrl>().is_ok());
    assert!(!told.starts_with("//"), "another host: {url}");
    url.as_str().parse::<Uri>().unwrap();
}

/// Plain numbers: one spelling each, and none above 2^63 − 1.
pub(crate) fn numbers(data: &[u8]) {
    let Ok(text) = str::from_utf8(data) else { return };
    match decimal(text) {
        Ok(number) => {
            assert_eq!(number.to_string(), text);
            assert!(number <= i64::MAX.unsigned_abs());
            assert_eq!(Length::new(number).map(Length::get), Ok(number));
        }
        Err(_) => assert!(text.parse::<i64>().is_err() || text.starts_with(['0', '+', '-'])),
    }
}
