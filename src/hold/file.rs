//! Is what lies under the name of a finished upload still its file?
//!
//! Whoever works in `files/` takes files away, puts them back, or brings all of them to another
//! disk; and a name that is free again is given to the next upload that asks for it. What is known
//! of the file is kept with its upload ([`FileMark`]); where that does not tell, its bytes do.

use std::{
    collections::HashMap,
    io::{self, ErrorKind},
    sync::{Mutex, MutexGuard, PoisonError},
};

use super::{Held, HoldError, Holds, hash_range};
use crate::{
    storage::{Blob, StoredFile},
    upload::{
        FileMark, FinalName, Finished, Length, Likeness, Phase, Record, Sha256Digest, UploadId,
    },
};

/// Files of which it is remembered what their bytes told.
const VERDICTS_MAX: usize = 4096;

/// What became of the file of a finished upload, where it has one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum FileFate {
    /// It is there.
    AsFinished,
    /// It is gone: the upload was being deleted when the process died, or somebody took it. What
    /// has its name is another's.
    Lost,
    /// Somebody changed it.
    Changed,
    /// Only its bytes can tell.
    Doubtful,
}

impl FileFate {
    /// Refuses what is known not to be there.
    pub(super) fn ensure_there(self) -> Result<(), HoldError> {
        match self {
            Self::AsFinished | Self::Doubtful => Ok(()),
            Self::Lost => Err(HoldError::Unknown),
            Self::Changed => Err(HoldError::Damaged(
                "its file is not what it was when it was finished".to_owned(),
            )),
        }
    }
}

/// What the bytes of a file told, and of which file.
#[derive(Debug, Default)]
pub(super) struct Verdicts(Mutex<HashMap<UploadId, (StoredFile, FileFate)>>);

impl Verdicts {
    fn of(&self, id: &UploadId, there: StoredFile) -> Option<FileFate> {
        self.known().get(id).filter(|(file, _)| *file == there).map(|(_, fate)| *fate)
    }

    fn remember(&self, id: &UploadId, there: StoredFile, fate: FileFate) {
        let mut known = self.known();
        if known.len() >= VERDICTS_MAX {
            let any = known.keys().next().cloned();
            any.and_then(|id| known.remove(&id));
        }
        known.insert(id.clone(), (there, fate));
    }

    pub(super) fn forget(&self, id: &UploadId) {
        self.known().remove(id);
    }

    fn known(&self) -> MutexGuard<'_, HashMap<UploadId, (StoredFile, FileFate)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What is to be thought of bytes without a digest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Undigested {
    Passes,
    Fails,
}

impl Holds {
    /// Refuses an upload that expired or is damaged.
    pub(super) fn ensure_live(&self, record: &Record) -> Result<(), HoldError> {
        if self.has_expired(record) {
            return Err(HoldError::Expired);
        }
        if record.phase() == Phase::Corrupt {
            return Err(HoldError::Damaged("marked as damaged".to_owned()));
        }
        Ok(())
    }

    /// As far as that can be told without reading the file.
    pub(super) fn fate_of_file(&self, record: &Record) -> io::Result<FileFate> {
        let Some(finished) = record.finished() else { return Ok(FileFate::AsFinished) };
        let there = self.storage.finished_file(&finished.name)?;
        Ok(there.map_or(FileFate::Lost, |there| self.judge(record, finished, there)))
    }

    fn judge(&self, record: &Record, finished: &Finished, there: StoredFile) -> FileFate {
        let likeness = FileMark::likeness(finished.mark, there.mark);
        if there.size != finished.length.get() {
            let another = matches!(likeness, Likeness::Copy | Likeness::Another);
            return if another { FileFate::Lost } else { FileFate::Changed };
        }
        match likeness {
            Likeness::Unknown | Likeness::Same | Likeness::Copy => FileFate::AsFinished,
            Likeness::Touched | Likeness::Another => {
                let told = self.verdicts.of(&record.manifest().id, there);
                told.unwrap_or(FileFate::Doubtful)
            }
        }
    }

    /// The same, and reads the file where only its bytes can tell: once, and for whoever holds the
    /// upload, so that it is read by one at a time.
    pub(super) fn settled_fate(&self, record: &Record) -> Result<FileFate, HoldError> {
        let fate = self.fate_of_file(record)?;
        let Some(finished) = record.finished().filter(|_| fate == FileFate::Doubtful) else {
            return Ok(fate);
        };
        match self.storage.open_finished(&finished.name) {
            Ok(file) => Ok(self.settle(record, finished, &*file)?),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(FileFate::Lost),
            Err(error) => Err(error.into()),
        }
    }

