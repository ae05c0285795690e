//! What tells a file from another one that has its name later.

use std::num::NonZeroU64;

/// A file as its file system knows it; kept with the upload whose finished file it is. No rename
/// changes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileMark {
    /// Its number, which another file may get when it is gone.
    pub inode: NonZeroU64,
    /// When it was made, in nanoseconds since 1970; 0 where the file system does not tell.
    pub born: u64,
    /// When its bytes last changed, in nanoseconds since 1970. What copies and restores files
    /// mostly keeps it.
    pub modified: u64,
}

/// How like the file that was finished is what lies under its name now?
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Likeness {
    /// Nobody can tell: an earlier version finished it, or the storage knows no marks.
    Unknown,
    /// It is that file.
    Same,
    /// It is that file, and somebody may have changed it.
    Touched,
    /// It is another one with the time of that file: a copy, or restored.
    Copy,
    /// It is another one.
    Another,
}

impl FileMark {
    /// What the file that had the mark `of` has become, where `there` is what lies there now.
    pub fn likeness(of: Option<Self>, there: Option<Self>) -> Likeness {
        let (Some(of), Some(there)) = (of, there) else { return Likeness::Unknown };
        let unmodified = of.modified == there.modified || there.is_cut_off(of);
        // Without its birth, a number that came again cannot be told from a file that was touched.
        let known = of.born != 0 && there.born != 0;
        let same =
            of.inode == there.inode && (if known { of.born == there.born } else { unmodified });
        match (same, unmodified) {
            (true, true) => Likeness::Same,
            (true, false) => Likeness::Touched,
            (false, true) => Likeness::Copy,
            (false, false) => Likeness::Another,
        }
    }

    /// Is its time that of the other in whole seconds? Many archives keep no more.
    const fn is_cut_off(self, of: Self) -> bool {
        const SECOND: u64 = 1_000_000_000;
        self.modified == of.modified.saturating_sub(of.modified % SECOND)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[allow(clippy::unnecessary_wraps, reason = "some files have none")]
    fn mark(inode: u64, born: u64, modified: u64) -> Option<FileMark> {
        Some(FileMark { inode: NonZeroU64::new(inode).unwrap(), born, modified })
    }

    #[test]
    fn a_file_is_told_from_what_has_its_name_later() {
        let of = mark(7, 100, 200);
        for (there, expected) in [
            (None, Likeness::Unknown),
            (of, Likeness::Same),
            (mark(7, 100, 201), Likeness::Touched),
            (mark(8, 300, 200), Likeness::Copy),
            (mark(8, 300, 301), Likeness::Another),
            // Out of an archive that keeps seconds.
            (mark(8, 300, 0), Likeness::Copy),
            // The number came again.
            (mark(7, 300, 301), Likeness::Another),
            (mark(7, 0, 200), Likeness::Same),
            (mark(7, 0, 301), Likeness::Another),
        ] {
            assert_eq!(FileMark::likeness(of, there), expected, "{there:?}");
        }
        assert_eq!(FileMark::likeness(None, of), Likeness::Unknown);
    }
}
