//! Concatenation of unfinished uploads (section 14 of the page).

use std::{
    thread,
    time::{Duration, Instant},
};

use crate::{
    case::{Case, case},
    concat::{
        completes, ends, final_of, is_pending, join, join_all, joined, open, open_deferred, partial,
    },
    digest::length,
    judge::Judge,
    random::Random,
    server::Server,
    stop::{At, Step, ensure},
    tus::{Upload, append, patch, problem},
};

pub(crate) const CASES: &[Case] = &[
    case("TUS-CATU-01", before_the_parts),
    case("TUS-CATU-02", what_head_tells).says(
        "The response to a HEAD request for a final upload SHOULD NOT contain the Upload-Offset \
         header unless the concatenation has been successfully finished. … The Upload-Length \
         header MUST be included if the length of the final resource can be calculated at the \
         time of the request. Response to HEAD request against partial or final upload MUST \
         include the Upload-Concat header and its value as received in the upload creation \
         request.",
    ),
    case("TUS-CATU-03", open_length).says(
        "As long as the length of the upload is not known, the Server MUST set \
         Upload-Defer-Length: 1 in all responses to HEAD requests.",
    ),
    case("TUS-CATU-04", the_final_and_its_parts).says(
        "The Server MUST respond with the 403 Forbidden status to PATCH requests against a final \
         upload URL and MUST NOT modify the final or its partial uploads. … The response to a \
         HEAD request for a partial upload MUST contain the Upload-Offset header.",
    ),
    case("TUS-CATU-05", completes_by_itself).says(
        "The Client MAY send the concatenation request while the partial uploads are still in \
         progress. … The partial uploads MUST be concatenated as per the order specified in the \
         list. … After successful concatenation, the Upload-Offset and Upload-Length MUST be set \
         and their values MUST be equal.",
    ),
    case("TUS-CATU-06", restarts_between),
    case("TUS-CATU-07", ends_with_a_part),
    case("TUS-CATU-08", over_the_maximum).says(
        "If the length of the upload exceeds the maximum, which MAY be specified using the \
         Tus-Max-Size header, the Server MUST respond with the 413 Request Entity Too Large \
         status.",
    ),
];

fn before_the_parts(judge: &Judge<'_>) -> Step {
    let server = judge.server;
    let (a, b) = (open(server, 5)?, open(server, 5)?);
    a.patch(0, "he")?.expect(204)?;
    let made = server.ask(&join(server, &final_of(&[&a, &b])))?.expect(201)?;
    made.lacks("Upload-Offset")?;
    made.needs("Upload-Expires")?;
    is_pending(&Upload::from_answer(server, &made)?)?.needs("Upload-Expires").map(|_| ())
}

fn what_head_tells(judge: &Judge<'_>) -> Step {
    let server = judge.server;
    let (a, b) = (open(server, 5)?, partial(server, b" world")?);
    let upload = join_all(server, &[&a, &b, &a])?;
    let head = is_pending(&upload)?;
    judge.ours(head.clone().expect(200))?;
    head.has("Upload-Concat", final_of(&[&a, &b, &a]))?;
    head.has("Upload-Length", 16)?;
    judge.should(head.lacks("Upload-Offset"))?;
    Ok(())
}

fn open_length(judge: &Judge<'_>) -> Step {
    judge.needs("creation-defer-length")?;
    let server = judge.server;
    let (deferred, part) = (open_deferred(server)?, partial(server, b"hello")?);
    let upload = join_all(server, &[&part, &deferred])?;
    let head = is_pending(&upload)?;
    head.lacks("Upload-Length").at("while one length is open")?;
    // tus says as well that the header goes where no length was deferred by the client.
    judge.ours(head.has("Upload-Defer-Length", 1).at("while one length is open"))?;
    let declaring = patch(&deferred.url, 0, " wo").header("Upload-Length", 6);
    server.ask(&declaring)?.expect(204)?;
    let head = is_pending(&upload)?;
    head.has("Upload-Length", 11).at("once it is known")?;
    head.lacks("Upload-Defer-Length").at("once it is known")?;
    deferred.patch(3, "rld")?.expect(204)?;
    completes(&upload)?;
    upload.is_file(b"hello world")
}

fn the_final_and_its_parts(judge: &Judge<'_>) -> Step {
    let server = judge.server;
    let (a, b) = (open(server, 5)?, open(server, 6)?);
    let upload = join_all(server, &[&a, &b])?;
    for (offset, body, which) in [(0, "hello", "at 0"), (11, "x", "at the end"), (0, "", "empty")] {
        // A wrong offset may be told as such.
        let answer = server.ask(&patch(&upload.url, offset, body))?.expect_one(&[403, 409]);
        let answer = answer.at(which)?;
        judge.ours(problem(answer, 403).at(which))?;
    }
    let told = upload.get()?;
    judge.ours(told.expect_one(&[404, 405, 501]).at("GET"))?;
    is_pending(&upload)?;
    for (part, bytes) in [(&a, "hello"), (&b, " world")] {
        part.is_at(0)?;
        part.patch(0, &bytes[..2])?.expect(204).at("PATCH of a part")?;
        part.is_at(2)?;
        is_pending(&upload)?;
        part.patch(2, &bytes[2..])?.expect(204)?;
        part.is_at(length(bytes.as_bytes()))?;
    }
    completes(&upload)?;
    upload.is_file(b"hello world")
}

