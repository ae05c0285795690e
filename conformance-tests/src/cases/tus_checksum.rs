//! Checksum (section 9 of the page).

use std::{fs, thread, time::Duration};

use crate::{
    case::{Case, case},
    digest::{base64, checksum, checksum_by, length},
    disk::Snapshot,
    judge::Judge,
    parts::soon,
    random::Random,
    running::Running,
    server::{Http, Server},
    stop::{At, Step, Stop, breach, ensure},
    tus::{Upload, append, patch, problem},
    wire::Request,
};

const VERIFIES: &str = "Once the entire request has been received, the Server MUST verify the \
    uploaded chunk against the provided checksum using the specified algorithm. … In the first two \
    cases the uploaded chunk MUST be discarded, and the upload and its offset MUST NOT be updated.";

pub(crate) const CASES: &[Case] = &[
    case("TUS-CHK-01", right_ones).says(
        "3) 204 No Content if the checksums match and the processing of the data succeeded. … The \
         Server MUST support at least the SHA1 checksum algorithm identified by sha1.",
    ),
    case("TUS-CHK-02", wrong_ones).says(VERIFIES),
    case("TUS-CHK-03", unknown_algorithms).says(
        "1) 400 Bad Request if the checksum algorithm is not supported by the server … In the \
         first two cases the uploaded chunk MUST be discarded, and the upload and its offset MUST \
         NOT be updated. … The names of the checksum algorithms MUST only consist of ASCII \
         characters with the modification that uppercase characters are excluded.",
    ),
    case("TUS-CHK-04", malformed_ones),
    case("TUS-CHK-05", undoes_what_went_before).says(VERIFIES),
    case("TUS-CHK-06", finishes_nothing).says(VERIFIES),
    case("TUS-CHK-07", half_a_body).says(VERIFIES),
    case("TUS-CHK-08", what_does_not_fit),
    case("TUS-CHK-09", one_pass).alone(),
];

/// A PATCH with a checksum.
fn checked(url: &str, offset: u64, body: &[u8], sum: &str) -> Request {
    patch(url, offset, body).header("Upload-Checksum", sum)
}

/// The announced algorithms that the judge can compute, and `sha1` in any case. tus names no form
/// for a CRC, so what concerns one is ours.
fn algorithms<'a>(judge: &'a Judge<'_>) -> Vec<&'a str> {
    let announced = judge.algorithms().iter().map(String::as_str);
    let known = announced.filter(|name| *name != "sha1" && checksum_by(name, b"").is_some());
    std::iter::once("sha1").chain(known).collect()
}

/// `Upload-Checksum` by one of [`algorithms`].
fn sum_by(algorithm: &str, bytes: &[u8]) -> Step<String> {
    checksum_by(algorithm, bytes).ok_or_else(|| breach(format_args!("no {algorithm} here")))
}

/// What holds for this algorithm: a MUST, or ours where tus does not say how it is written.
fn holds(judge: &Judge<'_>, algorithm: &str, step: Step) -> Step {
    let step = step.at(algorithm);
    if algorithm.starts_with("crc") { judge.ours(step).map(|_| ()) } else { step }
}

fn right_ones(judge: &Judge<'_>) -> Step {
    let server = judge.server;
    let takes = |algorithm: &str| -> Step {
        let upload = Upload::new(server, 11)?;
        let sum = sum_by(algorithm, b"hello world")?;
        let answer = server.ask(&checked(&upload.url, 0, b"hello world", &sum))?.expect(204)?;
        answer.has("Upload-Offset", 11)?;
        upload.is_file(b"hello world")?;
        let upload = Upload::hello(server)?;
        let sum = sum_by(algorithm, b"")?;
        let empty = server.ask(&checked(&upload.url, 5, b"", &sum))?.expect(204);
        // That every PATCH is accepted is a SHOULD, as in TUS-PATCH-01.
        let empty = empty.and_then(|answer| answer.has("Upload-Offset", 5));
        judge.should(empty.at("empty body")).map(|_| ())
    };
    for algorithm in algorithms(judge) {
        holds(judge, algorithm, takes(algorithm))?;
    }
    let upload = Upload::hello(server)?;
    let answer = upload.patch(5, " world")?.expect(204).at("no header")?;
    answer.has("Upload-Offset", 11)?;
    upload.is_file(b"hello world")
}

