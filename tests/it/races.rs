//! Several at once.

use std::{sync::Barrier, thread, time::Duration};

use serde_json::json;

use crate::{
    chunks::Parts,
    client::{Answer, Conn, Request},
    digest::sha256_hex,
    random::Random,
    server::{CHUNK, Server, until},
    tus::{Upload, append, patch, request},
};

/// Sends all requests in the same moment, each on a connection of its own.
fn at_once(server: &Server, requests: &[Request]) -> Vec<Option<Answer>> {
    let (start, address) = (Barrier::new(requests.len()), server.address());
    thread::scope(|scope| {
        let hands: Vec<_> = requests
            .iter()
            .map(|request| {
                let start = &start;
                scope.spawn(move || {
                    let mut connection = Conn::open(address);
                    start.wait();
                    connection.try_ask(request).ok()
                })
            })
            .collect();
        hands.into_iter().map(|hand| hand.join().unwrap()).collect()
    })
}

fn statuses(answers: &[Option<Answer>]) -> Vec<u16> {
    answers.iter().map(|answer| answer.as_ref().map_or(0, |answer| answer.status)).collect()
}

// rows: RACE-03
// spec: STORE-5
#[test]
fn of_patches_at_one_offset_one_at_most_is_taken() {
    let server = Server::start();
    for hands in [4_u8, 4, 4, 50] {
        let length = 3 * CHUNK + 5;
        let upload = Upload::new(&server, 2 * length as u64);
        let requests: Vec<Request> =
            (1..=hands).map(|hand| patch(&upload.url, 0, vec![hand; length])).collect();
        let seen = statuses(&at_once(&server, &requests));
        // 0 is a hang-up: what a loser that still sends may see instead of 423.
        assert!(seen.iter().all(|status| [0, 204, 409, 423].contains(status)), "{seen:?}");
        let taken = seen.iter().filter(|status| **status == 204).count();
        assert!(taken <= 1, "{seen:?}");
        let offset = upload.offset() as usize;
        assert!(if taken == 1 { offset == length } else { offset <= length }, "{offset}, {seen:?}");
        let stored = upload.stored();
        assert_eq!(stored.len(), offset);
        assert!(stored.windows(2).all(|pair| pair[0] == pair[1]), "bytes of two requests");
        let rest = vec![0xee; 2 * length - offset];
        upload.patch(offset as u64, rest.clone()).expect(204);
        upload.is_file(&[stored, rest].concat());
    }
}

// rows: RACE-04
#[test]
fn patch_and_delete_end_in_nothing() {
    let server = Server::with(&["--durability=none"]);
    for round in 0..200 {
        let upload = Upload::new(&server, 100_000);
        let body = vec![7; if round % 2 == 0 { 100_000 } else { 50_000 }];
        let requests = [patch(&upload.url, 0, body), request("DELETE", &upload.url)];
        let seen = statuses(&at_once(&server, &requests));
        assert!([0, 204, 404, 423].contains(&seen[0]), "{seen:?}");
        assert_eq!(seen[1], 204, "{seen:?}");
        upload.head().expect(404);
    }
    server.uploads_vanish();
    assert!(server.finished().is_empty(), "{:?}", server.finished());
}

// rows: RACE-04
#[test]
fn two_deletes_agree() {
    let server = Server::with(&["--durability=none"]);
    for _ in 0..50 {
        let upload = Upload::hello(&server);
        let delete = request("DELETE", &upload.url);
        let mut seen = statuses(&at_once(&server, &[delete.clone(), delete]));
        seen.sort_unstable();
        assert!(seen == [204, 204] || seen == [204, 404], "{seen:?}");
    }
}

// rows: RACE-06
// spec: CHUNK-18, TUS-105
#[test]
fn looking_does_not_disturb() {
    let server = Server::start();
    let bytes = Random::seeded(6).bytes(20 * CHUNK);
    let upload = Upload::new(&server, bytes.len() as u64);
    let target = format!("/upload/status?upload_id={}", upload.id());
    let mut running = server.begin(&append(&upload.url, 0).announcing(bytes.len() as u64));
    let mut seen = Vec::new();
    for (at, piece) in bytes.chunks(CHUNK).enumerate() {
        running.raw(piece);
        thread::sleep(Duration::from_millis(10));
        let mut look = || {
            let status = server.ask(&Request::new("GET", &target)).expect(200).json();
            seen.push(status["received_bytes"].as_u64().unwrap());
            seen.last() > seen.first()
        };
        // However far behind it is, in the middle something new is told.
        if at == 10 {
            until(look, || "nothing new is told".to_owned());
        } else {
            look();
        }
    }
    assert_eq!(running.answer("PATCH").expect(204).offset(), bytes.len() as u64);
    assert!(seen.is_sorted(), "{seen:?}");
    let status = server.ask(&Request::new("GET", &target)).expect(200).json();
    assert_eq!(status["received_bytes"], bytes.len());
    upload.is_file(&bytes);
}

