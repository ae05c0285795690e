//! What index clients do.

use std::{thread, time::Instant};

use serde_json::json;

use super::{
    client::Client,
    oracle::{Belief, Known, Line, Made},
};
use crate::{
    chunks::{Parts, merge, numbers},
    client::{Answer, Conn, Request},
    digest::sha256_hex,
};

/// Most chunks at one moment.
const AT_ONCE: usize = 3;

impl Client {
    /// The first chunk of a file.
    pub fn begin_chunks(&mut self, line: &Line<'_>) -> Option<()> {
        let mut bytes = self.bytes();
        bytes.push(7);
        let size = [5_000, 16_384, 20_000][self.random.below(3)];
        let name = ["a.bin", "b.txt", "d"][self.random.below(3)];
        let mut parts = Parts::new(&self.random.hash(), name, size, bytes);
        if parts.total > 1 && self.random.below(3) == 0 {
            // The last chunk is longer than the others.
            let total = (parts.bytes.len() / size).max(1);
            parts = parts.with_total(total);
        }
        let number = self.keep(Known::new(Made::Chunks, parts));
        self.put(line, number)
    }

    /// Some chunks at once.
    pub fn put(&mut self, line: &Line<'_>, number: u64) -> Option<()> {
        if self.random.below(8) == 0 {
            return self.put_wrong(line, number);
        }
        self.does("chunk");
        let known = self.known(number);
        let mut wanted: Vec<usize> = (0..known.parts.total).collect();
        wanted.retain(|index| !known.is_chunk_told(*index));
        if wanted.is_empty() {
            wanted = vec![0];
        }
        let mut wanted = self.random.shuffled(wanted);
        wanted.truncate(1 + self.random.below(AT_ONCE));
        let requests: Vec<Request> =
            wanted.iter().map(|index| self.chunk(number, *index)).collect();
        let began = Instant::now();
        let known = self.known(number);
        known.at = None;
        for &index in &wanted {
            let (from, to) = known.range(index);
            known.sent.add(from, to);
        }
        self.tally.requests += requests.len();
        let answers = at_once(line, &requests);
        let known = &self.uploads[&number];
        if known.created == Belief::Sure && known.may_be_gone(line.rules) {
            // It took too long: this may be another upload by now.
            self.uploads.remove(&number);
            self.ended.insert(number);
            return answers.iter().all(Result::is_ok).then_some(());
        }
        let mut all_heard = Some(());
        for ((answer, request), index) in answers.into_iter().zip(&requests).zip(wanted) {
            match self.heard(line, request, answer) {
                Some(answer) => self.stored(line, number, (index, began), &answer),
                None => all_heard = None,
            }
        }
        if let Some(known) = self.uploads.get_mut(&number) {
            known.was_active(began, Belief::Maybe);
        }
        all_heard
    }

    fn chunk(&mut self, number: u64, index: usize) -> Request {
        let dice = self.random.below(4);
        let parts = &self.known(number).parts;
        match dice {
            0 => parts.put_form(index),
            1 => parts.put(index).header("X-Chunk-SHA256", parts.digest(index)),
            _ => parts.put(index),
        }
    }

    fn stored(
        &mut self,
        line: &Line<'_>,
        number: u64,
        (index, began): (usize, Instant),
        answer: &Answer,
    ) {
        if !self.uploads.contains_key(&number) {
            return;
        }
        if ![200, 201].contains(&answer.status) {
            // While another one of them finishes the file.
            if answer.status != 409 || !self.known(number).may_be_whole() {
                self.is_gone(line, number, answer);
            }
            return;
        }
        let said = answer.json();
        let known = self.known(number);
        assert_eq!(said["sha256"], known.parts.digest(index), "{said} {known:?}");
        let (from, to) = known.range(index);
        known.told.add(from, to);
        known.created = Belief::Sure;
        if answer.status == 201 {
            known.was_active(began, Belief::Sure);
        }
        if said["result"].is_object() {
            assert!(line.rules.auto_merge, "{said}");
            assert_eq!(said["result"]["composite_sha256"], known.parts.composite());
            known.is_finished((answer.status == 201).then_some(began));
        }
    }

    /// Other bytes than the digest says.
    fn put_wrong(&mut self, line: &Line<'_>, number: u64) -> Option<()> {
        self.does("wrong chunk");
        let parts = &self.known(number).parts;
        let mut bytes = parts.chunk(0).to_vec();
        bytes[0] ^= 1;
        let asked = parts.put_bytes(0, &bytes).header("X-Chunk-SHA256", parts.digest(0));
        assert_ne!(sha256_hex(&bytes), parts.digest(0));
        let answer = self.ask(line, &asked)?;
        if answer.status == 404 || answer.status == 410 {
            self.is_gone(line, number, &answer);
            return Some(());
        }
        answer.refused_as(400, "digest-mismatch");
        self.tally.refused += 1;
        let known = self.known(number);
        if known.created != Belief::Sure && known.sent.prefix() == 0 {
            // Nothing was stored, so there may be no upload.
            return Some(());
        }
        Some(())
    }

    /// POST /merge, with the right digest or another.
    pub fn merge(&mut self, line: &Line<'_>, number: u64) -> Option<()> {
        self.does("merge");
        let wrong = self.random.below(4) == 0;
        let known = self.known(number);
        if known.made == Made::Tus && !known.length_told {
            return Some(());
        }
        let mut body = known.parts.merge_body();
        if wrong {
            body["digest"] = json!(sha256_hex(b"something else"));
        }
        known.at = None;
        let began = Instant::now();
        let answer = self.ask(line, &merge(&body))?;
        let known = self.known(number);
        let whole = known.is_whole();
        match answer.status {
            200 | 201 => {
                assert!(!wrong && !known.partial && known.may_be_whole(), "{answer:?} {known:?}");
                let composite = &answer.json()["composite_sha256"];
                assert_eq!(*composite, known.parts.composite(), "{known:?}");
                known.is_finished((answer.status == 201).then_some(began));
            }
            202 => assert!(!wrong && known.may_be_whole(), "{answer:?} {known:?}"),
            403 => assert!(known.partial, "{answer:?} {known:?}"),
            422 => {
                assert!(wrong && known.may_be_whole(), "{answer:?} {known:?}");
                self.tally.refused += 1;
            }
            409 => {
                assert!(!whole, "{answer:?} {known:?}");
                let missing = answer.json();
                for index in numbers(&missing["missing"]) {
                    let told = known.is_chunk_told(index as usize);
                    assert!(!told, "{index} was told: {missing} {known:?}");
                }
            }
            423 => {}
            _ => self.is_gone(line, number, &answer.expect_one(&[404, 410])),
        }
        Some(())
    }
}

/// Each on a connection of its own.
fn at_once(line: &Line<'_>, requests: &[Request]) -> Vec<std::io::Result<Answer>> {
    let address = line.server.address();
    thread::scope(|scope| {
        let ask = |request| {
            scope.spawn(move || Conn::try_open(address).and_then(|mut c| c.try_ask(request)))
        };
        let hands: Vec<_> = requests.iter().map(ask).collect();
        hands.into_iter().map(|hand| hand.join().unwrap()).collect()
    })
}
