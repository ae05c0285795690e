//! Deferred length (section 5 of the page).

use std::{
    thread,
    time::{Duration, Instant},
};

use super::tus_create::nameless;
use crate::{
    case::{Case, case},
    digest::{base64, length, sha256},
    judge::Judge,
    random::Random,
    server::{Http, Server},
    stop::{At, Step, breach},
    tus::{Upload, append, create_deferred, patch, request},
    wire::{Request, h2::End},
};

pub(crate) const CASES: &[Case] = &[
    case("TUS-DEFER-01", begins_without_a_length).says(OPEN),
    case("TUS-DEFER-02", takes_one_value).says(
        "The Upload-Defer-Length request and response header indicates that the size of the upload \
         is not known currently and will be transferred later. Its value MUST be 1.",
    ),
    case("TUS-DEFER-03", takes_the_length_whenever_it_comes).says(OPEN),
    case("TUS-DEFER-04", takes_no_length_that_cannot_be_true),
    case("TUS-DEFER-05", takes_no_length_below_its_body),
    case("TUS-DEFER-06", changes_no_length).says(
        "If the length was deferred using Upload-Defer-Length: 1, the Client MUST set the \
         Upload-Length header in the next PATCH request, once the length is known. Once set the \
         length MUST NOT be changed.",
    ),
    case("TUS-DEFER-07", takes_the_same_length_again),
    case("TUS-DEFER-08", declares_no_more_than_the_maximum).says(
        "If the length of the upload exceeds the maximum, which MAY be specified using the \
         Tus-Max-Size header, the Server MUST respond with the 413 Request Entity Too Large \
         status.",
    ),
    case("TUS-DEFER-09", has_a_maximum_without_a_length),
    case("TUS-DEFER-10", keeps_no_length_of_a_refused_patch).says(
        "If the offsets do not match, the Server MUST respond with the 409 Conflict status without \
         modifying the upload resource. … [400 and 460] In the first two cases the uploaded chunk \
         MUST be discarded, and the upload and its offset MUST NOT be updated.",
    ),
    case("TUS-DEFER-11", keeps_the_length_of_a_cut_patch),
];

const OPEN: &str = "As long as the length of the upload is not known, the Server MUST set \
    Upload-Defer-Length: 1 in all responses to HEAD requests. … If the length of an upload is not \
    deferred, this header MUST be omitted.";

/// Its length is still to come.
fn is_open(upload: &Upload<'_>, offset: u64) -> Step {
    let head = upload.head()?.expect_one(&[200, 204])?;
    head.has("Upload-Offset", offset)?;
    head.has("Upload-Defer-Length", 1)
}

fn has_length(upload: &Upload<'_>, offset: u64, length: u64) -> Step {
    let head = upload.head()?.expect_one(&[200, 204])?;
    head.has("Upload-Offset", offset)?;
    head.has("Upload-Length", length)?;
    head.lacks("Upload-Defer-Length")
}

/// A PATCH that tells the length.
fn declaring(upload: &Upload<'_>, offset: u64, body: impl Into<Vec<u8>>, length: u64) -> Request {
    patch(&upload.url, offset, body).header("Upload-Length", length)
}

/// A new upload without a length that holds `hello`.
fn open_hello(server: &Server) -> Step<Upload<'_>> {
    let upload = Upload::deferred(server)?;
    upload.patch(0, "hello")?.expect(204)?;
    Ok(upload)
}

fn begins_without_a_length(judge: &Judge<'_>) -> Step {
    let server = judge.server;
    let answer = server.ask(&create_deferred(server))?.expect(201)?;
    let upload = Upload::from_answer(server, &answer)?;
    is_open(&upload, 0)?;
    judge.ours(upload.head()?.lacks("Upload-Length"))?;
    if judge.offers("expiration") {
        judge.ours(answer.needs("Upload-Expires"))?;
    }
    Ok(())
}

