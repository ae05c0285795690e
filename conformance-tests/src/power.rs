//! A file system that loses its power: an ext4 of our own, shut down without its log.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    sync::Arc,
};

use tempfile::TempDir;

use crate::stop::{Step, Stop, breach};

/// An ext4 on a loop device, mounted where a server has its data folder.
#[derive(Debug)]
pub(crate) struct Volume {
    folder: Arc<TempDir>,
}

impl Volume {
    /// A new one, mounted; a skip where that may not be done.
    pub(crate) fn mounted() -> Step<Self> {
        let volume = Self { folder: Arc::new(tempfile::tempdir()?) };
        fs::create_dir(volume.data())?;
        let image = fs::File::create(volume.image())?;
        image.set_len(256 << 20)?;
        let skip = |why: String| Stop::Skip(format!("no power can be cut here: {why}"));
        run("xfs_io", &["-V"]).map_err(skip)?;
        run("mkfs.ext4", &["-q", &volume.image().to_string_lossy()]).map_err(skip)?;
        volume.mount().map_err(skip)?;
        Ok(volume)
    }

    /// The folder whose `data` it is.
    pub(crate) fn folder(&self) -> Arc<TempDir> {
        Arc::clone(&self.folder)
    }

    fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    fn image(&self) -> PathBuf {
        self.folder.path().join("image")
    }

    fn mount(&self) -> Result<(), String> {
        let (image, data) = (self.image(), self.data());
        run("mount", &["-o", "loop", &image.to_string_lossy(), &data.to_string_lossy()])
    }

    /// From now on nothing reaches the disk, and what was not flushed is lost.
    pub(crate) fn cut(&self) -> Step {
        let data = self.data();
        run("xfs_io", &["-x", "-c", "shutdown", &data.to_string_lossy()]).map_err(breach)
    }

    /// The machine starts again. No process may hold a file of it.
    pub(crate) fn remount(&self) -> Step {
        run("umount", &[&self.data().to_string_lossy()]).map_err(breach)?;
        self.mount().map_err(breach)
    }
}

impl Drop for Volume {
    fn drop(&mut self) {
        // Lazily: a server may hold a file of it for a moment longer.
        let _ = run("umount", &["-l", &self.data().to_string_lossy()]);
    }
}

fn run(program: &str, args: &[&str]) -> Result<(), String> {
    let sbin = |folder| Path::new(folder).join(program);
    // Where tools of the file system are not on the PATH of everybody.
    let found = ["/usr/sbin", "/sbin"].map(sbin).into_iter().find(|path| path.exists());
    let output = Command::new(found.unwrap_or_else(|| program.into())).args(args).output();
    let output = output.map_err(|error| format!("{program}: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(format!("{program}: {}", said.trim()))
}