fn wrong_ones(judge: &Judge<'_>) -> Step {
    let server = judge.server;
    let refuses = |algorithm: &str| -> Step {
        let upload = Upload::hello(server)?;
        let wrong = sum_by(algorithm, b" World")?;
        for (body, which) in [(&b" world"[..], "other bytes"), (b"", "empty body")] {
            let asked = checked(&upload.url, 5, body, &wrong);
            let answer = upload.refuses_somehow(&asked).at(which)?;
            let told = answer.header("Upload-Offset").is_none_or(|offset| offset == "5");
            answer.ensure(told, "the refusal tells another offset")?;
            let exact = problem(answer, 460).and_then(|answer| answer.has("Upload-Offset", 5));
            judge.ours(exact.at(algorithm).at(which))?;
        }
        let right = sum_by(algorithm, b" world")?;
        let answer = server.ask(&checked(&upload.url, 5, b" world", &right))?;
        answer.expect(204).at("the right body")?.has("Upload-Offset", 11)?;
        upload.is_file(b"hello world")
    };
    for algorithm in algorithms(judge) {
        holds(judge, algorithm, refuses(algorithm))?;
    }
    Ok(())
}

fn unknown_algorithms(judge: &Judge<'_>) -> Step {
    let upload = Upload::hello(judge.server)?;
    let (right, wrong) = (checksum(b" world"), checksum(b" World"));
    let unknown = right.replace("sha1", "no-such-sum");
    let upper = wrong.replace("sha1", "SHA1");
    for (value, which) in [(unknown, "unknown"), (upper, "upper case, other bytes")] {
        let asked = checked(&upload.url, 5, b" world", &value);
        let answer = upload.refuses_somehow(&asked).at(which)?;
        judge.ours(problem(answer, 400).at(which))?;
    }
    // Who reads it as sha1 does no harm.
    let upper = right.replace("sha1", "SHA1");
    let asked = checked(&upload.url, 5, b" world", &upper);
    judge.ours(upload.refuses(&asked, &[400]).at("upper case"))?;
    Ok(())
}

fn malformed_ones(judge: &Judge<'_>) -> Step {
    let server = judge.server;
    let upload = Upload::hello(server)?;
    let mut values = vec![
        ("no space", "sha1Kq5sNclPz7QV2+lfQIuc6R7oRu0=".to_owned()),
        ("two spaces", checksum(b" world").replace(' ', "  ")),
        ("bad base64", "sha1 Kq5sNclPz7QV2!lfQIuc6R7oRu0=".to_owned()),
        ("unpadded", checksum(b" world").trim_end_matches('=').to_owned()),
        ("hex", "sha1 2aae6c35c94fcfb415dbe95f408b9ce91ee846ed".to_owned()),
        ("another length", format!("sha1 {}", base64([7; 19]))),
        ("no digest", "sha1".to_owned()),
        ("empty", String::new()),
    ];
    if judge.algorithms().iter().any(|name| name == "crc32") {
        values.push(("decimal number", format!("crc32 {}", base64("222957957"))));
    }
    for (which, value) in values {
        let asked = checked(&upload.url, 5, b" world", &value);
        problem(upload.refuses(&asked, &[400]).at(which)?, 400).at(which)?;
    }
    let right = checksum(b" world");
    let twice = checked(&upload.url, 5, b" world", &right).header("Upload-Checksum", &right);
    problem(upload.refuses(&twice, &[400]).at("header twice")?, 400)?;
    server.ask(&checked(&upload.url, 5, b" world", &right))?.expect(204)?;
    upload.is_file(b"hello world")
}

const KIB: usize = 1024;

fn undoes_what_went_before(judge: &Judge<'_>) -> Step {
    undoes_long_bodies(judge, judge.server)?;
    // A server that knows the option has 64 KiB anyway.
    let server = judge.then_start(&["--chunks-per-part=1"])?;
    undoes_long_bodies(judge, &server).at("--chunks-per-part=1")
}

/// 200 KiB from the middle of the second chunk, if a chunk has 64 KiB: wrong, then right.
fn undoes_long_bodies(judge: &Judge<'_>, server: &Server) -> Step {
    let bytes = Random::fresh().bytes(320 * KIB);
    let (first, rest) = bytes.split_at(96 * KIB);
    let (middle, last) = rest.split_at(200 * KIB);
    let upload = Upload::new(server, length(&bytes))?;
    upload.patch(0, first)?.expect(204)?;
    let asked = checked(&upload.url, length(first), middle, &checksum(b"other"));
    let answer = upload.refuses_somehow(&asked).at("wrong")?;
    judge.ours(problem(answer, 460))?;
    let asked = checked(&upload.url, length(first), middle, &checksum(middle));
    server.ask(&asked)?.expect(204).at("right")?;
    upload.patch(length(first) + length(middle), last)?.expect(204)?;
    upload.is_file(&bytes)
}

