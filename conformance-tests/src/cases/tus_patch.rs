//! PATCH (section 7 of the page); its headers and framing are in `tus_patch_heads`.

use std::time::Duration;

use super::{life, tus_patch_heads as heads};
use crate::{
    case::{Case, case},
    digest::{length, sha256_hex},
    judge::Judge,
    random::Random,
    server::{Http, Server},
    stop::{At, Step, Stop, ensure, rest, same},
    tus::{GONE, Upload, append, patch, unknown_url},
    wire::Request,
};

pub(crate) const CASES: &[Case] = &[
    case("TUS-PATCH-01", adds_and_counts).says(SUM),
    case("TUS-PATCH-02", takes_any_split).says(SUM),
    case("TUS-PATCH-03", shows_what_is_complete),
    case("TUS-PATCH-04", refuses_another_offset).says(CONFLICT),
    case("TUS-PATCH-05", heads::wants_an_offset).says(
        "The Upload-Offset request and response header indicates a byte offset within a resource. \
         The value MUST be a non-negative integer. … The Upload-Offset header's value MUST be \
         equal to the current offset of the resource.",
    ),
    case("TUS-PATCH-06", heads::takes_no_offset_beyond_all_files),
    case("TUS-PATCH-07", heads::wants_its_media_type),
    case("TUS-PATCH-08", heads::takes_the_type_in_any_case)
        .says("The type and subtype tokens are case-insensitive. (RFC 9110 §8.3.1)"),
    case("TUS-PATCH-09", refuses_more_than_the_length),
    case("TUS-PATCH-10", keeps_the_part_that_fits),
    case("TUS-PATCH-11", confirms_what_is_complete),
    case("TUS-PATCH-12", adds_nothing_to_what_is_complete).says(CONFLICT),
    case("TUS-PATCH-13", finds_nothing_where_nothing_is),
    case("TUS-PATCH-14", heads::decodes_nothing),
    case("TUS-PATCH-15", heads::takes_chunks_of_all_spellings)
        .says(
            "A recipient MUST be able to parse and decode the chunked transfer coding. … A \
             recipient MUST ignore unrecognized chunk extensions. (RFC 9112 §7.1)",
        )
        .http1(),
    case("TUS-PATCH-16", heads::ignores_what_belongs_elsewhere),
    case("TUS-PATCH-17", answers_the_same_under_all_options),
];

const SUM: &str = "The Server MUST acknowledge successful PATCH requests with the 204 No Content \
    status. It MUST include the Upload-Offset header containing the new offset. The new offset \
    MUST be the sum of the offset before the PATCH request and the number of bytes received and \
    processed or stored during the current PATCH request.";

const CONFLICT: &str = "The Upload-Offset header's value MUST be equal to the current offset of \
    the resource. … If the offsets do not match, the Server MUST respond with the 409 Conflict \
    status without modifying the upload resource.";

fn adds_and_counts(judge: &Judge<'_>) -> Step {
    let server = judge.server;
    let upload = Upload::new(server, 11)?;
    for (offset, body, sum) in [(0, "hello", 5), (5, " world", 11)] {
        let answer = upload.patch(offset, body)?.expect(204).at(body)?;
        answer.has("Upload-Offset", sum).at(body)?;
        let nothing = matches!(answer.header("Content-Length"), None | Some("0"));
        judge.ours(answer.ensure(nothing && answer.body.is_empty(), "204 with a body"))?;
        upload.is_at(sum).at(body)?;
    }
    upload.is_file(b"hello world")?;
    // That every PATCH is accepted is a SHOULD; one without bytes may look like a mistake.
    let upload = Upload::hello(server)?;
    let empty = upload.patch(5, "").and_then(|answer| answer.expect(204)).at("no body");
    if let Some(answer) = judge.should(empty)? {
        answer.has("Upload-Offset", 5).at("no body")?;
    }
    upload.is_at(5)?;
    if judge.http() == Http::One {
        judge.ours(answers_in_a_row(server))?;
    }
    Ok(())
}

/// A byte too many behind an answer would be read as the beginning of the next.
fn answers_in_a_row(server: &Server) -> Step {
    let upload = Upload::new(server, 11)?;
    let mut connection = server.connect()?;
    for (offset, body, sum) in [(0, "hello", 5), (5, "", 5), (5, " world", 11)] {
        let answer = connection.ask(&patch(&upload.url, offset, body))?.expect(204)?;
        answer.has("Upload-Offset", sum)?;
    }
    Ok(())
}

