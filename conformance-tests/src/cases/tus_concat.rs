//! Concatenation (section 13 of the page).

use std::{thread, time::Duration};

use super::tus_concat_edges as edges;
use crate::{
    case::{Case, case},
    concat::{completes, create_partial, final_of, join, joined, open, open_deferred, partial},
    judge::Judge,
    random::Random,
    server::Server,
    stop::{At, Step, Stop, ensure},
    tus::{GONE, OFFSET_TYPE, Upload, patch, problem},
    wire::Request,
};

const ABSOLUTE_OR_RELATIVE: &str = "The partial uploads URLs MAY be absolute or relative and MUST \
    NOT contain spaces as defined in RFC 3986.";
const VALUE: &str = "If the upload is a partial one, the header value MUST be partial. In the case \
    of a final upload, its value MUST be final followed by a semicolon and a space-separated list \
    of partial upload URLs that will be concatenated.";

pub(crate) const CASES: &[Case] = &[
    case("TUS-CAT-01", partials).says(
        "The response to a HEAD request for a partial upload MUST contain the Upload-Offset \
         header. … Response to HEAD request against partial or final upload MUST include the \
         Upload-Concat header and its value as received in the upload creation request.",
    ),
    case("TUS-CAT-02", partials_are_no_files),
    case("TUS-CAT-03", joined_in_order).says(
        "The length of the final upload MUST be the sum of the length of all partial uploads. … \
         The partial uploads MUST be concatenated as per the order specified in the list. … After \
         successful concatenation, the Upload-Offset and Upload-Length MUST be set and their \
         values MUST be equal.",
    ),
    case("TUS-CAT-04", value_as_received).says(
        "Response to HEAD request against partial or final upload MUST include the Upload-Concat \
         header and its value as received in the upload creation request.",
    ),
    case("TUS-CAT-05", named_by_urls).says(ABSOLUTE_OR_RELATIVE),
    case("TUS-CAT-06", named_by_relative_references).says(ABSOLUTE_OR_RELATIVE),
    case("TUS-CAT-07", one_part_twice),
    case("TUS-CAT-08", parts_of_two_files),
    case("TUS-CAT-09", metadata_is_not_inherited).says(
        "When creating a new final upload the partial uploads' metadata SHALL NOT be transferred \
         to the new final upload. All metadata SHOULD be included in the concatenation request \
         using the Upload-Metadata header.",
    ),
    case("TUS-CAT-10", lengths_and_bodies).says(
        "The length of the final upload MUST be the sum of the length of all partial uploads. … \
         The Client MUST NOT include the Upload-Length header in the final upload creation.",
    ),
    case("TUS-CAT-11", what_is_no_value).says(VALUE),
    case("TUS-CAT-12", what_cannot_be_joined).says(VALUE),
    case("TUS-CAT-13", edges::a_sum_over_the_maximum).says(
        "If the length of the upload exceeds the maximum, which MAY be specified using the \
         Tus-Max-Size header, the Server MUST respond with the 413 Request Entity Too Large \
         status.",
    ),
    case("TUS-CAT-14", edges::takes_no_bytes).says(
        "The Server MUST respond with the 403 Forbidden status to PATCH requests against a final \
         upload URL and MUST NOT modify the final or its partial uploads.",
    ),
    case("TUS-CAT-15", edges::ends_one_by_one),
    case("TUS-CAT-16", edges::sizes),
    case("TUS-CAT-17", edges::killed_within),
];

fn partials(judge: &Judge<'_>) -> Step {
    let server = judge.server;
    let mut made = vec![("with a length", open(server, 11)?, 0), ("empty", open(server, 0)?, 0)];
    if judge.offers("creation-defer-length") {
        made.push(("deferred", open_deferred(server)?, 0));
    }
    if judge.offers("creation-with-upload") {
        let create = create_partial(server, 11).header("Content-Type", OFFSET_TYPE).body("hello");
        let answer = server.ask(&create)?.expect(201).at("with a body")?;
        made.push(("with a body", Upload::from_answer(server, &answer)?, 5));
    }
    made.push(("finished", partial(server, b"hello")?, 5));
    for (which, upload, offset) in made {
        let head = upload.head()?.expect_one(&[200, 204]).at(which)?;
        head.has("Upload-Concat", "partial").at(which)?;
        head.has("Upload-Offset", offset).at(which)?;
    }
    Ok(())
}

