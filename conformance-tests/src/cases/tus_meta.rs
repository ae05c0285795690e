//! Metadata (section 17 of the page).

use std::collections::BTreeSet;

use crate::{
    case::{Case, case},
    digest::base64,
    disk::files_below,
    judge::Judge,
    server::Server,
    stop::{At, Step, Stop, ensure},
    tus::{Upload, create, problem},
    wire::{Answer, Request},
};

const GRAMMAR: &str = "The Upload-Metadata request and response header MUST consist of one or more \
    comma-separated key-value pairs. The key and value MUST be separated by a space. The key MUST \
    NOT contain spaces and commas and MUST NOT be empty. The key SHOULD be ASCII encoded and the \
    value MUST be Base64 encoded. All keys MUST be unique. The value MAY be empty. In these cases, \
    the space, which would normally separate the key and the value, MAY be left out.";

pub(crate) const CASES: &[Case] = &[
    case("TUS-META-01", comes_back_as_it_was).says(
        "If an upload contains additional metadata, responses to HEAD requests MUST include the \
         Upload-Metadata header and its value as specified by the Client during the creation.",
    ),
    case("TUS-META-02", empty_header),
    case("TUS-META-03", empty_values_and_case).says(GRAMMAR),
    case("TUS-META-04", empty_keys).says(GRAMMAR),
    case("TUS-META-05", blanks_behind_commas),
    case("TUS-META-06", bad_values).says(GRAMMAR),
    case("TUS-META-07", the_same_key_twice).says(GRAMMAR),
    case("TUS-META-08", two_lines).says(
        "RFC 9110 §5.3: a recipient may combine several field lines of the same name into one, \
         without changing the meaning of the message, by appending each line value in order, \
         separated by a comma; a list may therefore come in several lines.",
    ),
    case("TUS-META-09", keys_beyond_ascii),
    case("TUS-META-10", names_lead_nowhere),
    case("TUS-META-11", limits),
];

/// A POST with this metadata.
fn with(server: &Server, metadata: &str) -> Request {
    create(server, 11).header("Upload-Metadata", metadata)
}

/// The POST is answered 201, and HEAD tells the metadata as it was sent.
fn comes_back<'a>(server: &'a Server, metadata: &str) -> Step<Upload<'a>> {
    let made = server.ask(&with(server, metadata))?.expect(201)?;
    let upload = Upload::from_answer(server, &made)?;
    upload.head()?.has("Upload-Metadata", metadata)?;
    Ok(upload)
}

const WELL_FORMED: [&str; 4] = [
    "filename d29ybGQ=,is_confidential",
    "is_confidential,filename d29ybGQ=",
    "z YQ==,b Yg==,a Yw==,y,x ZA==",
    "a ,b Yg==",
];

fn comes_back_as_it_was(judge: &Judge<'_>) -> Step {
    for metadata in WELL_FORMED {
        comes_back(judge.server, metadata).at(metadata)?;
    }
    let plain = Upload::new(judge.server, 11)?.head()?;
    judge.ours(plain.lacks("Upload-Metadata").at("no metadata"))?;
    let server = judge.then_start(&[])?;
    let uploads: Step<Vec<_>> = WELL_FORMED.iter().map(|text| comes_back(&server, text)).collect();
    let uploads = uploads?;
    server.restart()?;
    for (upload, metadata) in uploads.iter().zip(WELL_FORMED) {
        let head = upload.head()?.expect_one(&[200, 204]).at("after a restart");
        if let Some(head) = judge.ours(head)? {
            head.has("Upload-Metadata", metadata).at("after a restart")?;
        }
    }
    Ok(())
}

fn empty_header(judge: &Judge<'_>) -> Step {
    let made = judge.server.ask(&with(judge.server, ""))?.expect(201)?;
    Upload::from_answer(judge.server, &made)?.head()?.lacks("Upload-Metadata")
}

fn empty_values_and_case(judge: &Judge<'_>) -> Step {
    let server = judge.server;
    for metadata in ["a ,b Yg==", "a,b Yg==", "a", "a ", "a YQ==,A Yg=="] {
        let made = server.ask(&with(server, metadata))?.expect(201).at(metadata)?;
        Upload::from_answer(server, &made)?.head()?.needs("Upload-Metadata").at(metadata)?;
    }
    Ok(())
}

