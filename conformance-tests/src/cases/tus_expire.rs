//! Expiration (section 11 of the page).

use std::{
    fs::{self, File},
    path::PathBuf,
    thread,
    time::{Duration, Instant, SystemTime},
};

use super::conn::SOON;
use crate::{
    case::{Case, case},
    concat::{create_partial, final_of, join, open, partial},
    digest::checksum,
    disk::files_below,
    judge::Judge,
    parts::Parts,
    server::Server,
    stop::{At, Step, Stop, breach, ensure, same},
    tus::{Upload, append, create, create_with, patch, problem},
    wire::{Answer, Request, h1::Conn},
};

const EVERY_PATCH: &str = "This header MUST be included in every PATCH response if the upload is \
    going to expire. If the expiration is known at the creation, the Upload-Expires header MUST be \
    included in the response to the initial POST request. … The value of the Upload-Expires header \
    MUST be in RFC 9110 datetime format.";

pub(crate) const CASES: &[Case] = &[
    case("TUS-EXP-01", told_while_unfinished).says(EVERY_PATCH),
    case("TUS-EXP-02", told_by_every_patch).says(EVERY_PATCH),
    case("TUS-EXP-03", bytes_move_it),
    case("TUS-EXP-04", past_the_deadline),
    case("TUS-EXP-05", finished_ones_stay),
    case("TUS-EXP-06", what_runs_is_not_cut),
    case("TUS-EXP-07", partials_and_pending_finals),
    case("TUS-EXP-08", the_broom),
];

/// `Upload-Expires` as a point in time; it must be written as HTTP writes dates.
fn expires(answer: &Answer) -> Step<SystemTime> {
    let text = answer.needs("Upload-Expires")?;
    let time = httpdate::parse_http_date(text);
    let time = time.map_err(|_| answer.breach(format_args!("{text:?} is no date of HTTP")))?;
    let form = format!("{text:?} is an obsolete form of a date");
    answer.ensure(httpdate::fmt_http_date(time) == text, form)?;
    Ok(time)
}

/// The deadline is that many hours behind the upload's last bytes, which came since `since`; the
/// date leaves out what is less than a second.
fn is_in(answer: &Answer, hours: u64, since: SystemTime) -> Step {
    let (span, second) = (Duration::from_hours(hours), Duration::from_secs(1));
    let (first, last) = (since + span - second, SystemTime::now() + span + second);
    let told = expires(answer)?;
    let (first_date, last_date) = (httpdate::fmt_http_date(first), httpdate::fmt_http_date(last));
    let what = format!("Upload-Expires is not within {first_date} and {last_date}");
    answer.ensure((first..=last).contains(&told), what)
}

fn told_while_unfinished(judge: &Judge<'_>) -> Step {
    let server = judge.server;
    if will_expire(judge, server)? {
        patch_tells_it(server)?;
    }
    // A server need not know the time when it answers a POST, but what it says must be a date.
    let made = server.ask(&create(server, 11))?.expect(201)?;
    if made.header("Upload-Expires").is_some() {
        expires(&made).at("POST")?;
    }
    let server = judge.then_start(&["--expire-after=3h"])?;
    patch_tells_it(&server).at("--expire-after")?;
    judge.ours(all_tell_three_hours(judge, &server))?;
    judge.ours(finished_ones_tell_nothing(judge, &server))?;
    Ok(())
}

fn patch_tells_it(server: &Server) -> Step {
    let upload = Upload::new(server, 11)?;
    let told = expires(&upload.patch(0, "hello")?.expect(204)?).at("PATCH")?;
    ensure(told > SystemTime::now(), "a living upload is told to be dead")
}

/// Does any answer say so? Only of what is going to expire the header is asked for; who announces
/// the extension and lets uploads live for ever breaks no word of it.
fn will_expire(judge: &Judge<'_>, server: &Server) -> Step<bool> {
    let made = server.ask(&create(server, 11))?.expect(201)?;
    let upload = Upload::from_answer(server, &made)?;
    let answers = [made, upload.patch(0, "hello")?, upload.head()?];
    let told = answers.iter().any(|answer| answer.header("Upload-Expires").is_some());
    judge.ours(ensure(told, "expiration is announced, and no answer tells of it"))?;
    Ok(told)
}

