//! The clock is put forward and back: nothing that lives expires, nothing that is dead revives.

use std::time::Duration;

use super::{DAY, NOTHING, Swept, regular, sweep};
use crate::{
    clock::Clock,
    hold::HoldError,
    ingest::IngestError,
    storage::{Failure, Operation},
    testing::{Bench, Medium, content},
    upload::{Timestamp, UploadId},
};

const HOUR: Duration = Duration::from_hours(1);
/// Two hours, two days, ten years.
const STEPS: [Duration; 3] =
    [Duration::from_hours(2), Duration::from_hours(48), Duration::from_hours(10 * 365 * 24)];

/// After this the machine's clock is believed.
const BELIEVED: Duration = Duration::from_mins(11);

/// An upload with six bytes, which expires after an hour.
async fn begun(bench: &Bench) -> UploadId {
    let id = bench.create(Some(14)).await;
    bench.push(&id, 0, &content(6, 1)).await.unwrap();
    id
}

async fn deadline(bench: &Bench, id: &UploadId) -> Timestamp {
    bench.status(id).await.deadline.unwrap()
}

async fn is_gone(bench: &Bench, id: &UploadId) {
    for asked in [bench.ingest.status(id).await.err(), bench.ingest.head(id).await.err()] {
        assert!(matches!(asked, Some(IngestError::Hold(HoldError::Expired))), "{asked:?}");
    }
}

/// Time passes, and the clock is looked at as a server does.
fn pass(bench: &Bench, span: Duration) {
    bench.clock.advance(span);
    bench.clock.now();
}

async fn restart(bench: &mut Bench) {
    bench.clock.restart();
    bench.reopen().await;
}

// spec: STORE-82
#[tokio::test]
async fn a_step_forward_expires_nothing_that_lives() {
    for step in STEPS {
        let bench = Bench::memory();
        let mut reaper = regular(&bench).await;
        let id = begun(&bench).await;
        let told = deadline(&bench, &id).await;
        bench.clock.step_forward(step);
        assert_eq!(deadline(&bench, &id).await, told, "it may be taken back");
        assert_eq!(reaper.sweep().await.unwrap(), NOTHING);
        pass(&bench, BELIEVED);
        assert_eq!(deadline(&bench, &id).await, told.plus(step), "it was not");
        assert_eq!(reaper.sweep().await.unwrap(), NOTHING);
        bench.push(&id, 6, &content(14, 1)[6..9]).await.unwrap();
        pass(&bench, Duration::from_mins(49));
        assert_eq!(bench.head(&id).await, 9);
        pass(&bench, HOUR);
        is_gone(&bench, &id).await;
    }
}

// spec: STORE-82, STORE-83
#[tokio::test]
async fn a_step_back_delays_nothing_and_revives_nothing() {
    for step in STEPS {
        let mut bench = Bench::local();
        let (dead, live) = (begun(&bench).await, begun(&bench).await);
        pass(&bench, HOUR / 2);
        bench.push(&live, 6, &content(14, 1)[6..9]).await.unwrap();
        pass(&bench, HOUR * 2 / 3);
        is_gone(&bench, &dead).await;
        let told = deadline(&bench, &live).await;
        bench.clock.step_back(step);
        is_gone(&bench, &dead).await;
        assert_eq!(deadline(&bench, &live).await, told);
        restart(&mut bench).await;
        is_gone(&bench, &dead).await;
        assert_eq!(bench.head(&live).await, 9);
        bench.clock.step_forward(step);
        restart(&mut bench).await;
        is_gone(&bench, &dead).await;
        assert_eq!(bench.head(&live).await, 9);
        pass(&bench, HOUR);
        is_gone(&bench, &live).await;
    }
}

// spec: STORE-83
#[tokio::test]
async fn what_is_told_of_an_end_is_written_down_however_it_is_asked() {
    for way in ["status", "head", "append", "delete", "download"] {
        let mut bench = Bench::local();
        let id = begun(&bench).await;
        pass(&bench, HOUR * 2);
        let told = match way {
            "status" => bench.ingest.status(&id).await.map(drop),
            "head" => bench.ingest.head(&id).await.map(drop),
            "append" => bench.push(&id, 6, b"x").await.map(drop),
            "delete" => bench.ingest.terminate(&id).await,
            _ => bench.ingest.download(&id).await.map(drop),
        };
        assert!(matches!(told, Err(IngestError::Hold(HoldError::Expired))), "{way}: {told:?}");
        bench.clock.step_back(DAY * 7);
        restart(&mut bench).await;
        is_gone(&bench, &id).await;
        assert!(bench.parts(&id).is_empty(), "{way}");
    }
}

/// Nobody who comes back within the time that a restart leaves finds less than was told.
// spec: STORE-3, STORE-83
#[tokio::test]
async fn an_end_that_breaks_off_takes_no_bytes_of_what_may_come_back() {
    let mut bench = Bench::local();
    let [unwritten, unremoved] = [begun(&bench).await, begun(&bench).await];
    pass(&bench, HOUR * 2);
    bench.faults.fail(Operation::RemoveUpload, 1, Failure::Device);
    is_gone(&bench, &unremoved).await;
    // Nothing works any more from the word on that it expired.
    bench.ledgers.fail(1);
    bench.ledgers.crash();
    assert!(bench.ingest.head(&unwritten).await.is_err());
    bench.faults.clear();
    bench.ledgers.clear();
    restart(&mut bench).await;
    assert_eq!(bench.head(&unwritten).await, 6);
    is_gone(&bench, &unremoved).await;
    bench.holds.remove_remains(&unremoved).unwrap();
    assert!(bench.parts(&unremoved).is_empty());
}

