//! Chunk flow: delete and limits (section 25 of the page).

use std::{
    fs,
    net::{IpAddr, Ipv4Addr},
    thread,
    time::{Duration, Instant},
};

use serde_json::json;

use crate::{
    case::{Case, case},
    judge::Judge,
    parts::{Parts, has_members, is_no_method, put, soon, tmp_is_empty},
    random::Random,
    running::Running,
    server::{Http, Server},
    several::PAUSES,
    stop::{At, Step, Stop, breach, ensure, same},
    wire::{Request, h1::Conn},
};

pub(crate) const CASES: &[Case] = &[
    case("CHUNK-DEL-01", it_forgets_and_can_be_repeated),
    case("CHUNK-DEL-02", a_merged_file_goes_too),
    case("CHUNK-DEL-03", a_running_chunk_does_not_come_back),
    case("CHUNK-DEL-04", it_must_be_clear_what_goes),
    // Over HTTP/2 the number of streams is the limit.
    case("CHUNK-LIM-01", a_third_chunk_waits_for_its_turn).http1(),
    case("CHUNK-LIM-02", files_and_numbers_have_limits),
    case("CHUNK-LIM-03", odd_requests_are_answered_or_ignored),
    case("CHUNK-LIM-04", parts_of_forms_are_never_collected).alone(),
    case("CHUNK-LIM-05", health_and_metrics_are_told).alone(),
];

fn is_none(server: &Server, parts: &Parts) -> Step {
    has_members(&parts.status(server)?, &json!({"state": "none", "uploaded": []}))
}

fn it_forgets_and_can_be_repeated(judge: &Judge<'_>) -> Step {
    let (server, parts) = (judge.server, Parts::hello());
    parts.delete(server)?.expect(204).at("unknown")?;
    parts.send(server, 0)?;
    let upload = parts.as_upload(server)?;
    for time in ["once", "again"] {
        let answer = parts.delete(server)?.expect(204).at(time)?;
        answer.ensure(answer.body.is_empty(), "204 with a body")?;
        is_none(server, &parts).at(time)?;
        soon("the disk is not freed", || Ok(upload.parts().is_empty()))?;
    }
    begins_anew(server, &parts)
}

fn begins_anew(server: &Server, parts: &Parts) -> Step {
    let answer = parts.send(server, 0)?.json()?;
    same("received", &answer["received"], &json!(1))?;
    same("uploaded", &parts.uploaded(server)?, &vec![0])
}

fn a_merged_file_goes_too(judge: &Judge<'_>) -> Step {
    merged_and_deleted(judge.server)?;
    let server = judge.then_start(&[])?;
    let (parts, url) = merged_and_deleted(&server)?;
    server.restart()?;
    is_gone(&server, &parts, &url).at("after a restart")?;
    let finished = server.finished().unwrap_or_default();
    ensure(finished.is_empty(), format_args!("files/ still has {finished:?}"))
}

fn merged_and_deleted(server: &Server) -> Step<(Parts, String)> {
    let parts = Parts::hello();
    parts.send_all(server)?;
    let merged = parts.merge(server)?.expect(201)?;
    parts.is_merged(server, &merged)?;
    let url = server.resolve(merged.json()?["url"].as_str().unwrap_or_default());
    parts.delete(server)?.expect(204)?;
    is_gone(server, &parts, &url)?;
    Ok((parts, url))
}

fn is_gone(server: &Server, parts: &Parts, url: &str) -> Step {
    server.ask(&Request::new("GET", url))?.expect(404)?;
    is_none(server, parts)
}

fn a_running_chunk_does_not_come_back(judge: &Judge<'_>) -> Step {
    do_not_come_back(judge.server)?;
    let server = judge.then_start(&[])?;
    do_not_come_back(&server)?;
    tmp_is_empty(&server)
}

/// A PUT that comes behind the DELETE begins the upload anew, which is right.
fn do_not_come_back(server: &Server) -> Step {
    for pause in PAUSES {
        if deleted_under_way(server, pause)? {
            return Ok(());
        }
    }
    Err(breach("a PUT that ran is answered 201 although its upload was deleted"))
}

