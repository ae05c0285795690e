//! Heads that never end, and bodies that stall or are cut at any byte.

use std::{
    thread,
    time::{Duration, Instant},
};

use super::conn::SOON;
use crate::{
    digest::length,
    judge::Judge,
    random::Random,
    server::{Http, Server},
    several::Running,
    stop::{At, Step, breach, ensure},
    tus::{Upload, append, patch, request},
};

/// The chunks of the servers that cases start, where they know the option.
pub(super) const CHUNK: usize = 64 * 1024;

/// CONN-11.
pub(super) fn heads_that_never_end(judge: &Judge<'_>) -> Step {
    let upload = Upload::hello(judge.server)?;
    let garbage: [(&str, &[u8]); 5] = [
        ("zeros", &[0; 64]),
        ("0xff", &[0xff; 64]),
        ("TLS", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03hello, are you there?"),
        ("no request", b"\r\n\r\n\r\n\r\nhello\r\n\r\n"),
        ("half a request", b"GET\r\n\r\n"),
    ];
    for (what, garbage) in garbage {
        let mut connection = judge.server.connect()?;
        connection.raw(garbage)?;
        connection.finish();
        let said = connection.closes_within(SOON).at(what)?;
        let refused = said.is_empty() || said.starts_with(b"HTTP/1.1 400 ");
        let said = String::from_utf8_lossy(&said).into_owned();
        ensure(refused, format_args!("{what} is answered with {said}"))?;
        upload.is_at(5).at(what)?;
    }
    let server = judge.then_start(&["--idle-timeout=3s"])?;
    let upload = Upload::hello(&server)?;
    let mut slow = [server.connect()?, server.connect()?, server.connect()?];
    slow[1].raw("P")?;
    slow[2].raw("HEAD / HTTP/1.1\r\nHost: judge.test\r\nX-Slow: ")?;
    let since = Instant::now();
    while since.elapsed() < Duration::from_millis(3_500) {
        // It is always about to go on.
        let _ = slow[2].raw("y");
        upload.is_at(5).at("others are served")?;
        thread::sleep(Duration::from_millis(100));
    }
    let since = Instant::now();
    for connection in &mut slow {
        connection.closes_within(SOON)?;
    }
    ensure(since.elapsed() < SOON, "a head may take as long as it likes")
}

/// CONN-12.
pub(super) fn bodies_that_stall(judge: &Judge<'_>) -> Step {
    let server = judge.start(&["--idle-timeout=3s"])?;
    let bytes = Random::fresh().bytes(3 * CHUNK);
    thread::scope(|scope| {
        let hands = [0, 5, CHUNK, 2 * CHUNK + 17].map(|sent| {
            let (server, bytes) = (&server, &bytes);
            scope.spawn(move || stalls(judge.http(), server, bytes, sent).at(sent))
        });
        hands
            .into_iter()
            .try_for_each(|hand| hand.join().unwrap_or_else(|_| Err(breach("the judge broke"))))
    })
}

/// A body that stalls after `sent` bytes.
fn stalls(http: Http, server: &Server, bytes: &[u8], sent: usize) -> Step {
    let upload = Upload::new(server, length(bytes))?;
    let (part, rest) = bytes.split_at(sent);
    let since = Instant::now();
    if http == Http::One {
        // In one piece: the server's patience may end between two.
        let mut begun = append(&upload.url, 0).announcing(length(bytes));
        begun.body = part.to_vec();
        let said = server.begin(&begun)?.closes_within(SOON)?;
        let said = String::from_utf8_lossy(&said).into_owned();
        ensure(said.is_empty(), format_args!("it is answered: {said}"))?;
    } else {
        let stalled = Running::patch(&upload, 0, length(bytes), part)?;
        let answer = stalled.told();
        ensure(answer.is_none(), "it is answered")?;
    }
    let waited = since.elapsed();
    ensure(waited < SOON, format_args!("still open after {waited:?}"))?;
    ensure(waited > Duration::from_millis(2_900), format_args!("closed after {waited:?} already"))?;
    upload.is_at(length(part))?;
    upload.patch(length(part), rest)?.expect(204)?;
    upload.is_file(bytes)
}

/// CONN-13.
pub(super) fn bodies_that_are_cut(judge: &Judge<'_>) -> Step {
    let mut random = Random::fresh();
    let (short, long) = (random.bytes(100), random.bytes(3 * CHUNK + 5));
    let cuts = [(&short, [0, 1, 99]), (&long, [CHUNK - 1, CHUNK, CHUNK + 1])];
    for (bytes, places) in cuts {
        for sent in places {
            if judge.http() == Http::One {
                cut_by_fin(judge.server, bytes, sent).at(format_args!("FIN after {sent} bytes"))?;
            }
            let reset = cut_by_reset(judge.server, bytes, sent);
            reset.at(format_args!("reset after {sent} bytes"))?;
        }
    }
    if judge.http() == Http::One {
        cut_anywhere(judge.server)?;
    }
    Ok(())
}

/// A PATCH of which only the first `sent` bytes come before FIN.
fn cut_by_fin(server: &Server, bytes: &[u8], sent: usize) -> Step {
    let upload = Upload::new(server, length(bytes))?;
    let (part, rest) = bytes.split_at(sent);
    let mut connection = upload.stall(0, length(bytes), part)?;
    connection.finish();
    is_not_told_204(&connection.closes_within(SOON)?)?;
    upload.is_at(length(part))?;
    upload.patch(length(part), rest)?.expect(204)?;
    upload.is_file(bytes)
}

fn is_not_told_204(said: &[u8]) -> Step {
    let said = String::from_utf8_lossy(said);
    ensure(!said.starts_with("HTTP/1.1 204"), format_args!("a half body is accepted: {said}"))
}

/// As [`cut_by_fin`] with a reset, after which the last bytes may not have been seen.
fn cut_by_reset(server: &Server, bytes: &[u8], sent: usize) -> Step {
    let upload = Upload::new(server, length(bytes))?;
    let told = sent / 2;
    upload.patch(0, &bytes[..told])?.expect(204)?;
    let rest = length(&bytes[told..]);
    let running = Running::patch(&upload, length(&bytes[..told]), rest, &bytes[told..sent])?;
    running.reset()?;
    // The request may still be on its way through the server when we are back.
    thread::sleep(Duration::from_millis(50));
    let offset = usize::try_from(upload.offset()?).unwrap_or(usize::MAX);
    let kept = (told..=sent).contains(&offset);
    ensure(kept, format_args!("{told} were told, {sent} sent, and {offset} are there"))?;
    let answer = upload.patch(length(&bytes[..offset]), &bytes[offset..])?;
    let allowed = match answer.status {
        // It came between the two.
        409 => offset + 1..=sent,
        // It came in the middle of ours, of which any part may count then.
        423 => offset..=bytes.len(),
        _ => {
            answer.expect(204)?;
            return upload.is_file(bytes);
        }
    };
    let late = usize::try_from(upload.offset()?).unwrap_or(usize::MAX);
    ensure(allowed.contains(&late), format_args!("{offset} are there, and then {late}"))?;
    upload.patch(length(&bytes[..late]), &bytes[late..])?.expect(204)?;
    upload.is_file(bytes)
}

/// A small PATCH, cut at every byte of its head and its body.
fn cut_anywhere(server: &Server) -> Step {
    let upload = Upload::new(server, 10_000)?;
    let mut there = 0;
    for cut in 0.. {
        let wire = patch(&upload.url, there, "hello").header("Host", server.host()).wire();
        if cut >= wire.len() {
            break;
        }
        let mut connection = server.connect()?;
        connection.raw(&wire[..cut])?;
        connection.finish();
        let at = || format!("cut at {cut} of {}", wire.len());
        is_not_told_204(&connection.closes_within(SOON).at(at())?).at(at())?;
        let body = cut.saturating_sub(wire.len() - 5);
        there += length(&wire[wire.len() - body..]);
        upload.is_at(there).at(at())?;
    }
    Ok(())
}

/// CONN-14.
pub(super) fn the_length_decides(judge: &Judge<'_>) -> Step {
    let upload = Upload::new(judge.server, 11)?;
    let mut asked = append(&upload.url, 0).header("Transfer-Encoding", "chunked");
    asked.body = b"b\r\nhello world\r\n".to_vec();
    let mut connection = judge.server.begin(&asked)?;
    connection.finish();
    is_not_told_204(&connection.closes_within(SOON)?)?;
    let head = judge.server.ask(&request("HEAD", &upload.url))?;
    head.expect_one(&[200, 204])?.has("Upload-Offset", 11)?;
    upload.is_file(b"hello world")
}
