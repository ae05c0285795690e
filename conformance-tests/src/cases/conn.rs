//! Connections and early answers (section 18 of the page): what is read of a request, and when it
//! is refused.

use std::time::Duration;

use super::{conn_cut, conn_early};
use crate::{
    case::{Case, case},
    judge::Judge,
    random::Random,
    server::{Http, Server},
    stop::{At, Step, ensure},
    tus::{GONE, Upload, append, create, patch, request},
    wire::{Answer, Request, h1::Conn},
};

pub(crate) const CASES: &[Case] = &[
    case("CONN-01", conn_early::refused_while_the_body_comes),
    case("CONN-02", conn_early::after_a_refusal),
    case("CONN-03", conn_early::expectations).says(
        "Upon receiving an HTTP/1.1 (or later) request that has a method, target URI, and complete \
         header section that contains a 100-continue expectation and indicates that request \
         content will follow, an origin server MUST send either: an immediate response with a \
         final status code, if that status can be determined by examining just the method, target \
         URI, and header section, or an immediate 100 (Continue) response … The origin server MUST \
         NOT wait for the content before sending the 100 (Continue) response. (RFC 9110, section \
         10.1.1)",
    ),
    case("CONN-04", malformed_lengths).http1().says(
        "If a message is received without Transfer-Encoding and with an invalid Content-Length \
         header field, then the message framing is invalid and the recipient MUST treat it as an \
         unrecoverable error … If the unrecoverable error is in a request message, the server MUST \
         respond with a 400 (Bad Request) status code and then close the connection. (RFC 9112, \
         section 6.3)",
    ),
    case("CONN-05", bodies_are_never_requests).http1().says(
        "If a Transfer-Encoding header field is present in a request and the chunked transfer \
         coding is not the final encoding, the message body length cannot be determined reliably; \
         the server MUST respond with the 400 (Bad Request) status code and then close the \
         connection. (RFC 9112, section 6.3) A server MAY reject a request that contains both \
         Content-Length and Transfer-Encoding or process such a request in accordance with the \
         Transfer-Encoding alone. Regardless, the server MUST close the connection after \
         responding to such a request to avoid the potential attacks. (section 6.1)",
    ),
    case("CONN-06", broken_chunks).http1().says(
        "A recipient MUST anticipate potentially large hexadecimal numerals and prevent parsing \
         errors due to integer conversion overflows or precision loss due to integer \
         representation. (RFC 9112, section 7.1)",
    ),
    case("CONN-07", an_old_version).http1().says(
        "A server or client that receives an HTTP/1.0 message containing a Transfer-Encoding \
         header field MUST treat the message as if the framing is faulty, even if a Content-Length \
         is present, and close the connection after processing the message. (RFC 9112, section \
         6.1) … a server MUST NOT send a 1xx response to an HTTP/1.0 client. (RFC 9110, section \
         15.2)",
    ),
    case("CONN-08", heads_that_are_none).http1().says(
        "A server MUST respond with a 400 (Bad Request) status code to any HTTP/1.1 request \
         message that lacks a Host header field and to any request message that contains more than \
         one Host header field line or a Host header field with an invalid field value. (RFC 9112, \
         section 3.2) Bare CR, NUL and folded lines MUST be refused or read as blanks (RFC 9112, \
         sections 2.2 and 5.2; RFC 9110, section 5.5)",
    ),
    case("CONN-09", requests_in_one_segment).http1().says(
        "A server MAY process a sequence of pipelined requests in parallel if they all have safe \
         methods …, but it MUST send the corresponding responses in the same order that the \
         requests were received. (RFC 9112, section 9.3.2)",
    ),
    case("CONN-10", unusual_but_legal).http1().says(
        "A server MUST accept the absolute-form in requests … (RFC 9112, section 3.2.2) TCP has no \
         segments that a server may see: it reads a stream of bytes.",
    ),
    case("CONN-11", conn_cut::heads_that_never_end).http1(),
    case("CONN-12", conn_cut::bodies_that_stall),
    case("CONN-13", conn_cut::bodies_that_are_cut),
    case("CONN-14", conn_cut::the_length_decides).http1(),
    case("CONN-15", heads_have_limits).says(
        "A server that receives a request header field line, field value, or set of fields larger \
         than it wishes to process MUST respond with an appropriate 4xx (Client Error) status \
         code. (RFC 9110, section 5.4) A server that receives a request-target longer than any URI \
         it wishes to parse MUST respond with a 414 (URI Too Long) status code. (RFC 9112, section \
         3)",
    ),
];

/// Whoever closes does so by then.
pub(super) const SOON: Duration = Duration::from_secs(8);

