//! GET of a part of a file, or only if it is another one.

use std::time::{Duration, SystemTime};

use super::tus_get::served;
use crate::{
    judge::Judge,
    stop::{At, Step},
    tus::{Upload, problem},
    wire::{Answer, Request},
};

/// GET with these headers.
fn get(upload: &Upload<'_>, headers: &[(&str, &str)]) -> Step<Answer> {
    let get = Request::new("GET", &upload.url);
    let get = headers.iter().fold(get, |get, (name, value)| get.header(name, value));
    upload.server.ask(&get)
}

/// The answer is the whole file.
fn is_whole(answer: Answer) -> Step<Answer> {
    let answer = answer.expect(200)?;
    answer.ensure(answer.body == b"hello world", "the file has other bytes")?;
    Ok(answer)
}

/// These are the bytes that `Content-Range` tells; they may be fewer than were asked for.
fn is_enclosed(answer: &Answer, told: &str, bytes: &[u8]) -> Step {
    let wrong =
        || answer.breach(format_args!("Content-Range is {told:?}, of {} bytes", bytes.len()));
    let range = told.strip_prefix("bytes ").and_then(|range| range.strip_suffix("/11"));
    let (from, to) = range.and_then(|range| range.split_once('-')).ok_or_else(wrong)?;
    let (Ok(from), Ok(to)) = (from.parse::<usize>(), to.parse::<usize>()) else {
        return Err(wrong());
    };
    let enclosed = b"hello world".get(from..to.saturating_add(1)).ok_or_else(wrong)?;
    if enclosed == bytes { Ok(()) } else { Err(wrong()) }
}

pub(super) fn one_range(judge: &Judge<'_>) -> Step {
    let upload = served(judge.server, b"hello world")?;
    for (range, bytes, told) in [
        ("bytes=0-4", "hello", "bytes 0-4/11"),
        ("bytes=5-", " world", "bytes 5-10/11"),
        ("bytes=-3", "rld", "bytes 8-10/11"),
        ("bytes=-99", "hello world", "bytes 0-10/11"),
        ("bytes=10-99", "d", "bytes 10-10/11"),
    ] {
        let answer = get(&upload, &[("Range", range)])?.expect_one(&[200, 206]).at(range)?;
        // Ranges may be ignored (RFC 9110 §14.2).
        if answer.status == 200 {
            let whole = is_whole(answer).at(range)?;
            judge.ours(whole.expect(206).at(range))?;
            continue;
        }
        is_enclosed(&answer, answer.needs("Content-Range")?, &answer.body).at(range)?;
        let right = answer.body == bytes.as_bytes();
        judge.ours(answer.ensure(right, format_args!("{range}: it is another range")))?;
        judge.ours(answer.has("Content-Range", told).at(range))?;
        for name in ["ETag", "Last-Modified", "Accept-Ranges", "X-Content-Type-Options"] {
            judge.ours(answer.needs(name).map(|_| ()).at(range))?;
        }
    }
    let empty = served(judge.server, b"")?;
    for (upload, ranges, told) in [
        (&upload, ["bytes=99-", "bytes=11-", "bytes=-0"], "bytes */11"),
        (&empty, ["bytes=0-", "bytes=0-0", "bytes=-1"], "bytes */0"),
    ] {
        for range in ranges {
            let answer = get(upload, &[("Range", range)])?.expect_one(&[200, 416]).at(range)?;
            if let Some(found) = answer.header("Content-Range") {
                let what = format!("{range}: Content-Range is {found:?}, not {told:?}");
                answer.ensure(found == told, what)?;
            }
            let exact = problem(answer, 416).and_then(|answer| answer.has("Content-Range", told));
            judge.ours(exact.at(range))?;
        }
    }
    empty.is_file(b"")
}

pub(super) fn ranges_and_conditions(judge: &Judge<'_>) -> Step {
    let upload = served(judge.server, b"hello world")?;
    several_ranges(judge, &upload)?;
    for (range, statuses) in [
        ("lines=0-4", &[200][..]),
        ("bytes=4-0", &[200, 400, 416]),
        ("bytes=a", &[200, 400, 416]),
        ("bytes", &[200, 400, 416]),
    ] {
        let answer = get(&upload, &[("Range", range)])?.expect_one(statuses).at(range)?;
        judge.ours(is_whole(answer).and_then(|whole| whole.lacks("Content-Range")).at(range))?;
    }
    let whole = is_whole(get(&upload, &[])?)?;
    if let Some(tag) = whole.header("ETag") {
        tags(judge, &upload, tag)?;
    }
    if let Some(modified) = whole.header("Last-Modified") {
        dates(judge, &upload, modified)?;
    }
    let wrong = get(&upload, &[("If-Match", "\"other\"")])?;
    let status = wrong.status;
    wrong.ensure(status >= 400, format_args!("If-Match is false, and the answer {status}"))?;
    judge.ours(problem(wrong, 412).at("If-Match"))?;
    Ok(())
}

