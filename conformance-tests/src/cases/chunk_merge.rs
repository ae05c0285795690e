//! Chunk flow: merge, what it compares and refuses (section 24 of the page).

use std::{thread, time::Duration};

use serde_json::{Value, json};

use crate::{
    case::{Case, case},
    digest::base64,
    judge::Judge,
    parts::{Parts, has_members, is_no_method, merge, soon},
    random::Random,
    server::Server,
    stop::{At, Step, Stop, ensure, same},
    wire::Request,
};

pub(crate) const CASES: &[Case] = &[
    case("CHUNK-MERGE-01", a_merge_publishes_once_and_is_remembered),
    case("CHUNK-MERGE-02", missing_chunks_are_named),
    case("CHUNK-MERGE-03", a_wrong_digest_loses_nothing),
    case("CHUNK-MERGE-04", both_forms_of_the_digest_are_known),
    case("CHUNK-MERGE-05", a_digest_has_several_spellings),
    case("CHUNK-MERGE-06", a_list_of_digests_names_the_bad_chunk),
    case("CHUNK-MERGE-07", without_a_digest_nothing_is_compared),
    case("CHUNK-MERGE-08", the_upload_must_be_known_and_meant),
    case("CHUNK-MERGE-09", the_body_is_a_small_object),
];

/// `hello world!`: chunk size, number of chunks, raw, over hex digests.
const VECTORS: [(usize, usize, &str, &str); 4] = [
    (
        6,
        2,
        "9ef38ec3efc683f76cb9ab53a326b239d1605af64ad786b41b98379000574c6b",
        "fbcf33e211b6aee6930621d52a54e8cfe44dcfde8fea2d6421f560137b8586a8",
    ),
    (
        5,
        3,
        "0f7a99aa13023b48fe87e452ed1411f1415d5f899379dd627b196d1c448d5300",
        "7aeab14993cf9a5330e4edf6908cf434ada905542ae62216c7dc4b6e01688dda",
    ),
    (
        5,
        2,
        "682a80f0dba47207545eb4e93f9da95240a4658e553297464a212730176116bd",
        "cdc36629b4b0264c00dcb919198b7c3baed8a7e902eba85b9e1c4ade076c0ace",
    ),
    (
        64,
        1,
        "1332f5132b45de03e729e764b38f9a2e4057d6760a8807662331b37ddea936e4",
        "1ebd697eb955affab0738ceb75ed33a9bd5a9c44358e96c7bb6e3afd62f6a404",
    ),
];

/// The empty file: raw, over hex digests.
const EMPTY: (&str, &str) = (
    "5df6e0e2761359d30a8275058e299fcc0381534545f55cf43e41983f5d4c9456",
    "cd372fb85148700fa88095e3492d3f9f5beb43e555e5ff26d95f5a6adc36f8e6",
);

/// The base case, all chunks there.
fn complete(server: &Server) -> Step<Parts> {
    let parts = Parts::hello();
    parts.send_all(server)?;
    Ok(parts)
}

/// A merge with one member of its body changed.
fn with(server: &Server, parts: &Parts, member: &str, value: Value) -> Step<Request> {
    let mut body = parts.merge_body();
    body[member] = value;
    merge(server, &body)
}

/// The merge is refused as this, and every chunk is still there.
fn refuses(
    server: &Server,
    parts: &Parts,
    request: &Request,
    (status, slug): (u16, &str),
) -> Step<Value> {
    let mut problem = Value::Null;
    parts.stays(server, || {
        problem = server.ask(request)?.refused_as(status, slug)?.json()?;
        Ok(())
    })?;
    Ok(problem)
}

fn a_merge_publishes_once_and_is_remembered(judge: &Judge<'_>) -> Step {
    // Others on the same server may finish an a.bin in the same second, and then numbers are put
    // behind the names.
    published_once(judge.server, &Random::fresh().hash())?;
    let server = judge.then_start(&[])?;
    let (parts, first) = published_once(&server, "a")?;
    server.restart()?;
    is_known(&server, &parts, &first).at("after a restart")?;
    let files = match server.finished() {
        Err(Stop::Skip(why)) => return Err(Stop::Part(why)),
        files => files?,
    };
    let name = first["filename"].as_str().unwrap_or_default();
    same("the finished files", &files, &vec![server.data()?.join("files").join(name)])?;
    same("the bytes of the file", &std::fs::read(&files[0])?, &parts.bytes)?;
    let uploads = server.layout()?.join("uploads");
    soon("uploads/{id} is still there", || Ok(std::fs::read_dir(&uploads)?.next().is_none()))
}

