//! Download (section 15 of the page). tus 1.0.0 knows none: a server that hands out no files is not
//! asked.

use std::{
    thread,
    time::{Duration, SystemTime},
};

use super::{tus_get_load as load, tus_get_range as range};
use crate::{
    case::{Case, case},
    concat::{join_all, open},
    digest::base64,
    judge::Judge,
    random::Random,
    server::Server,
    stop::{At, Step, Stop, ensure},
    tus::{Upload, create, problem},
    wire::{Answer, Request},
};

pub(crate) const CASES: &[Case] = &[
    case("TUS-GET-01", whole_with_its_headers),
    case("TUS-GET-02", nothing_unfinished),
    case("TUS-GET-03", range::one_range).says(
        "RFC 9110 §15.3.7.1: If a single part is being transferred, the server generating the 206 \
         response MUST generate a Content-Range header field, describing what range of the \
         selected representation is enclosed, and a content consisting of the range.",
    ),
    case("TUS-GET-04", range::ranges_and_conditions).says(
        "RFC 9110 §14.2: An origin server MUST ignore a Range header field that contains a range \
         unit it does not understand. §13.1.5: A recipient of an If-Range header field MUST \
         ignore the Range header field if the If-Range condition evaluates as false. §13.1.1, \
         §13.1.2: it MUST NOT perform the requested method if the condition evaluates to false.",
    ),
    case("TUS-GET-05", only_harmless_types_in_place),
    case("TUS-GET-06", names_stay_within_their_header).says(
        "RFC 9110 §5.5: Field values containing CR, LF, or NUL characters are invalid and \
         dangerous. §2.2: A sender MUST NOT generate protocol elements that do not match the \
         grammar defined by the corresponding ABNF rules.",
    ),
    case("TUS-GET-07", no_method).says(
        "RFC 9110 §15.5.6: The origin server MUST generate an Allow header field in a 405 \
         response containing a list of the target resource's currently supported methods.",
    ),
    case("TUS-GET-08", load::readers_wait_for_nobody).alone(),
    case("TUS-GET-09", load::clients_leave).alone(),
];

/// A finished upload that the server hands out; a skip where it hands out none.
pub(super) fn served<'a>(server: &'a Server, bytes: &[u8]) -> Step<Upload<'a>> {
    let upload = Upload::new(server, crate::digest::length(bytes))?;
    if !bytes.is_empty() {
        upload.patch(0, bytes)?.expect(204)?;
    }
    handed_out(&upload.get()?)?;
    Ok(upload)
}

/// A skip where this is the answer of a server that hands out no files.
fn handed_out(answer: &Answer) -> Step {
    if matches!(answer.status, 404 | 405 | 501) {
        return Err(Stop::Skip("the server hands out no files".to_owned()));
    }
    Ok(())
}

fn whole_with_its_headers(judge: &Judge<'_>) -> Step {
    let server = judge.server;
    let upload = served(server, b"hello world")?;
    let file = has_its_headers(&upload)?;
    let other = has_its_headers(&served(server, b"HELLO WORLD")?)?;
    let tags = (file.needs("ETag")?, other.needs("ETag")?);
    other.ensure(tags.0 != tags.1, "other bytes have the same ETag")?;
    let empty = served(server, b"")?.get()?.expect(200)?;
    empty.ensure(empty.body.is_empty(), "an empty file has bytes")?;
    let server = judge.then_start(&[])?;
    let upload = served(&server, b"hello world")?;
    let before = has_its_headers(&upload)?;
    server.restart()?;
    let after = has_its_headers(&upload)?;
    for name in ["ETag", "Last-Modified"] {
        after.has(name, before.needs(name)?).at("after a restart")?;
    }
    Ok(())
}

/// GET of 11 bytes.
fn has_its_headers(upload: &Upload<'_>) -> Step<Answer> {
    let file = upload.get()?.expect(200)?;
    file.ensure(file.body.len() == 11, "the file has another length")?;
    file.has("Content-Length", 11)?;
    file.has("Accept-Ranges", "bytes")?;
    file.has("X-Content-Type-Options", "nosniff")?;
    let tag = file.needs("ETag")?;
    let strong = tag.starts_with('"') && tag.ends_with('"') && tag.len() > 2;
    file.ensure(strong, format_args!("{tag} is no strong ETag"))?;
    let text = file.needs("Last-Modified")?;
    let modified = httpdate::parse_http_date(text).map_err(|_| file.breach("no date of HTTP"))?;
    let age = SystemTime::now().duration_since(modified).unwrap_or_default();
    file.ensure(age < Duration::from_mins(1), format_args!("it is {age:?} old"))?;
    Ok(file)
}

