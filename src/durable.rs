//! The only fsync, rename and unlink in the crate: one door to durability, visibility and oblivion.
//!
//! A failed fsync is never retried: the kernel may have dropped the pages and would report success
//! the second time.

use std::{
    fs::{self, File},
    io::{self, ErrorKind, Write},
    os::unix::fs::MetadataExt,
    path::Path,
};

use rustix::{
    fs::{CWD, RenameFlags},
    io::Errno,
};

/// When a write has to be on the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flush {
    /// Sometime; survives the process, not the machine.
    Lazy,
    /// Before the call returns.
    Durable,
}

/// What a 2xx promises about power loss (protocol-spec.md, STORE). Whatever the policy, an answer
/// survives the death of the process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durability {
    /// Nothing.
    None,
    /// The answer that finishes an upload is durable.
    Complete,
    /// Every answered offset and chunk is durable.
    Ack,
}

impl Durability {
    /// How a finish is flushed.
    pub const fn of_finish(self) -> Flush {
        match self {
            Self::None => Flush::Lazy,
            Self::Complete | Self::Ack => Flush::Durable,
        }
    }

    /// How what every other answer tells is flushed.
    pub const fn of_answer(self) -> Flush {
        match self {
            Self::None | Self::Complete => Flush::Lazy,
            Self::Ack => Flush::Durable,
        }
    }
}

/// Waits until the file's bytes and length are on the disk.
pub fn sync_data(file: &File) -> io::Result<()> {
    file.sync_data()
}

/// Waits until the folder's entries are on the disk.
pub fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

/// Waits until the whole file system is on the disk; for the clean-stop mark.
pub fn sync_file_system(folder: &Path) -> io::Result<()> {
    Ok(rustix::fs::syncfs(File::open(folder)?)?)
}

/// Gives a file a new name that must be free: `AlreadyExists` if it is not.
pub fn publish(from: &Path, to: &Path) -> io::Result<()> {
    match rustix::fs::renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
        Ok(()) => Ok(()),
        // NFS and others that have no such rename.
        Err(Errno::INVAL) => publish_by_link(from, to),
        // A publication by link that was cut off between its two steps.
        Err(Errno::EXIST) if same_file(from, to)? => remove_file(from).map(|_| ()),
        Err(error) => Err(error.into()),
    }
}

/// Gives a file a new name; whatever had it is replaced at the same moment.
#[allow(clippy::disallowed_methods, reason = "this is the one place")]
pub fn place(from: &Path, to: &Path) -> io::Result<()> {
    fs::rename(from, to)
}

/// Gives a file a second name, which must be free: `AlreadyExists` if it is not.
pub fn link(from: &Path, to: &Path) -> io::Result<()> {
    fs::hard_link(from, to)
}

/// Removes a file; `false` if there was none.
#[allow(clippy::disallowed_methods, reason = "this is the one place")]
pub fn remove_file(path: &Path) -> io::Result<bool> {
    absent_is_fine(fs::remove_file(path))
}

/// Removes an empty folder; `false` if there was none.
#[allow(clippy::disallowed_methods, reason = "this is the one place")]
pub fn remove_folder(path: &Path) -> io::Result<bool> {
    absent_is_fine(fs::remove_dir(path))
}

/// Writes a small file as a whole: staged beside it, flushed, renamed over it, its folder flushed.
pub fn write_file(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let folder = path.parent().ok_or(ErrorKind::InvalidInput)?;
    let staged = path.with_extension("new");
    let mut file = File::create(&staged)?;
    file.write_all(bytes)?;
    sync_data(&file)?;
    place(&staged, path)?;
    sync_folder(folder)
}

fn absent_is_fine(done: io::Result<()>) -> io::Result<bool> {
    match done {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

/// Two steps instead of one: for a moment, or after a crash until the next try, the file has both
/// names. A link, too, never replaces.
fn publish_by_link(from: &Path, to: &Path) -> io::Result<()> {
    match fs::hard_link(from, to) {
        Err(error) if error.kind() == ErrorKind::AlreadyExists && same_file(from, to)? => {}
        linked => linked?,
    }
    remove_file(from)?;
    Ok(())
}

/// Whether two names belong to one file.
fn same_file(one: &Path, other: &Path) -> io::Result<bool> {
    let (one, other) = (fs::symlink_metadata(one)?, fs::symlink_metadata(other)?);
    Ok((one.dev(), one.ino()) == (other.dev(), other.ino()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_publishes_like_the_rename_that_some_file_systems_lack() {
        let folder = tempfile::tempdir().unwrap();
        let [one, two, name] = ["one", "two", "name"].map(|name| folder.path().join(name));
        fs::write(&one, "1").unwrap();
        fs::write(&two, "2").unwrap();
        for publish in [publish_by_link, publish] {
            publish(&one, &name).unwrap();
            assert!(!one.try_exists().unwrap());
            assert_eq!(publish(&two, &name).unwrap_err().kind(), ErrorKind::AlreadyExists);
            assert_eq!(publish(&one, &name).unwrap_err().kind(), ErrorKind::NotFound);
            assert_eq!(fs::read(&two).unwrap(), b"2");
            assert_eq!(fs::read(&name).unwrap(), b"1");

            // Cut off between its two steps, it is finished by the next try.
            fs::hard_link(&name, &one).unwrap();
            publish(&one, &name).unwrap();
            assert!(!one.try_exists().unwrap());
            place(&name, &one).unwrap();
        }
    }
}
