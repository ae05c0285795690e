//! Concatenation in the words of the cases.

use std::{
    thread,
    time::{Duration, Instant},
};

use crate::{
    digest::length,
    judge::Judge,
    server::Server,
    stop::{Step, ensure},
    tus::{Upload, create, request},
    wire::{Answer, Request},
};

/// A POST that makes a partial upload.
pub(crate) fn create_partial(server: &Server, length: u64) -> Request {
    create(server, length).header("Upload-Concat", "partial")
}

/// A POST that makes a partial upload whose length comes later.
pub(crate) fn create_deferred_partial(server: &Server) -> Request {
    let create = request("POST", server.files()).header("Upload-Concat", "partial");
    create.header("Upload-Defer-Length", 1)
}

/// A partial upload of this length that has no bytes yet.
pub(crate) fn open(server: &Server, length: u64) -> Step<Upload<'_>> {
    Upload::from_answer(server, &server.ask(&create_partial(server, length))?.expect(201)?)
}

/// A partial upload whose length comes later.
pub(crate) fn open_deferred(server: &Server) -> Step<Upload<'_>> {
    Upload::from_answer(server, &server.ask(&create_deferred_partial(server))?.expect(201)?)
}

/// A partial upload that has all of its bytes.
pub(crate) fn partial<'a>(server: &'a Server, bytes: &[u8]) -> Step<Upload<'a>> {
    let upload = open(server, length(bytes))?;
    if !bytes.is_empty() {
        upload.patch(0, bytes)?.expect(204)?;
    }
    Ok(upload)
}

/// A POST that makes a final upload.
pub(crate) fn join(server: &Server, value: &str) -> Request {
    request("POST", server.files()).header("Upload-Concat", value)
}

/// The value that names these uploads by their paths.
pub(crate) fn final_of(parts: &[&Upload<'_>]) -> String {
    let urls: Vec<&str> = parts.iter().map(|part| part.url.as_str()).collect();
    format!("final;{}", urls.join(" "))
}

/// A final upload, complete or not.
pub(crate) fn join_all<'a>(server: &'a Server, parts: &[&Upload<'_>]) -> Step<Upload<'a>> {
    let answer = server.ask(&join(server, &final_of(parts)))?.expect(201)?;
    Upload::from_answer(server, &answer)
}

/// A final upload of complete parts, which completes and holds these bytes.
pub(crate) fn joined<'a>(
    judge: &Judge<'_>,
    server: &'a Server,
    value: &str,
    bytes: &[u8],
) -> Step<Upload<'a>> {
    let answer = server.ask(&join(server, value))?.expect(201)?;
    let upload = Upload::from_answer(server, &answer)?;
    judge.ours(answer.has("Upload-Offset", length(bytes)))?;
    completes(&upload)?.has("Upload-Length", length(bytes))?;
    upload.is_file(bytes)?;
    Ok(upload)
}

/// Waits until a final upload has completed by itself: HEAD tells an offset that is the length.
pub(crate) fn completes(upload: &Upload<'_>) -> Step<Answer> {
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        let head = upload.head()?.expect_one(&[200, 204])?;
        let offset = head.header("Upload-Offset");
        // Before it has completed the offset is not defined: it may be there, and lower.
        if offset.is_some() && offset == head.header("Upload-Length") {
            return Ok(head);
        }
        let late = "the final upload does not complete";
        head.ensure(Instant::now() < deadline, late)?;
        thread::sleep(Duration::from_millis(10));
    }
}

/// HEAD of a final upload that waits for its parts.
pub(crate) fn is_pending(upload: &Upload<'_>) -> Step<Answer> {
    let head = upload.head()?.expect_one(&[200, 204])?;
    let value = head.needs("Upload-Concat")?;
    head.ensure(value.starts_with("final;"), format_args!("Upload-Concat is {value:?}"))?;
    let (offset, length) = (head.header("Upload-Offset"), head.header("Upload-Length"));
    let complete = offset.is_some() && offset == length;
    head.ensure(!complete, "it waits for parts, and tells that it is complete")?;
    Ok(head)
}

/// Waits until an upload is answered 410.
pub(crate) fn ends(upload: &Upload<'_>) -> Step {
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        let head = upload.head()?;
        if head.status == 410 {
            return Ok(());
        }
        let alive = format!("the status is {}, not 410", head.status);
        ensure(Instant::now() < deadline, alive)?;
        thread::sleep(Duration::from_millis(20));
    }
}
