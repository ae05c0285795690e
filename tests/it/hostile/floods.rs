//! Floods: many small things, each of them legal.

use std::{fs, io, thread, time::Duration};

use super::{
    frames::{
        ACK, CONTINUATION, DATA, END_HEADERS, END_STREAM, HEADERS, INITIAL_WINDOW, PING, PRIORITY,
        RST_STREAM, SETTINGS, WINDOW_UPDATE, flood, frame, head, hello, setting, stream,
    },
    watch::{Watch, memory},
};
use crate::{
    client::{Conn, Request},
    server::{Server, until},
    tus::{FILES, OFFSET_TYPE, Upload, append, create_with, request},
};

/// Growth that is no growth: arenas of the allocator, threads.
const MIB: u64 = 48;

const CANCEL: [u8; 4] = [0, 0, 0, 8];

/// CVE-2023-44487: requests that are taken back at once, so that the limit of streams is never
/// reached and the work is done all the same.
// spec: CORE-90, CORE-91
#[test]
fn requests_that_are_taken_back_at_once_do_not_pile_up() {
    let server = Server::with(&["--durability=ack"]);
    let watch = Watch::begin(&server);
    let metadata = format!("a {}", "A".repeat(8000));
    let block = head("POST", FILES, &[("upload-length", "1"), ("upload-metadata", &metadata)]);
    for _ in 0..4 {
        let mut connection = hello(&server, &[]);
        flood(&mut connection, 5_000, |number| {
            let stream = stream(number);
            let asked = frame(HEADERS, END_HEADERS | END_STREAM, stream, &block);
            [asked, frame(RST_STREAM, 0, stream, &CANCEL)].concat()
        });
    }
    watch.ends(MIB);
}

/// The same slowly enough for each request to have begun, at an upload that somebody holds: those
/// that were taken back go on, and count until they end.
// spec: CORE-91
#[test]
fn who_takes_requests_back_has_no_more_under_way_than_who_does_not() {
    let server = Server::start();
    let held = Upload::hello(&server);
    let watch = Watch::begin(&server);
    let (ran, asked) = takes_requests_back(&server, &held);
    assert_eq!(asked, 600);
    assert!((20..=200).contains(&ran), "{ran} of 600 requests ran");
    watch.ends(MIB);
}

/// The same where it is one connection too many, and a HEAD is answered all the same.
// spec: CORE-80, CORE-91
#[test]
fn nor_has_who_comes_beyond_the_limit_of_connections() {
    let server = Server::with(&["--max-connections=1"]);
    let held = Upload::new(&server, 11);
    server.has_open(0);
    held.patch(0, "hello").expect(204);
    server.has_open(0);
    let other = Upload::new(&server, 11);
    server.has_open(0);
    let mut busy = other.stall(0, 11, b"hello");
    let (ran, _) = takes_requests_back(&server, &held);
    assert!((1..=8).contains(&ran), "{ran} of 600 requests ran");
    busy.raw(" world");
    busy.answer("PATCH").expect(204);
}

/// How many of 600 requests ran, and how many were asked before the server hung up. Each of them
/// waits for three seconds, and is counted when it ends.
fn takes_requests_back(server: &Server, held: &Upload) -> (usize, usize) {
    /// As many as may be taken back before the library has looked at them.
    const BATCH: usize = 20;
    let ledger = fs::File::open(held.ledger()).unwrap();
    ledger.lock().unwrap();
    let mut connection = hello(server, &[]);
    let block = head("HEAD", &held.url, &[]);
    let mut asked_for = 0;
    for batch in 0..30 {
        let streams: Vec<u32> = (0..BATCH).map(|number| stream(batch * BATCH + number)).collect();
        let asked = |stream: &u32| frame(HEADERS, END_HEADERS | END_STREAM, *stream, &block);
        let _ = connection.try_raw(&streams.iter().flat_map(asked).collect::<Vec<u8>>());
        // In the lobby it ends after a while, on a busy machine before all is asked.
        if is_read(&mut connection).is_err() {
            break;
        }
        asked_for += BATCH;
        thread::sleep(Duration::from_millis(40));
        let taken_back = |stream: &u32| frame(RST_STREAM, 0, *stream, &CANCEL);
        let _ = connection.try_raw(&streams.iter().flat_map(taken_back).collect::<Vec<u8>>());
    }
    thread::sleep(Duration::from_secs(4));
    if refused(server) == 0 {
        until(|| refused(server) > 0, || "no HEAD was counted".to_owned());
        // All that began with it end with it.
        thread::sleep(Duration::from_secs(1));
    }
    ledger.unlock().unwrap();
    (refused(server), asked_for)
}

/// All that was sent so far has been read: the answer to a PING comes behind it.
fn is_read(connection: &mut Conn) -> io::Result<()> {
    connection.try_raw(&frame(PING, 0, 0, &[7; 8]))?;
    loop {
        let head = connection.take(9)?;
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
        connection.take(length as usize)?;
        if head[3..5] == [PING, ACK] {
            return Ok(());
        }
    }
}

/// How many HEADs were refused so far.
fn refused(server: &Server) -> usize {
    let metrics = server.ask(&Request::new("GET", "/metrics")).expect(200).body;
    let metrics = String::from_utf8(metrics).unwrap();
    let refused = |line: &&str| {
        line.contains("requests_total{") && line.contains("\"HEAD\"") && line.contains("\"4xx\"")
    };
    let line = metrics.lines().find(refused);
    line.map_or(0, |line| line.rsplit(' ').next().unwrap().parse().unwrap())
}

