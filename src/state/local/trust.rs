//! Can the page cache be trusted? A mark in `{root}/boot` tells whether bytes that were written
//! without a flush may have been lost since: with the machine, while somebody worked here.
//!
//! ```text
//!  two slots, at 0 and 4096:
//!  magic "PITONBT1" │ sequence u64 │ epoch u64 │ state u64 │ boot [32] │ crc32 u32
//! ```
//!
//! The file is never replaced, since its flock counts the processes that work here: each holds it
//! shared for its life, and whoever writes holds it alone. The slots are written in turn, so that
//! one is whole whatever happens.

use std::{
    fs::{self, File, OpenOptions, TryLockError},
    io::{self, ErrorKind},
    os::unix::fs::{FileExt, MetadataExt},
    path::{Path, PathBuf},
    thread,
    time::Duration,
};

use super::{
    bytes::{self, Reader, Writer},
    folder::has_ledgers,
};
use crate::{durable, upload::Sha256Digest};

const NAME: &str = "boot";
const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";
const MAGIC: &[u8; 8] = b"PITONBT1";
const SLOT: usize = 68;
/// Bytes of a slot that its checksum covers.
const SUMMED: usize = 64;
/// In sectors of their own, so that a torn write harms one.
const SLOTS_AT: [u64; 2] = [0, 4096];
const SLOTS_END: u64 = 8192;
/// More processes than will ever begin and end at one moment.
const JOIN_ATTEMPTS: u32 = 1000;
/// Lets the others of that moment finish what they do with the mark.
const JOIN_PAUSE: Duration = Duration::from_millis(1);
const RUNNING: u64 = 0;
const CLEAN: u64 = 1;

/// Tells how often bytes in the page cache may have been lost: the trust epoch. An upload whose
/// record has another epoch has to be verified before its bytes are believed.
///
/// Dropped without [`TrustMark::end`], it stands for a crash.
#[derive(Debug)]
pub struct TrustMark {
    root: PathBuf,
    file: File,
    boot: Sha256Digest,
    epoch: u64,
}

/// What a slot says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Mark {
    /// Which of the slots is the newer one.
    sequence: u64,
    epoch: u64,
    clean: bool,
    boot: Sha256Digest,
}

impl TrustMark {
    /// Begins to work in the state folder `root`, which must be there. Waits for processes that
    /// begin or end at the same moment.
    ///
    /// Where the machine does not tell its boot id, every start counts as one after another boot.
    pub fn begin(root: &Path) -> io::Result<Self> {
        let boot = match fs::read_to_string(BOOT_ID) {
            Ok(boot) => boot,
            Err(_) => u64::from_le_bytes(bytes::random()?).to_string(),
        };
        Self::begin_in_boot(root, boot.trim())
    }

