//! Finishing without bytes, on a disk that fails.

use std::{io, ops::Range};

use crate::{
    durable::Durability,
    hold::Contents,
    ingest::{Claim, IngestError, MergeOutcome, NewChunked, Offer, Proof, View},
    merger::{Verify, duplicate::copy_file},
    storage::{Blob, Failure, Staged},
    testing::{Bench, Medium, Setup, chunk_put, content, layout},
    upload::{Phase, Sha256Digest, UploadId},
};

const HELD: &str = "00112233445566778899aabbccddeeff";
const WANTED: &str = "ffeeddccbbaa99887766554433221100";
const LENGTH: usize = 14;

/// Which call fails.
#[derive(Debug, Clone, Copy)]
enum Trouble {
    Storage(Failure),
    ShortWrite,
    Ledger,
    Crash,
    LedgerCrash,
}

impl Trouble {
    const ALL: [Self; 6] = [
        Self::Storage(Failure::NoSpace),
        Self::Storage(Failure::Device),
        Self::ShortWrite,
        Self::Ledger,
        Self::Crash,
        Self::LedgerCrash,
    ];

    fn begin(self, bench: &Bench, nth: u64) {
        match self {
            Self::Storage(failure) => bench.faults.fail_any(nth, failure),
            Self::ShortWrite => bench.faults.cut_write(nth, Failure::NoSpace),
            Self::Crash => bench.faults.fail_any_from(nth, Failure::Device),
            Self::Ledger | Self::LedgerCrash => bench.ledgers.fail(nth),
        }
        if matches!(self, Self::Crash | Self::LedgerCrash) {
            bench.ledgers.crash();
        }
    }

    /// Did anything fail?
    async fn end(self, bench: &mut Bench) -> bool {
        let happened = !bench.faults.failed().is_empty() || bench.ledgers.failed() > 0;
        bench.faults.clear();
        bench.ledgers.clear();
        if matches!(self, Self::Crash | Self::LedgerCrash) {
            bench.reopen().await;
        }
        happened
    }
}

fn digests() -> Vec<Sha256Digest> {
    content(LENGTH, 1).chunks(4).map(Sha256Digest::of).collect()
}

async fn put(bench: &Bench, hash: &str, index: u64) {
    let at = usize::try_from(index).unwrap() * 4;
    let bytes = &content(LENGTH, 1)[at..(at + 4).min(LENGTH)];
    bench.put(hash, (index, bytes), layout(4, 14, 4)).await.unwrap();
}

async fn begin(bench: &Bench, hash: &str) -> View {
    let layout = layout(4, 14, 4).unwrap();
    let key = chunk_put(hash, 0, Some(layout)).key;
    let new = NewChunked { key, metadata: String::new(), layout };
    bench.ingest.begin(new).await.unwrap().0
}

/// A bench with a finished file, and another upload that is offered it.
async fn with_offer(medium: Medium, change: impl FnOnce(&mut Setup)) -> (Bench, UploadId, Offer) {
    let bench = Bench::build(medium, |setup| {
        setup.contents = Contents::Noted;
        change(setup);
    });
    for index in 0..4 {
        put(&bench, HELD, index).await;
    }
    bench.merge(&bench.id_of(HELD)).await.unwrap();
    bench.settle().await;
    let view = begin(&bench, WANTED).await;
    let offer = offer(&bench, &view).await.expect("the content is held");
    (bench, view.id, offer)
}

async fn offer(bench: &Bench, view: &View) -> Option<Offer> {
    let claim = Claim { owner: "", chunks: &digests(), client: None };
    bench.ingest.offer(view, claim).await
}

async fn take(bench: &Bench, id: &UploadId, offer: &Offer) -> Result<MergeOutcome, IngestError> {
    let at = usize::try_from(offer.index.get()).unwrap() * 4;
    let bytes = content(LENGTH, 1);
    let proven = [&offer.nonce, &bytes[at..(at + 4).min(LENGTH)]].concat();
    let proof = Proof { owner: "", nonce: offer.nonce, digest: Sha256Digest::of(&proven) };
    bench.ingest.take_offer(id, proof, None).await
}

/// Sends what is missing and finishes.
async fn complete(bench: &Bench, id: &UploadId) {
    let record = bench.status(id).await.record;
    if record.phase() != Phase::Finished {
        for index in 0..4 {
            put(bench, WANTED, index).await;
        }
        bench.merge(id).await.unwrap();
    }
}

// spec: CHUNK-94
#[tokio::test]
async fn whatever_fails_no_byte_is_lost_or_wrong() {
    for (medium, durability) in [
        (Medium::Memory, Durability::Complete),
        (Medium::Memory, Durability::Ack),
        (Medium::Local, Durability::None),
    ] {
        for trouble in Trouble::ALL {
            for nth in 1.. {
                let (mut bench, id, offer) =
                    with_offer(medium, |setup| setup.durability = durability).await;
                trouble.begin(&bench, nth);
                let outcome = take(&bench, &id, &offer).await;
                bench.settle().await;
                let happened = trouble.end(&mut bench).await;
                let place = format!("{medium:?} {trouble:?} {nth}: {outcome:?}");
                let held = bench.id_of(HELD);
                assert_eq!(bench.download(&held).await, content(LENGTH, 1), "{place}");
                if outcome.is_ok() {
                    assert_eq!(bench.download(&id).await, content(LENGTH, 1), "{place}");
                }
                complete(&bench, &id).await;
                assert_eq!(bench.download(&id).await, content(LENGTH, 1), "{place}");
                bench.ingest.terminate(&held).await.unwrap();
                assert_eq!(bench.download(&id).await, content(LENGTH, 1), "{place}");
                if !happened {
                    assert!(outcome.is_ok(), "{place}");
                    break;
                }
            }
        }
    }
}

