//! Creation with upload (section 4 of the page).

use std::{
    thread,
    time::{Duration, Instant},
};

use super::{
    conn::SOON,
    tus_create::{makes_none, nameless, without_trace},
};
use crate::{
    case::{Case, case},
    digest::{base64, sha256},
    judge::Judge,
    server::{Http, Server},
    stop::{At, Step, breach, ensure, rest},
    tus::{OFFSET_TYPE, Upload, create, create_deferred, create_with},
    wire::{Answer, Request, h2::End},
};

pub(crate) const CASES: &[Case] = &[
    case("TUS-CWU-01", takes_the_first_bytes).says(OFFSET),
    case("TUS-CWU-02", takes_all_bytes).says(OFFSET),
    case("TUS-CWU-03", makes_nothing_for_too_many_bytes),
    case("TUS-CWU-04", keeps_the_part_that_fits),
    case("TUS-CWU-05", drops_no_body_silently),
    case("TUS-CWU-06", takes_an_empty_or_deferred_one).says(
        "The Server … MUST include the Upload-Offset header in the response and MUST set its value \
         to the offset of the upload after applying the accepted bytes. … As long as the length of \
         the upload is not known, the Server MUST set Upload-Defer-Length: 1 in all responses to \
         HEAD requests. … If the length of the upload exceeds the maximum, …, the Server MUST \
         respond with the 413 Request Entity Too Large status.",
    ),
    case("TUS-CWU-07", keeps_a_cut_body),
    case("TUS-CWU-08", goes_on_where_it_will_take_it).http1(),
    case("TUS-CWU-09", checks_the_first_bytes),
];

const OFFSET: &str = "The Server SHOULD accept as many bytes as possible and MUST include the \
    Upload-Offset header in the response and MUST set its value to the offset of the upload after \
    applying the accepted bytes.";

/// The upload of a 201, and its offset, which HEAD repeats.
fn begun<'a>(server: &'a Server, request: &Request) -> Step<(Upload<'a>, u64, Answer)> {
    let answer = server.ask(request)?.expect(201)?;
    let upload = Upload::from_answer(server, &answer)?;
    let offset = answer.offset()?;
    upload.is_at(offset)?;
    Ok((upload, offset, answer))
}

fn takes_the_first_bytes(judge: &Judge<'_>) -> Step {
    let server = judge.server;
    let (upload, offset, answer) = begun(server, &create_with(server, 11, "hello"))?;
    let what = format!("{offset} of 5 bytes are taken");
    judge.should(answer.ensure(offset == 5, what))?;
    if judge.offers("expiration") {
        judge.ours(answer.needs("Upload-Expires"))?;
    }
    let rest = usize::try_from(offset).ok().and_then(|offset| b"hello world".get(offset..));
    let rest = rest.ok_or_else(|| answer.breach("more bytes are taken than were sent"))?;
    upload.patch(offset, rest)?.expect(204)?.has("Upload-Offset", 11)?;
    upload.is_file(b"hello world")
}

fn takes_all_bytes(judge: &Judge<'_>) -> Step {
    let server = judge.server;
    let (upload, offset, answer) = begun(server, &create_with(server, 11, "hello world"))?;
    judge.should(answer.ensure(offset == 11, format_args!("{offset} of 11 bytes are taken")))?;
    judge.ours(answer.lacks("Upload-Expires"))?;
    if offset == 11 {
        judge.ours(upload.get().and_then(|file| file.expect(200)))?;
        upload.is_file(b"hello world")?;
    }
    Ok(())
}

/// The POST is refused like this on the shared server, and leaves nothing on `own`.
fn leaves_none(judge: &Judge<'_>, own: &Server, request: &Request, status: u16) -> Step {
    makes_none(judge.server, request, status)?;
    without_trace(own, || own.ask(request).map(|_| ()))
}

/// A body whose length is not told before: chunked, or as HTTP/2 sends any.
fn unsized_body(judge: &Judge<'_>, request: Request, bytes: &[u8], size: usize) -> Request {
    if judge.http() == Http::One {
        return request.chunked(bytes, size);
    }
    request.body(bytes).without("Content-Length")
}

