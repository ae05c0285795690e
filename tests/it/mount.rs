//! File systems of our own, in a file, so that their faults are ours to choose. Needs root.
//!
//! Tests that mount are marked `#[ignore = "mounts file systems: needs root"]`; `.ci/run` runs them
//! where it may.

use std::{
    fs::{self, File},
    io::Write,
    path::{Path, PathBuf},
    process::Command,
    thread,
    time::Duration,
};

use rustix::fs::FallocateFlags;
use tempfile::TempDir;

/// What a file system is made with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Ext4,
    Xfs,
    /// In memory, without an image: nothing of it survives an unmount.
    Tmpfs,
}

impl Kind {
    /// Smallest image in bytes: `mkfs.xfs` makes none below 300 MB.
    const fn smallest(self) -> u64 {
        match self {
            Self::Ext4 => 16 << 20,
            Self::Xfs => 300 << 20,
            Self::Tmpfs => 1 << 20,
        }
    }

    const fn tool(self) -> Option<(&'static str, &'static [&'static str])> {
        match self {
            Self::Ext4 => Some(("mkfs.ext4", &["-q", "-F", "-E", "lazy_itable_init=1,nodiscard"])),
            Self::Xfs => Some(("mkfs.xfs", &["-q", "-f", "-K"])),
            Self::Tmpfs => None,
        }
    }
}

/// A mounted file system; unmounted and gone when it goes out of scope.
#[derive(Debug)]
pub struct Mount {
    folder: TempDir,
    kind: Kind,
    size: u64,
}

impl Mount {
    /// A new file system of about `size` bytes.
    pub fn new(kind: Kind, size: u64) -> Self {
        Self::made_with(kind, size, &[])
    }

    /// The same, with more options for the tool that makes it.
    pub fn made_with(kind: Kind, size: u64, options: &[&str]) -> Self {
        let mount = Self::unmade(&std::env::temp_dir(), kind, size);
        mount.make(options);
        mount.mount();
        mount
    }

    /// One whose image lies on another one, and has no room there but for the first `firm` bytes:
    /// once the lower one is full, the upper one cannot write back what it took.
    pub fn upon(lower: &Self, size: u64, (firm, options): (u64, &[&str])) -> Self {
        let mount = Self::unmade(&lower.path(), Kind::Ext4, size);
        mount.make(options);
        let image = File::options().write(true).open(mount.image()).unwrap();
        rustix::fs::fallocate(&image, FallocateFlags::KEEP_SIZE, 0, firm).unwrap();
        mount.mount();
        mount
    }

    fn unmade(place: &Path, kind: Kind, size: u64) -> Self {
        let size = size.max(kind.smallest());
        let mount = Self { folder: tempfile::tempdir_in(place).unwrap(), kind, size };
        fs::create_dir(mount.path()).unwrap();
        mount
    }

    fn make(&self, options: &[&str]) {
        let Some((tool, ours)) = self.kind.tool() else { return };
        File::create(self.image()).unwrap().set_len(self.size).unwrap();
        run(Command::new(tool).args(ours).args(options).arg(self.image()));
    }

    /// Where its files are.
    pub fn path(&self) -> PathBuf {
        self.folder.path().join("disk")
    }

    fn image(&self) -> PathBuf {
        self.folder.path().join("image")
    }

    fn mount(&self) {
        let mut mount = Command::new("mount");
        match self.kind {
            Kind::Tmpfs => {
                mount.args(["-t", "tmpfs", "-o", &format!("size={}", self.size), "tmpfs"]);
            }
            Kind::Ext4 | Kind::Xfs => {
                mount.args(["-o", "loop"]).arg(self.image());
            }
        }
        run(mount.arg(self.path()));
    }

