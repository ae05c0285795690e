//! A folder in memory, where there is one.

use std::path::Path;

use tempfile::TempDir;

/// Goes with its value.
#[derive(Debug)]
pub(crate) struct Scratch(TempDir);

impl Scratch {
    pub(crate) fn new() -> Self {
        let memory = Path::new("/dev/shm");
        let made = tempfile::tempdir_in(memory).or_else(|_| tempfile::tempdir());
        Self(made.expect("some folder can be written to"))
    }

    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }
}
