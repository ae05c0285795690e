//! A random client of both roads, and a model that knows nothing of parts, ledgers or caches.

use proptest::{collection::vec, prelude::*};

use crate::{
    ingest::{ChunkFate, Fate, IngestError, MergeError, MergeOutcome},
    testing::{Bench, Medium, Script, content, layout},
    upload::{Checksum, ChecksumAlgorithm, ChecksumDemand, Layout, Phase, Sha256Digest, UploadId},
};

const HASH: &str = "00112233445566778899aabbccddeeff";
const SIZE: usize = 4;

#[derive(Debug, Clone)]
enum Step {
    /// So many bytes, at the right offset or so far from it.
    Append {
        bytes: usize,
        off: i64,
        salt: u8,
    },
    /// So many bytes with a checksum, as a header or behind them, announced or not.
    Checked {
        bytes: usize,
        salt: u8,
        how: u8,
        right: bool,
    },
    /// The same, said before the bytes; the process dies with one of its facts.
    Dies {
        bytes: usize,
        trailer: bool,
        right: bool,
        nth: u64,
    },
    Put {
        chunk: usize,
        salt: u8,
    },
    Absorb,
    Head,
    Merge,
    CoolDown,
    Restart {
        chunks_per_part: u64,
        epoch: bool,
    },
}

fn step() -> impl Strategy<Value = Step> {
    let salt = 0..3_u8;
    let parts = prop_oneof![Just(1), Just(2), Just(u64::MAX)];
    prop_oneof![
        6 => (0..11_usize, salt.clone())
            .prop_map(|(bytes, salt)| Step::Append { bytes, off: 0, salt }),
        1 => (-5..6_i64).prop_map(|off| Step::Append { bytes: 3, off, salt: 0 }),
        4 => (0..11_usize, salt.clone(), 0..3_u8, any::<bool>())
            .prop_map(|(bytes, salt, how, right)| Step::Checked { bytes, salt, how, right }),
        2 => (0..11_usize, any::<bool>(), any::<bool>(), 1..7_u64)
            .prop_map(|(bytes, trailer, right, nth)| Step::Dies { bytes, trailer, right, nth }),
        4 => (0..8_usize, salt).prop_map(|(chunk, salt)| Step::Put { chunk, salt }),
        2 => Just(Step::Absorb),
        1 => Just(Step::Head),
        1 => Just(Step::Merge),
        1 => Just(Step::CoolDown),
        2 => (parts, any::<bool>())
            .prop_map(|(chunks_per_part, epoch)| Step::Restart { chunks_per_part, epoch }),
    ]
}

/// What a client may expect.
#[derive(Debug)]
struct Model {
    length: usize,
    sealed: Vec<Option<Vec<u8>>>,
    tail: Vec<u8>,
    /// Begun by an offset client: finished as soon as it is complete.
    by_offset: bool,
    finished: bool,
}

impl Model {
    fn range(&self, chunk: usize) -> std::ops::Range<usize> {
        let last = chunk + 1 == self.sealed.len();
        chunk * SIZE..if last { self.length } else { (chunk + 1) * SIZE }
    }

    fn first_missing(&self) -> usize {
        self.sealed.iter().position(Option::is_none).unwrap_or(self.sealed.len())
    }

    fn prefix_end(&self) -> usize {
        self.first_missing().checked_sub(1).map_or(0, |last| self.range(last).end)
    }

    fn offset(&self) -> usize {
        self.prefix_end() + self.tail.len()
    }

    fn is_complete(&self) -> bool {
        self.first_missing() == self.sealed.len()
    }

    fn append(&mut self, bytes: &[u8]) {
        let mut chunk = self.first_missing();
        let mut filling = std::mem::take(&mut self.tail);
        for byte in bytes {
            filling.push(*byte);
            if filling.len() == self.range(chunk).len() {
                self.sealed[chunk] = Some(std::mem::take(&mut filling));
                chunk += 1;
            }
        }
        if chunk == self.first_missing() {
            self.tail = filling;
        }
        self.finished |= self.is_complete();
    }

    fn put(&mut self, chunk: usize, bytes: Vec<u8>) {
        if chunk == self.first_missing() {
            self.tail.clear();
        }
        self.sealed[chunk] = Some(bytes);
        self.finished |= self.by_offset && self.is_complete();
    }

    /// A power loss takes the tail, which nobody promised.
    fn lose_power(&mut self) {
        self.tail.clear();
    }

    fn bytes(&self) -> Vec<u8> {
        self.sealed.iter().flatten().flatten().copied().collect()
    }
}

struct Run {
    bench: Bench,
    model: Model,
    id: UploadId,
    hash: String,
    layout: Option<Layout>,
}

