//! Chunk flow: merge, the file that it makes (section 24 of the page).

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::Duration,
};

use serde_json::{Value, json};

use crate::{
    case::{Case, case},
    digest::{composite_of_hex, length},
    disk::{files_below, taken_below},
    judge::Judge,
    parts::{Parts, has_members, merge, soon},
    random::Random,
    running::Running,
    server::Server,
    stop::{At, Step, Stop, breach, ensure, same},
    tus::Upload,
    wire::{Answer, Request},
};

pub(crate) const CASES: &[Case] = &[
    case("CHUNK-MERGE-10", while_a_merge_runs_others_are_told_where_to_ask),
    case("CHUNK-MERGE-11", the_order_is_that_of_positions),
    case("CHUNK-MERGE-12", a_file_never_replaces_another),
    // It looks at the disk as often as it can.
    case("CHUNK-MERGE-13", no_byte_is_nowhere_and_few_are_twice).alone(),
];

/// The size of the chunks of large files.
const CHUNK: usize = 64 * 1024;

fn while_a_merge_runs_others_are_told_where_to_ask(judge: &Judge<'_>) -> Step {
    merged_by_many(judge.server)?;
    // A lock from outside makes a merge a long one, where the layout is the one that is documented.
    let server = judge.then_start(&[])?;
    if server.layout().is_err() {
        return Err(Stop::Part("the data folder cannot be looked into".to_owned()));
    }
    let parts = Parts::hello();
    parts.send_all(&server)?;
    parts.stored(&server)?;
    let ledger = fs::File::open(ledger_of(&server, &parts.as_upload(&server)?)?)?;
    ledger.lock()?;
    let asked = merge(&server, &parts.merge_body())?;
    let mut first = Running::begin(&server, &asked, asked.body.len() - 1)?;
    first.send_rest();
    let state = |state: &str| Ok(parts.status(&server)?["state"] == state);
    soon("a merge that waits is not merging", || state("merging"))?;
    let told = parts.merge(&server)?;
    let status = is_told_where(&server, told)?;
    has_members(&status, &json!({"state": "merging", "hash": parts.hash}))?;
    ledger.unlock()?;
    // It may have lost its patience with the lock, which is nothing that the row speaks of.
    let _ = first.answer();
    let merged = parts.merge(&server)?.expect_one(&[200, 201])?;
    parts.is_merged(&server, &merged)?;
    let again = parts.merge(&server)?.expect(200)?;
    same("the answer", &again.json()?, &merged.json()?)
}

/// The ledger of an upload, whose lock is the upload's.
fn ledger_of(server: &Server, upload: &Upload<'_>) -> Step<PathBuf> {
    let mut all = files_below(&server.data()?.join("state")).into_iter();
    let own = all.find(|path| path.file_stem().is_some_and(|stem| stem == upload.id()));
    own.ok_or_else(|| breach(format_args!("state/ has no ledger of {}", upload.id())))
}

/// 202, and the status to which it leads.
fn is_told_where(server: &Server, told: Answer) -> Step<Value> {
    let told = told.expect(202)?;
    same("the answer", &told.json()?, &json!({"state": "merging"}))?;
    let after = told.needs("Retry-After")?;
    let seconds = after.parse::<u32>().is_ok();
    told.ensure(seconds, format_args!("Retry-After is {after:?}"))?;
    let status = server.resolve(told.needs("Location")?);
    server.ask(&Request::new("GET", &status))?.expect(200)?.json()
}

/// Merges of a big file that come at once make one file, whoever is told to wait.
fn merged_by_many(server: &Server) -> Step {
    let parts = Parts::new("big.bin", CHUNK, Random::fresh().bytes(60 * CHUNK));
    (0..parts.total).rev().try_for_each(|index| parts.send(server, index).map(|_| ()))?;
    let answers = thread::scope(|scope| {
        let askers: Vec<_> = (0..4).map(|_| scope.spawn(|| parts.merge(server))).collect();
        let ended =
            |asked: thread::Result<Step<Answer>>| asked.map_err(|_| breach("an asker broke"))?;
        askers.into_iter().map(|asker| ended(asker.join())).collect::<Step<Vec<_>>>()
    })?;
    let (waiting, done): (Vec<_>, Vec<_>) =
        answers.into_iter().partition(|answer| answer.status == 202);
    for told in waiting {
        is_told_where(server, told)?;
    }
    soon("the merge does not end", || Ok(parts.status(server)?["state"] == "merged"))?;
    let last = parts.merge(server)?.expect(200)?;
    parts.is_merged(server, &last)?;
    for answer in done {
        let answer = answer.expect_one(&[200, 201])?;
        same("the answer", &answer.json()?, &last.json()?)?;
    }
    Ok(())
}

fn the_order_is_that_of_positions(judge: &Judge<'_>) -> Step {
    let (server, mut random) = (judge.server, Random::fresh());
    for (size, total) in [(1200, 12), (1237, 12), (1237, 13), (99, 1), (150, 1), (0, 1)] {
        let at = format!("{size} bytes in {total}");
        let parts = Parts::new("a.bin", 100, random.bytes(size)).with_total(total);
        for index in random.shuffled((0..total).collect()) {
            parts.send(server, index).at(&at)?;
        }
        let answer = parts.merge(server)?.expect(201).at(&at)?;
        let expected = json!({"composite_sha256": parts.composite(), "size": size});
        has_members(&answer.json()?, &expected).at(&at)?;
        parts.is_merged(server, &answer).at(&at)?;
    }
    Ok(())
}

