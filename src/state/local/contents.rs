//! Which uploads hold a content: `{root}/contents/{shard}/{key}`, a line for each of their ids.
//!
//! Hints and nothing more. A note that is lost, torn or made up costs a client the sending of a
//! file that is there already; what is done with it is decided by ledgers and bytes. So nothing
//! here is flushed, nothing is read at a start, and what cannot be read counts as not noted.

use std::{
    fs::{self, File},
    io::{self, ErrorKind, Read},
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
};

use crate::{
    durable,
    state::{HOLDERS_MAX, with_holder},
    upload::{ContentKey, UploadId},
};

/// Bytes of a note at most: an id has 48 digits.
const NOTE_BYTES_MAX: u64 = 4096;

/// The notes of one state folder.
#[derive(Debug)]
pub(super) struct Contents {
    root: PathBuf,
    /// A note is read, changed and replaced. Two processes may lose each other's change, no more.
    writing: Mutex<()>,
}

impl Contents {
    pub(super) fn below(root: &Path) -> Self {
        Self { root: root.join("contents"), writing: Mutex::default() }
    }

    pub(super) fn note(&self, content: &ContentKey, id: &UploadId) -> io::Result<()> {
        let _turn = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let noted = self.holders(content)?;
        if noted.first() == Some(id) {
            return Ok(());
        }
        self.write(content, &with_holder(noted, id))
    }

    pub(super) fn holders(&self, content: &ContentKey) -> io::Result<Vec<UploadId>> {
        let mut text = Vec::new();
        match File::open(self.path(content)) {
            Ok(file) => file.take(NOTE_BYTES_MAX).read_to_end(&mut text)?,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(error),
        };
        let lines = text.split(|byte| *byte == b'\n').filter_map(|line| str::from_utf8(line).ok());
        Ok(lines.filter_map(|line| UploadId::parse(line).ok()).take(HOLDERS_MAX).collect())
    }

    pub(super) fn drop_holder(&self, content: &ContentKey, id: &UploadId) -> io::Result<()> {
        let _turn = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let mut holders = self.holders(content)?;
        if !holders.contains(id) {
            return Ok(());
        }
        holders.retain(|other| other != id);
        if holders.is_empty() {
            return durable::remove_file(&self.path(content)).map(drop);
        }
        self.write(content, &holders)
    }

    fn path(&self, content: &ContentKey) -> PathBuf {
        self.root.join(content.shard()).join(content.as_str())
    }

    fn write(&self, content: &ContentKey, holders: &[UploadId]) -> io::Result<()> {
        let path = self.path(content);
        let staged = path.with_extension("new");
        let text: String = holders.iter().flat_map(|id| [id.as_str(), "\n"]).collect();
        match fs::write(&staged, &text) {
            Err(error) if error.kind() == ErrorKind::NotFound => {
                fs::create_dir_all(self.root.join(content.shard()))?;
                fs::write(&staged, &text)?;
            }
            written => written?,
        }
        durable::place(&staged, &path)
    }
}
