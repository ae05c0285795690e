//! Chunk flow: upload, the bytes of a chunk (section 22 of the page).

use std::{fs, os::unix::fs::MetadataExt, thread, time::Duration};

use serde_json::{Value, json};

use crate::{
    case::{Case, case},
    digest::sha256_hex,
    judge::Judge,
    parts::{Parts, field, file_part, form, form_of, has_members, put, tmp_is_empty},
    random::Random,
    running::Running,
    server::{Http, Server},
    stop::{At, Step, breach, ensure, same},
    wire::{Answer, Request},
};

pub(crate) const CASES: &[Case] = &[
    case("CHUNK-PUT-01", a_raw_chunk_is_stored_as_it_is),
    case("CHUNK-PUT-02", a_form_brings_the_same),
    case("CHUNK-PUT-03", the_same_chunk_again_is_known),
    case("CHUNK-PUT-04", newer_bytes_win_while_receiving),
    case("CHUNK-PUT-05", chunks_come_in_any_order_and_at_once),
    case("CHUNK-PUT-06", both_ways_to_count_are_legal),
    case("CHUNK-PUT-07", a_chunk_has_exactly_its_length),
    case("CHUNK-PUT-08", what_does_not_come_whole_leaves_nothing),
    case("CHUNK-PUT-09", a_raw_chunk_says_its_length_and_type),
];

/// The digest of `hello `.
pub(super) const HELLO: &str = "5e3235a8346e5a4585f8c58562f5052b8fe26a3bb122e1e96c76784964dfc461";
/// The digest of nothing.
const EMPTY: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

/// The answer to chunk 0 of the base case, when it is the first.
fn first() -> Value {
    json!({
        "index": 0, "size": 6, "sha256": HELLO, "received": 1, "total": 2, "mergeable": false,
    })
}

/// The upload has one part file with `hello ` in it, where that can be looked at.
fn hello_lies_on_disk(server: &Server, parts: &Parts) -> Step {
    if server.layout().is_err() {
        return Ok(());
    }
    let stored = parts.stored(server)?;
    let files: Vec<_> = stored.values().cloned().collect();
    same("what lies in the upload's folder", &files, &vec![(6, HELLO.to_owned())])
}

/// The rest comes, and the file is `hello world!`.
fn becomes_the_file(server: &Server, parts: &Parts) -> Step {
    parts.send(server, 1)?;
    let merged = parts.merge(server)?.expect(201)?;
    parts.is_merged(server, &merged)
}

fn a_raw_chunk_is_stored_as_it_is(judge: &Judge<'_>) -> Step {
    let server = judge.server;
    for method in ["POST", "PUT"] {
        let parts = Parts::hello();
        let mut request = parts.put(server, 0)?;
        method.clone_into(&mut request.method);
        let answer = server.ask(&request)?.expect(201).at(method)?;
        has_members(&answer.json()?, &first()).at(method)?;
        if server.layout().is_ok() {
            let file = parts.as_upload(server)?.folder()?.join("0.part");
            same("0.part", &fs::read(file)?, &b"hello ".to_vec())?;
        }
        hello_lies_on_disk(server, &parts)?;
        becomes_the_file(server, &parts)?;
    }
    Ok(())
}

fn a_form_brings_the_same(judge: &Judge<'_>) -> Step {
    let server = judge.server;
    for before in 0..=6 {
        let parts = Parts::hello();
        let fields = parts.fields(0);
        let (before, after) = fields.split_at(before);
        let request = form(server, before, b"hello ", after)?;
        is_taken(server, &parts, &request).at(format_args!("fields {before:?} come first"))?;
    }
    let parts = Parts::hello();
    let fields = parts.fields(0);
    let mut body: Vec<u8> = fields.iter().flat_map(|(name, value)| field(name, value)).collect();
    body.extend(file_part("chunk", "blob", b"hello "));
    is_taken(server, &parts, &form_of(server, body)?).at("the part is called chunk")
}

fn is_taken(server: &Server, parts: &Parts, request: &Request) -> Step {
    let answer = server.ask(request)?.expect(201)?;
    has_members(&answer.json()?, &first())?;
    hello_lies_on_disk(server, parts)?;
    becomes_the_file(server, parts)
}

