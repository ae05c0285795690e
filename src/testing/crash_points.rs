//! Every moment of a story at which the process or the machine can die, and every way in which a
//! dying machine can lose what no flush has put on the disk: the next start must find nothing lost
//! that was promised, no wrong byte, and an upload that can be completed.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use super::{
    Frame, House, Script, Setup, chunk, content, layout,
    trace::{Loss, Remains, Span, Step, Told, Trace, TraceState, TraceStorage, losses},
};
use crate::{
    clock::{Clock, ManualClock, SystemClock},
    durable::Durability,
    hold::HoldError,
    ingest::{IngestError, MergeOutcome, NewFinal, NewUpload, View},
    lock::NoFileLocks,
    state::MemoryState,
    storage::MemoryStorage,
    upload::{
        Checksum, ChecksumAlgorithm, ChecksumDemand, Concatenation, IdSecret, Length, PartId,
        Parts, Sha256Digest, UploadId,
    },
};

pub(super) const HASH: &str = "00112233445566778899aabbccddeeff";
/// The bytes of a file: three chunks of four, and two bytes.
pub(super) const LENGTH: usize = 14;

pub(super) fn bytes() -> Vec<u8> {
    content(LENGTH, 1)
}

pub(super) fn chunk_of(bytes: &[u8], index: u64) -> &[u8] {
    let at = usize::try_from(index).unwrap() * 4;
    &bytes[at..(at + 4).min(bytes.len())]
}

/// What a story leaves to be completed.
#[derive(Debug, Clone)]
pub(super) enum Work {
    /// Goes on from the offset that it is told.
    Offset(UploadId, Vec<u8>),
    /// The same, and it never is a file by itself.
    Partial(UploadId, Vec<u8>),
    /// Sends the chunks that are missing, and merges.
    Chunks(UploadId),
    /// Was deleted, or is about to be.
    Gone(UploadId),
    /// Completes by itself once its parts have.
    Final(UploadId, Vec<u8>),
}

/// A server that writes down its steps.
pub(super) struct Scene {
    pub(super) house: House,
    pub(super) trace: Trace,
}

impl Scene {
    pub(super) fn new(setup: &Setup, clock: &ManualClock) -> Self {
        let (trace, now) = (Trace::default(), clock.clone());
        let storage = MemoryStorage::new(move || now.now());
        let storage = Arc::new(TraceStorage::new(storage, trace.clone()));
        let state = Arc::new(MemoryState::new(IdSecret::new([7; 32])));
        let state = Arc::new(TraceState::new(state, trace.clone()));
        let house = House::over(state, storage, Arc::new(NoFileLocks), (setup, clock));
        Self { house, trace }
    }

    pub(super) async fn push(&self, id: &UploadId, offset: usize, bytes: &[u8]) {
        let script = Script::of(bytes);
        let at = u64::try_from(offset).unwrap();
        let appended = self.house.append(id, at, script).await.unwrap();
        assert!(appended.failure.is_none(), "{appended:?}");
        let (id, offset) = (id.clone(), appended.offset.get());
        self.trace.told(Told::Offset { id: id.clone(), offset });
        if appended.finished.is_some() {
            self.trace.told(Told::Finished { id });
        }
        self.house.settle().await;
    }

    /// Bytes from 3 to 10 come, and whoever looks sees two whole chunks while their sender stalls.
    async fn watch(&self, id: &UploadId, bytes: &[u8]) {
        let stalled = Script::in_frames(&bytes[3..10], 2).unannounced();
        let stalled = stalled.then(Frame::Stall, 0);
        let (house, own) = (self.house.clone(), id.clone());
        let append = tokio::spawn(async move { house.append(&own, 3, stalled).await });
        let mut view = self.house.status(id).await;
        while view.record.chunks().sealed() < 2 {
            tokio::time::sleep(Duration::from_millis(1)).await;
            view = self.house.status(id).await;
        }
        for (index, sealed) in view.record.chunks().iter() {
            let (id, digest) = (id.clone(), sealed.digest.unwrap());
            self.trace.told(Told::Chunk { id, index: index.get(), digest });
        }
        self.trace.told(Told::Offset { id: id.clone(), offset: view.offset.get() });
        let offset = self.house.head(id).await;
        self.trace.told(Told::Offset { id: id.clone(), offset });
        append.await.unwrap().unwrap();
    }

    pub(super) async fn put(&self, index: u64, bytes: &[u8]) {
        self.house.put(HASH, (index, bytes), layout(4, 14, 4)).await.unwrap();
        let id = self.house.id_of(HASH);
        self.trace.told(Told::Chunk { id, index, digest: Sha256Digest::of(bytes) });
        self.house.settle().await;
    }

