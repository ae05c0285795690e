//! Several at once, over the chunk flow.

use std::{
    thread,
    time::{Duration, Instant},
};

use super::{conn_cut::CHUNK, fault_disk::put_together, race::ledger};
use crate::{
    digest::{length, sha256_hex},
    judge::Judge,
    parts::{Parts, merge, soon},
    random::Random,
    server::Server,
    several::{Running, at_once, statuses},
    stop::{At, Step, Stop, breach, ensure, same},
    tus::{GONE, Upload},
    wire::{Answer, Request},
};

const PATIENCE: Duration = Duration::from_secs(10);

/// RACE-06.
pub(super) fn looking_does_not_disturb(judge: &Judge<'_>) -> Step {
    let server = judge.server;
    let bytes = Random::fresh().bytes(20 * CHUNK);
    let upload = Upload::new(server, length(&bytes))?;
    let look = server.at(&format!("/upload/status?upload_id={}", upload.id()))?;
    let mut pieces = bytes.chunks(CHUNK);
    let first = pieces.next().unwrap_or_default();
    let mut running = Running::patch(&upload, 0, length(&bytes), first)?;
    let look = || -> Step<u64> {
        thread::sleep(Duration::from_millis(10));
        let status = server.ask(&Request::new("GET", &look))?.expect(200)?.json()?;
        let none = || breach(format_args!("no received_bytes in {status}"));
        status["received_bytes"].as_u64().ok_or_else(none)
    };
    let mut seen = Vec::new();
    for (at, piece) in pieces.enumerate() {
        seen.push(look()?);
        // However far behind it is, in the middle something new is told.
        let deadline = Instant::now() + PATIENCE;
        while at == 10 && seen.first() == seen.last() && Instant::now() < deadline {
            seen.push(look()?);
        }
        running.raw(piece)?;
    }
    running.answer()?.expect(204)?.has("Upload-Offset", bytes.len())?;
    let grows = seen.is_sorted() && seen.first() < seen.last();
    ensure(grows, format_args!("received_bytes were {seen:?}"))?;
    upload.is_file(&bytes)
}

/// RACE-08.
pub(super) fn one_chunk_from_all_sides(judge: &Judge<'_>) -> Step {
    let (server, mut random) = (judge.server, Random::fresh());
    for _ in 0..5 {
        let parts = Parts::new("a.bin", 100_000, random.bytes(150_000));
        let put = |hand: u8| {
            if hand.is_multiple_of(2) { parts.put(server, 0) } else { parts.put_form(server, 0) }
        };
        let seen = statuses(&at_once(server, &(0..8).map(put).collect::<Step<Vec<_>>>()?));
        let right = seen.iter().all(|status| [200, 201].contains(status)) && seen.contains(&201);
        ensure(right, format_args!("the same bytes: {seen:?}"))?;
        same("received_bytes", &parts.status(server)?["received_bytes"], &100_000.into())?;
        is_stored(&parts, server, &[parts.chunk(0).to_vec()])?;
    }
    for _ in 0..5 {
        let parts = Parts::new("a.bin", 100_000, random.bytes(150_000));
        let bodies: Vec<Vec<u8>> = (0..8).map(|hand| vec![hand; 100_000]).collect();
        let put = |body: &Vec<u8>| parts.put_bytes(server, 0, body);
        let seen = statuses(&at_once(server, &bodies.iter().map(put).collect::<Step<Vec<_>>>()?));
        let right = seen.iter().all(|status| [200, 201].contains(status));
        ensure(right, format_args!("different bytes: {seen:?}"))?;
        is_stored(&parts, server, &bodies)?;
    }
    Ok(())
}

/// Chunk 0 holds one of these bodies: by its digest, on disk, and in the file that comes of it.
fn is_stored(parts: &Parts, server: &Server, bodies: &[Vec<u8>]) -> Step {
    let told = parts.check(server, 0)?["sha256"].clone();
    let body = bodies.iter().find(|body| told == sha256_hex(body));
    let mixed = || breach(format_args!("the digest {told} is of none of the bodies"));
    let body = body.ok_or_else(mixed)?;
    let on_disk = parts.as_upload(server)?.parts();
    let stored = on_disk.values().any(|(_, digest)| told == *digest);
    ensure(on_disk.is_empty() || stored, "the bytes on disk are others than the digest says")?;
    let mut file = parts.clone();
    file.bytes[..body.len()].copy_from_slice(body);
    file.send(server, 1)?;
    let merged = file.merge(server)?.expect(201)?;
    file.is_merged(server, &merged)
}

/// RACE-09.
pub(super) fn a_chunk_during_a_patch(judge: &Judge<'_>) -> Step {
    let server = judge.server;
    let bytes = Random::fresh().bytes(4 * CHUNK);
    let upload = Upload::new(server, length(&bytes))?;
    let there = CHUNK / 2;
    let running = Running::patch(&upload, 0, length(&bytes), &bytes[..there])?;
    let parts = Parts::new("", CHUNK, bytes).with_name(None).with_hash(upload.id());
    let arrived = || Ok(parts.status(server)?["received_bytes"] == there);
    // Who does not tell before the end has had time enough.
    let _ = soon("what was sent is not told", arrived);
    parts.send(server, 2)?;
    if let Some(told) = running.told() {
        told.expect(423).at("the PATCH that was taken over")?;
    }
    upload.is_at(length(&parts.bytes[..there]))?;
    same("uploaded", &parts.uploaded(server)?, &vec![2])?;
    upload.patch(length(&parts.bytes[..there]), &parts.bytes[there..])?.expect(204)?;
    upload.is_file(&parts.bytes)
}

