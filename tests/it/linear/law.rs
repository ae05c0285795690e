//! What one upload does when its operations come one after the other. Written from the numbered
//! clauses alone: it knows no part, ledger, lock or cache.

use super::check::{Law, Step};

/// Bytes as runs: which writer's, and how many.
pub type Runs = Vec<(u8, usize)>;

/// Joins neighbours of one writer.
pub fn push(runs: &mut Runs, (writer, count): (u8, usize)) {
    match runs.last_mut() {
        _ if count == 0 => {}
        Some(last) if last.0 == writer => last.1 += count,
        _ => runs.push((writer, count)),
    }
}

/// Bytes in all.
pub fn sum(runs: &Runs) -> usize {
    runs.iter().map(|run| run.1).sum()
}

/// The runs of real bytes.
pub fn runs(bytes: &[u8]) -> Runs {
    let mut all = Runs::new();
    for same in bytes.chunk_by(|a, b| a == b) {
        all.push((same[0], same.len()));
    }
    all
}

/// What is asked of the upload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ask {
    /// So many bytes of this writer at an offset.
    Patch {
        offset: usize,
        count: usize,
        writer: u8,
    },
    /// A whole chunk of this writer.
    Put {
        chunk: usize,
        writer: u8,
    },
    Head,
    Status,
    Get,
    Merge,
    /// By its URL.
    Delete,
    /// By its key, which is answered alike where there is none.
    DeleteKey,
}

/// What the client was told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Told {
    /// Nothing, or that somebody else took its place: perhaps some bytes were kept.
    Perhaps,
    /// Refused for now: nothing happened.
    Busy,
    /// There is no such upload (any more).
    Unknown,
    /// Refused because a merge is under way.
    Merging,
    /// All of a PATCH is kept, up to this offset; or HEAD told it.
    Offset(usize),
    /// Refused: the upload stands here.
    Elsewhere(usize),
    Stored,
    Duplicate,
    /// Refused: the finished file has other bytes.
    FinishedOther,
    Status {
        state: String,
        received: usize,
        sealed: Vec<usize>,
    },
    File(Runs),
    Merged,
    MergedBefore,
    Missing(Vec<usize>),
    Deleted,
}

/// One request, and what ran beside it.
#[derive(Debug, Clone)]
pub struct Op {
    pub ask: Ask,
    pub told: Told,
    /// What was asked at the same time.
    pub beside: Vec<Ask>,
}

impl Op {
    fn is_beside(&self, which: fn(&Ask) -> bool) -> bool {
        self.beside.iter().any(which)
    }

    fn is_beside_delete(&self) -> bool {
        self.is_beside(|ask| matches!(ask, Ask::Delete | Ask::DeleteKey))
    }

    fn is_beside_merge(&self) -> bool {
        self.is_beside(|ask| *ask == Ask::Merge)
    }

    fn is_beside_write(&self) -> bool {
        self.is_beside(|ask| matches!(ask, Ask::Patch { .. } | Ask::Put { .. }))
    }

    /// May somebody see it half done?
    fn is_watched(&self) -> bool {
        self.is_beside(|ask| matches!(ask, Ask::Status | Ask::Get | Ask::Put { .. }))
    }
}

/// The upload.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct State {
    pub life: Life,
    pub sealed: Vec<Option<Runs>>,
    /// Bytes of the first missing chunk that came by appending.
    pub tail: Runs,
    /// A PATCH that has been seen half done: which, and how many bytes are left of it.
    pub running: Option<(usize, usize)>,
}

impl State {
    fn received(&self) -> usize {
        self.sealed.iter().flatten().map(sum).sum::<usize>() + sum(&self.tail)
    }

    /// The file is there with its last byte (TUS-19).
    fn finished(mut self) -> Self {
        if self.is_complete() {
            self.life = Life::Finished;
        }
        self
    }