    async fn part(&self, bytes: &[u8]) -> UploadId {
        let length = Some(Length::new(super::len(bytes)).unwrap());
        let new = NewUpload {
            length,
            metadata: String::new(),
            filename: None,
            media_type: None,
            concatenation: Some(Concatenation::Partial),
            owner: String::new(),
        };
        let id = self.house.create_with(new, Script::of(&[])).await.unwrap().id;
        self.trace.told(Told::Begun { id: id.clone() });
        id
    }
}

#[derive(Debug, Clone, Copy)]
enum Story {
    Append,
    AppendAtOnce,
    Whole,
    Watched,
    Checked,
    Chunks,
    Replace,
    Mixed,
    Join,
    JoinUnfinished,
    Delete,
    DeleteFinished,
}

impl Story {
    const ALL: [Self; 12] = [
        Self::Append,
        Self::AppendAtOnce,
        Self::Whole,
        Self::Watched,
        Self::Checked,
        Self::Chunks,
        Self::Replace,
        Self::Mixed,
        Self::Join,
        Self::JoinUnfinished,
        Self::Delete,
        Self::DeleteFinished,
    ];

    async fn run(self, scene: &Scene) -> Vec<Work> {
        match self {
            Self::Append | Self::AppendAtOnce | Self::Watched | Self::Checked => {
                self.append(scene).await
            }
            Self::Whole => Self::whole(scene).await,
            Self::Chunks | Self::Replace | Self::Mixed => self.chunks(scene).await,
            Self::Join | Self::JoinUnfinished => self.join(scene).await,
            Self::Delete | Self::DeleteFinished => self.delete(scene).await,
        }
    }

    async fn append(self, scene: &Scene) -> Vec<Work> {
        let (id, bytes) = (scene.house.create(Some(14)).await, bytes());
        scene.trace.told(Told::Begun { id: id.clone() });
        match self {
            Self::AppendAtOnce => scene.push(&id, 0, &bytes).await,
            Self::Watched => {
                scene.push(&id, 0, &bytes[..3]).await;
                scene.watch(&id, &bytes).await;
                scene.push(&id, 10, &bytes[10..]).await;
            }
            Self::Checked => {
                scene.push(&id, 0, &bytes[..3]).await;
                let wrong = Checksum::of(ChecksumAlgorithm::Sha256, b"other bytes");
                let demand = ChecksumDemand::Checksum(wrong);
                let script = Script::of(&bytes[3..13]);
                let refused = scene.house.append_checked(&id, 3, script, demand).await;
                assert!(refused.is_err() || refused.is_ok_and(|done| done.failure.is_some()));
                scene.push(&id, 3, &bytes[3..]).await;
            }
            _ => {
                for (from, to) in [(0, 3), (3, 4), (4, 9), (9, 13), (13, 14)] {
                    scene.push(&id, from, &bytes[from..to]).await;
                }
            }
        }
        vec![Work::Offset(id, bytes)]
    }

    /// All bytes of an upload of one chunk come in one request.
    async fn whole(scene: &Scene) -> Vec<Work> {
        let (id, bytes) = (scene.house.create(Some(4)).await, content(4, 6));
        scene.trace.told(Told::Begun { id: id.clone() });
        scene.push(&id, 0, &bytes).await;
        let steps = scene.trace.steps();
        let is_whole = |step: &Step| matches!(step, Step::Name { part: PartId::WHOLE, .. });
        assert!(steps.iter().any(is_whole), "it came another way: {steps:?}");
        vec![Work::Offset(id, bytes)]
    }

    async fn chunks(self, scene: &Scene) -> Vec<Work> {
        let (bytes, other) = (bytes(), content(LENGTH, 2));
        match self {
            Self::Mixed => {
                scene.put(0, chunk_of(&bytes, 0)).await;
                scene.put(2, chunk_of(&bytes, 2)).await;
                let id = scene.house.id_of(HASH);
                scene.push(&id, 4, &bytes[4..13]).await;
                scene.push(&id, 13, &bytes[13..]).await;
                return vec![Work::Offset(id, bytes)];
            }
            Self::Replace => {
                for index in [0, 1, 2] {
                    scene.put(index, chunk_of(&other, index)).await;
                }
                for index in [1, 0, 2, 3] {
                    scene.put(index, chunk_of(&bytes, index)).await;
                }
            }
            _ => {
                for index in [3, 1, 0, 2] {
                    scene.put(index, chunk_of(&bytes, index)).await;
                }
            }
        }
        let id = scene.house.id_of(HASH);
        scene.house.merge(&id).await.unwrap();
        scene.trace.told(Told::Finished { id: id.clone() });
        scene.house.settle().await;
        vec![Work::Chunks(id)]
    }