/// Was none of the PUTs taken?
fn deleted_under_way(server: &Server, pause: Duration) -> Step<bool> {
    let parts = Parts::new("a.bin", 6, "hello world!and more");
    parts.send(server, 1)?;
    let upload = parts.as_upload(server)?;
    let requests = [parts.put(server, 0)?, parts.put_form(server, 2)?, parts.put(server, 3)?];
    let begin =
        |request: &Request| Running::heard(server, request, request.body.len().saturating_sub(1));
    let running = requests.iter().map(begin).collect::<Step<Vec<_>>>()?;
    // For the heads of HTTP/2, and for the fields of the form, which name the upload.
    thread::sleep(pause);
    parts.delete(server)?.expect(204)?;
    let mut taken = false;
    for (nth, mut chunk) in running.into_iter().enumerate() {
        // The others were heard before.
        let may_be_late = nth == 1 || server.http() == Http::Two;
        chunk.send_rest();
        // A server may also hang up on a request whose upload is gone.
        match chunk.answer() {
            Ok(answer) if answer.status == 201 && may_be_late => taken = true,
            Ok(answer) => _ = answer.refused_somehow().at("a PUT that ran")?,
            Err(Stop::Breach(_)) => {}
            Err(other) => return Err(other),
        }
    }
    if taken {
        return Ok(false);
    }
    is_none(server, &parts)?;
    soon("something is left", || Ok(upload.parts().is_empty()))?;
    begins_anew(server, &parts).at("the same hash anew").map(|()| true)
}

fn it_must_be_clear_what_goes(judge: &Judge<'_>) -> Step {
    let (server, first) = (judge.server, Parts::hello());
    let second = first.clone().with_name(Some("b.bin"));
    first.send(server, 0)?;
    second.send(server, 0)?;
    let delete =
        |query: &str| server.ask(&Request::new("DELETE", &server.at(&format!("/upload{query}"))?));
    let both = |step: &dyn Fn() -> Step| first.stays(server, || second.stays(server, step));
    both(&|| {
        for query in [
            "",
            "?hash=",
            "?hash=..",
            "?hash=*",
            "?hash=%2E%2E%2F",
            "?hash=%2A",
            "?hash=zzzzzzzz",
            "?hash=0123456",
            "?filename=a.bin",
        ] {
            delete(query)?.expect(400).at(query)?.is_problem()?;
        }
        let nameless = delete(&format!("?hash={}", first.hash))?;
        nameless.refused_as(409, "ambiguous-upload").map(|_| ())
    })?;
    first.delete(server)?.expect(204)?;
    is_none(server, &first)?;
    same("uploaded", &second.uploaded(server)?, &vec![0]).at("the upload of the other name")
}

/// Begins a chunk of a file of its own, which has its turn before anybody else comes, and leaves it
/// unfinished.
fn stalled(server: &Server) -> Step<Running> {
    Running::heard(server, &Parts::hello().put(server, 0)?, 3)
}

fn ends(mut running: Running) -> Step {
    running.send_rest();
    running.answer()?.expect(201).map(|_| ())
}

fn a_third_chunk_waits_for_its_turn(judge: &Judge<'_>) -> Step {
    let server = judge.start(&["--max-uploads-per-ip=2", "--queue-wait=8s"])?;
    let (first, second) = (stalled(&server)?, stalled(&server)?);
    let begin = |request: Request| Running::begin(&server, &request, request.body.len());
    let mut third = begin(Parts::hello().put(&server, 0)?)?;
    let mut fourth = begin(Parts::hello().put_form(&server, 0)?)?;
    for (nth, waiting) in [("third", &mut third), ("fourth", &mut fourth)] {
        let waits = waiting.silent_for(Duration::from_millis(200))?;
        ensure(waits, format_args!("the {nth} upload is not made to wait"))?;
    }
    ends(second).at("the second")?;
    third.answer()?.expect(201).at("the third, once the second has ended")?;
    fourth.answer()?.expect(201).at("the fourth, once the third has ended")?;
    let second = stalled(&server)?;
    let since = Instant::now();
    let waiting = begin(Parts::hello().put(&server, 0)?)?;
    another_address(&server)?;
    let answer = waiting.answer()?.refused_as(429, "too-many-requests")?;
    let waited = since.elapsed();
    let after = answer.needs("Retry-After")?;
    let seconds = after.parse::<u32>().is_ok_and(|seconds| seconds > 0);
    answer.ensure(seconds, format_args!("Retry-After is {after:?}"))?;
    let what = format!("429 after {waited:?} of 8 s");
    answer.ensure(waited >= Duration::from_millis(7500), what)?;
    ends(first)?;
    ends(second)?;
    Parts::hello().send(&server, 0).map(|_| ())
}

/// A client of another address is served at once.
fn another_address(server: &Server) -> Step {
    let other = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 2));
    // Not every system has more than one address of its own.
    let Ok(mut connection) = Conn::open_from(other, server.address(), server.host()) else {
        return Ok(());
    };
    let since = Instant::now();
    connection.ask(&Parts::hello().put(server, 0)?)?.expect(201).at("another address")?;
    let what = format!("another address waits for {:?}", since.elapsed());
    ensure(since.elapsed() < Duration::from_secs(4), what)
}

