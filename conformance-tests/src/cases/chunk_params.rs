//! Chunk flow: upload, what comes with the bytes (section 22 of the page).

use std::{fs, thread, time::Duration};

use serde_json::{Value, json};

use super::chunk_put::HELLO;
use crate::{
    case::{Case, case},
    digest::{base64, sha256, sha256_hex},
    disk::snapshot,
    judge::Judge,
    parts::{Parts, field, file_part, form, form_of, has_members, put, query, soon, tmp_is_empty},
    server::Server,
    stop::{At, Step, ensure, same},
    wire::{Answer, Request},
};

pub(crate) const CASES: &[Case] = &[
    case("CHUNK-PUT-10", each_parameter_is_there_once_and_plain),
    case("CHUNK-PUT-11", a_file_without_name_is_called_by_its_id),
    case("CHUNK-PUT-12", the_first_request_fixes_the_layout),
    case("CHUNK-PUT-13", two_names_make_two_uploads),
    case("CHUNK-PUT-14", a_digest_is_compared_however_it_comes),
    case("CHUNK-PUT-15", a_digest_that_says_nothing),
    case("CHUNK-PUT-16", a_form_has_one_file_and_few_small_fields),
    case("CHUNK-PUT-17", a_file_name_is_data),
    case("CHUNK-PUT-18", a_merged_file_takes_what_it_has),
    case("CHUNK-PUT-19", conditions_are_held_against_the_tag),
];

/// Chunk 0 with one of its parameters replaced by these values.
fn with_parameter(server: &Server, parts: &Parts, name: &str, values: &[&str]) -> Step<Request> {
    let mut fields = parts.fields(0);
    fields.retain(|(other, _)| other != name);
    fields.extend(values.iter().map(|value| (name.to_owned(), (*value).to_owned())));
    put(server, &fields, b"hello ")
}

fn each_parameter_is_there_once_and_plain(judge: &Judge<'_>) -> Step {
    let (server, parts) = (judge.server, Parts::hello());
    // Nothing is stored yet: what a first chunk has fixed may be left out by later ones.
    let refused = |name: &str, values: &[&str]| {
        let request = with_parameter(server, &parts, name, values)?;
        let answer = server.ask(&request)?.expect(400)?;
        answer.is_problem()?;
        let problem = String::from_utf8_lossy(&answer.body).replace('_', "-");
        let slug = format!("invalid-{}", name.replace('_', "-"));
        answer.ensure(problem.contains(&slug), format_args!("the problem is no {slug}"))
    };
    let numbers: &[&str] = &["06", "00", "9223372036854775808", "18446744073709551616", "6.0"];
    parts.stays(server, || {
        for (name, good) in [
            ("hash", &*parts.hash),
            ("index", "0"),
            ("total", "2"),
            ("size", "12"),
            ("chunk_size", "6"),
        ] {
            let mut wrong =
                vec![vec![], vec![good, good], vec![""], vec!["+6"], vec!["-6"], vec!["x"]];
            if name != "hash" {
                wrong.extend(numbers.iter().map(|one| vec![*one]));
            }
            for values in wrong {
                refused(name, &values).at(format_args!("{name} = {values:?}"))?;
            }
        }
        refused("index", &["2"]).at("index = total")?;
        refused("index", &["3"]).at("index > total")?;
        refused("chunk_size", &["0"]).at("chunk_size 0")
    })
}

fn a_file_without_name_is_called_by_its_id(judge: &Judge<'_>) -> Step {
    let (server, parts) = (judge.server, Parts::hello().with_name(None));
    parts.send_all(server)?;
    let status = parts.status(server)?;
    same("filename", &status["filename"], &Value::Null)?;
    let merged = parts.merge(server)?.expect(201)?;
    let name = merged.json()?["filename"].clone();
    let id = status["upload_id"].as_str().unwrap_or_default();
    let called = !id.is_empty() && name.as_str().is_some_and(|name| name.starts_with(id));
    merged.ensure(called, format_args!("the file of {id} is called {name}"))?;
    parts.is_merged(server, &merged)
}