fn takes_one_value(judge: &Judge<'_>) -> Step {
    let server = judge.server;
    let with = |value: &str| request("POST", server.files()).header("Upload-Defer-Length", value);
    for value in ["0", "2", "true"] {
        let at = format!("Upload-Defer-Length: {value}");
        let answer = nameless(server.ask(&with(value))?).at(&at)?;
        judge.should(answer.clone().expect(400).at(&at))?;
        judge.ours(answer.refused(400).at(&at))?;
    }
    // In some reading these are a 1, or no header at all.
    let twice = with("1").header("Upload-Defer-Length", 1);
    for (odd, at) in [(with("01"), "01"), (with("1, 1"), "1, 1"), (with(""), ""), (twice, "twice")]
    {
        judge.ours(nameless(server.ask(&odd)?).and_then(|answer| answer.refused(400)).at(at))?;
    }
    Ok(())
}

/// Sends `pieces`; from the one at `told` on, the length comes with them.
fn comes_with(server: &Server, pieces: &[&[u8]], told: usize) -> Step {
    let upload = Upload::deferred(server)?;
    let bytes = pieces.concat();
    let (total, mut offset) = (length(&bytes), 0);
    for (at, piece) in pieces.iter().enumerate() {
        let asked = patch(&upload.url, offset, *piece);
        // Once it is told, a client need not tell it again.
        let asked = if at == told { asked.header("Upload-Length", total) } else { asked };
        offset += length(piece);
        server.ask(&asked)?.expect(204)?.has("Upload-Offset", offset)?;
        if at < told { is_open(&upload, offset)? } else { has_length(&upload, offset, total)? }
    }
    upload.is_file(&bytes)
}

fn takes_the_length_whenever_it_comes(judge: &Judge<'_>) -> Step {
    let server = judge.server;
    let bytes = Random::seeded(31).bytes(150_000);
    for cut in [[1, 5], [65_536, 131_072], [70_000, 149_999]] {
        let [first, second] = cut;
        let pieces = [&bytes[..first], &bytes[first..second], &bytes[second..]];
        comes_with(server, &pieces, 1).at(format_args!("in the middle of {cut:?}"))?;
        comes_with(server, &pieces, 2).at(format_args!("on the last bytes of {cut:?}"))?;
        // A PATCH against any upload is to be accepted; that is a SHOULD.
        let [first, second, third] = pieces;
        let behind = comes_with(server, &[first, second, third, b""], 3);
        judge.should(behind.at(format_args!("empty, behind {cut:?}")))?;
    }
    judge.should(comes_with(server, &[b""], 0).at("0 of 0"))?;
    Ok(())
}

fn takes_no_length_that_cannot_be_true(judge: &Judge<'_>) -> Step {
    let server = judge.server;
    let upload = open_hello(server)?;
    let base = patch(&upload.url, 5, " world");
    for value in ["4", "0", "-6", "011", "abc", "", "11, 11", "9223372036854775808"] {
        let asked = base.clone().header("Upload-Length", value);
        upload.refuses(&asked, &[400]).and_then(|answer| answer.refused(400)).at(value)?;
    }
    let twice = base.clone().header("Upload-Length", 11).header("Upload-Length", 11);
    upload.refuses(&twice, &[400]).at("twice")?;
    is_open(&upload, 5)?;
    server.ask(&declaring(&upload, 5, " world", 11))?.expect(204)?;
    upload.is_file(b"hello world")
}

fn takes_no_length_below_its_body(judge: &Judge<'_>) -> Step {
    let upload = open_hello(judge.server)?;
    let short = declaring(&upload, 5, " world", 10);
    upload.refuses(&short, &[413])?.is_problem()?;
    is_open(&upload, 5)?;
    // Nothing of it is left, so that the right length can still be told.
    judge.server.ask(&declaring(&upload, 5, " world", 11))?.expect(204)?;
    upload.is_file(b"hello world")
}

