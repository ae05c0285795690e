//! Chunk flow: check (section 21 of the page).

use std::{thread, time::Duration};

use serde_json::{Value, json};

use crate::{
    case::{Case, case},
    judge::Judge,
    parts::{Parts, has_members, is_no_method},
    random::Random,
    running::Running,
    server::{Http, Server},
    stop::{At, Step, ensure, same},
    wire::{Answer, Request},
};

pub(crate) const CASES: &[Case] = &[
    case("CHUNK-CHECK-01", an_unknown_file_has_no_chunk),
    case("CHUNK-CHECK-02", a_stored_chunk_is_told_with_its_digest),
    case("CHUNK-CHECK-03", half_a_chunk_does_not_count),
    case("CHUNK-CHECK-04", after_the_merge_every_chunk_exists),
    case("CHUNK-CHECK-05", a_hash_is_8_to_64_hex_digits),
    case("CHUNK-CHECK-06", an_index_is_a_plain_number_below_the_total),
    case("CHUNK-CHECK-07", two_uploads_of_one_hash_are_told_apart),
    case("CHUNK-CHECK-08", head_tells_by_its_status),
];

fn ask(server: &Server, query: &str) -> Step<Answer> {
    server.ask(&Request::new("GET", &server.at(&format!("/upload/check?{query}"))?))
}

/// `exists` of an answer with status 200.
fn exists(server: &Server, query: &str) -> Step<Value> {
    Ok(ask(server, query)?.expect(200)?.json()?["exists"].clone())
}

fn an_unknown_file_has_no_chunk(judge: &Judge<'_>) -> Step {
    let hash = Random::fresh().hash();
    let answer = ask(judge.server, &format!("hash={hash}&index=0"))?.expect(200)?;
    let nothing =
        json!({"exists": false, "index": 0, "size": null, "sha256": null, "merged": false});
    has_members(&answer.json()?, &nothing)?;
    let value = answer.needs("Cache-Control")?;
    answer.ensure(value.contains("no-store"), format_args!("Cache-Control is {value:?}"))
}

fn a_stored_chunk_is_told_with_its_digest(judge: &Judge<'_>) -> Step {
    let (server, parts) = (judge.server, Parts::hello());
    parts.send(server, 0)?;
    let stored = json!({
        "exists": true, "index": 0, "size": 6, "sha256": parts.digest(0), "merged": false,
    });
    has_members(&parts.check(server, 0)?, &stored).at("stored")?;
    let other = json!({"exists": false, "index": 1, "size": null, "sha256": null});
    has_members(&parts.check(server, 1)?, &other).at("another index")?;
    for (digest, expected) in [(parts.digest(0), true), (parts.digest(1), false)] {
        let found = exists(server, &format!("{}&index=0&sha256={digest}", parts.name()))?;
        same("exists", &found, &json!(expected)).at(format_args!("sha256={digest}"))?;
    }
    Ok(())
}

fn half_a_chunk_does_not_count(judge: &Judge<'_>) -> Step {
    let server = judge.server;
    for form in [false, true] {
        let parts = Parts::hello();
        parts.send(server, 1)?;
        let request = if form { parts.put_form(server, 0)? } else { parts.put(server, 0)? };
        // Of a form all of the file is there and its last boundary is not.
        let sent = request.body.len().saturating_sub(if form { 9 } else { 2 });
        let running = Running::begin(server, &request, sent)?;
        for _ in 0..5 {
            thread::sleep(Duration::from_millis(10));
            let found = &parts.check(server, 0)?["exists"];
            same("exists", found, &json!(false)).at("while it runs")?;
        }
        running.cut();
        for _ in 0..5 {
            let found = &parts.check(server, 0)?["exists"];
            same("exists", found, &json!(false)).at("after it was cut")?;
            thread::sleep(Duration::from_millis(10));
        }
        same("uploaded", &parts.uploaded(server)?, &vec![1])?;
    }
    Ok(())
}

fn after_the_merge_every_chunk_exists(judge: &Judge<'_>) -> Step {
    let parts = merged(judge.server)?;
    for index in 0..2 {
        let there = json!({"exists": true, "merged": true, "index": index, "size": 6});
        has_members(&parts.check(judge.server, index)?, &there)?;
    }
    // Until its time is over, and no longer.
    let server = judge.then_start(&["--keep-finished=1s", "--reap-every=1h"])?;
    let parts = merged(&server)?;
    thread::sleep(Duration::from_millis(1200));
    let gone = json!({"exists": false, "merged": false});
    has_members(&parts.check(&server, 0)?, &gone).at("after it expired")
}

