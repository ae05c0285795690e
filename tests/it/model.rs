//! A map in memory, and the real program: after the same commands they say the same.

use std::collections::BTreeSet;

use proptest::{
    prelude::*,
    test_runner::{Config, RngAlgorithm, TestRng, TestRunner},
};

use crate::{
    chunks::{Parts, merge, numbers},
    client::Request,
    random::Random,
    server::Server,
    tus::{Upload, append, create, patch, request},
};

/// The size of a chunk here.
const CHUNK: usize = 4096;
/// Slots below are made by tus, the others by their first chunk.
const BY_TUS: usize = 2;
const SLOTS: usize = 4;

/// What can be asked.
#[derive(Debug, Clone)]
enum Command {
    Create { slot: usize },
    Append { slot: usize, size: usize, chunked: bool },
    AppendElsewhere { slot: usize, ahead: usize },
    Put { slot: usize, index: usize, form: bool },
    Head { slot: usize },
    Status { slot: usize },
    Merge { slot: usize },
    Delete { slot: usize, by_tus: bool },
    Restart { kill: bool },
}

fn command() -> impl Strategy<Value = Command> {
    let slot = || 0..SLOTS;
    prop_oneof![
        2 => slot().prop_map(|slot| Command::Create { slot }),
        6 => (slot(), 1..3 * CHUNK, any::<bool>())
            .prop_map(|(slot, size, chunked)| Command::Append { slot, size, chunked }),
        1 => slot().prop_map(|slot| Command::Append { slot, size: 0, chunked: false }),
        2 => (slot(), 1..CHUNK).prop_map(|(slot, ahead)| Command::AppendElsewhere { slot, ahead }),
        8 => (slot(), 0..6_usize, any::<bool>())
            .prop_map(|(slot, index, form)| Command::Put { slot, index, form }),
        2 => slot().prop_map(|slot| Command::Head { slot }),
        2 => slot().prop_map(|slot| Command::Status { slot }),
        2 => slot().prop_map(|slot| Command::Merge { slot }),
        1 => (slot(), any::<bool>()).prop_map(|(slot, by_tus)| Command::Delete { slot, by_tus }),
        2 => any::<bool>().prop_map(|kill| Command::Restart { kill }),
    ]
}

/// One file as the model knows it.
#[derive(Debug)]
struct Model {
    /// Under the hash of the client, or under the upload's id once tus made one.
    parts: Parts,
    /// Where it is; unknown while it is not.
    url: Option<String>,
    sealed: BTreeSet<usize>,
    /// Bytes of the chunk behind the prefix that came by appending.
    tail: usize,
    /// Surely published. All chunks there without that may be or not, by who sent the last one.
    finished: bool,
}

impl Model {
    fn new(slot: usize) -> Self {
        let mut random = Random::seeded(slot as u64);
        let size = [CHUNK / 2, 3 * CHUNK + 100, 5 * CHUNK, 4 * CHUNK + 1][slot];
        let parts = Parts::new(&random.hash(), "model.bin", CHUNK, random.bytes(size));
        Self { parts, url: None, sealed: BTreeSet::new(), tail: 0, finished: false }
    }

    fn length(&self) -> usize {
        self.parts.bytes.len()
    }

    /// The index behind the contiguous sealed chunks.
    fn next(&self) -> usize {
        (0..self.parts.total).find(|index| !self.sealed.contains(index)).unwrap_or(self.parts.total)
    }

    fn prefix(&self) -> usize {
        (self.next() * CHUNK).min(self.length()) + self.tail
    }

    fn is_full(&self) -> bool {
        self.sealed.len() == self.parts.total
    }

