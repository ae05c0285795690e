//! OPTIONS and the version check (sections 1 and 2 of the page); routes are in `tus_paths`.

use std::{
    collections::BTreeSet,
    thread,
    time::{Duration, Instant},
};

use super::conn::SOON;
use crate::{
    case::{Case, case},
    digest::base64,
    judge::Judge,
    server::{Http, Server},
    stop::{At, Step, ensure, rest},
    tus::{
        OFFSET_TYPE, Upload, append, create, create_deferred, create_with, patch, request,
        unknown_url,
    },
    wire::{Answer, Request},
};

pub(crate) const CASES: &[Case] = &[
    case("TUS-CORE-01", tells_of_the_server).says(
        "A successful response indicated by the 204 No Content or 200 OK status MUST contain the \
         Tus-Version header … The Tus-Version response header MUST be a comma-separated list of \
         protocol versions supported by the Server.",
    ),
    case("TUS-CORE-02", lists_what_works).says(
        "The Tus-Extension response header MUST be a comma-separated list of the extensions \
         supported by the Server. If no extensions are supported, the Tus-Extension header MUST be \
         omitted. … if the Server does not offer the Creation extension, it MUST NOT offer the \
         Creation With Upload extension either.",
    ),
    case("TUS-CORE-03", lists_algorithms).says(
        "The Server MUST support at least the SHA1 checksum algorithm identified by sha1. The \
         names of the checksum algorithms MUST only consist of ASCII characters with the \
         modification that uppercase characters are excluded. The Tus-Checksum-Algorithm header \
         MUST be included in the response to an OPTIONS request.",
    ),
    case("TUS-CORE-04", tells_the_maximum),
    case("TUS-CORE-05", takes_options_of_any_version).says(
        "The Client SHOULD NOT include the Tus-Resumable header in the request and the Server MUST \
         ignore the header. (OPTIONS)",
    ),
    case("TUS-CORE-06", answers_options_everywhere),
    case("TUS-CORE-07", deletes_nothing_where_that_is_disabled).says(
        "The Tus-Extension response header MUST be a comma-separated list of the extensions \
         supported by the Server.",
    ),
    case("TUS-CORE-08", wants_a_version).says(
        "The Tus-Resumable header MUST be included in every request and response except for \
         OPTIONS requests. … If the version specified by the Client is not supported by the \
         Server, it MUST respond with the 412 Precondition Failed status and MUST include the \
         Tus-Version header into the response. In addition, the Server MUST NOT process the \
         request.",
    ),
    case("TUS-CORE-09", wants_its_version).says(
        "If the version specified by the Client is not supported by the Server, it MUST respond \
         with the 412 Precondition Failed status and MUST include the Tus-Version header into the \
         response. In addition, the Server MUST NOT process the request.",
    ),
    case("TUS-CORE-10", hands_out_files_without_a_version),
    case("TUS-CORE-11", takes_names_in_any_case)
        .says("Each field line consists of a case-insensitive field name … (RFC 9112 §5)"),
    case("TUS-CORE-12", names_its_version).says(
        "The Tus-Resumable header MUST be included in every request and response except for \
         OPTIONS requests. The value MUST be the version of the protocol used by the Client or the \
         Server.",
    ),
];

/// OPTIONS without a version.
fn options(target: &str) -> Request {
    Request::new("OPTIONS", target)
}

/// What the text asks of every answer to OPTIONS.
fn is_success(answer: Answer) -> Step<Answer> {
    let answer = answer.expect_one(&[200, 204])?;
    let versions = answer.list("Tus-Version");
    let spoken = versions.iter().any(|version| version == "1.0.0");
    answer.ensure(spoken, format_args!("Tus-Version lists {versions:?}, and no 1.0.0"))?;
    Ok(answer)
}

/// The answer to OPTIONS in our words.
fn is_ours(answer: Answer) -> Step<Answer> {
    let answer = answer.expect(204)?;
    answer.ensure(answer.body.is_empty(), "there is a body")?;
    answer.has("Tus-Version", "1.0.0")?;
    answer.has("Tus-Resumable", "1.0.0")?;
    Ok(answer)
}

fn tells_of_the_server(judge: &Judge<'_>) -> Step {
    let server = judge.server;
    let answer = is_success(server.ask(&options(server.files()))?)?;
    judge.ours(is_ours(answer))?;
    Ok(())
}

