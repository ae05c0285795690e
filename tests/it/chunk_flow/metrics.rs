//! `/healthz` and `/metrics`.

use std::{collections::BTreeMap, thread};

use crate::{
    chunks::Parts,
    client::Request,
    server::{Server, until},
    tus::{self, Upload, append},
};

/// Every sample by its name and labels; the text must be well-formed.
#[track_caller]
fn samples(server: &Server) -> BTreeMap<String, f64> {
    let answer = server.ask(&Request::new("GET", "/metrics")).expect(200);
    let media_type = answer.needs("Content-Type");
    assert!(media_type.starts_with("application/openmetrics-text; version=1.0.0"), "{media_type}");
    let text = String::from_utf8(answer.body).unwrap();
    assert!(text.ends_with("# EOF\n"), "{text}");
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    let samples: Vec<_> = lines.map(|line| line.rsplit_once(' ').unwrap()).collect();
    assert!(samples.iter().all(|(name, _)| name.starts_with("piton_")), "{text}");
    samples.iter().map(|(name, value)| ((*name).to_owned(), value.parse().unwrap())).collect()
}

#[track_caller]
fn sample(server: &Server, name: &str) -> f64 {
    let all = samples(server);
    *all.get(name).unwrap_or_else(|| panic!("no {name} among {all:#?}"))
}

#[track_caller]
fn soon(server: &Server, name: &str, value: f64) {
    until(
        || samples(server).get(name) == Some(&value),
        || format!("{name} is not {value}: {:#?}", samples(server)),
    );
}

#[track_caller]
fn is(server: &Server, name: &str, value: f64) {
    let found = sample(server, name);
    assert!((found - value).abs() < f64::EPSILON, "{name} is {found}, not {value}");
}

fn requests(dialect: &str, method: &str, status: &str) -> String {
    let labels = format!("dialect=\"{dialect}\",method=\"{method}\",status=\"{status}\"");
    format!("piton_requests_total{{{labels}}}")
}

// rows: CHUNK-LIM-05
// spec: CORE-13, CHUNK-36
#[test]
fn what_happens_is_counted() {
    let server = Server::with(&["--memory-budget=4MiB"]);
    server.ask(&Request::new("GET", "/healthz")).expect(200);
    let parts = Parts::hello();
    parts.send_all(&server);
    server.ask(&parts.put_bytes(0, b"longer than that")).refused(413);
    parts.merge(&server).expect(201);
    let upload = Upload::new(&server, 6);
    upload.patch(0, b"hello ").expect(204);
    server.ask(&tus::request("BREW", "/files/")).refused(405);

    is(&server, &requests("chunks", "POST", "2xx"), 3.0);
    is(&server, &requests("chunks", "POST", "4xx"), 1.0);
    is(&server, &requests("tus", "PATCH", "2xx"), 1.0);
    is(&server, &requests("tus", "other", "4xx"), 1.0);
    is(&server, "piton_uploads_total{event=\"begun\"}", 2.0);
    is(&server, "piton_uploads_total{event=\"finished\"}", 2.0);
    is(&server, "piton_merge_seconds_count{outcome=\"merged\"}", 1.0);
    is(&server, "piton_buffers_max", 8.0);
    is(&server, "piton_queue_length", 0.0);
    let merge_body = u32::try_from(parts.merge_body().to_string().len()).unwrap();
    assert!(sample(&server, "piton_received_bytes_total") >= 18.0 + f64::from(merge_body));
    soon(&server, "piton_connections", 1.0);
    let idle = server.connect();
    soon(&server, "piton_connections", 2.0);
    drop(idle);
    soon(&server, "piton_connections", 1.0);
}

// spec: CHUNK-36: a stranger's words are no labels.
#[test]
fn the_page_does_not_grow() {
    let server = Server::start();
    let ask = |round: usize| {
        for target in ["/x", "/upload/x", "/files/x", "/metrics/x"] {
            let method = format!("M{round}");
            server.ask(&Request::new(&method, &format!("{target}{round}")));
        }
    };
    ask(0);
    samples(&server);
    let before = samples(&server).len();
    (1..20).for_each(ask);
    assert_eq!(samples(&server).len(), before);
}

// rows: CHUNK-LIM-05: every place, every buffer and the queue are taken.
// spec: CORE-13, CHUNK-36
#[test]
fn health_and_metrics_are_told_under_load() {
    let options = ["--max-uploads-per-ip=12", "--memory-budget=4MiB", "--chunk-size=2MiB"];
    let server = Server::with(&options);
    let file = |n: u32| Parts::new(&format!("{n:08x}"), "a.bin", 1 << 20, vec![7; 1 << 20]);
    let mut stalled: Vec<_> = (0..16)
        .map(|n| {
            let mut request = file(n).put(0);
            request.body.truncate(600_000);
            server.begin(&request)
        })
        .collect();
    soon(&server, "piton_queue_length", 4.0);
    // Whoever is silent gives its buffer back.
    let mut sent = 600_000;
    while sample(&server, "piton_buffers") < 1.0 {
        for conn in &mut stalled {
            conn.raw([7]);
        }
        sent += 1;
        assert!(sent < 650_000);
    }
    server.ask(&Request::new("GET", "/healthz")).expect(200);
    server.ask(&Request::new("HEAD", "/metrics")).expect(200);
    // All at once: who has a turn is not said by the order in which they connected.
    let rest = vec![7; (1 << 20) - sent];
    thread::scope(|scope| {
        for conn in &mut stalled {
            scope.spawn(|| {
                conn.raw(&rest);
                conn.answer("POST").expect(201);
            });
        }
    });
    soon(&server, "piton_queue_length", 0.0);
    soon(&server, "piton_buffers", 0.0);
}

// spec: CHUNK-36: uploads that expire, and requests that nobody answers.
#[test]
fn what_ends_early_is_counted() {
    let server = Server::with(&["--expire-after=5s", "--reap-every=100ms"]);
    let upload = Upload::new(&server, 12);
    let mut stalled = server.begin(&append(&upload.url, 0).announcing(12));
    // A reset takes along what nobody has read.
    upload.takes(&mut stalled, b"hello ", 12);
    stalled.reset();
    soon(&server, &requests("tus", "PATCH", "none"), 1.0);
    soon(&server, "piton_uploads_total{event=\"expired\"}", 1.0);
}

// spec: CHUNK-36
#[test]
fn an_operator_may_hide_it() {
    let server = Server::with(&["--no-metrics"]);
    server.ask(&Request::new("GET", "/metrics")).refused_as(404, "not-found");
    let shown = Server::start();
    assert_eq!(
        shown.ask(&Request::new("POST", "/metrics")).refused(405).needs("Allow"),
        "GET, HEAD"
    );
}