fn partials_are_no_files(judge: &Judge<'_>) -> Step {
    let part = partial(judge.server, b"hello")?;
    // Who serves no files says 405 or 501.
    part.get()?.expect_one(&[404, 405, 501])?;
    let server = judge.then_start(&[])?;
    partial(&server, b"hello")?;
    let files = server.finished().map_err(Stop::after_all)?;
    ensure(files.is_empty(), format_args!("it was published: {files:?}"))
}

fn joined_in_order(judge: &Judge<'_>) -> Step {
    let server = judge.server;
    let (a, b) = (partial(server, b"hello")?, partial(server, b" world, all")?);
    let orders = [([&a, &b], &b"hello world, all"[..]), ([&b, &a], b" world, allhello")];
    for (parts, bytes) in orders {
        let answer = server.ask(&join(server, &final_of(&parts)))?.expect(201)?;
        judge.ours(answer.lacks("Upload-Expires"))?;
        let upload = Upload::from_answer(server, &answer)?;
        let head = completes(&upload)?;
        head.has("Upload-Length", bytes.len())?;
        judge.ours(head.lacks("Upload-Expires"))?;
        upload.is_file(bytes)?;
    }
    // Ours: nobody has to wait.
    judge.ours(joined(judge, server, &final_of(&[&a, &b]), b"hello world, all"))?;
    Ok(())
}

fn value_as_received(judge: &Judge<'_>) -> Step {
    let server = judge.server;
    let (a, b) = (partial(server, b"hello ")?, partial(server, b"world")?);
    let host = server.host();
    let comes_back = |value: &str| -> Step {
        let answer = server.ask(&join(server, value))?;
        if answer.status != 201 {
            // Which forms are taken is another row.
            return judge.ours(answer.expect(201).at(value)).map(|_| ());
        }
        let upload = Upload::from_answer(server, &answer)?;
        upload.head()?.has("Upload-Concat", value)
    };
    let plain = final_of(&[&a, &b]);
    server.ask(&join(server, &plain))?.expect(201)?;
    comes_back(&plain)?;
    comes_back(&format!("final;http://{host}{} http://{host}{}", a.url, b.url))?;
    comes_back(&format!("final; {} {}", a.url, b.url))?;
    comes_back(&format!("final;{}/ {}/", a.url, b.url))?;
    comes_back(&format!("final;{}", a.id()))
}

fn named_by_urls(judge: &Judge<'_>) -> Step {
    let server = judge.server;
    let (a, b) = (partial(server, b"hello ")?, partial(server, b"world")?);
    let host = server.host();
    let takes = |value: String| joined(judge, server, &value, b"hello world").at(value).map(|_| ());
    takes(final_of(&[&a, &b]))?;
    takes(format!("final;http://{host}{} http://{host}{}", a.url, b.url))?;
    for value in [
        format!("final;https://up.example{} http://127.0.0.1:1{}", a.url, b.url),
        format!("final;https://up.example/behind{} {}", a.url, b.url),
        format!("final; {} {}", a.url, b.url),
        format!("final;{}   {}", a.url, b.url),
        format!("final;{}/ {}/", a.url, b.url),
    ] {
        judge.ours(takes(value))?;
    }
    let server = judge.then_start(&["--public-url=https://up.example/behind/files/"])?;
    let locations = [b"hello ", b"world."].map(|bytes| -> Step<String> {
        let made = server.ask(&create_partial(&server, 6))?.expect(201)?;
        let location = made.needs("Location")?.to_owned();
        let id = location.rsplit('/').next().unwrap_or_default();
        let url = format!("{}/{id}", server.files().trim_end_matches('/'));
        server.ask(&patch(&url, 0, *bytes))?.expect(204)?;
        Ok(location)
    });
    let [a, b] = locations;
    let answer = server.ask(&join(&server, &format!("final;{} {}", a?, b?)))?;
    judge.ours(answer.expect(201).at("--public-url"))?;
    Ok(())
}

