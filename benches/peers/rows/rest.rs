//! What takes room or time although nothing happens: connections, stalled uploads, a start.

use std::{thread, time::Duration};

use super::{PITON, piton_and_peers};
use crate::{
    KIB, MIB,
    chart::grouped,
    client::Conn,
    contender::{Contender, Field},
    row::{Entry, Figure, Goal, Row, Times, Unit},
    server::{Sample, Server, fresh},
};

/// After which a server that gives memory back has done so.
const SETTLED: Duration = Duration::from_secs(2);

pub fn rows(field: &Field) -> Vec<Row> {
    let below = |at_most| Goal { of: PITON, figure: Figure::Cost, at_most, times: Times::One };
    let counts: &[usize] = if field.quick { &[1_000] } else { &[1_000, 100_000] };
    let mut rows = vec![
        Row::new("idle", "memory of an idle connection", Unit::Kib, fresh_each(field, idle))
            .cold()
            .goal(below(20.0)),
        Row::new(
            "stalled",
            "memory of an upload that stalls after 2 MiB",
            Unit::Kib,
            fresh_each(field, stalled),
        )
        .cold()
        .goal(below(300.0)),
    ];
    for &count in counts {
        let all = piton_and_peers(field);
        let entries = all.iter().map(|contender| start(contender, count)).collect();
        let id = if count == 1_000 { "start-1k" } else { "start-100k" };
        let title = format!("start with {} uploads at rest, to the first answer", grouped(count));
        rows.push(Row::new(id, title, Unit::Millis, entries).goal(below(1_000.0)));
    }
    rows
}

/// Memory is taken once: each round has a server of its own.
fn fresh_each(field: &Field, work: fn(&Server) -> f64) -> Vec<Entry> {
    let entry = |contender: Contender| {
        Entry::named(&contender.name.clone(), move |folder| {
            let folder = folder.to_owned();
            Box::new(move || {
                let server = contender.start(&folder);
                let kib = work(&server);
                server.remove();
                Sample::plain(kib)
            })
        })
    };
    piton_and_peers(field).into_iter().map(entry).collect()
}

/// KiB for each of 1,000 connections that asked once.
fn idle(server: &Server) -> f64 {
    const COUNT: usize = 1_000;
    let options = server.options();
    let open = || {
        let mut conn = server.connect();
        conn.ask(&options);
        conn
    };
    let _first: Vec<Conn> = (0..16).map(|_| open()).collect();
    let before = server.memory();
    let _conns: Vec<Conn> = (0..COUNT).map(|_| open()).collect();
    thread::sleep(SETTLED);
    (server.memory() - before) / COUNT as f64
}

/// KiB for each of 100 uploads that came fast, and then no more.
fn stalled(server: &Server) -> f64 {
    const COUNT: usize = 100;
    let stall = || {
        let mut conn = server.connect();
        let url = server.upload(&mut conn, 64 * MIB);
        conn.send(&server.patch(&url, 0, 64 * MIB));
        conn.send_noise(2 * MIB);
        conn
    };
    // What a server takes for its first upload it does not take for each.
    server.send(&mut server.connect(), 8 * MIB, 8 * MIB);
    let before = server.memory();
    let _conns: Vec<Conn> = (0..COUNT).map(|_| stall()).collect();
    thread::sleep(SETTLED);
    (server.memory() - before) / COUNT as f64
}

/// Milliseconds from the start of the process to its first answer.
fn start(contender: &Contender, count: usize) -> Entry {
    let contender = contender.clone();
    Entry::named(&contender.name.clone(), move |folder| {
        let data = fresh(folder);
        let (server, _) = contender.start_on(&data);
        fill(&server, count);
        drop(server);
        Box::new(move || {
            let (server, span) = contender.start_on(&data);
            drop(server);
            Sample::plain(span.as_secs_f64() * 1e3)
        })
    })
}

/// Begins that many uploads.
pub fn fill(server: &Server, count: usize) {
    const AT_ONCE: usize = 8;
    let create = server.create(KIB);
    server.at_once(AT_ONCE, |conn| {
        for _ in 0..count.div_ceil(AT_ONCE) {
            assert_eq!(conn.ask(&create).status, 201);
        }
    });
}