// spec: CHUNK-94
#[tokio::test]
async fn verification_finds_nothing_to_object_to() {
    for medium in Medium::BOTH {
        let (bench, id, offer) =
            with_offer(medium, |setup| setup.verify = Verify::Everything).await;
        assert!(matches!(take(&bench, &id, &offer).await, Ok(MergeOutcome::Merged(_))));
        assert_eq!(bench.download(&id).await, content(LENGTH, 1));
        assert_eq!(bench.parts(&id), []);
    }
}

// spec: CHUNK-94: the upload was deleted and begun anew, cut otherwise.
#[tokio::test]
async fn an_upload_that_is_another_one_by_now_is_left_alone() {
    let (bench, id, offer) = with_offer(Medium::Memory, |_| {}).await;
    bench.ingest.terminate(&id).await.unwrap();
    assert!(take(&bench, &id, &offer).await.is_err());
    let (bench, id, offer) = with_offer(Medium::Memory, |_| {}).await;
    bench.ingest.terminate(&id).await.unwrap();
    bench.put(WANTED, (1, b"other"), layout(5, 10, 2)).await.unwrap();
    assert!(take(&bench, &id, &offer).await.is_err());
    assert_eq!(bench.status(&id).await.record.chunks().sealed(), 1);
}

/// A staged file that shares so many bytes of any other, as some file systems do.
#[derive(Debug)]
struct Sharing(Box<dyn Staged>, u64);

impl Staged for Sharing {
    fn as_blob(&self) -> &dyn Blob {
        self.0.as_blob()
    }

    fn token(&self) -> &str {
        self.0.token()
    }
}

impl Blob for Sharing {
    fn size(&self) -> io::Result<u64> {
        self.0.size()
    }

    fn read_at(&self, buffer: &mut [u8], at: u64) -> io::Result<()> {
        self.0.read_at(buffer, at)
    }

    fn write_at(&self, bytes: &[u8], at: u64) -> io::Result<()> {
        assert!(at >= self.1, "what is shared is not written");
        self.0.write_at(bytes, at)
    }

    fn reserve(&self, range: Range<u64>) {
        assert!(range.start >= self.1, "what is shared is there");
        self.0.reserve(range);
    }

    fn write_back(&self, range: Range<u64>) {
        self.0.write_back(range);
    }

    fn truncate(&self, size: u64) -> io::Result<()> {
        self.0.truncate(size)
    }

    fn sync(&self) -> io::Result<()> {
        self.0.sync()
    }

    fn share(&self, source: &dyn Blob, from: u64, at: u64, length: u64) -> u64 {
        let shared = self.1.min(length);
        let mut bytes = vec![0; usize::try_from(shared).unwrap()];
        source.read_at(&mut bytes, from).unwrap();
        self.0.write_at(&bytes, at).unwrap();
        shared
    }
}

// spec: CHUNK-94: where blocks are shared, all or some of them.
#[tokio::test]
async fn what_is_shared_is_compared_too() {
    let (bench, _, _) = with_offer(Medium::Memory, |_| {}).await;
    let record = bench.status(&bench.id_of(HELD)).await.record;
    let name = &record.finished().unwrap().name;
    for shared in 0..=14 {
        let staged = Sharing(bench.storage().stage().unwrap(), shared);
        let file = bench.storage().open_finished(name).unwrap();
        let copied = copy_file(Box::new(staged), &*file, &record).unwrap().unwrap();
        let mut bytes = [0; LENGTH];
        copied.staged.read_at(&mut bytes, 0).unwrap();
        assert_eq!((copied.staged.size().unwrap(), &bytes[..]), (14, &content(LENGTH, 1)[..]));
    }
    for wrong in 0..LENGTH {
        for shared in 0..=14 {
            let other = bench.storage().stage().unwrap();
            let mut bytes = content(LENGTH, 1);
            bytes[wrong] ^= 1;
            other.write_at(&bytes, 0).unwrap();
            let staged = Sharing(bench.storage().stage().unwrap(), shared);
            let copied = copy_file(Box::new(staged), other.as_blob(), &record).unwrap();
            assert!(copied.is_none(), "byte {wrong} with {shared} shared");
        }
    }
}

// spec: CHUNK-96
#[tokio::test]
async fn a_failure_to_note_a_content_is_no_failure_to_finish() {
    let bench = Bench::build(Medium::Local, |setup| setup.contents = Contents::Noted);
    for index in 0..4 {
        put(&bench, HELD, index).await;
    }
    std::fs::write(bench.folder().join("state/contents"), "in the way").unwrap();
    bench.merge(&bench.id_of(HELD)).await.unwrap();
    assert_eq!(bench.download(&bench.id_of(HELD)).await, content(LENGTH, 1));
    let view = begin(&bench, WANTED).await;
    assert_eq!(offer(&bench, &view).await, None);
    bench.ingest.terminate(&bench.id_of(HELD)).await.unwrap();
}
