//! Answers that come while the body is still on its way, and those that a client waits for.

use std::{
    fs,
    io::ErrorKind,
    path::Path,
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use crate::{
    judge::Judge,
    random::Random,
    server::{Http, Server},
    stop::{At, Step, breach, ensure},
    tus::{GONE, Upload, append, patch, request},
    wire::{
        Answer, Request,
        h1::Conn,
        h2::{End, H2},
    },
};

const LARGE: usize = 30_000_000;

/// Requests with a large body that must be refused, and the statuses for that.
fn refused(judge: &Judge<'_>, server: &Server) -> Step<Vec<(&'static str, Request, Vec<u16>)>> {
    let url = Upload::new(server, 100_000_000)?.url;
    let short = Upload::new(server, 11)?.url;
    let unknown = format!("{}/{}", server.files().trim_end_matches('/'), Random::fresh().hash());
    let big = vec![7; LARGE];
    let mut all = vec![
        ("400", patch(&url, 0, big.clone()).set("Upload-Offset", "x"), vec![400]),
        ("404", patch(&unknown, 0, big.clone()), vec![404, 410, 403]),
        ("409", patch(&url, 5, big.clone()), vec![409]),
        ("412", patch(&url, 0, big.clone()).set("Tus-Resumable", "0.2.2"), vec![412]),
        ("413", patch(&short, 0, big.clone()), vec![413, 400, 403, 409]),
        ("415", patch(&url, 0, big.clone()).set("Content-Type", "text/plain"), vec![415]),
    ];
    if judge.offers("concatenation") {
        let part = request("POST", server.files()).header("Upload-Length", 5);
        let part = server.ask(&part.header("Upload-Concat", "partial"))?.expect(201)?;
        let part = Upload::from_answer(server, &part)?;
        part.patch(0, "hello")?.expect(204)?;
        let last = format!("final;{}", part.url);
        let last = server.ask(&request("POST", server.files()).header("Upload-Concat", last))?;
        let last = Upload::from_answer(server, &last.expect(201)?)?;
        all.push(("403", patch(&last.url, 5, big), vec![403]));
    }
    Ok(all)
}

/// CONN-01.
pub(super) fn refused_while_the_body_comes(judge: &Judge<'_>) -> Step {
    let server = judge.server;
    for (what, request, statuses) in refused(judge, server)? {
        if judge.http() == Http::One {
            // A client that writes everything before it reads.
            let mut connection = server.begin(&request)?;
            let answer = connection.answer("PATCH").map_err(Into::into);
            answer.at("who does not listen").at(what)?.expect_one(&statuses).at(what)?;
        }
        let answer = server.ask(&request).at("who listens").at(what)?;
        answer.expect_one(&statuses).at(what)?;
    }
    clients_of_others(judge)?;
    let server = judge.then_start(&["--expire-after=100ms", "--reap-every=1h"])?;
    let upload = Upload::new(&server, 100_000_000)?;
    thread::sleep(Duration::from_millis(400));
    let answer = server.ask(&patch(&upload.url, 0, vec![7; LARGE])).at("410")?;
    answer.expect(410).map(drop)
}

const PYTHON: &str = r"
import sys, urllib.request, urllib.error
url, body, *headers = sys.argv[1:]
headers = dict(line.split(': ', 1) for line in headers)
request = urllib.request.Request(
    url, data=open(body, 'rb').read(), method='PATCH', headers=headers)
try:
    print(urllib.request.urlopen(request, timeout=20).status)
except urllib.error.HTTPError as error:
    print(error.code)
";

const NODE: &str = r"
const [url, body, ...lines] = process.argv.slice(1);
const headers = Object.fromEntries(lines.map((line) => line.split(': ')));
fetch(url, { method: 'PATCH', body: require('fs').readFileSync(body), headers })
  .then((answer) => console.log(answer.status), (error) => console.log(error.cause ?? error));
";

/// Clients that others wrote, where they are on the PATH: curl, Python's urllib and Node's fetch.
/// Who is not there is left out; so is fetch where Node is too old to have one.
fn clients_of_others(judge: &Judge<'_>) -> Step {
    let server = judge.server;
    let folder = tempfile::tempdir()?;
    let body = folder.path().join("body");
    fs::write(&body, vec![7; LARGE])?;
    let url = Upload::new(server, 100_000_000)?.url;
    let wrong_type = append(&url, 0).set("Content-Type", "text/plain");
    for (request, status) in [(append(&url, 5), "409"), (wrong_type, "415")] {
        let url = format!("http://{}{}", server.host(), request.target);
        let lines = request.headers.iter().map(|(name, value)| format!("{name}: {value}"));
        let lines: Vec<_> = lines.collect();
        for mut client in clients(judge.http(), &url, &body, &lines) {
            let Ok(output) = client.stdin(Stdio::null()).output() else { continue };
            let said = String::from_utf8_lossy(&output.stdout).trim().to_owned();
            if said.contains("fetch is not defined") {
                continue;
            }
            let errors = String::from_utf8_lossy(&output.stderr);
            let tool = client.get_program().to_string_lossy();
            let heard = said == status;
            ensure(heard, format_args!("{tool} hears {said:?} instead of {status}: {errors}"))?;
        }
    }
    Ok(())
}

fn clients(http: Http, url: &str, body: &Path, lines: &[String]) -> Vec<Command> {
    let mut curl = Command::new("curl");
    // Without `Expect:` it would wait for a 100.
    curl.args(["-s", "-m", "20", "-o", "/dev/null", "-w", "%{http_code}", "-X", "PATCH"]);
    curl.args(["-H", "Expect:"]).arg("-T").arg(body);
    for line in lines {
        curl.args(["-H", line]);
    }
    curl.arg(url);
    if http == Http::Two {
        curl.arg("--http2-prior-knowledge");
        return vec![curl];
    }
    curl.arg("--http1.1");
    let (mut python, mut node) = (Command::new("python3"), Command::new("node"));
    python.args(["-c", PYTHON, url]).arg(body).args(lines);
    node.args(["-e", NODE, "--", url]).arg(body).args(lines);
    vec![curl, python, node]
}

/// CONN-02.
pub(super) fn after_a_refusal(judge: &Judge<'_>) -> Step {
    let server = judge.server;
    let upload = Upload::hello(server)?;
    let (small, head) = (patch(&upload.url, 3, "sixxes"), request("HEAD", &upload.url));
    if judge.http() == Http::Two {
        let mut connection = server.connect_h2()?;
        for _ in 0..10 {
            connection.ask(&small)?.expect(409)?;
            connection.ask(&head)?.has("Upload-Offset", 5)?;
        }
        return never_stops_h2(&mut connection, &upload);
    }
    let mut connection = server.connect()?;
    for _ in 0..10 {
        connection.ask(&small)?.expect(409)?;
        let next = connection.ask(&head).map_err(Into::into);
        next.at("the next request on the connection")?.has("Upload-Offset", 5)?;
    }
    never_stops(server, &upload)
}

/// More than any server should listen to in vain.
const ENDLESS: u32 = 1024;

fn never_stops(server: &Server, upload: &Upload<'_>) -> Step {
    let asked = append(&upload.url, 3).header("Transfer-Encoding", "chunked");
    let mut connection = server.begin(&asked)?;
    connection.answer("PATCH")?.refused_somehow()?;
    let piece = [b"100000\r\n".to_vec(), vec![7; 1 << 20], b"\r\n".to_vec()].concat();
    let since = Instant::now();
    for _ in 0..ENDLESS {
        match connection.raw(&piece) {
            Ok(()) => ensure(since.elapsed() < Duration::from_secs(30), "it listens on and on")?,
            Err(error) => {
                let waits = matches!(error.kind(), ErrorKind::TimedOut | ErrorKind::WouldBlock);
                return ensure(!waits, "neither read nor closed");
            }
        }
    }
    Err(breach(format_args!("{ENDLESS} MiB were taken after the answer")))
}

fn never_stops_h2(connection: &mut H2, upload: &Upload<'_>) -> Step {
    let mut endless = connection.begin(&append(&upload.url, 3))?;
    let piece = vec![7; 1 << 20];
    let stopped = (0..ENDLESS).any(|_| endless.raw(&piece, End::Open).is_err());
    ensure(stopped, format_args!("{ENDLESS} MiB were taken after the answer"))?;
    endless.answer()?.expect(409)?;
    // Its siblings have not lost the connection.
    connection.ask(&request("HEAD", &upload.url))?.has("Upload-Offset", 5)
}

/// Sends a head that waits for 100, then the body; the 100 must come first.
fn asked_to_go_on(connection: &mut Conn, head: &Request, body: &str) -> Step<Answer> {
    connection.send(head);
    let (status, _) = connection.head()?;
    ensure(status == 100, format_args!("the status is {status} before the body, not 100"))?;
    connection.raw(body)?;
    connection.answer("PATCH")?.expect(204)
}

/// CONN-03.
pub(super) fn expectations(judge: &Judge<'_>) -> Step {
    let server = judge.server;
    let upload = Upload::new(server, 11)?;
    let expecting = |offset| append(&upload.url, offset).header("Expect", "100-continue");
    if judge.http() == Http::Two {
        // No client waits for a 100 there; one that says so all the same is answered.
        let mut connection = server.connect_h2()?;
        connection.begin(&expecting(3).announcing(5))?.answer()?.expect(409)?;
        let whole = patch(&upload.url, 0, "hello").header("Expect", "100-continue");
        return connection.ask(&whole)?.expect(204)?.has("Upload-Offset", 5);
    }
    let mut connection = server.connect()?;
    let taken = asked_to_go_on(&mut connection, &expecting(0).announcing(5), "hello")?;
    taken.has("Upload-Offset", 5)?;
    for (what, refused, status) in [
        ("wrong offset", expecting(3).announcing(5), 409),
        ("too much", expecting(5).announcing(50), 413),
        ("wrong type", expecting(5).announcing(5).without("Content-Type"), 415),
    ] {
        let mut connection = server.begin(&refused)?;
        // A server may ask for the body first, and refuse then.
        let answer = if what == "wrong offset" {
            let early = connection.silent_for(Duration::from_secs(5))?;
            ensure(!early, "neither 100 nor a final status").at(what)?;
            connection.reset()?;
            server.begin(&refused)?.answer("PATCH")
        } else {
            connection.answer("PATCH")
        };
        let refused = |answer: Answer| {
            answer.ensure(answer.interim.is_empty(), "a 100 before the refusal")?;
            answer.expect(status)
        };
        judge.ours(answer.map_err(Into::into).and_then(refused).at(what))?;
    }
    let chunked = |offset| expecting(offset).header("Transfer-Encoding", "chunked");
    let java = || -> Step {
        let mut connection = server.connect()?;
        let taken = asked_to_go_on(&mut connection, &chunked(5), "6\r\n world\r\n0\r\n\r\n")
            .at("chunked")?;
        taken.has("Upload-Offset", 11)?;
        let mut connection = server.connect()?;
        let empty = asked_to_go_on(&mut connection, &chunked(11), "0\r\n\r\n");
        empty.at("chunked and empty at the end")?.has("Upload-Offset", 11)
    };
    judge.ours(java())?;
    let strange = Upload::new(server, 5)?;
    let strange = patch(&strange.url, 0, "hello").header("Expect", "a miracle");
    let mut connection = server.begin(&strange)?;
    connection.answer("PATCH")?.expect_one(&[204, 417]).at("another expectation")?;
    let unknown = format!("{}/{}", server.files().trim_end_matches('/'), Random::fresh().hash());
    let lost = append(&unknown, 0).header("Expect", "100-continue").announcing(5);
    let answer = server.begin(&lost)?.answer("PATCH").map_err(Into::into);
    let gone = |answer: Answer| answer.expect_one(&GONE);
    judge.ours(answer.and_then(gone).at("unknown"))?;
    Ok(())
}