/// A header that breaks the grammar cannot come back as it was without breaking it again: it is
/// refused, ignored, or told in a form that is right. Ours: 400.
fn is_no_metadata(judge: &Judge<'_>, request: &Request, which: &str) -> Step {
    let server = judge.server;
    let answer = server.ask(request)?;
    if answer.status == 201 {
        let head = Upload::from_answer(server, &answer)?.head()?;
        let lines = head.headers.iter();
        let lines = lines.filter(|(name, _)| name.eq_ignore_ascii_case("Upload-Metadata"));
        let told: Vec<&str> = lines.map(|(_, value)| value.as_str()).collect();
        let what = format!("{which:?} was taken, and HEAD tells {told:?}");
        head.ensure(told.is_empty() || is_metadata(&told.join(",")), what)?;
    } else {
        answer.clone().refused_somehow().at(which)?;
        judge.ours(answer.lacks("Location").at(which))?;
    }
    judge.ours(problem(answer, 400).at(which))?;
    Ok(())
}

/// Is it metadata by the grammar of tus 1.0.0?
fn is_metadata(text: &str) -> bool {
    let mut keys = BTreeSet::new();
    text.split(',').all(|pair| {
        let (key, value) = pair.trim().split_once(' ').unwrap_or((pair.trim(), ""));
        let digits = value.trim_end_matches('=');
        let known = |byte: u8| byte.is_ascii_alphanumeric() || b"+/".contains(&byte);
        let padded = value.len().is_multiple_of(4) && value.len() - digits.len() <= 2;
        !key.is_empty() && keys.insert(key) && padded && digits.bytes().all(known)
    })
}

fn empty_keys(judge: &Judge<'_>) -> Step {
    for text in [",", "a YQ==,", ",b Yg==", "a YQ==,,b Yg=="] {
        is_no_metadata(judge, &with(judge.server, text), text)?;
    }
    Ok(())
}

fn blanks_behind_commas(judge: &Judge<'_>) -> Step {
    for text in ["a YQ==, b Yg==", "b Yg==\t,  a YQ=="] {
        comes_back(judge.server, text).at(text)?;
    }
    Ok(())
}

fn bad_values(judge: &Judge<'_>) -> Step {
    for text in ["a !!!", "a YQ", "a YQ=", "a -_-_", "a  YQ==", "a YQ== Yg=="] {
        is_no_metadata(judge, &with(judge.server, text), text)?;
    }
    // Only encoders have to leave the spare bits at zero (RFC 4648 §3.5).
    let spare = judge.server.ask(&with(judge.server, "a aGVsbG9="))?;
    judge.ours(problem(spare, 400).at("spare bits"))?;
    Ok(())
}

fn the_same_key_twice(judge: &Judge<'_>) -> Step {
    let server = judge.server;
    for text in ["a YQ==,a Yg==", "a YQ==,a YQ==", "a,a", "a YQ==,b Yg==,a"] {
        is_no_metadata(judge, &with(server, text), text)?;
    }
    let two = with(server, "a YQ==").header("Upload-Metadata", "a Yg==");
    is_no_metadata(judge, &two, "in two lines")
}

fn two_lines(judge: &Judge<'_>) -> Step {
    let server = judge.server;
    let asked = with(server, "b Yg==").header("Upload-Metadata", "a YQ==");
    let made = server.ask(&asked)?.expect(201)?;
    let head = Upload::from_answer(server, &made)?.head()?;
    let lines =
        head.headers.iter().filter(|(name, _)| name.eq_ignore_ascii_case("Upload-Metadata"));
    let told: Vec<&str> = lines.flat_map(|(_, value)| value.split(',')).map(str::trim).collect();
    head.ensure(told == ["b Yg==", "a YQ=="], format_args!("HEAD tells {told:?}"))?;
    judge.ours(head.has("Upload-Metadata", "b Yg==,a YQ=="))?;
    Ok(())
}

fn keys_beyond_ascii(judge: &Judge<'_>) -> Step {
    for text in ["ä YQ==", "名 YQ==", "a YQ==,é"] {
        problem(judge.server.ask(&with(judge.server, text))?, 400).at(text)?;
    }
    Ok(())
}

