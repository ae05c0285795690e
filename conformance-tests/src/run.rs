//! Asks all cases: side by side where they can, the others one by one behind them.

use std::{
    collections::VecDeque,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Mutex, PoisonError, mpsc},
    thread,
    time::{Duration, Instant},
};

use crate::{
    case::{Beside, Case, Wire},
    judge::{Bench, Judge},
    report::progress::Progress,
    server::Http,
    stop::{Stop, breach},
    verdict::Outcome,
};

/// The outcomes, in the order of the cases, and how often the shared server has ended by itself
/// without a row that tells it.
pub(crate) fn run(bench: &Bench, cases: &[&'static Case], jobs: usize) -> (Vec<Outcome>, u64) {
    let (alone, beside): (Vec<_>, Vec<_>) =
        cases.iter().copied().partition(|case| case.beside == Beside::Nothing);
    let mut progress = Progress::new(cases.len());
    let (mut outcomes, again) = side_by_side(bench, beside, jobs.max(1), &mut progress);
    let mut untold = bench.server.revived();
    for case in again.into_iter().chain(alone) {
        let (mut outcome, ended) = watch(bench, case);
        if ended {
            outcome.ended_the_server();
            // Whoever ends it alone has ended it beside others.
            untold = 0;
        }
        progress.step(&outcome);
        outcomes.push(outcome);
    }
    progress.close();
    let place = |outcome: &Outcome| cases.iter().position(|case| case.id == outcome.id);
    outcomes.sort_by_key(place);
    (outcomes, untold)
}

/// Asks several at a time. A server that ends takes the answers of all of them with it: what was
/// asked then is returned, to be asked again one by one.
fn side_by_side(
    bench: &Bench,
    cases: Vec<&'static Case>,
    jobs: usize,
    progress: &mut Progress,
) -> (Vec<Outcome>, Vec<&'static Case>) {
    let again = Mutex::new(Vec::new());
    let queue = Mutex::new(VecDeque::from(cases));
    let (done, finished) = mpsc::channel();
    let outcomes = thread::scope(|scope| {
        for _ in 0..jobs {
            let (queue, again, done) = (&queue, &again, done.clone());
            scope.spawn(move || {
                let next = || queue.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
                while let Some(case) = next() {
                    let (outcome, ended) = watch(bench, case);
                    if ended {
                        again.lock().unwrap_or_else(PoisonError::into_inner).push(case);
                        continue;
                    }
                    // Who listens outlives who sends.
                    let _ = done.send(outcome);
                }
            });
        }
        drop(done);
        let finished = finished.into_iter().inspect(|outcome| progress.step(outcome));
        finished.collect()
    });
    (outcomes, again.into_inner().unwrap_or_else(PoisonError::into_inner))
}

/// Asks one case; did the shared server end by itself meanwhile? It runs again then.
fn watch(bench: &Bench, case: &'static Case) -> (Outcome, bool) {
    let ends = bench.server.revived();
    let outcome = ask(bench, case);
    if outcome.findings.iter().any(|finding| finding.what.contains("no answer")) {
        // Its sockets may be gone before the process is.
        thread::sleep(Duration::from_millis(200));
    }
    (outcome, bench.server.revived() != ends)
}

/// Asks one case.
fn ask(bench: &Bench, case: &'static Case) -> Outcome {
    if let Some(why) = out_of_place(bench, case) {
        return Outcome::skipped(case, why);
    }
    let judge = Judge::new(bench);
    let began = Instant::now();
    let ended = catch_unwind(AssertUnwindSafe(|| (case.run)(&judge)));
    let ended = ended.unwrap_or_else(|_| Err(the_judge_broke()));
    let millis = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
    Outcome::new(case, ended, judge.into_advice(), millis)
}

fn the_judge_broke() -> Stop {
    breach("the judge itself broke while it asked this; that is a mistake of the suite")
}

/// Why a case says nothing about this server.
fn out_of_place(bench: &Bench, case: &Case) -> Option<String> {
    if case.wire == Wire::Http1 && bench.http == Http::Two {
        return Some("only HTTP/1.1 can say this".to_owned());
    }
    if let Some(extension) = case.extension()
        && !bench.extensions.iter().any(|one| one == extension)
    {
        return Some(format!("the extension {extension} is not offered"));
    }
    let chunks = case.id.starts_with("CHUNK-") || case.id.starts_with("CROSS-");
    if chunks && !bench.server.has_chunks() {
        return Some("there is no chunk flow, or no --chunks-url".to_owned());
    }
    if case.id.starts_with("FAULT-") && bench.launcher.is_none() {
        return Some("needs a server that the suite starts (--server-bin)".to_owned());
    }
    None
}