fn makes_nothing_for_too_many_bytes(judge: &Judge<'_>) -> Step {
    let server = judge.server;
    let unsized_one = unsized_body(judge, create_with(server, 0, ""), b"x", 1);
    let all = [
        (create_with(server, 11, [b'x'; 20]), "20 bytes for 11"),
        (create_with(server, 0, "x"), "a byte for none"),
        (unsized_one, "a byte for none, of unknown length"),
    ];
    for (request, at) in &all {
        makes_none(server, request, 413).at(at)?;
    }
    let own = judge.then_start(&[])?;
    for (request, at) in &all {
        leaves_none(judge, &own, request, 413).at(at)?;
    }
    Ok(())
}

fn keeps_the_part_that_fits(judge: &Judge<'_>) -> Step {
    let server = judge.server;
    let request = unsized_body(judge, create_with(server, 11, ""), b"hello world!!!", 4);
    let answer = server.ask(&request)?;
    judge.ours(answer.clone().refused(413))?;
    answer.has("Upload-Offset", 11)?;
    let upload = Upload::from_answer(server, &answer)?;
    upload.is_file(b"hello world")
}

fn drops_no_body_silently(judge: &Judge<'_>) -> Step {
    let server = judge.server;
    let mut all = vec![
        (create(server, 11).body("hello"), "no type"),
        (unsized_body(judge, create(server, 11), b"hello", 2), "no type, of unknown length"),
    ];
    for media_type in ["text/plain", "application/octet-stream", "application/partial-upload"] {
        let typed = create(server, 11).header("Content-Type", media_type);
        all.push((typed.clone().body("hello"), media_type));
        all.push((unsized_body(judge, typed, b"hello", 2), media_type));
    }
    for (request, at) in &all {
        makes_none(server, request, 415).at(at)?;
    }
    let own = judge.then_start(&[])?;
    for (request, at) in &all {
        leaves_none(judge, &own, request, 415).at(at)?;
    }
    Ok(())
}

fn takes_an_empty_or_deferred_one(judge: &Judge<'_>) -> Step {
    let server = judge.server;
    let answer = server.ask(&create_with(server, 11, ""))?.expect(201).at("empty")?;
    Upload::from_answer(server, &answer)?.is_at(0)?;
    // No bytes are brought, so that the text may or may not ask for it.
    judge.ours(answer.has("Upload-Offset", 0).at("empty"))?;
    let deferred = |server: &Server| create_deferred(server).header("Content-Type", OFFSET_TYPE);
    if judge.offers("creation-defer-length") {
        let (upload, offset, answer) = begun(server, &deferred(server).body("hello"))?;
        upload.head()?.has("Upload-Defer-Length", 1).at("deferred")?;
        judge.should(answer.ensure(offset == 5, format_args!("{offset} of 5 bytes")))?;
    }
    let server = judge.then_start(&["--max-size=10"])?;
    let longer = create_with(&server, 11, "hello");
    let answer = server.ask(&longer)?.expect(413).at("a length over the maximum")?;
    answer.lacks("Location")?;
    let over = create_with(&server, 10, "hello world");
    judge.ours(makes_none(&server, &over, 413).at("a body over the maximum"))?;
    judge.ours(without_trace(&server, || {
        nameless(server.ask(&longer)?)?;
        nameless(server.ask(&over)?).map(|_| ())
    }))?;
    if judge.offers("creation-defer-length") {
        let over = deferred(&server).body("hello world");
        judge.ours(makes_none(&server, &over, 413).at("deferred, over the maximum"))?;
    }
    Ok(())
}

/// Sends `hello` of a first body of 11 bytes and goes away; what is answered until then.
fn cut(judge: &Judge<'_>, server: &Server) -> Step<Option<u16>> {
    let request = create(server, 11).header("Content-Type", OFFSET_TYPE).announcing(11);
    if judge.http() == Http::Two {
        let mut connection = server.connect_h2()?;
        let mut stream = connection.begin(&request)?;
        stream.raw(b"hello", End::Open)?;
        let silent = stream.silent_for(Duration::from_millis(200));
        let answer = if silent { None } else { Some(stream.answer()?.status) };
        return Ok(answer);
    }
    let mut connection = server.begin(&request)?;
    connection.raw(b"hello")?;
    connection.finish();
    if connection.silent_for(Duration::from_millis(200))? {
        return Ok(None);
    }
    Ok(connection.answer("POST").ok().map(|answer| answer.status))
}

fn keeps_a_cut_body(judge: &Judge<'_>) -> Step {
    let status = cut(judge, judge.server)?;
    ensure(status != Some(201), "201 for a body that was cut")?;
    let server = judge.then_start(&["--expire-after=5s", "--reap-every=100ms"])?;
    rest(server.layout())?;
    cut(judge, &server)?;
    let there = || server.stored().values().any(|(size, _)| *size == 5);
    until(Duration::from_secs(5), there).at("the five bytes are not on disk")?;
    let vanished = || server.stored().is_empty();
    until(Duration::from_secs(15), vanished).at("the five bytes stay though they have expired")
}

