//! Creation (section 3 of the page).

use std::collections::BTreeSet;

use crate::{
    case::{Case, case},
    digest::length,
    disk::{files_below, taken_below},
    judge::Judge,
    server::Server,
    stop::{At, Step, ensure, rest, same},
    tus::{OFFSET_TYPE, Upload, create, patch, request},
    wire::{Answer, Request},
};

pub(crate) const CASES: &[Case] = &[
    case("TUS-CREATE-01", makes_an_upload).says(
        "The Server MUST acknowledge a successful upload creation with the 201 Created status. The \
         Server MUST set the Location header to the URL of the created resource.",
    ),
    case("TUS-CREATE-02", names_its_own_address),
    case("TUS-CREATE-03", makes_an_empty_upload).says(
        "The Upload-Length request and response header indicates the size of the entire upload in \
         bytes. The value MUST be a non-negative integer.",
    ),
    case("TUS-CREATE-04", wants_one_length).says(
        "The request MUST include one of the following headers: a) Upload-Length to indicate the \
         size of an entire upload in bytes. b) Upload-Defer-Length: 1 if upload size is not known \
         at the time.",
    ),
    case("TUS-CREATE-05", wants_a_number).says(
        "The Upload-Length request and response header indicates the size of the entire upload in \
         bytes. The value MUST be a non-negative integer.",
    ),
    case("TUS-CREATE-06", wants_one_spelling),
    case("TUS-CREATE-07", wants_it_once),
    case("TUS-CREATE-08", reserves_nothing),
    case("TUS-CREATE-09", makes_nothing_that_long).says(MAXIMUM),
    case("TUS-CREATE-10", has_a_maximum).says(MAXIMUM),
    case("TUS-CREATE-11", takes_what_libraries_add),
];

const MAXIMUM: &str = "If the length of the upload exceeds the maximum, which MAY be specified \
    using the Tus-Max-Size header, the Server MUST respond with the 413 Request Entity Too Large \
    status.";

/// A refusal that names no upload.
pub(super) fn nameless(answer: Answer) -> Step<Answer> {
    let answer = answer.refused_somehow()?;
    answer.lacks("Location")?;
    Ok(answer)
}

/// The POST is refused with a problem of this status, and names no upload.
pub(super) fn makes_none(server: &Server, request: &Request, status: u16) -> Step {
    nameless(server.ask(request)?.refused(status)?).map(|_| ())
}

/// What is sent in `ask` leaves no file behind; the rest of a case where that cannot be seen.
pub(super) fn without_trace(server: &Server, ask: impl FnOnce() -> Step) -> Step {
    let data = rest(server.layout())?;
    let before = files_below(&data);
    ask()?;
    same("the list of all files", &files_below(&data), &before)
}

/// All of these make nothing: on the shared server, and, for the disk, on one of its own. All of
/// it is ours, down to the status.
fn all_make_none(judge: &Judge<'_>, all: &[(Request, &str)], status: u16) -> Step {
    for (request, at) in all {
        judge.ours(makes_none(judge.server, request, status).at(at))?;
    }
    leave_none(judge, &judge.then_start(&[])?, all)
}

/// None of these leaves a file on this server.
fn leave_none(judge: &Judge<'_>, server: &Server, all: &[(Request, &str)]) -> Step {
    for (request, at) in all {
        let asked = || server.ask(request).map(|_| ());
        judge.ours(without_trace(server, asked).at(at))?;
    }
    Ok(())
}

fn with_length(server: &Server, length: &str) -> Request {
    request("POST", server.files()).header("Upload-Length", length)
}

fn makes_an_upload(judge: &Judge<'_>) -> Step {
    let server = judge.server;
    let answer = server.ask(&create(server, 11))?.expect(201)?;
    let upload = Upload::from_answer(server, &answer)?;
    if judge.offers("expiration") {
        judge.ours(answer.needs("Upload-Expires"))?;
    }
    let head = upload.head()?.expect_one(&[200, 204])?;
    head.has("Upload-Offset", 0)?;
    head.has("Upload-Length", 11)?;
    if let Ok(folder) = upload.folder() {
        judge.ours(ensure(!folder.is_dir(), "there is a folder already"))?;
    }
    Ok(())
}