    /// The epoch that was written down last below the state folder `root`; `None` where none was,
    /// or none can be read. Joins nobody.
    pub fn peek(root: &Path) -> io::Result<Option<u64>> {
        match File::open(root.join(NAME)) {
            Ok(file) => Ok(Marks::read(&file)?.newest().map(|mark| mark.epoch)),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Begins to work, in the boot of that name.
    pub fn begin_in_boot(root: &Path, boot: &str) -> io::Result<Self> {
        let boot = Sha256Digest::of(boot.as_bytes());
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false);
        let file = options.open(root.join(NAME))?;
        let epoch = join(&file, root, boot)?;
        Ok(Self { root: root.to_owned(), file, boot, epoch })
    }

    /// The trust epoch: changes whenever bytes may have been lost, and never comes back to an
    /// earlier value.
    pub const fn epoch(&self) -> u64 {
        self.epoch
    }

    /// Ends work in good order: everything is brought to the disk and said to be there, unless
    /// another process still works here, who will do so. Nothing may be written after this call.
    pub fn end(self) -> io::Result<()> {
        match self.file.try_lock() {
            Err(TryLockError::WouldBlock) => return Ok(()),
            locked => locked?,
        }
        durable::sync_file_system(&self.root)?;
        let marks = Marks::read(&self.file)?;
        marks.write(
            &self.file,
            Mark { sequence: 0, epoch: self.epoch, clean: true, boot: self.boot },
        )
    }
}

/// Joins those who work here, with the shared lock held afterwards; the epoch of all of them.
fn join(file: &File, root: &Path, boot: Sha256Digest) -> io::Result<u64> {
    for _ in 0..JOIN_ATTEMPTS {
        match file.try_lock() {
            Ok(()) => write_running(file, root, boot)?,
            Err(TryLockError::WouldBlock) => {}
            Err(TryLockError::Error(error)) => return Err(error),
        }
        // Whoever was alone until here may be overtaken while the lock changes, even by somebody
        // who ends.
        file.lock_shared()?;
        match Marks::read(file)?.newest() {
            Some(mark) if mark.boot == boot && !mark.clean => return Ok(mark.epoch),
            _ => file.unlock()?,
        }
        thread::sleep(JOIN_PAUSE);
    }
    Err(io::Error::new(ErrorKind::WouldBlock, "the boot mark changes all the time"))
}

/// Alone here: decides on the epoch and writes that somebody works.
fn write_running(file: &File, root: &Path, boot: Sha256Digest) -> io::Result<()> {
    let marks = Marks::read(file)?;
    let epoch = match (marks.newest(), marks.damaged) {
        (Some(mark), false) if mark.boot == boot || mark.clean => mark.epoch,
        (Some(mark), false) => mark.epoch.saturating_add(1),
        // The slot that went bad was the newer one, perhaps, and one epoch further.
        (Some(mark), true) => mark.epoch.saturating_add(2),
        (None, false) if !has_ledgers(root)? => 0,
        (None, _) => unheard_of_epoch(file)?,
    };
    take_room(file)?;
    marks.write(file, Mark { sequence: 0, epoch, clean: false, boot })?;
    durable::sync_folder(root)
}

/// Both slots get their blocks with the first mark: who starts on a disk that ran full since, to
/// make room perhaps, finds them.
fn take_room(file: &File) -> io::Result<()> {
    let size = file.metadata()?.len();
    let missing = SLOTS_END.saturating_sub(size);
    let zeros = vec![0; usize::try_from(missing).unwrap_or_default()];
    file.write_all_at(&zeros, size)
}

/// An epoch that was never before, where all counting is lost: the seconds since 1970, by the
/// file's own time.
fn unheard_of_epoch(file: &File) -> io::Result<u64> {
    file.set_len(0)?;
    file.write_all_at(&[0], 0)?;
    Ok(u64::try_from(file.metadata()?.mtime()).unwrap_or(0).max(1))
}

/// Both slots.
#[derive(Debug)]
struct Marks {
    slots: [Option<Mark>; 2],
    /// Something stands in a slot that is no mark.
    damaged: bool,
}

impl Marks {
    fn read(file: &File) -> io::Result<Self> {
        let mut marks = Self { slots: [None; 2], damaged: false };
        for (slot, at) in marks.slots.iter_mut().zip(SLOTS_AT) {
            let mut bytes = [0; SLOT];
            bytes::read_up_to(file, &mut bytes, at)?;
            *slot = Mark::parse(&bytes);
            marks.damaged |= slot.is_none() && bytes.iter().any(|byte| *byte != 0);
        }
        Ok(marks)
    }

    fn newest(&self) -> Option<Mark> {
        self.slots.iter().flatten().max_by_key(|mark| mark.sequence).copied()
    }

    /// Writes `mark` as the newest one into the slot whose turn it is, and flushes it.
    fn write(&self, file: &File, mark: Mark) -> io::Result<()> {
        let sequence = self.newest().map_or(0, |newest| newest.sequence.saturating_add(1));
        let [even, odd] = SLOTS_AT;
        let at = if sequence.is_multiple_of(2) { even } else { odd };
        file.write_all_at(&Mark { sequence, ..mark }.to_bytes(), at)?;
        durable::sync_data(file)
    }
}

impl Mark {
    fn parse(bytes: &[u8; SLOT]) -> Option<Self> {
        let (summed, sum) = bytes.split_first_chunk::<SUMMED>()?;
        let mut reader = Reader::new(summed);
        let magic: [u8; 8] = reader.take()?;
        let (sequence, epoch, state) = (reader.u64()?, reader.u64()?, reader.u64()?);
        let boot = Sha256Digest::new(reader.take()?);
        let right = Reader::new(sum).u32()? == crc32fast::hash(summed);
        let known = magic == *MAGIC && matches!(state, RUNNING | CLEAN);
        (right && known).then_some(Self { sequence, epoch, clean: state == CLEAN, boot })
    }

    fn to_bytes(self) -> [u8; SLOT] {
        let mut summed = [0; SUMMED];
        let mut writer = Writer::new(&mut summed);
        writer.put(MAGIC);
        for number in [self.sequence, self.epoch, if self.clean { CLEAN } else { RUNNING }] {
            writer.put(&number.to_le_bytes());
        }
        writer.put(self.boot.bytes());
        let mut bytes = [0; SLOT];
        let mut writer = Writer::new(&mut bytes);
        writer.put(&summed);
        writer.put(&crc32fast::hash(&summed).to_le_bytes());
        bytes
    }
}

#[cfg(test)]
mod tests {
    use std::{iter, thread};

    use tempfile::TempDir;

    use super::*;
    use crate::{
        durable::Flush,
        state::{LocalState, State, contract},
    };

    /// A start in `boot` that ends, or crashes.
    fn epoch(root: &TempDir, boot: &str, ends: bool) -> u64 {
        let mark = TrustMark::begin_in_boot(root.path(), boot).unwrap();
        let epoch = mark.epoch();
        if ends {
            mark.end().unwrap();
        }
        epoch
    }