fn malformed_lengths(judge: &Judge<'_>) -> Step {
    let server = judge.server;
    for length in ["-1", "+5", "abc", "5, 6", "18446744073709551616"] {
        let upload = Upload::hello(server)?;
        let before = upload.state()?;
        let asked = patch(&upload.url, 5, " worl").set("Content-Length", length);
        let mut connection = server.begin(&asked)?;
        let answer = connection.answer("PATCH").map_err(Into::into).at(length)?;
        // 2^64 has the form of a length, so it may be called too large as well.
        if length.len() > 10 {
            judge.ours(answer.clone().expect(400).at(length))?;
            answer.refused_somehow().at(length)?;
        } else {
            answer.expect(400).at(length)?;
        }
        connection.closes_within(SOON).at(length)?;
        ensure(upload.state()? == before, format_args!("{length}: something was stored"))?;
    }
    Ok(())
}

fn bodies_are_never_requests(judge: &Judge<'_>) -> Step {
    for coding in ["chunked", "chunked, chunked", "gzip", "identity"] {
        body_is_no_request(judge, coding).at(format_args!("Transfer-Encoding: {coding}"))?;
    }
    Ok(())
}

/// Behind the body stands what would be another request, if the body were taken to end there.
fn body_is_no_request(judge: &Judge<'_>, coding: &str) -> Step {
    let server = judge.server;
    let upload = Upload::new(server, 11)?;
    let smuggled = request("HEAD", &upload.url).header("Host", server.host()).wire();
    let body = [b"5\r\nhello\r\n0\r\n\r\n".to_vec(), smuggled].concat();
    let with_length = coding == "chunked";
    let mut asked = append(&upload.url, 0).header("Transfer-Encoding", coding);
    if with_length {
        asked = asked.announcing(crate::digest::length(&body));
    }
    asked.body = body;
    let mut connection = server.begin(&asked)?;
    let answer = connection.answer("PATCH")?;
    let rest = connection.closes_within(SOON)?;
    let second = String::from_utf8_lossy(&rest).contains("HTTP/1.");
    answer.ensure(!second, "the end of the body was answered as a request")?;
    let status = answer.status;
    match coding {
        "chunked" => answer.expect_one(&[400, 501, 204]).map(drop)?,
        // Who takes the second coding for a mistake of the sender only, finds no chunks inside.
        "chunked, chunked" => judge.ours(answer.expect_one(&[400, 501])).map(drop)?,
        _ => answer.expect_one(&[400, 501]).map(drop)?,
    }
    let offset = upload.offset()?;
    let right = offset == 0 || offset == 5 && status == 204;
    ensure(right, format_args!("the status is {status}, and {offset} bytes are stored"))
}

fn broken_chunks(judge: &Judge<'_>) -> Step {
    for (what, broken, kept) in [
        ("size ZZ", "ZZ\r\n world\r\n0\r\n\r\n", 5),
        ("no CRLF behind the size", "6 world\r\n0\r\n\r\n", 5),
        ("size of 2^64", "10000000000000000\r\n world\r\n0\r\n\r\n", 5),
        ("size of 2^64 + 6", "10000000000000006\r\n world\r\n0\r\n\r\n", 5),
        ("no CRLF behind the bytes", "3\r\n world\r\n0\r\n\r\n", 8),
    ] {
        let upload = Upload::new(judge.server, 11)?;
        let mut asked = append(&upload.url, 0).header("Transfer-Encoding", "chunked");
        asked.body = format!("5\r\nhello\r\n{broken}").into_bytes();
        let mut connection = judge.server.begin(&asked)?;
        let (answer, rest) = (connection.answer("PATCH"), connection.closes_within(SOON));
        judge.ours(rest.map(drop).at(what))?;
        match answer {
            Ok(answer) => {
                let taken = answer.status < 300;
                answer.ensure(!taken, "a body that is no body was accepted").at(what)?;
                judge.ours(answer.expect(400).at(what))?;
            }
            // To hang up is an answer as well.
            Err(error) => judge.ours::<()>(Err(error.into()).at(what)).map(drop)?,
        }
        let offset = upload.offset()?;
        let prefix = offset <= 5 || offset <= kept;
        ensure(prefix, format_args!("{what}: {offset} bytes are stored, {kept} came"))?;
        let all = ensure(offset >= 5, format_args!("{offset} bytes are kept of 5"));
        judge.should(all.at(what))?;
        // What was kept is what was sent.
        let from = usize::try_from(offset).unwrap_or(0);
        upload.patch(offset, &b"hello world"[from..])?.expect(204).at(what)?;
        upload.is_file(b"hello world").at(what)?;
    }
    Ok(())
}

