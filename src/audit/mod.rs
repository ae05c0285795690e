//! What lies on disk, and what is wrong with it: `piton inspect` and `piton verify`.
//!
//! Reads only: no lock is taken, nothing is repaired, and a server beside it notices nothing. So
//! what is seen may be the middle of something; whatever seems wrong is looked at again, and what
//! changes all the time is told as busy, never as damaged.

mod find;
mod finding;
mod holder;
mod inspect;
mod look;
mod progress;
#[cfg(test)]
mod tests;
mod text;
mod verdict;
mod verify;

use std::{
    io::{self, ErrorKind, Write},
    path::{Path, PathBuf},
};

pub use self::{
    finding::{Finding, Note, Problem, Runs},
    inspect::{Chunk, FactLine, Inspection, Ledger, Lifetimes, Part, Upload},
    text::Extent,
    verdict::{Status, Verdict},
    verify::{Loose, Summary, Told},
};
use self::{
    look::{Depth, Store},
    progress::Progress,
    verify::{Listener, Verification},
};
use crate::{
    clock::{Clock, SystemClock},
    state::LedgerReader,
    storage::local::LocalReader,
    upload::UploadId,
};

/// In which form reports are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// What is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Thoroughness {
    /// Ledgers, and the sizes of files.
    Quick,
    /// Every byte that has a digest.
    Full,
}

/// Which uploads are told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Telling {
    /// All.
    Everything,
    /// Those that are not well.
    Trouble,
}

/// What to verify, and how to tell it.
#[derive(Debug, Clone)]
pub struct VerifyOptions {
    /// The folder that holds everything.
    pub data_dir: PathBuf,
    /// One upload, in any spelling; `None` for all of them.
    pub upload: Option<String>,
    /// Whose; empty where nobody is told apart.
    pub owner: String,
    /// What is read.
    pub thoroughness: Thoroughness,
    /// Which uploads are told.
    pub telling: Telling,
    /// How.
    pub form: Form,
}

/// What to show of one upload.
#[derive(Debug, Clone)]
pub struct InspectOptions {
    /// The folder that holds everything.
    pub data_dir: PathBuf,
    /// Which upload, in any spelling.
    pub upload: String,
    /// Whose; empty where nobody is told apart.
    pub owner: String,
    /// When uploads end.
    pub lifetimes: Lifetimes,
    /// How much of long lists is shown, as text.
    pub extent: Extent,
    /// How.
    pub form: Form,
}

/// How it ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// All well.
    Well,
    /// Something is damaged.
    Damaged,
    /// Nothing is known to be damaged, and something could not be looked at.
    Unreadable,
}