    /// `size` bytes came at the prefix.
    fn append(&mut self, size: usize) {
        let end = self.prefix() + size;
        let ends = |index: usize| self.length().min((index + 1) * CHUNK);
        let whole: Vec<usize> = (0..self.parts.total).filter(|index| ends(*index) <= end).collect();
        self.sealed.extend(whole);
        self.tail = end.saturating_sub(self.next() * CHUNK);
        if self.is_full() {
            self.tail = 0;
        }
        self.finished |= end == self.length();
    }

    fn put(&mut self, index: usize) {
        if index == self.next() {
            self.tail = 0;
        }
        self.sealed.insert(index);
    }

    fn received(&self) -> usize {
        self.sealed.iter().map(|index| self.parts.chunk(*index).len()).sum::<usize>() + self.tail
    }

    fn forget(&mut self) {
        (self.url, self.tail, self.finished) = (None, 0, false);
        self.sealed.clear();
    }
}

/// Both sides.
#[derive(Debug)]
struct Pair {
    server: Server,
    models: Vec<Model>,
}

impl Pair {
    fn new() -> Self {
        let server = Server::with(&["--chunk-size=4KiB", "--durability=none"]);
        Self { server, models: (0..SLOTS).map(Model::new).collect() }
    }

    fn run(&mut self, command: &Command) {
        match *command {
            Command::Create { slot } => self.create(slot),
            Command::Append { slot, size, chunked } => self.append(slot, size, chunked),
            Command::AppendElsewhere { slot, ahead } => self.append_elsewhere(slot, ahead),
            Command::Put { slot, index, form } => self.put(slot, index, form),
            Command::Head { slot } => self.head(slot),
            Command::Status { slot } => self.status(slot),
            Command::Merge { slot } => self.merge(slot),
            Command::Delete { slot, by_tus } => self.delete(slot, by_tus),
            Command::Restart { kill: true } => self.server.crash(),
            Command::Restart { kill: false } => self.server.restart(),
        }
    }

    fn create(&mut self, slot: usize) {
        let model = &mut self.models[slot];
        if slot < BY_TUS && model.url.is_none() {
            let answer = self.server.ask(&create(model.length() as u64)).expect(201);
            let upload = Upload::from_answer(&self.server, &answer);
            upload.id().clone_into(&mut model.parts.hash);
            model.parts.filename = None;
            model.url = Some(upload.url);
        }
    }

    fn append(&mut self, slot: usize, size: usize, chunked: bool) {
        let model = &mut self.models[slot];
        let Some(url) = &model.url else { return };
        let from = model.prefix();
        let size = size.min(model.length() - from);
        let body = &model.parts.bytes[from..from + size];
        let asked = if chunked {
            append(url, from as u64).chunked(body, 1000)
        } else {
            patch(url, from as u64, body)
        };
        assert_eq!(self.server.ask(&asked).expect(204).offset(), (from + size) as u64);
        model.append(size);
    }

    fn append_elsewhere(&mut self, slot: usize, ahead: usize) {
        let model = &self.models[slot];
        let Some(url) = &model.url else { return };
        let answer = self.server.ask(&patch(url, (model.prefix() + ahead) as u64, "x"));
        assert_eq!(answer.refused(409).offset(), model.prefix() as u64);
        let too_much = vec![7; model.length() - model.prefix() + 1];
        self.server.ask(&patch(url, model.prefix() as u64, too_much)).refused(413);
    }

    fn put(&mut self, slot: usize, index: usize, form: bool) {
        let model = &mut self.models[slot];
        if index >= model.parts.total || slot < BY_TUS && model.url.is_none() {
            return;
        }
        let asked = if form { model.parts.put_form(index) } else { model.parts.put(index) };
        let known = model.finished || model.sealed.contains(&index);
        let answer = self.server.ask(&asked).expect(if known { 200 } else { 201 }).json();
        model.put(index);
        assert_eq!(answer["sha256"], model.parts.digest(index));
        assert_eq!(answer["received"], model.sealed.len());
        if model.url.is_none() {
            model.url = Some(model.parts.as_upload(&self.server).url);
        }
    }

