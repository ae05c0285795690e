//! Faults (section 20 of the page): the process dies, or is told to stop.

use std::{
    fs,
    sync::atomic::{AtomicUsize, Ordering},
    thread,
    time::{Duration, Instant, SystemTime},
};

use super::{conn_cut::CHUNK, fault_chunks, fault_disk, fault_limits, fault_restart};
use crate::{
    case::{Case, case},
    digest::length,
    judge::Judge,
    random::Random,
    server::Server,
    stop::{At, Step, ensure},
    strace::{STEPS, Strace},
    tus::{GONE, Upload, append, create_with, patch, request},
    wire::{Request, h1::Conn},
};

pub(crate) const CASES: &[Case] = &[
    case("FAULT-01", killed_within_a_patch),
    case("FAULT-02", killed_while_finishing),
    case("FAULT-03", fault_chunks::killed_within_parallel_chunks),
    case("FAULT-04", fault_chunks::killed_within_a_merge),
    case("FAULT-05", fault_restart::restarts_between_any_two_steps),
    case("FAULT-06", fault_restart::told_to_stop).alone(),
    case("FAULT-07", fault_disk::full_in_a_patch),
    case("FAULT-08", fault_disk::full_elsewhere),
    case("FAULT-09", fault_disk::storage_that_fails),
    case("FAULT-10", fault_disk::damaged_ledgers),
    case("FAULT-11", fault_disk::damaged_parts),
    case("FAULT-12", fault_disk::power_loss).alone(),
    case("FAULT-13", fault_limits::at_its_limits).alone(),
    case("FAULT-14", fault_limits::clocks_step),
    case("FAULT-15", fault_limits::mistakes_at_the_start),
];

/// Small enough for many rounds, 16 chunks long.
pub(super) const SIZE: usize = 16 * CHUNK;

/// How far an upload is, as an index.
pub(super) fn place(upload: &Upload<'_>) -> Step<usize> {
    Ok(usize::try_from(upload.offset()?).unwrap_or(usize::MAX))
}

/// Sends a body in small pieces until it is all sent or the server is gone; counts what was sent.
fn pour(connection: &mut Conn, bytes: &[u8], sent: &AtomicUsize) {
    for piece in bytes.chunks(17_000) {
        // Counted before it is sent: the server may have it before we go on.
        sent.fetch_add(piece.len(), Ordering::SeqCst);
        if connection.raw(piece).is_err() {
            return;
        }
    }
}

/// One PATCH from `told` on that is killed in the middle; how much was sent of the file.
fn patch_until_killed(
    random: &mut Random,
    upload: &Upload<'_>,
    bytes: &[u8],
    told: usize,
) -> Step<usize> {
    let (server, sent) = (upload.server, AtomicUsize::new(told));
    let (before, rest) = bytes.split_at(told);
    let mut connection =
        server.begin(&append(&upload.url, length(before)).announcing(length(rest)))?;
    let moment = Duration::from_micros(random.between(0, 6_000));
    thread::scope(|scope| {
        scope.spawn(|| pour(&mut connection, rest, &sent));
        thread::sleep(moment);
        server.kill_9()
    })?;
    server.start_again()?;
    Ok(sent.load(Ordering::SeqCst))
}

/// FAULT-01.
fn killed_within_a_patch(judge: &Judge<'_>) -> Step {
    rounds_of_patch(judge, 14, &[])?;
    // Where the server knows these options, they are no worse.
    for option in ["--chunks-per-part=1", "--durability=ack"] {
        match rounds_of_patch(judge, 3, &[option]).at(option) {
            Err(crate::stop::Stop::Skip(_)) => {}
            other => other?,
        }
    }
    let server = judge.start(&[])?;
    for _ in 0..2 {
        let bytes = Random::fresh().bytes(SIZE / 8);
        let upload = Upload::new(&server, length(&bytes))?;
        server.crash()?;
        upload.is_at(0).at("killed right after the 201")?;
        upload.patch(0, bytes.clone())?.expect(204)?;
        server.crash()?;
        upload.is_file(&bytes).at("killed right after the last 204")?;
        if judge.offers("creation-with-upload") {
            let made = server.ask(&create_with(&server, length(&bytes), &bytes[..1000]))?;
            let upload = Upload::from_answer(&server, &made.expect(201)?)?;
            server.crash()?;
            upload.is_at(1000).at("killed right after the 201 with bytes")?;
        }
    }
    Ok(())
}