fn all_tell_three_hours(judge: &Judge<'_>, server: &Server) -> Step {
    let tells = |ask: &dyn Fn() -> Step<Answer>| {
        let since = SystemTime::now();
        is_in(&ask()?, 3, since)
    };
    tells(&|| server.ask(&create(server, 11))?.expect(201)).at("POST")?;
    if judge.offers("creation-with-upload") {
        tells(&|| server.ask(&create_with(server, 11, "hello"))?.expect(201))
            .at("POST with a body")?;
    }
    tells(&|| Upload::hello(server)?.head()).at("HEAD")?;
    if judge.offers("concatenation") {
        tells(&|| server.ask(&create_partial(server, 11))?.expect(201))
            .at("POST of a partial upload")?;
    }
    Ok(())
}

fn finished_ones_tell_nothing(judge: &Judge<'_>, server: &Server) -> Step {
    let upload = Upload::hello(server)?;
    upload.patch(5, " world")?.expect(204)?.lacks("Upload-Expires").at("PATCH that finishes")?;
    upload.head()?.lacks("Upload-Expires").at("HEAD of a finished upload")?;
    server.ask(&create(server, 0))?.expect(201)?.lacks("Upload-Expires").at("POST of nothing")?;
    if judge.offers("creation-with-upload") {
        let made = server.ask(&create_with(server, 11, "hello world"))?.expect(201)?;
        made.lacks("Upload-Expires").at("POST that finishes")?;
    }
    Ok(())
}

fn told_by_every_patch(judge: &Judge<'_>) -> Step {
    if will_expire(judge, judge.server)? {
        all_kinds_tell_it(judge, judge.server)?;
    }
    let server = judge.then_start(&["--expire-after=3h"])?;
    all_kinds_tell_it(judge, &server).at("--expire-after")?;
    judge.ours(exactly_three_hours(judge, &server))?;
    Ok(())
}

fn all_kinds_tell_it(judge: &Judge<'_>, server: &Server) -> Step {
    let tell = |ask: &dyn Fn(&str) -> Request, which: &str| -> Step {
        let upload = Upload::hello(server)?;
        let answer = server.ask(&ask(&upload.url))?;
        // What took all bytes is no unfinished upload any more.
        if upload.offset()? == 11 { Ok(()) } else { expires(&answer).at(which).map(|_| ()) }
    };
    tell(&|url| patch(url, 5, " "), "PATCH")?;
    tell(&|url| patch(url, 5, ""), "PATCH of nothing")?;
    tell(&|url| patch(url, 3, "x"), "PATCH at a wrong offset")?;
    tell(&|url| patch(url, 5, "far too much"), "PATCH over the length")?;
    tell(&|url| patch(url, 5, "x").without("Content-Type"), "PATCH of no media type")?;
    if judge.offers("checksum") {
        let wrong = checksum(b"other");
        let asked = |url: &str| patch(url, 5, "x").header("Upload-Checksum", &wrong);
        tell(&asked, "PATCH with a wrong checksum")?;
    }
    Ok(())
}

fn exactly_three_hours(judge: &Judge<'_>, server: &Server) -> Step {
    let since = SystemTime::now();
    let upload = Upload::hello(server)?;
    let url = &upload.url;
    let mut all = vec![
        (patch(url, 5, " "), 204),
        (patch(url, 3, "x"), 409),
        (patch(url, 6, "far too much"), 413),
        (append(url, 6).chunked(b"", 1), 204),
        (patch(url, 6, "x").without("Content-Type"), 415),
        (patch(url, 6, "x").header("Content-Encoding", "gzip"), 415),
        (patch(url, 6, "x").set("Upload-Offset", "x"), 400),
    ];
    if judge.offers("checksum") {
        let checked = |sum: &str| patch(url, 6, "x").header("Upload-Checksum", sum);
        all.push((checked(&checksum(b"other")), 460));
        all.push((checked("sha1 nonsense"), 400));
    }
    for (request, status) in all {
        is_in(&server.ask(&request)?.expect(status)?, 3, since).at(status)?;
    }
    Ok(())
}