    fn head(&self, slot: usize) {
        let model = &self.models[slot];
        if let Some(url) = &model.url {
            let head = self.server.ask(&request("HEAD", url)).expect(200);
            assert_eq!(head.offset(), model.prefix() as u64);
            assert_eq!(head.needs("Upload-Length"), model.length().to_string());
        }
    }

    fn status(&self, slot: usize) {
        let model = &self.models[slot];
        if slot < BY_TUS && model.url.is_none() {
            return;
        }
        let status = model.parts.status(&self.server);
        let expected: Vec<u64> = model.sealed.iter().map(|index| *index as u64).collect();
        assert_eq!(numbers(&status["uploaded"]), expected, "{status}");
        let state = status["state"].as_str().unwrap();
        let right = match &model.url {
            None => state == "none",
            Some(_) if model.finished => state == "merged",
            Some(_) if model.is_full() => ["mergeable", "merged"].contains(&state),
            Some(_) => state == "receiving",
        };
        assert!(right, "{status}");
        if model.url.is_some() {
            assert_eq!(status["received_bytes"], model.received(), "{status}");
        }
    }

    fn merge(&mut self, slot: usize) {
        let model = &mut self.models[slot];
        if slot < BY_TUS && model.url.is_none() {
            return;
        }
        let answer = self.server.ask(&merge(&model.parts.merge_body()));
        if model.url.is_none() {
            answer.refused(404);
        } else if model.is_full() {
            let merged = answer.expect_one(&[200, 201]).json();
            assert_eq!(merged["composite_sha256"], model.parts.composite());
            model.finished = true;
        } else {
            let problem = answer.refused_as(409, "chunks-missing").json();
            let missing = (0..model.parts.total).filter(|index| !model.sealed.contains(index));
            let missing: Vec<u64> = missing.map(|index| index as u64).collect();
            assert_eq!(numbers(&problem["missing"]), missing);
        }
    }

    fn delete(&mut self, slot: usize, by_tus: bool) {
        let model = &mut self.models[slot];
        let Some(url) = model.url.clone() else { return };
        if by_tus {
            self.server.ask(&request("DELETE", &url)).expect(204);
        } else {
            self.server.ask(&model.parts.delete()).expect(204);
        }
        model.forget();
        self.server.ask(&request("HEAD", &url)).expect(404);
    }

    /// At the end every upload can be finished and has the right bytes.
    fn finish(&mut self) {
        for slot in 0..SLOTS {
            self.head(slot);
            self.status(slot);
            let rest = self.models[slot].length() - self.models[slot].prefix();
            self.append(slot, rest, false);
            let model = &self.models[slot];
            if let Some(url) = &model.url {
                // Bytes before a sealed chunk may have joined it: then an empty one ends it.
                let end = patch(url, model.length() as u64, "");
                assert_eq!(self.server.ask(&end).expect(204).offset(), model.length() as u64);
                let upload = Upload { server: &self.server, url: url.clone() };
                upload.is_file(&model.parts.bytes);
                let id = format!("/upload/status?upload_id={}", upload.id());
                let status = self.server.ask(&Request::new("GET", &id)).expect(200).json();
                assert_eq!(status["result"]["composite_sha256"], model.parts.composite());
            }
        }
    }
}

#[test]
fn the_program_does_what_the_map_does() {
    let config =
        Config { cases: 24, max_shrink_iters: 150, failure_persistence: None, ..Config::default() };
    let random = TestRng::deterministic_rng(RngAlgorithm::ChaCha);
    let mut runner = TestRunner::new_with_rng(config, random);
    let commands = prop::collection::vec(command(), 1..=20);
    let outcome = runner.run(&commands, |commands| {
        let mut pair = Pair::new();
        for command in &commands {
            pair.run(command);
        }
        pair.finish();
        Ok(())
    });
    if let Err(error) = outcome {
        panic!("{error}");
    }
}
