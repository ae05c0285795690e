//! What somebody waits for: an upload that another connection holds, the end, a concatenation.

use std::{
    thread,
    time::{Duration, Instant},
};

use super::{PITON, piton_and_peers};
use crate::{
    GIB, KIB, MIB,
    client::{PIECE, created},
    contender::{Contender, Field},
    row::{Entry, Figure, Goal, Row, Times, Unit},
    server::{Sample, Server},
};

/// How long a client may try to take over.
const PATIENCE: Duration = Duration::from_secs(30);

pub fn rows(field: &Field) -> Vec<Row> {
    let size = field.file();
    let everyone = piton_and_peers(field);
    let takeovers = super::entries(&everyone, takeover);
    let mut finishes = super::entries(&everyone, move |server| finish(server, size));
    let complete = Contender::piton(COMPLETE, &["--durability=complete"]);
    finishes.insert(1, Entry::of(&complete, move |server| finish(server, size)));
    let concatenating: Vec<_> = everyone.into_iter().filter(Contender::concatenates).collect();
    let part = if field.quick { 8 * MIB } else { 64 * MIB };
    let joins = super::entries(&concatenating, move |server| concatenate(server, part));
    let below = |of, at_most| Goal { of, figure: Figure::Cost, at_most, times: Times::One };
    let ahead = Goal { of: PITON, figure: Figure::Cost, at_most: 0.5, times: Times::BestPeer };
    vec![
        Row::new("takeover", "takeover of a stalled PATCH: HEAD + PATCH", Unit::Millis, takeovers)
            .goal(below(PITON, 10.0)),
        Row::new(
            "finish-tus",
            format!("the last byte of {} MiB by tus", size / MIB),
            Unit::Millis,
            finishes,
        )
        .goal(below(PITON, 5.0))
        .goal(below(COMPLETE, 5.0)),
        Row::new(
            "concatenation",
            format!("concatenation of 4 parts of {} MiB", part / MIB),
            Unit::PerGib,
            joins,
        )
        .goal(ahead),
    ]
}

/// piton with its usual durability, which no peer has.
pub const COMPLETE: &str = "piton, --durability complete";

/// Lets a PATCH stall, and goes on from another connection.
fn takeover(server: &Server) -> Sample {
    let (mut old, mut newcomer) = (server.connect(), server.connect());
    let url = server.upload(&mut old, 64 * MIB);
    old.send(&server.patch(&url, 0, 64 * MIB));
    old.send_noise(MIB);
    thread::sleep(Duration::from_millis(100));
    let (since, head) = (Instant::now(), server.head(&url));
    let kept = loop {
        assert!(since.elapsed() < PATIENCE, "the upload cannot be taken over");
        let Some(offset) = newcomer.ask(&head).offset else { continue };
        let patch = server.patch_with(&url, offset as usize, &PIECE[..KIB]);
        if newcomer.ask(&patch).status == 204 {
            break offset;
        }
    };
    let cost = since.elapsed().as_secs_f64() * 1e3;
    drop(old);
    server.delete(&[url]);
    let remark = (kept < MIB as u64).then_some("what the stalled PATCH had sent is lost");
    Sample { remark, ..Sample::plain(cost) }
}

/// Sends all but the last byte, and measures that.
fn finish(server: &Server, size: usize) -> Sample {
    let mut conn = server.connect();
    let url = server.upload(&mut conn, size);
    server.send_on(&mut conn, &url, 0..size - 1, 64 * MIB);
    let since = Instant::now();
    assert_eq!(conn.ask(&server.patch_with(&url, size - 1, &PIECE[..1])).status, 204);
    let sample = Sample::plain(since.elapsed().as_secs_f64() * 1e3);
    server.delete(&[url]);
    sample
}

/// Makes four partial uploads, which is not counted, and one of them, which is.
fn concatenate(server: &Server, part: usize) -> Sample {
    let mut conn = server.connect();
    let parts = 0..4;
    let begin = format!("Upload-Concat: partial\r\nUpload-Length: {part}\r\n");
    let begin = server.create_with(&begin, &[]);
    let mut urls = Vec::new();
    for _ in parts.clone() {
        let url = created(conn.ask(&begin));
        server.send_on(&mut conn, &url, 0..part, part);
        urls.push(url);
    }
    let end = server.create_with(&format!("Upload-Concat: final;{}\r\n", urls.join(" ")), &[]);
    let (whole, mut url) = (part * parts.len(), String::new());
    let sample = server.cost(whole as f64 / GIB as f64, || {
        url = created(conn.ask(&end));
        // Whoever answers first and copies then is waited for.
        let head = server.head(&url);
        let since = Instant::now();
        while conn.ask(&head).offset != Some(whole as u64) {
            assert!(since.elapsed() < PATIENCE, "it does not end");
            thread::sleep(Duration::from_millis(1));
        }
    });
    urls.push(url);
    server.delete(&urls);
    sample
}