    async fn join(self, scene: &Scene) -> Vec<Work> {
        let pieces = [content(6, 3), content(5, 4)];
        let mut ids = Vec::new();
        for piece in &pieces {
            ids.push(scene.part(piece).await);
        }
        scene.push(&ids[0], 0, &pieces[0]).await;
        if matches!(self, Self::Join) {
            scene.push(&ids[1], 0, &pieces[1]).await;
        }
        let parts = Parts { header: "final;".to_owned(), ids: ids.clone() };
        let (metadata, filename) = (String::new(), Some("world.txt".to_owned()));
        let new = NewFinal { parts, metadata, filename, media_type: None, owner: String::new() };
        let made = scene.house.ingest.concatenate(new).await.unwrap();
        let id = made.id;
        scene.trace.told(Told::Begun { id: id.clone() });
        if made.finished.is_some() {
            scene.trace.told(Told::Finished { id: id.clone() });
        }
        scene.house.settle().await;
        if matches!(self, Self::JoinUnfinished) {
            scene.push(&ids[1], 0, &pieces[1]).await;
        }
        let [first, second] = [ids[0].clone(), ids[1].clone()];
        let whole = pieces.concat();
        let [one, two] = pieces;
        vec![Work::Partial(first, one), Work::Partial(second, two), Work::Final(id, whole)]
    }

    async fn delete(self, scene: &Scene) -> Vec<Work> {
        let (id, bytes) = (scene.house.create(Some(14)).await, bytes());
        let to = if matches!(self, Self::DeleteFinished) { 14 } else { 9 };
        scene.push(&id, 0, &bytes[..to]).await;
        scene.house.ingest.terminate(&id).await.unwrap();
        scene.trace.told(Told::Deleted { id: id.clone() });
        scene.house.settle().await;
        vec![Work::Gone(id)]
    }
}

/// What kind of end a server met.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Death {
    /// Of the process.
    Process,
    /// Of the machine.
    Machine,
}

/// A server on what is left.
pub(super) struct Aftermath<'a> {
    pub(super) house: House,
    pub(super) told: Vec<Told>,
    /// What the story tells later, which may be true already.
    pub(super) later: &'a [Step],
    pub(super) death: Death,
    pub(super) durability: Durability,
}

