//! Bodies that stall, trickle, or are cut at any byte.

use std::{
    thread,
    time::{Duration, Instant},
};

use crate::{
    random::Random,
    server::{CHUNK, Server},
    tus::{Upload, append, patch},
};

const SOON: Duration = Duration::from_secs(20);

// rows: CONN-12
// spec: CORE-10, TUS-21
#[test]
fn a_body_that_stalls_is_hung_up_on_and_kept() {
    let server = Server::with(&["--idle-timeout=1s"]);
    let bytes = Random::seeded(12).bytes(3 * CHUNK);
    for sent in [0, 5, CHUNK, 2 * CHUNK + 17] {
        let upload = Upload::new(&server, bytes.len() as u64);
        let since = Instant::now();
        let mut connection = upload.stall(0, bytes.len() as u64, &bytes[..sent]);
        let said = connection.closes_within(SOON);
        assert!(said.is_empty(), "{}", String::from_utf8_lossy(&said));
        assert!(since.elapsed() >= Duration::from_millis(950), "{:?}", since.elapsed());
        assert_eq!(upload.offset(), sent as u64);
        assert!(upload.stored() == bytes[..sent]);
    }
}

// rows: CONN-12
// Slow is not stalled.
#[test]
fn a_body_that_trickles_is_served() {
    let server = Server::with(&["--idle-timeout=3s", "--min-rate=1"]);
    let upload = Upload::new(&server, 11);
    let mut connection = server.begin(&append(&upload.url, 0).announcing(11));
    for byte in b"hello world" {
        connection.raw([*byte]);
        thread::sleep(Duration::from_millis(400));
    }
    assert_eq!(connection.answer("PATCH").expect(204).offset(), 11);
    upload.is_file(b"hello world");
}

// rows: CONN-12
// spec: CORE-65
#[test]
fn a_body_that_only_trickles_is_hung_up_on_and_kept() {
    let server = Server::with(&["--idle-timeout=3s", "--min-rate=10k"]);
    let upload = Upload::new(&server, 100_000);
    let since = Instant::now();
    let mut connection = server.begin(&append(&upload.url, 0).announcing(100_000));
    let mut sent = 0;
    // 100 bytes every 20 ms are half of what is asked for, and are never silent for long.
    while connection.try_raw(&[7; 100]).is_ok() {
        sent += 100;
        assert!(since.elapsed() < SOON, "still open");
        thread::sleep(Duration::from_millis(20));
    }
    assert!(since.elapsed() >= Duration::from_millis(5700), "{:?}", since.elapsed());
    let offset = upload.offset();
    // What came after the end was sent in vain.
    assert!(offset > 0 && offset <= sent, "{offset} of {sent}");
    upload.patch(offset, vec![7; 100_000 - offset as usize]).expect(204);
    upload.is_file(&vec![7; 100_000]);
}

// rows: CONN-12
// A pause after much is no trickle.
// spec: CORE-65
#[test]
fn a_body_that_is_fast_enough_on_average_is_served() {
    let server = Server::with(&["--idle-timeout=3s", "--min-rate=10k"]);
    let upload = Upload::new(&server, 120_000);
    let mut connection = server.begin(&append(&upload.url, 0).announcing(120_000));
    // Longer in all than the time of which the average is taken.
    for _ in 0..12 {
        connection.raw([7; 10_000]);
        thread::sleep(Duration::from_millis(600));
    }
    assert_eq!(connection.answer("PATCH").expect(204).offset(), 120_000);
}

/// A PATCH of which only the first `sent` bytes come before FIN.
#[track_caller]
fn cut_by_fin(server: &Server, bytes: &[u8], sent: usize) {
    let upload = Upload::new(server, bytes.len() as u64);
    let mut connection = upload.stall(0, bytes.len() as u64, &bytes[..sent]);
    connection.finish();
    let said = String::from_utf8_lossy(&connection.closes_within(SOON)).into_owned();
    assert!(!said.contains("204"), "{said}");
    assert_eq!(upload.offset(), sent as u64);
    assert!(upload.stored() == bytes[..sent]);
    upload.patch(sent as u64, &bytes[sent..]).expect(204);
    upload.is_file(bytes);
}

