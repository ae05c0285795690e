//! HEAD (section 6 of the page).

use std::time::{Duration, Instant};

use crate::{
    case::{Case, case},
    judge::Judge,
    random::Random,
    server::Http,
    stop::{At, Step, breach, ensure},
    tus::{GONE, Upload, request},
    wire::Answer,
};

pub(crate) const CASES: &[Case] = &[
    case("TUS-HEAD-01", tells_the_offset).says(
        "The Server MUST always include the Upload-Offset header in the response for a HEAD \
         request, even if the offset is 0 … If the size of the upload is known, the Server MUST \
         include the Upload-Length header in the response … The Server MUST prevent the client \
         and/or proxies from caching the response by adding the Cache-Control: no-store header",
    ),
    case("TUS-HEAD-02", unknown_uploads).says(
        "If the resource is not found, the Server SHOULD return either the 404 Not Found, 410 Gone \
         or 403 Forbidden status without the Upload-Offset header.",
    ),
    case("TUS-HEAD-03", length_of_the_answer),
    case("TUS-HEAD-04", does_not_keep_alive),
    case("TUS-HEAD-05", answers_under_stress).alone(),
];

fn tells_the_offset(judge: &Judge<'_>) -> Step {
    let server = judge.server;
    let uploads = [
        (Upload::new(server, 11)?, 0),
        (Upload::hello(server)?, 5),
        (Upload::finished(server)?, 11),
    ];
    for (upload, offset) in uploads {
        let head = upload.head()?.expect_one(&[200, 204])?;
        head.has("Upload-Offset", offset)?;
        head.has("Upload-Length", 11)?;
        no_store(&head)?;
        judge.ours(head.clone().expect(200))?;
    }
    if judge.http() == Http::One {
        has_no_body(judge, &Upload::hello(server)?)?;
    }
    let unknown = format!("{}/unknown", server.files().trim_end_matches('/'));
    let answer = server.ask(&request("HEAD", &unknown))?;
    judge.ours(no_store(&answer).at("an upload that is not there"))?;
    Ok(())
}

fn no_store(answer: &Answer) -> Step {
    let told = answer.list("Cache-Control");
    let there = told.iter().any(|directive| directive.eq_ignore_ascii_case("no-store"));
    answer.ensure(there, format_args!("Cache-Control is {:?}", told.join(", ")))
}

/// Nothing stands behind the head of the answer, whatever length it tells (RFC 9110 §9.3.2).
fn has_no_body(judge: &Judge<'_>, upload: &Upload<'_>) -> Step {
    let asked = request("HEAD", &upload.url).header("Connection", "close");
    let mut connection = upload.server.begin(&asked)?;
    let head = connection.answer("HEAD")?;
    let Some(behind) = judge.ours(connection.closes_within(Duration::from_secs(8)))? else {
        return Ok(());
    };
    head.ensure(behind.is_empty(), format_args!("{} bytes stand behind the head", behind.len()))
}

fn unknown_uploads(judge: &Judge<'_>) -> Step {
    let server = judge.server;
    let unknown = format!("{}/{}", server.files().trim_end_matches('/'), Random::fresh().hash());
    let answer = server.ask(&request("HEAD", &unknown))?.expect_one(&[404, 410, 403])?;
    answer.lacks("Upload-Offset")?;
    judge.ours(answer.expect(404).at("unknown"))?;
    if judge.offers("termination") {
        let upload = Upload::hello(server)?;
        upload.delete()?.expect(204)?;
        let answer = upload.head()?.expect_one(&GONE).at("terminated")?;
        answer.lacks("Upload-Offset")?;
    }
    let server = judge.then_start(&["--expire-after=4s", "--reap-every=1s"])?;
    let upload = Upload::hello(&server)?;
    std::thread::sleep(Duration::from_millis(4_800));
    for when in ["expired", "expired and swept"] {
        let answer = upload.head()?.expect(410).at(when)?;
        answer.lacks("Upload-Offset")?;
        std::thread::sleep(Duration::from_millis(1500));
    }
    Ok(())
}

fn length_of_the_answer(judge: &Judge<'_>) -> Step {
    let head = Upload::hello(judge.server)?.head()?;
    let length = head.header("Content-Length");
    let what = format!("Content-Length is {length:?}: a client would wait for such a body");
    head.ensure(length.is_none_or(|length| length == "0"), what)
}

fn does_not_keep_alive(judge: &Judge<'_>) -> Step {
    judge.needs("expiration")?;
    let upload = Upload::hello(judge.server)?;
    let first = upload.head()?.needs("Upload-Expires")?.to_owned();
    std::thread::sleep(Duration::from_millis(1100));
    upload.head()?.has("Upload-Expires", first)
}

fn answers_under_stress(judge: &Judge<'_>) -> Step {
    let server = judge.start(&["--reap-every=1s"])?;
    let upload = Upload::hello(&server)?;
    server.fill_disk()?;
    for number in 0..1000 {
        let head = upload.head()?.expect(200).at(format_args!("HEAD {number}"))?;
        head.has("Upload-Offset", 5)?;
    }
    server.make_room()?;
    ensure(upload.offset()? == 5, "the offset has changed")?;
    answers_while_it_stops(judge)
}

/// A PATCH holds the server up that is told to stop; a connection that is open already is answered
/// meanwhile, or closed.
fn answers_while_it_stops(judge: &Judge<'_>) -> Step {
    let server = judge.then_start(&["--shutdown-timeout=2s"])?;
    let upload = Upload::hello(&server)?;
    let asked = request("HEAD", &upload.url);
    let busy = Upload::new(&server, 1000)?;
    let _stalled = busy.stall(0, 1000, b"some bytes")?;
    let (mut one, mut two) = match judge.http() {
        Http::One => (Some(server.connect()?), None),
        Http::Two => (None, Some(server.connect_h2()?)),
    };
    let mut ask = || match (&mut one, &mut two) {
        (Some(connection), _) => connection.ask(&asked).ok(),
        (_, Some(connection)) => connection.ask(&asked).ok(),
        _ => None,
    };
    let before = ask().ok_or_else(|| breach("no answer before it stops"))?;
    before.expect(200)?.has("Upload-Offset", 5)?;
    server.sigterm()?;
    for number in 0..1000 {
        let since = Instant::now();
        let Some(head) = ask() else {
            let took = since.elapsed();
            ensure(took < Duration::from_secs(8), format_args!("silent for {took:?}"))?;
            break;
        };
        let at = format_args!("HEAD {number} while it stops");
        head.expect(200).at(at)?.has("Upload-Offset", 5)?;
    }
    Ok(())
}