/// A file of `chunks` chunks, all of them stored but `without`.
fn stored_but(server: &Server, chunks: usize, without: Option<usize>) -> Step<Parts> {
    let parts = Parts::new("a.bin", CHUNK, Random::fresh().bytes(chunks * CHUNK - 3));
    for index in (0..chunks).rev().filter(|index| Some(*index) != without) {
        parts.send(server, index)?;
    }
    Ok(parts)
}

/// RACE-10.
pub(super) fn merges_at_once(judge: &Judge<'_>) -> Step {
    let server = judge.server;
    let parts = stored_but(server, 32, None)?;
    let ten = vec![merge(server, &parts.merge_body())?; 10];
    let answers = at_once(server, &ten);
    let seen = statuses(&answers);
    let known = seen.iter().all(|status| [200, 201, 202].contains(status));
    let once = seen.iter().filter(|status| **status == 201).count() <= 1;
    ensure(known && once, format_args!("ten merges: {seen:?}"))?;
    let since = Instant::now();
    let last = loop {
        let again = parts.merge(server)?.expect_one(&[200, 201, 202])?;
        if again.status != 202 {
            break again;
        }
        ensure(since.elapsed() < PATIENCE, "a merge without an end")?;
        thread::sleep(Duration::from_millis(10));
    };
    parts.is_merged(server, &last)?;
    let name = last.json()?["filename"].clone();
    for answer in answers.into_iter().flatten().filter(|answer| answer.status != 202) {
        answer.ensure(answer.json()?["filename"] == name, "two merges, two files")?;
    }
    for _ in 0..8 {
        merge_and_delete(server)?;
        merge_and_the_missing_chunk(server)?;
    }
    Ok(())
}

fn merge_and_delete(server: &Server) -> Step {
    let parts = stored_but(server, 8, None)?;
    let url = parts.as_upload(server)?.url;
    let delete = Request::new("DELETE", &server.at(&format!("/upload?{}", parts.name()))?);
    let both = [merge(server, &parts.merge_body())?, delete];
    let seen = statuses(&at_once(server, &both));
    let known = [200, 201, 202, 404, 409, 410, 423].contains(&seen[0])
        && [204, 409, 423].contains(&seen[1]);
    ensure(known, format_args!("merge and DELETE: {seen:?}"))?;
    let file = server.ask(&Request::new("GET", &url))?;
    if seen[1] == 204 {
        return file.expect_one(&GONE).map(drop).at("after the DELETE");
    }
    file.ensure(file.body == parts.bytes, "neither deleted nor whole")
}

fn merge_and_the_missing_chunk(server: &Server) -> Step {
    let parts = stored_but(server, 4, Some(1))?;
    let both = [merge(server, &parts.merge_body())?, parts.put(server, 1)?];
    let answers = at_once(server, &both);
    let seen = statuses(&answers);
    ensure(seen[1] == 201, format_args!("merge and the missing chunk: {seen:?}"))?;
    let first = answers.into_iter().next().flatten();
    let merged = match first.ok_or_else(|| breach("a merge got no answer"))? {
        missing if missing.status == 409 => {
            missing.refused_as(409, "chunks-missing")?;
            parts.merge(server)?.expect(201)?
        }
        merged => merged.expect(201)?,
    };
    parts.is_merged(server, &merged)
}

/// RACE-11. A lock from outside makes the merge a long one, where the layout is known.
pub(super) fn while_a_merge_runs(judge: &Judge<'_>) -> Step {
    let after = Parts::hello();
    after.send_all(judge.server)?;
    let merged = after.merge(judge.server)?.expect(201)?;
    let conflict = |parts: &Parts, server: &Server| -> Step {
        server.ask(&parts.put(server, 0)?)?.expect(200).at("same bytes afterwards")?;
        let other = server.ask(&parts.put_bytes(server, 0, b"HELLO?")?)?;
        other.expect(409).map(drop).at("other bytes afterwards")
    };
    conflict(&after, judge.server)?;
    after.is_merged(judge.server, &merged)?;
    let server = judge.then_start(&[])?;
    // On a busy machine a merge may have lost its patience before it was asked about.
    for _ in 0..3 {
        let parts = Parts::hello();
        parts.send_all(&server)?;
        if let Some(merged) = chunks_during_the_merge(&server, &parts)? {
            conflict(&parts, &server)?;
            return parts.is_merged(&server, &merged);
        }
    }
    Err(breach("merges end before the lock on their upload does"))
}

/// The answer to the merge that comes of it; `None` if the first one ended before all was asked.
fn chunks_during_the_merge(server: &Server, parts: &Parts) -> Step<Option<Answer>> {
    put_together(parts, server)?;
    let ledger = ledger(&parts.as_upload(server)?).map_err(Stop::after_all)?;
    rustix::fs::flock(&ledger, rustix::fs::FlockOperation::LockExclusive)
        .map_err(|error| Stop::Part(format!("no lock can be taken: {error}")))?;
    let mut first = server.begin(&merge(server, &parts.merge_body())?)?;
    let since = Instant::now();
    while parts.status(server)?["state"] != "merging" {
        ensure(since.elapsed() < PATIENCE, "the state is never \"merging\"")?;
        if !first.silent_for(Duration::from_millis(5))? {
            return Ok(None);
        }
    }
    let other = server.ask(&parts.put_bytes(server, 0, b"HELLO?")?)?;
    let equal = server.ask(&parts.put(server, 0)?)?;
    if !first.silent_for(Duration::from_millis(100))? {
        return Ok(None);
    }
    other.expect(409).at("other bytes during the merge")?.needs("Retry-After")?;
    equal.expect(200).at("same bytes during the merge")?;
    drop(ledger);
    // On a busy machine the first one may have lost its patience.
    first.answer("POST")?.expect_one(&[201, 423])?;
    parts.merge(server)?.expect_one(&[200, 201]).map(Some)
}
