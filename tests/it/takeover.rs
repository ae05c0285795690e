//! The newcomer wins, and no byte is lost.

use std::time::{Duration, Instant};

use crate::{
    random::Random,
    server::{CHUNK, Server},
    tus::{Upload, append, patch, request},
};

/// What the suite allows; the goal is 10 ms, which a busy machine may miss without being wrong.
const PATIENCE: Duration = Duration::from_millis(250);

#[track_caller]
fn in_time(what: &str, since: Instant) {
    let took = since.elapsed();
    println!("{what}: {:.2} ms (goal 10 ms)", took.as_secs_f64() * 1e3);
    assert!(took <= PATIENCE, "{what} took {took:?}");
}

/// A PATCH that stalls after `part`, which has surely arrived: status shows it without a takeover.
fn stalled(upload: &Upload<'_>, length: u64, part: &[u8]) -> crate::client::Conn {
    let connection = upload.stall(0, length, part);
    // Received is what the kernel has: the server counts it when it is asked to stop.
    std::thread::sleep(Duration::from_millis(30));
    connection
}

// RACE-01, first case
#[test]
fn head_then_patch_take_over_a_stalled_patch() {
    let server = Server::start();
    let bytes = Random::seeded(1).bytes(1000);
    let upload = Upload::new(&server, 1000);
    let _old = stalled(&upload, 1000, &bytes[..400]);
    let mut newcomer = server.connect();
    let since = Instant::now();
    assert_eq!(newcomer.ask(&request("HEAD", &upload.url)).expect(200).offset(), 400);
    in_time("HEAD of a stalled upload", since);
    let rest = patch(&upload.url, 400, &bytes[400..]);
    assert_eq!(newcomer.ask(&rest).expect(204).offset(), 1000);
    in_time("HEAD and PATCH of a stalled upload", since);
    upload.is_file(&bytes);
}

// RACE-01, second case
#[test]
fn a_patch_at_the_right_offset_takes_over_at_once() {
    let server = Server::start();
    let bytes = Random::seeded(2).bytes(1000);
    let upload = Upload::new(&server, 1000);
    let _old = stalled(&upload, 1000, &bytes[..400]);
    let mut newcomer = server.connect();
    let since = Instant::now();
    let rest = patch(&upload.url, 400, &bytes[400..]);
    assert_eq!(newcomer.ask(&rest).expect(204).offset(), 1000);
    in_time("PATCH of a stalled upload", since);
    upload.is_file(&bytes);
}

// RACE-01, third case
#[test]
fn a_patch_at_the_old_offset_is_told_the_new_one() {
    let server = Server::start();
    let bytes = Random::seeded(3).bytes(1000);
    let upload = Upload::new(&server, 1000);
    let _old = stalled(&upload, 1000, &bytes[..400]);
    assert_eq!(upload.patch(0, bytes.clone()).refused(409).offset(), 400);
    upload.patch(400, &bytes[400..]).expect(204);
    upload.is_file(&bytes);
}

// RACE-01 with many chunks, of which some are sealed and one is begun.
#[test]
fn a_long_stalled_patch_loses_nothing() {
    let server = Server::start();
    let bytes = Random::seeded(4).bytes(20 * CHUNK + 77);
    let stall_at = 11 * CHUNK + 1234;
    let upload = Upload::new(&server, bytes.len() as u64);
    let _old = stalled(&upload, bytes.len() as u64, &bytes[..stall_at]);
    let since = Instant::now();
    assert_eq!(upload.offset(), stall_at as u64);
    in_time("HEAD of a stalled upload of 12 chunks", since);
    upload.patch(stall_at as u64, &bytes[stall_at..]).expect(204);
    upload.is_file(&bytes);
}

// RACE-01, again and again on one upload, each time from another connection.
#[test]
fn it_works_as_often_as_the_network_breaks() {
    let server = Server::start();
    let bytes = Random::seeded(5).bytes(50 * 700);
    let upload = Upload::new(&server, bytes.len() as u64);
    let mut left_open = Vec::new();
    for at in (0..bytes.len()).step_by(700) {
        assert_eq!(upload.offset(), at as u64);
        let rest = (bytes.len() - at) as u64;
        left_open.push(upload.stall(at as u64, rest, &bytes[at..at + 700]));
        std::thread::sleep(Duration::from_millis(5));
    }
    assert_eq!(upload.offset(), bytes.len() as u64);
    upload.is_file(&bytes);
}

// RACE-02: who was taken over hears 423 with Retry-After, or nothing.
#[test]
fn who_was_taken_over_is_told_to_come_back_or_hung_up_on() {
    let server = Server::start();
    let upload = Upload::new(&server, 1000);
    let mut old = stalled(&upload, 1000, &[7; 400]);
    assert_eq!(upload.offset(), 400);
    if let Ok(answer) = old.try_answer("PATCH") {
        answer.refused(423).needs("Retry-After");
    }
}

// TUS-TERM-03
#[test]
fn delete_ends_a_stalled_patch() {
    let server = Server::start();
    let upload = Upload::new(&server, 1000);
    let mut old = stalled(&upload, 1000, &[7; 400]);
    let since = Instant::now();
    upload.delete().expect(204);
    in_time("DELETE of a stalled upload", since);
    if let Ok(answer) = old.try_answer("PATCH") {
        answer.expect_one(&[404, 423]);
    }
    upload.head().expect(404);
    server.uploads_vanish();
}

// What the old request still sends after it lost the upload changes nothing.
#[test]
fn late_bytes_of_the_loser_are_not_stored() {
    let server = Server::start();
    let bytes = Random::seeded(6).bytes(1000);
    let upload = Upload::new(&server, 1000);
    let mut old = stalled(&upload, 1000, &bytes[..400]);
    assert_eq!(upload.offset(), 400);
    let _ = old.try_raw(&[0xff; 600]);
    assert_eq!(upload.offset(), 400);
    let mut newcomer = server.begin(&append(&upload.url, 400).announcing(600));
    newcomer.raw(&bytes[400..500]);
    let _ = old.try_raw(&[0xff; 100]);
    newcomer.raw(&bytes[500..]);
    assert_eq!(newcomer.answer("PATCH").expect(204).offset(), 1000);
    upload.is_file(&bytes);
}