    fn is_complete(&self) -> bool {
        self.sealed.iter().all(Option::is_some)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Life {
    None,
    Open,
    Finished,
}

/// What does not change, and which numbers matter.
#[derive(Debug)]
pub struct Upload {
    pub length: usize,
    pub chunk: usize,
    /// Begun by tus, so that the last chunk finishes it; else its first chunk begins it.
    pub by_tus: bool,
    /// Asked at two processes.
    pub shared: bool,
    /// Offsets that somebody named or was told.
    pub offsets: Vec<usize>,
    /// Counts of received bytes that somebody was told.
    pub received: Vec<usize>,
}

impl Upload {
    pub fn chunks(&self) -> usize {
        self.length.div_ceil(self.chunk)
    }

    pub fn len_of(&self, chunk: usize) -> usize {
        self.chunk.min(self.length - chunk * self.chunk)
    }

    /// Nothing, or the upload as its POST leaves it.
    pub fn first(&self) -> State {
        let life = if self.by_tus { Life::Open } else { Life::None };
        State { life, sealed: vec![None; self.chunks()], tail: Runs::new(), running: None }
    }

    fn gone(&self) -> State {
        State { life: Life::None, ..self.first() }
    }

    /// Is nothing of it there but that it was begun by this chunk?
    fn is_begun_by(&self, ask: Ask, state: &State) -> bool {
        !self.by_tus && matches!(ask, Ask::Put { .. }) && state.received() == 0
    }

    fn next(&self, state: &State) -> usize {
        state.sealed.iter().position(Option::is_none).unwrap_or(self.chunks())
    }

    // spec: CHUNK-27: the end of the contiguous chunks, and the bytes that were appended to them.
    fn offset(&self, state: &State) -> usize {
        (self.next(state) * self.chunk).min(self.length) + sum(&state.tail)
    }

    fn missing(&self, state: &State) -> Vec<usize> {
        (0..self.chunks()).filter(|chunk| state.sealed[*chunk].is_none()).collect()
    }

    fn present(&self, state: &State) -> Vec<usize> {
        (0..self.chunks()).filter(|chunk| state.sealed[*chunk].is_some()).collect()
    }

    /// `count` more bytes that begin at `at`. Where they reach into a chunk that is sealed they
    /// replace it as a whole or not at all (STORE-2).
    fn append(&self, state: &State, at: usize, (writer, count): (u8, usize)) -> State {
        let (mut state, mut left) = (state.clone(), count);
        let mut chunk = at / self.chunk;
        let mut filling = std::mem::take(&mut state.tail);
        while left > 0 {
            let now = left.min(self.len_of(chunk) - sum(&filling));
            push(&mut filling, (writer, now));
            left -= now;
            if sum(&filling) == self.len_of(chunk) {
                state.sealed[chunk] = Some(std::mem::take(&mut filling));
                chunk += 1;
            }
        }
        if chunk == self.next(&state) {
            state.tail = filling;
        }
        state
    }

    fn patch(&self, state: &State, number: usize, op: &Op) -> Vec<Step<State>> {
        let Ask::Patch { offset, count, writer } = op.ask else { return Vec::new() };
        if let Some((_, left)) = state.running {
            let at = offset + count - left;
            return self.rest_of_patch(state, at, (writer, left), op);
        }
        let here = state.life != Life::None && self.offset(state) == offset;
        let mut steps = Vec::new();
        // spec: TUS-20
        if here && (state.life == Life::Open || count == 0) {
            steps = self.rest_of_patch(state, offset, (writer, count), op);
            if op.is_watched() {
                let half = State { running: Some((number, count)), ..state.clone() };
                steps.push(Step::Half(half));
            }
        }
        let nothing = Step::Done(state.clone());
        match &op.told {
            // spec: TUS-16
            Told::Elsewhere(told)
                if state.life != Life::None && self.offset(state) == *told && *told != offset =>
            {
                steps.push(nothing);
            }
            // spec: TUS-14
            Told::Unknown if state.life == Life::None => steps.push(nothing),
            Told::Perhaps | Told::Busy => steps.push(nothing),
            _ => {}
        }
        steps
    }

    /// Of a PATCH that is answered all is kept; of one that was cut or taken over, what came.
    // spec: TUS-15, TUS-21
    fn rest_of_patch(
        &self,
        state: &State,
        at: usize,
        (writer, left): (u8, usize),
        op: &Op,
    ) -> Vec<Step<State>> {
        let Ask::Patch { offset, count, .. } = op.ask else { return Vec::new() };
        let taken = |count| self.append(state, at, (writer, count)).finished();
        let over = |state| Step::Done(State { running: None, ..state });
        match &op.told {
            Told::Offset(told) if *told == offset + count => vec![over(taken(left))],
            // A deletion takes the place of one that runs, which is then told of either.
            Told::Unknown if op.is_beside_delete() => {
                self.prefixes(state, at, left).into_iter().map(|k| over(taken(k))).collect()
            }
            Told::Perhaps => {
                self.prefixes(state, at, left).into_iter().map(|k| over(taken(k))).collect()
            }
            _ => Vec::new(),
        }
    }

    /// How many bytes may have been kept of `left` that begin at `at`: where nobody ever names or
    /// sees the offset that they lead to, one number stands for all of its chunk.
    fn prefixes(&self, state: &State, at: usize, left: usize) -> Vec<usize> {
        let received = state.received();
        let mut all: Vec<usize> = [0, left].into();
        all.extend(self.offsets.iter().filter_map(|offset| offset.checked_sub(at)));
        all.extend(self.received.iter().filter_map(|told| told.checked_sub(received)));
        for chunk in 0..=self.chunks() {
            let end = (chunk * self.chunk).min(self.length);
            let within = (end + 1..end + self.chunk).find(|odd| !self.offsets.contains(odd));
            all.extend(
                [Some(end), within].into_iter().flatten().filter_map(|to| to.checked_sub(at)),
            );
        }
        all.retain(|count| *count <= left);
        all.sort_unstable();
        all.dedup();
        all
    }

    fn put(&self, state: &State, number: usize, op: &Op) -> Vec<Step<State>> {
        let Ask::Put { chunk, writer } = op.ask else { return Vec::new() };
        let bytes = vec![(writer, self.len_of(chunk))];
        if state.running.is_some() {
            let mut after = State { running: None, ..state.clone() };
            after.sealed[chunk] = Some(bytes);
            return vec![Step::Done(if self.by_tus { after.finished() } else { after })];
        }
        let same = state.sealed[chunk].as_ref() == Some(&bytes);
        let mut after = state.clone();
        if state.life != Life::Finished && !same {
            if chunk == self.next(state) {
                after.tail.clear();
            }
            after.sealed[chunk] = Some(bytes);
            after.life = Life::Open;
        }
        let differs = state.life == Life::Finished && !same;
        let mut steps = Vec::new();
        if self.by_tus && !differs && after.is_complete() && after.life == Life::Open {
            // The chunk is seen before the file that it completes.
            steps.push(Step::Half(State { running: Some((number, 0)), ..after.clone() }));
            after = after.finished();
        }
        if state.life == Life::None {
            // The upload is seen before the chunk that it begins with.
            let begun = State { life: Life::Open, running: Some((number, 0)), ..self.first() };
            if self.shared {
                // Another process may take it before the one that begins it.
                steps.push(Step::Half(State { running: None, ..begun.clone() }));
            }
            steps.push(Step::Half(begun));
        }
        steps.push(Step::Done(after));
        match &op.told {
            // spec: CHUNK-6, CHUNK-13
            Told::Stored if !same && !differs => steps,
            Told::Duplicate if same => steps,
            // spec: CHUNK-17
            Told::FinishedOther if differs => vec![Step::Done(state.clone())],
            Told::Merging if op.is_beside_merge() && state.is_complete() => {
                vec![Step::Done(state.clone())]
            }
            // The last bytes of another one finish the file.
            Told::Merging if self.by_tus && op.is_beside_write() && state.is_complete() => {
                vec![Step::Done(state.clone())]
            }
            // A chunk that was on its way when its upload went does not begin it again.
            Told::Unknown if op.is_beside_delete() && state.life == Life::None => {
                vec![Step::Done(state.clone())]
            }
            Told::Perhaps if !differs => {
                steps.push(Step::Done(state.clone()));
                steps
            }
            Told::Perhaps | Told::Busy => vec![Step::Done(state.clone())],
            _ => Vec::new(),
        }
    }

    fn merge(&self, state: &State, op: &Op) -> Vec<Step<State>> {
        let nothing = Step::Done(state.clone());
        let merged = || Step::Done(State { life: Life::Finished, ..state.clone() });
        let open = state.life == Life::Open;
        match &op.told {
            // spec: CHUNK-20, CHUNK-25
            Told::Merged if open && state.is_complete() => vec![merged()],
            Told::MergedBefore if state.life == Life::Finished => vec![nothing],
            // spec: CHUNK-21
            Told::Missing(missing) if open && *missing == self.missing(state) => vec![nothing],
            Told::Unknown if state.life == Life::None => vec![nothing],
            Told::Perhaps if open && state.is_complete() => vec![merged(), nothing],
            Told::Perhaps | Told::Busy => vec![nothing],
            _ => Vec::new(),
        }
    }

    fn delete(&self, state: &State, op: &Op) -> Vec<Step<State>> {
        let there = state.life != Life::None;
        let gone = Step::Done(self.gone());
        match &op.told {
            // spec: TUS-27, CHUNK-26
            Told::Deleted if there || op.ask == Ask::DeleteKey => vec![gone],
            Told::Unknown if !there => vec![gone],
            Told::Perhaps => vec![gone, Step::Done(state.clone())],
            Told::Busy => vec![Step::Done(state.clone())],
            _ => Vec::new(),
        }
    }

    /// Who only looks may see a PATCH half done (TUS-105).
    fn look(&self, state: &State, op: &Op, history_of: &dyn Fn(usize) -> Ask) -> Vec<Step<State>> {
        let mut seen = vec![state.clone()];
        if let Some((number, left)) = state.running
            && let Ask::Patch { offset, count, writer } = history_of(number)
        {
            let at = offset + count - left;
            seen = Vec::new();
            for taken in self.prefixes(state, at, left) {
                let mut after = self.append(state, at, (writer, taken));
                after.running = Some((number, left - taken));
                if taken == left {
                    seen.push(after.clone().finished());
                }
                seen.push(after);
            }
        }
        seen.retain(|state| self.is_seen(state, op));
        seen.into_iter().map(Step::Done).collect()
    }

    fn is_seen(&self, state: &State, op: &Op) -> bool {
        match &op.told {
            // spec: CHUNK-18, CHUNK-19
            Told::Status { state: word, received, sealed } => {
                let some = sealed.len() < self.chunks() && op.is_beside_write();
                let words: &[&str] = match state.life {
                    Life::None => &["none"],
                    Life::Finished => &["merged"],
                    // Whole, and a merge begun that does not have to end.
                    Life::Open if state.is_complete() && !some => &["mergeable", "merging"],
                    // A merge looks at an incomplete set, too, before it is refused.
                    Life::Open if op.is_beside_merge() => &["receiving", "merging"],
                    Life::Open => &["receiving"],
                };
                let present = self.present(state);
                let listed = if op.is_beside_write() {
                    // Bytes of a chunk are there before it is sealed.
                    sealed.iter().all(|chunk| present.contains(chunk))
                } else {
                    *sealed == present
                };
                words.contains(&word.as_str()) && *received == state.received() && listed
            }
            // spec: TUS-28, TUS-29
            Told::File(file) => {
                let mut whole = Runs::new();
                state.sealed.iter().flatten().flatten().for_each(|run| push(&mut whole, *run));
                state.life == Life::Finished && *file == whole
            }
            Told::Unknown => state.life != Life::Finished,
            Told::Perhaps | Told::Busy => true,
            _ => false,
        }
    }
}

/// An upload and its history, for what a look may see of others.
#[derive(Debug)]
pub struct Lawful<'a> {
    pub upload: &'a Upload,
    pub asked: Vec<Ask>,
}

impl Law for Lawful<'_> {
    type State = State;
    type Op = Op;

