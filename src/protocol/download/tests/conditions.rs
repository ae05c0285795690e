//! Which conditions hold, and which of several counts.

use super::{ETAG, MODIFIED, ask, status};

const EARLIER: &str = "Sat, 01 Aug 2026 11:59:59 GMT";
const LATER: &str = "Sat, 01 Aug 2026 12:00:01 GMT";
const OTHER: &str = "\"other\"";

fn weak() -> String {
    format!("W/{ETAG}")
}

// rows: TUS-GET-04
// spec: TUS-73
#[test]
fn if_match_compares_strongly() {
    let listed = format!("\"a,b\" , {ETAG}");
    for tags in [ETAG, "*", " * ", &listed, &format!("{ETAG},"), &format!(", ,{ETAG}")] {
        assert_eq!(status(&[("If-Match", tags)]), 200, "{tags}");
    }
    let unquoted = ETAG.trim_matches('"');
    let glued = format!("{ETAG}x");
    for tags in
        [OTHER, &weak(), unquoted, &glued, "", "\"", "W/", "\"unclosed", "*, \"x\"", "\u{e9}"]
    {
        assert_eq!(status(&[("If-Match", tags)]), 412, "{tags}");
    }
    assert_eq!(status(&[("If-Match", OTHER), ("If-Match", ETAG)]), 200);
}

// rows: TUS-GET-04
// spec: TUS-73
#[test]
fn if_none_match_compares_weakly() {
    let listed = format!("\"a\", W/\"b\",{}", weak());
    for tags in [ETAG, &weak(), "*", &listed] {
        assert_eq!(status(&[("If-None-Match", tags)]), 304, "{tags}");
    }
    let commas = format!("\"x,{}\"", ETAG.trim_matches('"'));
    for tags in [OTHER, ETAG.trim_matches('"'), "", "W/", &commas, "\"a b\""] {
        assert_eq!(status(&[("If-None-Match", tags)]), 200, "{tags}");
    }
    assert_eq!(status(&[("If-None-Match", OTHER), ("If-None-Match", ETAG)]), 304);
}

// rows: TUS-GET-04
// spec: TUS-73
#[test]
fn dates_count_in_whole_seconds() {
    for (name, earlier, same, later) in
        [("If-Modified-Since", 200, 304, 304), ("If-Unmodified-Since", 412, 200, 200)]
    {
        assert_eq!(status(&[(name, EARLIER)]), earlier, "{name}");
        assert_eq!(status(&[(name, MODIFIED)]), same, "{name}");
        assert_eq!(status(&[(name, LATER)]), later, "{name}");
        // The two old forms of a date.
        assert_eq!(status(&[(name, "Saturday, 01-Aug-26 12:00:00 GMT")]), same, "{name}");
        assert_eq!(status(&[(name, "Sat Aug  1 12:00:00 2026")]), same, "{name}");
        for nonsense in ["", "yesterday", "2026-08-01T12:00:00Z", "1785585600", "\u{e9}"] {
            assert_eq!(status(&[(name, nonsense)]), 200, "{name}: {nonsense}");
        }
        assert_eq!(status(&[(name, EARLIER), (name, LATER)]), 200, "{name} twice");
    }
}

// rows: TUS-GET-04
// spec: TUS-73
#[test]
fn the_first_that_counts_answers() {
    for (asked, expected) in [
        // A tag is more than a date.
        (vec![("If-Match", ETAG), ("If-Unmodified-Since", EARLIER)], 200),
        (vec![("If-None-Match", OTHER), ("If-Modified-Since", LATER)], 200),
        (vec![("If-None-Match", ETAG), ("If-Modified-Since", EARLIER)], 304),
        // 412 is more than 304.
        (vec![("If-Match", OTHER), ("If-None-Match", ETAG)], 412),
        (vec![("If-Unmodified-Since", EARLIER), ("If-None-Match", ETAG)], 412),
        (vec![("If-Match", ETAG), ("If-None-Match", ETAG)], 304),
        (vec![("If-Unmodified-Since", MODIFIED), ("If-Modified-Since", MODIFIED)], 304),
        // Both are more than a range, also one that the file does not have.
        (vec![("If-Match", OTHER), ("Range", "bytes=0-4")], 412),
        (vec![("If-None-Match", ETAG), ("Range", "bytes=99-")], 304),
        (vec![("If-Match", ETAG), ("Range", "bytes=99-")], 416),
        (vec![("If-Match", ETAG), ("Range", "bytes=0-4")], 206),
    ] {
        assert_eq!(status(&asked), expected, "{asked:?}");
    }
}

// rows: TUS-GET-04
// spec: TUS-74
#[test]
fn if_range_wants_the_very_same_file() {
    for (validator, expected) in [
        (ETAG, 206),
        (MODIFIED, 206),
        ("Saturday, 01-Aug-26 12:00:00 GMT", 206),
        (&weak(), 200),
        (OTHER, 200),
        (EARLIER, 200),
        (LATER, 200),
        ("*", 200),
        ("", 200),
        (&format!("{ETAG}, {ETAG}"), 200),
        ("\u{e9}", 200),
    ] {
        let asked = [("Range", "bytes=0-4"), ("If-Range", validator)];
        assert_eq!(status(&asked), expected, "{validator}");
        // Without a range it means nothing.
        assert_eq!(status(&[("If-Range", validator)]), 200, "{validator}");
    }
    // What is not looked at cannot be refused.
    assert_eq!(status(&[("Range", "bytes=99-"), ("If-Range", OTHER)]), 200);
    assert_eq!(status(&[("Range", "bytes=99-"), ("If-Range", ETAG)]), 416);
    let twice = [("Range", "bytes=0-4"), ("If-Range", ETAG), ("If-Range", ETAG)];
    assert_eq!(status(&twice), 200);
}

// rows: TUS-GET-04
// spec: TUS-73
#[test]
fn what_did_not_change_is_told_by_its_validators_alone() {
    let answer = ask(11, &[("If-None-Match", ETAG)]).unwrap();
    let mut names: Vec<&str> = answer.headers().keys().map(http::HeaderName::as_str).collect();
    names.sort_unstable();
    assert_eq!(names, ["etag", "last-modified", "tus-resumable"]);
    assert_eq!(answer.headers()["etag"], ETAG);
    assert!(answer.body().is_empty());
}
