//! What lies on the disk: ledgers, the secret, the trust mark, notes of who holds what.

use std::{cell::RefCell, fs, path::Path};

use piton::{
    durable::Flush,
    state::{
        LocalState, State, StateError, Versioned,
        local::{TrustMark, ledger_path},
    },
    upload::{
        ChunkSize, Dialect, Fact, Layout, Length, Manifest, Offset, Phase, Record, Sha256Digest,
        Stamped, Timestamp, UploadId,
    },
};

use crate::{input, scratch::Scratch};

const FRAME: usize = 96;
const INCARNATION: u64 = 0x5eed;

thread_local! {
    static PLACE: RefCell<(Scratch, LocalState)> = RefCell::new({
        let scratch = Scratch::new();
        let state = LocalState::open(&scratch.path().join("state")).unwrap();
        (scratch, state)
    });
}

/// A ledger of any bytes: as they are, or as frames whose checksums are right, so that what lies
/// behind them is reached.
pub(crate) fn ledger(data: &[u8]) {
    let Some((form, body)) = data.split_first() else { return };
    let id = UploadId::from_random([7; 16]);
    PLACE.with_borrow(|(scratch, state)| {
        let path = ledger_path(&scratch.path().join("state"), &id);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        if *form == 0 {
            let _ = read(state, &path, body, &id);
            return;
        }
        let manifest = manifest(&id, *form);
        let header = header(&manifest);
        let whole = [header.clone(), frames(header.len(), body)].concat();
        let Some(read_whole) = read(state, &path, &whole, &id) else { return };
        // Cut anywhere, it holds a prefix of its commits.
        let kept = header.len() + body.len() / 2 / FRAME * FRAME;
        let cut = whole.get(..kept + 5).unwrap_or(&whole);
        let read_cut = read(state, &path, cut, &id).expect("a prefix of what the law took");
        assert!(read_cut.version.length <= read_whole.version.length);
        assert!(read_cut.version.length <= u64::try_from(cut.len()).unwrap());
    });
}

/// What the state makes of a ledger: a lawful record that takes further facts, or damage.
fn read(state: &LocalState, path: &Path, bytes: &[u8], id: &UploadId) -> Option<Versioned> {
    let _ = fs::remove_file(path);
    fs::write(path, bytes).unwrap();
    let loaded = match state.load(id) {
        Ok(loaded) => loaded,
        Err(
            StateError::Unknown
            | StateError::Damaged { .. }
            | StateError::Newer { .. }
            | StateError::Law(_),
        ) => return None,
        Err(other) => panic!("{other}"),
    };
    lawful(&loaded.record);
    let again = LocalState::open(path.parent().unwrap().parent().unwrap()).unwrap();
    assert_eq!(again.load(id).unwrap().record, loaded.record, "read twice, read alike");
    let touched = Stamped { at: Timestamp::from_millis(1 << 41), fact: Fact::Touched };
    match again.commit(&loaded, &[touched], Flush::Lazy) {
        Ok(_) => {
            let length = fs::metadata(path).unwrap().len();
            assert_eq!(length, loaded.version.length + u64::try_from(FRAME).unwrap());
            let longer = LocalState::open(path.parent().unwrap().parent().unwrap()).unwrap();
            assert_eq!(longer.load(id).unwrap().version.length, length, "and is read back");
        }
        Err(StateError::Law(_)) => {}
        Err(other) => panic!("{other}"),
    }
    Some(loaded)
}

/// No record that the law forbids.
fn lawful(record: &Record) {
    let layout = record.layout();
    let mut sealed = 0_u64;
    for (chunk, seal) in record.chunks().iter() {
        assert!(layout.contains(chunk), "chunk {chunk} of {layout:?}");
        assert_eq!(layout.chunk_len(chunk), Ok(seal.length), "chunk {chunk}");
        sealed += 1;
    }
    if let Some(total) = layout.total() {
        assert!(sealed <= total.get());
    }
    if let Some(finished) = record.finished() {
        super::names::harmless(&finished.name);
        assert_eq!(Some(finished.length), layout.length());
    }
    assert_eq!(record.phase() == Phase::Finished, record.finished().is_some() && alive(record));
    assert!(record.prefix_end() <= layout.length().map_or(record.prefix_end(), end));
}

fn alive(record: &Record) -> bool {
    !matches!(record.phase(), Phase::Terminated | Phase::Expired | Phase::Corrupt)
}