    fn steps(&self, state: &State, number: usize, op: &Op) -> Vec<Step<State>> {
        let upload = self.upload;
        let looks = matches!(op.ask, Ask::Status | Ask::Get);
        if op.told == Told::Merging
            && let Some((running, left)) = state.running
            && running != number
        {
            // The holder's last bytes finish the file.
            let Ask::Patch { offset, count, writer } = self.asked[running] else {
                return vec![Step::Done(state.clone())];
            };
            let whole = upload.append(state, offset + count - left, (writer, left));
            let whole = State { running: Some((running, 0)), ..whole };
            return if whole.is_complete() { vec![Step::Done(whole)] } else { Vec::new() };
        }
        if op.told == Told::Deleted
            && let Some((running, _)) = state.running
            && upload.is_begun_by(self.asked[running], state)
        {
            // Another process may find it before the one that begins it; the chunk begins it again.
            return vec![Step::Done(upload.gone())];
        }
        // spec: STORE-5: while one holds the upload, others can only look.
        if state.running.is_some_and(|(running, _)| running != number) && !looks {
            return Vec::new();
        }
        match op.ask {
            Ask::Patch { .. } => upload.patch(state, number, op),
            Ask::Put { .. } => upload.put(state, number, op),
            Ask::Merge => upload.merge(state, op),
            Ask::Delete | Ask::DeleteKey => upload.delete(state, op),
            Ask::Status | Ask::Get => upload.look(state, op, &|number| self.asked[number]),
            Ask::Head => {
                let right = match &op.told {
                    // spec: TUS-13, TUS-106
                    Told::Offset(told) => state.life != Life::None && *told == upload.offset(state),
                    Told::Unknown => state.life == Life::None,
                    Told::Perhaps | Told::Busy => true,
                    _ => false,
                };
                if right { vec![Step::Done(state.clone())] } else { Vec::new() }
            }
        }
    }
}