impl Run {
    async fn begin(medium: Medium, (length, long_last, by_offset): (usize, bool, bool)) -> Self {
        let bench = Bench::build(medium, |_| {});
        let bytes = u64::try_from(length).unwrap();
        let total = if long_last && !by_offset { length / SIZE } else { length.div_ceil(SIZE) };
        let total = total.max(1);
        let layout = layout(4, bytes, u64::try_from(total).unwrap());
        let mut model = Model {
            length,
            sealed: vec![None; total],
            tail: Vec::new(),
            by_offset,
            finished: false,
        };
        let (id, hash) = if by_offset {
            let id = bench.create(Some(bytes)).await;
            (id.clone(), id.to_string())
        } else {
            let first = content(model.range(0).len(), 9);
            bench.put(HASH, (0, &first), layout).await.unwrap();
            model.put(0, first);
            (bench.id_of(HASH), HASH.to_owned())
        };
        Self { bench, model, id, hash, layout }
    }

    async fn take(&mut self, step: Step) {
        match step {
            Step::Append { bytes, off, salt } => self.append(bytes, off, salt).await,
            Step::Checked { bytes, salt, how, right } => {
                self.append_checked(bytes, salt, (how, right)).await;
            }
            Step::Dies { bytes, trailer, right, nth } => {
                self.die_within(bytes, (trailer, right), nth).await;
            }
            Step::Put { chunk, salt } => self.put(chunk % self.model.sealed.len(), salt).await,
            Step::Absorb => {
                self.bench.merger.absorb_soon(&self.id);
                self.bench.settle().await;
            }
            Step::Head => {
                self.bench.head(&self.id).await;
            }
            Step::Merge => self.merge().await,
            Step::CoolDown => self.bench.holds.cool_down(),
            Step::Restart { chunks_per_part, epoch } => {
                let change = |setup: &mut crate::testing::Setup| {
                    setup.chunks_per_part = chunks_per_part;
                    setup.epoch += u64::from(epoch);
                };
                self.bench.reopen_with(change).await;
                if epoch && !self.model.finished {
                    self.model.lose_power();
                    // Only a holder finds out.
                    self.bench.head(&self.id).await;
                }
            }
        }
    }

    async fn append(&mut self, bytes: usize, off: i64, salt: u8) {
        let now = self.model.offset();
        let at = now.checked_add_signed(isize::try_from(off).unwrap()).unwrap_or(0);
        let end = (now + bytes).min(self.model.length);
        let sent = content(self.model.length, salt)[now..end].to_vec();
        let offset = u64::try_from(at).unwrap();
        match self.bench.push(&self.id, offset, &sent).await {
            Err(IngestError::OffsetMismatch { current }) => {
                assert_ne!(at, now);
                assert_eq!(usize::try_from(current.get()).unwrap(), now);
            }
            told => {
                assert_eq!(at, now);
                assert_eq!(told.unwrap(), u64::try_from(end).unwrap());
                self.model.append(&sent);
            }
        }
    }

    async fn append_checked(&mut self, bytes: usize, salt: u8, (how, right): (u8, bool)) {
        let now = self.model.offset();
        let end = (now + bytes).min(self.model.length);
        let sent = content(self.model.length, salt)[now..end].to_vec();
        let sum = Checksum::of(ChecksumAlgorithm::Crc32c, if right { &sent } else { b"other" });
        let script = Script::in_frames(&sent, 3);
        let (script, demand) = match how {
            0 => (script, ChecksumDemand::Checksum(sum)),
            1 => (script.followed_by(Ok(sum)), ChecksumDemand::Trailer),
            _ => (script.followed_by(Ok(sum)), ChecksumDemand::Nothing),
        };
        let offset = u64::try_from(now).unwrap();
        let told = self.bench.append_checked(&self.id, offset, script, demand).await.unwrap();
        if right {
            assert_eq!(told.offset.get(), u64::try_from(end).unwrap());
            assert!(told.failure.is_none());
            self.model.append(&sent);
        } else {
            assert_eq!((told.offset.get(), told.fate), (offset, Fate::TakenBack));
        }
    }

