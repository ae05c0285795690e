//! The rows that are judged, under the ids of the conformance table.

use crate::{
    target::Target,
    wire::{Answer, Request},
};

/// Fulfilled, or what the server does instead.
pub(crate) type Outcome = Result<(), String>;

/// One row.
#[derive(Debug)]
pub(crate) struct Case {
    pub(crate) id: &'static str,
    /// The section of tus 1.0.0 that it comes from.
    pub(crate) clause: &'static str,
    /// Whether that is a MUST; else a miss is only advice.
    pub(crate) must: bool,
    /// The extension that a server must announce to be judged; empty for the core.
    pub(crate) extension: &'static str,
    pub(crate) run: fn(&Target) -> Outcome,
}

const fn row(
    (id, clause): (&'static str, &'static str),
    must: bool,
    extension: &'static str,
    run: fn(&Target) -> Outcome,
) -> Case {
    Case { id, clause, must, extension, run }
}

pub(crate) const CASES: [Case; 12] = [
    row(("TUS-CORE-01", "core/OPTIONS"), true, "", options),
    row(("TUS-CORE-08", "core/Tus-Resumable"), true, "", version),
    row(("TUS-CREATE-01", "Creation/POST"), true, "creation", create),
    row(("TUS-CREATE-05", "core/Upload-Length"), true, "creation", bad_length),
    row(("TUS-CWU-01", "Creation With Upload"), true, "creation-with-upload", with_upload),
    row(("TUS-HEAD-01", "core/HEAD"), true, "", head),
    row(("TUS-HEAD-02", "core/HEAD"), false, "", head_unknown),
    row(("TUS-PATCH-01", "core/PATCH"), true, "", append),
    row(("TUS-PATCH-04", "core/PATCH"), true, "", conflict),
    row(("TUS-PATCH-05", "core/Upload-Offset"), true, "", bad_offset),
    row(("TUS-PATCH-07", "core/PATCH"), false, "", media_type),
    row(("TUS-TERM-02", "Termination"), true, "termination", terminate),
];

/// The extensions that the server announces.
pub(crate) fn announced(target: &Target) -> Result<Vec<String>, String> {
    let answer = Request::bare("OPTIONS", &target.path).send(target)?;
    let list = answer.header("Tus-Extension").unwrap_or_default();
    Ok(list.split(',').map(|one| one.trim().to_owned()).collect())
}

fn options(target: &Target) -> Outcome {
    let answer = Request::bare("OPTIONS", &target.path).send(target)?;
    status(&answer, &[200, 204])?;
    let versions = answer.header("Tus-Version").unwrap_or_default();
    check(versions.split(',').any(|one| one.trim() == "1.0.0"), || {
        format!("Tus-Version: {versions:?}")
    })
}

fn version(target: &Target) -> Outcome {
    let url = upload(target)?;
    let patch = Request::bare("PATCH", &url).header("Upload-Offset", "0").body("hello");
    let patch = patch.header("Content-Type", "application/offset+octet-stream");
    for request in [patch.clone(), patch.header("Tus-Resumable", "9.9.9")] {
        let answer = request.send(target)?;
        status(&answer, &[412])?;
        header(&answer, "Tus-Version", "1.0.0")?;
    }
    offset_is(target, &url, "0")
}

fn create(target: &Target) -> Outcome {
    offset_is(target, &upload(target)?, "0")
}

fn bad_length(target: &Target) -> Outcome {
    for length in ["-5", "1.3", "abc", "0x10", "", "5 6"] {
        let post = Request::tus("POST", &target.path).header("Upload-Length", length).body("");
        status(&post.send(target)?, &[400]).map_err(|miss| format!("{length:?}: {miss}"))?;
    }
    Ok(())
}

fn with_upload(target: &Target) -> Outcome {
    let post = Request::tus("POST", &target.path).header("Upload-Length", "11");
    let post = post.header("Content-Type", "application/offset+octet-stream").body("hello");
    let answer = post.send(target)?;
    status(&answer, &[201])?;
    header(&answer, "Upload-Offset", "5")?;
    offset_is(target, &location(target, &answer)?, "5")
}

fn head(target: &Target) -> Outcome {
    let url = upload(target)?;
    Request::patch(&url, "0", "hello").send(target)?;
    let answer = Request::tus("HEAD", &url).send(target)?;
    status(&answer, &[200, 204])?;
    header(&answer, "Upload-Offset", "5")?;
    header(&answer, "Upload-Length", "11")?;
    let cached = answer.header("Cache-Control").unwrap_or_default();
    check(cached.contains("no-store"), || format!("Cache-Control: {cached:?}"))
}

