//! PATCH: its headers, and the framing of its body; for [`super::tus_patch`].

use crate::{
    judge::Judge,
    stop::{At, Step},
    tus::{OFFSET_TYPE, Upload, append, create, patch, request},
};

pub(super) fn wants_an_offset(judge: &Judge<'_>) -> Step {
    let upload = Upload::new(judge.server, 11)?;
    let base = patch(&upload.url, 0, "hello").without("Upload-Offset");
    let with = |value: &str| base.clone().header("Upload-Offset", value);
    // Nobody can take these for the number 0.
    let none = [(base.clone(), "none"), (with("-1"), "-1"), (with("abc"), "abc"), (with(""), "")];
    for (asked, at) in none {
        let answer = upload.refuses_somehow(&asked).at(format_args!("Upload-Offset {at}"))?;
        judge.ours(answer.refused(400).at(at))?;
    }
    // Another spelling of 0 in some language, though not in the one of HTTP.
    let odd = ["+0", "00", "0x0", "0.0", "0, 0"].map(|value| (with(value), value));
    let twice = (with("0").header("Upload-Offset", 0), "twice");
    for (asked, at) in odd.into_iter().chain([twice]) {
        // A new one each: who takes the bytes has moved the offset.
        let upload = Upload::new(judge.server, 11)?;
        let mut asked = asked;
        asked.target.clone_from(&upload.url);
        let answer = upload.refuses(&asked, &[400]).and_then(|answer| answer.refused(400));
        judge.ours(answer.at(format_args!("Upload-Offset {at}")))?;
    }
    Ok(())
}

pub(super) fn takes_no_offset_beyond_all_files(judge: &Judge<'_>) -> Step {
    let upload = Upload::new(judge.server, 11)?;
    for value in ["9223372036854775808", "18446744073709551616"] {
        let asked = patch(&upload.url, 0, "hello").set("Upload-Offset", value);
        upload.refuses(&asked, &[400]).at(value)?.is_problem()?;
    }
    Ok(())
}

pub(super) fn wants_its_media_type(judge: &Judge<'_>) -> Step {
    let server = judge.server;
    for media_type in ["text/plain", "application/octet-stream", "application/partial-upload", ""] {
        let upload = Upload::hello(server)?;
        let base = patch(&upload.url, 5, " world").without("Content-Type");
        let typed = base.clone().header("Content-Type", media_type);
        let asked = if media_type.is_empty() { base } else { typed };
        let answer = upload.refuses(&asked, &[415]).at(format_args!("{media_type:?}"));
        if let Some(answer) = judge.should(answer)? {
            judge.ours(answer.is_problem().at(media_type))?;
        }
    }
    let upload = Upload::hello(server)?;
    let twice = patch(&upload.url, 5, " world").header("Content-Type", OFFSET_TYPE);
    judge.ours(upload.refuses(&twice, &[415]).at("twice"))?;
    Ok(())
}

pub(super) fn takes_the_type_in_any_case(judge: &Judge<'_>) -> Step {
    let server = judge.server;
    for media_type in ["Application/Offset+Octet-Stream", "APPLICATION/OFFSET+OCTET-STREAM"] {
        let upload = Upload::new(server, 11)?;
        let asked = patch(&upload.url, 0, "hello").set("Content-Type", media_type);
        server.ask(&asked)?.expect(204).at(media_type)?.has("Upload-Offset", 5)?;
    }
    for parameter in ["; charset=utf-8", ";charset=UTF-8"] {
        let upload = Upload::new(server, 11)?;
        let typed = format!("{OFFSET_TYPE}{parameter}");
        let asked = patch(&upload.url, 0, "hello").set("Content-Type", &typed);
        let answer = server.ask(&asked).and_then(|answer| answer.expect(204)).at(&typed);
        judge.ours(answer.and_then(|answer| answer.has("Upload-Offset", 5)))?;
    }
    Ok(())
}

pub(super) fn decodes_nothing(judge: &Judge<'_>) -> Step {
    let upload = Upload::hello(judge.server)?;
    let coded = patch(&upload.url, 5, " world").header("Content-Encoding", "gzip");
    upload.refuses(&coded, &[415])?.is_problem()
}

pub(super) fn takes_chunks_of_all_spellings(judge: &Judge<'_>) -> Step {
    let server = judge.server;
    let mut one_by_one = String::new();
    for sign in "hello world".chars() {
        one_by_one.push_str("1\r\n");
        one_by_one.push(sign);
        one_by_one.push_str("\r\n");
    }
    one_by_one.push_str("0\r\n\r\n");
    for (body, at) in [
        ("b\r\nhello world\r\n0\r\n\r\n", "plain"),
        ("B\r\nhello world\r\n0\r\n\r\n", "upper case"),
        ("0000b\r\nhello world\r\n000\r\n\r\n", "zeros before the size"),
        ("5;name=value\r\nhello\r\n6;other=\"quoted\"\r\n world\r\n0;last\r\n\r\n", "extensions"),
        (&one_by_one, "one byte each"),
    ] {
        let upload = Upload::new(server, 11)?;
        let mut asked = append(&upload.url, 0).header("Transfer-Encoding", "chunked");
        asked.body = body.as_bytes().to_vec();
        server.ask(&asked)?.expect(204).at(at)?.has("Upload-Offset", 11).at(at)?;
        upload.is_file(b"hello world").at(at)?;
    }
    Ok(())
}

pub(super) fn ignores_what_belongs_elsewhere(judge: &Judge<'_>) -> Step {
    let server = judge.server;
    for (name, value) in [
        ("Upload-Metadata", "a !!!"),
        ("Upload-Concat", "final;nowhere"),
        ("Upload-Concat", "partial"),
        ("Upload-Defer-Length", "7"),
        ("Upload-Defer-Length", "1"),
    ] {
        let upload = Upload::new(server, 11)?;
        let stray = patch(&upload.url, 0, "hello").header(name, value);
        let answer = server.ask(&stray)?.expect(204).at(format_args!("{name}: {value}"))?;
        answer.has("Upload-Offset", 5)?;
        upload.head()?.has("Upload-Length", 11)?;
    }
    let nonsense = "md5 nonsense";
    let upload = Upload::hello(server)?;
    let head = request("HEAD", &upload.url).header("Upload-Checksum", nonsense);
    server.ask(&head)?.expect_one(&[200, 204]).at("HEAD")?.has("Upload-Offset", 5)?;
    let made = create(server, 11).header("Upload-Checksum", nonsense);
    server.ask(&made)?.expect(201).at("a POST without a body")?;
    if judge.offers("termination") {
        let delete = request("DELETE", &upload.url).header("Upload-Checksum", nonsense);
        server.ask(&delete)?.expect(204).at("DELETE")?;
    }
    Ok(())
}
