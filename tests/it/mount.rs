//! File systems of our own, in a file, so that their faults are ours to choose. Needs root.
//!
//! Tests that mount are marked `#[ignore = "mounts file systems: needs root"]`; `.ci/run` runs them
//! where it may.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::Command,
    thread,
    time::Duration,
};

use tempfile::TempDir;

/// What a file system is made with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Ext4,
    Xfs,
}

impl Kind {
    /// Smallest image in bytes: `mkfs.xfs` makes none below 300 MB.
    const fn smallest(self) -> u64 {
        match self {
            Self::Ext4 => 16 << 20,
            Self::Xfs => 300 << 20,
        }
    }

    const fn tool(self) -> (&'static str, &'static [&'static str]) {
        match self {
            Self::Ext4 => ("mkfs.ext4", &["-q", "-F", "-E", "lazy_itable_init=1,nodiscard"]),
            Self::Xfs => ("mkfs.xfs", &["-q", "-f", "-K"]),
        }
    }
}

/// A mounted file system; unmounted and gone when it goes out of scope.
#[derive(Debug)]
pub struct Mount {
    folder: TempDir,
}

impl Mount {
    /// A new file system of about `size` bytes.
    pub fn new(kind: Kind, size: u64) -> Self {
        let mount = Self { folder: tempfile::tempdir().unwrap() };
        fs::create_dir(mount.path()).unwrap();
        File::create(mount.image()).unwrap().set_len(size.max(kind.smallest())).unwrap();
        let (tool, options) = kind.tool();
        run(Command::new(tool).args(options).arg(mount.image()));
        mount.mount();
        mount
    }

    /// Where its files are.
    pub fn path(&self) -> PathBuf {
        self.folder.path().join("disk")
    }

    fn image(&self) -> PathBuf {
        self.folder.path().join("image")
    }

    fn mount(&self) {
        run(Command::new("mount").args(["-o", "loop"]).arg(self.image()).arg(self.path()));
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

    /// Only reading is possible from now on, as after an error of the disk.
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
