//! Several at once, over tus (section 19 of the page).

use std::{
    fs::File,
    thread,
    time::{Duration, Instant},
};

use super::{conn_cut::CHUNK, race_chunks};
use crate::{
    case::{Case, case},
    digest::length,
    disk,
    judge::Judge,
    random::Random,
    server::Server,
    several::{PAUSES, Running, at_once, statuses, taken},
    stop::{At, Step, Stop, breach, ensure},
    tus::{GONE, Upload, patch, request},
    wire::Request,
};

pub(crate) const CASES: &[Case] = &[
    case("RACE-01", the_newcomer_wins).alone().says(
        "If the offsets do not match, the Server MUST respond with the 409 Conflict status without \
         modifying the upload resource.",
    ),
    case("RACE-02", what_the_loser_is_told),
    case("RACE-03", one_offset_one_winner).says(
        "If the offsets do not match, the Server MUST respond with the 409 Conflict status without \
         modifying the upload resource.",
    ),
    case("RACE-04", patch_and_delete),
    case("RACE-05", a_holder_that_does_not_leave),
    case("RACE-06", race_chunks::looking_does_not_disturb),
    case("RACE-07", a_file_is_whole_or_not_there),
    case("RACE-08", race_chunks::one_chunk_from_all_sides),
    case("RACE-09", race_chunks::a_chunk_during_a_patch),
    case("RACE-10", race_chunks::merges_at_once),
    case("RACE-11", race_chunks::while_a_merge_runs),
    case("RACE-12", two_processes),
];

/// What the page allows the suite; the goal is 10 ms, which a busy machine may miss.
const IN_TIME: Duration = Duration::from_millis(250);
/// What is allowed where everything takes long: far from the 3 s of a server that waits.
const AT_MOST: Duration = Duration::from_secs(1);

/// Three attempts, each with a longer pause until what was sent has come: a busy machine may spoil
/// one, a server that is wrong spoils all.
fn one_of_three(mut attempt: impl FnMut(Duration) -> Step) -> Step {
    let mut last = Ok(());
    for pause in PAUSES {
        last = attempt(pause);
        if last.is_ok() {
            break;
        }
    }
    last
}

fn the_newcomer_wins(judge: &Judge<'_>) -> Step {
    let bytes = Random::fresh().bytes(1000);
    let server = judge.server;
    let head = one_of_three(|pause| head_then_patch(server, &bytes, pause));
    judge.ours(head.at("HEAD, then PATCH"))?;
    let patch = one_of_three(|pause| patch_at_once(server, &bytes, pause));
    judge.ours(patch.at("PATCH at once"))?;
    let mut found = (Ok(()), Ok(()));
    for pause in PAUSES {
        found = patch_at_the_start(server, &bytes, pause)?;
        // Otherwise it may have come before the old one.
        if found.0.is_ok() {
            break;
        }
    }
    judge.ours(found.0)?;
    judge.should(found.1).map(drop)
}

/// What a PATCH at 0 is told, which is ours, and whether what the old one sent is kept, which is a
/// SHOULD.
fn patch_at_the_start(server: &Server, bytes: &[u8], pause: Duration) -> Step<(Step, Step)> {
    let upload = Upload::new(server, 1000)?;
    let running = Running::stalled(&upload, 0, 1000, &bytes[..400], pause)?;
    let answer = upload.patch(0, bytes)?;
    let told = answer.clone().expect(409).and_then(|answer| answer.has("Upload-Offset", 400));
    if answer.status == 204 {
        // It has dropped what the old one sent, so that 0 was right; all bytes are there now.
        upload.is_file(bytes)?;
        return Ok((told, Ok(())));
    }
    // A server that waits for the old one may say that, too.
    answer.expect_one(&[409, 423])?;
    drop(running);
    thread::sleep(pause);
    let there = usize::try_from(upload.offset()?).unwrap_or(usize::MAX);
    let rest = bytes.get(there..).ok_or_else(|| breach("more is there than was sent"))?;
    let kept = ensure(there >= 400, format_args!("{there} of 400 received bytes are left"));
    if !rest.is_empty() {
        upload.patch(length(&bytes[..there]), rest)?.expect(204)?;
    }
    upload.is_file(bytes)?;
    Ok((told, kept))
}