/// CVE-2024-27316: a head that never ends, in frames that each are small.
// spec: CORE-90
#[test]
fn a_head_that_goes_on_for_ever_is_broken_off() {
    let server = Server::start();
    let watch = Watch::begin(&server);
    for more in [[0, 1, b'x', 1, b'y'].repeat(100), Vec::new()] {
        let mut connection = hello(&server, &[]);
        connection.raw(frame(HEADERS, 0, 1, &head("POST", FILES, &[])));
        flood(&mut connection, 20_000, |_| frame(CONTINUATION, 0, 1, &more));
        connection.closes_within(Duration::from_secs(8));
    }
    watch.ends(MIB);
}

/// Frames that want an answer, or nothing at all, from one who does not read answers.
// spec: CORE-90
#[test]
fn small_talk_costs_no_memory() {
    let server = Server::with(&["--idle-timeout=2s"]);
    let watch = Watch::begin(&server);
    let open = [
        frame(HEADERS, END_HEADERS, 1, &head("POST", FILES, &[("upload-length", "9000000")])),
        frame(HEADERS, END_HEADERS, 3, &head("POST", FILES, &[("upload-length", "9000000")])),
    ];
    let talk: [(&str, Vec<u8>); 6] = [
        ("PING", frame(PING, 0, 0, &[7; 8])),
        ("SETTINGS", frame(SETTINGS, 0, 0, &setting(INITIAL_WINDOW, 1 << 16))),
        ("PRIORITY", frame(PRIORITY, 0, 5, &[0, 0, 0, 3, 1])),
        ("WINDOW_UPDATE", frame(WINDOW_UPDATE, 0, 0, &[0, 0, 0, 1])),
        ("DATA of none", frame(DATA, 0, 1, &[])),
        ("an unknown kind", frame(0xee, 0, 0, &[1; 100])),
    ];
    for (what, frame) in talk {
        for reads in [true, false] {
            let mut connection = hello(&server, &[]);
            for open in &open {
                connection.raw(open);
            }
            let sent = if reads {
                flood(&mut connection, 100_000, |_| frame.clone())
            } else {
                let batch = frame.repeat(1000);
                (0..100).take_while(|_| sends_within(&mut connection, &batch)).count() * 1000
            };
            println!("{what}, {reads}: {sent} frames were taken");
        }
    }
    watch.ends(MIB);
}

/// Sends, unless the server stops reading for two seconds.
fn sends_within(connection: &mut Conn, bytes: &[u8]) -> bool {
    connection.patient_for(Duration::from_secs(2));
    connection.try_raw(bytes).is_ok()
}

/// A body in frames of one byte, over both versions of HTTP: it is stored, and costs its sender
/// more than the server.
// spec: CORE-90
#[test]
fn bodies_of_single_bytes_are_stored() {
    const BYTES: usize = 100_000;
    let server = Server::start();
    let watch = Watch::begin(&server);
    let bytes: Vec<u8> = (0..BYTES).map(|n| (n % 251) as u8).collect();
    let chunked = Upload::new(&server, BYTES as u64);
    let answer = server.connect().ask(&append(&chunked.url, 0).chunked(&bytes, 1));
    assert_eq!(answer.expect(204).offset(), BYTES as u64);
    chunked.is_file(&bytes);
    // Frames that come faster than they are read are an attack to the library, which hangs up;
    // what was told is kept, and it is the beginning of the file.
    for pause in [Duration::from_millis(1), Duration::ZERO] {
        let framed = Upload::new(&server, BYTES as u64);
        let mut connection = hello(&server, &[]);
        let asked = [("content-type", OFFSET_TYPE), ("upload-offset", "0")];
        connection.raw(frame(HEADERS, END_HEADERS, 1, &head("PATCH", &framed.url, &asked)));
        let (count, before) = (if pause.is_zero() { BYTES } else { 1000 }, server.received());
        flood(&mut connection, count, |n| {
            thread::sleep(pause);
            frame(DATA, 0, 1, &bytes[n..=n])
        });
        // Where they are too fast, perhaps none is read.
        if !pause.is_zero() {
            server.has_received(before + 1);
        }
        thread::sleep(Duration::from_millis(300));
        let offset = framed.offset() as usize;
        assert!(offset <= count && (pause.is_zero() || offset > 0), "{offset} bytes");
        assert!(framed.stored() == bytes[..offset]);
    }
    watch.ends(MIB);
}

/// Downloads that are asked for and never taken, as many as one connection may have, on several.
// spec: CORE-66, CORE-90
#[test]
fn downloads_that_nobody_takes_hold_little_and_end() {
    let server = Server::with(&["--idle-timeout=3s"]);
    let bytes = vec![7; 8 << 20];
    let made = server.ask(&create_with(bytes.len() as u64, bytes.clone())).expect(201);
    let url = made.needs("Location").to_owned();
    let watch = Watch::begin(&server);
    let before = memory(&server);
    let mut connections: Vec<_> = (0..4)
        .map(|_| {
            let mut connection = hello(&server, &setting(INITIAL_WINDOW, 1));
            let block = head("GET", &url, &[]);
            let asked = |number| frame(HEADERS, END_HEADERS | END_STREAM, stream(number), &block);
            connection.raw((0..100).flat_map(asked).collect::<Vec<u8>>());
            connection
        })
        .collect();
    thread::sleep(Duration::from_millis(700));
    // One byte is taken of each: what is read behind it are two small blocks, not megabytes.
    let held = memory(&server).saturating_sub(before) >> 20;
    assert!(held < 64, "{held} MiB for 400 downloads");
    for connection in &mut connections {
        connection.closes_within(Duration::from_secs(20));
    }
    watch.ends(64);
    let file = server.ask(&Request::new("GET", &url)).expect(200);
    assert!(file.body == bytes);
    server.ask(&request("HEAD", &url)).expect(200);
}