fn published_once(server: &Server, stem: &str) -> Step<(Parts, Value)> {
    let parts = Parts::hello().with_name(Some(&format!("{stem}.bin")));
    parts.send_all(server)?;
    let answer = parts.merge(server)?.expect(201)?;
    let first = answer.json()?;
    let expected = json!({
        "state": "merged", "size": 12, "composite_sha256": VECTORS[0].2, "digest_format": "raw",
    });
    has_members(&first, &expected)?;
    let name = first["filename"].as_str().unwrap_or_default();
    let time = name.strip_prefix(stem).and_then(|rest| rest.strip_prefix('-'));
    let time = time.and_then(|rest| rest.strip_suffix("-9ef38ec3.bin"));
    let what = format!("the name is {name:?}, not {stem}-{{yyyyMMddTHHmmssZ}}-9ef38ec3.bin");
    answer.ensure(time.is_some_and(is_time), what)?;
    parts.is_merged(server, &answer)?;
    is_known(server, &parts, &first).at("again")?;
    Ok((parts, first))
}

/// `20260131T235959Z`
fn is_time(text: &str) -> bool {
    let shape = text.bytes().zip("00000000T000000Z".bytes());
    let fits = |(byte, model): (u8, u8)| match model {
        b'0' => byte.is_ascii_digit(),
        _ => byte == model,
    };
    text.len() == 16 && shape.into_iter().all(fits)
}

fn is_known(server: &Server, parts: &Parts, first: &Value) -> Step {
    let again = parts.merge(server)?.expect(200)?;
    same("the answer", &again.json()?, first)?;
    parts.is_merged(server, &again)
}

fn missing_chunks_are_named(judge: &Judge<'_>) -> Step {
    let server = judge.server;
    for (there, missing) in [(0, 1), (1, 0)] {
        let parts = Parts::hello();
        parts.send(server, there)?;
        let asked = merge(server, &parts.merge_body())?;
        let problem = refuses(server, &parts, &asked, (409, "chunks-missing"))?;
        has_members(&problem, &json!({"missing": [missing], "total": 2}))?;
    }
    Ok(())
}

fn a_wrong_digest_loses_nothing(judge: &Judge<'_>) -> Step {
    wrong_then_right(judge.server, || Ok(()))?;
    let server = judge.then_start(&[])?;
    wrong_then_right(&server, || {
        let finished = server.finished().unwrap_or_default();
        ensure(finished.is_empty(), format_args!("refused, and yet published: {finished:?}"))
    })
}

/// `between` looks around after the refusal.
fn wrong_then_right(server: &Server, between: impl Fn() -> Step) -> Step {
    let parts = complete(server)?;
    let other = "ab".repeat(32);
    let asked = with(server, &parts, "digest", json!(other))?;
    let problem = refuses(server, &parts, &asked, (422, "composite-mismatch"))?;
    has_members(&problem, &json!({"expected": other, "actual": VECTORS[0].2}))?;
    let list = problem["bad_chunks"].is_array();
    ensure(list, format_args!("no list of bad_chunks in {problem}"))?;
    for index in 0..2 {
        let check = parts.check(server, index)?;
        has_members(&check, &json!({"exists": true, "sha256": parts.digest(index)}))?;
    }
    between()?;
    let merged = parts.merge(server)?.expect(201)?;
    parts.is_merged(server, &merged)
}

fn both_forms_of_the_digest_are_known(judge: &Judge<'_>) -> Step {
    let server = judge.server;
    for (chunk_size, total, raw, hex) in VECTORS {
        let at = format!("12 bytes in {total} of {chunk_size}");
        let parts = || Parts::new("a.bin", chunk_size, "hello world!").with_total(total);
        two_forms(server, parts, raw, hex).at(at)?;
    }
    two_forms(server, || Parts::new("a.bin", 6, ""), EMPTY.0, EMPTY.1).at("the empty file")
}

