//! Joining partial uploads while the disk fails: for every call that it makes, the same story with
//! that call failing. The parts stay whole until the file is there, and asking again gives it.

use crate::{
    durable::Durability,
    ingest::{CreatedFinal, IngestError, NewFinal, NewUpload},
    merger::Partials,
    storage::Failure,
    testing::{Bench, Medium, Script, Setup, content, len},
    upload::{Concatenation, Finished, Length, Parts, UploadId},
};

/// Bytes of the partial uploads; together no multiple of the chunk size.
pub(super) const SIZES: [usize; 3] = [6, 9, 4];

pub(super) fn piece(index: usize) -> Vec<u8> {
    content(SIZES[index], u8::try_from(index + 1).unwrap())
}

pub(super) fn whole() -> Vec<u8> {
    (0..SIZES.len()).flat_map(piece).collect()
}

/// A partial upload of the piece, with so many bytes of it.
pub(super) async fn partial(bench: &Bench, index: usize, there: usize) -> UploadId {
    let length = Some(Length::new(len(&piece(index))).unwrap());
    let (metadata, concatenation) = (String::new(), Some(Concatenation::Partial));
    let (filename, media_type, owner) = (None, None, String::new());
    let new = NewUpload { length, metadata, filename, media_type, concatenation, owner };
    let created = bench.create_with(new, Script::of(&piece(index)[..there])).await.unwrap();
    assert!(created.appended.failure.is_none());
    created.id
}

pub(super) async fn partials(bench: &Bench) -> Vec<UploadId> {
    let mut ids = Vec::new();
    for (index, size) in SIZES.into_iter().enumerate() {
        ids.push(partial(bench, index, size).await);
    }
    ids
}

pub(super) async fn join(bench: &Bench, ids: &[UploadId]) -> Result<CreatedFinal, IngestError> {
    let parts = Parts { header: "final;".to_owned(), ids: ids.to_vec() };
    let (metadata, filename) = (String::new(), Some("world.txt".to_owned()));
    let (media_type, owner) = (None, String::new());
    let new = NewFinal { parts, metadata, filename, media_type, owner };
    bench.ingest.concatenate(new).await
}

pub(super) async fn finished(bench: &Bench, id: &UploadId) -> Option<Finished> {
    bench.ingest.status(id).await.ok()?.record.finished().cloned()
}

/// How the disk fails.
#[derive(Debug, Clone, Copy)]
pub(super) enum Trouble {
    Storage(Failure),
    ShortWrite,
    Ledger,
    Crash,
    LedgerCrash,
}

impl Trouble {
    pub(super) const ALL: [Self; 6] = [
        Self::Storage(Failure::NoSpace),
        Self::Storage(Failure::Device),
        Self::ShortWrite,
        Self::Ledger,
        Self::Crash,
        Self::LedgerCrash,
    ];

    pub(super) fn begin(self, bench: &Bench, nth: u64) {
        match self {
            Self::Storage(failure) => bench.faults.fail_any(nth, failure),
            Self::ShortWrite => bench.faults.cut_write(nth, Failure::NoSpace),
            Self::Crash => bench.faults.fail_any_from(nth, Failure::Device),
            Self::Ledger | Self::LedgerCrash => bench.ledgers.fail(nth),
        }
        if self.is_crash() {
            bench.ledgers.crash();
        }
    }

    pub(super) const fn is_crash(self) -> bool {
        matches!(self, Self::Crash | Self::LedgerCrash)
    }
}

/// Ends what fails, and perhaps the process; true if nothing failed any more.
pub(super) async fn recover(bench: &mut Bench, restarts: bool) -> bool {
    bench.settle().await;
    let nothing_failed = bench.faults.failed().is_empty() && bench.ledgers.failed() == 0;
    if restarts {
        bench.reopen().await;
    }
    bench.faults.clear();
    bench.ledgers.clear();
    if restarts {
        bench.reopen().await;
    }
    nothing_failed
}

