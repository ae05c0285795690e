//! Ledgers as they lie there, for whoever looks beside a server: nothing is locked, kept or
//! changed, and what cannot be understood is told instead of refused.

use std::{
    fs::OpenOptions,
    io::{self, ErrorKind},
    os::unix::fs::{MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use rustix::fs::OFlags;

use super::{
    codec::{CodecError, Place},
    creation, folder,
    header::{self, Beginning},
    replay::{self, Cause, Stop},
    secret,
    trust::TrustMark,
};
use crate::{
    state::{Shard, StateError},
    upload::{IdSecret, Record, Stamped, Timestamp, UploadId},
};

/// Reads the ledgers below one state folder.
#[derive(Debug, Clone)]
pub struct LedgerReader {
    root: PathBuf,
}

/// A ledger as far as it can be read.
#[derive(Debug)]
pub struct LedgerSeen {
    /// Tells the file from another one of its name.
    pub inode: u64,
    /// Bytes of the file.
    pub size: u64,
    /// When a fact was last added.
    pub changed: Timestamp,
    /// What its facts make; absent where its beginning is torn or damaged.
    pub record: Option<Record>,
    /// The end of the last whole commit, in bytes; what lies behind it is torn, or damaged.
    pub end: u64,
    /// What is wrong with it.
    pub damage: Option<LedgerDamage>,
}

/// Where a ledger cannot be read on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LedgerDamage {
    /// Bytes from its start.
    pub at: u64,
    /// What is wrong there.
    pub what: String,
    /// Is it a record that a newer piton may have written?
    pub newer: bool,
}

impl LedgerSeen {
    /// Was the upload about to be removed?
    pub fn is_voided(&self) -> bool {
        self.size == creation::VOIDED
    }
}

impl LedgerReader {
    /// Over the state folder `{data_dir}/state`. Opens nothing.
    pub fn new(root: &Path) -> Self {
        Self { root: root.to_owned() }
    }

    /// Where the ledger of an upload lies, or would.
    pub fn path(&self, id: &UploadId) -> PathBuf {
        folder::ledger_path(&self.root, id)
    }

    /// Reads a ledger; `None` if there is none. Each fact that counts is told with the byte that
    /// its record begins at.
    pub fn read(
        &self,
        id: &UploadId,
        told: &mut dyn FnMut(u64, &Stamped),
    ) -> io::Result<Option<LedgerSeen>> {
        // Whatever else lies there must not make us wait.
        let flags = OFlags::NONBLOCK.bits().cast_signed();
        let file = OpenOptions::new().read(true).custom_flags(flags).open(self.path(id));
        let file = match file {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            opened => opened?,
        };
        let found = file.metadata()?;
        let size = found.size();
        let mut seen = LedgerSeen {
            inode: found.ino(),
            size,
            changed: found.modified()?.into(),
            record: None,
            end: 0,
            damage: None,
        };
        if !found.is_file() {
            seen.damage = Some(LedgerDamage::at(0, "not a plain file"));
            return Ok(Some(seen));
        }
        let Beginning { manifest, incarnation, body } = match header::read(&file, size) {
            Ok(Some(beginning)) => beginning,
            Ok(None) => return Ok(Some(seen)),
            Err(StateError::Damaged { at, what }) => {
                seen.damage = Some(LedgerDamage::at(at, &what));
                return Ok(Some(seen));
            }
            Err(StateError::Newer { at, what }) => {
                seen.damage = Some(LedgerDamage { newer: true, ..LedgerDamage::at(at, &what) });
                return Ok(Some(seen));
            }
            Err(StateError::Io(error)) => return Err(error),
            Err(error) => return Err(io::Error::other(error)),
        };
        if manifest.id != *id {
            seen.damage = Some(LedgerDamage::at(0, "the ledger of another upload"));
            return Ok(Some(seen));
        }
        let start = Place { incarnation, at: body };
        let (replay, done) = replay::walk(&file, start, Record::new(manifest), size, told);
        seen.damage = match done {
            Ok(()) => None,
            Err(Stop::Io(error)) => return Err(error),
            Err(Stop::Damaged { at, cause }) => {
                let newer = matches!(cause, Cause::Codec(CodecError::Newer(_)));
                Some(LedgerDamage { newer, ..LedgerDamage::at(at, &cause.to_string()) })
            }
        };
        seen.record = Some(replay.record);
        seen.end = replay.end;
        Ok(Some(seen))
    }

    /// The uploads of a shard that have a ledger, in order.
    pub fn ids(&self, shard: Shard) -> io::Result<Vec<UploadId>> {
        let found = folder::ledgers(&self.root, shard)?;
        let ids: io::Result<Vec<UploadId>> = found.map(|found| found.map(|(id, _)| id)).collect();
        ids.map(|mut ids| {
            ids.sort();
            ids
        })
    }

    /// The uploads whose ids begin with `prefix`, which has at least two hex digits.
    pub fn family(&self, prefix: &str) -> io::Result<Vec<UploadId>> {
        let shard = prefix.get(..2).and_then(|digits| u8::from_str_radix(digits, 16).ok());
        let Some(shard) = shard else { return Ok(Vec::new()) };
        let ids = self.ids(Shard(shard))?.into_iter();
        Ok(ids.filter(|id| id.as_str().starts_with(prefix)).collect())
    }

    /// The secret under which ids are derived; `NotFound` where there is none, `InvalidData` where
    /// it has not 32 bytes.
    pub fn secret(&self) -> io::Result<IdSecret> {
        secret::read(&self.root)
    }

    /// How often the page cache has been lost under this data, as written down last.
    pub fn epoch(&self) -> io::Result<Option<u64>> {
        TrustMark::peek(&self.root)
    }
}

impl LedgerDamage {
    fn at(at: u64, what: &str) -> Self {
        Self { at, what: what.to_owned(), newer: false }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::{
        durable::Flush,
        state::{
            LocalState, State,
            contract::{id, manifest, sealed, stamped},
        },
        upload::Phase,
    };

    #[test]
    fn a_reader_sees_what_the_state_wrote_and_how_far_a_damaged_ledger_goes() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("state");
        let (state, reader) = (LocalState::open(&root).unwrap(), LedgerReader::new(&root));
        let id = id("c0");
        assert!(reader.read(&id, &mut |_, _| {}).unwrap().is_none());
        let mut held = state.create(manifest(&id, Some(12)), Flush::Lazy).unwrap();
        let body = held.version.length;
        for chunk in 0..3 {
            held = state.commit(&held, &[stamped(5, sealed(chunk, 4))], Flush::Lazy).unwrap();
        }
        let read = || {
            let mut facts = Vec::new();
            let tell = &mut |at, stamped: &Stamped| facts.push((at, stamped.fact.clone()));
            let seen = reader.read(&id, tell).unwrap().unwrap();
            (seen, facts)
        };
        let (seen, facts) = read();
        assert_eq!(facts, [0, 1, 2].map(|k| (body + k * 96, sealed(k, 4))));
        assert_eq!((seen.record.as_ref(), seen.damage), (Some(&*held.record), None));
        assert_eq!((seen.end, seen.size), (body + 288, body + 288));

        // A flipped byte with facts behind it.
        let path = ledger_at(&reader, &id);
        let whole = fs::read(&path).unwrap();
        let mut garbled = whole.clone();
        garbled[usize::try_from(body).unwrap() + 100] ^= 1;
        fs::write(&path, &garbled).unwrap();
        let (seen, facts) = read();
        assert_eq!(facts, [(body, sealed(0, 4))]);
        let damage = seen.damage.unwrap();
        assert_eq!((damage.at, seen.end, damage.newer), (body + 96, body + 96, false));
        assert!(damage.what.contains("checksum"), "{damage:?}");
        assert_eq!(seen.record.unwrap().phase(), Phase::Receiving);

        // Torn at its end, in its beginning, empty, and somebody else's.
        fs::write(&path, &whole[..whole.len() - 1]).unwrap();
        let (seen, facts) = read();
        assert_eq!((facts.len(), seen.end, seen.damage), (2, body + 192, None));
        for length in [0, 20, usize::try_from(body).unwrap() - 1] {
            fs::write(&path, &whole[..length]).unwrap();
            let (seen, _) = read();
            assert!(seen.record.is_none() && seen.damage.is_none(), "{length}");
        }
        let other = UploadId::from_random([0xc0; 16]);
        fs::write(ledger_at(&reader, &other), &whole).unwrap();
        let seen = reader.read(&other, &mut |_, _| {}).unwrap().unwrap();
        assert!(seen.damage.unwrap().what.contains("another upload"));
    }

    fn ledger_at(reader: &LedgerReader, id: &UploadId) -> PathBuf {
        let path = reader.path(id);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        path
    }
}