/// Rounds of create, acknowledged PATCH, PATCH cut by the kill, finish.
fn rounds_of_patch(judge: &Judge<'_>, rounds: usize, options: &[&str]) -> Step {
    let server = judge.start(options)?;
    let mut random = Random::fresh();
    for round in 0..rounds {
        let size = SIZE - random.below(CHUNK);
        let bytes = random.bytes(size);
        let upload = Upload::new(&server, length(&bytes))?;
        let mut told = random.below(bytes.len() / 2);
        upload.patch(0, &bytes[..told])?.expect(204)?;
        for _ in 0..random.between(1, 2) {
            let sent = patch_until_killed(&mut random, &upload, &bytes, told)?;
            let offset = place(&upload)?;
            let honest = (told..=sent).contains(&offset);
            let what = format!("round {round}: {told} told, {sent} sent, {offset} are there");
            ensure(honest, what)?;
            told = offset;
        }
        if told < bytes.len() {
            upload.patch(length(&bytes[..told]), &bytes[told..])?.expect(204)?;
        }
        upload.is_file(&bytes).at(format_args!("round {round}"))?;
    }
    Ok(())
}

/// FAULT-02.
fn killed_while_finishing(judge: &Judge<'_>) -> Step {
    let server = judge.start(&[])?;
    let mut random = Random::fresh();
    for round in 0..8 {
        let moment = Duration::from_micros(random.between(0, 3_000));
        let (upload, bytes) = almost(&server)?;
        finish_until(&upload, &bytes, |_| {
            thread::sleep(moment);
            server.kill_9()
        })
        .at(format_args!("round {round}, {moment:?}"))?;
    }
    if judge.offers("termination") {
        for finished in [false, true, false, true] {
            let moment = Duration::from_micros(random.between(0, 1_500));
            delete_until(&server, finished, || {
                thread::sleep(moment);
                server.kill_9()
            })
            .at(format_args!("DELETE, {moment:?}"))?;
        }
    }
    no_place_for_the_file(judge)?;
    at_every_step(&server)
}

/// The process is killed at each call that changes something on disk, one after the other.
fn at_every_step(server: &Server) -> Step {
    for step in 1..=16 {
        let (upload, bytes) = almost(server)?;
        let inject = format!("{STEPS}:signal=SIGKILL:when={step}");
        let strace = Strace::attach(server, &inject, &[])?;
        let mut answered = false;
        let finished = finish_until(&upload, &bytes, |connection| {
            answered = connection.answer("PATCH").is_ok();
            drop(strace);
            if answered { server.kill_9() } else { server.exits_within(SOON).map(drop) }
        });
        finished.at(format_args!("killed at call {step} of the finish"))?;
        if answered {
            break;
        }
    }
    for step in 1..=6 {
        let inject = format!("{STEPS}:signal=SIGKILL:when={step}");
        for finished in [false, true] {
            let at = format!("killed at call {step} of DELETE");
            delete_at(server, finished, &inject).at(at)?;
        }
    }
    Ok(())
}

const SOON: Duration = Duration::from_secs(8);

/// Where the last PATCH of `almost` begins.
const MOST: usize = 4 * CHUNK + 50;

/// An upload that lacks its last bytes.
fn almost(server: &Server) -> Step<(Upload<'_>, Vec<u8>)> {
    let bytes = Random::fresh().bytes(MOST + 49);
    let upload = Upload::new(server, length(&bytes))?;
    upload.patch(0, &bytes[..MOST])?.expect(204)?;
    Ok((upload, bytes))
}