fn finishes_nothing(judge: &Judge<'_>) -> Step {
    let would_finish = |server: &Server| -> Step {
        let upload = Upload::hello(server)?;
        let asked = checked(&upload.url, 5, b" world", &checksum(b" World"));
        let answer = upload.refuses_somehow(&asked)?;
        judge.ours(problem(answer, 460))?;
        judge.ours(upload.get()?.refused_somehow().at("GET"))?;
        Ok(())
    };
    would_finish(judge.server)?;
    let server = judge.then_start(&[])?;
    would_finish(&server)?;
    let files = server.finished().map_err(Stop::after_all)?;
    ensure(files.is_empty(), format_args!("something was published: {files:?}"))
}

/// How much of a body is sent before it stalls.
const SENT: usize = 60_000;

/// An upload with the first 1000 bytes, and all of its bytes.
fn begun(server: &Server) -> Step<(Upload<'_>, Vec<u8>)> {
    let bytes = Random::fresh().bytes(100_000);
    let upload = Upload::new(server, length(&bytes))?;
    upload.patch(0, &bytes[..1000])?.expect(204)?;
    Ok((upload, bytes))
}

/// The rest as a PATCH: with a header, and where that is offered with an announced trailer.
fn rests(judge: &Judge<'_>, url: &str, rest: &[u8]) -> Vec<(&'static str, Request)> {
    let sum = checksum(rest);
    let mut found = vec![("header", checked(url, 1000, rest, &sum))];
    if judge.offers("checksum-trailer") {
        let head = append(url, 1000).header("Trailer", "Upload-Checksum");
        let request = match judge.http() {
            Http::One => head.trailed(rest, 20_000, &[("Upload-Checksum", &sum)]),
            // Its trailers never come here.
            Http::Two => head.body(rest).without("Content-Length"),
        };
        found.push(("trailer", request));
    }
    found
}

fn half_a_body(judge: &Judge<'_>) -> Step {
    told_while_it_runs(judge)?;
    for end in ["cut", "HEAD", "PATCH"] {
        judge.ours(broken_off(judge, judge.server, end))?;
    }
    // What a kill leaves is another matter than what a broken connection leaves.
    let server = judge.then_start(&[])?;
    judge.ours(broken_off(judge, &server, "kill -9"))?;
    Ok(())
}

/// A body with a wrong checksum is never told as stored, before its end or after it.
fn told_while_it_runs(judge: &Judge<'_>) -> Step {
    let server = judge.server;
    let (upload, bytes) = begun(server)?;
    let asked = checked(&upload.url, 1000, &bytes[1000..], &checksum(b"other"));
    let before = upload.parts();
    let mut running = Running::begin(server, &asked, SENT)?;
    has_come(&upload, &before)?;
    let head = thread::scope(|scope| {
        // A server may make this wait for the end of the PATCH.
        let head = scope.spawn(|| upload.head());
        thread::sleep(Duration::from_millis(300));
        running.send_rest();
        head.join().map_err(|_| breach("the judge broke"))?
    })?;
    if matches!(head.status, 200 | 204) {
        head.has("Upload-Offset", 1000).at("HEAD while it runs")?;
    }
    // Who was interrupted may be hung up on.
    if let Ok(answer) = running.answer() {
        let status = answer.status;
        answer.ensure(status >= 400, format_args!("a wrong checksum is answered {status}"))?;
    }
    ensure(settled(&upload)? == 1000, "bytes of a wrong checksum count in the end")
}

/// Waits until the server has the upload's next bytes: whoever asks before would be overtaken.
fn has_come(upload: &Upload<'_>, before: &Snapshot) -> Step {
    if upload.server.layout().is_ok() {
        return soon("what came does not reach the disk", || Ok(upload.parts() != *before));
    }
    thread::sleep(Duration::from_millis(50));
    Ok(())
}

/// The offset, once the server tells it; a request before may hold the upload for a while.
fn settled(upload: &Upload<'_>) -> Step<u64> {
    let mut head = upload.head()?;
    for _ in 0..100 {
        if matches!(head.status, 200 | 204) {
            break;
        }
        thread::sleep(Duration::from_millis(100));
        head = upload.head()?;
    }
    head.expect_one(&[200, 204])?.offset()
}