fn named_by_relative_references(judge: &Judge<'_>) -> Step {
    let server = judge.server;
    let (a, b) = (partial(server, b"hello ")?, partial(server, b"world")?);
    // A reference is resolved against the URL that the POST goes to.
    let folder = server.files().rfind('/').map_or("/", |at| &server.files()[..=at]);
    if let (Some(first), Some(second)) = (a.url.strip_prefix(folder), b.url.strip_prefix(folder)) {
        let value = format!("final;{first} {second}");
        joined(judge, server, &value, b"hello world").at(&value)?;
    }
    let query = format!("final;{}?a=b {}", a.url, b.url);
    let refused = server.ask(&join(server, &query))?;
    judge.ours(problem(refused, 400).at("a URL with a query"))?;
    Ok(())
}

fn one_part_twice(judge: &Judge<'_>) -> Step {
    let server = judge.server;
    let (a, b) = (partial(server, b"ha ")?, partial(server, b"world")?);
    joined(judge, server, &final_of(&[&a, &a, &b, &a]), b"ha ha worldha ").map(|_| ())
}

fn parts_of_two_files(judge: &Judge<'_>) -> Step {
    let server = judge.server;
    let (a, b) = (partial(server, b"hello ")?, partial(server, b"world")?);
    let first = joined(judge, server, &final_of(&[&a, &b]), b"hello world")?;
    let again = joined(judge, server, &final_of(&[&a, &b]), b"hello world").at("once more")?;
    ensure(first.url != again.url, "two creations have made one upload")?;
    joined(judge, server, &final_of(&[&b]), b"world").at("in another file")?;
    first.is_file(b"hello world")
}

fn metadata_is_not_inherited(judge: &Judge<'_>) -> Step {
    let server = judge.server;
    let named = create_partial(server, 5).header("Upload-Metadata", "filename cGFydC5iaW4=");
    let part = Upload::from_answer(server, &server.ask(&named)?.expect(201)?)?;
    part.patch(0, "hello")?.expect(204)?;
    let bare = joined(judge, server, &final_of(&[&part]), b"hello")?.head()?;
    let told = bare.header("Upload-Metadata").unwrap_or_default();
    bare.ensure(!told.contains("cGFydC5iaW4="), "the final upload has the part's metadata")?;
    judge.ours(bare.lacks("Upload-Metadata"))?;
    // The order of several pairs is asked by TUS-META-01.
    let value = "filename d2hvbGUudHh0";
    let own = join(server, &final_of(&[&part])).header("Upload-Metadata", value);
    let own = Upload::from_answer(server, &server.ask(&own)?.expect(201)?)?;
    own.head()?.has("Upload-Metadata", value).at("its own metadata")
}

/// Whatever a request says beside its list, a final upload is the sum of its parts.
fn lengths_and_bodies(judge: &Judge<'_>) -> Step {
    refused_or_the_sum(judge)?;
    let own = judge.then_start(&[])?;
    let part = partial(&own, b"hello")?;
    let before = (own.finished().ok(), own.stored());
    for (which, request, status) in strange_finals(&own, &part) {
        judge.ours(problem(own.ask(&request)?, status).at(which))?;
    }
    let nothing = (own.finished().ok(), own.stored()) == before;
    judge.ours(ensure(nothing, "a refused final upload left something"))?;
    judge.ours(own.ask(&join(&own, &final_of(&[&part])).chunked(b"", 1))?.expect(201))?;
    Ok(())
}