/// How long it may take, by how long a HEAD takes here that finds nobody.
pub(super) fn in_time(upload: &Upload<'_>) -> Step<Duration> {
    let since = Instant::now();
    upload.is_at(0)?;
    Ok((20 * since.elapsed()).clamp(IN_TIME, AT_MOST))
}

fn head_then_patch(server: &Server, bytes: &[u8], pause: Duration) -> Step {
    let upload = Upload::new(server, 1000)?;
    let in_time = in_time(&upload)?;
    let _old = Running::stalled(&upload, 0, 1000, &bytes[..400], pause)?;
    let since = Instant::now();
    upload.head()?.expect_one(&[200, 204])?.has("Upload-Offset", 400)?;
    let took = since.elapsed();
    upload.patch(400, &bytes[400..])?.expect(204)?.has("Upload-Offset", 1000)?;
    upload.is_file(bytes)?;
    ensure(took <= in_time, format_args!("HEAD took {took:?}"))
}

fn patch_at_once(server: &Server, bytes: &[u8], pause: Duration) -> Step {
    let upload = Upload::new(server, 1000)?;
    let in_time = in_time(&upload)?;
    let _old = Running::stalled(&upload, 0, 1000, &bytes[..400], pause)?;
    let since = Instant::now();
    upload.patch(400, &bytes[400..])?.expect(204)?.has("Upload-Offset", 1000)?;
    let took = since.elapsed();
    upload.is_file(bytes)?;
    ensure(took <= in_time, format_args!("PATCH took {took:?}"))
}

fn what_the_loser_is_told(judge: &Judge<'_>) -> Step {
    let mut stalled = None;
    one_of_three(|pause| {
        let upload = Upload::new(judge.server, 1000)?;
        let running = Running::stalled(&upload, 0, 1000, &[7; 400], pause)?;
        upload.is_at(400)?;
        stalled = Some(running);
        Ok(())
    })?;
    // Nothing: it was hung up on.
    let Some(told) = stalled.and_then(Running::told) else { return Ok(()) };
    told.expect(423)?.needs("Retry-After").map(drop)
}

fn one_offset_one_winner(judge: &Judge<'_>) -> Step {
    for (hands, size) in [(4_u8, 3 * CHUNK + 5), (4, 100), (4, CHUNK), (50, CHUNK + 5)] {
        let what = format!("{hands} PATCHes of {size} bytes");
        let upload = Upload::new(judge.server, 2 * length(&vec![0; size]))?;
        let hand = |hand| patch(&upload.url, 0, vec![hand; size]);
        let answers = at_once(judge.server, &(1..=hands).map(hand).collect::<Vec<_>>());
        let seen = statuses(&answers);
        let known = seen.iter().all(|status| [0, 204, 409, 423].contains(status));
        judge.ours(ensure(known, format_args!("the statuses are {seen:?}")).at(&what))?;
        let taken: Vec<usize> = (0..seen.len()).filter(|at| seen[*at] == 204).collect();
        let once = ensure(taken.len() <= 1, format_args!("one range was taken twice: {seen:?}"));
        once.at(&what)?;
        let offset = usize::try_from(upload.offset()?).unwrap_or(usize::MAX);
        let sum = if taken.is_empty() { offset <= size } else { offset == size };
        ensure(sum, format_args!("{seen:?} left an offset of {offset}")).at(&what)?;
        let rest = vec![0xee; 2 * size - offset];
        upload.patch(length(&vec![0; offset]), rest)?.expect(204).at(&what)?;
        let file = upload.get()?;
        if file.status == 200 {
            let (first, behind) = file.body.split_at(offset.min(file.body.len()));
            let winner = taken.first().and_then(|at| u8::try_from(at + 1).ok());
            let byte = first.first().copied();
            let whole = first.iter().all(|other| Some(*other) == byte)
                && (winner.is_none() || winner == byte)
                && behind.iter().all(|byte| *byte == 0xee);
            file.ensure(whole, "the file holds bytes of two requests").at(&what)?;
        }
    }
    Ok(())
}