fn bytes_move_it(judge: &Judge<'_>) -> Step {
    let upload = Upload::hello(judge.server)?;
    let first = expires(&upload.head()?)?;
    thread::sleep(Duration::from_millis(1_100));
    same("after 409", &expires(&upload.patch(3, "x")?.expect(409)?)?, &first)?;
    same("after nothing", &expires(&upload.patch(5, "")?.expect(204)?)?, &first)?;
    same("after HEAD", &expires(&upload.head()?)?, &first)?;
    let moved = expires(&upload.patch(5, " ")?.expect(204)?)?;
    ensure(moved > first, "bytes were stored, and the time stays")?;
    ensure(expires(&upload.head()?)? > first, "bytes were stored, and HEAD tells the old time")
}

/// HEAD, PATCH, GET and DELETE of an upload that expired.
fn is_gone(upload: &Upload<'_>, when: &str) -> Step {
    upload.head()?.expect(410).at("HEAD").at(when)?.lacks("Upload-Offset")?;
    problem(upload.patch(5, " world")?, 410).at("PATCH").at(when)?;
    problem(upload.get()?, 410).at("GET").at(when)?;
    problem(upload.delete()?, 410).at("DELETE").at(when)?;
    Ok(())
}

fn past_the_deadline(judge: &Judge<'_>) -> Step {
    let lazy = judge.start(&["--expire-after=4s", "--reap-every=1h"])?;
    let swept = judge.start(&["--expire-after=4s", "--reap-every=1s"])?;
    let (old, taken) = (Upload::hello(&lazy)?, Upload::hello(&swept)?);
    let stored = lazy.stored();
    thread::sleep(Duration::from_millis(4_800));
    is_gone(&old, "before any sweep")?;
    // What expired may go as soon as somebody is told so.
    let kept = |(path, file): (&_, &_)| stored.get(path) == Some(file);
    ensure(lazy.stored().iter().all(kept), "a PATCH of an expired upload was stored")?;
    lazy.restart()?;
    is_gone(&old, "after a restart")?;
    vanishes(&swept)?;
    is_gone(&taken, "after the sweep")?;
    swept.restart()?;
    is_gone(&taken, "after the sweep and a restart")
}

/// Nothing is left of the unfinished uploads before long.
fn vanishes(server: &Server) -> Step {
    let deadline = Instant::now() + Duration::from_secs(10);
    while !server.stored().is_empty() {
        let left = || format!("parts are still there: {:?}", server.stored());
        ensure(Instant::now() < deadline, left())?;
        thread::sleep(Duration::from_millis(50));
    }
    Ok(())
}

fn finished_ones_stay(judge: &Judge<'_>) -> Step {
    let server = judge.start(&["--expire-after=100ms", "--reap-every=50ms"])?;
    let upload = if judge.offers("creation-with-upload") {
        let made = server.ask(&create_with(&server, 11, "hello world"))?.expect(201)?;
        Upload::from_answer(&server, &made)?
    } else {
        Upload::finished(&server)?
    };
    thread::sleep(Duration::from_secs(1));
    upload.is_file(b"hello world")
}

/// A merge cannot be made to run across its deadline from outside: it would have to take longer
/// than the last chunk's deadline is away. PATCH and PUT can.
fn what_runs_is_not_cut(judge: &Judge<'_>) -> Step {
    let server = judge.start(&["--expire-after=5s", "--reap-every=50ms"])?;
    thread::scope(|scope| {
        let patching = scope.spawn(|| patches_slowly(&server).at("PATCH"));
        let breaking = scope.spawn(|| breaks_off_slowly(&server).at("PATCH that breaks off"));
        let putting = scope.spawn(|| puts_slowly(&server).at("PUT"));
        for thread in [patching, breaking, putting] {
            thread.join().map_err(|_| breach("the judge broke"))??;
        }
        Ok(())
    })
}

/// Sends a tenth of the body each 600 ms.
fn slowly(server: &Server, request: &Request) -> Step<Conn> {
    let mut head = request.clone();
    head.body.clear();
    let mut running = server.begin(&head)?;
    for piece in request.body.chunks(request.body.len().div_ceil(10)) {
        thread::sleep(Duration::from_millis(600));
        running.raw(piece)?;
    }
    Ok(running)
}

fn patches_slowly(server: &Server) -> Step {
    let upload = Upload::new(server, 1000)?;
    let mut running = slowly(server, &patch(&upload.url, 0, [7; 1000]))?;
    running.answer("PATCH")?.expect(204)?.has("Upload-Offset", 1000)?;
    upload.is_file(&[7; 1000])
}