/// The extensions of tus 1.0.0 that the row lists.
const EXTENSIONS: [&str; 9] = [
    "creation",
    "creation-with-upload",
    "creation-defer-length",
    "expiration",
    "checksum",
    "checksum-trailer",
    "termination",
    "concatenation",
    "concatenation-unfinished",
];

fn lists_what_works(judge: &Judge<'_>) -> Step {
    let server = judge.server;
    let answer = is_success(server.ask(&options(server.files()))?)?;
    let listed = answer.list("Tus-Extension");
    let omitted = answer.header("Tus-Extension").is_none();
    answer.ensure(listed.is_empty() == omitted, "Tus-Extension is there, and empty")?;
    let has = |one: &str| listed.iter().any(|other| other == one);
    let lonely = has("creation-with-upload") && !has("creation");
    answer.ensure(!lonely, "creation-with-upload without creation")?;
    for extension in listed.iter().map(String::as_str) {
        works(judge, extension).at(format_args!("{extension} is announced"))?;
        let known = EXTENSIONS.contains(&extension);
        judge.ours(answer.ensure(known, format_args!("{extension} is no extension of tus")))?;
        let root = extension.split('-').next().unwrap_or_default();
        judge.ours(answer.ensure(has(root), format_args!("{extension} without {root}")))?;
    }
    let missing: Vec<_> = EXTENSIONS.into_iter().filter(|one| !has(one)).collect();
    judge.ours(answer.ensure(missing.is_empty(), format_args!("not offered: {missing:?}")))?;
    let different: BTreeSet<_> = listed.iter().collect();
    judge.ours(answer.ensure(different.len() == listed.len(), "one is listed twice"))?;
    let lines = answer.count("Tus-Extension");
    let spaces = answer.header("Tus-Extension").is_some_and(|list| list.contains(' '));
    judge.ours(answer.ensure(lines == 1 && !spaces, "no single line without spaces"))?;
    Ok(())
}

/// Only what works is listed: the first thing that each extension is for.
fn works(judge: &Judge<'_>, extension: &str) -> Step {
    let server = judge.server;
    match extension {
        "creation" => Upload::new(server, 11).map(|_| ()),
        "creation-with-upload" => {
            server.ask(&create_with(server, 11, "hello"))?.expect(201)?.offset().map(|_| ())
        }
        "creation-defer-length" => server.ask(&create_deferred(server))?.expect(201).map(|_| ()),
        "termination" => Upload::hello(server)?.delete()?.expect(204).map(|_| ()),
        "checksum" => {
            let upload = Upload::hello(server)?;
            let wrong =
                patch(&upload.url, 5, " world").header("Upload-Checksum", sha1_of_nothing());
            upload.refuses_somehow(&wrong).map(|_| ())
        }
        "checksum-trailer" if judge.http() == Http::One => {
            let upload = Upload::hello(server)?;
            let wrong = append(&upload.url, 5).header("Trailer", "Upload-Checksum").trailed(
                b" world",
                3,
                &[("Upload-Checksum", &sha1_of_nothing())],
            );
            upload.refuses_somehow(&wrong).map(|_| ())
        }
        "concatenation" => concatenates(server, b"abc"),
        "concatenation-unfinished" => concatenates(server, b""),
        // That an upload expires takes time; section 11 waits for it.
        _ => Ok(()),
    }
}

/// The checksum of the empty body.
fn sha1_of_nothing() -> String {
    let digest = [
        0xda, 0x39, 0xa3, 0xee, 0x5e, 0x6b, 0x4b, 0x0d, 0x32, 0x55, 0xbf, 0xef, 0x95, 0x60, 0x18,
        0x90, 0xaf, 0xd8, 0x07, 0x09,
    ];
    format!("sha1 {}", base64(digest))
}

/// A final upload can be made of one partial upload of 3 bytes that has got `bytes`.
fn concatenates(server: &Server, bytes: &[u8]) -> Step {
    let partial = server.ask(&create(server, 3).header("Upload-Concat", "partial"))?.expect(201)?;
    if !bytes.is_empty() {
        Upload::from_answer(server, &partial)?.patch(0, bytes)?.expect(204)?;
    }
    let list = format!("final;{}", partial.needs("Location")?);
    let whole = request("POST", server.files()).header("Upload-Concat", list);
    server.ask(&whole)?.expect(201).map(|_| ())
}

