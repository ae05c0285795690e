//! One upload's life as a list of requests: how they are carried, and under which options they are
//! answered, must make no difference.

use crate::{
    server::Server,
    stop::Step,
    tus::{Upload, create, create_with, patch, request},
    wire::{Answer, Request},
};

/// What is asked of the upload.
type Asked = fn(&str) -> Request;

/// Requests that make nothing.
const NOT_MADE: [fn(&Server) -> Request; 6] = [
    |server| create(server, 11).without("Upload-Length"),
    |server| create(server, 11).set("Upload-Length", "011"),
    |server| create(server, 11).set("Tus-Resumable", "0.0.1"),
    |server| create(server, 11).body("hello"),
    |server| create(server, 11).header("Upload-Metadata", "a !!!"),
    |server| create_with(server, 11, "hello world, and more"),
];

/// From the new upload of 11 bytes to the one that is gone.
const LIFE: [Asked; 37] = [
    |url| request("HEAD", url),
    |url| Request::new("GET", url),
    |url| patch(url, 0, "hello"),
    |url| patch(url, 5, ""),
    |url| request("HEAD", url),
    // Refused, and nothing stored.
    |url| patch(url, 5, "x").without("Tus-Resumable"),
    |url| patch(url, 5, "x").set("Tus-Resumable", "0.0.1"),
    |url| patch(url, 5, "x").without("Content-Type"),
    |url| patch(url, 5, "x").set("Content-Type", "application/octet-stream"),
    |url| patch(url, 5, "x").header("Content-Encoding", "gzip"),
    |url| patch(url, 5, "x").without("Upload-Offset"),
    |url| patch(url, 5, "x").set("Upload-Offset", "abc"),
    |url| patch(url, 5, "x").set("Upload-Offset", "9223372036854775808"),
    |url| patch(url, 5, "x").set("Upload-Offset", "5, 5"),
    |url| patch(url, 0, "hello"),
    |url| patch(url, 6, "world"),
    |url| patch(url, 5, " world!"),
    |url| request("PUT", url).body("x"),
    |url| Request::new("HEAD", url),
    |url| request("HEAD", url),
    |url| Request::new("GET", url),
    // Taken.
    |url| patch(url, 5, " ").set("Content-Type", "Application/Offset+Octet-Stream"),
    |url| patch(url, 6, "wo").header("Upload-Metadata", "a !!!"),
    |url| patch(url, 8, "rld"),
    |url| request("HEAD", url),
    |url| Request::new("GET", url),
    |url| patch(url, 11, ""),
    |url| patch(url, 11, "x"),
    |url| patch(url, 0, "hello world"),
    |url| Request::new("DELETE", url),
    |url| Request::new("GET", url).header("Tus-Resumable", "9.9.9"),
    |url| request("DELETE", url),
    |url| request("HEAD", url),
    |url| patch(url, 11, ""),
    |url| patch(url, 0, "hello"),
    |url| Request::new("GET", url),
    |url| request("DELETE", url),
];

/// Asks all of it of a new upload, carried as `carry` says; each request with its answer in a line.
pub(super) fn lead(server: &Server, carry: fn(Request) -> Request) -> Step<Vec<(String, Answer)>> {
    let mut told = Vec::new();
    for asked in NOT_MADE {
        told.push(ask(server, asked(server), carry)?);
    }
    let made = ask(server, create(server, 11), carry)?;
    let url = Upload::from_answer(server, &made.1)?.url;
    told.push(made);
    for asked in LIFE {
        told.push(ask(server, asked(&url), carry)?);
    }
    Ok(told)
}

fn ask(server: &Server, asked: Request, carry: fn(Request) -> Request) -> Step<(String, Answer)> {
    let method = asked.method.clone();
    let answer = server.ask(&carry(asked))?;
    let mut line = format!("{method} → {}", answer.status);
    for name in ["Upload-Offset", "Upload-Length", "Tus-Resumable", "Tus-Version"] {
        if let Some(value) = answer.header(name) {
            line.extend([", ", name, ": ", value]);
        }
    }
    if answer.status < 300 && !answer.body.is_empty() {
        line.extend([", ", &*String::from_utf8_lossy(&answer.body)]);
    }
    Ok((line, answer))
}

/// The same answers, line by line; the first that differs is told.
pub(super) fn is_the_same(told: &[(String, Answer)], plain: &[(String, Answer)]) -> Step {
    for ((line, answer), (expected, _)) in told.iter().zip(plain) {
        answer.ensure(line == expected, format_args!("{line}, and else {expected}"))?;
    }
    Ok(())
}