/// Sends `bytes` in pieces of `size`, counts, and compares.
fn splits(server: &Server, bytes: &[u8], size: usize) -> Step {
    let upload = Upload::new(server, length(bytes))?;
    let mut offset = 0;
    for piece in bytes.chunks(size) {
        let answer = upload.patch(offset, piece)?.expect(204)?;
        offset += length(piece);
        answer.has("Upload-Offset", offset)?;
    }
    upload.is_file(bytes)
}

const CHUNK: usize = 64 * 1024;

fn takes_any_split(judge: &Judge<'_>) -> Step {
    let bytes = Random::seeded(2).bytes(5 * CHUNK + 123);
    for size in [CHUNK - 1, CHUNK, CHUNK + 1, 3 * CHUNK + 7, bytes.len()] {
        splits(judge.server, &bytes, size).at(format_args!("pieces of {size}"))?;
    }
    splits(judge.server, &bytes[..40], 1).at("one byte at a time")?;
    // One byte at a time over the edge of a chunk.
    let edge = Upload::new(judge.server, length(&bytes))?;
    edge.patch(0, &bytes[..CHUNK - 5])?.expect(204)?;
    for at in CHUNK - 5..CHUNK + 5 {
        let (from, to) = (length(&bytes[..at]), length(&bytes[..=at]));
        edge.patch(from, [bytes[at]])?.expect(204)?.has("Upload-Offset", to)?;
    }
    edge.patch(length(&bytes[..CHUNK + 5]), &bytes[CHUNK + 5..])?.expect(204)?;
    edge.is_file(&bytes).at("one byte at a time over an edge")?;
    let server = judge.then_start(&[])?;
    let upload = Upload::new(&server, 12)?;
    upload.patch(0, "hello world!")?.expect(204)?;
    let files = rest(server.finished())?;
    let found: Vec<_> = files.iter().filter_map(|path| std::fs::read(path).ok()).collect();
    let digests: Vec<_> = found.iter().map(|bytes| sha256_hex(bytes)).collect();
    let right = ["7509e5bda0c762d2bac7f90d758b5b2263fa01ccbc542ab5e3df163be08e6ca9".to_owned()];
    judge.ours(same("the digests of the files", &digests, &right.to_vec()))?;
    let name = files.iter().filter_map(|path| path.file_name()?.to_str()).collect::<String>();
    let what = format!("the name of the file is {name:?}");
    judge.ours(ensure(name.ends_with("-1332f513"), what))?;
    Ok(())
}

fn shows_what_is_complete(judge: &Judge<'_>) -> Step {
    let server = judge.server;
    for round in 0..20 {
        let upload = Upload::hello(server)?;
        upload.patch(5, " world")?.expect(204)?;
        let file = upload.get()?;
        if matches!(file.status, 404 | 405 | 501) && !server.hands_out_files() && round == 0 {
            return Err(Stop::Skip("tus 1.0.0 knows no download, nor does the server".to_owned()));
        }
        let file = file.expect(200).at(format_args!("round {round}"))?;
        file.ensure(file.body == b"hello world", "the body is not the file")?;
    }
    Ok(())
}

fn refuses_another_offset(judge: &Judge<'_>) -> Step {
    let upload = Upload::hello(judge.server)?;
    for offset in [0, 4, 6, 11, 1 << 40] {
        let answer = upload.refuses(&patch(&upload.url, offset, "x"), &[409]).at(offset)?;
        judge.ours(answer.has("Upload-Offset", 5).at(offset))?;
        judge.ours(answer.is_problem().at(offset))?;
        let problem = judge.ours(answer.json().at(offset))?.unwrap_or_default();
        let members = problem.as_object().into_iter().flatten();
        let told = members.into_iter().any(|(name, value)| {
            name.contains("offset")
                && (*value == 5 || value.get("current").is_some_and(|v| *v == 5))
        });
        let what = format!("the problem does not tell the offset: {problem}");
        judge.ours(answer.ensure(told, what).at(offset))?;
    }
    // The answer arrives though the server does not want the body.
    let large = patch(&upload.url, 0, vec![b'x'; 1 << 20]);
    judge.ours(upload.refuses(&large, &[409]).at("a body of 1 MiB"))?;
    upload.is_at(5)
}

/// A body whose length is not told before: chunked, or as HTTP/2 sends any.
fn unsized_patch(judge: &Judge<'_>, url: &str, offset: u64, bytes: &[u8]) -> Request {
    if judge.http() == Http::One {
        return append(url, offset).chunked(bytes, bytes.len());
    }
    patch(url, offset, bytes).without("Content-Length")
}

