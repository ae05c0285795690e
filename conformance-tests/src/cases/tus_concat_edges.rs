//! Concatenation where it is tight: limits, bytes for a final upload, odd sizes, kills.

use std::{thread, time::Duration};

use crate::{
    concat::{completes, create_partial, final_of, join, joined, partial},
    digest::length,
    judge::Judge,
    random::Random,
    server::Server,
    stop::{At, Step, ensure},
    tus::{GONE, OFFSET_TYPE, Upload, patch, problem},
};

pub(super) fn a_sum_over_the_maximum(judge: &Judge<'_>) -> Step {
    let server = judge.start(&["--max-size=10"])?;
    let (a, b) = (partial(&server, b"sixsix")?, partial(&server, b"five5")?);
    let before = server.finished().ok();
    let answer = server.ask(&join(&server, &final_of(&[&a, &b])))?.expect(413)?;
    judge.ours(answer.is_problem())?;
    ensure(server.finished().ok() == before, "a final upload that is too long was published")?;
    joined(judge, &server, &final_of(&[&b, &b]), b"five5five5").at("just the maximum").map(|_| ())
}

pub(super) fn takes_no_bytes(judge: &Judge<'_>) -> Step {
    let server = judge.server;
    let part = partial(server, b"hello")?;
    let whole = joined(judge, server, &final_of(&[&part]), b"hello")?;
    let url = &whole.url;
    // What is wrong for a second reason may be told so.
    for (which, request, allowed) in [
        ("right offset", patch(url, 5, "x"), &[403][..]),
        ("empty", patch(url, 5, ""), &[403]),
        ("wrong offset", patch(url, 0, "other"), &[403, 409]),
        ("bad type", patch(url, 5, "x").set("Content-Type", "text/plain"), &[403, 415]),
    ] {
        let answer = server.ask(&request)?.expect_one(allowed).at(which)?;
        judge.ours(problem(answer, 403).at(which))?;
        whole.is_file(b"hello").at(which)?;
        part.is_at(5).at(which)?;
    }
    Ok(())
}

pub(super) fn ends_one_by_one(judge: &Judge<'_>) -> Step {
    judge.needs("termination")?;
    let server = judge.server;
    let bytes = Random::fresh().bytes(150_001);
    let (first, second) = bytes.split_at(70_003);
    let (a, b) = (partial(server, first)?, partial(server, second)?);
    let value = final_of(&[&a, &b]);
    let whole = joined(judge, server, &value, &bytes)?;
    let other = joined(judge, server, &value, &bytes)?;
    a.delete()?.expect(204).at("a partial")?;
    a.head()?.expect_one(&GONE)?;
    whole.is_file(&bytes).at("without its partial")?;
    whole.delete()?.expect(204).at("the final")?;
    whole.head()?.expect_one(&GONE)?;
    other.is_file(&bytes).at("the other final")?;
    b.is_at(length(second))?;
    joined(judge, server, &final_of(&[&b]), second).at("the other partial").map(|_| ())
}

pub(super) fn sizes(judge: &Judge<'_>) -> Step {
    let server = judge.server;
    let mut random = Random::fresh();
    let joins = |parts: &[Upload<'_>], bytes: &[u8]| -> Step {
        let parts: Vec<&Upload<'_>> = parts.iter().collect();
        joined(judge, server, &final_of(&parts), bytes).map(|_| ())
    };
    let bytes: Vec<u8> = (0..100).collect();
    let singles: Step<Vec<_>> = bytes.iter().map(|byte| single(judge, *byte)).collect();
    let singles = singles?;
    joins(&singles, &bytes).at("100 parts of one byte")?;

    let sizes = [4095, 65_537, 0, 196_608, 8192, 1];
    let pieces: Vec<Vec<u8>> = sizes.iter().map(|&size| random.bytes(size)).collect();
    let parts: Step<Vec<_>> = pieces.iter().map(|piece| partial(server, piece)).collect();
    joins(&parts?, &pieces.concat()).at("sizes that are no multiple of 4096, and zero")?;
    let empty = [partial(server, b"")?, partial(server, b"")?];
    joins(&empty, b"").at("all of zero bytes")?;

    let host = server.host();
    let urls = vec![format!("http://{host}{}", singles[7].url); 500];
    let answer = server.ask(&join(server, &format!("final;{}", urls.join(" "))))?;
    let answer = answer.expect_one(&[201, 431]).at("500 URLs")?;
    if answer.status == 201 {
        let upload = Upload::from_answer(server, &answer)?;
        completes(&upload)?.has("Upload-Length", 500).at("500 URLs")?;
        upload.is_file(&[7; 500]).at("500 URLs")?;
    }
    Ok(())
}

/// A partial upload of one byte, in one request where that is offered.
fn single<'a>(judge: &Judge<'a>, byte: u8) -> Step<Upload<'a>> {
    let server = judge.server;
    if !judge.offers("creation-with-upload") {
        return partial(server, &[byte]);
    }
    let create = create_partial(server, 1).header("Content-Type", OFFSET_TYPE).body([byte]);
    Upload::from_answer(server, &server.ask(&create)?.expect(201)?)
}

pub(super) fn killed_within(judge: &Judge<'_>) -> Step {
    let server = judge.start(&[])?;
    let mut random = Random::fresh();
    for most in [1_000, 5_000, 20_000, 60_000] {
        let pieces: Vec<Vec<u8>> =
            [2_000_000, 1_300_001, 65_536].map(|size| random.bytes(size)).into();
        let parts: Step<Vec<_>> = pieces.iter().map(|piece| partial(&server, piece)).collect();
        let parts = parts?;
        let moment = Duration::from_micros(random.between(0, most));
        killed_at(judge, &server, &parts, &pieces, moment)
            .at(format_args!("kill at {moment:?}"))?;
    }
    Ok(())
}

fn killed_at(
    judge: &Judge<'_>,
    server: &Server,
    parts: &[Upload<'_>],
    pieces: &[Vec<u8>],
    moment: Duration,
) -> Step {
    let known = server.finished().unwrap_or_default();
    let parts: Vec<&Upload<'_>> = parts.iter().collect();
    let (bytes, value) = (pieces.concat(), final_of(&parts));
    let mut connection = server.begin(&join(server, &value))?;
    thread::sleep(moment);
    server.crash()?;
    if let Ok(answer) = connection.answer("POST") {
        let upload = Upload::from_answer(server, &answer.expect(201)?)?;
        completes(&upload)?;
        upload.is_file(&bytes).at("the final upload that was told")?;
    }
    for path in server.finished().unwrap_or_default() {
        let whole = known.contains(&path) || std::fs::read(&path)? == bytes;
        ensure(whole, format_args!("{} is not whole", path.display()))?;
    }
    for (part, piece) in parts.iter().zip(pieces) {
        part.is_at(length(piece)).at("a partial upload")?;
    }
    // The client that lost the answer asks again.
    joined(judge, server, &value, &bytes).at("asked again").map(|_| ())
}