    fn slots(root: &TempDir) -> Marks {
        Marks::read(&File::open(root.path().join(NAME)).unwrap()).unwrap()
    }

    fn flip(root: &TempDir, at: u64) {
        let file = File::options().read(true).write(true).open(root.path().join(NAME)).unwrap();
        let mut byte = [0];
        file.read_exact_at(&mut byte, at).unwrap();
        file.write_all_at(&[byte[0] ^ 1], at).unwrap();
    }

    #[test]
    fn only_a_machine_that_stopped_under_work_costs_trust() {
        let root = tempfile::tempdir().unwrap();
        let expected = [
            ("a", true, 0),
            ("a", false, 0),
            ("a", false, 0), // a crash of the process leaves the page cache
            ("b", false, 1), // boot a ended while somebody worked
            ("b", true, 1),
            ("c", true, 1), // boot b was left clean
            ("d", false, 1),
            ("d", true, 1),
            ("e", false, 1),
            ("f", false, 2),
            ("g", false, 3),
        ];
        for (boot, ends, epoch_then) in expected {
            assert_eq!(epoch(&root, boot, ends), epoch_then, "boot {boot}");
        }
    }

    #[test]
    fn ledgers_without_a_mark_are_not_trusted() {
        let root = tempfile::tempdir().unwrap();
        let state = LocalState::open(root.path()).unwrap();
        let manifest = contract::manifest(&contract::id("e0"), None);
        state.create(manifest, Flush::Lazy).unwrap();
        let first = epoch(&root, "a", true);
        assert!(first > 1_700_000_000, "an epoch that no counting has reached: {first}");
        assert_eq!(epoch(&root, "b", true), first);
        // All that was known is lost once more.
        File::options().write(true).open(root.path().join(NAME)).unwrap().set_len(0).unwrap();
        thread::sleep(Duration::from_millis(1100));
        assert!(epoch(&root, "b", true) > first);
    }

    #[test]
    fn a_torn_mark_never_leads_back_to_an_earlier_epoch() {
        for at in (0..68).chain(4096..4096 + 68) {
            let root = tempfile::tempdir().unwrap();
            let mut known = vec![];
            for boot in ["a", "b", "c"] {
                known.push(epoch(&root, boot, false));
            }
            assert_eq!(known, [0, 1, 2]);
            flip(&root, at);
            let next = epoch(&root, "c", false);
            assert!(next > 2, "byte {at}: {next}");
            assert_eq!(epoch(&root, "c", false), next, "byte {at}");
            assert!(!slots(&root).damaged, "byte {at}");
        }
    }

    #[test]
    fn the_last_one_to_end_leaves_the_mark() {
        let root = tempfile::tempdir().unwrap();
        let [one, two] = [(); 2].map(|()| TrustMark::begin_in_boot(root.path(), "a").unwrap());
        one.end().unwrap();
        assert!(!slots(&root).newest().unwrap().clean, "another one still works");
        let three = TrustMark::begin_in_boot(root.path(), "a").unwrap();
        two.end().unwrap();
        three.end().unwrap();
        assert!(slots(&root).newest().unwrap().clean);
    }

    #[test]
    fn those_who_start_at_once_agree() {
        for round in 0..20 {
            let root = tempfile::tempdir().unwrap();
            assert_eq!(epoch(&root, "a", false), 0);
            let epochs: Vec<u64> = thread::scope(|scope| {
                let begin = |ends| {
                    let root = &root;
                    scope.spawn(move || epoch(root, "b", ends))
                };
                let threads: Vec<_> =
                    iter::repeat_n([true, false], 4).flatten().map(begin).collect();
                threads.into_iter().map(|thread| thread.join().unwrap()).collect()
            });
            assert_eq!(epochs, [1; 8], "round {round}");
        }
    }

    #[test]
    fn the_first_mark_takes_the_room_of_all_that_follow() {
        let root = tempfile::tempdir().unwrap();
        for boot in ["a", "b", "c"] {
            epoch(&root, boot, true);
            let metadata = fs::metadata(root.path().join(NAME)).unwrap();
            assert_eq!(metadata.len(), SLOTS_END);
            assert!(metadata.blocks() * 512 >= SLOTS_END, "boot {boot}: {metadata:?}");
        }
    }

    #[test]
    fn tells_the_real_boot() {
        let root = tempfile::tempdir().unwrap();
        for _ in 0..2 {
            assert_eq!(TrustMark::begin(root.path()).unwrap().epoch(), 0);
        }
    }

    #[test]
    fn a_mark_with_any_flipped_bit_is_none() {
        let boot = Sha256Digest::of(b"boot");
        let mark = Mark { sequence: 3, epoch: 5, clean: true, boot };
        let bytes = mark.to_bytes();
        assert_eq!(Mark::parse(&bytes), Some(mark));
        for bit in 0..SLOT * 8 {
            let mut bytes = bytes;
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(Mark::parse(&bytes), None, "bit {bit}");
        }
    }
}