fn completes_by_itself(judge: &Judge<'_>) -> Step {
    let server = judge.server;
    let mut random = Random::fresh();
    let pieces: Vec<Vec<u8>> = [70_001, 3, 131_072].map(|size| random.bytes(size)).into();
    for order in [[0, 1, 2], [2, 0, 1], [1, 2, 0]] {
        let at = format!("finished in the order {order:?}");
        let parts: Step<Vec<_>> = pieces.iter().map(|piece| open(server, length(piece))).collect();
        let parts = parts?;
        let upload = join_all(server, &[&parts[0], &parts[1], &parts[2], &parts[0]])?;
        for part in order {
            is_pending(&upload).at(&at)?;
            parts[part].patch(0, pieces[part].clone())?.expect(204)?;
        }
        let since = Instant::now();
        let bytes = [&pieces[0][..], &pieces[1], &pieces[2], &pieces[0]].concat();
        let head = completes(&upload).at(&at)?;
        let took = since.elapsed();
        head.has("Upload-Length", bytes.len()).at(&at)?;
        upload.is_file(&bytes).at(&at)?;
        judge.ours(head.lacks("Upload-Expires"))?;
        let late = format!("it took {took:?} after the last byte");
        judge.ours(ensure(took < Duration::from_secs(5), late))?;
    }
    Ok(())
}

fn restarts_between(judge: &Judge<'_>) -> Step {
    let server = judge.start(&[])?;
    let parts = [open(&server, 5)?, open(&server, 5)?];
    server.restart()?;
    let upload = join_all(&server, &[&parts[0], &parts[1]])?;
    for (part, bytes) in parts.iter().zip(["hello", "world"]) {
        server.restart()?;
        is_pending(&upload)?;
        part.patch(0, bytes)?.expect(204)?;
    }
    server.crash()?;
    completes(&upload)?;
    upload.is_file(b"helloworld")?;
    let mut random = Random::fresh();
    for most in [2_000, 12_000] {
        let moment = Duration::from_micros(random.between(0, most));
        killed_at(&server, &mut random, moment).at(format_args!("kill at {moment:?}"))?;
    }
    Ok(())
}

/// The last bytes of the last part, and a kill somewhere behind them.
fn killed_at(server: &Server, random: &mut Random, moment: Duration) -> Step {
    let (first, second) = (random.bytes(1_500_000), random.bytes(700_001));
    let (a, b) = (partial(server, &first)?, open(server, length(&second))?);
    let upload = join_all(server, &[&a, &b])?;
    let (half, rest) = second.split_at(300_000);
    b.patch(0, half)?.expect(204)?;
    let mut connection = server.begin(&append(&b.url, length(half)).announcing(length(rest)))?;
    let _ = connection.raw(rest);
    thread::sleep(moment);
    server.crash()?;
    let head = b.head()?;
    if head.status == 200 {
        let offset = head.offset()?;
        let at = usize::try_from(offset).unwrap_or(0);
        ensure((half.len()..=second.len()).contains(&at), format_args!("it fell to {offset}"))?;
        if at < second.len() {
            b.patch(offset, &second[at..])?.expect(204)?;
        }
    }
    completes(&upload)?;
    upload.is_file(&[first, second].concat())
}

fn ends_with_a_part(judge: &Judge<'_>) -> Step {
    if judge.offers("termination") {
        let server = judge.server;
        let (a, b) = (open(server, 5)?, open(server, 5)?);
        let (given_up, upload) = (join_all(server, &[&a, &b])?, join_all(server, &[&a, &b])?);
        given_up.delete()?.expect(204).at("DELETE of a pending final")?;
        given_up.head()?.expect_one(&[404, 410])?;
        a.patch(0, "hello")?.expect(204).at("its partials go on")?;
        is_pending(&upload)?;
        b.delete()?.expect(204)?;
        ends(&upload).at("a partial is deleted")?;
        a.is_at(5)?;
        joined(judge, server, &final_of(&[&a]), b"hello").at("the other partial")?;
    }
    let server = judge.then_start(&["--expire-after=4s", "--reap-every=1s"])?;
    expires_with_a_part(&server)
}

/// What gets bytes lives on; the other one expires, and the final with it.
fn expires_with_a_part(server: &Server) -> Step {
    let (a, b) = (open(server, 5)?, open(server, 100)?);
    let upload = join_all(server, &[&a, &b])?;
    let (mut sent, since) = (0, Instant::now());
    loop {
        b.patch(sent, "w")?.expect(204).at("the other partial")?;
        sent += 1;
        // An upload may outlive its 4 s by an eighth of them, and its final by one sweep.
        let late = since.elapsed() > Duration::from_secs(7);
        let told = (a.head()?.status, upload.head()?.status);
        thread::sleep(Duration::from_millis(300));
        if told == (410, 410) {
            return b.is_at(sent).at("the other partial");
        }
        let alive = format!("after 7 s a partial and its final are answered {told:?}");
        ensure(!late, alive)?;
    }
}

fn over_the_maximum(judge: &Judge<'_>) -> Step {
    let server = judge.start(&["--max-size=10"])?;
    let (a, b) = (partial(&server, b"sixsix")?, open(&server, 5)?);
    let answer = server.ask(&join(&server, &final_of(&[&a, &b])))?.expect(413)?;
    judge.ours(answer.is_problem())?;
    if !judge.offers("creation-defer-length") {
        return Ok(());
    }
    let deferred = open_deferred(&server)?;
    let upload = join_all(&server, &[&a, &deferred])?;
    is_pending(&upload)?;
    let declaring = patch(&deferred.url, 0, "five5").header("Upload-Length", 5);
    server.ask(&declaring)?.expect(204)?;
    judge.ours(ends(&upload))?;
    judge.ours(deferred.is_at(5))?;
    judge.ours(joined(judge, &server, &final_of(&[&deferred]), b"five5"))?;
    Ok(())
}