/// A machine whose clock has no battery counts from 1970 until the network tells the time.
// spec: STORE-84
#[tokio::test]
async fn a_clock_that_was_far_behind_at_the_start_takes_no_finished_file() {
    let mut bench = Bench::memory_with(|setup| setup.keep_finished = Some(DAY * 30));
    bench.clock.step_back(DAY * 365 * 20);
    restart(&mut bench).await;
    let finished = bench.create(Some(14)).await;
    bench.push(&finished, 0, &content(14, 1)).await.unwrap();
    bench.clock.step_forward(DAY * 365 * 20);
    pass(&bench, BELIEVED);
    restart(&mut bench).await;
    assert_eq!(sweep(&bench).await, NOTHING);
    pass(&bench, DAY * 29);
    assert_eq!(sweep(&bench).await, NOTHING);
    assert_eq!(bench.download(&finished).await, content(14, 1));
    pass(&bench, DAY * 2);
    assert_eq!(sweep(&bench).await.expired, 1);
}

// spec: STORE-84
#[tokio::test]
async fn what_was_over_at_the_start_has_an_hour_left() {
    for away in [DAY * 3, DAY * 3650] {
        let mut bench = Bench::memory_with(|setup| {
            setup.expire_after = DAY;
            setup.keep_finished = Some(DAY);
        });
        let (late, resumed) = (begun(&bench).await, begun(&bench).await);
        let finished = bench.create(Some(14)).await;
        bench.push(&finished, 0, &content(14, 1)).await.unwrap();
        // Nobody can tell a long absence from a clock that is wrong.
        pass(&bench, away);
        restart(&mut bench).await;
        assert_eq!(sweep(&bench).await, NOTHING);
        bench.push(&resumed, 6, &content(14, 1)[6..]).await.unwrap();
        assert_eq!(bench.download(&finished).await, content(14, 1));
        pass(&bench, HOUR + Duration::from_secs(2));
        assert_eq!(sweep(&bench).await, Swept { expired: 2, ..NOTHING });
        is_gone(&bench, &late).await;
        assert_eq!(bench.download(&resumed).await, content(14, 1));
    }
}

// spec: STORE-84
#[tokio::test]
async fn restarts_delay_no_end_that_comes_while_a_process_runs() {
    let mut bench = Bench::memory();
    let id = begun(&bench).await;
    let mut expired = Vec::new();
    for _ in 0..8 {
        pass(&bench, Duration::from_mins(9));
        expired.push(sweep(&bench).await.expired);
        restart(&mut bench).await;
    }
    assert_eq!(expired, [0, 0, 0, 0, 0, 0, 1, 0]);
    is_gone(&bench, &id).await;
}

// spec: STORE-85
#[tokio::test]
async fn what_a_wrong_clock_dated_ahead_counts_from_when_that_is_noticed() {
    for medium in Medium::BOTH {
        let mut bench = Bench::build(medium, |_| {});
        bench.clock.step_forward(DAY * 3650);
        bench.clock.restart();
        let (touched, rests) = (begun(&bench).await, begun(&bench).await);
        bench.clock.step_back(DAY * 3650);
        restart(&mut bench).await;
        bench.push(&touched, 6, &content(14, 1)[6..9]).await.unwrap();
        assert_eq!(deadline(&bench, &touched).await, bench.clock.now().plus(HOUR));
        // Files are dated by the machine of the test, which is right.
        if matches!(medium, Medium::Local) {
            continue;
        }
        assert_eq!(sweep(&bench).await, NOTHING);
        assert_eq!(deadline(&bench, &rests).await, bench.clock.now().plus(HOUR));
        pass(&bench, HOUR * 2);
        is_gone(&bench, &rests).await;
    }
}

/// A day in steps of ten minutes, with a clock that is put forward and back.
// spec: STORE-82, STORE-83, TUS-25
#[tokio::test]
async fn a_day_of_a_server() {
    let bench = Bench::memory_with(|setup| setup.keep_finished = Some(HOUR * 3));
    let mut reaper = regular(&bench).await;
    let bytes = content(14, 1);
    let (slow, rests) = (bench.create(Some(100)).await, begun(&bench).await);
    let (long, mut sent) = (content(100, 1), 0);
    let finished = bench.create(Some(14)).await;
    bench.push(&finished, 0, &bytes).await.unwrap();
    let mut told = deadline(&bench, &slow).await;
    for ten_minutes in 1..=144_u32 {
        match ten_minutes % 24 {
            3 => bench.clock.step_forward(DAY * 3650),
            4 => bench.clock.step_back(DAY * 3650),
            10 => bench.clock.step_back(HOUR * 2),
            16 => bench.clock.step_forward(HOUR * 2),
            _ => {}
        }
        pass(&bench, Duration::from_mins(10));
        reaper.sweep().await.unwrap();
        if ten_minutes % 5 == 0 {
            let at = u64::try_from(sent).unwrap();
            bench.push(&slow, at, &long[sent..=sent]).await.unwrap();
            sent += 1;
        }
        let now = deadline(&bench, &slow).await;
        assert!(now >= told, "{ten_minutes}: {now:?} after {told:?}");
        told = now;
        if ten_minutes > 7 {
            is_gone(&bench, &rests).await;
        }
        let there = bench.ingest.download(&finished).await.is_ok();
        assert_eq!(there, ten_minutes < 18, "{ten_minutes}");
    }
}
