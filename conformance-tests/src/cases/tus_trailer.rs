//! Checksum as a trailer (section 10 of the page).

use std::time::Duration;

use crate::{
    case::{Case, case},
    digest::{base64, checksum},
    judge::Judge,
    random::Random,
    server::{Http, Server},
    stop::{At, Step, ensure, same},
    tus::{Upload, append, create_deferred, problem},
    wire::{Answer, Request},
};

const VERIFIES: &str = "If the Server can handle trailers, this behavior MUST be announced by \
    adding checksum-trailer to the Tus-Extension header. … the Server MUST verify the uploaded \
    chunk against the provided checksum using the specified algorithm. … In the first two cases \
    the uploaded chunk MUST be discarded, and the upload and its offset MUST NOT be updated.";

pub(crate) const CASES: &[Case] = &[
    case("TUS-TRL-01", announced_ones).says(VERIFIES),
    case("TUS-TRL-02", header_and_trailer),
    case("TUS-TRL-03", announced_and_missing),
    case("TUS-TRL-04", not_announced).says(VERIFIES),
    case("TUS-TRL-05", can_never_come).http1(),
    case("TUS-TRL-06", say_nothing_else).says(
        "RFC 9110 §6.5.1: a trailer field is not merged into the header section unless its \
         definition permits that, and fields for framing, routing and request modifiers are no \
         trailers.",
    ),
    case("TUS-TRL-07", have_limits),
];

type Trailers<'a> = &'a [(&'a str, &'a str)];

/// Sends a request with a body and trailers: chunked over HTTP/1.1, as its last frame over HTTP/2.
fn ask(server: &Server, head: &Request, body: &[u8], trailers: Trailers<'_>) -> Step<Answer> {
    match server.http() {
        Http::One => server.ask(&head.clone().trailed(body, 4096, trailers)),
        Http::Two => {
            let whole = head.clone().body(body).without("Content-Length");
            server.connect_h2()?.ask_with(&whole, trailers)
        }
    }
}

/// The head of a PATCH that promises a checksum behind the bytes.
fn announced(upload: &Upload<'_>, offset: u64) -> Request {
    append(&upload.url, offset).header("Trailer", "Upload-Checksum")
}

/// One trailer.
fn sum_of(value: &str) -> [(&str, &str); 1] {
    [("Upload-Checksum", value)]
}

/// ` world` goes to *U5* with these trailers, is refused, and leaves nothing.
fn refuses(upload: &Upload<'_>, head: &Request, trailers: Trailers<'_>) -> Step<Answer> {
    upload.unchanged_by(|| ask(upload.server, head, b" world", trailers)?.refused_somehow())
}

/// ` world` goes to *U5* with these trailers, and finishes it.
fn finishes(upload: &Upload<'_>, head: &Request, trailers: Trailers<'_>) -> Step {
    let answer = ask(upload.server, head, b" world", trailers)?.expect(204)?;
    answer.has("Upload-Offset", 11)?;
    upload.is_file(b"hello world")
}

fn announced_ones(judge: &Judge<'_>) -> Step {
    let server = judge.server;
    let upload = Upload::hello(server)?;
    let (right, wrong) = (checksum(b" world"), checksum(b" World"));
    let unknown = right.replace("sha1", "no-such-sum");
    let head = announced(&upload, 5);
    for (which, value, status) in [("wrong", &wrong, 460), ("unknown", &unknown, 400)] {
        let answer = refuses(&upload, &head, &sum_of(value)).at(which)?;
        judge.ours(problem(answer, status).at(which))?;
    }
    for malformed in ["", "sha1", "sha1 AAAA", &right.replace(' ', "")] {
        let refused = refuses(&upload, &head, &sum_of(malformed));
        let exact = refused.and_then(|answer| problem(answer, 400));
        judge.ours(exact.at(format_args!("malformed, {malformed:?}")))?;
    }
    let upload = Upload::hello(server)?;
    finishes(&upload, &announced(&upload, 5), &sum_of(&right)).at("right")?;
    over_many_pieces(server)
}

/// A long body, in whose middle an upload's chunks may end: wrong, then right.
fn over_many_pieces(server: &Server) -> Step {
    let bytes = Random::fresh().bytes(400_000);
    let upload = Upload::new(server, 400_000)?;
    upload.patch(0, &bytes[..70_000])?.expect(204)?;
    let (head, rest) = (announced(&upload, 70_000), &bytes[70_000..]);
    let wrong = checksum(&bytes[70_001..]);
    upload.unchanged_by(|| ask(server, &head, rest, &sum_of(&wrong))?.refused_somehow())?;
    ask(server, &head, rest, &sum_of(&checksum(rest)))?.expect(204)?;
    upload.is_file(&bytes)
}

fn header_and_trailer(judge: &Judge<'_>) -> Step {
    let upload = Upload::hello(judge.server)?;
    let right = checksum(b" world");
    let both = announced(&upload, 5).header("Upload-Checksum", &right);
    if judge.http() == Http::One {
        let waiting = both.clone().header("Transfer-Encoding", "chunked");
        let mut connection = judge.server.begin(&waiting.header("Expect", "100-continue"))?;
        // A 100 would ask for the body.
        let (status, _) = connection.head()?;
        same("the status before the body", &status, &400)?;
    }
    let answer = refuses(&upload, &both, &sum_of(&right)).at("announced")?;
    problem(answer, 400).at("announced")?;
    let unannounced = append(&upload.url, 5).header("Upload-Checksum", &right);
    let answer = refuses(&upload, &unannounced, &sum_of(&right)).at("unannounced")?;
    problem(answer, 400).at("unannounced")?;
    upload.patch(5, " world")?.expect(204)?;
    upload.is_file(b"hello world")
}