fn two_forms(server: &Server, parts: impl Fn() -> Parts, raw: &str, hex: &str) -> Step {
    for (digest, format, other) in [(raw, "raw", "hex"), (hex, "hex", "raw")] {
        for given in [Value::Null, json!(format)] {
            let parts = parts();
            parts.send_all(server)?;
            let mut body = parts.merge_body();
            body["digest"] = json!(digest);
            if !given.is_null() {
                body["digest_format"] = json!(other);
                let asked = merge(server, &body)?;
                refuses(server, &parts, &asked, (422, "composite-mismatch"))
                    .at(format_args!("the {format} form given as {other}"))?;
                body["digest_format"] = given.clone();
            }
            let answer = server.ask(&merge(server, &body)?)?.expect(201);
            let answer = answer.at(format_args!("{format}, digest_format {given}"))?;
            let expected = json!({"digest_format": format, "composite_sha256": raw});
            has_members(&answer.json()?, &expected)?;
            parts.is_merged(server, &answer)?;
        }
    }
    Ok(())
}

fn a_digest_has_several_spellings(judge: &Judge<'_>) -> Step {
    let server = judge.server;
    let raw = VECTORS[0].2;
    let bytes: Vec<u8> =
        (0..32).filter_map(|at| u8::from_str_radix(&raw[2 * at..2 * at + 2], 16).ok()).collect();
    let base64 = base64(bytes);
    for digest in [raw.to_uppercase(), base64.clone(), format!("{raw}-2"), format!("{base64}-2")] {
        let parts = complete(server)?;
        let asked = with(server, &parts, "digest", json!(digest))?;
        let answer = server.ask(&asked)?.expect(201).at(&digest)?;
        has_members(&answer.json()?, &json!({"digest_format": "raw"})).at(&digest)?;
    }
    let parts = complete(server)?;
    for digest in [
        format!("{raw}-3"),
        format!("{raw}-"),
        raw[1..].to_owned(),
        format!("{raw}0"),
        format!("z{}", &raw[1..]),
        String::new(),
    ] {
        let asked = with(server, &parts, "digest", json!(digest))?;
        parts.refuses(server, &asked, 400).at(format_args!("{digest:?}"))?;
    }
    Ok(())
}

fn a_list_of_digests_names_the_bad_chunk(judge: &Judge<'_>) -> Step {
    let server = judge.server;
    let parts = complete(server)?;
    let chunks = |list: Value| with(server, &parts, "chunks", list);
    let zeros = "0".repeat(64);
    for (list, bad) in [
        (json!([parts.digest(0), zeros]), json!([1])),
        (json!([zeros, parts.digest(1)]), json!([0])),
        (json!([parts.digest(1), parts.digest(0)]), json!([0, 1])),
    ] {
        let problem = refuses(server, &parts, &chunks(list)?, (422, "composite-mismatch"))?;
        same("bad_chunks", &problem["bad_chunks"], &bad)?;
    }
    let all = [parts.digest(0), parts.digest(1), parts.digest(0)];
    for length in [0, 1, 3] {
        let asked = chunks(json!(all[..length]))?;
        parts.refuses(server, &asked, 400).at(format_args!("a list of {length}"))?;
    }
    let answer = server.ask(&chunks(json!(all[..2]))?)?.expect(201).at("the right list")?;
    parts.is_merged(server, &answer)
}

fn without_a_digest_nothing_is_compared(judge: &Judge<'_>) -> Step {
    let server = judge.server;
    let parts = complete(server)?;
    let answer = server.ask(&merge(server, &without(&parts, "digest"))?)?.expect(201)?;
    let expected = json!({"digest_format": null, "composite_sha256": VECTORS[0].2});
    has_members(&answer.json()?, &expected)?;
    parts.is_merged(server, &answer)
}

/// The body of a merge without one of its members.
fn without(parts: &Parts, member: &str) -> Value {
    let mut body = parts.merge_body();
    if let Some(members) = body.as_object_mut() {
        members.remove(member);
    }
    body
}