fn files_and_numbers_have_limits(judge: &Judge<'_>) -> Step {
    let server = judge.server;
    let asked = |size: u64, chunk_size: u64, total: u64| {
        let fields = [
            ("hash", Random::fresh().hash()),
            ("index", "0".to_owned()),
            ("total", total.to_string()),
            ("size", size.to_string()),
            ("chunk_size", chunk_size.to_string()),
        ];
        let fields = fields.map(|(name, value)| (name.to_owned(), value));
        server.ask(&put(server, &fields, b"x")?)
    };
    asked(10_001, 1, 10_001)?.expect(400).at("total 10,001")?.is_problem()?;
    asked(1, (1 << 31) + 1, 1)?.expect(400).at("chunk_size 2^31 + 1")?.is_problem()?;
    asked(1, 1 << 31, 1)?.expect(201).at("chunk_size 2^31")?;
    asked(10_000, 1, 10_000)?.expect(201).at("total 10,000, chunk_size 1")?;
    asked(3, 1, 3)?.expect(201).at("chunk_size 1")?;
    let server = judge.then_start(&["--max-size=11"])?;
    let parts = Parts::hello();
    for request in [parts.put(&server, 0)?, parts.put(&server, 1)?, parts.put_form(&server, 0)?] {
        server.ask(&request)?.expect(413).at("--max-size=11")?.is_problem()?;
        is_none(&server, &parts)?;
    }
    let stored = server.stored();
    ensure(stored.is_empty(), format_args!("refused, and yet there is {:?}", stored.keys()))?;
    tmp_is_empty(&server)?;
    Parts::new("a.bin", 6, "hello world").send_all(&server).at("11 bytes")
}

fn odd_requests_are_answered_or_ignored(judge: &Judge<'_>) -> Step {
    let (server, parts) = (judge.server, Parts::hello());
    let long = format!("{}&x={}", parts.name(), "y".repeat(16 * 1024));
    let target = |path: &str| server.at(path);
    for (method, path) in
        [("GET", "/upload/status"), ("GET", "/upload/check"), ("DELETE", "/upload")]
    {
        let asked = Request::new(method, &target(&format!("{path}?{long}&index=0"))?);
        server.ask(&asked)?.expect_one(&[400, 414]).at(format_args!("16 kB, {method} {path}"))?;
    }
    let mut stray = parts.put(server, 0)?;
    stray.target.push_str("&unknown=1&another");
    server.ask(&stray)?.expect(201).at("unknown parameters")?;
    for path in ["/upload/x", "/merge/x", "/upload/status/x"] {
        let answer = server.ask(&Request::new("GET", &target(path)?))?.expect(404);
        answer.at(path)?.is_problem()?;
    }
    for (method, path) in [
        ("GET", "/upload"),
        ("PATCH", "/upload"),
        ("DELETE", "/merge"),
        ("PUT", "/merge"),
        ("POST", "/upload/status"),
        ("DELETE", "/upload/check"),
    ] {
        let answer = server.ask(&Request::new(method, &target(path)?))?;
        is_no_method(answer).at(format_args!("{method} {path}"))?;
    }
    Ok(())
}

/// Most memory that the process ever had, in bytes.
fn peak_memory(server: &Server) -> Step<u64> {
    let none = || Stop::Skip("the memory of a process is not told here".to_owned());
    let status = fs::read_to_string(format!("/proc/{}/status", server.pid()?));
    let status = status.map_err(|_| none())?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let peak = line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<u64>().ok());
    Ok(peak.ok_or_else(none)? * 1024)
}

// 100 forms of 64 MiB are on their way at once: all of them begin with 1 MiB, one comes whole.
fn parts_of_forms_are_never_collected(judge: &Judge<'_>) -> Step {
    const PART: usize = 64 << 20;
    let server = judge.start(&["--durability=none"])?;
    let bytes = Random::fresh().bytes(PART);
    let before = peak_memory(&server)?;
    let parts = Parts::new("a.bin", PART, bytes);
    let mut running = Vec::new();
    let whole = parts.put_form(&server, 0)?;
    for _ in 0..99 {
        // The hash is the only thing that differs, and it has one length.
        let mut begun = whole.clone();
        begun.body.truncate(1 << 20);
        let other = Random::fresh().hash();
        replace(&mut begun.body, &parts.hash, &other);
        running.push(Running::begin(&server, &begun, begun.body.len())?);
    }
    let mut form = Running::begin(&server, &whole, 1 << 20)?;
    form.send_rest();
    form.answer()?.expect(201)?;
    let grown = peak_memory(&server)?.saturating_sub(before);
    let what = format!("100 forms of 64 MiB make the process grow by {} MiB", grown >> 20);
    ensure(grown < 96 << 20, what)?;
    for running in running {
        running.cut();
    }
    // The digest is over all of its bytes.
    let merged = parts.merge(&server)?.expect(201)?;
    has_members(&merged.json()?, &json!({"size": PART, "digest_format": "raw"}))
}