fn announced_and_missing(judge: &Judge<'_>) -> Step {
    let upload = Upload::hello(judge.server)?;
    let right = checksum(b" world");
    for trailers in [&[][..], &[("X-Checksum", right.as_str())]] {
        let answer = refuses(&upload, &announced(&upload, 5), trailers)?;
        problem(answer, 400).at(format_args!("{trailers:?}"))?;
    }
    upload.patch(5, " world")?.expect(204)?;
    upload.is_file(b"hello world")
}

fn not_announced(judge: &Judge<'_>) -> Step {
    let server = judge.server;
    // tus asks its clients to announce: who takes no notice of these, or refuses them, may.
    let upload = Upload::hello(server)?;
    let before = upload.state()?;
    let head = append(&upload.url, 5);
    let answer = ask(server, &head, b" world", &sum_of(&checksum(b" World")))?;
    if answer.status >= 400 {
        let discarded = upload.state()? == before;
        answer.ensure(discarded, "refused, and yet the bytes count")?;
    }
    judge.ours(problem(answer, 460).at("wrong"))?;
    let upload = Upload::hello(server)?;
    let head = append(&upload.url, 5);
    judge.ours(finishes(&upload, &head, &sum_of(&checksum(b" world"))).at("right"))?;
    Ok(())
}

fn can_never_come(judge: &Judge<'_>) -> Step {
    let upload = Upload::hello(judge.server)?;
    let sized = announced(&upload, 5).body(" world");
    problem(upload.refuses(&sized, &[400]).at("Content-Length")?, 400)?;
    let old = sized.http_1_0();
    problem(upload.refuses(&old, &[400]).at("HTTP/1.0")?, 400)?;
    upload.patch(5, " world")?.expect(204)?;
    upload.is_file(b"hello world")
}

fn say_nothing_else(judge: &Judge<'_>) -> Step {
    let server = judge.server;
    for trailers in [
        &[("Upload-Offset", "99")][..],
        &[("Content-Length", "1")],
        &[("Tus-Resumable", "9")],
        &[("Upload-Length", "5")],
        &[("Upload-Offset", "0"), ("Tus-Resumable", "0.2.2"), ("Upload-Length", "7")],
    ] {
        let at = format!("{trailers:?}");
        let upload = Upload::hello(server)?;
        let answer = ask(server, &append(&upload.url, 5), b" wor", trailers).at(&at)?;
        // A server may refuse what HTTP does not allow; it must not follow it.
        let offset = if answer.status == 204 { 9 } else { 5 };
        let answer = judge.ours(answer.expect(204).at(&at))?;
        if let Some(answer) = answer {
            answer.has("Upload-Offset", 9).at(&at)?;
        }
        upload.is_at(offset).at(&at)?;
        upload.head()?.has("Upload-Length", 11).at(&at)?;
        let rest = &b"hello world"[usize::from(offset == 9) * 4 + 5..];
        upload.patch(offset, rest)?.expect(204).at(&at)?;
        upload.is_file(b"hello world").at(&at)?;
    }
    if !judge.offers("creation-defer-length") {
        return Ok(());
    }
    let upload = Upload::from_answer(server, &server.ask(&create_deferred(server))?.expect(201)?)?;
    ask(server, &append(&upload.url, 0), b"hello", &[("Upload-Length", "5")])?;
    upload.head()?.lacks("Upload-Length").at("declared in a trailer")
}

fn have_limits(judge: &Judge<'_>) -> Step {
    let server = judge.server;
    let right = checksum(b" world");
    let large = base64(Random::fresh().bytes(75_000));
    let many: Vec<String> = (0..1000).map(|number| format!("x-{number}")).collect();
    // The checksum comes last: who lets go of what is over a limit lets go of it.
    let one = vec![("X-Large", large.as_str()), ("Upload-Checksum", right.as_str())];
    // Only HTTP/1.1 knows servers that count the fields; over HTTP/2 their size has to do.
    let value = if judge.http() == Http::One { "x" } else { &large[..100] };
    let mut all: Vec<_> = many.iter().map(|name| (name.as_str(), value)).collect();
    all.push(("Upload-Checksum", &right));
    for (which, trailers) in [("100 kB", one), ("1,000 fields", all)] {
        let upload = Upload::hello(server)?;
        let before = upload.state()?;
        match judge.http() {
            Http::One => {
                let asked = announced(&upload, 5).trailed(b" world", 4, &trailers);
                let mut connection = server.begin(&asked)?;
                // The answer may be lost when the connection goes.
                if let Ok(answer) = connection.answer("PATCH") {
                    answer.expect_one(&[400, 431]).at(which)?;
                }
                connection.closes_within(Duration::from_secs(10)).at(which)?;
            }
            Http::Two => {
                if let Ok(answer) = ask(server, &announced(&upload, 5), b" world", &trailers) {
                    answer.expect_one(&[400, 431]).at(which)?;
                }
            }
        }
        let after = upload.state()?;
        ensure(before == after, "bytes of an announced check are kept").at(which)?;
    }
    Ok(())
}
