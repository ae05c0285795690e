//! Many requests: how many in a second, and the CPU of each.

use std::{
    thread,
    time::{Duration, Instant},
};

use super::{PITON, everyone, piton_and_peers};
use crate::{
    GIB, KIB,
    client::{Conn, PIECE, created},
    contender::{Contender, Field, HYPER},
    row::{Entry, Figure, Goal, Row, Times, Unit},
    server::{Sample, Server},
};

pub fn rows(field: &Field) -> Vec<Row> {
    let span = span(field);
    let row = |id, title: &str, contenders, work: Work, connections| {
        let entries = entries(contenders, move |server| work(server, connections, span));
        Row::new(id, title, Unit::Rate, entries)
    };
    let ahead = |row: Row| {
        let (figure, at_most) = (Figure::Cost, 1.0 / 1.3);
        row.goal(Goal { of: PITON, figure, at_most, times: Times::BestPeer })
    };
    let (all, lean) = (everyone(field), piton_and_peers(field));
    vec![
        ahead(row("patches-64k", "PATCHes of 64 KiB on one upload", &all, patches, 1)),
        ahead(row("small-1", "create + PATCH of 1 KiB, 1 connection", &all, two_steps, 1)),
        ahead(row("small-8", "create + PATCH of 1 KiB, 8 connections", &all, two_steps, 8)),
        ahead(row("with-1k", "creation-with-upload of 1 KiB, 8 connections", &all, with_1k, 8)),
        row("with-64k", "creation-with-upload of 64 KiB, 8 connections", &all, with_64k, 8),
        row("create", "create only, 8 connections", &lean, creates, 8),
        ahead(row("head", "HEAD of one upload, 4 connections", &lean, heads, 4)),
    ]
}

type Work = fn(&Server, usize, Duration) -> Sample;

/// How long one rate is looked at.
pub const fn span(field: &Field) -> Duration {
    Duration::from_millis(if field.quick { 300 } else { 1_000 })
}

fn entries(
    contenders: &[Contender],
    work: impl Fn(&Server) -> Sample + Clone + 'static,
) -> Vec<Entry> {
    let floor = Entry::of(&Contender::hyper(), work.clone());
    let all = super::entries(contenders, work)
        .into_iter()
        .map(|entry| if entry.name.starts_with(PITON) { entry.above(HYPER) } else { entry });
    std::iter::once(floor).chain(all).collect()
}

/// Has each connection do `once` again and again; what one time costs.
///
/// `begin` and `end`, on each connection, are not counted.
pub fn rate<S: Send>(
    server: &Server,
    connections: usize,
    span: Duration,
    begin: impl Fn(&mut Conn) -> S + Sync,
    once: impl Fn(&mut Conn, &mut S) + Sync,
    end: impl Fn(&mut Conn, S),
) -> Sample {
    let mut hands: Vec<(Conn, S)> = (0..connections)
        .map(|_| {
            let mut conn = server.connect();
            let state = begin(&mut conn);
            (conn, state)
        })
        .collect();
    let work = |(conn, state): &mut (Conn, S)| {
        let (since, mut count) = (Instant::now(), 0_usize);
        while since.elapsed() < span {
            once(conn, state);
            count += 1;
        }
        count
    };
    let (work, mut count) = (&work, 0);
    let sample = server.cost(1.0, || {
        count = thread::scope(|scope| {
            let hands: Vec<_> =
                hands.iter_mut().map(|hand| scope.spawn(move || work(hand))).collect();
            hands.into_iter().map(|hand| hand.join().unwrap()).sum()
        });
    });
    for (mut conn, state) in hands {
        end(&mut conn, state);
    }
    let share = |value: f64| value / count as f64;
    let Sample { cost, cpu, client, remark } = sample;
    Sample { cost: share(cost), cpu: cpu.map(share), client: client.map(share), remark }
}

/// One request again and again.
pub fn repeat(server: &Server, connections: usize, span: Duration, request: &[u8]) -> Sample {
    let ask = |conn: &mut Conn, (): &mut ()| {
        let answer = conn.ask(request);
        assert!((200..300).contains(&answer.status), "{}", answer.status);
    };
    rate(server, connections, span, |_| (), ask, |_, ()| ())
}

fn patches(server: &Server, connections: usize, span: Duration) -> Sample {
    let body = &PIECE[..64 * KIB];
    let begin = |conn: &mut Conn| (server.upload(conn, 64 * GIB), 0);
    let once = |conn: &mut Conn, (url, offset): &mut (String, usize)| {
        let answer = conn.ask(&server.patch_with(url, *offset, body));
        *offset += body.len();
        assert_eq!((answer.status, answer.offset), (204, Some(*offset as u64)));
    };
    rate(server, connections, span, begin, once, |_, (url, _)| server.delete(&[url]))
}

/// Creates an upload and sends its bytes in a request of its own.
pub fn two_steps(server: &Server, connections: usize, span: Duration) -> Sample {
    let (create, body) = (server.create(KIB), &PIECE[..KIB]);
    let once = |conn: &mut Conn, (): &mut ()| {
        let url = created(conn.ask(&create));
        assert_eq!(conn.ask(&server.patch_with(&url, 0, body)).status, 204);
    };
    rate(server, connections, span, |_| (), once, |_, ()| ())
}

/// Creates uploads that come whole with their creation.
pub fn with_1k(server: &Server, connections: usize, span: Duration) -> Sample {
    with(server, connections, span, KIB)
}

fn with_64k(server: &Server, connections: usize, span: Duration) -> Sample {
    with(server, connections, span, 64 * KIB)
}

fn with(server: &Server, connections: usize, span: Duration, size: usize) -> Sample {
    let request = server.create_with(&format!("Upload-Length: {size}\r\n"), &PIECE[..size]);
    repeat(server, connections, span, &request)
}

fn creates(server: &Server, connections: usize, span: Duration) -> Sample {
    repeat(server, connections, span, &server.create(KIB))
}

fn heads(server: &Server, connections: usize, span: Duration) -> Sample {
    let url = server.upload(&mut server.connect(), KIB);
    repeat(server, connections, span, &server.head(&url))
}
