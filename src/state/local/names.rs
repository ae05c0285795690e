//! The names of ledgers, on the disk.

use std::{
    collections::HashSet,
    fs,
    io::{self, ErrorKind},
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard, PoisonError},
};

use crate::{durable::SharedFolder, state::Shard, upload::UploadId};

/// The folders in which ledgers have their names.
#[derive(Debug)]
pub(super) struct Names {
    path: PathBuf,
    root: SharedFolder,
    /// By number.
    shards: Vec<SharedFolder>,
    /// Shards whose own names are known to be on the disk.
    rooted: Mutex<HashSet<String>>,
}

impl Names {
    pub(super) fn below(root: &Path) -> Self {
        let folder = |shard: Shard| SharedFolder::new(root.join(shard.to_string()));
        Self {
            path: root.to_owned(),
            root: SharedFolder::new(root.to_owned()),
            shards: Shard::all().map(folder).collect(),
            rooted: Mutex::default(),
        }
    }

    /// Waits until the name of a ledger is on the disk, and that of its shard.
    pub(super) fn sync(&self, id: &UploadId) -> io::Result<()> {
        let number = usize::from_str_radix(id.shard(), 16).ok();
        let shard = number.and_then(|number| self.shards.get(number));
        shard.ok_or(ErrorKind::InvalidInput)?.sync()?;
        if self.rooted().contains(id.shard()) {
            return Ok(());
        }
        // One flush is for all that are there, not for one shard after the other.
        let there = self.there()?;
        self.root.sync()?;
        self.rooted().extend(there);
        Ok(())
    }

    fn there(&self) -> io::Result<Vec<String>> {
        let names = fs::read_dir(&self.path)?.map(|entry| Ok(entry?.file_name().into_string()));
        Ok(names.collect::<io::Result<Vec<_>>>()?.into_iter().flatten().collect())
    }

    fn rooted(&self) -> MutexGuard<'_, HashSet<String>> {
        self.rooted.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
