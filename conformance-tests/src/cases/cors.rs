//! What pages of other origins may see (section 16 of the page).

use crate::{
    case::{Case, case},
    judge::Judge,
    parts::Parts,
    random::Random,
    server::{Http, Server},
    stop::{At, Step, same},
    tus::{Upload, append, create, create_with, patch, request},
    wire::{Answer, Request},
};

pub(crate) const CASES: &[Case] = &[
    case("CORS-01", preflights_are_answered),
    case("CORS-02", what_clients_send_is_allowed),
    case("CORS-03", what_clients_read_is_exposed),
    case("CORS-04", every_answer_can_be_read),
    case("CORS-05", origins_that_are_not_listed),
    case("CORS-06", machines_in_the_house),
];

const PAGE: &str = "https://page.example";

const METHODS: [&str; 7] = ["POST", "GET", "HEAD", "PATCH", "PUT", "DELETE", "OPTIONS"];

/// What clients send.
const SENT: [&str; 21] = [
    "Tus-Resumable",
    "Upload-Length",
    "Upload-Offset",
    "Upload-Metadata",
    "Upload-Defer-Length",
    "Upload-Concat",
    "Upload-Checksum",
    "Upload-Complete",
    "Upload-Draft-Interop-Version",
    "Content-Type",
    "Content-Digest",
    "Content-MD5",
    "X-Chunk-SHA256",
    "X-HTTP-Method-Override",
    "X-Request-ID",
    "X-Requested-With",
    "Authorization",
    "Cache-Control",
    "Content-Range",
    "Content-Disposition",
    "Upload-Name",
];

/// What clients read.
const READ: [&str; 16] = [
    "Location",
    "Upload-Offset",
    "Upload-Length",
    "Upload-Defer-Length",
    "Upload-Metadata",
    "Upload-Concat",
    "Upload-Expires",
    "Tus-Version",
    "Tus-Resumable",
    "Tus-Extension",
    "Tus-Max-Size",
    "Tus-Checksum-Algorithm",
    "ETag",
    "Range",
    "Content-Range",
    "Retry-After",
];

/// The paths of a server, known and unknown.
fn paths(server: &Server) -> Step<Vec<String>> {
    let files = server.files().trim_end_matches('/');
    let unknown = format!("{files}/{}", Random::fresh().hash());
    let mut paths = vec![server.files().to_owned(), Upload::hello(server)?.url, unknown];
    if server.has_chunks() {
        paths.push(files.to_owned());
        for path in ["/upload", "/upload/check", "/upload/status", "/merge", "/no/such/path"] {
            paths.push(server.at(path)?);
        }
    }
    Ok(paths)
}

fn preflight(path: &str, origin: &str) -> Request {
    Request::new("OPTIONS", path)
        .header("Origin", origin)
        .header("Access-Control-Request-Method", "PATCH")
        .header("Access-Control-Request-Headers", "tus-resumable,upload-offset,content-type")
}

/// Each of `names` must be in the list; `*` stands for all of them, in what is sent without
/// credentials, but for `Authorization` (Fetch).
fn lists(answer: &Answer, header: &str, names: &[&str]) -> Step {
    let list: Vec<_> = answer.needs(header)?.split(',').map(str::trim).collect();
    for name in names {
        let there = list
            .iter()
            .any(|one| one.eq_ignore_ascii_case(name) || *one == "*" && *name != "Authorization");
        answer.ensure(there, format_args!("{header} does not list {name}"))?;
    }
    Ok(())
}

fn preflights_are_answered(judge: &Judge<'_>) -> Step {
    let server = judge.server;
    for path in paths(server)? {
        let answer = server.ask(&preflight(&path, PAGE))?.expect(204).at(&path)?;
        answer.has("Access-Control-Allow-Origin", "*").at(&path)?;
        lists(&answer, "Access-Control-Allow-Methods", &METHODS).at(&path)?;
        let age = answer.needs("Access-Control-Max-Age")?;
        let long = age.parse::<u64>().is_ok_and(|age| age >= 86_400);
        answer.ensure(long, format_args!("Access-Control-Max-Age is {age}")).at(&path)?;
    }
    Ok(())
}

fn what_clients_send_is_allowed(judge: &Judge<'_>) -> Step {
    for path in paths(judge.server)? {
        let answer = judge.server.ask(&preflight(&path, PAGE))?;
        lists(&answer, "Access-Control-Allow-Headers", &SENT).at(&path)?;
    }
    Ok(())
}