fn head_unknown(target: &Target) -> Outcome {
    let url = format!("{}00000000000000000000000000000000", target.path);
    let answer = Request::tus("HEAD", &url).send(target)?;
    status(&answer, &[403, 404, 410])?;
    check(answer.header("Upload-Offset").is_none(), || "it has an Upload-Offset".to_owned())
}

fn append(target: &Target) -> Outcome {
    let url = upload(target)?;
    for (offset, body, sum) in [("0", "hello", "5"), ("5", " world", "11")] {
        let answer = Request::patch(&url, offset, body).send(target)?;
        status(&answer, &[204])?;
        header(&answer, "Upload-Offset", sum)?;
    }
    offset_is(target, &url, "11")
}

fn conflict(target: &Target) -> Outcome {
    let url = upload(target)?;
    Request::patch(&url, "0", "hello").send(target)?;
    for offset in ["0", "6"] {
        let answer = Request::patch(&url, offset, "x").send(target)?;
        status(&answer, &[409]).map_err(|miss| format!("{offset:?}: {miss}"))?;
    }
    offset_is(target, &url, "5")
}

fn bad_offset(target: &Target) -> Outcome {
    let url = upload(target)?;
    for offset in ["-1", "abc", "0x0", "0.0", ""] {
        let answer = Request::patch(&url, offset, "hello").send(target)?;
        status(&answer, &[400]).map_err(|miss| format!("{offset:?}: {miss}"))?;
    }
    offset_is(target, &url, "0")
}

fn media_type(target: &Target) -> Outcome {
    let url = upload(target)?;
    let patch = Request::tus("PATCH", &url).header("Upload-Offset", "0").body("hello");
    for request in [patch.clone(), patch.header("Content-Type", "text/plain")] {
        status(&request.send(target)?, &[415])?;
    }
    offset_is(target, &url, "0")
}

fn terminate(target: &Target) -> Outcome {
    let url = upload(target)?;
    status(&Request::tus("DELETE", &url).send(target)?, &[204])?;
    status(&Request::tus("HEAD", &url).send(target)?, &[404, 410])?;
    status(&Request::patch(&url, "0", "hello").send(target)?, &[404, 410])
}

/// The path of a new upload of 11 bytes.
fn upload(target: &Target) -> Result<String, String> {
    let post = Request::tus("POST", &target.path).header("Upload-Length", "11").body("");
    let answer = post.send(target)?;
    status(&answer, &[201])?;
    location(target, &answer)
}

fn location(target: &Target, answer: &Answer) -> Result<String, String> {
    let location = answer.header("Location").ok_or("a 201 without Location")?;
    Ok(target.resolve(location))
}

fn offset_is(target: &Target, url: &str, expected: &str) -> Outcome {
    let answer = Request::tus("HEAD", url).send(target)?;
    status(&answer, &[200, 204])?;
    header(&answer, "Upload-Offset", expected)
}

fn status(answer: &Answer, expected: &[u16]) -> Outcome {
    let actual = answer.status;
    check(expected.contains(&actual), || format!("status {actual}, not one of {expected:?}"))
}

fn header(answer: &Answer, name: &str, expected: &str) -> Outcome {
    let actual = answer.header(name);
    check(actual == Some(expected), || format!("{name}: {actual:?}, not {expected:?}"))
}

fn check(fulfilled: bool, what: impl FnOnce() -> String) -> Outcome {
    if fulfilled { Ok(()) } else { Err(what()) }
}

#[test]
fn each_case_is_a_row_of_the_page_and_as_strict() {
    let page = include_str!("../rows.md");
    let rows = page.lines().map(|line| line.split('|').map(str::trim).collect::<Vec<_>>());
    let rows: Vec<_> = rows.filter(|cells| cells.len() == 7).collect();
    for case in &CASES {
        let row = rows.iter().find(|cells| cells[1].trim_end_matches('†') == case.id);
        let level = row.unwrap_or_else(|| panic!("no row {}", case.id))[4];
        // What a MAY leaves open is checked as far as it goes.
        let must = level.starts_with(['M', 'P']);
        assert_eq!(case.must, must, "{} is {level}", case.id);
    }
}