fn lists_algorithms(judge: &Judge<'_>) -> Step {
    judge.needs("checksum")?;
    let server = judge.server;
    let answer = server.ask(&options(server.files()))?;
    answer.needs("Tus-Checksum-Algorithm")?;
    let listed = answer.list("Tus-Checksum-Algorithm");
    let has = |one: &str| listed.iter().any(|other| other == one);
    answer.ensure(has("sha1"), format_args!("no sha1 in {listed:?}"))?;
    let lower = |one: &String| one.is_ascii() && !one.bytes().any(|byte| byte.is_ascii_uppercase());
    answer.ensure(listed.iter().all(lower), format_args!("no lower case: {listed:?}"))?;
    for algorithm in ["sha256", "md5", "sha512", "crc32", "crc32c"] {
        judge.ours(answer.ensure(has(algorithm), format_args!("no {algorithm} in {listed:?}")))?;
    }
    let line = answer.needs("Tus-Checksum-Algorithm")?;
    let plain = line == listed.join(",") && answer.count("Tus-Checksum-Algorithm") == 1;
    judge.ours(answer.ensure(plain, "no single line without spaces"))?;
    Ok(())
}

fn tells_the_maximum(judge: &Judge<'_>) -> Step {
    let server = judge.server;
    let answer = server.ask(&options(server.files()))?;
    if let Some(maximum) = answer.header("Tus-Max-Size") {
        let number = !maximum.is_empty() && maximum.bytes().all(|byte| byte.is_ascii_digit());
        answer.ensure(number, format_args!("Tus-Max-Size is {maximum:?}"))?;
    }
    let limited = judge.then_start(&["--max-size=1000"])?;
    let answer = limited.ask(&options(limited.files()))?;
    judge.should(answer.has("Tus-Max-Size", 1000))?;
    let free = judge.then_start(&[])?;
    free.ask(&options(free.files()))?.lacks("Tus-Max-Size").at("without --max-size")
}

fn takes_options_of_any_version(judge: &Judge<'_>) -> Step {
    let server = judge.server;
    let strange = options(server.files()).header("Tus-Resumable", "9.9.9");
    judge.ours(is_ours(is_success(server.ask(&strange)?)?))?;
    Ok(())
}

fn answers_options_everywhere(judge: &Judge<'_>) -> Step {
    let server = judge.server;
    let upload = Upload::new(server, 11)?;
    let bare = server.files().trim_end_matches('/').to_owned();
    let targets = [bare.clone(), format!("{bare}/"), upload.url, unknown_url(server)];
    for target in targets.iter().filter(|target| !target.is_empty()) {
        is_ours(is_success(server.ask(&options(target))?)?).at(target)?;
    }
    Ok(())
}

fn deletes_nothing_where_that_is_disabled(judge: &Judge<'_>) -> Step {
    let server = judge.start(&["--disable-termination"])?;
    let answer = is_success(server.ask(&options(server.files()))?)?;
    let listed = answer.list("Tus-Extension");
    let silent = !listed.iter().any(|one| one == "termination");
    answer.ensure(silent, "termination is announced, although it is disabled")?;
    for upload in [Upload::hello(&server)?, Upload::finished(&server)?] {
        let offset = upload.offset()?;
        let refused = upload.refuses_somehow(&request("DELETE", &upload.url)).at(offset)?;
        judge.ours(refused.refused(405).at(offset))?;
    }
    // An upload of tus is an upload of chunks too, under its id.
    let upload = Upload::hello(&server)?;
    rest(server.layout())?;
    let target = server.at(&format!("/upload?hash={}", upload.id()))?;
    let aside = upload.refuses(&Request::new("DELETE", &target), &[405]);
    judge.ours(aside.at("DELETE /upload"))?;
    Ok(())
}

/// The requests that change something, and what is sent with them.
fn changing(server: &Server, target: &str) -> [Request; 3] {
    [patch(target, 5, " world"), request("DELETE", target), create(server, 3)]
}

/// 412 with the versions that would do, and nothing was processed.
fn is_412(answer: Answer) -> Step<Answer> {
    let answer = answer.expect(412)?;
    answer.needs("Tus-Version")?;
    answer.lacks("Location")?;
    Ok(answer)
}

fn is_our_412(answer: Answer) -> Step<Answer> {
    let answer = is_412(answer)?;
    answer.has("Tus-Version", "1.0.0")?;
    Ok(answer)
}

/// All requests of tus, for an upload that may be there or not.
fn all_of(server: &Server, target: &str) -> Vec<Request> {
    let mut all = changing(server, target).to_vec();
    all.push(Request::new("HEAD", target));
    all.push(create_with(server, 3, "abc"));
    all
}

