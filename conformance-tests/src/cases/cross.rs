//! Across the dialects (section 26 of the page).

use std::{thread, time::Duration};

use serde_json::{Value, json};

use crate::{
    case::{Case, case},
    digest::base64,
    judge::Judge,
    parts::{Parts, has_members, merge},
    random::Random,
    server::Server,
    stop::{At, Step, Stop, ensure, same},
    tus::{Upload, append, create, create_deferred, patch, request},
    wire::Request,
};

pub(crate) const CASES: &[Case] = &[
    case("CROSS-01", the_contiguous_prefix_is_the_offset),
    case("CROSS-02", tus_can_finish_what_chunks_began),
    case("CROSS-03", a_filled_gap_joins_what_lies_behind_it),
    case("CROSS-04", a_patch_over_a_sealed_chunk),
    case("CROSS-05", status_tells_of_a_tus_upload),
    case("CROSS-06", chunks_can_finish_what_tus_began),
    case("CROSS-07", by_any_way_it_is_the_same_file),
    case("CROSS-08", an_empty_patch_at_the_end_finishes),
    case("CROSS-09", what_one_ends_is_gone_for_the_other),
    case("CROSS-10", the_status_tells_of_every_kind_of_upload),
    case("CROSS-11", a_wrong_checksum_keeps_the_chunks),
    case("CROSS-12", a_restart_between_the_dialects_changes_nothing),
];

/// The size of the chunks of large files that index clients cut.
const CHUNK: usize = 64 * 1024;

/// Fifteen bytes in three chunks of five.
fn three() -> Parts {
    Parts::new("a.bin", 5, "hello world and")
}

fn number(count: usize) -> u64 {
    u64::try_from(count).unwrap_or(u64::MAX)
}

/// The status of an upload that tus names.
fn status(upload: &Upload<'_>) -> Step<Value> {
    let target = upload.server.at(&format!("/upload/status?upload_id={}", upload.id()))?;
    upload.server.ask(&Request::new("GET", &target))?.expect(200)?.json()
}

/// A PATCH is taken, and the answer names the offset behind it.
fn takes(upload: &Upload<'_>, offset: usize, bytes: &[u8]) -> Step {
    let answer = upload.patch(number(offset), bytes)?.expect(204)?;
    answer.has("Upload-Offset", offset + bytes.len())
}

fn the_contiguous_prefix_is_the_offset(judge: &Judge<'_>) -> Step {
    let server = judge.server;
    for (indexes, offset) in [([0, 1], 10), ([0, 2], 5), ([1, 2], 0)] {
        let parts = three();
        for index in indexes {
            parts.send(server, index)?;
        }
        let at = format!("chunks {indexes:?}");
        let head = parts.as_upload(server)?.head()?.expect(200).at(&at)?;
        head.has("Upload-Offset", offset).at(&at)?;
        head.has("Upload-Length", 15)?;
        let name = format!("filename {}", base64("a.bin"));
        let metadata = head.needs("Upload-Metadata")?;
        let named = metadata.split(',').any(|pair| pair.trim() == name);
        head.ensure(named, format_args!("Upload-Metadata is {metadata:?}, without {name:?}"))?;
    }
    Ok(())
}

fn tus_can_finish_what_chunks_began(judge: &Judge<'_>) -> Step {
    let (server, parts) = (judge.server, three());
    parts.send(server, 0)?;
    let upload = parts.as_upload(server)?;
    takes(&upload, 5, &parts.bytes[5..])?;
    upload.is_file(&parts.bytes)?;
    let status = parts.status(server)?;
    same("state", &status["state"], &json!("merged"))?;
    let answer = parts.merge(server)?.expect(200)?;
    let expected = json!({"state": "merged", "composite_sha256": parts.composite(), "size": 15});
    has_members(&answer.json()?, &expected)?;
    same("result", &status["result"], &answer.json()?)?;
    parts.is_merged(server, &answer)
}