/// Why nothing can be told.
#[derive(Debug, thiserror::Error)]
pub enum AuditError {
    /// The folder is none of ours.
    #[error(
        "{} holds no data of piton: it has no folder named state; name the right one with \
         --data-dir, PITON_DATA_DIR or --config",
        data_dir.display()
    )]
    NoData {
        /// The folder.
        data_dir: PathBuf,
    },
    /// Text that names no upload.
    #[error(
        "\"{asked}\" names no upload: write its id (32 or 48 lower-case hex digits), its URL, or \
         the hash of the chunk flow"
    )]
    NotAnUpload {
        /// What was asked for, made harmless.
        asked: String,
    },
    /// No upload has that name.
    #[error(
        "there is no upload {asked} here: it was deleted, or ended more than a day ago, or lies in \
         another --data-dir, or is another --owner's; `piton verify` lists all that are here"
    )]
    Unknown {
        /// What was asked for, made harmless.
        asked: String,
    },
    /// Several uploads share a hash.
    #[error("several uploads have the hash {asked}, name one by its id: {}", listed(ids))]
    Several {
        /// What was asked for, made harmless.
        asked: String,
        /// Which ones.
        ids: Vec<UploadId>,
    },
    /// A value that cannot be written as JSON.
    #[error(transparent)]
    Json(#[from] serde_json::Error),
    /// The file system refused, or nobody takes what is written.
    #[error(transparent)]
    Io(#[from] io::Error),
}

impl AuditError {
    /// Does nobody take what is written?
    pub fn is_unheard(&self) -> bool {
        matches!(self, Self::Io(error) if error.kind() == ErrorKind::BrokenPipe)
    }
}

fn listed(ids: &[UploadId]) -> String {
    ids.iter().map(UploadId::as_str).collect::<Vec<_>>().join(" ")
}

/// Compares what is on disk with what the ledgers say, and writes what it finds to `out`.
pub fn verify(options: &VerifyOptions, out: &mut dyn Write) -> Result<Outcome, AuditError> {
    let store = open(&options.data_dir)?;
    let depth = match options.thoroughness {
        Thoroughness::Quick => Depth::Sizes,
        Thoroughness::Full => Depth::Bytes,
    };
    let one = options.upload.as_deref();
    let one = one.map(|text| find::find(&store, text, &options.owner)).transpose()?;
    let (form, telling) = (options.form, options.telling);
    let mut printer = Printer { out, form, telling, progress: Progress::begin() };
    let verification = Verification::new(&store, depth, &mut printer);
    let summary = match &one {
        Some(id) => verification.one(id)?,
        None => verification.all()?,
    };
    if one.is_some() && summary.uploads == 0 {
        return Err(AuditError::Unknown { asked: listed(one.as_slice()) });
    }
    Ok(match summary {
        Summary { damaged: 1.., .. } => Outcome::Damaged,
        Summary { unreadable: 1.., .. } => Outcome::Unreadable,
        _ => Outcome::Well,
    })
}

/// Writes to `out` what is on disk of one upload.
pub fn inspect(options: &InspectOptions, out: &mut dyn Write) -> Result<Outcome, AuditError> {
    let store = open(&options.data_dir)?;
    let id = find::find(&store, &options.upload, &options.owner)?;
    let unknown = || AuditError::Unknown { asked: id.to_string() };
    let mut judge = Judge::default();
    Verification::new(&store, Depth::Sizes, &mut judge).one(&id)?;
    let verdict = judge.0.ok_or_else(unknown)?;
    let status = verdict.status;
    let times = (options.lifetimes, SystemClock.now());
    let report = inspect::inspect(&store, &id, verdict, times)?.ok_or_else(unknown)?;
    match options.form {
        Form::Text => out.write_all(text::inspection(&report, options.extent).as_bytes())?,
        Form::Json => writeln!(out, "{}", text::json(&report)?)?,
    }
    out.flush()?;
    Ok(match status {
        Status::Ok | Status::Busy => Outcome::Well,
        Status::Damaged => Outcome::Damaged,
        Status::Unreadable => Outcome::Unreadable,
    })
}

fn open(data_dir: &Path) -> Result<Store, AuditError> {
    let state = data_dir.join("state");
    if !state.try_exists()? {
        return Err(AuditError::NoData { data_dir: data_dir.to_owned() });
    }
    let ledgers = LedgerReader::new(&state);
    let epoch = ledgers.epoch()?.unwrap_or(0);
    Ok(Store { ledgers, bytes: LocalReader::new(data_dir), epoch })
}

/// Keeps the one verdict.
#[derive(Debug, Default)]
struct Judge(Option<Verdict>);

impl Listener for Judge {
    fn hear(&mut self, told: Told<'_>) -> io::Result<()> {
        if let Told::Upload(verdict) = told {
            self.0 = Some(verdict.clone());
        }
        Ok(())
    }

    fn progress(&mut self, _: &Summary, _: u64) {}
}

/// Writes what is found as it is found.
struct Printer<'a> {
    out: &'a mut dyn Write,
    form: Form,
    telling: Telling,
    progress: Progress,
}

impl Printer<'_> {
    fn wants(&self, told: Told<'_>) -> bool {
        match told {
            Told::Upload(verdict) => {
                let news = verdict.notes.iter().any(|note| note.found.is_news());
                self.telling == Telling::Everything || news || verdict.status != Status::Ok
            }
            Told::Loose(_) | Told::Summary(_) => true,
        }
    }
}

impl Listener for Printer<'_> {
    fn hear(&mut self, told: Told<'_>) -> io::Result<()> {
        if !self.wants(told) {
            return Ok(());
        }
        self.progress.clear();
        match (self.form, told) {
            (Form::Json, told) => writeln!(self.out, "{}", text::json(&told)?)?,
            (Form::Text, Told::Upload(verdict)) => {
                self.out.write_all(text::verdict(verdict).as_bytes())?;
            }
            (Form::Text, Told::Loose(loose)) => {
                self.out.write_all(text::loose(loose).as_bytes())?;
            }
            (Form::Text, Told::Summary(summary)) => {
                self.out.write_all(text::summary(summary).as_bytes())?;
            }
        }
        self.out.flush()
    }

    fn progress(&mut self, so_far: &Summary, read: u64) {
        self.progress.show(so_far, read);
    }
}