fn wants_a_version(judge: &Judge<'_>) -> Step {
    let server = judge.server;
    let upload = Upload::hello(server)?;
    for asked in changing(server, &upload.url) {
        let asked = asked.without("Tus-Resumable");
        let answer = upload.unmoved(&asked, is_412).at(&asked.method)?;
        judge.ours(is_our_412(answer).at(&asked.method))?;
    }
    for target in [upload.url.clone(), unknown_url(server)] {
        for asked in all_of(server, &target) {
            // The text is silent on a HEAD that comes from a browser, and on what is unknown too.
            let asked = asked.without("Tus-Resumable");
            judge.ours(upload.unmoved(&asked, is_our_412).at(&asked.method))?;
        }
    }
    leaves_no_trace(judge, &[&[]])
}

/// Versions that are others than 1.0.0, whatever a server speaks besides.
const OTHERS: [&str; 5] = ["0.2.2", "1.0", "1.0.1", "2.0.0", "1.0.0 x"];

fn with_versions(request: &Request, versions: &[&str]) -> Request {
    let bare = request.clone().without("Tus-Resumable");
    versions.iter().fold(bare, |request, version| request.header("Tus-Resumable", version))
}

fn wants_its_version(judge: &Judge<'_>) -> Step {
    let server = judge.server;
    let spoken = server.ask(&options(server.files()))?.list("Tus-Version");
    let upload = Upload::hello(server)?;
    let others = OTHERS.iter().filter(|version| !spoken.iter().any(|one| one == *version));
    for version in others {
        for asked in all_of(server, &upload.url) {
            let asked = with_versions(&asked, &[version]);
            let at = format!("{} with {version}", asked.method);
            judge.ours(is_our_412(upload.unmoved(&asked, is_412).at(&at)?).at(&at))?;
        }
        for asked in all_of(server, &unknown_url(server)) {
            let asked = with_versions(&asked, &[version]);
            let answer = is_412(server.ask(&asked)?);
            answer.at(format_args!("{} of an unknown upload with {version}", asked.method))?;
        }
    }
    for odd in [&[""][..], &["1.0.0", "1.0.0"]] {
        for asked in all_of(server, &upload.url) {
            let asked = with_versions(&asked, odd);
            let answer = upload.unmoved(&asked, is_our_412);
            judge.ours(answer.at(format_args!("{} with {odd:?}", asked.method)))?;
        }
    }
    let all: Vec<&[&str]> = OTHERS.iter().map(std::slice::from_ref).collect();
    leaves_no_trace(judge, &all)
}

/// On a server of its own: what is refused for its version leaves nothing on disk.
fn leaves_no_trace(judge: &Judge<'_>, versions: &[&[&str]]) -> Step {
    let server = judge.then_start(&[])?;
    let upload = Upload::hello(&server)?;
    let data = rest(server.layout())?;
    let before = crate::disk::snapshot(&data);
    for version in versions {
        for asked in all_of(&server, &upload.url) {
            server.ask(&with_versions(&asked, version))?;
        }
    }
    judge.ours(ensure(crate::disk::snapshot(&data) == before, "files have changed"))?;
    Ok(())
}

fn hands_out_files_without_a_version(judge: &Judge<'_>) -> Step {
    let upload = Upload::finished(judge.server)?;
    let plain = Request::new("GET", &upload.url);
    for asked in [plain.clone(), plain.header("Tus-Resumable", "9.9.9")] {
        let answer = judge.server.ask(&asked)?.expect(200)?;
        answer.ensure(answer.body == b"hello world", "the body is not the file")?;
    }
    Ok(())
}

fn takes_names_in_any_case(judge: &Judge<'_>) -> Step {
    let server = judge.server;
    let shouted = Request::new("POST", server.files()).header("TUS-Resumable", "1.0.0");
    let made = server.ask(&shouted.header("UPLOAD-LENGTH", 11))?.expect(201).at("POST")?;
    let upload = Upload::from_answer(server, &made)?;
    let mixed = Request::new("PATCH", &upload.url)
        .header("tus-resumable", "1.0.0")
        .header("upload-offset", 0)
        .header("cOnTeNt-TyPe", OFFSET_TYPE)
        .body("hello");
    server.ask(&mixed)?.expect(204).at("PATCH")?.has("Upload-Offset", 5)?;
    let shouted = Request::new("HEAD", &upload.url).header("TUS-RESUMABLE", "1.0.0");
    server.ask(&shouted)?.expect_one(&[200, 204]).at("HEAD")?.has("Upload-Offset", 5)
}