/// Waits until it is so.
fn until(span: Duration, so: impl Fn() -> bool) -> Step {
    let deadline = Instant::now() + span;
    while !so() {
        if Instant::now() > deadline {
            return Err(breach(format_args!("not after {span:?}")));
        }
        thread::sleep(Duration::from_millis(5));
    }
    Ok(())
}

/// The request with `Expect: 100-continue` and a body that waits for it.
fn expecting(request: Request) -> Request {
    request.header("Expect", "100-continue").announcing(11)
}

/// It is refused at once: nobody asks for a body that would be dropped.
fn refuses_before_the_body(server: &Server, request: Request, status: u16) -> Step {
    let mut connection = server.begin(&expecting(request))?;
    let (first, _) = connection.head()?;
    ensure(first != 100, "the body is asked for")?;
    ensure(first == status, format_args!("the status is {first}, not {status}"))
}

fn goes_on_where_it_will_take_it(judge: &Judge<'_>) -> Step {
    let server = judge.server;
    let typed =
        |server: &Server, length| create(server, length).header("Content-Type", OFFSET_TYPE);
    let mut connection = server.begin(&expecting(typed(server, 11)))?;
    let silent = connection.silent_for(SOON)?;
    ensure(!silent, "no 100 comes, and the client waits")?;
    let (status, _) = connection.head()?;
    ensure(status == 100, format_args!("{status} instead of 100"))?;
    connection.raw(b"hello world")?;
    let answer = connection.answer("POST")?.expect(201)?;
    answer.has("Upload-Offset", 11)?;
    let bad_metadata = |server: &Server| typed(server, 11).header("Upload-Metadata", "a !!!");
    let bad_checksum =
        |server: &Server| typed(server, 11).header("Upload-Checksum", "md5 nonsense");
    let bad_type = |server: &Server| create(server, 11).header("Content-Type", "text/plain");
    let refused = |server: &Server| {
        refuses_before_the_body(server, bad_metadata(server), 400).at("bad metadata")?;
        refuses_before_the_body(server, bad_type(server), 415).at("another media type")?;
        if judge.offers("checksum") {
            refuses_before_the_body(server, bad_checksum(server), 400).at("a bad checksum")?;
        }
        Ok(())
    };
    judge.should(refused(server))?;
    let own = judge.then_start(&["--max-size=100"])?;
    let over = || refuses_before_the_body(&own, typed(&own, 101), 413).at("over the maximum");
    judge.should(over())?;
    judge.ours(without_trace(&own, || {
        refused(&own)?;
        over()
    }))?;
    Ok(())
}

fn checks_the_first_bytes(judge: &Judge<'_>) -> Step {
    judge.needs("checksum")?;
    let server = judge.server;
    let sum = |bytes: &[u8]| format!("sha256 {}", base64(sha256(bytes)));
    let (right, wrong) = (sum(b"hello"), sum(b"Hello"));
    let unknown = wrong.replace("sha256", "sha257");
    let with = |sum: &str| create_with(server, 11, "hello").header("Upload-Checksum", sum);
    let (_, offset, _) = begun(server, &with(&right)).at("a right checksum")?;
    ensure(offset == 5, format_args!("{offset} of 5 bytes"))?;
    let mut bad = vec![(with(&wrong), 460), (with(&unknown), 400)];
    if judge.offers("checksum-trailer") && judge.http() == Http::One {
        let trailed = |sum: &str| {
            create(server, 11)
                .header("Content-Type", OFFSET_TYPE)
                .header("Trailer", "Upload-Checksum")
                .trailed(b"hello", 2, &[("Upload-Checksum", sum)])
        };
        let (_, offset, _) = begun(server, &trailed(&right)).at("a right trailer")?;
        ensure(offset == 5, format_args!("{offset} of 5 bytes"))?;
        bad.extend([(trailed(&wrong), 460), (trailed(&unknown), 400)]);
    }
    for (request, status) in &bad {
        makes_none(server, request, *status).at(status)?;
    }
    let own = judge.then_start(&[])?;
    for (request, status) in &bad {
        leaves_none(judge, &own, request, *status).at(status)?;
    }
    Ok(())
}