fn a_filled_gap_joins_what_lies_behind_it(judge: &Judge<'_>) -> Step {
    let server = judge.server;
    let parts = Parts::new("a.bin", 5, "hello world and on");
    parts.send(server, 0)?;
    parts.send(server, 2)?;
    let upload = parts.as_upload(server)?;
    takes(&upload, 5, parts.chunk(1))?;
    upload.is_at(15)?;
    let conflict = upload.patch(10, &parts.bytes[10..])?.expect(409)?;
    conflict.has("Upload-Offset", 15)?;
    upload.is_at(15)?;
    takes(&upload, 15, &parts.bytes[15..])?;
    upload.is_file(&parts.bytes)
}

fn a_patch_over_a_sealed_chunk(judge: &Judge<'_>) -> Step {
    let server = judge.server;
    for (what, behind) in [("the same bytes", b"d and"), ("other bytes", b"OTHER")] {
        let mut parts = three();
        parts.send(server, 0)?;
        parts.send(server, 2)?;
        parts.bytes[10..].copy_from_slice(behind);
        let upload = parts.as_upload(server)?;
        takes(&upload, 5, &parts.bytes[5..]).at(what)?;
        upload.is_file(&parts.bytes).at(what)?;
        let result = &parts.status(server)?["result"];
        same("composite_sha256", &result["composite_sha256"], &json!(parts.composite()))
            .at(what)?;
    }
    // Half a sealed chunk is no whole one: what the PATCH did not bring is as it was.
    let mut parts = Parts::new("a.bin", 5, "hello world and on");
    for index in [0, 2] {
        parts.send(server, index)?;
    }
    let upload = parts.as_upload(server)?;
    upload.patch(5, &parts.bytes[5..12])?.expect(204)?;
    let offset = usize::try_from(upload.offset()?).unwrap_or(usize::MAX);
    let sane = (12..=15).contains(&offset);
    ensure(sane, format_args!("a PATCH up to 12 leads to {offset}, not to 12 … 15"))?;
    parts.bytes[15..].copy_from_slice(b" ON");
    takes(&upload, offset, &parts.bytes[offset..])?;
    upload.is_file(&parts.bytes).at("half a sealed chunk")
}

/// A tus upload of four chunks, of which 2½ are there; how large a chunk is.
fn two_and_a_half<'a>(judge: &Judge<'_>, server: &'a Server) -> Step<(Upload<'a>, Vec<u8>, usize)> {
    let told = status(&Upload::new(server, 1)?)?["chunk_size"].as_u64().unwrap_or_default();
    let chunk = usize::try_from(told).unwrap_or_default();
    // A larger one than 16 MiB would make this a test of patience.
    ensure((1..=16 << 20).contains(&chunk), format_args!("the chunk_size is {told}"))?;
    let small = judge
        .launcher()
        .is_ok_and(|launcher| launcher.args.iter().any(|arg| arg == "--chunk-size=64KiB"));
    ensure(!small || chunk == CHUNK, format_args!("--chunk-size=64KiB, and chunk_size {told}"))?;
    let bytes = Random::fresh().bytes(3 * chunk + chunk / 4 + 1);
    let upload = Upload::new(server, number(bytes.len()))?;
    takes(&upload, 0, &bytes[..2 * chunk + chunk / 2])?;
    Ok((upload, bytes, chunk))
}

fn status_tells_of_a_tus_upload(judge: &Judge<'_>) -> Step {
    let (upload, bytes, chunk) = two_and_a_half(judge, judge.server)?;
    let expected = json!({
        "upload_id": upload.id(),
        "state": "receiving",
        "uploaded": [0, 1],
        "missing": [2, 3],
        "chunk_size": chunk,
        "total": 4,
        "size": bytes.len(),
        "received_bytes": 2 * chunk + chunk / 2,
        "mergeable": false,
        "result": null,
    });
    has_members(&status(&upload)?, &expected)
}