fn names_its_own_address(judge: &Judge<'_>) -> Step {
    let server = judge.server;
    let lied = |server: &Server| {
        create(server, 11)
            .set("Host", "evil.example")
            .header("X-Forwarded-Host", "evil.example")
            .header("X-Forwarded-Proto", "https")
            .header("Forwarded", "host=evil.example;proto=https")
    };
    for (asked, at) in [(create(server, 11), "plain"), (lied(server), "evil headers")] {
        let answer = server.ask(&asked)?.expect(201).at(at)?;
        let location = answer.needs("Location")?;
        let folder = format!("{}/", server.files().trim_end_matches('/'));
        let id = location.strip_prefix(&folder).filter(|id| !id.is_empty() && !id.contains('/'));
        let what = format!("Location is {location:?}, not a path below {folder:?}");
        judge.ours(answer.ensure(id.is_some(), what).at(at))?;
        Upload::from_answer(server, &answer)?.is_at(0).at(at)?;
    }
    let public = judge.then_start(&["--public-url=https://up.example/x"])?;
    for asked in [create(&public, 11), lied(&public)] {
        let answer = public.ask(&asked)?.expect(201)?;
        let location = answer.needs("Location")?;
        let path = location.strip_prefix("https://up.example/x").unwrap_or_default();
        let begins = path.starts_with(public.files());
        answer.ensure(begins, format_args!("Location is {location:?} with --public-url"))?;
        Upload { server: &public, url: path.to_owned() }.is_at(0)?;
    }
    Ok(())
}

fn makes_an_empty_upload(judge: &Judge<'_>) -> Step {
    let server = judge.server;
    let answer = server.ask(&create(server, 0))?.expect(201)?;
    let upload = Upload::from_answer(server, &answer)?;
    let head = upload.head()?.expect_one(&[200, 204])?;
    head.has("Upload-Offset", 0)?;
    head.has("Upload-Length", 0)?;
    judge.ours(answer.lacks("Upload-Expires"))?;
    judge.ours(is_the_empty_file(&upload))?;
    judge.should(upload.patch(0, "").and_then(|answer| answer.expect(204)))?;
    let server = judge.then_start(&[])?;
    Upload::new(&server, 0)?;
    let files = rest(server.finished())?;
    let sizes: Vec<_> = files.iter().filter_map(|path| path.metadata().ok()).collect();
    let sizes: Vec<_> = sizes.iter().map(std::fs::Metadata::len).collect();
    judge.ours(same("the sizes of the finished files", &sizes, &vec![0]))?;
    Ok(())
}

fn is_the_empty_file(upload: &Upload<'_>) -> Step {
    let file = upload.get()?.expect(200)?;
    file.ensure(file.body.is_empty(), "the file is not empty")?;
    file.has("Content-Length", 0)
}

fn wants_one_length(judge: &Judge<'_>) -> Step {
    let server = judge.server;
    let neither = request("POST", server.files());
    let both = create(server, 5).header("Upload-Defer-Length", 1);
    nameless(server.ask(&neither)?).at("neither")?;
    // The text speaks of one of them, and to the client: who takes both breaks no word of it.
    all_make_none(judge, &[(neither, "neither"), (both, "both")], 400)
}

/// Nobody can take these for a number that is no less than 0.
const NO_NUMBERS: [&str; 6] = ["-5", "1.3", "abc", "5 6", "", "5x"];
/// These mean a number in some language, though not in the one of HTTP.
const ODD_NUMBERS: [&str; 6] = ["+5", "-0", "0x10", "1e3", "1e+21", "５"];

fn wants_a_number(judge: &Judge<'_>) -> Step {
    let server = judge.server;
    for value in NO_NUMBERS {
        nameless(server.ask(&with_length(server, value))?).at(format_args!("{value:?}"))?;
    }
    let all = NO_NUMBERS.into_iter().chain(ODD_NUMBERS);
    let all: Vec<_> = all.map(|value| (with_length(server, value), value)).collect();
    all_make_none(judge, &all, 400)
}

