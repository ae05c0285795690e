//! Answers of tus that the client is told otherwise than they were given.

use http::{HeaderValue, Method, Response, StatusCode, header};

use super::{
    Asked,
    requests::{reversed, reword},
};
use crate::{
    protocol::headers::{
        TUS_CHECKSUM_ALGORITHM, TUS_RESUMABLE, TUS_VERSION, UPLOAD_CONCAT, UPLOAD_DEFER_LENGTH,
        UPLOAD_EXPIRES, UPLOAD_LENGTH, UPLOAD_METADATA, UPLOAD_OFFSET,
    },
    service::ResponseBody,
};

type Answer = Response<ResponseBody>;

pub(super) fn no_version(asked: &Asked, answer: &mut Answer) {
    if asked.is(&Method::OPTIONS) {
        answer.headers_mut().remove(TUS_VERSION);
    }
}

pub(super) fn no_sha1(_: &Asked, answer: &mut Answer) {
    reword(answer.headers_mut(), TUS_CHECKSUM_ALGORITHM, |list| {
        let left: Vec<&str> = list.split(',').filter(|name| *name != "sha1").collect();
        Some(left.join(","))
    });
}

pub(super) fn no_resumable(_: &Asked, answer: &mut Answer) {
    if answer.status().is_client_error() {
        answer.headers_mut().remove(TUS_RESUMABLE);
    }
}

pub(super) fn no_allow(_: &Asked, answer: &mut Answer) {
    answer.headers_mut().remove(header::ALLOW);
}

pub(super) fn redirected(asked: &Asked, answer: &mut Answer) {
    let path = asked.uri.path().to_ascii_lowercase();
    if asked.speaks_tus() && (path.contains("..") || path.contains("%2e%2e")) {
        become_empty(answer, StatusCode::TEMPORARY_REDIRECT);
        answer.headers_mut().insert(header::LOCATION, HeaderValue::from_static("/"));
    }
}

pub(super) fn location_from_host(asked: &Asked, answer: &mut Answer) {
    let host = asked.header("X-Forwarded-Host").or_else(|| asked.header("Host"));
    let host = host.or_else(|| asked.uri.authority().map(http::uri::Authority::as_str));
    let host = host.unwrap_or_default();
    reword(answer.headers_mut(), header::LOCATION.as_str(), |path| {
        path.starts_with('/').then(|| format!("http://{host}{path}"))
    });
}

pub(super) fn empty_file_refused(asked: &Asked, answer: &mut Answer) {
    if asked.is(&Method::POST) && asked.header(UPLOAD_LENGTH) == Some("0") {
        become_empty(answer, StatusCode::BAD_REQUEST);
    }
}

pub(super) fn no_deferral(_: &Asked, answer: &mut Answer) {
    answer.headers_mut().remove(UPLOAD_DEFER_LENGTH);
}

pub(super) fn length_changes(asked: &Asked, answer: &mut Answer) {
    let declares = asked.is(&Method::PATCH) && asked.header(UPLOAD_LENGTH).is_some();
    if declares && answer.status() == StatusCode::BAD_REQUEST {
        accept(asked, answer);
    }
}

pub(super) fn offset_one_more(asked: &Asked, answer: &mut Answer) {
    if asked.is(&Method::HEAD) {
        one_more(answer, UPLOAD_OFFSET);
    }
}

pub(super) fn length_one_more(asked: &Asked, answer: &mut Answer) {
    if asked.is(&Method::HEAD) {
        one_more(answer, UPLOAD_LENGTH);
    }
}

pub(super) fn cacheable(asked: &Asked, answer: &mut Answer) {
    if asked.is(&Method::HEAD) {
        answer.headers_mut().remove(header::CACHE_CONTROL);
    }
}

pub(super) fn offset_before(asked: &Asked, answer: &mut Answer) {
    if asked.is(&Method::PATCH) && answer.status() == StatusCode::NO_CONTENT {
        let offset = asked.header(UPLOAD_OFFSET).map(ToOwned::to_owned);
        reword(answer.headers_mut(), UPLOAD_OFFSET, |_| offset);
    }
}

pub(super) fn conflict_accepted(asked: &Asked, answer: &mut Answer) {
    accept_instead(StatusCode::CONFLICT.as_u16(), asked, answer);
}

pub(super) fn overlong_accepted(asked: &Asked, answer: &mut Answer) {
    accept_instead(StatusCode::PAYLOAD_TOO_LARGE.as_u16(), asked, answer);
}

pub(super) fn mismatch_accepted(asked: &Asked, answer: &mut Answer) {
    accept_instead(460, asked, answer);
}

pub(super) fn final_takes_bytes(asked: &Asked, answer: &mut Answer) {
    accept_instead(StatusCode::FORBIDDEN.as_u16(), asked, answer);
}

pub(super) fn no_expires(asked: &Asked, answer: &mut Answer) {
    if asked.is(&Method::PATCH) {
        answer.headers_mut().remove(UPLOAD_EXPIRES);
    }
}