/// A client that asks for a file of complete parts, and asks again where that failed.
async fn asks_again(
    (medium, setup): (Medium, &Setup),
    (trouble, nth, restarts): (Trouble, u64, bool),
) -> bool {
    let what = format!("{trouble:?} {nth} {restarts} {setup:?}");
    let mut bench = Bench::build(medium, |own| *own = setup.clone());
    let ids = partials(&bench).await;
    bench.settle().await;
    trouble.begin(&bench, nth);
    let joined = join(&bench, &ids).await;
    let nothing_failed = recover(&mut bench, restarts).await;
    assert!(!nothing_failed || joined.is_ok(), "{what}: {joined:?}");
    let consumes = setup.partials == Partials::Consume;
    let file = joined.as_ref().ok().map(|created| created.id.clone());
    if let Some(file) = &file {
        // What a client was told to wait for is finished whenever somebody looks.
        bench.ingest.head(file).await.unwrap_or_else(|error| panic!("{what}: {error}"));
        bench.settle().await;
    }
    if file.is_none() || !consumes {
        for (index, id) in ids.iter().enumerate() {
            let head = bench.ingest.head(id).await;
            let head = head.unwrap_or_else(|error| panic!("{what}: {joined:?}: {error}"));
            assert_eq!(head.offset.get(), len(&piece(index)), "{what}: {joined:?}");
        }
    }
    let file = if let Some(file) = file {
        file
    } else {
        let again = join(&bench, &ids).await;
        again.unwrap_or_else(|error| panic!("{what}: {joined:?}: {error}")).id
    };
    bench.settle().await;
    assert_eq!(bench.download(&file).await, whole(), "{what}");
    assert!(bench.parts(&file).is_empty(), "{what}");
    nothing_failed
}

/// A client that was told to wait: the last bytes of the last part come while the disk fails.
async fn waits(
    (medium, setup): (Medium, &Setup),
    (trouble, nth, restarts): (Trouble, u64, bool),
) -> bool {
    let what = format!("{trouble:?} {nth} {restarts} {setup:?}");
    let mut bench = Bench::build(medium, |own| *own = setup.clone());
    let mut ids = partials(&bench).await;
    ids[1] = partial(&bench, 1, 5).await;
    let file = join(&bench, &ids).await.unwrap();
    assert!(file.finished.is_none());
    bench.settle().await;
    trouble.begin(&bench, nth);
    let pushed = bench.push(&ids[1], 5, &piece(1)[5..]).await;
    let nothing_failed = recover(&mut bench, restarts).await;
    assert!(!nothing_failed || pushed.is_ok(), "{what}: {pushed:?}");
    if finished(&bench, &file.id).await.is_none() {
        for (index, id) in ids.iter().enumerate() {
            let head = bench.ingest.head(id).await;
            let at = head.unwrap_or_else(|e| panic!("{what}: {e}")).offset.get();
            assert!(index == 1 || at == len(&piece(index)), "{what}: part {index} at {at}");
            if at < len(&piece(index)) {
                let rest = &piece(index)[usize::try_from(at).unwrap()..];
                bench.push(id, at, rest).await.unwrap_or_else(|e| panic!("{what}: {e}"));
            }
        }
    }
    bench.ingest.head(&file.id).await.unwrap_or_else(|error| panic!("{what}: {error}"));
    bench.settle().await;
    assert_eq!(bench.download(&file.id).await, whole(), "{what}");
    assert!(bench.parts(&file.id).is_empty(), "{what}");
    nothing_failed
}

async fn survive(medium: Medium, durability: Durability, partials: Partials, troubles: &[Trouble]) {
    let setup = Setup { durability, partials, ..Setup::default() };
    for trouble in troubles.iter().copied() {
        for restarts in [false, true] {
            if trouble.is_crash() && !restarts {
                continue;
            }
            let mut nth = 1;
            while !asks_again((medium, &setup), (trouble, nth, restarts)).await {
                nth += 1;
            }
            let mut nth = 1;
            while !waits((medium, &setup), (trouble, nth, restarts)).await {
                nth += 1;
            }
        }
    }
}

const DURABILITIES: [Durability; 3] = [Durability::None, Durability::Complete, Durability::Ack];

#[tokio::test]
async fn whatever_fails_while_uploads_are_joined_they_stay_whole() {
    for durability in DURABILITIES {
        survive(Medium::Memory, durability, Partials::Keep, &Trouble::ALL).await;
    }
    let troubles = [Trouble::Storage(Failure::Device), Trouble::Crash];
    survive(Medium::Local, Durability::None, Partials::Keep, &troubles).await;
}

// spec: STORE-32
#[tokio::test]
async fn whatever_fails_parts_are_consumed_only_once_the_file_is_there() {
    for durability in DURABILITIES {
        survive(Medium::Memory, durability, Partials::Consume, &Trouble::ALL).await;
    }
    let troubles = [Trouble::Storage(Failure::Device), Trouble::Crash, Trouble::LedgerCrash];
    survive(Medium::Local, Durability::None, Partials::Consume, &troubles).await;
}