fn chunks_can_finish_what_tus_began(judge: &Judge<'_>) -> Step {
    let server = judge.server;
    for order in [[2, 3], [3, 2]] {
        let (upload, bytes, chunk) = two_and_a_half(judge, server)?;
        let parts = Parts::new("", chunk, bytes).with_hash(upload.id()).with_name(None);
        let mut offset = upload.offset()?;
        same("the offset", &offset, &number(2 * chunk + chunk / 2))?;
        for index in order {
            // Chunk 2 comes whole, though half of it is there.
            parts.send(server, index).at(format_args!("chunk {index} of {order:?}"))?;
            let now = upload.offset()?;
            ensure(now >= offset, format_args!("the offset fell from {offset} to {now}"))?;
            offset = now;
        }
        same("the offset", &offset, &number(parts.bytes.len()))?;
        let last = parts.status(server)?;
        same("uploaded", &last["uploaded"], &json!([0, 1, 2, 3]))?;
        if last["state"] != "merged" {
            same("mergeable", &last["mergeable"], &json!(true))?;
            parts.merge(server)?.expect(201)?;
        }
        upload.is_file(&parts.bytes)?;
    }
    Ok(())
}

/// Sends `bytes` from `offset` on in pieces of random sizes, some of them chunked where HTTP can.
fn send_by_tus(random: &mut Random, upload: &Upload<'_>, bytes: &[u8], from: usize) -> Step {
    let mut sent = from;
    while sent < bytes.len() {
        let size = 1 + random.below(3 * CHUNK);
        let piece = &bytes[sent..bytes.len().min(sent + size)];
        let asked = if random.below(2) == 0 {
            patch(&upload.url, number(sent), piece)
        } else {
            append(&upload.url, number(sent)).chunked(piece, 1 + random.below(9_999))
        };
        sent += piece.len();
        upload.server.ask(&asked)?.expect(204)?.has("Upload-Offset", sent)?;
    }
    Ok(())
}

/// The finished upload has these bytes, and at this chunk size their composite digest.
fn is_the_file(upload: &Upload<'_>, parts: &Parts) -> Step {
    upload.is_file(&parts.bytes)?;
    let status = status(upload)?;
    let size = usize::try_from(status["chunk_size"].as_u64().unwrap_or_default());
    let size = size.unwrap_or_default().max(1);
    // A server by its URL may cut what tus brings into chunks of another size.
    let expected = Parts::new("", size, &*parts.bytes).composite();
    has_members(&status, &json!({"state": "merged"}))?;
    let found = &status["result"]["composite_sha256"];
    same("composite_sha256", found, &json!(expected))
}

fn by_any_way_it_is_the_same_file(judge: &Judge<'_>) -> Step {
    let (server, mut random) = (judge.server, Random::fresh());
    for size in [1, CHUNK, CHUNK + 1, 3 * CHUNK, 7 * CHUNK + 321] {
        let bytes = random.bytes(size);
        all_ways(&mut random, server, &bytes).at(format_args!("{size} bytes"))?;
    }
    Ok(())
}

fn all_ways(random: &mut Random, server: &Server, bytes: &[u8]) -> Step {
    let parts = || Parts::new("same.bin", CHUNK, bytes);
    let by_tus = Upload::new(server, number(bytes.len()))?;
    send_by_tus(random, &by_tus, bytes, 0)?;
    is_the_file(&by_tus, &parts()).at("tus")?;
    for form in [false, true] {
        let parts = parts();
        for index in random.shuffled((0..parts.total).collect()) {
            let put =
                if form { parts.put_form(server, index)? } else { parts.put(server, index)? };
            server.ask(&put)?.expect(201)?;
        }
        let at = if form { "multipart chunks" } else { "raw chunks" };
        let merged = parts.merge(server)?.expect(201).at(at)?;
        let composite = json!({"composite_sha256": parts.composite(), "digest_format": "raw"});
        has_members(&merged.json()?, &composite).at(at)?;
        is_the_file(&parts.as_upload(server)?, &parts).at(at)?;
    }
    let mixed = parts();
    server.ask(&mixed.put(server, 0)?)?.expect(201)?;
    if mixed.total > 1 {
        server.ask(&mixed.put_form(server, 1)?)?.expect(201)?;
    }
    let upload = mixed.as_upload(server)?;
    let prefix = bytes.len().min(2 * CHUNK);
    same("the offset", &upload.offset()?, &number(prefix)).at("a mixture")?;
    send_by_tus(random, &upload, bytes, prefix)?;
    mixed.merge(server)?.expect_one(&[200, 201])?;
    is_the_file(&upload, &mixed).at("a mixture")
}