fn an_old_version(judge: &Judge<'_>) -> Step {
    let server = judge.server;
    let upload = Upload::new(server, 11)?;
    let old = patch(&upload.url, 0, "hello").header("Expect", "100-continue").http_1_0();
    let mut connection = server.begin(&old)?;
    let answer = connection.answer("PATCH")?;
    answer.ensure(answer.interim.is_empty(), "a 1xx for a client of HTTP/1.0")?;
    connection.closes_within(SOON)?;
    let stored = if answer.status == 505 { 0 } else { 5 };
    judge.ours(answer.clone().expect(204))?;
    answer.expect_one(&[200, 204, 505])?;
    upload.is_at(stored)?;
    let chunked = append(&upload.url, stored).chunked(b" world", 3).http_1_0();
    let mut connection = server.begin(&chunked)?;
    let answer = connection.answer("PATCH")?;
    judge.ours(answer.clone().expect(400).at("chunked"))?;
    // To read them and close is how some understand "after processing the message".
    let refused = answer.status >= 400;
    judge.ours(answer.ensure(refused, "chunks were taken from a client of HTTP/1.0"))?;
    connection.closes_within(SOON).at("chunked")?;
    if refused { upload.is_at(stored).at("chunked") } else { Ok(()) }
}

fn heads_that_are_none(judge: &Judge<'_>) -> Step {
    let server = judge.server;
    let named = |url: &str| patch(url, 5, " worl").header("Host", server.host());
    for what in ["no Host", "two Hosts", "two Hosts that differ", "a malformed Host"] {
        let upload = Upload::hello(server)?;
        let good = named(&upload.url);
        let head = match what {
            "no Host" => good.without("Host"),
            "two Hosts" => good.header("Host", server.host()),
            "two Hosts that differ" => good.header("Host", "another.test"),
            _ => good.set("Host", "a b/c"),
        };
        refused_and_closed(server, &head.wire()).at(what)?.expect(400).at(what)?;
        upload.is_at(5).at(what)?;
    }
    for (what, line) in [
        ("bare CR", "X-Odd: a\rb\r\n"),
        ("NUL", "X-Odd: a\0b\r\n"),
        ("folded line", "X-Odd: a\r\n b\r\n"),
    ] {
        let upload = Upload::hello(server)?;
        let head = String::from_utf8_lossy(&named(&upload.url).wire()).into_owned();
        let head = head.replacen("Content-Length", &format!("{line}Content-Length"), 1);
        let mut connection = server.connect()?;
        connection.raw(head)?;
        let answer = connection.answer("PATCH")?;
        judge.ours(answer.clone().expect(400).at(what))?;
        // Such a line may also be read as if blanks stood there.
        let status = answer.status;
        answer.expect_one(&[400, 204]).at(what)?;
        upload.is_at(if status == 204 { 10 } else { 5 }).at(what)?;
    }
    Ok(())
}

/// The answer to these bytes, behind which nothing comes.
fn refused_and_closed(server: &Server, wire: &[u8]) -> Step<Answer> {
    let mut connection = server.connect()?;
    connection.raw(wire)?;
    let answer = connection.answer("PATCH")?;
    if answer.status == 400 {
        let rest = connection.closes_within(SOON)?;
        answer.ensure(rest.is_empty(), "more than one answer")?;
    }
    Ok(answer)
}

fn requests_in_one_segment(judge: &Judge<'_>) -> Step {
    let server = judge.server;
    let wire = |request: Request| request.header("Host", server.host()).wire();
    let mut connection = server.connect()?;
    connection.raw([wire(create(server, 11)), wire(create(server, 22))].concat())?;
    for length in [11, 22] {
        let Some(answer) = next(judge, &mut connection, "POST")? else { return Ok(()) };
        let upload = Upload::from_answer(server, &answer.expect(201)?)?;
        upload.head()?.has("Upload-Length", length).at("two POSTs in one segment")?;
    }
    let upload = Upload::new(server, 11)?;
    let mut connection = server.connect()?;
    let pair = [patch(&upload.url, 0, "hello"), request("HEAD", &upload.url)];
    connection.raw(pair.map(wire).concat())?;
    let Some(patched) = next(judge, &mut connection, "PATCH")? else { return Ok(()) };
    patched.expect(204)?.has("Upload-Offset", 5)?;
    let Some(head) = next(judge, &mut connection, "HEAD")? else { return Ok(()) };
    head.expect_one(&[200, 204])?.has("Upload-Offset", 5).at("HEAD behind PATCH")?;
    let mut connection = server.connect()?;
    connection.raw(wire(request("HEAD", &upload.url)).repeat(100))?;
    for number in 1..=100 {
        let Some(head) = next(judge, &mut connection, "HEAD")? else { break };
        head.has("Upload-Offset", 5).at(format_args!("HEAD {number} of 100"))?;
    }
    let server = judge.then_start(&["--idle-timeout=3s"])?;
    let url = Upload::hello(&server)?.url;
    let mut connection = server.connect()?;
    connection.ask(&request("HEAD", &url))?.expect_one(&[200, 204])?;
    // How long a connection may idle is the server's own affair (RFC 9112, section 9.5).
    let quietly = connection
        .closes_within(SOON)
        .and_then(|said| ensure(said.is_empty(), "an idle connection is not closed quietly"));
    judge.ours(quietly.at("an idle connection")).map(drop)
}

