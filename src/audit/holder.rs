//! Does somebody hold an upload? Asked of the kernel's list of locks, since trying the lock would
//! take it away from a server that tries at the same moment.

use std::{
    fs::File,
    io::{BufRead, BufReader},
};

const LOCKS: &str = "/proc/locks";
/// More than the kernel gives out at once, which is a page: a list that is read in two pieces lacks
/// a line where a lock in front of it is released in between.
const PIECE: usize = 64 * 1024;
/// A list of more than a page comes in pieces all the same.
const LOOKS: usize = 4;

/// Does a process hold the flock of the file with this inode? As far as that can be seen: the list
/// leaves out processes of other PID namespaces.
pub(super) fn is_held(inode: u64) -> bool {
    (0..LOOKS).any(|_| is_listed(inode))
}

fn is_listed(inode: u64) -> bool {
    let Ok(list) = File::open(LOCKS) else { return false };
    let lines = BufReader::with_capacity(PIECE, list).lines();
    lines.map_while(Result::ok).any(|line| names(&line, inode))
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
    use std::{
        os::unix::fs::MetadataExt,
        sync::atomic::{AtomicBool, Ordering},
        thread,
    };

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

    /// Found by a test on a busy machine: the list was read in pieces.
    #[test]
    fn a_lock_is_seen_beside_others_that_come_and_go() {
        let over = AtomicBool::new(false);
        thread::scope(|scope| {
            for _ in 0..3 {
                scope.spawn(|| {
                    let other = tempfile::tempfile().unwrap();
                    while !over.load(Ordering::Relaxed) {
                        other.lock().unwrap();
                        other.unlock().unwrap();
                    }
                });
            }
            let file = tempfile::tempfile().unwrap();
            let inode = file.metadata().unwrap().ino();
            file.lock().unwrap();
            let missed = (0..3000).filter(|_| !is_listed(inode)).count();
            over.store(true, Ordering::Relaxed);
            // Some may be, while other tests hold more than a page tells of.
            assert!(missed < 10, "{missed}");
        });
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
