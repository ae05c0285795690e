//! Good ends: restarts between any two steps, and what a stop does to whoever is served.

use std::{
    thread,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};

use super::conn_cut::CHUNK;
use crate::{
    digest::{length, sha256},
    judge::Judge,
    parts::Parts,
    random::Random,
    server::Server,
    several::taken,
    stop::{At, Step, breach, same},
    tus::{GONE, Upload, patch, request},
};

/// FAULT-05.
pub(super) fn restarts_between_any_two_steps(judge: &Judge<'_>) -> Step {
    let server = judge.start(&[])?;
    let upload = Upload::new(&server, 11)?;
    let deferred = judge.offers("creation-defer-length").then(|| Upload::deferred(&server));
    let deferred = deferred.transpose()?;
    server.restart()?;
    upload.patch(0, "hello")?.expect(204)?.has("Upload-Offset", 5)?;
    if let Some(deferred) = &deferred {
        deferred.head()?.has("Upload-Defer-Length", 1)?;
        deferred.patch(0, "hello")?.expect(204)?;
    }
    server.restart()?;
    if judge.offers("checksum") {
        let digest = |text: &[u8]| crate::digest::base64(sha256(text));
        let sums = judge.algorithms().iter().any(|name| name == "sha256");
        let wrong = patch(&upload.url, 5, " ").header("Upload-Checksum", digest(b"x"));
        let wrong = wrong.set("Upload-Checksum", format!("sha256 {}", digest(b"x")));
        if sums {
            server.ask(&wrong)?.expect(460)?;
            server.restart()?;
            upload.is_at(5).at("after a checksum that did not match")?;
        }
    }
    upload.patch(5, " ")?.expect(204)?;
    server.restart()?;
    upload.patch(6, "world")?.expect(204)?;
    if let Some(deferred) = &deferred {
        let told = patch(&deferred.url, 5, " world").header("Upload-Length", 11);
        server.ask(&told)?.expect(204)?;
    }
    server.restart()?;
    upload.is_file(b"hello world")?;
    if let Some(deferred) = &deferred {
        deferred.is_file(b"hello world").at("deferred")?;
    }
    if judge.offers("termination") {
        upload.delete()?.expect(204)?;
        server.restart()?;
        upload.head()?.expect_one(&GONE).at("deleted")?;
    }
    if judge.offers("concatenation") {
        concatenation(judge, &server)?;
    }
    if server.at("/upload/status").is_ok() && judge.server.has_chunks() && server.layout().is_ok() {
        chunks(&server)?;
    }
    expiry(judge)
}

/// Partial uploads, a final one that waits for one of them if that is offered, and its file.
fn concatenation(judge: &Judge<'_>, server: &Server) -> Step {
    let partial = |size: u64| {
        let asked = request("POST", server.files()).header("Upload-Length", size);
        let made = server.ask(&asked.header("Upload-Concat", "partial"))?.expect(201)?;
        Upload::from_answer(server, &made)
    };
    let (first, second) = (partial(5)?, partial(6)?);
    first.patch(0, "hello")?.expect(204)?;
    server.restart()?;
    let join = format!("final;{} {}", first.url, second.url);
    let join = request("POST", server.files()).header("Upload-Concat", join);
    let early = judge.offers("concatenation-unfinished");
    let mut made = None;
    if early {
        made = Some(Upload::from_answer(server, &server.ask(&join)?.expect(201)?)?);
        server.restart()?;
    }
    second.patch(0, " world")?.expect(204)?;
    server.restart()?;
    let whole = match made {
        Some(made) => made,
        None => Upload::from_answer(server, &server.ask(&join)?.expect(201)?)?,
    };
    server.restart()?;
    let head = whole.head()?.expect_one(&[200, 204]).at("final")?;
    head.has("Upload-Length", 11).at("final")?;
    whole.is_file(b"hello world").at("final")
}

