//! A finish that a power loss took the word of: its file, and the name that it was to have, say it.

use std::{sync::Arc, time::Duration};

use super::{
    House, Setup,
    crash_points::{Scene, bytes},
    trace::{Loss, Remains, Span, Step, losses},
};
use crate::{
    clock::{Clock, ManualClock, SystemClock},
    durable::Durability,
    hold::{Hashing, HoldError},
    ingest::{IngestError, MergeOutcome},
    lock::NoFileLocks,
    upload::{Fact, FinalName, UploadId},
};

/// An upload that was answered as finished.
struct Finish {
    scene: Scene,
    setup: Setup,
    clock: ManualClock,
    id: UploadId,
    name: FinalName,
}

impl Finish {
    async fn with(setup: Setup) -> Self {
        let clock = ManualClock::at(Clock::now(&SystemClock));
        let scene = Scene::new(&setup, &clock);
        let id = scene.house.create(Some(14)).await;
        scene.push(&id, 0, &bytes()).await;
        let view = scene.house.status(&id).await;
        let name = view.record.finished().unwrap().name.clone();
        Self { scene, setup, clock, id, name }
    }

    /// The number of the step that says so.
    fn word(&self) -> usize {
        let says_so = |step: &Step| match step {
            Step::Facts { facts, .. } => {
                facts.iter().any(|stamped| matches!(stamped.fact, Fact::Finished { .. }))
            }
            _ => false,
        };
        self.scene.trace.steps().iter().position(says_so).unwrap()
    }

    /// Can a power loss take that word?
    fn may_be_lost(&self) -> bool {
        let word = self.word();
        let losses = losses(&self.scene.trace.steps(), Span::Short);
        losses.iter().any(|loss| loss.steps.contains(&word))
    }

    /// A server on what is left then.
    fn after(&self) -> House {
        let loss = Loss { steps: [self.word()].into(), zeros: false };
        let remains = Remains::of(&self.scene.trace.steps(), &loss, &self.clock);
        let setup = Setup { epoch: 1, ..self.setup.clone() };
        let (storage, locks) = (Arc::new(remains.storage), Arc::new(NoFileLocks));
        House::over(remains.state, storage, locks, (&setup, &self.clock))
    }
}

fn promising(durability: Durability) -> Setup {
    Setup { durability, ..Setup::default() }
}

// spec: STORE-100
#[tokio::test]
async fn a_power_loss_that_takes_the_word_of_a_finish_takes_nothing_else() {
    for durability in [Durability::Complete, Durability::Ack] {
        let finish = Finish::with(promising(durability)).await;
        assert!(!finish.may_be_lost(), "an answer waits for it; the power may fail before that");
        let id = &finish.id;

        let view = finish.after().status(id).await;
        assert_eq!(view.record.finished().unwrap().name, finish.name);
        assert_eq!(finish.after().head(id).await, 14);
        assert_eq!(finish.after().download(id).await, bytes());
        let merged = finish.after().merge(id).await.unwrap();
        assert!(matches!(merged, MergeOutcome::AlreadyMerged(file) if file.name == finish.name));
    }
}

// spec: STORE-100
#[tokio::test]
async fn who_deletes_it_then_leaves_no_file() {
    let finish = Finish::with(promising(Durability::Complete)).await;
    let house = finish.after();
    house.ingest.terminate(&finish.id).await.unwrap();
    assert_eq!(house.storage().finished_size(&finish.name).unwrap(), None);
    let looked = house.ingest.status(&finish.id).await;
    assert!(matches!(looked, Err(IngestError::Hold(HoldError::Unknown))));
}

// spec: STORE-100
#[tokio::test]
async fn a_finish_is_written_down_before_it_is_answered() {
    for hashing in [Hashing::Off, Hashing::Sha256] {
        let setup = Setup { hashing, ..promising(Durability::Complete) };
        assert!(!Finish::with(setup).await.may_be_lost());
    }
}

// spec: STORE-100
#[tokio::test]
async fn the_word_is_on_the_disk_before_its_file_goes() {
    let keep_finished = Some(Duration::from_hours(2));
    let setup = Setup { keep_finished, ..promising(Durability::Complete) };
    let finish = Finish::with(setup).await;
    let word = finish.word();
    finish.clock.advance(Duration::from_hours(3));
    finish.scene.house.ingest.status(&finish.id).await.unwrap_err();
    let steps = finish.scene.trace.steps();
    let withdrawn = steps.iter().position(|step| matches!(step, Step::Withdraw { .. })).unwrap();
    let between = &steps[word..withdrawn];
    assert!(between.iter().any(|step| matches!(step, Step::SyncLedger { .. })), "{between:#?}");
}

// spec: STORE-112
#[tokio::test]
async fn a_delete_that_a_power_loss_cut_brings_nothing_back() {
    let finish = Finish::with(promising(Durability::Complete)).await;
    let (word, id) = (finish.word(), &finish.id);
    finish.scene.house.ingest.terminate(id).await.unwrap();
    let steps = finish.scene.trace.steps();
    let withdrawn = steps.iter().position(|step| matches!(step, Step::Withdraw { .. })).unwrap();
    let loss = Loss { steps: [word].into(), zeros: false };
    let remains = Remains::of(&steps[..=withdrawn], &loss, &finish.clock);
    let setup = Setup { epoch: 1, ..finish.setup.clone() };
    let (storage, locks) = (Arc::new(remains.storage), Arc::new(NoFileLocks));
    let house = House::over(remains.state, storage, locks, (&setup, &finish.clock));

    let gone = house.ingest.head(id).await;
    assert!(matches!(gone, Err(IngestError::Hold(HoldError::Expired))), "{gone:?}");
    assert!(house.storage().uploads().unwrap().is_empty());
    assert_eq!(house.storage().finished_size(&finish.name).unwrap(), None);
}
