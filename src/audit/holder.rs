//! Does somebody hold an upload? Asked of the kernel's list of locks, since trying the lock would
//! take it away from a server that tries at the same moment.

use std::fs;

const LOCKS: &str = "/proc/locks";

/// Does a process hold the flock of the file with this inode? As far as that can be seen: the list
/// leaves out processes of other PID namespaces.
pub(super) fn is_held(inode: u64) -> bool {
    fs::read_to_string(LOCKS).is_ok_and(|locks| locks.lines().any(|line| names(line, inode)))
}

/// `1: FLOCK  ADVISORY  WRITE 4711 08:02:1234 0 EOF`: of the place only the inode is compared,
/// since some file systems tell programs another device than the kernel's list has.
fn names(line: &str, inode: u64) -> bool {
    let mut fields = line.split_ascii_whitespace().skip(1);
    let is_flock = fields.next() == Some("FLOCK");
    let place = fields.nth(3).and_then(|place| place.rsplit(':').next());
    is_flock && place.and_then(|number| number.parse().ok()) == Some(inode)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt;

    use super::*;

    #[test]
    fn a_lock_is_seen_while_it_is_held() {
        let file = tempfile::tempfile().unwrap();
        let inode = file.metadata().unwrap().ino();
        assert!(!is_held(inode));
        file.lock().unwrap();
        assert!(is_held(inode));
        file.unlock().unwrap();
        assert!(!is_held(inode));
    }

    #[test]
    fn only_a_flock_that_is_held_counts() {
        assert!(names("1: FLOCK  ADVISORY  WRITE 4711 08:02:1234 0 EOF", 1234));
        for line in [
            "1: FLOCK  ADVISORY  WRITE 4711 08:02:12345 0 EOF",
            "1: POSIX  ADVISORY  WRITE 4711 08:02:1234 0 EOF",
            "1: -> FLOCK  ADVISORY  WRITE 4711 08:02:1234 0 EOF",
            "",
        ] {
            assert!(!names(line, 1234), "{line}");
        }
    }
}