fn broken_off(judge: &Judge<'_>, server: &Server, end: &str) -> Step {
    let kinds = rests(judge, "", b"").len();
    for kind in 0..kinds {
        let (upload, bytes) = begun(server)?;
        let (which, asked) = rests(judge, &upload.url, &bytes[1000..]).swap_remove(kind);
        broken_off_once(&upload, &bytes, &asked, end).at(end).at(which)?;
    }
    Ok(())
}

fn broken_off_once(upload: &Upload<'_>, bytes: &[u8], asked: &Request, end: &str) -> Step {
    let before = upload.state()?;
    let running = Running::begin(upload.server, asked, SENT)?;
    has_come(upload, &before.2)?;
    match end {
        "cut" => running.cut(),
        "HEAD" => upload.is_at(1000)?,
        "PATCH" => {
            let ahead = upload.patch(length(&bytes[..SENT]), "x")?.expect(409)?;
            ahead.has("Upload-Offset", 1000)?;
        }
        _ => upload.server.crash()?,
    }
    ensure(settled(upload)? == 1000, "unverified bytes count")?;
    ensure(upload.state()? == before, "unverified bytes are kept")?;
    let rest = &bytes[1000..];
    let asked = checked(&upload.url, 1000, rest, &checksum(rest));
    upload.server.ask(&asked)?.expect(204)?;
    upload.is_file(bytes)
}

fn what_does_not_fit(judge: &Judge<'_>) -> Step {
    let server = judge.server;
    let upload = Upload::hello(server)?;
    let sum = checksum(b" world!");
    upload.refuses(&checked(&upload.url, 5, b" world!", &sum), &[413]).at("over the rest")?;
    let chunked = append(&upload.url, 5).header("Upload-Checksum", &sum).chunked(b" world!", 3);
    upload.refuses(&chunked, &[413]).at("over the rest, chunked")?;
    if judge.http() == Http::Two {
        let open = checked(&upload.url, 5, b" world!", &sum).without("Content-Length");
        let ask = || server.connect_h2()?.ask(&open)?.expect(413);
        upload.unchanged_by(ask).at("over the rest, length open")?;
    }
    let wrong = checked(&upload.url, 4, b"o world", &checksum(b"o world"));
    upload.refuses(&wrong, &[409]).at("wrong offset")?;
    upload.patch(5, " world")?.expect(204)?;
    upload.is_file(b"hello world")
}

/// The row's GiB would take a build for tests half a minute: this much shows a copy as well.
const LARGE: usize = 96 << 20;

fn one_pass(judge: &Judge<'_>) -> Step {
    let server = judge.start(&[])?;
    let bytes = Random::fresh().bytes(LARGE);
    let upload = Upload::new(&server, length(&bytes))?;
    let pid = server.pid()?;
    let (peak, read) = (peak_memory(pid)?, bytes_read(pid)?);
    let sum = checksum(&bytes);
    server.ask(&checked(&upload.url, 0, &bytes, &sum))?.expect(204)?;
    let grown = peak_memory(pid)?.saturating_sub(peak);
    ensure(grown < 32 << 10, format_args!("it took {grown} KiB more memory"))?;
    // Bytes from sockets do not count here with every runtime, so that half says enough.
    let read = bytes_read(pid)?.saturating_sub(read);
    let back = format!("{read} bytes were read back");
    ensure(server.layout().is_err() || read < length(&bytes) / 2, back)?;

    let server = judge.then_start(&["--chunk-digest=none"])?;
    let upload = Upload::hello(&server)?;
    let wrong = checked(&upload.url, 5, b" world", &checksum(b" World"));
    upload.refuses(&wrong, &[460]).at("--chunk-digest=none").map(|_| ())
}

/// The most memory that the process ever had, in KiB.
fn peak_memory(pid: u32) -> Step<u64> {
    figure(&format!("/proc/{pid}/status"), "VmHWM:")
}

/// How many bytes it read from files.
fn bytes_read(pid: u32) -> Step<u64> {
    figure(&format!("/proc/{pid}/io"), "rchar:")
}

fn figure(path: &str, name: &str) -> Step<u64> {
    let text = fs::read_to_string(path)?;
    let line = text.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default();
    let figure = line.split_whitespace().next().and_then(|figure| figure.parse().ok());
    figure.ok_or_else(|| Stop::Skip(format!("{path} tells no {name}")))
}