// rows: RACE-07
// spec: TUS-19, TUS-29, STORE-4
#[test]
fn a_file_is_seen_whole_or_not_at_all() {
    let server = Server::start();
    for round in 0..20 {
        let bytes = Random::seeded(round).bytes(2 * CHUNK + 5);
        let upload = Upload::new(&server, bytes.len() as u64);
        upload.patch(0, &bytes[..CHUNK]).expect(204);
        let last = patch(&upload.url, CHUNK as u64, &bytes[CHUNK..]);
        let get = Request::new("GET", &upload.url);
        let requests = [last, get.clone(), get.clone(), get];
        for answer in at_once(&server, &requests).into_iter().skip(1).flatten() {
            let right = answer.status == 404 || answer.status == 200 && answer.body == bytes;
            assert!(right, "{answer:?}");
        }
        // Whoever reads the end in HEAD can have the file.
        if upload.offset() == bytes.len() as u64 {
            assert!(upload.get().expect(200).body == bytes);
        }
    }
}

// rows: RACE-08
// spec: CHUNK-13
#[test]
fn the_same_chunk_from_all_sides_is_stored_once() {
    let server = Server::start();
    let mut random = Random::seeded(8);
    for _ in 0..10 {
        let parts = Parts::new(&random.hash(), "a.bin", 100_000, random.bytes(150_000));
        let requests: Vec<Request> = (0..8)
            .map(|hand| if hand % 2 == 0 { parts.put(0) } else { parts.put_form(0) })
            .collect();
        let seen = statuses(&at_once(&server, &requests));
        assert!(seen.iter().all(|status| [200, 201].contains(status)), "{seen:?}");
        assert!(seen.contains(&201), "{seen:?}");
        let status = parts.status(&server);
        assert_eq!(status["received_bytes"], 100_000);
        assert_eq!(parts.as_upload(&server).stored(), parts.chunk(0));
    }
}

// rows: RACE-08
#[test]
fn of_different_bytes_one_whole_body_is_left() {
    let server = Server::start();
    let mut random = Random::seeded(9);
    for _ in 0..10 {
        let parts = Parts::new(&random.hash(), "a.bin", 100_000, random.bytes(150_000));
        let bodies: Vec<Vec<u8>> = (0..8).map(|hand| vec![hand; 100_000]).collect();
        let requests: Vec<Request> = bodies.iter().map(|body| parts.put_bytes(0, body)).collect();
        let seen = statuses(&at_once(&server, &requests));
        assert!(seen.iter().all(|status| [200, 201].contains(status)), "{seen:?}");
        let stored = parts.as_upload(&server).stored();
        assert!(bodies.contains(&stored), "{} bytes of several", stored.len());
        assert_eq!(parts.check(&server, 0)["sha256"], sha256_hex(&stored));
    }
}

// rows: RACE-09
#[test]
fn a_chunk_takes_over_a_patch_and_both_are_kept() {
    let server = Server::start();
    let bytes = Random::seeded(10).bytes(4 * CHUNK);
    let upload = Upload::new(&server, bytes.len() as u64);
    let there = CHUNK / 2;
    let length = bytes.len() as u64;
    let mut running = server.begin(&append(&upload.url, 0).announcing(length));
    upload.takes(&mut running, &bytes[..there], length);
    let mut parts = Parts::new(upload.id(), "", CHUNK, bytes);
    parts.filename = None;
    parts.send(&server, 2);
    if let Ok(answer) = running.try_answer("PATCH") {
        answer.refused(423);
    }
    assert_eq!(upload.offset(), there as u64);
    assert_eq!(parts.uploaded(&server), [2]);
    let rest = upload.patch(there as u64, &parts.bytes[there..]).expect(204);
    assert_eq!(rest.offset(), parts.bytes.len() as u64);
    upload.is_file(&parts.bytes);
}