fn patch_and_delete(judge: &Judge<'_>) -> Step {
    judge.needs("termination")?;
    let server = judge.server;
    let mut uploads = Vec::new();
    for round in 0..200 {
        let upload = Upload::new(server, 100_000)?;
        let body = vec![7; if round % 2 == 0 { 100_000 } else { 50_000 }];
        let both = [patch(&upload.url, 0, body), request("DELETE", &upload.url)];
        let seen = statuses(&at_once(server, &both));
        let what = format!("PATCH and DELETE at once: {seen:?}");
        ensure([0, 204, 404, 410, 423].contains(&seen[0]) && seen[1] == 204, what)?;
        upload.head()?.expect_one(&GONE)?;
        uploads.push(upload);
    }
    for _ in 0..25 {
        let upload = Upload::hello(server)?;
        let delete = request("DELETE", &upload.url);
        let mut seen = statuses(&at_once(server, &[delete.clone(), delete]));
        seen.sort_unstable();
        let agree = seen[0] == 204 && [204, 404, 410].contains(&seen[1]);
        ensure(agree, format_args!("two DELETEs: {seen:?}"))?;
    }
    let deadline = Instant::now() + Duration::from_secs(8);
    while uploads.iter().any(|upload| !upload.parts().is_empty()) {
        ensure(Instant::now() < deadline, "bytes of a deleted upload are left on disk")?;
        thread::sleep(Duration::from_millis(50));
    }
    Ok(())
}

/// The file that holds the facts of an upload, whose lock is the upload's; a skip on servers that
/// have another layout.
pub(super) fn ledger(upload: &Upload<'_>) -> Step<File> {
    let name = format!("{}.ledger", upload.id());
    let all = disk::files_below(&upload.server.layout()?.join("state"));
    let ours = all.into_iter().find(|path| path.ends_with(&name));
    let unknown = || Stop::Skip("no upload can be locked from outside".to_owned());
    Ok(File::open(ours.ok_or_else(unknown)?)?)
}

/// A lock from outside stands for a holder whose storage hangs: it does not leave either.
fn a_holder_that_does_not_leave(judge: &Judge<'_>) -> Step {
    let server = &judge.start(&[])?;
    let upload = Upload::hello(server)?;
    let ledger = ledger(&upload)?;
    rustix::fs::flock(&ledger, rustix::fs::FlockOperation::LockExclusive)
        .map_err(|error| Stop::Skip(format!("no lock can be taken: {error}")))?;
    let since = Instant::now();
    let asked = [
        patch(&upload.url, 5, " world"),
        request("DELETE", &upload.url),
        request("HEAD", &upload.url),
    ];
    for (answer, asked) in at_once(server, &asked).into_iter().zip(&asked) {
        let none = || breach(format_args!("{} got no answer", asked.method));
        answer.ok_or_else(none)?.expect(423).at(&asked.method)?.needs("Retry-After")?;
    }
    let took = since.elapsed();
    ensure(took < Duration::from_secs(10), format_args!("they waited for {took:?}"))?;
    drop(ledger);
    upload.patch(5, " world")?.expect(204)?.has("Upload-Offset", 11)?;
    upload.is_file(b"hello world")
}

fn a_file_is_whole_or_not_there(judge: &Judge<'_>) -> Step {
    for round in 0..8 {
        let bytes = Random::fresh().bytes(2 * CHUNK + 5);
        let upload = Upload::new(judge.server, length(&bytes))?;
        upload.patch(0, &bytes[..CHUNK])?.expect(204)?;
        let (upload, bytes) = (&upload, &bytes);
        thread::scope(|scope| {
            let hands: Vec<_> = (0..3).map(|_| scope.spawn(|| hammer(upload, bytes))).collect();
            let finished = finish(upload, bytes, CHUNK);
            let mut hands = hands.into_iter();
            finished.and(hands.try_for_each(|hand| {
                hand.join().unwrap_or_else(|_| Err(breach("the judge broke")))
            }))
        })
        .at(format_args!("round {round}"))?;
        upload.is_file(bytes)?;
    }
    Ok(())
}

