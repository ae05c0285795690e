//! Crashes of crashes: a DELETE is cut off at any step, the upload of the same key is begun again,
//! and that life is cut off at any step, too. Bytes of the first life must never be taken for bytes
//! of the second one, whatever a power loss brings back.

use std::sync::Arc;

use super::{
    House, Setup, content,
    crash_points::{Aftermath, Death, HASH, LENGTH, Scene, Work, bytes, chunk_of, deaths, span},
    trace::{
        Loss, Remains, Step, Told, Trace, TraceState, TraceStorage, kept, losses, losses_since,
    },
};
use crate::{
    clock::{Clock, ManualClock, SystemClock},
    durable::Durability,
    hold::HoldError,
    ingest::IngestError,
    lock::NoFileLocks,
    upload::UploadId,
};

/// A life and the step behind which it is of interest.
struct Life {
    steps: Vec<Step>,
    from: usize,
    epoch: u64,
}

/// Two chunks and some bytes behind them, all of them other bytes; then a DELETE.
async fn first_life(setup: &Setup, clock: &ManualClock) -> Life {
    let (scene, other) = (Scene::new(setup, clock), content(LENGTH, 2));
    for index in [0, 1] {
        scene.put(index, chunk_of(&other, index)).await;
    }
    let id = scene.house.id_of(HASH);
    scene.push(&id, 8, &other[8..11]).await;
    let from = scene.trace.steps().len();
    scene.house.ingest.terminate(&id).await.unwrap();
    scene.house.settle().await;
    scene.house.stop.cancel();
    Life { steps: scene.trace.steps(), from, epoch: setup.epoch }
}

/// The key is used again, on what is left of the first life; gone behind `from`.
async fn second_life(first: &[Step], setup: &Setup, clock: &ManualClock) -> (Life, bool) {
    let remains = Remains::of(first, &Loss::default(), clock);
    let trace = Trace::behind(first.to_vec());
    let storage = TraceStorage::resumed(remains.storage, trace.clone(), remains.parts);
    let state = Arc::new(TraceState::new(remains.state, trace.clone()));
    let house = House::over(state, Arc::new(storage), Arc::new(NoFileLocks), (setup, clock));
    let scene = Scene { house, trace };
    let id = scene.house.id_of(HASH);
    let was_there = match scene.house.ingest.terminate(&id).await {
        Ok(()) => true,
        Err(IngestError::Hold(HoldError::Unknown)) => false,
        Err(error) => panic!("DELETE: {error}"),
    };
    scene.house.settle().await;
    let from = scene.trace.steps().len();
    // Not the first chunk: what lies in front of it would look like a tail.
    scene.put(2, chunk_of(&bytes(), 2)).await;
    scene.house.stop.cancel();
    (Life { steps: scene.trace.steps(), from, epoch: setup.epoch }, was_there)
}

/// The upload is brought to its end and has the bytes of the second life, or there is none.
async fn third_life(
    second: &Life,
    clock: &ManualClock,
    setup: &Setup,
    id: &UploadId,
    was_there: bool,
) -> usize {
    let mut crashes = 0;
    for end in second.from..=second.steps.len() {
        let (before, later) = second.steps.split_at(end);
        for loss in losses_since(before, second.from, span()) {
            for death in deaths(&loss) {
                // The power brings back what was deleted, ledger and all.
                if was_there && death == Death::Machine {
                    continue;
                }
                crashes += 1;
                let epoch = second.epoch + u64::from(death == Death::Machine);
                let setup = Setup { epoch, ..setup.clone() };
                let remains = Remains::of(before, &loss, clock);
                let locks = Arc::new(NoFileLocks);
                let house =
                    House::over(remains.state, Arc::new(remains.storage), locks, (&setup, clock));
                let told = before[second.from..].iter().filter_map(told).collect();
                let durability = setup.durability;
                let aftermath = Aftermath { house, told, later, death, durability };
                let mut lived = aftermath.promises_hold().await;
                if lived.is_ok() {
                    lived = aftermath.completes(&[Work::Offset(id.clone(), bytes())]).await;
                }
                aftermath.house.stop.cancel();
                if let Err(what) = lived {
                    let lost: Vec<_> = loss.steps.iter().map(|at| &before[*at]).collect();
                    panic!("{durability:?} {death:?}: {what}\nlost: {lost:#?}\n{before:#?}");
                }
            }
        }
    }
    crashes
}

fn told(step: &Step) -> Option<Told> {
    match step {
        Step::Told(told) => Some(told.clone()),
        _ => None,
    }
}

// spec: STORE-1, STORE-80
async fn live_twice(durability: Durability) {
    let setup = Setup { durability, ..Setup::default() };
    let clock = ManualClock::at(Clock::now(&SystemClock));
    let first = first_life(&setup, &clock).await;
    let (mut seconds, mut crashes) = (0, 0);
    for end in first.from..=first.steps.len() {
        let before = &first.steps[..end];
        for loss in losses(before, span()) {
            for death in deaths(&loss) {
                let epoch = first.epoch + u64::from(death == Death::Machine);
                let setup = Setup { epoch, ..setup.clone() };
                let left = kept(before, &loss);
                let (second, was_there) = second_life(&left, &setup, &clock).await;
                let id = Scene::new(&setup, &clock).house.id_of(HASH);
                seconds += 1;
                crashes += third_life(&second, &clock, &setup, &id, was_there).await;
            }
        }
    }
    println!("{durability:?}: {seconds} second lives, {crashes} crashes of them");
    assert!(seconds > 10 && crashes > 100, "{seconds} {crashes}");
}

#[tokio::test]
async fn a_key_that_is_used_again_never_gets_bytes_of_its_first_upload() {
    live_twice(Durability::None).await;
}

#[tokio::test]
async fn nor_when_finishes_are_flushed() {
    live_twice(Durability::Complete).await;
}

#[tokio::test]
async fn nor_when_answers_are_flushed() {
    live_twice(Durability::Ack).await;
}