pub(super) fn expired_alive(asked: &Asked, answer: &mut Answer) {
    if asked.is(&Method::HEAD) && answer.status() == StatusCode::GONE {
        become_empty(answer, StatusCode::OK);
        answer.headers_mut().insert(UPLOAD_OFFSET, HeaderValue::from_static("0"));
        answer.headers_mut().insert(UPLOAD_LENGTH, HeaderValue::from_static("11"));
    }
}

pub(super) fn partial_not_told(_: &Asked, answer: &mut Answer) {
    if answer.headers().get(UPLOAD_CONCAT).is_some_and(|value| value == "partial") {
        answer.headers_mut().remove(UPLOAD_CONCAT);
    }
}

/// The list as the client sent it, which is not the one that was heard.
pub(super) fn parts_reversed(_: &Asked, answer: &mut Answer) {
    reword(answer.headers_mut(), UPLOAD_CONCAT, reversed);
}

pub(super) fn parts_rewritten(_: &Asked, answer: &mut Answer) {
    reword(answer.headers_mut(), UPLOAD_CONCAT, |value| {
        let parts = value.strip_prefix("final;")?.split_whitespace();
        let ids = parts.filter_map(|part| part.trim_end_matches('/').rsplit('/').next());
        let urls: Vec<String> = ids.map(|id| format!("http://localhost/files/{id}")).collect();
        Some(format!("final;{}", urls.join(" ")))
    });
}

pub(super) fn pending_with_offset(asked: &Asked, answer: &mut Answer) {
    let has = |name| answer.headers().contains_key(name);
    if asked.is(&Method::HEAD) && has(UPLOAD_CONCAT) && !has(UPLOAD_OFFSET) {
        answer.headers_mut().insert(UPLOAD_OFFSET, HeaderValue::from_static("0"));
    }
}

pub(super) fn inline(_: &Asked, answer: &mut Answer) {
    reword(answer.headers_mut(), header::CONTENT_DISPOSITION.as_str(), |value| {
        Some(value.replacen("attachment", "inline", 1))
    });
}

pub(super) fn preflight_without_patch(_: &Asked, answer: &mut Answer) {
    reword(answer.headers_mut(), header::ACCESS_CONTROL_ALLOW_METHODS.as_str(), |list| {
        let names = list.split(',').map(str::trim).filter(|name| *name != "PATCH");
        Some(names.collect::<Vec<_>>().join(", "))
    });
}

pub(super) fn nothing_exposed(_: &Asked, answer: &mut Answer) {
    answer.headers_mut().remove(header::ACCESS_CONTROL_EXPOSE_HEADERS);
}

pub(super) fn refusals_without_cors(_: &Asked, answer: &mut Answer) {
    if answer.status().is_client_error() {
        answer.headers_mut().remove(header::ACCESS_CONTROL_ALLOW_ORIGIN);
        answer.headers_mut().remove(header::ACCESS_CONTROL_EXPOSE_HEADERS);
    }
}

pub(super) fn metadata_lost(_: &Asked, answer: &mut Answer) {
    answer.headers_mut().remove(UPLOAD_METADATA);
}

pub(super) fn metadata_sorted(_: &Asked, answer: &mut Answer) {
    reword(answer.headers_mut(), UPLOAD_METADATA, |value| {
        let mut pairs: Vec<&str> = value.split(',').rev().map(str::trim).collect();
        pairs.retain(|pair| pair.contains(' '));
        Some(pairs.join(","))
    });
}

fn one_more(answer: &mut Answer, name: &'static str) {
    reword(answer.headers_mut(), name, |text| {
        Some(text.parse::<u64>().ok()?.saturating_add(1).to_string())
    });
}

fn accept_instead(status: u16, asked: &Asked, answer: &mut Answer) {
    if asked.is(&Method::PATCH) && answer.status().as_u16() == status {
        accept(asked, answer);
    }
}

/// 204 with the offset at which all that was announced would be stored.
fn accept(asked: &Asked, answer: &mut Answer) {
    let number = |name| asked.header(name).and_then(|text| text.parse::<u64>().ok());
    let sum = number(UPLOAD_OFFSET)
        .unwrap_or_default()
        .saturating_add(number(header::CONTENT_LENGTH.as_str()).unwrap_or_default());
    become_empty(answer, StatusCode::NO_CONTENT);
    answer.headers_mut().insert(UPLOAD_OFFSET, sum.into());
}

/// Another status, without a body or what describes one.
pub(super) fn become_empty(answer: &mut Answer, status: StatusCode) {
    *answer.status_mut() = status;
    answer.extensions_mut().remove::<hyper::ext::ReasonPhrase>();
    *answer.body_mut() = ResponseBody::empty();
    answer.headers_mut().remove(header::CONTENT_TYPE);
    answer.headers_mut().remove(header::CONTENT_LENGTH);
}