fn changes_no_length(judge: &Judge<'_>) -> Step {
    let server = judge.server;
    let deferred = Upload::deferred(server)?;
    server.ask(&declaring(&deferred, 0, "hello", 11))?.expect(204)?;
    for (upload, at) in [(deferred, "told by a PATCH"), (Upload::hello(server)?, "at creation")] {
        for other in [12, 10, 5] {
            let at = format!("{at}, then {other}");
            // Who takes the bytes and leaves the length as it was breaks no word of the text.
            let answer = server.ask(&declaring(&upload, 5, "", other)).at(&at)?;
            upload.head()?.has("Upload-Length", 11).at(&at)?;
            judge.ours(answer.refused(400).at(&at))?;
        }
        let other = declaring(&upload, 5, " world", 12);
        judge.ours(upload.refuses(&other, &[400]).at(format_args!("{at}, with bytes")))?;
        upload.head()?.has("Upload-Length", 11).at(at)?;
    }
    Ok(())
}

fn takes_the_same_length_again(judge: &Judge<'_>) -> Step {
    let server = judge.server;
    let deferred = Upload::deferred(server)?;
    server.ask(&declaring(&deferred, 0, "hello", 11))?.expect(204)?;
    for (upload, at) in [(deferred, "told by a PATCH"), (Upload::hello(server)?, "at creation")] {
        for (offset, body) in [(5, ""), (5, " world"), (11, "")] {
            let asked = declaring(&upload, offset, body, 11);
            server.ask(&asked)?.expect(204).at(format_args!("{at}, {body:?} at {offset}"))?;
        }
        upload.is_file(b"hello world").at(at)?;
    }
    Ok(())
}

fn declares_no_more_than_the_maximum(judge: &Judge<'_>) -> Step {
    let server = judge.start(&["--max-size=100"])?;
    let upload = open_hello(&server)?;
    for over in [101, i64::MAX.unsigned_abs()] {
        let asked = declaring(&upload, 5, "", over);
        let answer = server.ask(&asked)?.refused_somehow().at(over)?;
        let head = upload.head()?.expect_one(&[200, 204])?;
        let told = head.header("Upload-Length").is_some_and(|told| told == over.to_string());
        head.ensure(!told, "refused, and yet it is the length now").at(over)?;
        // The sentence stands under POST; that it holds for PATCH is how we read it.
        judge.ours(answer.refused(413).at(over))?;
    }
    judge.ours(is_open(&upload, 5))?;
    let most = declaring(&upload, 5, "", 100);
    judge.ours(server.ask(&most).and_then(|answer| answer.expect(204)).at("the maximum"))?;
    Ok(())
}

fn has_a_maximum_without_a_length(judge: &Judge<'_>) -> Step {
    let server = judge.start(&["--max-size=100"])?;
    let upload = Upload::deferred(&server)?;
    upload.patch(0, [b'x'; 60])?.expect(204)?;
    upload.refuses(&patch(&upload.url, 60, [b'y'; 41]), &[413])?.is_problem()?;
    is_open(&upload, 60)?;
    let asked = if judge.http() == Http::One {
        append(&upload.url, 60).chunked(&[b'y'; 50], 7)
    } else {
        patch(&upload.url, 60, [b'y'; 50]).without("Content-Length")
    };
    server.ask(&asked)?.refused(413)?;
    is_open(&upload, 100)?;
    server.ask(&declaring(&upload, 100, "", 100))?.expect(204)?;
    upload.is_file(&[&[b'x'; 60][..], &[b'y'; 40]].concat())
}