    fn settle(
        &self,
        record: &Record,
        finished: &Finished,
        file: &dyn Blob,
    ) -> io::Result<FileFate> {
        let there = StoredFile::of(file)?;
        let fate = self.judge(record, finished, there);
        if fate != FileFate::Doubtful {
            return Ok(fate);
        }
        let (id, name) = (&record.manifest().id, finished.name.as_str());
        let touched = FileMark::likeness(finished.mark, there.mark) == Likeness::Touched;
        let undigested = if touched { Undigested::Passes } else { Undigested::Fails };
        let fate = if has_bytes_of(record, file, undigested)? {
            FileFate::AsFinished
        } else if touched || record.composite().is_none() {
            // Without digests nobody can tell that it is another's.
            FileFate::Changed
        } else {
            FileFate::Lost
        };
        if fate != FileFate::AsFinished {
            tracing::warn!(%id, name, "a finished file was changed, or its name is another's");
        }
        self.verdicts.remember(id, there, fate);
        Ok(fate)
    }

    /// Is the open file the one of this upload? Whatever was looked at by its name may be another
    /// one by now.
    pub(super) fn is_file_of(&self, record: &Record, file: &dyn Blob) -> io::Result<bool> {
        let Some(finished) = record.finished() else { return Ok(false) };
        Ok(self.settle(record, finished, file)? == FileFate::AsFinished)
    }

    /// Is what has the name of this upload's file that file, as far as it may be removed with it?
    /// It need not be where bytes tell that it can be served: another upload may have the same.
    pub(super) fn own_file(
        &self,
        record: &Record,
        (name, mark): (&FinalName, Option<FileMark>),
    ) -> Result<Option<StoredFile>, HoldError> {
        let Some(there) = self.storage.finished_file(name)? else { return Ok(None) };
        let own = match FileMark::likeness(mark, there.mark) {
            Likeness::Unknown | Likeness::Same | Likeness::Touched => true,
            Likeness::Copy => {
                let length = record.layout().length().map(Length::get);
                let file = self.storage.open_finished(name)?;
                length == Some(there.size) && has_bytes_of(record, &*file, Undigested::Fails)?
            }
            Likeness::Another => false,
        };
        if !own {
            let (id, name) = (&record.manifest().id, name.as_str());
            tracing::warn!(%id, name, "a file is not known to be its upload's, and stays");
        }
        Ok(own.then_some(there))
    }
}

impl Held {
    /// What became of its file, as far as that can be told without reading it. Refuses what expired
    /// or is damaged.
    pub(super) fn fate(&self) -> Result<FileFate, HoldError> {
        self.holds().ensure_live(self.record())?;
        Ok(self.holds().fate_of_file(self.record())?)
    }

    /// Refuses an upload that expired, is damaged, or was being deleted when the process died, and
    /// one whose file is not there any more.
    pub fn ensure_alive(&self) -> Result<(), HoldError> {
        self.holds().ensure_live(self.record())?;
        self.holds().settled_fate(self.record())?.ensure_there()
    }

    /// Is it finished, and its file known to be gone?
    pub fn is_without_file(&self) -> io::Result<bool> {
        Ok(self.holds().fate_of_file(self.record())? == FileFate::Lost)
    }
}

/// Has this file the bytes of all sealed chunks, in order?
fn has_bytes_of(record: &Record, file: &dyn Blob, undigested: Undigested) -> io::Result<bool> {
    let mut at = 0_u64;
    for (_, sealed) in record.chunks().iter() {
        match sealed.digest {
            Some(digest) => match hash_range(file, at, sealed.length).map(Sha256Digest::from) {
                Ok(actual) if actual == digest => {}
                Ok(_) => return Ok(false),
                Err(error) if error.kind() == ErrorKind::UnexpectedEof => return Ok(false),
                Err(error) => return Err(error),
            },
            None if undigested == Undigested::Fails => return Ok(false),
            None => {}
        }
        at = at.saturating_add(sealed.length);
    }
    Ok(true)
}

#[cfg(test)]
mod tests;