fn several_ranges(judge: &Judge<'_>, upload: &Upload<'_>) -> Step {
    let answer = get(upload, &[("Range", "bytes=9-, 0-1,3-4, 99-")])?.expect_one(&[200, 206])?;
    if answer.status == 200 {
        return is_whole(answer).map(|_| ());
    }
    let media_type = answer.needs("Content-Type")?;
    if !media_type.starts_with("multipart/byteranges") {
        // A server may put several into one, or send one of them.
        return is_enclosed(&answer, answer.needs("Content-Range")?, &answer.body);
    }
    let found = parts(&answer)?;
    for (range, bytes) in &found {
        is_enclosed(&answer, range, bytes)?;
    }
    let expected = ["bytes 9-10/11", "bytes 0-1/11", "bytes 3-4/11"];
    let same = found.iter().map(|(range, _)| range.as_str()).eq(expected);
    judge.ours(answer.ensure(same, format_args!("the parts are {found:?}")))?;
    let many = format!("bytes={}", vec!["0-0"; 5_000].join(","));
    judge.ours(is_whole(get(upload, &[("Range", &many)])?).at("5,000 ranges"))?;
    Ok(())
}

/// The parts of a `multipart/byteranges`: what their `Content-Range` says, and their bytes.
fn parts(answer: &Answer) -> Step<Vec<(String, Vec<u8>)>> {
    let torn = || answer.breach("the parts are not framed as RFC 2046 has it");
    let boundary = answer.needs("Content-Type")?.split_once("boundary=").ok_or_else(torn)?.1;
    let next = format!("\r\n--{}", boundary.trim_matches('"'));
    let body = [b"\r\n", answer.body.as_slice()].concat();
    let mut found = Vec::new();
    let mut rest = body.get(position(&body, next.as_bytes()).ok_or_else(torn)?..);
    while let Some(part) = rest.and_then(|rest| rest.strip_prefix(next.as_bytes())) {
        if part.starts_with(b"--") {
            return Ok(found);
        }
        let end = position(part, next.as_bytes()).ok_or_else(torn)?;
        let (part, behind) = part.split_at(end);
        let head = position(part, b"\r\n\r\n").ok_or_else(torn)?;
        let text = String::from_utf8_lossy(&part[..head]).into_owned();
        let range = text.lines().filter_map(|line| line.split_once(':'));
        let mut range = range.filter(|(name, _)| name.eq_ignore_ascii_case("Content-Range"));
        let (_, range) = range.next().ok_or_else(torn)?;
        found.push((range.trim().to_owned(), part[head + 4..].to_vec()));
        rest = Some(behind);
    }
    Err(torn())
}

fn position(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    bytes.windows(wanted.len()).position(|window| window == wanted)
}

const RANGE: (&str, &str) = ("Range", "bytes=0-4");

/// The first five bytes; where ranges are ignored, all of them.
fn is_range(answer: Answer) -> Step<Answer> {
    let answer = answer.expect_one(&[200, 206])?;
    let bytes: &[u8] = if answer.status == 206 { b"hello" } else { b"hello world" };
    answer.ensure(answer.body == bytes, "the range has other bytes")?;
    Ok(answer)
}

fn tags(judge: &Judge<'_>, upload: &Upload<'_>, tag: &str) -> Step {
    let right = is_range(get(upload, &[RANGE, ("If-Range", tag)])?).at("If-Range right")?;
    judge.ours(right.expect(206).at("If-Range right"))?;
    is_whole(get(upload, &[RANGE, ("If-Range", "\"other\"")])?).at("If-Range wrong")?;
    let weak = format!("W/{}", tag.trim_start_matches("W/"));
    is_whole(get(upload, &[RANGE, ("If-Range", &weak)])?).at("If-Range weak")?;
    for value in [tag, "*", &weak] {
        let known = get(upload, &[("If-None-Match", value)])?.expect(304);
        known.at("If-None-Match").at(value)?.has("ETag", tag)?;
    }
    is_whole(get(upload, &[("If-None-Match", "\"other\"")])?).at("If-None-Match wrong")?;
    let both = [("If-Match", "\"other\""), ("If-None-Match", tag)];
    judge.ours(problem(get(upload, &both)?, 412).at("If-Match before If-None-Match"))?;
    is_whole(get(upload, &[("If-Match", tag)])?).at("If-Match right").map(|_| ())
}

fn dates(judge: &Judge<'_>, upload: &Upload<'_>, modified: &str) -> Step {
    let earlier = SystemTime::now() - Duration::from_hours(1);
    let earlier = httpdate::fmt_http_date(earlier);
    is_whole(get(upload, &[RANGE, ("If-Range", &earlier)])?).at("If-Range earlier")?;
    is_whole(get(upload, &[("If-Modified-Since", &earlier)])?).at("If-Modified-Since earlier")?;
    let known = get(upload, &[("If-Modified-Since", modified)])?;
    judge.should(known.expect(304).at("If-Modified-Since"))?;
    let changed = get(upload, &[("If-Unmodified-Since", &earlier)])?;
    let status = changed.status;
    let what = format!("If-Unmodified-Since is false, and the answer {status}");
    changed.ensure(status >= 400, what)?;
    judge.ours(problem(changed, 412).at("If-Unmodified-Since"))?;
    Ok(())
}