fn keeps_no_length_of_a_refused_patch(judge: &Judge<'_>) -> Step {
    let server = judge.server;
    let upload = open_hello(server)?;
    let right = declaring(&upload, 5, " world", 11);
    for offset in [4, 6] {
        let asked = right.clone().set("Upload-Offset", offset);
        upload.refuses(&asked, &[409]).at("409")?;
        is_open(&upload, 5).at("409")?;
    }
    let typed = right.clone().set("Content-Type", "text/plain");
    judge.should(upload.refuses(&typed, &[415]).and_then(|_| is_open(&upload, 5)).at("415"))?;
    if judge.offers("checksum") {
        // It may be another upload if the server has taken the last one.
        let upload = open_hello(server)?;
        let right = declaring(&upload, 5, " world", 11);
        for (checksum, status) in [(sha1_of_nothing(), 460), (an_unknown_one(), 400)] {
            let asked = right.clone().header("Upload-Checksum", &checksum);
            let answer = upload.refuses_somehow(&asked).at(&checksum)?;
            is_open(&upload, 5).at(&checksum)?;
            judge.ours(answer.refused(status).at(&checksum))?;
        }
        if judge.offers("checksum-trailer") && judge.http() == Http::One {
            let trailed = append(&upload.url, 5)
                .header("Upload-Length", 11)
                .header("Trailer", "Upload-Checksum")
                .trailed(b" world", 4, &[("Upload-Checksum", &sha1_of_nothing())]);
            let answer = upload.refuses_somehow(&trailed).at("a trailer")?;
            is_open(&upload, 5).at("a trailer")?;
            judge.ours(answer.refused(460).at("a trailer"))?;
        }
        server.ask(&right)?.expect(204)?;
        upload.is_file(b"hello world")?;
    }
    Ok(())
}

/// The checksum of the empty body; every server that checks knows sha1.
fn sha1_of_nothing() -> String {
    "sha1 2jmj7l5rSw0yVb/vlWAYkK/YBwk=".to_owned()
}

fn an_unknown_one() -> String {
    format!("sha257 {}", base64(sha256(b" world")))
}

/// Sends the first bytes of a PATCH that tells the length, and goes away when `there` says that
/// they have come.
fn cut(judge: &Judge<'_>, upload: &Upload<'_>, sent: &[u8], total: u64, gone: Gone<'_>) -> Step {
    let server = upload.server;
    let head = append(&upload.url, 0).header("Upload-Length", total).announcing(total);
    if judge.http() == Http::Two {
        let mut connection = server.connect_h2()?;
        let mut stream = connection.begin(&head)?;
        stream.raw(sent, End::Open)?;
        gone()?;
        stream.reset();
        return Ok(());
    }
    let mut connection = server.begin(&head)?;
    connection.raw(sent)?;
    gone()
}

/// What happens before the client lets the connection go.
type Gone<'a> = &'a dyn Fn() -> Step;

fn keeps_the_length_of_a_cut_patch(judge: &Judge<'_>) -> Step {
    let bytes = Random::seeded(32).bytes(150_000);
    let total = length(&bytes);
    let (sent, unsent) = bytes.split_at(70_017);
    let upload = Upload::deferred(judge.server)?;
    cut(judge, &upload, sent, total, &|| arrived(&upload, sent))?;
    goes_on(&upload, sent, unsent)?;
    let server = judge.then_start(&[])?;
    let upload = Upload::deferred(&server)?;
    cut(judge, &upload, sent, total, &|| {
        arrived(&upload, sent)?;
        server.crash()
    })?;
    goes_on(&upload, sent, unsent).at("after kill -9")
}

/// Waits until the server has received it; a HEAD could take the upload over before.
fn arrived(upload: &Upload<'_>, sent: &[u8]) -> Step {
    if upload.server.layout().is_ok() {
        let there = || Ok(upload.parts().values().any(|(size, _)| *size >= length(sent)));
        return until(there).at("what came does not reach the disk");
    }
    thread::sleep(Duration::from_millis(500));
    Ok(())
}

/// All that came is there, and the length too; the rest makes the file.
fn goes_on(upload: &Upload<'_>, sent: &[u8], unsent: &[u8]) -> Step {
    let total = length(sent) + length(unsent);
    until(|| Ok(upload.offset()? == length(sent))).at("what came is not kept")?;
    has_length(upload, length(sent), total)?;
    upload.patch(length(sent), unsent)?.expect(204)?;
    upload.is_file(&[sent, unsent].concat())
}

/// Waits until it is so, at most some seconds.
fn until(so: impl Fn() -> Step<bool>) -> Step {
    let span = Duration::from_secs(5);
    let deadline = Instant::now() + span;
    while !so()? {
        if Instant::now() > deadline {
            return Err(breach(format_args!("not after {span:?}")));
        }
        thread::sleep(Duration::from_millis(10));
    }
    Ok(())
}