/// The last PATCH, in which `end` kills the server.
fn finish_until(upload: &Upload<'_>, bytes: &[u8], end: impl FnOnce(&mut Conn) -> Step) -> Step {
    let (server, (first, rest)) = (upload.server, bytes.split_at(MOST));
    let mut connection = server.begin(&patch(&upload.url, length(first), rest))?;
    end(&mut connection)?;
    let answered = connection.answer("PATCH").is_ok_and(|answer| answer.status == 204);
    server.start_again()?;
    let offset = place(upload)?;
    let least = if answered { bytes.len() } else { MOST };
    ensure(offset >= least, format_args!("{least} were told, {offset} are there"))?;
    let file = upload.get()?;
    let seen = file.status != 200 || offset == bytes.len() && file.body == bytes;
    file.ensure(seen, "a file is seen that is not whole")?;
    upload.patch(length(&bytes[..offset]), &bytes[offset..])?.expect(204)?;
    upload.is_file(bytes)
}

/// A DELETE in which `end` kills the server.
fn delete_until(server: &Server, finished: bool, end: impl FnOnce() -> Step) -> Step {
    let upload = if finished { Upload::finished(server)? } else { Upload::hello(server)? };
    let mut connection = server.begin(&request("DELETE", &upload.url))?;
    end()?;
    let answered = connection.answer("DELETE").is_ok_and(|answer| answer.status == 204);
    server.start_again()?;
    whole_or_gone(&upload, finished, answered)
}

/// As [`delete_until`], at one call.
fn delete_at(server: &Server, finished: bool, inject: &str) -> Step {
    let upload = if finished { Upload::finished(server)? } else { Upload::hello(server)? };
    let strace = Strace::attach(server, inject, &[])?;
    let answer = server.ask(&request("DELETE", &upload.url));
    drop(strace);
    let answered = answer.is_ok_and(|answer| answer.status == 204);
    server.kill_9()?;
    server.start_again()?;
    whole_or_gone(&upload, finished, answered)
}

fn whole_or_gone(upload: &Upload<'_>, finished: bool, answered: bool) -> Step {
    let head = upload.head()?;
    if head.status == 200 {
        head.ensure(!answered, "it was told to be gone, and is back")?;
        if finished {
            return upload.is_file(b"hello world");
        }
        head.has("Upload-Offset", 5)?;
        upload.patch(5, " world")?.expect(204)?;
        return upload.is_file(b"hello world");
    }
    head.expect_one(&GONE)?;
    let left = upload.parts();
    if left.is_empty() {
        return Ok(());
    }
    // What nobody has written to for a while is swept, at a start at the latest.
    let folder = upload.folder()?;
    let long_ago = SystemTime::now() - Duration::from_hours(48);
    for path in left.keys().map(|name| folder.join(name)).chain([folder.clone()]) {
        fs::File::open(path)?.set_modified(long_ago)?;
    }
    upload.server.restart()?;
    let deadline = Instant::now() + SOON;
    while !upload.parts().is_empty() {
        ensure(Instant::now() < deadline, "bytes of a deleted upload are left on disk")?;
        thread::sleep(Duration::from_millis(50));
    }
    Ok(())
}

/// The file has no place to appear in, as if the process died right before; where the layout is
/// known.
fn no_place_for_the_file(judge: &Judge<'_>) -> Step {
    let server = judge.start(&[])?;
    let Ok(data) = server.layout() else { return Ok(()) };
    let (files, away) = (data.join("files"), server.around()?.join("away"));
    let upload = Upload::hello(&server)?;
    fs::rename(&files, &away)?;
    let refused = upload.patch(5, " world")?;
    refused.ensure(refused.status >= 500, "a finish without a file is told as one")?;
    server.kill_9()?;
    fs::rename(&away, &files)?;
    server.start_again()?;
    let deadline = Instant::now() + SOON;
    while server.finished()?.is_empty() {
        ensure(Instant::now() < deadline, "the next start does not make up for it")?;
        thread::sleep(Duration::from_millis(10));
    }
    upload.is_file(b"hello world")?;
    server.ask(&Request::new("GET", &upload.url))?.expect(200).map(drop)
}