/// Its bytes have moved the deadline though it did not come to its end.
fn breaks_off_slowly(server: &Server) -> Step {
    let upload = Upload::new(server, 2000)?;
    let half = patch(&upload.url, 0, [7; 1000]).announcing(2000);
    let mut running = slowly(server, &half)?;
    running.finish();
    running.closes_within(SOON)?;
    upload.is_at(1000)
}

fn puts_slowly(server: &Server) -> Step {
    let parts = Parts::new("a.bin", 1000, [7; 2000]);
    parts.send(server, 0)?;
    let mut running = slowly(server, &parts.put(server, 1)?)?;
    running.answer("POST")?.expect(201)?;
    // Its bytes moved the deadline; the reaper passes by meanwhile.
    thread::sleep(Duration::from_millis(300));
    let merged = parts.merge(server)?.expect(201)?;
    parts.is_merged(server, &merged)
}

fn partials_and_pending_finals(judge: &Judge<'_>) -> Step {
    judge.needs("concatenation")?;
    let server = judge.start(&["--expire-after=5s", "--reap-every=1s"])?;
    let whole = partial(&server, b"whole")?;
    whole.head()?.needs("Upload-Expires").at("HEAD of a finished partial")?;
    let mut expiring = vec![whole];
    if judge.offers("concatenation-unfinished") {
        let part = open(&server, 5)?;
        let made = server.ask(&join(&server, &final_of(&[&part])))?.expect(201)?;
        expires(&made).at("POST of a pending final")?;
        let pending = Upload::from_answer(&server, &made)?;
        pending.head()?.needs("Upload-Expires").at("HEAD of a pending final")?;
        expiring.extend([part, pending]);
    }
    thread::sleep(Duration::from_millis(6_600));
    for (which, upload) in ["a finished partial", "an open one", "its final"].iter().zip(&expiring)
    {
        upload.head()?.expect(410).at(which)?;
    }
    vanishes(&server)
}

fn the_broom(judge: &Judge<'_>) -> Step {
    let server = judge.start(&["--reap-every=1s"])?;
    let data = server.layout()?;
    let upload = Upload::hello(&server)?;
    let orphan = data.join("uploads").join("0123456789abcdef0123456789abcdef");
    let part = orphan.join("0.part");
    fs::create_dir_all(&orphan)?;
    fs::write(&part, "orphan")?;
    let foreign = data.join("notes.txt");
    fs::write(&foreign, "not ours")?;
    let [old, young] = &staged(&server)?[..] else {
        return Err(Stop::Skip("a chunk on its way leaves no file under tmp/".to_owned()));
    };
    let long_ago = SystemTime::now() - Duration::from_hours(8 * 24);
    for path in [old, &part] {
        File::options().write(true).open(path)?.set_modified(long_ago)?;
    }
    File::open(&orphan)?.set_modified(long_ago)?;
    let deadline = Instant::now() + Duration::from_secs(10);
    while old.try_exists()? || part.try_exists()? {
        let left = || format!("still there: {:?}", files_below(&data));
        ensure(Instant::now() < deadline, left())?;
        thread::sleep(Duration::from_millis(50));
    }
    ensure(young.try_exists()?, "a young file under tmp/ was swept")?;
    ensure(foreign.try_exists()?, "a file was swept that is not the server's")?;
    upload.is_at(5)
}

/// Two files that a kill left under `tmp/`.
fn staged(server: &Server) -> Step<Vec<PathBuf>> {
    let tmp = server.layout()?.join("tmp");
    let parts = Parts::new("a.bin", 100_000, vec![7; 300_000]);
    let mut open = Vec::new();
    for index in 0..2 {
        let mut head = parts.put(server, index)?;
        let body = std::mem::take(&mut head.body);
        let mut connection = server.begin(&head)?;
        connection.raw(&body[..body.len() - 3])?;
        open.push(connection);
    }
    let deadline = Instant::now() + Duration::from_secs(5);
    while files_below(&tmp).len() < 2 && Instant::now() < deadline {
        thread::sleep(Duration::from_millis(5));
    }
    server.crash()?;
    Ok(files_below(&tmp))
}