fn the_same_chunk_again_is_known(judge: &Judge<'_>) -> Step {
    let (server, parts) = (judge.server, Parts::hello());
    let told = parts.send(server, 0)?.json()?;
    let before = written(server, &parts)?;
    for (how, request) in [("raw", parts.put(server, 0)?), ("form", parts.put_form(server, 0)?)] {
        let answer = server.ask(&request)?.expect(200).at(how)?;
        same("the answer", &answer.json()?, &told).at(how)?;
        let again = written(server, &parts)?;
        same("the part files (path, inode, seconds, nanoseconds)", &again, &before).at(how)?;
    }
    same("received_bytes", &parts.status(server)?["received_bytes"], &json!(6))?;
    becomes_the_file(server, &parts)
}

/// When its part files were written, and that they are the same ones.
fn written(server: &Server, parts: &Parts) -> Step<Vec<(String, u64, i64, i64)>> {
    let names: Vec<_> = parts.stored(server)?.into_keys().collect();
    let folder = match server.layout() {
        Ok(_) => parts.as_upload(server)?.folder()?,
        Err(_) => return Ok(Vec::new()),
    };
    let look = |name: &std::path::PathBuf| {
        let file = fs::metadata(folder.join(name))?;
        Ok((name.display().to_string(), file.ino(), file.mtime(), file.mtime_nsec()))
    };
    names.iter().map(look).collect()
}

fn newer_bytes_win_while_receiving(judge: &Judge<'_>) -> Step {
    let server = judge.server;
    // Alone, and within a prefix that may be one file already.
    for there in [vec![1], vec![0, 1, 2]] {
        let at = format!("chunks {there:?} stored");
        let mut parts = Parts::new("a.bin", 6, "hello world!and more");
        for &index in &there {
            parts.send(server, index)?;
        }
        parts.stored(server)?;
        let request = parts.put_bytes(server, 1, b"WORLD?")?;
        let answer = server.ask(&request)?.expect(201).at(&at)?.json()?;
        let expected = json!({"sha256": sha256_hex(b"WORLD?"), "received": there.len()});
        has_members(&answer, &expected).at(&at)?;
        let check = parts.check(server, 1)?;
        same("sha256", &check["sha256"], &expected["sha256"]).at(&at)?;
        same("received_bytes", &parts.status(server)?["received_bytes"], &json!(6 * there.len()))?;
        parts.bytes[6..12].copy_from_slice(b"WORLD?");
        for index in (0..4).filter(|index| !there.contains(index)) {
            parts.send(server, index)?;
        }
        let merged = parts.merge(server)?.expect(201).at(&at)?;
        parts.is_merged(server, &merged).at(&at)?;
    }
    Ok(())
}

fn chunks_come_in_any_order_and_at_once(judge: &Judge<'_>) -> Step {
    let (server, mut random) = (judge.server, Random::fresh());
    let parts = Parts::new("a.bin", 1000, random.bytes(29_500));
    let order = random.shuffled((0..29).collect::<Vec<_>>());
    let incomplete =
        |answer: Answer| same("mergeable", &answer.json()?["mergeable"], &json!(false));
    incomplete(parts.send(server, 29)?).at("the highest index first")?;
    thread::scope(|scope| {
        let senders = order[..28].chunks(5).map(|mine| {
            let parts = &parts;
            let send = move |&index: &usize| incomplete(parts.send(server, index)?);
            scope.spawn(move || mine.iter().try_for_each(send))
        });
        let senders: Vec<_> = senders.collect();
        let ended = |sent: thread::Result<Step>| sent.map_err(|_| breach("a sender broke"))?;
        senders.into_iter().try_for_each(|sender| ended(sender.join()))
    })
    .at("6 in parallel")?;
    let last = parts.send(server, order[28])?.json()?;
    has_members(&last, &json!({"mergeable": true, "received": 30, "total": 30}))?;
    let merged = parts.merge(server)?.expect(201)?;
    parts.is_merged(server, &merged)
}

