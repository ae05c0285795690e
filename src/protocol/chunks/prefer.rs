//! `Prefer` of a merge (RFC 7240).

use std::time::Duration;

use http::{HeaderMap, HeaderValue};

use crate::protocol::headers::decimal;

/// How long a client can wish to wait at most.
const LONGEST: Duration = Duration::from_mins(1);

/// How long a client waits for what it asks for, before it would rather be told where to look:
/// `respond-async`, perhaps with `wait=SECONDS`. `None` where it does not say so. Other preferences
/// and nonsense are passed over (RFC 7240 §2).
pub fn patience(headers: &HeaderMap) -> Option<Duration> {
    let lines = headers.get_all("prefer").iter().filter_map(|line| line.to_str().ok());
    let preferences: Vec<_> = lines.flat_map(|line| line.split(',')).map(preference).collect();
    // The first of several equal ones counts (RFC 7240 §2).
    let stated = |wanted: &str| {
        let mut all = preferences.iter().filter(|(name, _)| name.eq_ignore_ascii_case(wanted));
        all.next().map(|(_, value)| *value)
    };
    stated("respond-async")?;
    let wait = stated("wait").and_then(|seconds| decimal(seconds).ok());
    Some(wait.map_or(Duration::ZERO, Duration::from_secs).min(LONGEST))
}

/// What an answer says that was given so: `Preference-Applied`.
pub(super) const APPLIED: (&str, HeaderValue) =
    ("preference-applied", HeaderValue::from_static("respond-async"));

/// Name and value, without parameters.
fn preference(text: &str) -> (&str, &str) {
    let text = text.split(';').next().unwrap_or_default();
    let (name, value) = text.split_once('=').unwrap_or((text, ""));
    (name.trim(), value.trim().trim_matches('"'))
}