    /// Takes all room but about `left` bytes, and all of it where that is 0.
    pub fn fill(&self, left: u64) {
        let mut filler = File::options().append(true).create(true).open(self.filler()).unwrap();
        let mut size = filler.metadata().unwrap().len();
        // In ever smaller pieces, the last of which are written: some file systems reserve less
        // than can be written.
        for step in [1 << 20, 64 << 10, 4 << 10] {
            while rustix::fs::fallocate(&filler, FallocateFlags::empty(), size, step).is_ok() {
                size += step;
            }
        }
        while filler.write_all(&[7; 4096]).is_ok() {}
        if left > 0 {
            // At once, not when it is written back.
            flush(&self.filler());
            filler.set_len(filler.metadata().unwrap().len().saturating_sub(left)).unwrap();
            flush(&self.filler());
        }
    }

    /// There is room again.
    pub fn make_room(&self) {
        fs::remove_file(self.filler()).unwrap();
        flush(&self.path());
    }

    /// Whatever was written is on the disk.
    pub fn sync(&self) {
        run(Command::new("sync").arg("-f").arg(self.path()));
    }

    fn filler(&self) -> PathBuf {
        self.path().join("filler")
    }

    /// An error of the disk: ext4 lets nobody write any more until it is mounted anew.
    pub fn abort(&self) {
        run(Command::new("mount").args(["-o", "remount,abort"]).arg(self.path()));
    }

    /// The power goes: whatever was not flushed is lost, log and all, and nothing works on it any
    /// more until it is back.
    pub fn cut_power(&self) {
        run(Command::new("xfs_io").args(["-x", "-c", "shutdown"]).arg(self.path()));
    }

    /// The power is back: the file system is mounted anew, and recovers as it does after a crash.
    /// Nobody may have files open on it.
    pub fn power_up(&self) {
        self.unmount();
        self.mount();
    }

    /// Only reading is possible from now on. Nobody may have files open to write.
    pub fn read_only(&self) {
        run(Command::new("mount").args(["-o", "remount,ro"]).arg(self.path()));
    }

    /// Writing is possible again.
    pub fn read_write(&self) {
        run(Command::new("mount").args(["-o", "remount,rw"]).arg(self.path()));
    }

    fn unmount(&self) {
        // Who was killed a moment ago may still be at its end.
        for _ in 0..100 {
            if Command::new("umount").arg(self.path()).output().unwrap().status.success() {
                return;
            }
            thread::sleep(Duration::from_millis(20));
        }
        run(Command::new("umount").arg(self.path()));
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        // A test that failed leaves processes behind; the mount must not stay for that.
        let _ = Command::new("umount").arg("--lazy").arg(self.path()).output();
    }
}

#[track_caller]
fn run(command: &mut Command) {
    let path = std::env::var("PATH").unwrap_or_default();
    let output = command.env("PATH", format!("{path}:/usr/sbin:/sbin")).output();
    let output = output.unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}

/// Whatever is in a file or folder is on the disk.
pub fn flush(path: &Path) {
    File::open(path).unwrap().sync_all().unwrap();
}

#[test]
#[ignore = "mounts file systems: needs root"]
fn a_power_cut_takes_what_was_not_flushed_and_leaves_what_was() {
    for kind in [Kind::Ext4, Kind::Xfs] {
        let mount = Mount::new(kind, 64 << 20);
        let (kept, lost) = (mount.path().join("kept"), mount.path().join("lost"));
        fs::write(&kept, [7; 10_000]).unwrap();
        flush(&kept);
        flush(&mount.path());
        fs::write(&lost, [8; 10_000]).unwrap();
        mount.cut_power();
        assert!(fs::write(mount.path().join("more"), "x").is_err(), "{kind:?}");
        mount.power_up();
        assert_eq!(fs::read(&kept).unwrap(), [7; 10_000], "{kind:?}");
        assert_ne!(fs::read(&lost).unwrap_or_default(), [8; 10_000], "{kind:?}");
        mount.read_only();
        assert!(fs::write(&kept, "x").is_err(), "{kind:?}");
        mount.read_write();
        fs::write(&kept, "x").unwrap();
    }
}