fn merged(server: &Server) -> Step<Parts> {
    let parts = Parts::hello();
    parts.send_all(server)?;
    parts.merge(server)?.expect(201)?;
    Ok(parts)
}

fn a_hash_is_8_to_64_hex_digits(judge: &Judge<'_>) -> Step {
    let (server, parts) = (judge.server, Parts::hello().with_hash("0123456789abcdef"));
    let parts = parts.with_name(Some(&format!("{}.bin", Random::fresh().hash())));
    parts.send(server, 0)?;
    let before = (parts.stored(server)?, parts.status(server)?);
    let long = format!("hash={}", "a".repeat(65));
    for hash in [
        "hash=0123456",
        &long,
        "hash=0123456z",
        "x=1",
        "hash=",
        "hash=../..",
        "hash=..%2F..%2Fetc",
        "hash=0123456789abcdef&hash=0123456789abcdef",
    ] {
        let answer = ask(server, &format!("{hash}&index=0"))?;
        answer.refused_as(400, "invalid-hash").at(hash)?;
    }
    let after = (parts.stored(server)?, parts.status(server)?);
    ensure(before == after, "a question with a bad hash touched an upload")?;
    for hash in ["01234567".to_owned(), "a".repeat(64)] {
        ask(server, &format!("hash={hash}&filename=x&index=0"))?.expect(200).at(&hash)?;
    }
    let upper = parts.clone().with_hash("0123456789ABCDEF");
    let found = &upper.check(server, 0)?["exists"];
    same("exists", found, &json!(true)).at("upper case")
}

fn an_index_is_a_plain_number_below_the_total(judge: &Judge<'_>) -> Step {
    let (server, parts) = (judge.server, Parts::hello());
    parts.send(server, 0)?;
    let name = parts.name();
    ask(server, &name)?.refused_as(400, "invalid-index").at("no index")?;
    for index in [
        "",
        "-1",
        "%2B1",
        "01",
        "1.0",
        "abc",
        "9223372036854775808",
        "18446744073709551616",
        // No index of an upload of two chunks.
        "2",
        "3",
        "9999",
    ] {
        let answer = ask(server, &format!("{name}&index={index}"))?;
        answer.refused_as(400, "invalid-index").at(format_args!("index={index}"))?;
    }
    for digest in ["zz", "", "5e32", &"g".repeat(64), &"a".repeat(65)] {
        let answer = ask(server, &format!("{name}&index=0&sha256={digest}"))?;
        let answer = answer.expect(400).at(format_args!("sha256={digest}"))?;
        answer.is_problem()?;
    }
    Ok(())
}

fn two_uploads_of_one_hash_are_told_apart(judge: &Judge<'_>) -> Step {
    let (server, first) = (judge.server, Parts::hello());
    let second = first.clone().with_name(Some("b.bin"));
    first.send(server, 0)?;
    second.send(server, 1)?;
    let nameless = ask(server, &format!("hash={}&index=0", first.hash))?;
    nameless.refused_as(409, "ambiguous-upload")?;
    for (parts, there) in [(first, [true, false]), (second, [false, true])] {
        for (index, expected) in there.into_iter().enumerate() {
            let found = &parts.check(server, index)?["exists"];
            same("exists", found, &json!(expected)).at(format_args!("{:?}", parts.filename))?;
        }
    }
    Ok(())
}

fn head_tells_by_its_status(judge: &Judge<'_>) -> Step {
    let (server, parts) = (judge.server, Parts::hello());
    let probe = |index: usize, more: &str, status: u16| {
        let target = server.at(&format!("/upload/check?{}&index={index}{more}", parts.name()))?;
        let request = Request::new("HEAD", &target);
        server.ask(&request)?.expect(status).at(format_args!("index {index}{more}"))?;
        no_body(server, &request)
    };
    probe(0, "", 404)?;
    parts.send(server, 0)?;
    probe(0, "", 200)?;
    probe(1, "", 404)?;
    probe(0, &format!("&sha256={}", parts.digest(0)), 200)?;
    probe(0, &format!("&sha256={}", parts.digest(1)), 404)?;
    let asked = server.at(&format!("/upload/check?{}&index=0", parts.name()))?;
    is_no_method(server.ask(&Request::new("POST", &asked))?)
}

/// The answer to a HEAD ends with its head.
fn no_body(server: &Server, request: &Request) -> Step {
    if server.http() == Http::Two {
        let answer = server.ask(request)?;
        return answer.ensure(answer.body.is_empty(), "HEAD is answered with a body");
    }
    let mut connection = server.connect()?;
    connection.ask(&request.clone().header("Connection", "close"))?;
    let behind = connection.closes_within(Duration::from_secs(5))?;
    ensure(behind.is_empty(), "bytes follow the answer to HEAD")
}