// rows: RACE-07: a HEAD may end the last PATCH, and never tells an end that is none.
// spec: TUS-19, STORE-4
#[test]
fn who_hammers_sees_the_end_when_the_file_is_there() {
    let server = &Server::start();
    for round in 0..12 {
        let bytes = &Random::seeded(round).bytes(2 * CHUNK + 5);
        let upload = &Upload::new(server, bytes.len() as u64);
        upload.patch(0, &bytes[..CHUNK]).expect(204);
        thread::scope(|scope| {
            for _ in 0..3 {
                scope.spawn(move || {
                    let mut connection = server.connect();
                    loop {
                        let head = connection.ask(&request("HEAD", &upload.url)).expect(200);
                        let file = connection.ask(&Request::new("GET", &upload.url));
                        if head.offset() == bytes.len() as u64 {
                            assert!(file.expect(200).body == *bytes);
                            return;
                        }
                        // It may have ended in between.
                        assert!(file.status == 404 || file.body == *bytes, "{file:?}");
                    }
                });
            }
            let mut at = CHUNK;
            while at < bytes.len() {
                let answer = server.connect().try_ask(&patch(&upload.url, at as u64, &bytes[at..]));
                let statuses = [204, 423];
                if let Ok(answer) = answer {
                    answer.expect_one(&statuses);
                }
                at = upload.offset() as usize;
            }
        });
    }
}

/// A file of `chunks` chunks, all of them stored but those in `without`.
fn stored_but(server: &Server, random: &mut Random, chunks: usize, without: &[usize]) -> Parts {
    let parts = Parts::new(&random.hash(), "a.bin", CHUNK, random.bytes(chunks * CHUNK - 3));
    for index in (0..chunks).rev().filter(|index| !without.contains(index)) {
        parts.send(server, index);
    }
    parts
}

// rows: RACE-10
// spec: CHUNK-25
#[test]
fn of_ten_merges_one_makes_the_file() {
    let server = Server::start();
    let mut random = Random::seeded(11);
    let parts = stored_but(&server, &mut random, 64, &[]);
    let merge = crate::chunks::merge(&parts.merge_body());
    let seen = statuses(&at_once(&server, &vec![merge; 10]));
    assert!(seen.iter().all(|status| [200, 201, 202].contains(status)), "{seen:?}");
    assert!(seen.iter().filter(|status| **status == 201).count() <= 1, "{seen:?}");
    let merged = || parts.merge(&server).expect_one(&[200, 201, 202]).status != 202;
    until(merged, || "it merges on and on".to_owned());
    assert!(server.the_file() == parts.bytes);
}

// rows: RACE-10
#[test]
fn of_merge_and_delete_one_wins() {
    let server = Server::start();
    let mut random = Random::seeded(12);
    for _ in 0..20 {
        let parts = stored_but(&server, &mut random, 8, &[]);
        let url = parts.as_upload(&server).url;
        let requests = [crate::chunks::merge(&parts.merge_body()), parts.delete()];
        let seen = statuses(&at_once(&server, &requests));
        assert!([200, 201, 202, 404, 409, 410, 423].contains(&seen[0]), "{seen:?}");
        assert!([204, 409, 423].contains(&seen[1]), "{seen:?}");
        let file = server.ask(&Request::new("GET", &url));
        if seen[1] == 204 {
            file.expect(404);
            assert!(server.finished().is_empty(), "{seen:?}");
        } else {
            assert!(file.expect(200).body == parts.bytes);
            server.ask(&parts.delete()).expect(204);
        }
    }
    server.uploads_vanish();
}

// rows: RACE-10
#[test]
fn a_merge_sees_the_missing_chunk_or_says_so() {
    let server = Server::start();
    let mut random = Random::seeded(13);
    for _ in 0..20 {
        let parts = stored_but(&server, &mut random, 4, &[1]);
        let requests = [crate::chunks::merge(&parts.merge_body()), parts.put(1)];
        let answers = at_once(&server, &requests);
        let seen = statuses(&answers);
        assert_eq!(seen[1], 201, "{answers:?}");
        match answers[0].clone().unwrap() {
            missing if missing.status == 409 => {
                missing.refused_as(409, "chunks-missing");
                parts.merge(&server).expect(201);
            }
            merged => drop(merged.expect(201)),
        }
        parts.as_upload(&server).is_file(&parts.bytes);
    }
}

