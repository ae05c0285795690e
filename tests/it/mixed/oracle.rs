//! What the clients were told of one upload, and what they sent of it at most.

use std::{
    fmt,
    time::{Duration, Instant},
};

use crate::{chunks::Parts, server::Server};

/// Chunks of uploads that tus makes.
pub const CHUNK: usize = 16 * 1024;
/// By how much a server may be late with an end.
pub const GRACE: Duration = Duration::from_millis(2_500);

/// What an answer promises when the power goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Promise {
    Nothing,
    Finished,
    Answered,
}

/// The rules by which a server runs.
#[derive(Debug, Clone, Copy)]
pub struct Rules {
    pub expire_after: Option<Duration>,
    pub keep_finished: Option<Duration>,
    pub auto_merge: bool,
    /// Partial uploads go with the final one.
    pub consumes: bool,
    /// The power was cut: what is deleted may be back.
    pub power: bool,
}

/// How sure one can be of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Belief {
    No,
    /// The answer was lost.
    Maybe,
    Sure,
}

/// Ranges of bytes, in order and apart.
#[derive(Debug, Clone, Default)]
pub struct Spans(Vec<(u64, u64)>);

impl Spans {
    pub fn add(&mut self, from: u64, to: u64) {
        self.0.push((from, to));
        self.0.sort_unstable();
        let mut merged: Vec<(u64, u64)> = Vec::new();
        for &(from, to) in &self.0 {
            match merged.last_mut() {
                Some(last) if from <= last.1 => last.1 = last.1.max(to),
                _ => merged.push((from, to)),
            }
        }
        self.0 = merged;
    }

    /// The end of the range that begins at 0.
    pub fn prefix(&self) -> u64 {
        self.0.first().filter(|span| span.0 == 0).map_or(0, |span| span.1)
    }

    pub fn covers(&self, from: u64, to: u64) -> bool {
        from == to || self.0.iter().any(|span| span.0 <= from && to <= span.1)
    }

    /// Whether anything lies behind `offset`.
    pub fn goes_past(&self, offset: u64) -> bool {
        self.0.last().is_some_and(|span| span.1 > offset)
    }
}

/// Who made an upload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Made {
    Tus,
    /// By its first chunk.
    Chunks,
    /// Of these partial uploads.
    Joined(Vec<u64>),
}

/// One upload as its client knows it.
#[derive(Clone)]
#[allow(clippy::struct_excessive_bools, reason = "each is one thing that was told or is not")]
pub struct Known {
    pub made: Made,
    pub parts: Parts,
    /// Unknown of a chunk upload that nobody looked at yet.
    pub url: Option<String>,
    pub partial: bool,
    /// Its length was left open at first.
    pub deferred: bool,
    /// An answer told that the length is known.
    pub length_told: bool,
    pub created: Belief,
    pub told: Spans,
    /// Bytes that the server may have, right ones all of them.
    pub sent: Spans,
    pub finished: Belief,
    pub deleted: Belief,
    /// An answer to an offset client told the end of a partial upload.
    pub settled: bool,
    /// A final upload was made of it, with which it goes.
    pub consumed: bool,
    /// Before the last request that surely was activity, after the last one that may have been.
    pub active: (Instant, Instant),
    /// Where the next PATCH goes; unknown after a restart.
    pub at: Option<u64>,
    /// Where a PATCH begins that was sent and left, and of which nothing was seen: a busy server
    /// may still come to it.
    pub late: Option<u64>,
}

impl Known {
    pub fn new(made: Made, parts: Parts) -> Self {
        Self {
            made,
            parts,
            url: None,
            partial: false,
            deferred: false,
            length_told: true,
            created: Belief::Maybe,
            told: Spans::default(),
            sent: Spans::default(),
            finished: Belief::No,
            deleted: Belief::No,
            settled: false,
            consumed: false,
            active: (Instant::now(), Instant::now()),
            at: None,
            late: None,
        }
    }

    pub fn length(&self) -> u64 {
        self.parts.bytes.len() as u64
    }

    pub fn url(&self) -> &str {
        self.url.as_deref().unwrap()
    }

    pub fn id(&self) -> &str {
        self.url().rsplit('/').next().unwrap()
    }

    pub fn is_joined(&self) -> bool {
        matches!(self.made, Made::Joined(_))
    }

    /// Where a chunk begins and ends.
    pub fn range(&self, index: usize) -> (u64, u64) {
        let from = index * self.parts.chunk_size;
        (from as u64, (from + self.parts.chunk(index).len()) as u64)
    }

    pub fn is_chunk_told(&self, index: usize) -> bool {
        let (from, to) = self.range(index);
        self.told.covers(from, to)
    }