// rows: CONN-13
// spec: CORE-10, TUS-21
#[test]
fn a_cut_body_is_kept_to_the_byte() {
    let server = Server::start();
    let mut random = Random::seeded(13);
    let short = random.bytes(100);
    for sent in [0, 1, 99] {
        cut_by_fin(&server, &short, sent);
    }
    let long = random.bytes(3 * CHUNK + 5);
    for sent in [CHUNK - 1, CHUNK, CHUNK + 1, 3 * CHUNK] {
        cut_by_fin(&server, &long, sent);
    }
}

/// Brings an upload to its end of which so many bytes were told, and so many were sent. A busy
/// server may come to the request that broke off only behind a look at the upload, and keep what it
/// had brought.
#[track_caller]
pub fn goes_on(upload: &Upload, bytes: &[u8], (told, sent): (usize, usize)) {
    let deadline = Instant::now() + SOON;
    let offset = loop {
        let (offset, stored) = (upload.offset() as usize, upload.stored());
        assert!((told..=sent).contains(&offset), "{told} told, {offset} there, {sent} sent");
        if stored == bytes[..offset] {
            break offset;
        }
        assert!(Instant::now() < deadline, "{} bytes stored, not {offset}", stored.len());
    };
    let answer = upload.patch(offset as u64, &bytes[offset..]);
    let (late, there) = match answer.status {
        204 => return upload.is_file(bytes),
        // It came before our bytes.
        409 => (answer.offset() as usize, offset + 1..=sent),
        // It came in their midst.
        _ => {
            answer.expect(423);
            (upload.offset() as usize, offset..=bytes.len())
        }
    };
    assert!(there.contains(&late), "{offset} there, then {late}, {sent} sent");
    upload.patch(late as u64, &bytes[late..]).expect(204);
    upload.is_file(bytes);
}

// rows: CONN-13
// spec: TUS-21
#[test]
fn a_reset_keeps_what_was_told_and_no_more_than_was_sent() {
    let server = Server::start();
    let bytes = Random::seeded(14).bytes(3 * CHUNK + 5);
    for sent in [0, 1, 99, CHUNK - 1, CHUNK, CHUNK + 1, 3 * CHUNK] {
        let upload = Upload::new(&server, bytes.len() as u64);
        let told = sent / 2;
        upload.patch(0, &bytes[..told]).expect(204);
        let rest = (bytes.len() - told) as u64;
        upload.stall(told as u64, rest, &bytes[told..sent]).reset();
        // The request may still be on its way through the server when we are back.
        thread::sleep(Duration::from_millis(50));
        goes_on(&upload, &bytes, (told, sent));
    }
}

// rows: CONN-13
#[test]
fn a_small_patch_may_be_cut_at_any_byte() {
    let server = Server::start();
    let length = patch("/files/00000000000000000000000000000000", 0, "hello").wire().len();
    let upload = Upload::new(&server, 5 * length as u64);
    let mut there = 0;
    for cut in 0..length {
        let request = patch(&upload.url, there, "hello");
        let wire = request.wire();
        let cut = cut.min(wire.len() - 1);
        let body = cut.saturating_sub(wire.len() - 5);
        let mut connection = server.connect();
        connection.raw(&wire[..cut]);
        connection.finish();
        let said = String::from_utf8_lossy(&connection.closes_within(SOON)).into_owned();
        assert!(!said.contains("204"), "cut at {cut}: {said}");
        there += body as u64;
        assert_eq!(upload.offset(), there, "cut at {cut} of {}", wire.len());
    }
}

// rows: CONN-14
#[test]
fn the_length_decides_and_not_the_last_chunk_mark() {
    let server = Server::start();
    let upload = Upload::new(&server, 11);
    let mut request = append(&upload.url, 0).header("Transfer-Encoding", "chunked");
    request.body = b"b\r\nhello world\r\n".to_vec();
    let mut connection = server.begin(&request);
    connection.finish();
    let said = String::from_utf8_lossy(&connection.closes_within(SOON)).into_owned();
    assert!(!said.contains("204"), "{said}");
    assert_eq!(upload.offset(), 11);
    upload.patch(11, "").expect(204);
    upload.is_file(b"hello world");
}