fn an_empty_patch_at_the_end_finishes(judge: &Judge<'_>) -> Step {
    let (server, parts) = (judge.server, three());
    parts.send_all(server)?;
    let upload = parts.as_upload(server)?;
    upload.head()?.expect(200)?.has("Upload-Offset", 15)?;
    upload.get()?.expect(404).at("GET before it")?;
    same("state", &parts.status(server)?["state"], &json!("mergeable"))?;
    takes(&upload, 15, b"")?;
    upload.is_file(&parts.bytes)?;
    let told = parts.status(server)?;
    let merged = json!({"digest_format": null, "composite_sha256": parts.composite()});
    has_members(&told, &json!({"state": "merged"}))?;
    has_members(&told["result"], &merged).at("as by /merge without digest")?;
    let again = parts.merge(server)?.expect(200)?;
    same("the answer", &again.json()?, &told["result"])
}

fn what_one_ends_is_gone_for_the_other(judge: &Judge<'_>) -> Step {
    let server = judge.server;
    for by_tus in [false, true] {
        let at = if by_tus { "DELETE by tus" } else { "DELETE /upload" };
        let parts = three();
        parts.send(server, 0)?;
        let upload = parts.as_upload(server)?;
        let deleted = if by_tus { upload.delete()? } else { parts.delete(server)? };
        deleted.expect(204).at(at)?;
        upload.head()?.expect(404).at(at)?;
        ended(&upload, &parts).at(at)?;
    }
    let server = judge.then_start(&["--expire-after=4s", "--reap-every=1s"])?;
    let parts = three();
    parts.send(&server, 0)?;
    let begun = parts.as_upload(&server)?;
    let by_tus = Upload::hello(&server)?;
    thread::sleep(Duration::from_millis(5300));
    for when in ["expired", "expired and swept"] {
        begun.head()?.expect(410).at(when)?;
        ended(&begun, &parts).at(when)?;
        by_tus.head()?.expect(410).at(when)?;
        same("state", &status(&by_tus)?["state"], &json!("none")).at(when)?;
        thread::sleep(Duration::from_millis(1300));
    }
    Ok(())
}

fn ended(upload: &Upload<'_>, parts: &Parts) -> Step {
    let none = json!({"state": "none", "uploaded": []});
    has_members(&parts.status(upload.server)?, &none)?;
    has_members(&status(upload)?, &none)
}

fn the_status_tells_of_every_kind_of_upload(judge: &Judge<'_>) -> Step {
    let server = judge.server;
    if judge.offers("creation-defer-length") {
        let deferred = Upload::deferred(server)?;
        takes(&deferred, 0, b"hello")?;
        let expected = json!({
            "state": "receiving", "size": null, "total": null, "received_bytes": 5, "missing": [],
        });
        has_members(&status(&deferred)?, &expected).at("deferred length")?;
    }
    if !judge.offers("concatenation") {
        return Err(Stop::Part("the extension concatenation is not offered".to_owned()));
    }
    let ask_for =
        |request: Request| Upload::from_answer(server, &server.ask(&request)?.expect(201)?);
    let part = |request: Request| ask_for(request.header("Upload-Concat", "partial"));
    let first = part(create(server, 5))?;
    takes(&first, 0, b"hello")?;
    let expected = json!({"size": 5, "uploaded": [0], "received_bytes": 5});
    has_members(&status(&first)?, &expected).at("a partial upload")?;
    let join = |parts: &str| {
        let join = request("POST", server.files()).header("Content-Length", 0);
        ask_for(join.header("Upload-Concat", format!("final;{parts}")))
    };
    let finished = join(&first.url)?;
    let told = status(&finished)?;
    has_members(&told, &json!({"state": "merged"})).at("a final upload")?;
    has_members(&told["result"], &json!({"size": 5})).at("a final upload")?;
    takes_no_chunk(&finished).at("a final upload")?;
    finished.is_file(b"hello")?;
    if judge.offers("concatenation-unfinished") && judge.offers("creation-defer-length") {
        let second = part(create_deferred(server))?;
        let pending = join(&format!("{} {}", first.url, second.url))?;
        let expected = json!({
            "state": "receiving", "uploaded": [], "size": null, "total": null, "result": null,
        });
        has_members(&status(&pending)?, &expected).at("a pending final upload")?;
        takes_no_chunk(&pending).at("a pending final upload")?;
    }
    Ok(())
}