    /// The bytes are all there afterwards, or none is.
    async fn die_within(&mut self, bytes: usize, (trailer, right): (bool, bool), nth: u64) {
        let now = self.model.offset();
        let end = (now + bytes).min(self.model.length);
        let sent = content(self.model.length, 7)[now..end].to_vec();
        let sum = Checksum::of(ChecksumAlgorithm::Md5, if right { &sent } else { b"other" });
        let script = Script::in_frames(&sent, 3);
        let (script, demand) = if trailer {
            (script.followed_by(Ok(sum)), ChecksumDemand::Trailer)
        } else {
            (script, ChecksumDemand::Checksum(sum))
        };
        self.bench.ledgers.fail(nth);
        self.bench.ledgers.crash();
        let offset = u64::try_from(now).unwrap();
        let told = self.bench.append_checked(&self.id, offset, script, demand).await;
        self.bench.reopen().await;
        self.bench.ledgers.clear();
        self.bench.faults.clear();
        let head = usize::try_from(self.bench.head(&self.id).await).unwrap();
        let acknowledged = told.is_ok_and(|told| told.failure.is_none());
        if right && head != now {
            self.model.append(&sent);
        }
        assert_eq!(head, self.model.offset());
        assert!(!right || !acknowledged || head >= end);
        // It may have died in the finish too; who asks for a merge makes up for it.
        let finished = self.bench.status(&self.id).await.record.phase() == Phase::Finished;
        assert!(self.model.is_complete() || !finished);
        assert!(finished || !(self.model.by_offset && self.model.is_complete()));
        self.model.finished = finished;
    }

    async fn put(&mut self, chunk: usize, salt: u8) {
        let bytes = content(self.model.length, salt)[self.model.range(chunk)].to_vec();
        let index = u64::try_from(chunk).unwrap();
        let fate = self.bench.put(&self.hash, (index, &bytes), self.layout).await;
        let same = self.model.sealed[chunk].as_deref() == Some(&bytes[..]);
        match fate {
            Ok(ChunkFate::Duplicate) => assert!(same),
            Err(IngestError::Finished) => assert!(self.model.finished && !same),
            other => {
                assert_eq!(other.unwrap(), ChunkFate::Stored);
                assert!(!self.model.finished && !same);
                self.model.put(chunk, bytes);
            }
        }
    }

    async fn merge(&mut self) {
        match self.bench.merge(&self.id).await {
            Ok(MergeOutcome::Merged(_)) => {
                assert!(!self.model.finished && self.model.is_complete());
                self.model.finished = true;
            }
            Ok(MergeOutcome::AlreadyMerged(_)) => assert!(self.model.finished),
            Err(MergeError::Missing { missing }) => {
                let holes = self.model.sealed.iter().enumerate();
                let holes: Vec<u64> = holes
                    .filter(|(_, sealed)| sealed.is_none())
                    .map(|(index, _)| u64::try_from(index).unwrap())
                    .collect();
                assert_eq!(missing.iter().map(|k| k.get()).collect::<Vec<_>>(), holes);
            }
            other => panic!("{other:?}"),
        }
    }

    /// Compares everything that can be seen.
    async fn compare(&self) {
        let (view, model) = (self.bench.status(&self.id).await, &self.model);
        assert_eq!(usize::try_from(view.offset.get()).unwrap(), model.offset());
        for (index, sealed) in (0..).zip(&model.sealed) {
            let there = view.record.chunks().get(crate::testing::chunk(index));
            let digest = there.map(|there| there.digest.unwrap());
            assert_eq!(digest, sealed.as_deref().map(Sha256Digest::of), "chunk {index}");
        }
        assert_eq!(view.record.phase() == Phase::Finished, model.finished);
        if model.finished {
            assert_eq!(self.bench.download(&self.id).await, model.bytes());
        }
    }

    async fn finish(mut self) {
        if !self.model.finished && !self.model.is_complete() {
            let now = self.model.offset();
            let rest = content(self.model.length, 5)[now..].to_vec();
            self.bench.push(&self.id, u64::try_from(now).unwrap(), &rest).await.unwrap();
            self.model.append(&rest);
        }
        self.merge().await;
        self.compare().await;
        assert!(self.bench.parts(&self.id).is_empty());
    }
}

fn run(medium: Medium, shape: (usize, bool, bool), steps: Vec<Step>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    runtime.block_on(async {
        let mut run = Run::begin(medium, shape).await;
        for step in steps {
            run.take(step).await;
            run.compare().await;
        }
        run.finish().await;
    });
}

fn cases(cases: u32, max_shrink_iters: u32) -> ProptestConfig {
    ProptestConfig { max_shrink_iters, ..ProptestConfig::with_cases(cases) }
}

proptest! {
    #![proptest_config(cases(400, 2000))]

    #[test]
    fn memory_is_what_the_model_says(
        shape in (1..24_usize, any::<bool>(), any::<bool>()),
        steps in vec(step(), 0..24),
    ) {
        run(Medium::Memory, shape, steps);
    }
}

proptest! {
    #![proptest_config(cases(100, 500))]

    #[test]
    fn a_disk_is_what_the_model_says(
        shape in (1..24_usize, any::<bool>(), any::<bool>()),
        steps in vec(step(), 0..24),
    ) {
        run(Medium::Local, shape, steps);
    }
}
