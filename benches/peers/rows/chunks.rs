//! A file as numbered chunks, to its end, beside `cp`.

use std::{
    sync::atomic::{AtomicUsize, Ordering},
    thread,
    time::{Duration, Instant},
};

use serde_json::Value;

use super::{BARE, PITON, spans::COMPLETE};
use crate::{
    GIB, MIB,
    client::Conn,
    contender::{Contender, Field},
    floor,
    row::{Entry, Figure, Goal, Row, Times, Unit},
    server::{Sample, Server},
};

const CHUNK: usize = 8 * MIB;
const AT_ONCE: usize = 6;
const BUSY: u16 = 423;
/// After which a client asks again.
const AGAIN: Duration = Duration::from_millis(5);
const COPY: &str = "floor: cp";

pub fn rows(field: &Field) -> Vec<Row> {
    let size = field.file();
    let flow = move |server: &Server| whole(server, size);
    let wait = move |server: &Server| merge(server, size);
    let piton = Contender::piton(PITON, &[]);
    let bare = Contender::piton(BARE, &["--chunk-digest=none"]);
    let complete = Contender::piton(COMPLETE, &["--durability=complete"]);
    let copy = Entry::floor(COPY, move |folder| floor::copy(folder, size));
    let flows = [&piton, &bare].map(|contender| Entry::of(contender, flow).above(COPY));
    let waits = [&piton, &complete].map(|contender| Entry::of(contender, wait)).into();
    let mib = size / MIB;
    let title = format!("{mib} MiB in chunks of 8 MiB, {AT_ONCE} at once, with the merge");
    let flows = std::iter::once(copy).chain(flows).collect();
    let below = |of| Goal { of, figure: Figure::Cost, at_most: 100.0, times: Times::One };
    vec![
        Row::new("chunks", title, Unit::PerGib, flows),
        Row::new("finish-chunks", format!("the merge of {mib} MiB"), Unit::Millis, waits)
            .goal(below(PITON))
            .goal(below(COMPLETE)),
    ]
}

/// Chunks and merge; to remove the file again is not counted.
fn whole(server: &Server, size: usize) -> Sample {
    let (name, mut url) = (name(), String::new());
    let sample = server.cost(size as f64 / GIB as f64, || {
        send(server, &name, size);
        url = finish(&mut server.connect(), &name);
    });
    server.delete(&[url]);
    sample
}

/// The merge alone.
fn merge(server: &Server, size: usize) -> Sample {
    let name = name();
    send(server, &name, size);
    let mut conn = server.connect();
    let since = Instant::now();
    let url = finish(&mut conn, &name);
    let sample = Sample::plain(since.elapsed().as_secs_f64() * 1e3);
    server.delete(&[url]);
    sample
}

/// A name that no upload had.
fn name() -> String {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    format!("{:016x}", NEXT.fetch_add(1, Ordering::Relaxed))
}

fn send(server: &Server, name: &str, size: usize) {
    let (total, next) = (size / CHUNK, AtomicUsize::new(0));
    server.at_once(AT_ONCE, |conn| {
        loop {
            let index = next.fetch_add(1, Ordering::Relaxed);
            if index >= total {
                return;
            }
            let head = format!(
                "PUT /upload?hash={name}&filename=a.bin&index={index}&total={total}&size={size}\
                 &chunk_size={CHUNK} HTTP/1.1\r\nHost: piton\r\nContent-Length: {CHUNK}\r\n\
                 Content-Type: application/octet-stream\r\n\r\n"
            );
            let mut send = || {
                conn.send(head.as_bytes());
                conn.send_noise(CHUNK);
                conn.answer(true)
            };
            let mut answer = send();
            // A disk that others keep busy: any client tries again.
            while answer.status == BUSY {
                thread::sleep(AGAIN);
                answer = send();
            }
            assert_eq!(answer.status, 201, "{}", String::from_utf8_lossy(&answer.body));
        }
    });
}

/// The path of the file.
fn finish(conn: &mut Conn, name: &str) -> String {
    let body = format!("{{\"hash\":\"{name}\",\"filename\":\"a.bin\"}}");
    let request = format!(
        "POST /merge HTTP/1.1\r\nHost: piton\r\nContent-Type: application/json\r\n\
         Content-Length: {}\r\n\r\n{body}",
        body.len(),
    );
    loop {
        let answer = conn.ask(request.as_bytes());
        match answer.status {
            200 | 201 => {
                let answer: Value = serde_json::from_slice(&answer.body).unwrap();
                return answer["url"].as_str().unwrap().to_owned();
            }
            202 | BUSY => thread::sleep(AGAIN),
            other => panic!("{other}: {}", String::from_utf8_lossy(&answer.body)),
        }
    }
}