fn a_file_never_replaces_another(judge: &Judge<'_>) -> Step {
    let server = judge.server;
    // Of five files at least two are of one second.
    let mut merged = Vec::new();
    for _ in 0..5 {
        let parts = Parts::hello();
        parts.send_all(server)?;
        let answer = parts.merge(server)?.expect(201)?;
        merged.push((parts, answer));
    }
    let mut names = BTreeSet::new();
    for (parts, answer) in &merged {
        parts.is_merged(server, answer)?;
        let name = answer.json()?["filename"].as_str().unwrap_or_default().to_owned();
        let what = format!("two files are called {name:?}");
        answer.ensure(names.insert(name), what)?;
    }
    for (name, begins, ends) in [
        ("README", "README-", "-9ef38ec3"),
        ("a.tar.gz", "a.tar-", "-9ef38ec3.gz"),
        ("测试.bin", "测试-", "-9ef38ec3.bin"),
        (".env", "", ""),
    ] {
        let parts = Parts::hello().with_name(Some(name));
        parts.send_all(server)?;
        let answer = parts.merge(server)?.expect(201).at(name)?;
        let published = answer.json()?["filename"].as_str().unwrap_or_default().to_owned();
        let sane = published.starts_with(begins)
            && published.ends_with(ends)
            && !published.is_empty()
            && !published.starts_with('.');
        answer.ensure(sane, format_args!("{name:?} is published as {published:?}"))?;
        parts.is_merged(server, &answer)?;
        names.insert(published);
    }
    same("the number of different names", &names.len(), &9)?;
    let Ok(data) = server.layout() else { return Ok(()) };
    let lost: Vec<_> =
        names.into_iter().filter(|name| !data.join("files").join(name).is_file()).collect();
    ensure(lost.is_empty(), format_args!("files/ has no {lost:?}"))
}

// That a file is durable before its parts go shows only when power fails; that it is whole before
// they go shows at any moment, and after a kill.
fn no_byte_is_nowhere_and_few_are_twice(judge: &Judge<'_>) -> Step {
    let server = judge.start(&[])?;
    let data = server.layout()?;
    let mut random = Random::fresh();
    for backwards in [false, true] {
        let parts = Parts::new("big.bin", CHUNK, random.bytes(100 * CHUNK + 1));
        let before = taken_below(&data);
        watched(&server, &data, &parts, backwards).at(if backwards { "backwards" } else { "" })?;
        soon("more than the file stays on disk", || {
            let left = taken_below(&data).saturating_sub(before);
            Ok(left <= length(&parts.bytes) + 64 * 1024)
        })?;
    }
    for _ in 0..3 {
        let parts = Parts::new("big.bin", CHUNK, random.bytes(40 * CHUNK + 1));
        (0..parts.total).rev().try_for_each(|index| parts.send(&server, index).map(|_| ()))?;
        let asked = merge(&server, &parts.merge_body())?;
        let mut running = Running::begin(&server, &asked, asked.body.len() - 1)?;
        running.send_rest();
        thread::sleep(Duration::from_micros(random.between(0, 40_000)));
        server.crash()?;
        let merged = parts.merge(&server)?.expect_one(&[200, 201]).at("after kill -9")?;
        parts.is_merged(&server, &merged).at("after kill -9")?;
    }
    Ok(())
}

/// Sends and merges a file while somebody looks at the disk.
fn watched(server: &Server, data: &Path, parts: &Parts, backwards: bool) -> Step {
    for step in 0..parts.total {
        let index = if backwards { parts.total - 1 - step } else { step };
        parts.send(server, index)?;
    }
    let upload = parts.as_upload(server)?;
    let folder = upload.folder()?;
    soon("the prefix is not put together", || Ok(files_below(&folder).len() <= 2))?;
    let before = taken_below(data).saturating_sub(taken_below(&folder));
    let old = files_below(&data.join("files"));
    let (looked, merged) = (AtomicBool::new(false), AtomicBool::new(false));
    let (answer, peak) = thread::scope(|scope| {
        let watch = scope.spawn(|| {
            let mut peak = 0;
            while !merged.load(Ordering::Relaxed) {
                peak = peak.max(taken_below(data).saturating_sub(before));
                looked.store(true, Ordering::Relaxed);
                is_somewhere((data, &old), &folder, length(&parts.bytes))?;
            }
            Ok::<u64, Stop>(peak)
        });
        let watching = soon("nobody looks", || Ok(looked.load(Ordering::Relaxed)));
        let mut body = parts.merge_body();
        body["digest"] = json!(composite_of_hex(&parts.chunks()));
        let answer = watching.and_then(|()| server.ask(&merge(server, &body)?));
        merged.store(true, Ordering::Relaxed);
        let peak = watch.join().map_err(|_| breach("the watch broke"));
        (answer, peak)
    });
    let answer = answer?.expect(201)?;
    has_members(&answer.json()?, &json!({"digest_format": "hex", "size": parts.bytes.len()}))?;
    parts.is_merged(server, &answer)?;
    let (peak, size) = (peak??, length(&parts.bytes));
    // Ledgers and folders take blocks too.
    let bound = size + length(parts.chunk(0)) + 64 * 1024;
    let what = format!("a merge of {size} bytes took {peak} on disk, more than a chunk on top");
    ensure(peak <= bound, what)
}

/// All bytes are in the parts, or the file is there as a whole, beside `old` ones.
fn is_somewhere((data, old): (&Path, &[PathBuf]), folder: &Path, size: u64) -> Step {
    let size_of = |path: PathBuf| fs::metadata(path).map_or(0, |file| file.len());
    // One look is not one moment: a part may grow behind it and its source go before it.
    for _ in 0..5 {
        let parts: u64 = files_below(folder).into_iter().map(size_of).sum();
        let new = files_below(&data.join("files")).into_iter().filter(|path| !old.contains(path));
        if parts >= size || new.map(size_of).any(|found| found == size) {
            return Ok(());
        }
    }
    Err(breach("parts are gone and the file is not there"))
}