fn chunks(server: &Server) -> Step {
    let parts = Parts::hello();
    parts.send(server, 1)?;
    let before = parts.status(server)?;
    server.restart()?;
    same("status", &parts.status(server)?["uploaded"], &before["uploaded"])?;
    parts.send(server, 0)?;
    server.restart()?;
    let first = parts.merge(server)?.expect(201)?;
    server.restart()?;
    let again = parts.merge(server)?.expect(200)?;
    same("the answer to a merge", &again.json()?, &first.json()?)?;
    parts.is_merged(server, &again)?;
    same("state", &parts.status(server)?["state"], &"merged".into())?;
    parts.delete(server)?.expect(204)?;
    server.restart()?;
    same("state", &parts.status(server)?["state"], &"none".into())
}

fn expiry(judge: &Judge<'_>) -> Step {
    let server = judge.then_start(&["--expire-after=5s", "--reap-every=1h"])?;
    let upload = Upload::hello(&server)?;
    server.restart()?;
    upload.is_at(5).at("before it expires")?;
    thread::sleep(Duration::from_millis(6300));
    upload.head()?.expect_one(&GONE).at("expired")?;
    server.restart()?;
    upload.head()?.expect_one(&GONE).at("expired, and started again").map(drop)
}

/// What a busy machine takes for an end at once: less than the 10 s of a server that waits for as
/// long as it does if it is not told otherwise.
const AT_ONCE: Duration = Duration::from_secs(9);

/// FAULT-06.
pub(super) fn told_to_stop(judge: &Judge<'_>) -> Step {
    let server = judge.start(&["--shutdown-timeout=3s"])?;
    within_a_patch(&server).at("within a PATCH")?;
    let server = judge.start(&["--shutdown-timeout=60s"])?;
    idle(&server).at("idle")?;
    let upload = Upload::new(&server, 1000)?;
    let mut running = taken(&server, 400, || upload.stall(0, 1000, &[7; 400]))?;
    server.sigterm()?;
    // Whoever is told of the end is told what is kept; before that a second signal may lose it.
    let _ = running.silent_for(Duration::from_secs(5));
    // It may have gone already.
    let _ = signal(&server, Signal::TERM);
    server.exits_within(AT_ONCE).at("second signal")?;
    server.start_again()?;
    upload.is_at(400).at("second signal")
}

fn signal(server: &Server, signal: Signal) -> Step {
    let pid = i32::try_from(server.pid()?).ok().and_then(Pid::from_raw);
    let pid = pid.ok_or_else(|| breach("the server has no process"))?;
    kill_process(pid, signal).map_err(|error| breach(format_args!("no signal: {error}")))
}

fn idle(server: &Server) -> Step {
    let upload = Upload::hello(server)?;
    for kind in [Signal::TERM, Signal::INT] {
        let mut connection = server.connect()?;
        connection.ask(&request("HEAD", &upload.url))?.expect_one(&[200, 204])?;
        signal(server, kind)?;
        let status = server.exits_within(AT_ONCE)?;
        same("the exit code", &status.code(), &Some(0))?;
        server.start_again()?;
        upload.is_at(5)?;
    }
    Ok(())
}

fn within_a_patch(server: &Server) -> Step {
    let bytes = Random::fresh().bytes(10 * CHUNK);
    let sent = 5 * CHUNK + 321;
    let upload = Upload::new(server, length(&bytes))?;
    let other = Upload::hello(server)?;
    let stall = || upload.stall(0, length(&bytes), &bytes[..sent]);
    let mut running = taken(server, length(&bytes[..sent]), stall)?;
    server.sigterm()?;
    let since = Instant::now();
    while since.elapsed() < Duration::from_millis(300) {
        // Nobody listens any more, or the answer is a right one.
        if let Ok(head) = other.head() {
            head.ensure(head.status < 500, "a HEAD during the stop is told of an error")?;
        }
        thread::sleep(Duration::from_millis(5));
    }
    if let Ok(answer) = running.answer("PATCH") {
        answer.expect(503)?.needs("Retry-After")?;
    }
    let status = server.exits_within(AT_ONCE.saturating_sub(since.elapsed()))?;
    same("the exit code", &status.code(), &Some(0))?;
    server.start_again()?;
    upload.is_at(length(&bytes[..sent]))?;
    upload.patch(length(&bytes[..sent]), &bytes[sent..])?.expect(204)?;
    upload.is_file(&bytes)
}