fn takes_no_chunk(upload: &Upload<'_>) -> Step {
    let server = upload.server;
    let before = (status(upload)?, upload.parts());
    for layout in ["", "&total=1&size=5&chunk_size=5"] {
        let target = format!("/upload?hash={}&index=0{layout}", upload.id());
        let put = Request::new("PUT", &server.at(&target)?);
        let put = put.header("Content-Type", "application/octet-stream").body("HELLO");
        server.ask(&put)?.refused_as(403, "final-upload")?;
    }
    ensure((status(upload)?, upload.parts()) == before, "refused, and yet something has changed")
}

fn a_wrong_checksum_keeps_the_chunks(judge: &Judge<'_>) -> Step {
    judge.needs("checksum")?;
    let (server, mut random) = (judge.server, Random::fresh());
    let parts = Parts::new("a.bin", CHUNK, random.bytes(5 * CHUNK));
    for index in [0, 2, 4] {
        parts.send(server, index)?;
    }
    let upload = parts.as_upload(server)?;
    let begin = CHUNK + 100;
    takes(&upload, CHUNK, &parts.bytes[CHUNK..begin])?;
    // Over chunk 2 into chunk 3, and up to the end, with other bytes.
    for length in [2 * CHUNK + 500, 5 * CHUNK - begin] {
        let wrong = format!("sha1 {}", base64([0; 20]));
        let asked = patch(&upload.url, number(begin), random.bytes(length));
        server.ask(&asked.header("Upload-Checksum", wrong))?.expect(460)?;
        upload.is_at(number(begin)).at("the prefix")?;
        same("uploaded", &parts.uploaded(server)?, &vec![0, 2, 4])?;
        for index in [0, 2, 4] {
            let sealed = json!({"exists": true, "sha256": parts.digest(index)});
            has_members(&parts.check(server, index)?, &sealed)?;
        }
    }
    takes(&upload, begin, &parts.bytes[begin..2 * CHUNK])?;
    upload.is_at(number(3 * CHUNK))?;
    takes(&upload, 3 * CHUNK, &parts.bytes[3 * CHUNK..4 * CHUNK])?;
    parts.merge(server)?.expect_one(&[200, 201])?;
    upload.is_file(&parts.bytes)
}

fn a_restart_between_the_dialects_changes_nothing(judge: &Judge<'_>) -> Step {
    for (how, kill) in [("restart", false), ("kill -9", true)] {
        let server = judge.start(&[])?;
        let again = || if kill { server.crash() } else { server.restart() };
        with_ends_between(&server, &again).at(how)?;
    }
    Ok(())
}

fn with_ends_between(server: &Server, again: &dyn Fn() -> Step) -> Step {
    let parts = Parts::new("a.bin", CHUNK, Random::fresh().bytes(6 * CHUNK + 5));
    parts.send(server, 0)?;
    parts.send(server, 3)?;
    again()?;
    let upload = parts.as_upload(server)?;
    let tail = CHUNK + 77;
    takes(&upload, CHUNK, &parts.bytes[CHUNK..CHUNK + tail])?;
    again()?;
    same("uploaded", &parts.uploaded(server)?, &vec![0, 1, 3])?;
    server.ask(&parts.put_form(server, 5)?)?.expect(201)?;
    again()?;
    upload.is_at(number(CHUNK + tail))?;
    takes(&upload, CHUNK + tail, &parts.bytes[CHUNK + tail..3 * CHUNK])?;
    again()?;
    upload.is_at(number(4 * CHUNK))?;
    parts.send(server, 4)?;
    again()?;
    parts.send(server, 6)?;
    again()?;
    server.ask(&merge(server, &parts.merge_body())?)?.expect(201)?;
    again()?;
    upload.is_file(&parts.bytes)?;
    parts.merge(server)?.expect(200).map(|_| ())
}