fn has_the_version(answer: &Answer) -> Step {
    let lines = answer.count("Tus-Resumable");
    answer.ensure(lines == 1, format_args!("{lines} lines of Tus-Resumable"))?;
    answer.has("Tus-Resumable", "1.0.0")
}

/// Requests of tus whose answers have all the statuses that need no time and no second server.
fn of_each_status(judge: &Judge<'_>, server: &Server) -> Step<Vec<(u16, Request)>> {
    let (open, done) = (Upload::hello(server)?, Upload::finished(server)?);
    let mut all = vec![
        (200, request("HEAD", &open.url)),
        (201, create(server, 11)),
        (204, patch(&open.url, 5, "")),
        (400, create(server, 11).set("Upload-Length", "x")),
        (404, request("HEAD", &unknown_url(server))),
        (404, patch(&unknown_url(server), 0, "x")),
        (409, patch(&open.url, 3, "x")),
        (412, request("HEAD", &open.url).set("Tus-Resumable", "0.0.1")),
        (413, patch(&done.url, 11, "x")),
        (415, patch(&open.url, 5, "x").without("Content-Type")),
    ];
    if judge.offers("checksum") {
        let wrong = patch(&open.url, 5, "x").header("Upload-Checksum", sha1_of_nothing());
        all.push((460, wrong));
    }
    if judge.offers("concatenation") {
        let partial = server.ask(&create(server, 0).header("Upload-Concat", "partial"))?;
        let list = format!("final;{}", partial.expect(201)?.needs("Location")?);
        let whole = request("POST", server.files()).header("Upload-Concat", list);
        let whole = Upload::from_answer(server, &server.ask(&whole)?.expect(201)?)?;
        all.push((403, patch(&whole.url, 0, "")));
    }
    if judge.offers("termination") {
        let gone = Upload::new(server, 11)?;
        gone.delete()?.expect(204)?;
        all.push((404, patch(&gone.url, 0, "x")));
        all.push((204, request("DELETE", &Upload::new(server, 11)?.url)));
    }
    Ok(all)
}

fn names_its_version(judge: &Judge<'_>) -> Step {
    let server = judge.server;
    for (status, asked) in of_each_status(judge, server)? {
        let at = format!("{} for {status}", asked.method);
        let answer = server.ask(&asked)?;
        has_the_version(&answer).at(&at)?;
        judge.ours(answer.expect(status).at(&at))?;
    }
    // These are no requests of tus, or the text leaves them out.
    let (open, done) = (Upload::hello(server)?, Upload::finished(server)?);
    for (status, asked) in [
        (204, options(server.files())),
        (200, Request::new("GET", &done.url)),
        (404, Request::new("GET", &open.url)),
        (405, request("PUT", &open.url)),
    ] {
        let answer = server.ask(&asked)?.expect(status);
        judge.ours(answer.and_then(|answer| has_the_version(&answer)).at(&asked.method))?;
    }
    let short_lived = judge.then_start(&["--expire-after=50ms", "--reap-every=1h"])?;
    let gone = Upload::new(&short_lived, 11)?;
    thread::sleep(Duration::from_millis(150));
    for asked in [request("HEAD", &gone.url), patch(&gone.url, 0, "x")] {
        let answer = short_lived.ask(&asked)?;
        has_the_version(&answer).at("expired")?;
        judge.ours(answer.expect(410).at("expired"))?;
    }
    judge.ours(names_it_in_trouble(judge))?;
    Ok(())
}

/// 423 and 507; which status another server has for such trouble is its own affair.
fn names_it_in_trouble(judge: &Judge<'_>) -> Step {
    let server = judge.then_start(&[])?;
    let upload = Upload::new(&server, 1000)?;
    let mut stalled = upload.stall(0, 1000, b"some bytes")?;
    // The first HEAD may overtake it.
    let since = Instant::now();
    while stalled.silent_for(Duration::from_millis(10))? {
        has_the_version(&upload.head()?.expect_one(&[200, 204])?)?;
        ensure(since.elapsed() < SOON, "a stalled PATCH is not taken over")?;
    }
    let told = Ok(stalled.answer("PATCH")?);
    has_the_version(&told.and_then(|answer| answer.refused(423)).at("taken over")?)?;
    server.fill_disk()?;
    let full = server.ask(&create(&server, 11)).and_then(|answer| answer.refused(507));
    has_the_version(&full.at("POST on a full disk")?)?;
    let full = upload.patch(upload.offset()?, "x").and_then(|answer| answer.refused(507));
    has_the_version(&full.at("PATCH on a full disk")?)?;
    server.make_room()
}