/// The page that asked can read the answer.
fn readable(answer: &Answer) -> Step {
    let allowed = answer.needs("Access-Control-Allow-Origin")?;
    let ours = allowed == "*" || allowed == PAGE;
    answer.ensure(ours, format_args!("Access-Control-Allow-Origin is {allowed:?}"))?;
    let twice = answer.count("Access-Control-Allow-Origin") == 1;
    answer.ensure(twice, "a browser refuses two Access-Control-Allow-Origin")?;
    lists(answer, "Access-Control-Expose-Headers", &READ)
}

/// Requests of tus, each with its name.
fn requests_of_tus(server: &Server) -> Step<Vec<(&'static str, Request)>> {
    let url = Upload::new(server, 11)?.url;
    let finished = Upload::finished(server)?.url;
    let unknown = format!("{}/{}", server.files().trim_end_matches('/'), Random::fresh().hash());
    Ok(vec![
        ("OPTIONS", request("OPTIONS", server.files())),
        ("creation", create(server, 11)),
        ("creation with upload", create_with(server, 11, "hello")),
        ("length of -1", create(server, 11).set("Upload-Length", "-1")),
        ("HEAD", request("HEAD", &url)),
        ("HEAD of nothing", request("HEAD", &unknown)),
        ("PATCH", patch(&url, 0, "hello")),
        ("PATCH at the wrong offset", patch(&url, 3, "lo")),
        ("PATCH of too much", patch(&url, 5, "hello world")),
        ("text/plain", patch(&url, 5, " ").set("Content-Type", "text/plain")),
        ("another version", patch(&url, 5, " ").set("Tus-Resumable", "0.2.2")),
        ("offset of x", patch(&url, 5, " ").set("Upload-Offset", "x")),
        ("PUT", request("PUT", &url)),
        ("GET of a file", Request::new("GET", &finished)),
        ("GET of nothing", Request::new("GET", &unknown)),
        ("DELETE", request("DELETE", &url)),
    ])
}

/// Requests of the chunk flow, each with its name.
fn requests_of_chunks(server: &Server) -> Step<Vec<(&'static str, Request)>> {
    let parts = Parts::hello();
    let (get, post) =
        (|path: &str| Request::new("GET", path), |path: &str| Request::new("POST", path));
    let json = |body: &str| -> Step<Request> {
        let merge = post(&server.at("/merge")?);
        Ok(merge.header("Content-Type", "application/json").body(body))
    };
    Ok(vec![
        ("check", get(&server.at(&format!("/upload/check?hash={}&index=0", parts.hash))?)),
        ("chunk", parts.put(server, 0)?),
        ("chunk that is too short", parts.put_bytes(server, 1, b"hell")?),
        ("chunk with a bad digest", parts.put(server, 1)?.header("X-Chunk-SHA256", "x")),
        ("status", parts.status_request(server)?),
        ("status of nothing", get(&server.at("/upload/status")?)),
        ("merge too early", json(&parts.merge_body().to_string())?),
        ("merge of nonsense", json("{")?),
        ("PATCH of merge", Request::new("PATCH", &server.at("/merge")?)),
        ("no such path", get(&server.at("/no/such/path")?)),
    ])
}

fn what_clients_read_is_exposed(judge: &Judge<'_>) -> Step {
    let server = judge.server;
    for (what, request) in requests_of_tus(server)? {
        let answer = server.ask(&request.header("Origin", PAGE)).at(what)?;
        lists(&answer, "Access-Control-Expose-Headers", &READ).at(what)?;
    }
    Ok(())
}

fn every_answer_can_be_read(judge: &Judge<'_>) -> Step {
    let server = judge.server;
    let mut requests = requests_of_tus(server)?;
    if server.has_chunks() {
        requests.extend(requests_of_chunks(server)?);
    }
    for (what, request) in requests {
        readable(&server.ask(&request.header("Origin", PAGE)).at(what)?).at(what)?;
    }
    let url = Upload::new(server, 100_000_000)?.url;
    let big = patch(&url, 5, vec![7; 30_000_000]).header("Origin", PAGE);
    readable(&server.ask(&big).at("an early answer")?).at("an early answer")?;
    if judge.http() == Http::One {
        let waits = append(&url, 5).announcing(10).header("Expect", "100-continue");
        readable(&server.ask(&waits.header("Origin", PAGE))?).at("an answer instead of 100")?;
        let two = request("HEAD", &url).header("Host", server.host()).header("Host", "other.test");
        readable(&server.ask(&two.header("Origin", PAGE))?).at("a head that is none")?;
    }
    full_and_going(judge)
}