/// Puts `new` where `old` stands first; both have one length.
fn replace(body: &mut [u8], old: &str, new: &str) {
    let at = body.windows(old.len()).position(|window| window == old.as_bytes());
    if let Some(place) = at.and_then(|at| body.get_mut(at..at + new.len())) {
        place.copy_from_slice(new.as_bytes());
    }
}

fn health_and_metrics_are_told(judge: &Judge<'_>) -> Step {
    are_told(judge.server)?;
    let options = ["--max-uploads-per-ip=4", "--memory-budget=4MiB", "--chunk-size=2MiB"];
    let server = judge.then_start(&options)?;
    labels_are_bounded(&server)?;
    // Every place, every buffer and the queue are taken.
    let file = || Parts::new("a.bin", 1 << 20, vec![7; 1 << 20]);
    let begin = |_| Running::begin(&server, &file().put(&server, 0)?, 600_000);
    let busy = (0..12).map(begin).collect::<Step<Vec<_>>>()?;
    thread::sleep(Duration::from_millis(100));
    for _ in 0..3 {
        let since = Instant::now();
        are_told(&server).at("under overload")?;
        let what = format!("under overload this takes {:?}", since.elapsed());
        ensure(since.elapsed() < Duration::from_secs(5), what)?;
    }
    // All at once: they wait in the order in which they came, which need not be this one, and who
    // waits may not be read from.
    thread::scope(|scope| {
        let hands: Vec<_> = busy.into_iter().map(|one| scope.spawn(move || ends(one))).collect();
        hands.into_iter().enumerate().try_for_each(|(nth, hand)| {
            let ended = hand.join().unwrap_or_else(|_| Err(breach("the judge broke")));
            ended.at(format_args!("upload {nth} of the overload"))
        })
    })
}

fn are_told(server: &Server) -> Step {
    server.ask(&Request::new("GET", &server.at("/healthz")?))?.expect(200).at("/healthz")?;
    metrics(server).map(|_| ())
}

/// The lines of the metrics that are samples.
fn metrics(server: &Server) -> Step<Vec<String>> {
    let answer = server.ask(&Request::new("GET", &server.at("/metrics")?))?;
    let answer = answer.expect(200).at("/metrics")?;
    let kind = answer.needs("Content-Type")?;
    let known = ["text/plain", "application/openmetrics-text"];
    let text = known.iter().any(|one| kind.starts_with(one));
    answer.ensure(text, format_args!("the metrics are {kind:?}"))?;
    let text = String::from_utf8_lossy(&answer.body).into_owned();
    let is_comment = |line: &&str| line.is_empty() || line.starts_with('#');
    let lines: Vec<_> = text.lines().filter(|line| !is_comment(line)).map(str::to_owned).collect();
    let is_sample = |line: &String| {
        let value = line.rsplit(' ').next().unwrap_or_default();
        value.parse::<f64>().is_ok() && line.starts_with(|first: char| first.is_ascii_alphabetic())
    };
    let wrong: Vec<&String> = lines.iter().filter(|line| !is_sample(line)).collect();
    answer.ensure(!lines.is_empty() && wrong.is_empty(), format_args!("no samples: {wrong:?}"))?;
    Ok(lines)
}

/// A stranger's words are no labels.
fn labels_are_bounded(server: &Server) -> Step {
    let strange = |round: usize| {
        ["/x", "/upload/x", "/metrics/x"].iter().try_for_each(|path| {
            let target = server.at(&format!("{path}{round}"))?;
            let method = format!("M{round}");
            server.ask(&Request::new(&method, &target))?.refused_somehow().map(|_| ())
        })
    };
    strange(0)?;
    metrics(server)?;
    let names = |lines: Vec<String>| -> Vec<String> {
        lines.iter().filter_map(|line| Some(line.rsplit_once(' ')?.0.to_owned())).collect()
    };
    let before = names(metrics(server)?);
    (1..20).try_for_each(strange)?;
    let new = names(metrics(server)?).into_iter().filter(|name| !before.contains(name));
    same("the samples that strange requests add", &new.collect(), &Vec::<String>::new())
}