fn end(length: Length) -> Offset {
    Offset::new(length.get()).unwrap()
}

fn manifest(id: &UploadId, form: u8) -> Manifest {
    let length = match form % 4 {
        0 => None,
        1 => Some(0),
        2 => Some(10_000),
        _ => Some(4096 * 8),
    };
    let length = length.map(|length| Length::new(length).unwrap());
    Manifest {
        id: id.clone(),
        layout: Layout::by_size(ChunkSize::new(4096).unwrap(), length),
        metadata: String::new(),
        filename: None,
        media_type: None,
        dialect: Dialect::Tus,
        key: None,
        concatenation: None,
        owner: String::new(),
        created_at: Timestamp::from_millis(1 << 40),
        epoch: 0,
    }
}

/// As the state writes it: kept beside the reader as a second account of the format.
fn header(manifest: &Manifest) -> Vec<u8> {
    let json = serde_json::to_vec(manifest).unwrap();
    let mut bytes = b"PITONLG1".to_vec();
    bytes.extend(u32::try_from(json.len()).unwrap().to_le_bytes());
    bytes.extend(crc32fast::hash(&json).to_le_bytes());
    bytes.extend(INCARNATION.to_le_bytes());
    bytes.extend(crc32fast::hash(&bytes).to_le_bytes());
    bytes.extend(json);
    bytes
}

/// The input in frames, each with the checksum that belongs to its place. One whose sum is all
/// ones already stays as it is: a torn or damaged one.
fn frames(start: usize, body: &[u8]) -> Vec<u8> {
    let mut bytes = body.to_vec();
    let (frames, _) = bytes.as_chunks_mut::<FRAME>();
    for (number, frame) in frames.iter_mut().enumerate() {
        let at = u64::try_from(start + number * FRAME).unwrap();
        if frame[4..8] == [0xff; 4] {
            continue;
        }
        frame[4..8].fill(0);
        let mut hasher = crc32fast::Hasher::new();
        hasher.update(&INCARNATION.to_le_bytes());
        hasher.update(&at.to_le_bytes());
        hasher.update(frame);
        let sum = hasher.finalize().to_le_bytes();
        frame[4..8].copy_from_slice(&sum);
    }
    bytes
}

/// The other files of the state folder: each is refused, made anew, or read as it was written.
pub(crate) fn files(data: &[u8]) {
    let scratch = Scratch::new();
    let root = scratch.path().join("state");
    fs::create_dir_all(&root).unwrap();
    let (choice, bytes) = input::number(data);
    match choice % 3 {
        0 => {
            fs::write(root.join("secret"), bytes).unwrap();
            let opened = LocalState::open(&root);
            assert_eq!(opened.is_ok(), bytes.len() == 32, "a secret of {} bytes", bytes.len());
        }
        1 => {
            fs::write(root.join("boot"), bytes).unwrap();
            // Doubtful or not, there is an epoch, and a clean stop keeps it.
            if let Ok(mark) = TrustMark::begin_in_boot(&root, "this one") {
                let epoch = mark.epoch();
                mark.end().unwrap();
                let next = TrustMark::begin_in_boot(&root, "another one").unwrap();
                assert_eq!(next.epoch(), epoch, "a clean stop is trusted");
                drop(next);
                let crashed = TrustMark::begin_in_boot(&root, "a third one").unwrap();
                assert!(crashed.epoch() > epoch, "a crash of the machine is not");
            }
        }
        _ => note(&root, bytes),
    }
}

fn note(root: &Path, bytes: &[u8]) {
    use piton::upload::{ChunkCount, Content};

    let state = LocalState::open(root).unwrap();
    let content = Content {
        owner: String::new(),
        length: Length::new(1).unwrap(),
        chunk_size: ChunkSize::new(4096).unwrap(),
        total: ChunkCount::new(1).unwrap(),
        composite: Sha256Digest::of(b"x"),
    };
    let key = state.secret().content(&content);
    let path = root.join("contents").join(key.shard()).join(key.as_str());
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(&path, bytes).unwrap();
    let holders = state.holders(&key).unwrap();
    assert!(holders.len() <= 4, "{} holders", holders.len());
    let id = UploadId::from_random([9; 16]);
    state.note_holder(&key, &id).unwrap();
    assert_eq!(state.holders(&key).unwrap().first(), Some(&id));
}