/// The next answer in a row; a server may close between two, which ours does not.
fn next(judge: &Judge<'_>, connection: &mut Conn, method: &str) -> Step<Option<Answer>> {
    judge.ours(connection.answer(method).map_err(Into::into).at("requests in one segment"))
}

fn unusual_but_legal(judge: &Judge<'_>) -> Step {
    let server = judge.server;
    let upload = Upload::new(server, 11)?;
    let mut connection = server.connect()?;
    for byte in patch(&upload.url, 0, "hello").header("Host", server.host()).wire() {
        connection.raw([byte])?;
    }
    let answer = connection.answer("PATCH")?.expect(204).at("byte by byte")?;
    answer.has("Upload-Offset", 5)?;
    let mut absolute = patch(&upload.url, 5, " ");
    absolute.target = format!("http://{}{}", server.host(), upload.url);
    let answer = server.ask(&absolute)?.expect(204).at("absolute form")?;
    answer.has("Upload-Offset", 6)?;
    let bytes = Random::fresh().bytes(10_000);
    let long = Upload::new(server, 10_000)?;
    let mut connection = server.begin(&append(&long.url, 0).announcing(10_000))?;
    for byte in &bytes {
        connection.raw([*byte])?;
    }
    connection.answer("PATCH")?.expect(204).at("segments of one byte")?;
    long.is_file(&bytes).at("segments of one byte")?;
    let half = || -> Step {
        let mut connection = server.begin(&patch(&upload.url, 6, "w"))?;
        connection.finish();
        connection.answer("PATCH")?.expect(204)?.has("Upload-Offset", 7)
    };
    judge.ours(half().at("half-closed behind a whole request"))?;
    let stray = |method| -> Step<Answer> {
        Ok(server.connect()?.ask(&request(method, &upload.url).body("stray"))?)
    };
    let head = |answer: Answer| answer.expect_one(&[200, 204]).map(drop);
    judge.ours(stray("HEAD").and_then(head).at("HEAD with a body"))?;
    if judge.offers("termination") {
        let gone = |answer: Answer| {
            answer.expect(204)?;
            upload.head()?.expect_one(&GONE).map(drop)
        };
        judge.ours(stray("DELETE").and_then(gone).at("DELETE with a body"))?;
    }
    Ok(())
}

fn heads_have_limits(judge: &Judge<'_>) -> Step {
    let server = judge.server;
    let upload = Upload::hello(server)?;
    // Asked as GET would be: no early answer to a HEAD tells whether a body follows.
    let mut many = request("GET", &upload.url);
    for number in 0..1000 {
        many = many.header(&format!("X-{number}"), number);
    }
    let fat = request("GET", &upload.url).header("X-Fat", "x".repeat(1 << 20));
    let mut long = request("GET", &upload.url);
    long.target = format!("{}{}", server.files(), "x".repeat(100_000));
    if judge.http() == Http::Two {
        // The heads of HTTP/2 have one limit for all their lines (RFC 9113, section 10.5.1), and
        // the library of this suite sends no target beyond 64 KiB.
        long.target.truncate(65_450);
        for (what, request) in [("1,000 headers", many), ("1 MB", fat), ("a long target", long)] {
            if let Ok(answer) = server.ask(&request) {
                let status = answer.status;
                answer.ensure((400..500).contains(&status), "no 4xx").at(what)?;
                judge.ours(answer.expect(431).at(what))?;
            }
            upload.is_at(5).at(what)?;
        }
        return Ok(());
    }
    for (what, request, status) in
        [("1,000 headers", many, 431), ("1 MB", fat, 431), ("a long target", long, 414)]
    {
        // The reset behind an answer may take it away before it is read.
        let Some(answer) = judge.ours(server.ask(&request).at(what))? else { continue };
        judge.ours(answer.clone().expect(status).at(what))?;
        // Who wishes to read all of it answers what it then says: that there is no such upload, or
        // no whole file yet.
        let read = [200, 403, 404, 405, 410];
        let fits = status == 431 && (400..500).contains(&answer.status);
        let fits = fits || answer.status == status || read.contains(&answer.status);
        let found = answer.status;
        answer.ensure(fits, format_args!("the status is {found}, not {status}")).at(what)?;
        upload.is_at(5).at(what)?;
    }
    Ok(())
}
