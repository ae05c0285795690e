//! JSON of the chunk flow that the client reads otherwise than it was written.

use http::{Method, StatusCode};
use serde_json::{Value, json};

use super::Asked;

/// What the client is told instead. An answer without a body has `Null`.
pub(super) type Edit = fn(&Asked, &mut StatusCode, &mut Value);

pub(super) fn always_exists(asked: &Asked, status: &mut StatusCode, value: &mut Value) {
    if asked.uri.path() != "/upload/check" {
        return;
    }
    if asked.is(&Method::HEAD) {
        *status = StatusCode::OK;
    }
    if let Some(exists) = value.get_mut("exists") {
        *exists = true.into();
    }
}

pub(super) fn duplicate_counted(asked: &Asked, status: &mut StatusCode, value: &mut Value) {
    if is_chunk(asked) && *status == StatusCode::OK {
        one_more(value.get_mut("received"));
    }
}

pub(super) fn any_length(asked: &Asked, status: &mut StatusCode, value: &mut Value) {
    let refused = matches!(*status, StatusCode::BAD_REQUEST | StatusCode::PAYLOAD_TOO_LARGE);
    if is_chunk(asked) && refused {
        *status = StatusCode::CREATED;
        *value = json!({"index": 0, "received": 1, "mergeable": false});
    }
}

pub(super) fn unknown_404(asked: &Asked, status: &mut StatusCode, value: &mut Value) {
    let none = value.get("state").is_some_and(|state| state == "none");
    if asked.uri.path() == "/upload/status" && none {
        *status = StatusCode::NOT_FOUND;
    }
}

pub(super) fn status_shifted(asked: &Asked, _: &mut StatusCode, value: &mut Value) {
    let uploaded = value.get_mut("uploaded").and_then(Value::as_array_mut);
    if let Some(uploaded) = uploaded.filter(|_| asked.uri.path() == "/upload/status") {
        for index in uploaded {
            one_more(Some(index));
        }
    }
}

pub(super) fn composite_wrong(_: &Asked, _: &mut StatusCode, value: &mut Value) {
    if let Some(Value::String(digest)) = value.get_mut("composite_sha256") {
        *digest = digest.chars().rev().collect();
    }
}

pub(super) fn merge_with_holes(asked: &Asked, status: &mut StatusCode, value: &mut Value) {
    if asked.uri.path() == "/merge" && value.get("missing").is_some() {
        *status = StatusCode::CREATED;
        *value = json!({"state": "merged", "filename": "a.bin", "size": 12});
    }
}

fn is_chunk(asked: &Asked) -> bool {
    asked.uri.path() == "/upload" && (asked.is(&Method::PUT) || asked.is(&Method::POST))
}

fn one_more(value: Option<&mut Value>) {
    if let Some(value) = value
        && let Some(number) = value.as_u64()
    {
        *value = number.saturating_add(1).into();
    }
}
