//! The process dies within the chunk flow.

use std::{thread, time::Duration};

use rustix::process::{Pid, Signal, kill_process};

use super::conn_cut::CHUNK;
use crate::{
    digest::sha256_hex,
    judge::Judge,
    parts::{Parts, merge},
    random::Random,
    server::Server,
    stop::{At, Step, breach, ensure},
    strace::{STEPS, Strace},
    wire::Answer,
};

const SIZE: usize = 32 * CHUNK - 7;

/// Puts chunks from four connections at once until all are sent or the server is gone; which were
/// acknowledged is returned.
fn put_in_parallel(server: &Server, parts: &Parts, order: &[usize]) -> Step<Vec<u64>> {
    let send = |mine: &[usize]| -> Step<Vec<u64>> {
        let mut told = Vec::new();
        let Ok(mut connection) = server.connect() else { return Ok(told) };
        for &index in mine {
            let Ok(answer) = connection.ask(&parts.put(server, index)?) else { break };
            answer.expect_one(&[200, 201])?;
            told.push(u64::try_from(index).unwrap_or(u64::MAX));
        }
        Ok(told)
    };
    thread::scope(|scope| {
        let hands = order.chunks(order.len().div_ceil(4));
        let hands: Vec<_> = hands.map(|mine| scope.spawn(move || send(mine))).collect();
        let mut all = Vec::new();
        for hand in hands {
            all.extend(hand.join().map_err(|_| breach("a thread broke"))??);
        }
        Ok(all)
    })
}

/// As [`put_in_parallel`], with a kill in the middle.
fn put_until_killed(random: &mut Random, server: &Server, parts: &Parts) -> Step<Vec<u64>> {
    let order = random.shuffled((0..parts.total).collect());
    let pid = i32::try_from(server.pid()?).ok().and_then(Pid::from_raw);
    let pid = pid.ok_or_else(|| breach("the server has no process"))?;
    let moment = Duration::from_micros(random.between(500, 15_000));
    let told = thread::scope(|scope| {
        scope.spawn(move || {
            thread::sleep(moment);
            let _ = kill_process(pid, Signal::KILL);
        });
        put_in_parallel(server, parts, &order)
    });
    server.kill_9()?;
    server.start_again()?;
    told
}

/// FAULT-03.
pub(super) fn killed_within_parallel_chunks(judge: &Judge<'_>) -> Step {
    let server = judge.start(&[])?;
    let mut random = Random::fresh();
    for round in 0..6 {
        let parts = Parts::new("crash.bin", CHUNK, random.bytes(SIZE));
        let told = put_until_killed(&mut random, &server, &parts)?;
        what_was_told_is_stored(&server, &parts, &told).at(format_args!("round {round}"))?;
        replaced(&server, &mut random).at(format_args!("round {round}, other bytes"))?;
    }
    Ok(())
}

fn what_was_told_is_stored(server: &Server, parts: &Parts, told: &[u64]) -> Step {
    let stored = parts.uploaded(server)?;
    let lost: Vec<_> = told.iter().filter(|index| !stored.contains(index)).collect();
    ensure(lost.is_empty(), format_args!("chunks {lost:?} were told and are gone"))?;
    for index in 0..parts.total {
        if stored.contains(&u64::try_from(index).unwrap_or(u64::MAX)) {
            let check = parts.check(server, index)?;
            let right = check["sha256"] == parts.digest(index);
            ensure(right, format_args!("chunk {index} is listed with another digest: {check}"))?;
        } else {
            parts.send(server, index)?;
        }
    }
    let merged = parts.merge(server)?.expect(201)?;
    parts.is_merged(server, &merged)
}

/// Killed while a chunk is replaced: the old bytes or the new ones, and none between.
fn replaced(server: &Server, random: &mut Random) -> Step {
    let mut parts = Parts::new("a.bin", CHUNK, random.bytes(3 * CHUNK));
    parts.send_all(server)?;
    let new = random.bytes(CHUNK);
    let mut connection = server.begin(&parts.put_bytes(server, 1, &new)?)?;
    thread::sleep(Duration::from_micros(random.between(0, 3_000)));
    server.kill_9()?;
    let answered = connection.answer("POST").is_ok_and(|answer| answer.status == 201);
    server.start_again()?;
    if parts.check(server, 1)?["sha256"] == sha256_hex(&new) {
        parts.bytes[CHUNK..2 * CHUNK].copy_from_slice(&new);
    } else {
        ensure(!answered, "what was told is lost")?;
    }
    let merged = parts.merge(server)?.expect(201)?;
    parts.is_merged(server, &merged)
}

/// FAULT-04.
pub(super) fn killed_within_a_merge(judge: &Judge<'_>) -> Step {
    let server = judge.start(&[])?;
    let mut random = Random::fresh();
    for round in 0..6 {
        let parts = backwards(&server, &mut random)?;
        let mut connection = server.begin(&merge(&server, &parts.merge_body())?)?;
        thread::sleep(Duration::from_micros(random.between(0, 15_000)));
        server.kill_9()?;
        let answered = connection.answer("POST").ok();
        server.start_again()?;
        merged_once(&server, &parts, answered.as_ref()).at(format_args!("round {round}"))?;
    }
    let mut step = 1;
    while step <= 60 {
        let parts = backwards(&server, &mut random)?;
        let inject = format!("{STEPS}:signal=SIGKILL:when={step}");
        let strace = Strace::attach(&server, &inject, &[])?;
        let answered = parts.merge(&server).ok();
        drop(strace);
        server.kill_9()?;
        server.start_again()?;
        let at = format!("killed at call {step} of the merge");
        merged_once(&server, &parts, answered.as_ref()).at(at)?;
        if answered.is_some() {
            break;
        }
        // The first ones are of all kinds; then it is the same for each chunk.
        step += if step < 8 { 1 } else { 7 };
    }
    Ok(())
}

/// All chunks, sent backwards: nothing can be absorbed before the last one has come.
fn backwards(server: &Server, random: &mut Random) -> Step<Parts> {
    let parts = Parts::new("merge.bin", CHUNK, random.bytes(8 * CHUNK - 7));
    for index in (0..parts.total).rev() {
        parts.send(server, index)?;
    }
    Ok(parts)
}

/// Merged again, it is the same file as before; and nothing else is left of it.
fn merged_once(server: &Server, parts: &Parts, first: Option<&Answer>) -> Step {
    let again = parts.merge(server)?.expect_one(&[200, 201])?;
    if let Some(first) = first.filter(|answer| [200, 201].contains(&answer.status)) {
        let same = first.json()?["filename"] == again.json()?["filename"];
        again.ensure(same, "merged twice, it has two names")?;
    }
    parts.is_merged(server, &again)?;
    let upload = parts.as_upload(server)?;
    let finished = server.finished().unwrap_or_default();
    let deadline = std::time::Instant::now() + Duration::from_secs(8);
    while !upload.parts().is_empty() {
        ensure(std::time::Instant::now() < deadline, "parts are left on disk")?;
        thread::sleep(Duration::from_millis(20));
    }
    parts.delete(server)?.expect(204)?;
    ensure(finished.len() <= 1, format_args!("several files: {finished:?}"))
}