/// HEAD and GET until the end is told.
fn hammer(upload: &Upload<'_>, bytes: &[u8]) -> Step {
    let get = Request::new("GET", &upload.url);
    let deadline = Instant::now() + Duration::from_secs(15);
    while Instant::now() < deadline {
        let head = upload.head()?.expect_one(&[200, 204, 423])?;
        let file = upload.server.ask(&get)?;
        if head.status != 423 && head.offset()? == length(bytes) {
            if matches!(file.status, 404 | 405 | 501) && !upload.server.has_chunks() {
                // tus 1.0.0 knows no download.
                return Ok(());
            }
            // The end was told before the file was asked for.
            return file.ensure(file.body == bytes, "HEAD told the end, and the file is not there");
        }
        let right = file.status >= 400 && file.status < 500 || file.body == bytes;
        let status = file.status;
        file.ensure(right, format_args!("GET shows half a file ({status})"))?;
    }
    Err(breach("the upload comes to no end"))
}

/// Sends the rest, as often as somebody takes the upload over.
fn finish(upload: &Upload<'_>, bytes: &[u8], mut at: usize) -> Step {
    while at < bytes.len() {
        // Whoever is taken over may be hung up on.
        if let Ok(answer) = upload.patch(length(&bytes[..at]), &bytes[at..]) {
            answer.expect_one(&[204, 423, 409])?;
        }
        at = usize::try_from(upload.offset()?).unwrap_or(usize::MAX);
    }
    Ok(())
}

fn two_processes(judge: &Judge<'_>) -> Step {
    let one = judge.start(&[])?;
    let two = one.beside()?;
    let bytes = Random::fresh().bytes(3 * CHUNK + 7);
    let here = Upload::new(&one, length(&bytes))?;
    let there = Upload { server: &two, url: here.url.clone() };
    let mut at = 0;
    for (turn, size) in [5, CHUNK, 1, CHUNK - 7, 100, CHUNK / 2].into_iter().enumerate() {
        let (writer, reader) = if turn % 2 == 0 { (&here, &there) } else { (&there, &here) };
        writer.patch(length(&bytes[..at]), &bytes[at..at + size])?.expect(204)?;
        at += size;
        reader.is_at(length(&bytes[..at]))?;
        reader.patch(0, "x")?.expect(409)?;
    }
    // Who holds it over there is asked to leave, or waited for; what it has stored counts here.
    let rest = length(&bytes[at..]);
    let stall = || Running::patch(&here, length(&bytes[..at]), rest, &bytes[at..at + 9]);
    let mut running = taken(&one, 9, stall)?;
    let newcomer = there.patch(length(&bytes[..at + 9]), &bytes[at + 9..])?;
    match newcomer.status {
        423 => {
            newcomer.needs("Retry-After")?;
            running.raw(&bytes[at + 9..])?;
            running.answer()?.expect(204)?.has("Upload-Offset", bytes.len())?;
        }
        _ => newcomer.expect(204).map(drop)?,
    }
    for upload in [&here, &there] {
        upload.is_file(&bytes)?;
    }
    for round in 0..6_u8 {
        mixed(&one, &two, CHUNK + 5 + usize::from(round) * 20_000)?;
    }
    there.delete()?.expect(204)?;
    here.head()?.expect_one(&GONE).map(drop)
}

/// One offset, and a PATCH in each of two processes.
fn mixed(one: &Server, two: &Server, size: usize) -> Step {
    let total = length(&vec![0; size]);
    let here = Upload::new(one, total * 2)?;
    let there = Upload { server: two, url: here.url.clone() };
    let answers = thread::scope(|scope| {
        let hands = [(&here, 1_u8), (&there, 2)];
        let ask = |(upload, hand): (&'_ Upload<'_>, u8)| upload.patch(0, vec![hand; size]).ok();
        let hands = hands.map(|hand| scope.spawn(move || ask(hand)));
        hands.map(|hand| hand.join().ok().flatten())
    });
    let seen = statuses(&answers);
    let known = seen.iter().all(|status| [0, 204, 409, 423].contains(status));
    let taken = seen.iter().filter(|status| **status == 204).count();
    ensure(known && taken <= 1, format_args!("two processes: {seen:?}"))?;
    let offset = here.offset()?;
    there.is_at(offset)?;
    ensure(if taken == 1 { offset == total } else { offset <= total }, "an offset of neither")?;
    let rest = usize::try_from(total * 2 - offset).unwrap_or(0);
    there.patch(offset, vec![0xee; rest])?.expect(204)?;
    let file = here.get()?.expect(200)?;
    let changes = file.body.windows(2).filter(|pair| pair[0] != pair[1]).count();
    file.ensure(changes <= 1, "the file holds bytes of both processes")
}
