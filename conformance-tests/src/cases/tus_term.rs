//! Termination (section 12 of the page).

use std::{
    thread,
    time::{Duration, Instant},
};

use super::race::in_time;
use crate::{
    case::{Case, case},
    digest::length,
    disk::taken_below,
    judge::Judge,
    parts::soon,
    random::Random,
    running::Running,
    server::Server,
    stop::{At, Step, Stop, breach, ensure},
    tus::{GONE, Upload, patch, problem, request},
    wire::{Answer, PATIENCE, Request},
};

pub(crate) const CASES: &[Case] = &[
    case("TUS-TERM-01", frees_what_it_held).says(
        "When receiving a DELETE request for an existing upload the Server SHOULD free associated \
         resources and MUST respond with the 204 No Content status confirming that the upload was \
         terminated.",
    ),
    case("TUS-TERM-02", is_unknown_then),
    case("TUS-TERM-03", while_a_patch_runs).alone(),
    case("TUS-TERM-04", while_a_download_runs),
];

fn is_empty_204(answer: Answer) -> Step {
    let answer = answer.expect(204)?;
    let length = answer.header("Content-Length");
    answer.ensure(length.is_none_or(|length| length == "0"), "a 204 that promises a body")
}

fn frees_what_it_held(judge: &Judge<'_>) -> Step {
    is_empty_204(Upload::hello(judge.server)?.delete()?).at("unfinished")?;
    is_empty_204(Upload::finished(judge.server)?.delete()?).at("finished")?;
    let server = judge.then_start(&[])?;
    judge.should(frees_the_disk(&server))?;
    Ok(())
}

fn frees_the_disk(server: &Server) -> Step {
    let data = server.layout().map_err(Stop::after_all)?;
    let bytes = Random::fresh().bytes(300_000);
    let before = taken_below(&data.join("uploads")) + taken_below(&data.join("files"));
    let mut uploads = Vec::new();
    for rest in [1, 0] {
        let upload = Upload::new(server, length(&bytes) + rest)?;
        upload.patch(0, bytes.clone())?.expect(204)?;
        uploads.push(upload);
    }
    let taken = || taken_below(&data.join("uploads")) + taken_below(&data.join("files"));
    ensure(taken() >= before + 2 * length(&bytes), "the bytes are not where they should be")?;
    for upload in &uploads {
        upload.delete()?.expect(204)?;
    }
    let deadline = Instant::now() + Duration::from_secs(10);
    while !server.stored().is_empty() || !server.finished()?.is_empty() || taken() > before {
        let left = || format!("left: {:?}, {:?}", server.stored(), server.finished());
        ensure(Instant::now() < deadline, left())?;
        thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}

fn is_unknown_then(judge: &Judge<'_>) -> Step {
    is_unknown(&terminated(judge.server)?)?;
    let nobody =
        format!("{}/{}", judge.server.files().trim_end_matches('/'), Random::fresh().hash());
    let answer = judge.server.ask(&request("DELETE", &nobody))?;
    problem(answer, 404).at("DELETE of an unknown id")?;
    let server = judge.then_start(&[])?;
    let uploads = terminated(&server)?;
    server.restart()?;
    is_unknown(&uploads).at("after a restart")
}

/// An unfinished upload and a finished one, both deleted.
fn terminated(server: &Server) -> Step<[Upload<'_>; 2]> {
    let uploads = [Upload::hello(server)?, Upload::finished(server)?];
    for upload in &uploads {
        upload.delete()?.expect(204)?;
    }
    Ok(uploads)
}

fn is_unknown(uploads: &[Upload<'_>]) -> Step {
    for upload in uploads {
        upload.head()?.expect(404).at("HEAD")?.lacks("Upload-Offset")?;
        problem(upload.patch(5, " world")?, 404).at("PATCH")?;
        problem(upload.get()?, 404).at("GET")?;
        problem(upload.delete()?, 404).at("DELETE")?;
    }
    Ok(())
}

fn while_a_patch_runs(judge: &Judge<'_>) -> Step {
    let mut took = Vec::new();
    // One attempt may be held up by something else; a server that waits holds up all of them.
    for _ in 0..3 {
        let (this, allowed) = ends_a_stalled_patch(judge)?;
        if this <= allowed {
            return ends_a_running_patch(judge);
        }
        took.push(this);
    }
    Err(breach(format_args!("DELETE of a stalled upload took {took:?}")))
}

/// How long the DELETE took, and how long it may take.
fn ends_a_stalled_patch(judge: &Judge<'_>) -> Step<(Duration, Duration)> {
    let server = judge.server;
    let upload = Upload::new(server, 100_000)?;
    let allowed = in_time(&upload)?;
    let running = Running::begin(server, &patch(&upload.url, 0, vec![7; 100_000]), 60_000)?;
    if server.layout().is_ok() {
        soon("what came does not reach the disk", || Ok(!upload.parts().is_empty()))?;
    } else {
        thread::sleep(Duration::from_millis(50));
    }
    let since = Instant::now();
    upload.delete()?.expect(204)?;
    let took = since.elapsed();
    // It is gone, or held by somebody else.
    is_over(running, &[404, 410, 423])?;
    leaves_nothing(&upload)?;
    Ok((took, allowed))
}

fn ends_a_running_patch(judge: &Judge<'_>) -> Step {
    let server = judge.server;
    let bytes = vec![7; 24 << 20];
    let upload = Upload::new(server, length(&bytes))?;
    let asked = patch(&upload.url, 0, bytes);
    let mut running = Running::begin(server, &asked, 1000)?;
    thread::scope(|scope| {
        let sending = scope.spawn(|| running.send_rest());
        thread::sleep(Duration::from_millis(10));
        let deleted = upload.delete().and_then(|answer| answer.expect(204));
        let _ = sending.join();
        deleted
    })?;
    // It may have been whole before the DELETE came.
    is_over(running, &[404, 410, 423, 204])?;
    leaves_nothing(&upload)
}

/// The PATCH hears one of these, or is hung up on.
fn is_over(running: Running, statuses: &[u16]) -> Step {
    match running.answer() {
        Ok(answer) => answer.expect_one(statuses).at("the PATCH").map(|_| ()),
        Err(_) => Ok(()),
    }
}

fn leaves_nothing(upload: &Upload<'_>) -> Step {
    upload.head()?.expect_one(&GONE)?;
    let deadline = Instant::now() + Duration::from_secs(10);
    while !upload.parts().is_empty() {
        ensure(Instant::now() < deadline, format_args!("bytes are left: {:?}", upload.parts()))?;
        thread::sleep(Duration::from_millis(5));
    }
    Ok(())
}

fn while_a_download_runs(judge: &Judge<'_>) -> Step {
    let server = judge.server;
    let bytes = Random::fresh().bytes(24 << 20);
    let upload = Upload::new(server, length(&bytes))?;
    upload.patch(0, bytes.clone())?.expect(204)?;
    let mut reader = server.begin(&Request::new("GET", &upload.url))?;
    // The answer has begun, and is too long for the buffers between us.
    ensure(!reader.silent_for(PATIENCE)?, "no answer to GET")?;
    upload.delete()?.expect(204)?;
    let file = reader.answer("GET")?;
    if matches!(file.status, 404 | 405 | 501) {
        return Err(Stop::Skip("the server hands out no files".to_owned()));
    }
    upload.head()?.expect_one(&GONE)?;
    let whole = file.clone().expect(200)?.body == bytes;
    file.ensure(whole, "the running download did not get every byte")
}