fn the_first_request_fixes_the_layout(judge: &Judge<'_>) -> Step {
    let server = judge.server;
    // 12 bytes in chunks of 5 may be three chunks or two, but not both.
    let parts = Parts::new("a.bin", 5, "hello world!");
    parts.send(server, 1)?;
    let mismatches = |fields: &[(String, String)], bytes: &[u8]| {
        parts.stays(server, || {
            let answer = server.ask(&put(server, fields, bytes)?)?;
            answer.refused_as(409, "upload-metadata-mismatch").map(|_| ())
        })
    };
    for (name, value) in [("total", "2"), ("size", "11"), ("chunk_size", "4")] {
        let mut fields = parts.fields(0);
        for field in fields.iter_mut().filter(|field| field.0 == name) {
            value.clone_into(&mut field.1);
        }
        let bytes = if name == "chunk_size" { b"hell".as_slice() } else { b"hello" };
        mismatches(&fields, bytes).at(name)?;
    }
    let other = Parts::new("a.bin", 4, "hello world!").with_hash(&parts.hash);
    mismatches(&other.fields(0), other.chunk(0)).at("chunk_size and total")?;
    let longer = Parts::new("a.bin", 5, "hello world!!!!!!").with_hash(&parts.hash);
    mismatches(&longer.fields(0), longer.chunk(0)).at("size and total")?;
    parts.send(server, 0)?;
    parts.send(server, 2).map(|_| ())
}

fn two_names_make_two_uploads(judge: &Judge<'_>) -> Step {
    let (server, first) = (judge.server, Parts::hello());
    let second = Parts::new("b.bin", 6, "hello there!").with_hash(&first.hash);
    first.send(server, 0)?;
    let told = second.send(server, 0)?.json()?;
    same("received", &told["received"], &json!(1)).at("the same chunk into both")?;
    let ids = [&first, &second].map(|parts| Ok::<_, _>(parts.status(server)?["upload_id"].clone()));
    let [one, other]: [Step<Value>; 2] = ids;
    ensure(one? != other?, "two names of one hash have one upload_id")?;
    first.send(server, 1)?;
    second.send(server, 1)?;
    for (parts, digest) in [(&first, first.digest(1)), (&second, second.digest(1))] {
        same("sha256", &parts.check(server, 1)?["sha256"], &json!(digest))?;
    }
    for parts in [&second, &first] {
        let merged = parts.merge(server)?.expect(201)?;
        parts.is_merged(server, &merged)?;
    }
    Ok(())
}

/// The MD5 of `hello ` and of `hullo `: hex, base64.
const MD5: [(&str, &str); 2] = [
    ("f814893777bcc2295fff05f00e508da6", "+BSJN3e8wilf/wXwDlCNpg=="),
    ("1dff692b198617b35eaf02c4777bffeb", "Hf9pKxmGF7NerwLEd3v/6w=="),
];

/// The ways to name the digest of a chunk.
const WAYS: [&str; 10] = [
    "Content-Digest",
    "sha256",
    "X-Chunk-SHA256",
    "X-Chunk-SHA256 in capitals",
    "X-Chunk-SHA256 in both cases",
    "Content-MD5",
    "Content-MD5 in hex",
    "query",
    "query in capitals",
    "field",
];

/// Chunk 0 with bytes of its length, and in one of the ways the digest of `hello ` or `hullo `.
fn told(server: &Server, parts: &Parts, way: &str, bytes: &[u8], of: &[u8]) -> Step<Request> {
    let hex = sha256_hex(of);
    let md5 = MD5[usize::from(of == b"hullo ")];
    let value = match way {
        "Content-Digest" => format!("sha-256=:{}:", base64(sha256(of))),
        "Content-MD5" => md5.1.to_owned(),
        "Content-MD5 in hex" => md5.0.to_owned(),
        "X-Chunk-SHA256 in both cases" => [&hex[..32].to_uppercase(), &hex[32..]].concat(),
        way if way.ends_with("capitals") => hex.to_uppercase(),
        _ => hex,
    };
    let mut fields = parts.fields(0);
    let name = way.split(' ').next().unwrap_or_default();
    if !matches!(name, "query" | "field") {
        return Ok(parts.put_bytes(server, 0, bytes)?.header(name, value));
    }
    fields.push(("sha256".to_owned(), value));
    if name == "query" { put(server, &fields, bytes) } else { form(server, &fields, bytes, &[]) }
}