impl Aftermath<'_> {
    /// Must an answer of this kind still be true?
    fn binds(&self, told: &Told) -> bool {
        match (self.death, self.durability, told) {
            (Death::Process, ..) => true,
            // What is gone may come back whole: no flush follows an unlink.
            (_, Durability::None, _) | (.., Told::Deleted { .. }) => false,
            (_, Durability::Complete, told) => matches!(told, Told::Finished { .. }),
            (_, Durability::Ack, _) => true,
        }
    }

    /// May a finished file have lost bytes?
    fn may_be_lost(&self) -> bool {
        self.death == Death::Machine && self.durability == Durability::None
    }

    pub(super) async fn look(&self, id: &UploadId) -> Result<Option<View>, String> {
        match self.house.ingest.status(id).await {
            Ok(view) => Ok(Some(view)),
            Err(IngestError::Hold(HoldError::Unknown)) => Ok(None),
            // A file whose DELETE was cut off behind its withdrawal.
            Err(IngestError::Hold(HoldError::Expired)) if self.is_given_up(id) => Ok(None),
            // Nothing was promised; what cannot be proven is not served.
            Err(IngestError::Hold(HoldError::Damaged(_))) if self.may_be_lost() => Ok(None),
            Err(error) => Err(format!("status: {error}")),
        }
    }

    /// Everything that binds is still true.
    pub(super) async fn promises_hold(&self) -> Result<(), String> {
        let gone: BTreeSet<_> = self.all_told().filter_map(deleted).collect();
        for told in self.told.iter().filter(|told| self.binds(told)) {
            match told {
                Told::Deleted { id } => {
                    ensure(self.look(id).await?.is_none(), "a deleted upload is back")?;
                }
                other if gone.contains(other.id()) => {}
                Told::Begun { id } => {
                    ensure(self.look(id).await?.is_some(), "an upload is lost")?;
                }
                Told::Offset { id, offset } => {
                    let view = self.look(id).await?.ok_or("an upload with bytes is lost")?;
                    let finished = view.record.finished().is_some();
                    let head = if finished { view.offset.get() } else { self.head(id).await? };
                    ensure(head >= *offset, &format!("offset {offset} fell back to {head}"))?;
                }
                Told::Chunk { id, index, .. } => self.chunk_holds(id, *index).await?,
                Told::Finished { id } => {
                    let view = self.look(id).await?.ok_or("a finished upload is lost")?;
                    ensure(view.record.finished().is_some(), "a finished upload is unfinished")?;
                }
            }
        }
        Ok(())
    }

    /// Is it deleted sooner or later?
    fn is_given_up(&self, id: &UploadId) -> bool {
        self.all_told().filter_map(deleted).any(|given_up| given_up == *id)
    }

    fn all_told(&self) -> impl Iterator<Item = &Told> {
        let later = self.later.iter().filter_map(|step| match step {
            Step::Told(told) => Some(told),
            _ => None,
        });
        self.told.iter().chain(later)
    }

    /// The chunk is there, as it was told last or as it becomes later in the story.
    async fn chunk_holds(&self, id: &UploadId, index: u64) -> Result<(), String> {
        let view = self.look(id).await?.ok_or("an upload with chunks is lost")?;
        if view.record.finished().is_some() {
            return Ok(());
        }
        let told = |told: &Told| match told {
            Told::Chunk { index: other, digest, .. } if *other == index => Some(*digest),
            _ => None,
        };
        let last = self.told.iter().filter_map(told).next_back();
        let later = self.all_told().skip(self.told.len()).filter_map(told);
        let end = Sha256Digest::of(chunk_of(&bytes(), index));
        let allowed: Vec<_> = last.into_iter().chain(later).chain([end]).collect();
        // Only a look that takes the upload verifies what is in doubt.
        self.head(id).await?;
        let view = self.look(id).await?.ok_or("an upload with chunks is lost")?;
        let sealed = view.record.chunks().get(chunk(index)).and_then(|sealed| sealed.digest);
        let inside = view.offset.get() >= (index + 1) * 4;
        ensure(
            sealed.is_some_and(|digest| allowed.contains(&digest)) || inside,
            &format!("chunk {index} is lost: {sealed:?}"),
        )
    }

    async fn head(&self, id: &UploadId) -> Result<u64, String> {
        let head = self.house.ingest.head(id).await.map_err(|error| format!("HEAD: {error}"))?;
        Ok(head.offset.get())
    }

    /// What is left can be brought to its end, and then has the right bytes.
    pub(super) async fn completes(&self, work: &[Work]) -> Result<(), String> {
        let mut lost_part = false;
        for work in work {
            match work {
                Work::Offset(id, bytes) | Work::Partial(id, bytes) => {
                    let there = self.go_on(id, bytes).await?;
                    lost_part |= !there;
                    if there && matches!(work, Work::Offset(..)) {
                        self.is_file(id, bytes).await?;
                    }
                }
                Work::Chunks(id) => self.send_chunks(id).await?,
                Work::Gone(id) => self.delete(id).await?,
                Work::Final(id, bytes) => {
                    // As the reaper does when it finds one.
                    self.house.merger.concatenate_soon(id);
                    self.house.settle().await;
                    self.house.merger.look_again().await;
                    self.house.settle().await;
                    // A final upload that nobody was told of need not complete.
                    let begun = Told::Begun { id: id.clone() };
                    let promised = self.told.contains(&begun) && self.binds(&begun);
                    if promised && !lost_part {
                        self.is_file(id, bytes).await?;
                    }
                }
            }
        }
        Ok(())
    }

    /// Sends what is missing; `false` if there is no such upload.
    async fn go_on(&self, id: &UploadId, bytes: &[u8]) -> Result<bool, String> {
        if self.look(id).await?.is_none() {
            return Ok(false);
        }
        let head = self.head(id).await?;
        let rest = bytes.get(usize::try_from(head).unwrap()..).ok_or("beyond the end")?;
        let appended = self.house.append(id, head, Script::of(rest)).await;
        let appended = appended.map_err(|error| format!("PATCH at {head}: {error}"))?;
        ensure(appended.failure.is_none(), &format!("{appended:?}"))?;
        ensure(appended.offset.get() == super::len(bytes), &format!("{appended:?}"))?;
        self.house.settle().await;
        Ok(true)
    }

    async fn send_chunks(&self, id: &UploadId) -> Result<(), String> {
        let (bytes, view) = (bytes(), self.look(id).await?);
        let damaged = matches!(
            self.house.ingest.status(id).await,
            Err(IngestError::Hold(HoldError::Damaged(_)))
        );
        if damaged {
            return ensure(self.may_be_lost(), "damaged");
        }
        if view.is_none_or(|view| view.record.finished().is_none()) {
            for index in 0..4 {
                let put = self.house.put(HASH, (index, chunk_of(&bytes, index)), layout(4, 14, 4));
                put.await.map_err(|error| format!("chunk {index}: {error}"))?;
                self.house.settle().await;
            }
            let merged = self.house.merge(id).await.map_err(|error| format!("merge: {error}"))?;
            ensure(!matches!(merged, MergeOutcome::Running), "the merge does not end")?;
        }
        self.is_file(id, &bytes).await
    }

    async fn delete(&self, id: &UploadId) -> Result<(), String> {
        match self.house.ingest.terminate(id).await {
            Ok(()) | Err(IngestError::Hold(HoldError::Unknown | HoldError::Expired)) => {}
            Err(error) => return Err(format!("DELETE: {error}")),
        }
        ensure(self.look(id).await?.is_none(), "deleted, and there")
    }

    async fn is_file(&self, id: &UploadId, bytes: &[u8]) -> Result<(), String> {
        let view = self.look(id).await?.ok_or("completed, and gone")?;
        ensure(view.record.finished().is_some(), "completed, and not finished")?;
        ensure(self.house.download(id).await == bytes, "the file has other bytes")
    }
}