// What was missing when the merge looked may be there, or gone with its upload, when it answers.
// rows: RACE-10
// spec: CHUNK-21
#[test]
fn a_refused_merge_names_what_was_missing() {
    let server = Server::with(&["--durability=none"]);
    let mut random = Random::seeded(15);
    for round in 0..60 {
        let parts = stored_but(&server, &mut random, 3, &[1]);
        let merge = crate::chunks::merge(&parts.merge_body());
        let other = if round % 2 == 0 { parts.put(1) } else { parts.delete() };
        let answers = at_once(&server, &[merge.clone(), merge.clone(), other, merge]);
        for answer in [0, 1, 3].map(|merge| answers[merge].clone().unwrap()) {
            match answer.expect_one(&[200, 201, 202, 404, 409]) {
                missing if missing.status == 409 => {
                    let missing = missing.refused_as(409, "chunks-missing").json();
                    assert_eq!((&missing["missing"], &missing["total"]), (&json!([1]), &json!(3)));
                }
                gone if gone.status == 404 => assert_eq!(round % 2, 1, "{gone:?}"),
                merged => assert_eq!(round % 2, 0, "{merged:?}"),
            }
        }
        server.ask(&parts.delete()).expect(204);
    }
}

// RACE-12, but for the takeover across processes: there the newcomer waits, and is told to come
// back.
// spec: STORE-5, STORE-3, TUS-23
#[test]
fn two_processes_tell_one_truth() {
    let one = Server::start();
    let two = one.beside();
    let bytes = Random::seeded(14).bytes(3 * CHUNK + 7);
    let here = Upload::new(&one, bytes.len() as u64);
    let there = Upload { server: &two, url: here.url.clone() };
    let mut at = 0;
    for (turn, length) in [5, CHUNK, 1, CHUNK - 7, 100, CHUNK / 2].into_iter().enumerate() {
        let (writer, reader) = if turn % 2 == 0 { (&here, &there) } else { (&there, &here) };
        let answer = writer.patch(at as u64, &bytes[at..at + length]).expect(204);
        assert_eq!(answer.offset() as usize, at + length);
        at += length;
        assert_eq!(reader.offset() as usize, at);
        reader.refuses(&patch(&reader.url, 0, "x"), 409);
        reader.get().refused(404);
    }
    // A holder over there is waited for; what it stores counts here.
    let left = (bytes.len() - at) as u64;
    let mut running = one.begin(&append(&here.url, at as u64).announcing(left));
    here.takes(&mut running, &bytes[at..at + 9], left);
    there.patch(at as u64, vec![0xff; 10]).refused_as(423, "busy").needs("Retry-After");
    running.raw(&bytes[at + 9..]);
    assert_eq!(running.answer("PATCH").expect(204).offset() as usize, bytes.len());
    for upload in [&here, &there] {
        upload.is_file(&bytes);
    }
    there.delete().expect(204);
    here.head().expect(404);
}

// As RACE-03, from two processes.
// spec: STORE-5
#[test]
fn bytes_of_two_processes_are_never_mixed() {
    let one = Server::start();
    let two = one.beside();
    for round in 0..6_u8 {
        let length = CHUNK + 5 + usize::from(round) * 20_000;
        let here = Upload::new(&one, 2 * length as u64);
        let there = Upload { server: &two, url: here.url.clone() };
        let answers = thread::scope(|scope| {
            let hands = [(&here, 1_u8), (&there, 2)].map(|(upload, hand)| {
                scope.spawn(move || {
                    let asked = patch(&upload.url, 0, vec![hand; length]);
                    upload.server.connect().try_ask(&asked).ok()
                })
            });
            hands.map(|hand| hand.join().unwrap())
        });
        let seen = statuses(&answers);
        assert!(seen.iter().all(|status| [0, 204, 409, 423].contains(status)), "{seen:?}");
        assert!(seen.iter().filter(|status| **status == 204).count() <= 1, "{seen:?}");
        let offset = here.offset();
        assert_eq!(there.offset(), offset);
        let stored = here.stored();
        assert_eq!(stored.len() as u64, offset);
        assert!(stored.windows(2).all(|pair| pair[0] == pair[1]), "bytes of two requests");
    }
}
