//! X-HTTP-Method-Override (section 8 of the page).

use std::time::Duration;

use super::life;
use crate::{
    case::{Case, case},
    judge::Judge,
    server::{Http, Server},
    stop::{At, Step, ensure},
    tus::{Upload, create, patch, request},
    wire::Request,
};

pub(crate) const CASES: &[Case] = &[
    case("TUS-OVR-01", a_post_can_be_any_method).says(OVERRIDE),
    case("TUS-OVR-02", a_post_as_head_promises_no_body).says(
        "The X-HTTP-Method-Override request header MUST be a string which MUST be interpreted as \
         the request's method by the Server, if the header is presented. The actual method of the \
         request MUST be ignored. … (RFC 9112 §6.3: what was asked by POST has the body that its \
         head announces)",
    ),
    case("TUS-OVR-03", a_safe_method_stays_safe),
    case("TUS-OVR-04", a_name_is_exact)
        .says("The method token is case-sensitive … (RFC 9110 §9.1)"),
    case("TUS-OVR-05", the_rules_are_those_of_what_is_meant).says(OVERRIDE),
];

const OVERRIDE: &str = "The X-HTTP-Method-Override request header MUST be a string which MUST be \
    interpreted as the request's method by the Server, if the header is presented. The actual \
    method of the request MUST be ignored.";

/// The request as a POST that means `method`.
fn posted(mut request: Request, method: &str) -> Request {
    "POST".clone_into(&mut request.method);
    request.header("X-HTTP-Method-Override", method)
}

/// What cannot be sent by name comes as a POST.
fn disguised(request: Request) -> Request {
    if !["PATCH", "DELETE"].contains(&request.method.as_str()) {
        return request;
    }
    let method = request.method.clone();
    posted(request, &method)
}

fn a_post_can_be_any_method(judge: &Judge<'_>) -> Step {
    let server = judge.server;
    let upload = Upload::new(server, 11)?;
    let patched = server.ask(&posted(patch(&upload.url, 0, "hello"), "PATCH"))?.expect(204)?;
    patched.has("Upload-Offset", 5)?;
    upload.is_at(5)?;
    upload.refuses(&posted(patch(&upload.url, 0, "hello"), "PATCH"), &[409])?;
    server.ask(&posted(patch(&upload.url, 5, " world"), "PATCH"))?.expect(204)?;
    upload.is_file(b"hello world")?;
    if judge.offers("termination") {
        server.ask(&posted(request("DELETE", &upload.url), "DELETE"))?.expect(204)?;
        let head = upload.head()?;
        head.ensure(head.status >= 400, "it is still there")?;
    }
    // And all the rest is answered as if it had come by its own name.
    life::is_the_same(&life::lead(server, disguised)?, &life::lead(server, |plain| plain)?)
}

fn a_post_as_head_promises_no_body(judge: &Judge<'_>) -> Step {
    let server = judge.server;
    let upload = Upload::hello(server)?;
    let asked = posted(request("HEAD", &upload.url), "HEAD");
    // In HTTP/2 the frames end a body, and the client itself compares it with what was promised.
    if judge.http() == Http::One {
        ends_with_its_head(server, &asked)?;
        judge.ours(server.ask(&asked).and_then(|answer| answer.has("Content-Length", 0)))?;
    }
    let answer = server.ask(&asked)?.expect_one(&[200, 204])?;
    answer.has("Upload-Offset", 5)?;
    answer.has("Upload-Length", 11)?;
    judge.ours(answer.has("Cache-Control", "no-store"))?;
    judge.ours(answer.expect(200))?;
    Ok(())
}