fn a_digest_is_compared_however_it_comes(judge: &Judge<'_>) -> Step {
    WAYS.iter().try_for_each(|way| digests_of_one_way(judge.server, way).at(way))
}

fn digests_of_one_way(server: &Server, way: &str) -> Step {
    let parts = Parts::hello();
    parts.send(server, 1)?;
    let mismatches = |bytes: &[u8], of: &[u8]| {
        let answer = server.ask(&told(server, &parts, way, bytes, of)?)?;
        let problem = answer.refused_as(400, "digest-mismatch")?.json()?;
        for member in ["algorithm", "expected", "actual"] {
            let text = problem[member].as_str().is_some_and(|text| !text.is_empty());
            ensure(text, format_args!("no {member} in {problem}"))?;
        }
        let differ = problem["expected"] != problem["actual"];
        ensure(differ, format_args!("expected and actual are the same in {problem}"))?;
        same("index", &problem["index"], &json!(0))
    };
    parts.stays(server, || mismatches(b"hello ", b"hullo ")).at("wrong")?;
    let right = told(server, &parts, way, b"hello ", b"hello ")?;
    let answer = server.ask(&right)?.expect(201).at("right")?;
    same("sha256", &answer.json()?["sha256"], &json!(HELLO))?;
    parts.stays(server, || {
        mismatches(b"hello ", b"hullo ").at("wrong, over the stored bytes")?;
        mismatches(b"hullo ", b"hello ").at("that of the stored chunk, over other bytes")
    })?;
    same("sha256", &parts.check(server, 0)?["sha256"], &json!(HELLO)).at("the stored chunk")
}

fn a_digest_that_says_nothing(judge: &Judge<'_>) -> Step {
    let (server, parts) = (judge.server, Parts::hello());
    parts.send(server, 1)?;
    let put = || parts.put(server, 0);
    parts.stays(server, || {
        for (name, value) in [
            ("X-Chunk-SHA256", "zz"),
            ("X-Chunk-SHA256", &HELLO[1..]),
            ("sha256", "5e32"),
            ("sha256", &format!("{HELLO}0")),
            ("Content-MD5", "!!!"),
            ("Content-MD5", MD5[0].1.trim_end_matches('=')),
            ("Content-Digest", "sha-256=nonsense:"),
            ("Content-Digest", "sha-256=:AAAA:"),
        ] {
            let answer = server.ask(&put()?.header(name, value))?.expect(400);
            answer.at(format_args!("{name}: {value}"))?.is_problem()?;
        }
        for value in ["", "zz", "5e32"] {
            let request = with_parameter(server, &parts, "sha256", &[value])?;
            let answer = server.ask(&request)?.expect(400);
            answer.at(format_args!("sha256={value}"))?.is_problem()?;
        }
        let other = sha256_hex(b"hullo ");
        let by_query = with_parameter(server, &parts, "sha256", &[HELLO])?;
        for (what, request) in [
            ("headers", put()?.header("X-Chunk-SHA256", HELLO).header("sha256", &other)),
            ("header and query", by_query.clone().header("X-Chunk-SHA256", &other)),
            ("SHA-256 and MD5", by_query.header("Content-MD5", MD5[1].1)),
        ] {
            let answer = server.ask(&request)?.refused_as(400, "digest-mismatch");
            answer.at(format_args!("{what} that disagree"))?;
        }
        Ok(())
    })?;
    let unknown = put()?.header("Content-Digest", "blake3=:AAAA:, sha-999=:AAAA:");
    let answer = server.ask(&unknown)?.expect(201).at("unknown algorithms")?;
    same("sha256", &answer.json()?["sha256"], &json!(HELLO))
}