fn refuses_more_than_the_length(judge: &Judge<'_>) -> Step {
    let upload = Upload::hello(judge.server)?;
    upload.refuses(&patch(&upload.url, 5, " world!"), &[413])?.is_problem()
}

fn keeps_the_part_that_fits(judge: &Judge<'_>) -> Step {
    let upload = Upload::hello(judge.server)?;
    let answer = judge.server.ask(&unsized_patch(judge, &upload.url, 5, b" world!"))?;
    judge.ours(answer.refused(413))?;
    upload.is_file(b"hello world")
}

fn confirms_what_is_complete(judge: &Judge<'_>) -> Step {
    let upload = Upload::finished(judge.server)?;
    let tag = upload.get()?.header("ETag").map(str::to_owned);
    for round in 0..3 {
        upload.patch(11, "")?.expect(204).at(round)?.has("Upload-Offset", 11)?;
    }
    upload.is_file(b"hello world")?;
    let again = upload.get()?.header("ETag").map(str::to_owned);
    same("the ETag", &again, &tag)?;
    let server = judge.then_start(&[])?;
    let upload = Upload::finished(&server)?;
    let files = rest(server.finished())?;
    upload.patch(11, "")?.expect(204)?;
    same("the finished files", &server.finished()?, &files)?;
    server.stop()?;
    let finishes = server.log().matches("upload finished").count();
    same("the number of finishes in the log", &finishes, &1)
}

fn adds_nothing_to_what_is_complete(judge: &Judge<'_>) -> Step {
    let upload = Upload::finished(judge.server)?;
    let again = upload.refuses(&patch(&upload.url, 0, "hello world"), &[409]);
    judge.ours(again.at("offset 0")?.is_problem())?;
    for (asked, at) in [
        (patch(&upload.url, 11, "x"), "a byte more"),
        (unsized_patch(judge, &upload.url, 11, b"x"), "a byte more, of unknown length"),
    ] {
        let answer = upload.refuses(&asked, &[413]).and_then(|answer| answer.refused(413));
        judge.ours(answer.at(at))?;
    }
    upload.is_file(b"hello world")
}

fn finds_nothing_where_nothing_is(judge: &Judge<'_>) -> Step {
    let server = judge.server;
    let unknown = server.ask(&patch(&unknown_url(server), 0, "x"))?.expect(404).at("unknown")?;
    judge.ours(unknown.is_problem())?;
    if judge.offers("termination") {
        let upload = Upload::hello(server)?;
        upload.delete()?.expect(204)?;
        let answer = upload.patch(5, " world")?.expect_one(&GONE).at("terminated")?;
        judge.ours(answer.refused(404).at("terminated"))?;
    }
    let server = judge.then_start(&["--expire-after=50ms", "--reap-every=1h"])?;
    let upload = Upload::new(&server, 11)?;
    std::thread::sleep(Duration::from_millis(150));
    upload.patch(0, "hello")?.refused(410).at("expired").map(|_| ())
}

fn answers_the_same_under_all_options(judge: &Judge<'_>) -> Step {
    let reference = judge.start(&[])?;
    let plain = life::lead(&reference, |plain| plain)?;
    let bytes = Random::seeded(17).bytes(3 * CHUNK + 7);
    for options in [
        &["--chunks-per-part=1"][..],
        &["--chunk-digest=none"],
        &["--durability=none"],
        &["--durability=complete"],
        &["--durability=ack"],
        &["--verify-on-merge", "--chunks-per-part=1", "--durability=ack"],
    ] {
        let server = judge.then_start(options)?;
        let at = options.join(" ");
        let told = life::lead(&server, |plain| plain).at(&at)?;
        life::is_the_same(&told, &plain).at(&at)?;
        survives_a_restart(&server, &bytes).at(&at)?;
    }
    Ok(())
}

fn survives_a_restart(server: &Server, bytes: &[u8]) -> Step {
    let (first, second) = bytes.split_at(CHUNK + 5);
    let upload = Upload::new(server, length(bytes))?;
    upload.patch(0, first)?.expect(204)?.has("Upload-Offset", length(first))?;
    upload.refuses(&patch(&upload.url, 0, "x"), &[409])?;
    upload.refuses(&patch(&upload.url, length(first), bytes), &[413])?;
    server.restart()?;
    upload.is_at(length(first))?;
    upload.patch(length(first), second)?.expect(204)?.has("Upload-Offset", length(bytes))?;
    upload.is_file(bytes)
}