fn nothing_unfinished(judge: &Judge<'_>) -> Step {
    let server = judge.server;
    served(server, b"hello world")?;
    let new = Upload::new(server, 11)?;
    let half = Upload::hello(server)?;
    for (which, upload) in [("new", &new), ("unfinished", &half)] {
        let refused = problem(upload.get()?, 404).at(which)?;
        lacks_bytes(&refused)?;
        for (name, value) in [("Range", "bytes=0-1"), ("If-None-Match", "*"), ("If-Match", "\"x\"")]
        {
            let asked = Request::new("GET", &upload.url).header(name, value);
            lacks_bytes(&problem(server.ask(&asked)?, 404).at(which).at(name)?)?;
        }
    }
    if judge.offers("concatenation-unfinished") {
        let (a, b) = (open(server, 5)?, open(server, 5)?);
        a.patch(0, "hello")?.expect(204)?;
        let pending = join_all(server, &[&a, &b])?;
        lacks_bytes(&problem(pending.get()?, 404).at("pending final")?)?;
    }
    let nobody = format!("{}/{}", server.files().trim_end_matches('/'), Random::fresh().hash());
    problem(server.ask(&Request::new("GET", &nobody))?, 404).at("unknown")?;
    if judge.offers("termination") {
        let gone = Upload::finished(server)?;
        gone.delete()?.expect(204)?;
        problem(gone.get()?, 404).at("terminated")?;
    }
    half.patch(5, " world")?.expect(204)?;
    half.is_file(b"hello world")?;
    let server = judge.then_start(&["--expire-after=4s", "--reap-every=1h"])?;
    let expired = Upload::hello(&server)?;
    thread::sleep(Duration::from_millis(4_800));
    lacks_bytes(&problem(expired.get()?, 410).at("expired")?)
}

fn lacks_bytes(refused: &Answer) -> Step {
    let leaks = refused.body.windows(5).any(|window| window == b"hello");
    refused.ensure(!leaks, "the refusal holds bytes of the upload")
}

/// The answer to GET of a finished upload with this metadata.
fn download(server: &Server, metadata: &str) -> Step<Answer> {
    let asked = create(server, 11).header("Upload-Metadata", metadata);
    let upload = Upload::from_answer(server, &server.ask(&asked)?.expect(201)?)?;
    upload.patch(0, "hello world")?.expect(204)?;
    let file = upload.get()?;
    handed_out(&file)?;
    file.expect(200)
}

fn named(name: &[u8], media_type: &str) -> String {
    format!("filename {},filetype {}", base64(name), base64(media_type))
}

fn only_harmless_types_in_place(judge: &Judge<'_>) -> Step {
    let server = judge.server;
    let shown_as = |metadata: &str, kind: &str| -> Step<Answer> {
        let file = download(server, metadata)?;
        let shown = file.needs("Content-Disposition")?;
        let found = shown.split(';').next().unwrap_or_default().trim();
        let what = format!("Content-Disposition is {shown:?}, and should be {kind}");
        file.ensure(found.eq_ignore_ascii_case(kind), what)?;
        file.has("X-Content-Type-Options", "nosniff")?;
        Ok(file)
    };
    let file = shown_as(&named(b"a.png", "image/png"), "inline").at("image/png")?;
    file.has("Content-Type", "image/png")?;
    for media_type in ["text/html", "image/svg+xml", "application/pdf", "application/xhtml+xml"] {
        let file = shown_as(&named(b"a.bin", media_type), "attachment").at(media_type)?;
        let told = file.header("Content-Type").unwrap_or_default();
        let active = ["html", "svg"].iter().any(|kind| told.contains(kind));
        file.ensure(!active, format_args!("Content-Type is {told:?}")).at(media_type)?;
    }
    let none = format!("filename {}", base64("a.html"));
    for metadata in [none, named(b"a.html", "no type"), named(b"a", "text/html\r\nX-Injected: 1")] {
        let file = shown_as(&metadata, "attachment").at("none or nonsense")?;
        file.has("Content-Type", "application/octet-stream").at("none or nonsense")?;
        file.lacks("X-Injected")?;
    }
    Ok(())
}

/// Names that tempt a server: what it is, the name, and what must be in the value with piton.
const NAMES: [(&str, &str, &str); 7] = [
    ("quotation mark", "a \"b\".bin", "a%20%22b%22.bin"),
    ("backslash", "a\\b.bin", "b.bin"),
    ("é", "é.bin", "%C3%A9.bin"),
    ("CR LF", "a\r\nX-Injected: 1", "aX-Injected%3A%201"),
    ("slash", "x/../a;b.bin", "a%3Bb.bin"),
    ("per cent", "100%.bin", "100%25.bin"),
    ("plain", "a.bin", "a.bin"),
];

fn names_stay_within_their_header(judge: &Judge<'_>) -> Step {
    let server = judge.server;
    let lines = |answer: &Answer| {
        let mut names: Vec<_> =
            answer.headers.iter().map(|(name, _)| name.to_ascii_lowercase()).collect();
        names.sort();
        names
    };
    let plain = download(server, &named(b"a.bin", "image/png"))?;
    let stays = |which: &str, name: &str| -> Step<Answer> {
        let file = download(server, &named(name.as_bytes(), "image/png")).at(which)?;
        file.lacks("X-Injected").at(which)?;
        if let Some(value) = file.header("Content-Disposition") {
            let wrong = |why| file.breach(format_args!("{which}: {value:?}: {why}"));
            disposition(value).map_err(wrong)?;
        }
        let same = lines(&file) == lines(&plain);
        judge.ours(file.ensure(same, "there are other header lines").at(which))?;
        Ok(file)
    };
    for (which, name, encoded) in NAMES {
        let file = stays(which, name)?;
        judge.ours(tells(&file, &format!("filename*=UTF-8''{encoded}")).at(which))?;
    }
    let long = stays("300 bytes", &format!("{}.bin", "x".repeat(300)))?;
    let value = long.header("Content-Disposition").unwrap_or_default();
    judge.ours(ensure(value.len() < 700, "a name of any length is passed on"))?;
    Ok(())
}

