//! Growth: what one request costs when there is much of something else.

use std::time::Instant;

use crate::{
    GIB, KIB,
    client::{Conn, PIECE, created},
    contender::{Contender, Field},
    rows::PITON,
    server::Server,
};

/// How one request's time grows with something.
#[derive(Debug)]
pub struct Curves {
    /// The name of its chart.
    pub id: &'static str,
    /// What there is more and more of.
    pub of: &'static str,
    /// The names of lines, and their points: how many, and microseconds.
    pub lines: Vec<(&'static str, Vec<(usize, f64)>)>,
}

impl Curves {
    fn new(id: &'static str, of: &'static str, names: &[&'static str]) -> Self {
        Self { id, of, lines: names.iter().map(|name| (*name, Vec::new())).collect() }
    }

    fn add(&mut self, count: usize, values: &[f64]) {
        print!("{:<28} {count:>9}", self.of);
        for ((name, line), value) in self.lines.iter_mut().zip(values) {
            line.push((count, *value));
            print!("   {name} {value:.0} µs");
        }
        println!();
    }

    /// The greatest value of a line as a multiple of its first.
    pub fn growth(line: &[(usize, f64)]) -> f64 {
        let most = line.iter().map(|(_, value)| *value).max_by(f64::total_cmp);
        most.unwrap_or_default() / line.first().map_or(1.0, |(_, value)| *value)
    }
}

/// All of them; uploads at rest up to `most`.
pub fn curves(field: &Field, most: usize) -> Vec<Curves> {
    println!("one request on one connection: the least of three medians");
    let all = [uploads(field, most), chunks(field), connections(field)];
    all.into()
}

/// With uploads at rest.
fn uploads(field: &Field, most: usize) -> Curves {
    let most = if field.quick { most.min(1_000) } else { most };
    let server = Contender::piton(PITON, &[]).start(field.folder());
    let names = ["HEAD of any of them", "create + PATCH of 1 KiB"];
    let mut curves = Curves::new("growth-uploads", "uploads at rest", &names);
    let (create, mut conn, mut urls) = (server.create(KIB), server.connect(), Vec::new());
    let mut count = 1;
    while count <= most {
        while urls.len() < count {
            urls.push(created(conn.ask(&create)));
        }
        let mut next = 0;
        let head = median(|| {
            // Far from the one before.
            next = (next + 7_919) % urls.len();
            assert_eq!(conn.ask(&server.head(&urls[next])).status, 200);
        });
        let mut made = Vec::new();
        let small = median(|| {
            let url = created(conn.ask(&create));
            assert_eq!(conn.ask(&server.patch_with(&url, 0, &PIECE[..KIB])).status, 204);
            made.push(url);
        });
        server.delete(&made);
        curves.add(count, &[head, small]);
        count *= 10;
    }
    curves
}

/// With sealed chunks in the upload.
fn chunks(field: &Field) -> Curves {
    const CHUNK: usize = 4 * KIB;
    const COUNTS: [usize; 7] = [1, 8, 64, 512, 4_096, 32_768, 131_072];
    let server = Contender::piton(PITON, &["--chunk-size=4KiB"]).start(field.folder());
    let names = ["PATCH of one chunk", "HEAD"];
    let mut curves = Curves::new("growth-chunks", "chunks in the upload", &names);
    let mut conn = server.connect();
    let url = server.upload(&mut conn, 64 * GIB);
    let mut at = 0;
    let body = &PIECE[..CHUNK];
    let counts = if field.quick { &COUNTS[..5] } else { &COUNTS };
    for &count in counts {
        if at < count * CHUNK {
            server.send_on(&mut conn, &url, at..count * CHUNK, GIB);
            at = count * CHUNK;
        }
        let patch = median(|| {
            assert_eq!(conn.ask(&server.patch_with(&url, at, body)).status, 204);
            at += body.len();
        });
        let head = median(|| assert_eq!(conn.ask(&server.head(&url)).status, 200));
        curves.add(count, &[patch, head]);
    }
    server.delete(&[url]);
    curves
}

/// With open connections.
fn connections(field: &Field) -> Curves {
    let server = Contender::piton(PITON, &["--max-connections=20000"]).start(field.folder());
    let names = ["HEAD", "creation-with-upload of 1 KiB"];
    let mut curves = Curves::new("growth-connections", "other connections", &names);
    let mut conn = server.connect();
    let url = server.upload(&mut conn, KIB);
    let head = server.head(&url);
    let with = server.create_with(&format!("Upload-Length: {KIB}\r\n"), &PIECE[..KIB]);
    let mut others: Vec<Conn> = Vec::new();
    for count in [1, 10, 100, 1_000, 10_000] {
        while others.len() < count {
            others.push(open(&server, &head));
        }
        let asked = median(|| assert_eq!(conn.ask(&head).status, 200));
        let created = median(|| assert_eq!(conn.ask(&with).status, 201));
        curves.add(count, &[asked, created]);
    }
    curves
}

fn open(server: &Server, request: &[u8]) -> Conn {
    let mut conn = server.connect();
    conn.ask(request);
    conn
}

/// Microseconds: of three medians the least.
fn median(mut once: impl FnMut()) -> f64 {
    const TIMES: usize = 200;
    let mut medians = [(); 3].map(|()| {
        let mut times = [(); TIMES].map(|()| {
            let since = Instant::now();
            once();
            since.elapsed().as_secs_f64() * 1e6
        });
        times.sort_by(f64::total_cmp);
        times[TIMES / 2]
    });
    medians.sort_by(f64::total_cmp);
    medians[0]
}