fn deleted(told: &Told) -> Option<UploadId> {
    match told {
        Told::Deleted { id } => Some(id.clone()),
        _ => None,
    }
}

fn ensure(holds: bool, what: &str) -> Result<(), String> {
    if holds { Ok(()) } else { Err(what.to_owned()) }
}

/// `PITON_CRASH_POINTS=all` asks for the long run.
#[allow(clippy::disallowed_methods, reason = "who runs the tests says how long they may take")]
pub(super) fn span() -> Span {
    let all = std::env::var("PITON_CRASH_POINTS").is_ok_and(|wanted| wanted == "all");
    if all { Span::Long } else { Span::Short }
}

/// How many crashes were lived through.
#[derive(Debug, Default)]
struct Count {
    steps: usize,
    crashes: usize,
}

// spec: STORE-7, STORE-8
async fn survives(story: Story, durability: Durability) -> Count {
    let setup = Setup { durability, chunks_per_part: 2, ..Setup::default() };
    let clock = ManualClock::at(Clock::now(&SystemClock));
    let scene = Scene::new(&setup, &clock);
    let work = story.run(&scene).await;
    scene.house.settle().await;
    scene.house.stop.cancel();
    let steps = scene.trace.steps();
    let mut count = Count { steps: steps.len(), crashes: 0 };
    for end in 0..=steps.len() {
        let (before, later) = steps.split_at(end);
        for loss in losses(before, span()) {
            for death in deaths(&loss) {
                count.crashes += 1;
                // After the death of the machine nothing unverified is believed.
                let epoch = u64::from(death == Death::Machine);
                let setup = Setup { epoch, ..setup.clone() };
                let remains = Remains::of(before, &loss, &clock);
                let (storage, locks) = (Arc::new(remains.storage), Arc::new(NoFileLocks));
                let house = House::over(remains.state, storage, locks, (&setup, &clock));
                let aftermath = Aftermath { house, told: remains.told, later, death, durability };
                let mut lived = aftermath.promises_hold().await;
                if lived.is_ok() {
                    lived = aftermath.completes(&work).await;
                }
                aftermath.house.stop.cancel();
                if let Err(what) = lived {
                    let lost: Vec<_> = loss.steps.iter().map(|at| &before[*at]).collect();
                    panic!(
                        "{story:?} {durability:?} {death:?} after step {end}: {what}\n\
                         zeros: {}, lost: {lost:#?}\nsteps: {before:#?}",
                        loss.zeros
                    );
                }
            }
        }
    }
    count
}

/// A process that dies takes nothing with it.
pub(super) fn deaths(loss: &Loss) -> Vec<Death> {
    if loss.steps.is_empty() { vec![Death::Process, Death::Machine] } else { vec![Death::Machine] }
}

async fn all_survive(durability: Durability) {
    let mut all = Count::default();
    for story in Story::ALL {
        let count = survives(story, durability).await;
        all.steps += count.steps;
        all.crashes += count.crashes;
    }
    println!("{durability:?}: {} steps, {} crashes", all.steps, all.crashes);
    // A trace that writes nothing down would prove nothing.
    assert!(all.steps > 100 && all.crashes > 2_000, "{all:?}");
}

#[tokio::test]
async fn every_crash_point_without_flushes() {
    all_survive(Durability::None).await;
}

#[tokio::test]
async fn every_crash_point_when_finishes_are_flushed() {
    all_survive(Durability::Complete).await;
}

#[tokio::test]
async fn every_crash_point_when_answers_are_flushed() {
    all_survive(Durability::Ack).await;
}
