//! What a client does next, and what every kind of client does.

use std::time::Instant;

use super::{
    client::Client,
    offsets::parts_of,
    oracle::{Belief, Known, Line, Made},
};
use crate::{
    client::Request,
    digest::sha256,
    tus::{FILES, request},
};

/// More than that and it rather ends some than begins others.
const MANY: usize = 10;

impl Client {
    /// One step; none if the server gives no word any more.
    pub fn act(&mut self, line: &Line<'_>) -> Option<()> {
        let many = self.uploads.len() >= MANY;
        match self.random.below(100) {
            0..14 if !many => self.create(line),
            14..22 if !many => self.begin_chunks(line),
            22..28 if !many => self.join(line),
            0..32 => self.remove_one(line),
            32..38 => self.read_one(line),
            38..42 => self.abandon_one(line),
            _ => self.go_on(line),
        }
    }

    fn go_on(&mut self, line: &Line<'_>) -> Option<()> {
        let rules = *line.rules;
        let fits = |known: &Known| known.finished != Belief::Sure && !known.is_fading(&rules);
        let Some(number) = self.pick(fits) else { return self.create(line) };
        if self.known(number).at.is_none() {
            self.does("look");
            return self.look(line, number);
        }
        if self.known(number).is_joined() {
            self.does("look at a final one");
            return self.look(line, number);
        }
        let by_chunks = self.known(number).made == Made::Chunks;
        let chunks = if by_chunks { 9 } else { 3 };
        let whole = self.known(number).is_whole();
        match self.random.below(12) {
            _ if self.known(number).length() == 0 => self.patch(line, number),
            10 => {
                self.does("look");
                self.look(line, number)
            }
            11 => self.merge(line, number),
            dice if dice < chunks && !self.known(number).length_told => self.patch(line, number),
            dice if dice < chunks && whole => self.merge(line, number),
            dice if dice < chunks => self.put(line, number),
            0..4 => self.stall(line, number),
            _ => self.patch(line, number),
        }
    }

    fn read_one(&mut self, line: &Line<'_>) -> Option<()> {
        self.does("GET");
        let read = |known: &Known| known.finished == Belief::Sure && known.url.is_some();
        let Some(number) = self.pick(read) else { return Some(()) };
        let known = self.known(number);
        let length = known.length();
        if length == 0 {
            return self.get(line, number);
        }
        let url = known.url().to_owned();
        let from = self.random.between(0, length - 1);
        let to = self.random.between(from, length - 1);
        let asked = Request::new("GET", &url).header("Range", format!("bytes={from}-{to}"));
        let answer = self.ask(line, &asked)?;
        if answer.status != 206 {
            self.is_gone(line, number, &answer.expect_one(&[404, 410]));
            return Some(());
        }
        let known = self.known(number);
        let piece = &known.parts.bytes[from as usize..=to as usize];
        assert!(answer.body == piece, "wrong bytes in a range: {answer:?} of {known:?}");
        self.tally.bytes += answer.body.len();
        Some(())
    }

    fn remove_one(&mut self, line: &Line<'_>) -> Option<()> {
        match self.pick(|known| known.url.is_some()) {
            Some(number) => self.remove(line, number),
            None => Some(()),
        }
    }

    /// DELETE, by either dialect.
    pub fn remove(&mut self, line: &Line<'_>, number: u64) -> Option<()> {
        self.does("DELETE");
        let known = self.known(number);
        let by_tus = request("DELETE", known.url());
        let by_chunks = known.parts.delete();
        let is_chunked = known.made == Made::Chunks;
        let before = std::mem::replace(&mut known.deleted, Belief::Maybe);
        let asked = if is_chunked && self.random.below(2) == 0 { by_chunks } else { by_tus };
        let answer = self.ask(line, &asked)?;
        self.known(number).deleted = before;
        match answer.status {
            204 => {
                self.tally.deleted += 1;
                self.bury(number);
            }
            404 | 410 => self.is_gone(line, number, &answer),
            _ => {
                answer.expect(423);
            }
        }
        Some(())
    }

    /// Nobody comes back to it but to look: where the server lets it expire, that must happen.
    fn abandon_one(&mut self, line: &Line<'_>) -> Option<()> {
        self.does("look");
        let expires = line.rules.expire_after.is_some();
        let Some(number) = self.pick(|known| expires && known.must_be_gone(line.rules)) else {
            return Some(());
        };
        if self.known(number).url.is_none() {
            return Some(());
        }
        self.look(line, number)
    }

    /// A final upload of some partial ones, whole or not.
    fn join(&mut self, line: &Line<'_>) -> Option<()> {
        self.does("join");
        let mut pieces = Vec::new();
        for _ in 0..self.random.between(1, 3) {
            let fits = |known: &Known| {
                known.partial && known.url.is_some() && !known.may_be_gone(line.rules)
            };
            pieces.extend(self.pick(fits));
        }
        if pieces.is_empty() {
            return self.create(line);
        }
        let bytes: Vec<Vec<u8>> =
            pieces.iter().map(|piece| self.known(*piece).parts.bytes.clone()).collect();
        let urls: Vec<String> =
            pieces.iter().map(|piece| self.known(*piece).url().to_owned()).collect();
        let value = format!("final;{}", urls.join(" "));
        let whole = pieces.iter().all(|piece| self.known(*piece).is_whole());
        if line.rules.consumes {
            // They go with the final one.
            for piece in &pieces {
                self.known(*piece).consumed = true;
            }
        }
        let began = Instant::now();
        let parts = parts_of(bytes.concat());
        let asked = request("POST", FILES)
            .header("Upload-Concat", value)
            .header("Upload-Metadata", self.metadata());
        self.contents.insert(sha256(&parts.bytes));
        let answer = self.ask(line, &asked)?;
        if answer.status != 201 {
            // One of the parts is gone.
            let left = pieces.iter().any(|piece| self.known(*piece).may_be_gone(line.rules));
            assert!(left, "{answer:?}");
            return Some(());
        }
        let mut known = Known::new(Made::Joined(pieces), parts);
        known.url = Some(answer.needs("Location").to_owned());
        known.created = Belief::Sure;
        known.length_told = false;
        known.sent.add(0, known.length());
        known.active = (began, Instant::now());
        match answer.header("Upload-Offset") {
            Some(offset) => {
                assert_eq!(offset, known.length().to_string());
                known.is_finished(Some(began));
            }
            // Joining may take long on a busy machine, and goes on then.
            None if whole => {}
            None => known.at = Some(0),
        }
        self.keep(known);
        Some(())
    }
}