fn both_ways_to_count_are_legal(judge: &Judge<'_>) -> Step {
    let server = judge.server;
    let parts = |size: usize, total: usize| {
        Parts::new("a.bin", 5, &b"hello world!"[..size]).with_total(total)
    };
    for (size, total) in [(12, 3), (12, 2), (3, 1), (9, 1), (0, 1)] {
        let at = format!("{size} bytes in {total}");
        let legal = parts(size, total);
        let mut last = Value::Null;
        for index in 0..total {
            last = legal.send(server, index).at(&at)?.json()?;
        }
        has_members(&last, &json!({"mergeable": true, "received": total})).at(&at)?;
        if size == 0 {
            same("sha256", &last["sha256"], &json!(EMPTY))?;
        }
        let merged = legal.merge(server)?.expect(201).at(&at)?;
        legal.is_merged(server, &merged).at(&at)?;
    }
    for total in [1, 4, 0] {
        let illegal = parts(12, total);
        let answer = server.ask(&put(server, &illegal.fields(0), b"hello")?)?.expect(400);
        let answer = answer.at(format_args!("12 bytes in {total}"))?;
        answer.is_problem()?;
        same("state", &illegal.status(server)?["state"], &json!("none"))?;
    }
    Ok(())
}

fn a_chunk_has_exactly_its_length(judge: &Judge<'_>) -> Step {
    let (server, parts) = (judge.server, Parts::hello());
    parts.send(server, 1)?;
    let fields = parts.fields(0);
    for (bytes, status) in [(&b"hello w"[..], 413), (b"hello", 400), (b"", 400)] {
        let at = format!("{} bytes instead of 6", bytes.len());
        parts.refuses(server, &parts.put_bytes(server, 0, bytes)?, status).at(&at)?;
        let form = form(server, &fields, bytes, &[])?;
        parts.refuses(server, &form, status).at(format_args!("{at}, in a form"))?;
        // Refused by what is announced, before a byte of it has come.
        parts.stays(server, || {
            let request = parts.put_bytes(server, 0, bytes)?;
            let answer = Running::begin(server, &request, 0)?.answer();
            let answer = answer.at(format_args!("{at}, announced"))?;
            answer.expect(status).map(|_| ())
        })?;
    }
    // A first chunk of the wrong length begins nothing.
    let other = Parts::hello();
    server.ask(&other.put_bytes(server, 0, b"hello w")?)?.expect(413)?;
    same("state", &other.status(server)?["state"], &json!("none"))?;
    parts.send(server, 0).map(|_| ())
}

fn what_does_not_come_whole_leaves_nothing(judge: &Judge<'_>) -> Step {
    let server = judge.start(&["--idle-timeout=1s"])?;
    let parts = Parts::hello();
    parts.send(&server, 1)?;
    parts.stays(&server, || {
        let mut stalled = Vec::new();
        // A form is whole once its last boundary is, whatever stands behind that.
        for (request, cuts) in
            [(parts.put(&server, 0)?, [1, 3]), (parts.put_form(&server, 0)?, [3, 20])]
        {
            let length = request.body.len();
            for cut in cuts.into_iter().chain([length]) {
                Running::begin(&server, &request, length - cut)?.cut();
                stalled.push(Running::begin(&server, &request, length - cut)?);
            }
        }
        let end = |running: Running| running.ends_within(Duration::from_secs(8));
        stalled.into_iter().try_for_each(end).at("stalled past --idle-timeout")
    })?;
    tmp_is_empty(&server)?;
    same("uploaded", &parts.uploaded(&server)?, &vec![1])?;
    parts.send(&server, 0).map(|_| ())
}

fn a_raw_chunk_says_its_length_and_type(judge: &Judge<'_>) -> Step {
    let (server, parts) = (judge.server, Parts::hello());
    parts.send(server, 1)?;
    let put = parts.put(server, 0)?;
    let unmeasured = match server.http() {
        Http::One => put.clone().chunked(b"hello ", 6),
        Http::Two => put.clone().without("Content-Length"),
    };
    for (what, request, status) in [
        ("no Content-Length", unmeasured, 411),
        ("text/plain", put.clone().set("Content-Type", "text/plain"), 415),
        ("no Content-Type", put.clone().without("Content-Type"), 415),
    ] {
        parts.refuses(server, &request, status).at(what)?;
    }
    ensure(server.ask(&put)?.status == 201, "the chunk as it should be is not taken")
}