fn tells(file: &Answer, part: &str) -> Step {
    let value = file.needs("Content-Disposition")?;
    let ascii = value.bytes().all(|byte| (0x20..0x7f).contains(&byte));
    file.ensure(ascii, format_args!("{value:?} is not of ASCII"))?;
    file.ensure(value.contains(part), format_args!("{value:?} does not hold {part}"))
}

/// Is it a `Content-Disposition` by the grammar of RFC 6266 §4.1 and RFC 8187 §3.2?
fn disposition(value: &str) -> Result<(), &'static str> {
    let (kind, mut rest) = value.split_at(value.find(';').unwrap_or(value.len()));
    if !is_token(kind.trim()) {
        return Err("its type is no token");
    }
    while let Some(parameter) = rest.strip_prefix(';') {
        let (name, given) = parameter.split_once('=').ok_or("a parameter without a value")?;
        let name = name.trim();
        if !is_token(name) {
            return Err("the name of a parameter is no token");
        }
        let end = match given.trim_start().strip_prefix('"') {
            Some(quoted) => given.len() - quoted.len() + end_of_quoted(quoted)?,
            None => given.find(';').unwrap_or(given.len()),
        };
        let (given, behind) = given.split_at(end);
        if name.ends_with('*') && !is_extended(given.trim()) {
            return Err("an extended value is not encoded by RFC 8187");
        }
        if !given.contains('"') && !is_token(given.trim()) && !name.ends_with('*') {
            return Err("an unquoted value is no token");
        }
        rest = behind.trim_start();
    }
    if rest.is_empty() { Ok(()) } else { Err("something stands behind a value") }
}

fn is_token(text: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    !text.is_empty() && text.bytes().all(fits)
}

/// Behind which byte the closing quotation mark stands, it included.
fn end_of_quoted(text: &str) -> Result<usize, &'static str> {
    let mut escaped = false;
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => return Ok(at + 1),
            b'\t' | 0x20..=0x7e | 0x80.. => {}
            _ => return Err("a control character stands in a quoted value"),
        }
    }
    Err("a quoted value does not end")
}

/// `UTF-8'language'value`, whose value is encoded per cent.
fn is_extended(text: &str) -> bool {
    let Some((charset, rest)) = text.split_once('\'') else { return false };
    let Some((_, encoded)) = rest.split_once('\'') else { return false };
    let mut pieces = encoded.split('%');
    let plain = |text: &str| {
        text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"!#$&+-.^_`|~".contains(&byte))
    };
    charset.eq_ignore_ascii_case("UTF-8")
        && pieces.next().is_some_and(plain)
        && pieces.all(|piece| {
            let hex = piece.get(..2).is_some_and(|hex| hex.bytes().all(|b| b.is_ascii_hexdigit()));
            hex && piece.get(2..).is_some_and(plain)
        })
}

fn no_method(judge: &Judge<'_>) -> Step {
    let refused_well = |upload: &Upload<'_>| -> Step {
        let answer = upload.get()?;
        if answer.status == 405 {
            let allowed = answer.needs("Allow")?;
            let told = allowed.split(',').any(|method| method.trim() == "GET");
            answer.ensure(!told, format_args!("405 to GET, which {allowed:?} allows"))?;
        }
        Ok(())
    };
    refused_well(&Upload::finished(judge.server)?)?;
    refused_well(&Upload::hello(judge.server)?)?;
    let server = judge.then_start(&["--disable-download"])?;
    for upload in [Upload::finished(&server)?, Upload::hello(&server)?] {
        refused_well(&upload)?;
        problem(upload.get()?, 405)?;
        upload.head()?.expect_one(&[200, 204])?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_grammar_of_a_disposition() {
        for good in [
            "inline",
            "attachment; filename=a.bin",
            "inline; filename=\"a \\\"b\\\".bin\"; filename*=UTF-8''a%20%22b%22.bin",
            "attachment;filename=\"é; x\" ; size=3",
        ] {
            disposition(good).unwrap_or_else(|why| panic!("{good}: {why}"));
        }
        for bad in [
            "",
            "inline; filename=a b",
            "inline; filename=\"a\"b\"",
            "inline; filename=\"a\\\"",
            "inline; filename*=a.bin",
            "inline; filename*=UTF-8''a b",
            "inline; filename*=UTF-8''%4",
            "inline; filename",
            "inline; filename=\"a\x07\"",
        ] {
            disposition(bad).expect_err(bad);
        }
    }
}