/// What the head promises comes at once: a client would wait for it until its patience ends.
fn ends_with_its_head(server: &Server, asked: &Request) -> Step {
    let mut connection = server.begin(asked)?;
    let (status, headers) = connection.head()?;
    let length = headers.iter().find(|(name, _)| name.eq_ignore_ascii_case("Content-Length"));
    let promised = length.is_some_and(|(_, length)| length != "0") && status != 204;
    let silent = promised && connection.silent_for(Duration::from_secs(2))?;
    ensure(!silent, format_args!("a body is promised and does not come: {headers:?}"))
}

fn a_safe_method_stays_safe(judge: &Judge<'_>) -> Step {
    let server = judge.server;
    let upload = Upload::finished(server)?;
    for method in ["DELETE", "PATCH"] {
        let overridden = |request: Request| request.header("X-HTTP-Method-Override", method);
        let got = server.ask(&overridden(Request::new("GET", &upload.url)))?.expect(200);
        let got = got.at(format_args!("GET, {method}"))?;
        got.ensure(got.body == b"hello world", "the body is not the file")?;
        let head = server.ask(&overridden(request("HEAD", &upload.url)))?.expect(200);
        head.at(format_args!("HEAD, {method}"))?.has("Upload-Offset", 11)?;
        let put = server.ask(&overridden(request("PUT", &upload.url)))?;
        put.refused(405).at(format_args!("PUT, {method}"))?;
    }
    upload.is_file(b"hello world")
}

fn a_name_is_exact(judge: &Judge<'_>) -> Step {
    let server = judge.server;
    let upload = Upload::hello(server)?;
    let base = || patch(&upload.url, 5, " world");
    // Neither is a method that the text knows: what comes so may do nothing.
    for method in ["patch", "FOO"] {
        let asked = posted(base(), method);
        let answer = upload.unmoved(&asked, |answer| {
            let status = answer.status;
            answer.ensure(status >= 400, format_args!("the status is {status}"))?;
            Ok(answer)
        });
        judge.ours(answer.at(method)?.refused(405).at(method))?;
    }
    judge.ours(upload.refuses(&posted(base(), "PATCH, DELETE"), &[400]).at("PATCH, DELETE"))?;
    let twice = posted(base(), "PATCH").header("X-HTTP-Method-Override", "PATCH");
    judge.ours(upload.refuses(&twice, &[400]).at("twice"))?;
    let upload = Upload::hello(server)?;
    let empty = posted(patch(&upload.url, 5, " world"), "");
    judge.ours(upload.refuses(&empty, &[405]).at("empty, on an upload"))?;
    let made = server.ask(&posted(create(server, 11), ""));
    judge.ours(made.and_then(|answer| answer.expect(201)).at("empty, where uploads are made"))?;
    Ok(())
}

fn the_rules_are_those_of_what_is_meant(judge: &Judge<'_>) -> Step {
    let server = judge.server;
    let upload = Upload::hello(server)?;
    let head = posted(request("HEAD", &upload.url), "HEAD");
    let other = head.clone().set("Tus-Resumable", "0.0.1");
    let answer = server.ask(&other).and_then(|answer| answer.expect(412));
    let answer = answer.at("HEAD in another version")?;
    answer.needs("Tus-Version")?;
    let answer = server.ask(&head.without("Tus-Resumable"));
    let answer = answer.and_then(|answer| answer.expect(412));
    judge.ours(answer.at("HEAD without a version"))?;
    let options = posted(Request::new("OPTIONS", server.files()), "OPTIONS");
    let answer = server.ask(&options)?.expect_one(&[200, 204]).at("OPTIONS")?;
    answer.needs("Tus-Version").at("OPTIONS")?;
    judge.ours(answer.expect(204).at("OPTIONS"))?;
    // A POST that makes an upload, if it were taken by its own name.
    let asked = posted(patch(server.files(), 0, "x").header("Upload-Length", 11), "PATCH");
    let answer = server.ask(&asked)?.refused_somehow().at("PATCH where uploads are made")?;
    answer.lacks("Location")?;
    judge.ours(answer.refused(405).at("PATCH where uploads are made"))?;
    Ok(())
}