    /// All bytes were acknowledged, and the length, if that was open.
    pub fn is_whole(&self) -> bool {
        self.told.covers(0, self.length()) && self.length_told
    }

    /// All bytes may be there.
    pub fn may_be_whole(&self) -> bool {
        self.sent.covers(0, self.length())
    }

    /// Bytes came, or may have come, by a request that began at `began`.
    pub fn was_active(&mut self, began: Instant, surely: Belief) {
        if surely == Belief::Sure {
            self.active.0 = began;
        }
        self.active.1 = Instant::now();
    }

    /// By the request that began at `began`, at the earliest, if that finished it.
    pub fn is_finished(&mut self, began: Option<Instant>) {
        if self.finished != Belief::Sure {
            self.finished = Belief::Sure;
            self.active = (began.unwrap_or(self.active.0), Instant::now());
        }
        self.length_told = true;
        self.told.add(0, self.length());
    }

    /// Half of its time is over: it is left alone, since nobody could tell whether a chunk of it
    /// begins it anew.
    pub fn is_fading(&self, rules: &Rules) -> bool {
        let soon = rules.expire_after.is_some_and(|span| self.active.0.elapsed() * 2 >= span);
        soon && self.created == Belief::Sure && self.finished != Belief::Sure
    }

    /// Whether it may be that it is not there (any more).
    pub fn may_be_gone(&self, rules: &Rules) -> bool {
        let past = |span: Option<Duration>| span.is_some_and(|s| self.active.0.elapsed() >= s);
        let unfinished = self.finished != Belief::Sure;
        self.deleted != Belief::No
            || self.created != Belief::Sure
            || self.consumed
            || (unfinished && past(rules.expire_after))
            || (self.finished != Belief::No && past(rules.keep_finished))
    }

    /// Whether it cannot be there any more.
    pub fn must_be_gone(&self, rules: &Rules) -> bool {
        let past = |span: Option<Duration>| {
            span.is_some_and(|span| self.active.1.elapsed() >= span + GRACE)
        };
        if self.deleted == Belief::Sure && !rules.power {
            return true;
        }
        match self.finished {
            Belief::Sure => past(rules.keep_finished),
            // Its parts may be active.
            Belief::No if !self.is_joined() && !self.may_be_whole() => past(rules.expire_after),
            _ => false,
        }
    }

    /// The power went and came back.
    pub fn weaken(&mut self, promise: Promise) {
        self.at = None;
        self.deleted = self.deleted.min(Belief::Maybe);
        let flushed = self.finished == Belief::Sure || self.settled;
        let kept = match promise {
            Promise::Nothing => false,
            Promise::Finished => flushed,
            Promise::Answered => true,
        };
        if !kept {
            self.created = Belief::Maybe;
            self.told = Spans::default();
            self.finished = self.finished.min(Belief::Maybe);
            self.length_told &= !self.deferred;
            self.settled = false;
        }
    }
}

impl fmt::Debug for Known {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Parts { hash, filename, chunk_size, total, bytes } = &self.parts;
        f.debug_struct("Known")
            .field("made", &self.made)
            .field("url", &self.url)
            .field("name", &(hash, filename))
            .field("layout", &(chunk_size, total, bytes.len()))
            .field(
                "partial, deferred, length_told",
                &(self.partial, self.deferred, self.length_told),
            )
            .field("told", &self.told)
            .field("sent", &self.sent)
            .field("created", &self.created)
            .field("finished", &self.finished)
            .field("deleted", &self.deleted)
            .field("quiet for", &(self.active.0.elapsed(), self.active.1.elapsed()))
            .field("at", &self.at)
            .finish_non_exhaustive()
    }
}

/// The server that clients ask, and whether it is about to end.
#[derive(Debug, Clone, Copy)]
pub struct Line<'a> {
    pub server: &'a Server,
    pub weather: &'a Weather,
    pub rules: &'a Rules,
}

/// What happens to the server.
#[derive(Debug, Default)]
pub struct Weather {
    /// It may answer with errors: its disk is gone.
    pub dark: std::sync::atomic::AtomicBool,
    /// It may not answer at all.
    pub dying: std::sync::atomic::AtomicBool,
}

#[test]
fn spans_merge_where_they_touch() {
    let mut spans = Spans::default();
    assert_eq!((spans.prefix(), spans.covers(3, 3), spans.covers(0, 1)), (0, true, false));
    spans.add(10, 20);
    assert_eq!(spans.prefix(), 0);
    spans.add(0, 5);
    assert_eq!((spans.prefix(), spans.goes_past(5), spans.goes_past(20)), (5, true, false));
    spans.add(5, 10);
    assert_eq!((spans.prefix(), spans.covers(3, 17), spans.covers(3, 21)), (20, true, false));
}