fn wants_one_spelling(judge: &Judge<'_>) -> Step {
    let all = ["0100", "00"].map(|value| (with_length(judge.server, value), value));
    all_make_none(judge, &all, 400)
}

fn wants_it_once(judge: &Judge<'_>) -> Step {
    let five = || with_length(judge.server, "5");
    let all = [
        (five().header("Upload-Length", 5), "5 and 5"),
        (five().header("Upload-Length", 6), "5 and 6"),
        (with_length(judge.server, "5, 5"), "5, 5"),
    ];
    all_make_none(judge, &all, 400)
}

fn reserves_nothing(judge: &Judge<'_>) -> Step {
    let server = judge.start(&[])?;
    let longest = (1_u64 << 63) - 1;
    let data = server.data()?;
    let before = taken_below(&data);
    let upload = Upload::new(&server, longest)?;
    // The facts about it take a block or two.
    let taken = taken_below(&data).saturating_sub(before);
    ensure(taken <= 16 * 1024, format_args!("{taken} bytes of disk for a promise"))?;
    upload.head()?.has("Upload-Length", longest)?;
    upload.patch(0, "hello")?.expect(204)?.has("Upload-Offset", 5)?;
    let taken = taken_below(&data).saturating_sub(before);
    ensure(taken < 1 << 20, format_args!("{taken} bytes of disk for five"))
}

fn makes_nothing_that_long(judge: &Judge<'_>) -> Step {
    let forty = "9".repeat(40);
    let long = ["9223372036854775808", "18446744073709551615", "18446744073709551616", &forty];
    let all = long.map(|value| (with_length(judge.server, value), value));
    let free = judge.start(&[])?;
    for (request, value) in &all {
        judge.ours(makes_none(&free, request, 400).at(value))?;
    }
    leave_none(judge, &free, &all)?;
    let limited = judge.then_start(&["--max-size=1000"])?;
    for (request, value) in &all {
        // Who cannot count that far does not see that it is over the maximum.
        let answer = nameless(limited.ask(request)?).at(format_args!("{value} with --max-size"))?;
        judge.ours(answer.refused(413).at(value))?;
    }
    leave_none(judge, &limited, &all)
}

fn has_a_maximum(judge: &Judge<'_>) -> Step {
    let server = judge.start(&["--max-size=100"])?;
    server.ask(&create(&server, 100))?.expect(201)?;
    let longer = [(create(&server, 101), "101"), (with_length(&server, "1000000"), "1000000")];
    for (request, at) in &longer {
        let answer = server.ask(request)?.expect(413).at(at)?;
        answer.lacks("Location").at(at)?;
        judge.ours(answer.is_problem().at(at))?;
    }
    leave_none(judge, &server, &longer)
}

fn takes_what_libraries_add(judge: &Judge<'_>) -> Step {
    let server = judge.server;
    let mut with_query = create(server, 11);
    with_query.target.push_str("?a=b");
    let asked = [
        (create(server, 11), "plain"),
        (create(server, 11), "plain, again"),
        (create(server, 11).header("Content-Type", "text/plain"), "text/plain"),
        (create(server, 11).header("Content-Type", OFFSET_TYPE).body(""), "an empty body"),
        (create(server, 11).chunked(b"", 1), "a chunked empty body"),
        (create(server, 11).header("Upload-Offset", 7), "Upload-Offset"),
        (create(server, 11).header("X-Request-ID", "7"), "X-Request-ID"),
        (with_query, "a query"),
    ];
    let mut urls = BTreeSet::new();
    for (request, at) in &asked {
        let answer = server.ask(request)?.expect(201).at(at)?;
        let upload = Upload::from_answer(server, &answer)?;
        upload.is_at(0).at(at)?;
        let body = b"hello world";
        let patched = server.ask(&patch(&upload.url, 0, body))?.expect(204).at(at)?;
        patched.has("Upload-Offset", length(body))?;
        urls.insert(upload.url);
    }
    same("the number of different uploads", &urls.len(), &asked.len())
}