fn a_form_has_one_file_and_few_small_fields(judge: &Judge<'_>) -> Step {
    let (server, parts) = (judge.server, Parts::hello());
    parts.send(server, 1)?;
    let written = |parts: &Parts| -> Vec<u8> {
        parts.fields(0).iter().flat_map(|(name, value)| field(name, value)).collect()
    };
    let fields = written(&parts);
    let with = |more: &[Vec<u8>]| form_of(server, [fields.clone(), more.concat()].concat());
    let file = file_part("file", "blob", b"hello ");
    let more = |count| (0..count).flat_map(|n| field(&format!("x{n}"), "y")).collect::<Vec<u8>>();
    let sized = |bytes: usize| field("x", &"y".repeat(bytes));
    let no_boundary = with(std::slice::from_ref(&file))?.set("Content-Type", "multipart/form-data");
    for (what, request, statuses) in [
        ("no file part", with(&[])?, &[400][..]),
        ("two file parts", with(&[file.clone(), file.clone()])?, &[400]),
        ("file and chunk", with(&[file.clone(), file_part("chunk", "b", b"hello ")])?, &[400]),
        ("no boundary", no_boundary, &[400]),
        ("33 fields", with(&[more(27), file.clone()])?, &[400, 413]),
        ("33 fields, behind the file", with(&[file.clone(), more(27)])?, &[400, 413]),
        ("a field of 8 KiB + 1", with(&[sized(8193), file.clone()])?, &[413]),
        ("a field of 64 KiB, behind the file", with(&[file.clone(), sized(65_536)])?, &[413]),
    ] {
        parts
            .stays(server, || server.ask(&request)?.expect_one(statuses)?.is_problem())
            .at(what)?;
    }
    for (what, extra) in [("32 fields", more(26)), ("a field of 8 KiB", sized(8192))] {
        let fresh = Parts::hello();
        let body = [written(&fresh), extra, file.clone()].concat();
        server.ask(&form_of(server, body)?)?.expect(201).at(what)?;
    }
    let mut both = parts.put_form(server, 0)?;
    let target = |index| server.at(&format!("/upload?{}", query(&parts.fields(index))));
    both.target = target(1)?;
    parts.refuses(server, &both, 400).at("query and form that disagree")?;
    both.target = target(0)?;
    server.ask(&both)?.expect(201).at("query and form that agree").map(|_| ())
}

fn a_file_name_is_data(judge: &Judge<'_>) -> Step {
    names_are_data(judge.server)?;
    let server = judge.then_start(&[])?;
    fs::write(server.around()?.join("x"), "sentinel")?;
    let before: Vec<_> = snapshot(server.around()?).into_keys().collect();
    names_are_data(&server)?;
    let after = snapshot(server.around()?);
    let outside = |path: &&std::path::PathBuf| !path.starts_with("data") && !before.contains(path);
    let new: Vec<_> = after.keys().filter(outside).collect();
    ensure(new.is_empty(), format_args!("new outside of the data folder: {new:?}"))?;
    let sentinel = fs::read(server.around()?.join("x"))?;
    same("the file beside the data folder", &sentinel, &b"sentinel".to_vec())?;
    tmp_is_empty(&server)
}

fn names_are_data(server: &Server) -> Step {
    let long = "n".repeat(300);
    let full = "n".repeat(255);
    for name in ["../../x", "/etc/x", "..", "a\0b", "-rf", "..\\..\\x", &full] {
        let parts = Parts::hello().with_name(Some(name));
        server.ask(&parts.put(server, 0)?)?.expect(201).at(format_args!("{name:?}"))?;
        same("filename", &parts.status(server)?["filename"], &json!(name))?;
        let body: Vec<u8> =
            parts.fields(1).iter().flat_map(|(name, value)| field(name, value)).collect();
        let blob = file_part("file", "../../x", b"world!");
        server.ask(&form_of(server, [body, blob].concat())?)?.expect(201)?;
        let merged = parts.merge(server)?.expect(201).at(format_args!("{name:?}"))?;
        parts.is_merged(server, &merged)?;
        let published = merged.json()?["filename"].as_str().unwrap_or_default().to_owned();
        let sane = !published.is_empty()
            && !published.starts_with('.')
            && !published.chars().any(|c| c.is_control() || matches!(c, '/' | '\\'));
        merged.ensure(sane, format_args!("{name:?} is published as {published:?}"))?;
        if let Ok(data) = server.layout() {
            let there = data.join("files").join(&published).is_file();
            ensure(there, format_args!("files/ has no {published:?}"))?;
        }
    }
    // NUL is no byte of a header (RFC 9110 §5.5): a form with one may be refused as a whole.
    for (name, statuses) in
        [("../../x", &[201][..]), ("/etc/x", &[201]), ("a\0b", &[201, 400]), (&long, &[201])]
    {
        let parts = Parts::hello();
        let body: Vec<u8> =
            parts.fields(0).iter().flat_map(|(name, value)| field(name, value)).collect();
        let part = file_part("file", name, b"hello ");
        let answer = server.ask(&form_of(server, [body, part].concat())?)?;
        let answer = answer.expect_one(statuses);
        let stored = answer.at(format_args!("the part's filename is {name:?}"))?.status == 201;
        let state = if stored { "receiving" } else { "none" };
        has_members(&parts.status(server)?, &json!({"filename": "a.bin", "state": state}))?;
    }
    for length in [256, 300] {
        let parts = Parts::hello().with_name(Some(&"n".repeat(length)));
        let answer = server.ask(&parts.put(server, 0)?)?.expect(400);
        answer.at(format_args!("a name of {length} bytes"))?.is_problem()?;
    }
    Ok(())
}