/// Names that have led servers elsewhere.
fn names() -> Vec<Vec<u8>> {
    let all: Vec<u8> = (0..=255).collect();
    let mut names = vec![all, "n".repeat(300).into_bytes(), "测".repeat(300).into_bytes()];
    let others: [&[u8]; 14] = [
        b"a\r\nX-Injected: 1",
        b"a\0b",
        b"../../x",
        b"a/b",
        b"a\\b",
        b"/etc/passwd",
        b".",
        b"..",
        b"",
        b"-rf",
        b"\x07bell\x1b[31m\x7f",
        "\u{202e}gpj.exe\u{2066}\u{200f}\u{85}".as_bytes(),
        b"a\xff\xfe.bin",
        b" .bin. ",
    ];
    names.extend(others.map(<[u8]>::to_vec));
    names
}

fn names_lead_nowhere(judge: &Judge<'_>) -> Step {
    for name in names() {
        finished_as(judge.server, &name)
            .at(format_args!("{:?}", String::from_utf8_lossy(&name)))?;
    }
    let server = judge.then_start(&[])?;
    let mut known = server.finished().map_err(Stop::after_all)?;
    for name in names() {
        finished_as(&server, &name)?;
        let now = server.finished()?;
        let new: Vec<_> = now.iter().filter(|path| !known.contains(path)).collect();
        let text = String::from_utf8_lossy(&name);
        let [path] = &new[..] else {
            return ensure(false, format_args!("{new:?} were published for {text:?}"));
        };
        let published = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let inside = path.parent() == Some(&*server.layout()?.join("files"));
        ensure(inside, format_args!("{text:?} led to {}", path.display()))?;
        ensure(is_tame(published), format_args!("{text:?} was published as {published:?}"))?;
        known = now;
    }
    let data = server.data()?;
    let own = server.around()?.join("log");
    let mut outside = files_below(server.around()?);
    outside.retain(|path| !path.starts_with(&data) && *path != own);
    ensure(outside.is_empty(), format_args!("something lies outside of the folder: {outside:?}"))
}

/// A finished upload with this name: HEAD tells it verbatim, and no header says anything else.
fn finished_as(server: &Server, name: &[u8]) -> Step {
    let value = base64(name);
    let upload = comes_back(server, &format!("filename {value},other {value},end"))?;
    upload.patch(0, "hello world")?.expect(204)?;
    has_plain_headers(&upload.head()?)?;
    has_plain_headers(&upload.get()?)?;
    upload.is_file(b"hello world")
}

/// Nothing that a name says has become a header line of its own.
fn has_plain_headers(answer: &Answer) -> Step {
    answer.lacks("X-Injected")?;
    let mut all = answer.headers.iter().flat_map(|(name, value)| name.bytes().chain(value.bytes()));
    let plain = all.all(|byte| (0x20..0x7f).contains(&byte));
    answer.ensure(plain, "a header holds more than ASCII")
}

/// A name for a file that a shell, a terminal and a file system can bear.
fn is_tame(name: &str) -> bool {
    let marks = ['\u{200f}', '\u{200e}', '\u{2066}', '\u{2067}', '\u{2068}', '\u{2069}', '\\', '/'];
    let hides = |c: char| c.is_control() || ('\u{202a}'..='\u{202e}').contains(&c);
    !name.is_empty() && name.len() <= 255 && !name.contains(hides) && !name.contains(marks)
}

fn limits(judge: &Judge<'_>) -> Step {
    let of = |length: usize| format!("a {}", "A".repeat(length - 2));
    comes_back(judge.server, &of(8 * 1024 - 2)).at("8 KiB")?;
    let endless = of(1 << 20);
    // Over HTTP/2 it is the client that keeps to the limit which the server names.
    let ask = |server: &Server| server.connect()?.ask(&with(server, &endless)).map_err(Stop::from);
    ask(judge.server)?.expect(431).at("1 MiB")?;
    let server = judge.then_start(&[])?;
    let data = server.layout().map_err(Stop::after_all)?;
    ask(&server)?.expect(431).at("1 MiB")?;
    let made = files_below(&data.join("state")).into_iter();
    let made: Vec<_> =
        made.filter(|path| path.extension().is_some_and(|end| end == "ledger")).collect();
    ensure(made.is_empty(), format_args!("something was made: {made:?}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_grammar_of_metadata() {
        for good in ["a YQ==", "a", "a ,b Yg==", "a YQ==, b Yg==", "a YWE=,A YWFh"] {
            assert!(is_metadata(good), "{good}");
        }
        for bad in
            ["", ",", "a YQ==,", "a YQ==,,b", "a,a", "a !!!", "a YQ", "a -_-_", "a  YQ==", "a ===="]
        {
            assert!(!is_metadata(bad), "{bad}");
        }
    }
}