fn the_upload_must_be_known_and_meant(judge: &Judge<'_>) -> Step {
    let server = judge.server;
    let parts = complete(server)?;
    let unknown = with(server, &parts, "hash", json!(Random::fresh().hash()))?;
    refuses(server, &parts, &unknown, (404, "unknown-upload")).at("unknown")?;
    for (member, value) in [("size", 13), ("size", 11), ("total", 1), ("total", 3)] {
        let asked = with(server, &parts, member, json!(value))?;
        refuses(server, &parts, &asked, (409, "upload-metadata-mismatch"))
            .at(format_args!("{member} {value}"))?;
    }
    let second = parts.clone().with_name(Some("b.bin"));
    second.send(server, 0)?;
    let nameless = merge(server, &without(&parts, "filename"))?;
    refuses(server, &parts, &nameless, (409, "ambiguous-upload")).at("ambiguous")?;
    parts.delete(server)?.expect(204)?;
    parts.merge(server)?.refused_as(404, "unknown-upload").at("forgotten by DELETE")?;
    // An expired one is forgotten after a day, which is too long to wait for.
    let server = judge.then_start(&["--expire-after=4s", "--reap-every=1s"])?;
    let parts = complete(&server)?;
    thread::sleep(Duration::from_millis(5300));
    parts.merge(&server)?.refused_as(410, "gone").at("expired")?;
    thread::sleep(Duration::from_millis(1500));
    parts.merge(&server)?.refused_as(410, "gone").at("expired and swept")?;
    let finished = server.finished().unwrap_or_default();
    ensure(finished.is_empty(), format_args!("what expired was published: {finished:?}"))
}

fn the_body_is_a_small_object(judge: &Judge<'_>) -> Step {
    let server = judge.server;
    let parts = complete(server)?;
    let target = server.at("/merge")?;
    let json = |body: &str| {
        Request::new("POST", &target).header("Content-Type", "application/json").body(body)
    };
    let changed = |member: &str, value: Value| with(server, &parts, member, value);
    parts.stays(server, || {
        for (what, request) in [
            ("half an object", json("{")),
            ("nothing", json("")),
            ("an array", json("[]")),
            ("a text", json("\"x\"")),
            ("no hash", json("{}")),
            ("no UTF-8", json("{}").body(b"{\"hash\":\"\xff\"}".as_slice())),
            ("size as text", changed("size", json!("12"))?),
            ("total as text", changed("total", json!("2"))?),
            ("hash as a number", changed("hash", json!(12))?),
            ("digest as a number", changed("digest", json!(12))?),
            ("chunks as text", changed("chunks", json!("x"))?),
        ] {
            server.ask(&request)?.expect(400).at(what)?.is_problem()?;
        }
        let filler = format!("{{\"x\":\"{}\"}}", "y".repeat(1 << 20));
        server.ask(&json(&filler))?.expect(413).at("1 MB")?.is_problem()?;
        let merge = merge(server, &parts.merge_body())?;
        for (what, request) in [
            ("text/plain", merge.clone().set("Content-Type", "text/plain")),
            ("no Content-Type", merge.without("Content-Type")),
        ] {
            server.ask(&request)?.expect(415).at(what)?.is_problem()?;
        }
        is_no_method(server.ask(&Request::new("GET", &target))?).at("GET")
    })?;
    parts.merge(server)?.expect(201).map(|_| ())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digest::composite_of_hex;

    #[test]
    fn the_vectors_are_those_of_the_digests() {
        for (chunk_size, total, raw, hex) in VECTORS {
            let parts = Parts::new("a.bin", chunk_size, "hello world!").with_total(total);
            assert_eq!((&*parts.composite(), &*composite_of_hex(&parts.chunks())), (raw, hex));
        }
        let empty = Parts::new("a.bin", 6, "");
        assert_eq!((&*empty.composite(), &*composite_of_hex(&empty.chunks())), EMPTY);
    }

    #[test]
    fn times_of_names_are_told_from_others() {
        assert!(is_time("20260131T235959Z"));
        for wrong in ["", "2026-01-31T23:59", "20260131T235959z", "20260131T235959ZZ"] {
            assert!(!is_time(wrong), "{wrong}");
        }
    }
}