fn a_merged_file_takes_what_it_has(judge: &Judge<'_>) -> Step {
    let (server, parts) = (judge.server, Parts::hello());
    parts.send_all(server)?;
    let merged = parts.merge(server)?.expect(201)?;
    let told = merged.json()?;
    let stays = |answer: Step<Answer>| {
        answer?;
        parts.is_merged(server, &merged)?;
        let status = parts.status(server)?;
        has_members(&status, &json!({"state": "merged", "result": told}))
    };
    for request in [parts.put(server, 0)?, parts.put_form(server, 1)?] {
        stays(server.ask(&request)?.expect(200)).at("the same bytes")?;
    }
    let other = parts.put_bytes(server, 0, b"hullo ")?;
    stays(server.ask(&other)?.expect(409)).at("other bytes")?;
    let upload = parts.as_upload(server)?;
    soon("part files stay behind the merge", || Ok(upload.parts().is_empty()))?;
    parts.delete(server)?.expect(204)?;
    begins_anew(server, &parts).at("after DELETE")?;
    let server = judge.then_start(&["--expire-after=4s", "--reap-every=1h"])?;
    parts.send(&server, 1)?;
    thread::sleep(Duration::from_millis(4_800));
    begins_anew(&server, &parts).at("after expiry")
}

fn begins_anew(server: &Server, parts: &Parts) -> Step {
    let answer = parts.send(server, 0)?.json()?;
    same("received", &answer["received"], &json!(1))?;
    same("uploaded", &parts.uploaded(server)?, &vec![0])
}

fn conditions_are_held_against_the_tag(judge: &Judge<'_>) -> Step {
    let (server, parts) = (judge.server, Parts::hello());
    let (own, other) = (format!("\"{HELLO}\""), format!("\"{}\"", parts.digest(1)));
    let put = |bytes: &[u8], name: &str, value: &str| {
        server.ask(&parts.put_bytes(server, 0, bytes)?.header(name, value))
    };
    for value in ["*", &own] {
        let answer = put(b"hello ", "If-Match", value)?.expect(412);
        answer.at("If-Match where nothing is stored")?.is_problem()?;
    }
    same("state", &parts.status(server)?["state"], &json!("none"))?;
    for status in [201, 200] {
        let answer = server.ask(&parts.put(server, 0)?)?.expect(status)?;
        answer.has("ETag", &own).at(status)?;
    }
    for (name, value) in [("If-None-Match", "*"), ("If-None-Match", &own), ("If-Match", &other)] {
        parts
            .stays(server, || put(b"hullo ", name, value)?.expect(412)?.is_problem())
            .at(format_args!("{name}: {value}"))?;
        same("sha256", &parts.check(server, 0)?["sha256"], &json!(HELLO))?;
    }
    put(b"hullo ", "If-Match", &own)?.expect(201).at("If-Match of what is stored")?;
    put(b"world!", "If-None-Match", "*")?.expect(412)?;
    let fresh = Parts::hello();
    let first = fresh.put(server, 0)?.header("If-None-Match", "*");
    server.ask(&first)?.expect(201).at("If-None-Match: * where nothing is stored").map(|_| ())
}