/// 507, 413 and 503 need a server of the case's own.
fn full_and_going(judge: &Judge<'_>) -> Step {
    let server = judge.then_start(&["--max-size=1000000", "--shutdown-timeout=3s"])?;
    let large = server.ask(&create(&server, 1 << 40).header("Origin", PAGE)).at("large")?;
    readable(&large).at("larger than the server takes")?;
    let upload = Upload::new(&server, 1000)?;
    server.fill_disk()?;
    let full = server.ask(&patch(&upload.url, 0, "hello").header("Origin", PAGE)).at("full")?;
    readable(&full).at("disk full")?;
    server.make_room()?;
    let at = upload.offset()?;
    let head = append(&upload.url, at).announcing(1000 - at).header("Origin", PAGE);
    let mut stalled = server.begin(&head)?;
    stalled.raw("hello")?;
    std::thread::sleep(std::time::Duration::from_millis(300));
    server.sigterm()?;
    // A server that hangs up instead tells the page as little as it tells anybody.
    match stalled.answer("PATCH") {
        Ok(answer) => readable(&answer).at("the server stops"),
        Err(_) => Ok(()),
    }
}

fn tells_nothing(answer: &Answer) -> Step {
    let mut lines = answer.headers.iter().map(|(name, _)| name.to_ascii_lowercase());
    let told = lines.find(|name| name.starts_with("access-control-"));
    answer.ensure(told.is_none(), format_args!("a page that is not listed is told {told:?}"))
}

fn origins_that_are_not_listed(judge: &Judge<'_>) -> Step {
    let everybody = judge.server.ask(&create(judge.server, 11).header("Origin", PAGE))?;
    let credentials = everybody.header("Access-Control-Allow-Credentials");
    let wild = everybody.header("Access-Control-Allow-Origin") == Some("*");
    everybody.ensure(!wild || credentials.is_none(), "credentials together with *")?;
    let (one, two) = ("https://a.example", "https://b.example");
    let server = judge.then_start(&["--allow-origin=https://a.example,https://b.example"])?;
    for origin in [one, two] {
        for asked in
            [create(&server, 11).header("Origin", origin), preflight(server.files(), origin)]
        {
            let answer = server.ask(&asked)?.expect_one(&[201, 204]).at(origin)?;
            answer.has("Access-Control-Allow-Origin", origin).at(origin)?;
            varies(&answer).at(origin)?;
        }
    }
    for origin in ["https://evil.example", "http://a.example", "https://xa.example", "null"] {
        let made = server.ask(&create(&server, 11).header("Origin", origin))?.expect(201);
        let made = made.at(format_args!("{origin} is served"))?;
        tells_nothing(&made).at(origin)?;
        varies(&made).at(origin)?;
        tells_nothing(&server.ask(&preflight(server.files(), origin))?).at(origin)?;
    }
    credentials_and_everybody(judge)
}

/// Credentials for pages of everybody are a mistake of the command line.
fn credentials_and_everybody(judge: &Judge<'_>) -> Step {
    let (status, said) = judge.launcher()?.run(&[
        "--listen=127.0.0.1:0",
        "--data-dir=data",
        "--allow-origin=*",
        "--cors-credentials",
    ])?;
    same("the exit code", &status.code(), &Some(2)).at("--cors-credentials with *")?;
    crate::stop::ensure(!said.trim().is_empty(), "no reason on standard error")
}

/// A cache must not hand one page what was told to another.
fn varies(answer: &Answer) -> Step {
    let vary = answer.needs("Vary")?.to_ascii_lowercase();
    let named = vary.split(',').any(|name| matches!(name.trim(), "origin" | "*"));
    answer.ensure(named, format_args!("Vary is {vary:?}"))
}

fn machines_in_the_house(judge: &Judge<'_>) -> Step {
    for path in paths(judge.server)? {
        let asked = preflight(&path, PAGE).header("Access-Control-Request-Private-Network", "true");
        let answer = judge.server.ask(&asked)?;
        answer.has("Access-Control-Allow-Private-Network", "true").at(&path)?;
    }
    Ok(())
}