fn refused_or_the_sum(judge: &Judge<'_>) -> Step {
    let server = judge.server;
    let part = partial(server, b"hello")?;
    for (which, request, status) in strange_finals(server, &part) {
        let answer = server.ask(&request)?;
        if answer.status == 201 {
            let upload = Upload::from_answer(server, &answer)?;
            completes(&upload)?.has("Upload-Length", 5).at(which)?;
            upload.is_file(b"hello").at(which)?;
        }
        judge.ours(answer.expect(status).at(which))?;
    }
    part.is_at(5)
}

fn strange_finals(server: &Server, part: &Upload<'_>) -> Vec<(&'static str, Request, u16)> {
    let plain = || join(server, &final_of(&[part]));
    let typed = || plain().header("Content-Type", OFFSET_TYPE);
    vec![
        ("Upload-Length", plain().header("Upload-Length", 5), 400),
        ("another Upload-Length", plain().header("Upload-Length", 999), 400),
        ("Upload-Defer-Length", plain().header("Upload-Defer-Length", 1), 400),
        ("a body", typed().body("other"), 403),
        ("a chunked body", typed().chunked(b"other", 2), 403),
    ]
}

fn what_is_no_value(judge: &Judge<'_>) -> Step {
    let server = judge.server;
    let part = partial(server, b"hello")?;
    let value = final_of(&[&part]);
    let upper = value.replace("final", "Final");
    for value in ["final;", "final; ", "final", upper.as_str(), "Partial", "foo"] {
        let answer = server.ask(&join(server, value))?.refused_somehow().at(value)?;
        judge.ours(problem(answer, 400).at(value))?;
    }
    // With a length these would be good plain uploads, if the header said nothing.
    for value in ["Partial", "foo"] {
        let asked = join(server, value).header("Upload-Length", 5);
        judge.ours(problem(server.ask(&asked)?, 400).at(value).at("with a length"))?;
    }
    let twice = join(server, &value).header("Upload-Concat", &value);
    judge.ours(problem(server.ask(&twice)?, 400).at("header twice"))?;
    part.is_at(5)
}

fn what_cannot_be_joined(judge: &Judge<'_>) -> Step {
    let server = judge.server;
    let part = partial(server, b"hello")?;
    let good = final_of(&[&part]);
    let (plain, unfinished) = (Upload::finished(server)?, Upload::hello(server)?);
    let whole = joined(judge, server, &good, b"hello")?;
    let nobody = format!("{}/{}", server.files().trim_end_matches('/'), Random::fresh().hash());
    let mut lists = vec![
        ("an unknown upload", nobody),
        ("a plain upload", plain.url),
        ("an unfinished plain upload", unfinished.url),
        ("a final upload", whole.url),
    ];
    if judge.offers("termination") {
        let gone = partial(server, b"gone")?;
        gone.delete()?.expect(204)?;
        lists.push(("a terminated upload", gone.url));
    }
    for (which, url) in &lists {
        for value in [format!("final;{url}"), format!("{good} {url}")] {
            let answer = server.ask(&join(server, &value))?.refused_somehow().at(which)?;
            judge.ours(problem(answer, 400).at(which))?;
        }
    }
    let outside = format!("final;/elsewhere/{}", part.id());
    judge.ours(problem(server.ask(&join(server, &outside))?, 400).at("another path"))?;
    part.is_at(5)?;
    let server = judge.then_start(&["--expire-after=4s", "--reap-every=1h"])?;
    let expired = partial(&server, b"gone")?;
    thread::sleep(Duration::from_millis(4_800));
    let head = expired.head()?;
    if judge.ours(head.expect_one(&GONE).at("an expired upload"))?.is_none() {
        return Ok(());
    }
    let answer = server.ask(&join(&server, &final_of(&[&expired])))?.refused_somehow();
    judge.ours(problem(answer.at("an expired upload")?, 400))?;
    Ok(())
}
