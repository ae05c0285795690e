//! Histories: a few threads, each with a few requests for the same upload.

use std::{
    io,
    sync::{
        Barrier,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use serde_json::Value;

use super::{
    check::{Event, explain},
    law::{Ask, Lawful, Op, Runs, Told, Upload, runs},
};
use crate::{
    chunks::{Parts, merge, numbers},
    client::{Answer, Conn, Request},
    random::Random,
    server::Server,
    tus::{append, create, request},
};

/// Who races with whom.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// PATCH, HEAD, status, GET.
    Patches,
    /// The same with DELETE.
    PatchesAndDelete,
    /// Chunks of the same few numbers, merges and looks; the first chunk begins the upload.
    Chunks,
    /// The same with DELETE.
    ChunksAndDelete,
    /// PATCH and chunks for an upload that tus began.
    MixedByTus,
    /// The same, and merges, for an upload that a chunk began.
    MixedByChunks,
}

/// Where it is played.
#[derive(Debug)]
pub struct Scene<'a> {
    pub kind: Kind,
    /// Bytes of a chunk.
    pub chunk: usize,
    pub servers: Vec<&'a Server>,
}

/// How a body is sent.
#[derive(Debug, Clone, Copy)]
enum Manner {
    Whole,
    /// Half of it, and the rest after so many microseconds.
    Halting(u64),
    /// Without announcing its length.
    Chunked,
    /// Half of it, and then the client is gone.
    Cut,
}

/// One request to be.
#[derive(Debug, Clone, Copy)]
struct Plan {
    server: usize,
    what: What,
    manner: Manner,
    pause: u64,
}

#[derive(Debug, Clone, Copy)]
enum What {
    /// So many bytes, where the upload was last said to stand, or where this says.
    Patch {
        elsewhere: Option<usize>,
        count: usize,
    },
    Other(Ask),
}

/// What happened.
#[derive(Debug)]
pub struct Play {
    upload: Upload,
    history: Vec<Event<Op>>,
    scene: String,
}

struct Stage<'a> {
    scene: &'a Scene<'a>,
    upload: Upload,
    parts: Parts,
    url: String,
    /// Where the upload was last said to stand.
    stands: AtomicUsize,
    writers: AtomicUsize,
    begun: Instant,
}

impl Play {
    /// Plays one scene.
    pub fn of(scene: &Scene<'_>, random: &mut Random) -> Self {
        let mut stage = Stage::set(scene, random);
        let hands = 3 + random.below(2);
        let plans: Vec<Vec<Plan>> =
            (0..hands).map(|_| (0..3).map(|_| stage.plan(random)).collect()).collect();
        let start = Barrier::new(hands);
        let mut history: Vec<Event<Op>> = thread::scope(|scope| {
            let (stage, start) = (&stage, &start);
            let hands: Vec<_> = plans
                .iter()
                .map(|plans| {
                    scope.spawn(move || {
                        start.wait();
                        plans.iter().map(|plan| stage.act(plan)).collect::<Vec<_>>()
                    })
                })
                .collect();
            hands.into_iter().flat_map(|hand| hand.join().unwrap()).collect()
        });
        for ask in [Ask::Head, Ask::Status, Ask::Get] {
            history.push(stage.act(&Plan {
                server: 0,
                what: What::Other(ask),
                manner: Manner::Whole,
                pause: 0,
            }));
        }
        history.sort_by_key(|event| event.invoked);
        note_neighbours(&mut history);
        stage.upload.note_numbers(&history);
        Self {
            upload: stage.upload,
            history,
            scene: format!("{:?}, {} B", scene.kind, scene.chunk),
        }
    }

    /// There is an order that explains what was told.
    #[track_caller]
    pub fn is_explained(&self) {
        let asked = self.history.iter().map(|event| event.op.ask).collect();
        let law = Lawful { upload: &self.upload, asked };
        let Err(stuck) = explain(&law, self.upload.first(), &self.history) else { return };
        let lines = self.history.iter().enumerate().map(|(number, event)| {
            let answered = event.answered.map(|at| at / 1000);
            let (ask, told) = (&event.op.ask, &event.op.told);
            format!(
                "{number:2} {:6} ..{answered:6?} µs  {ask:?} → {told:?}\n",
                event.invoked / 1000
            )
        });
        let lines: String = lines.collect();
        panic!("{}: no order explains\n{lines}the furthest: {stuck:?}", self.scene);
    }
}

impl<'a> Stage<'a> {
    fn set(scene: &'a Scene<'a>, random: &mut Random) -> Self {
        let chunk = scene.chunk;
        let length = 2 * chunk + chunk / 2;
        let by_tus =
            matches!(scene.kind, Kind::Patches | Kind::PatchesAndDelete | Kind::MixedByTus);
        let mut parts = Parts::new(&random.hash(), "a.bin", chunk, vec![0; length]);
        let server = scene.servers[0];
        let url = if by_tus {
            let url = server.ask(&create(length as u64)).expect(201).needs("Location").to_owned();
            url.rsplit('/').next().unwrap().clone_into(&mut parts.hash);
            parts.filename = None;
            url
        } else {
            // The id belongs to the key, also when it is deleted and begun again.
            parts.send(server, 0);
            let url = parts.as_upload(server).url;
            server.ask(&parts.delete()).expect(204);
            url
        };
        let shared = scene.servers.len() > 1;
        let (offsets, received) = (Vec::new(), Vec::new());
        let upload = Upload { length, chunk, by_tus, shared, offsets, received };
        let (stands, writers) = (AtomicUsize::new(0), AtomicUsize::new(1));
        Self { scene, upload, parts, url, stands, writers, begun: Instant::now() }
    }

    fn plan(&self, random: &mut Random) -> Plan {
        let manner = match random.below(6) {
            0..3 => Manner::Whole,
            3 => Manner::Halting(random.between(0, 3000)),
            4 => Manner::Chunked,
            _ => Manner::Cut,
        };
        let (server, pause) = (random.below(self.scene.servers.len()), random.between(0, 1500));
        Plan { server, what: self.what(random), manner, pause: pause * (random.next() % 2) }
    }

    fn what(&self, random: &mut Random) -> What {
        use Ask::{Delete, DeleteKey, Get, Head, Merge, Put, Status};
        let put = Put { chunk: random.below(3), writer: 200 + random.below(2) as u8 };
        let count = 1 + random.below(self.upload.length * 2 / 3);
        let elsewhere = random.below(5) == 0;
        let elsewhere = elsewhere.then(|| random.below(self.upload.length));
        let patch = What::Patch { elsewhere, count };
        let others: &[Ask] = match self.scene.kind {
            Kind::Patches => &[Head, Head, Status, Get],
            Kind::PatchesAndDelete => &[Head, Status, Get, Delete, Delete],
            Kind::Chunks => &[put, put, put, put, Merge, Merge, Status, Get, Head],
            Kind::ChunksAndDelete => &[put, put, put, put, Merge, Status, Delete, DeleteKey, Get],
            Kind::MixedByTus => &[put, put, put, Head, Status, Get],
            Kind::MixedByChunks => &[put, put, put, Merge, Head, Status, Get],
        };
        let patches = match self.scene.kind {
            Kind::Patches | Kind::PatchesAndDelete => others.len(),
            Kind::Chunks | Kind::ChunksAndDelete => 0,
            Kind::MixedByTus | Kind::MixedByChunks => 2,
        };
        let chosen = random.below(others.len() + patches);
        others.get(chosen).map_or(patch, |ask| What::Other(*ask))
    }

    fn act(&self, plan: &Plan) -> Event<Op> {
        thread::sleep(Duration::from_micros(plan.pause));
        let ask = match plan.what {
            What::Other(ask) => ask,
            What::Patch { elsewhere, count } => {
                let offset = elsewhere.unwrap_or_else(|| self.stands.load(Ordering::SeqCst));
                let count = count.min(self.upload.length - offset);
                let writer = self.writers.fetch_add(1, Ordering::SeqCst) as u8;
                Ask::Patch { offset, count, writer }
            }
        };
        let invoked = self.now();
        let answer = self.send(self.scene.servers[plan.server], ask, plan.manner);
        let over = self.now();
        let told = match &answer {
            Some(answer) => told(ask, answer),
            None => Told::Perhaps,
        };
        if let Told::Offset(stands) | Told::Elsewhere(stands) = told {
            self.stands.store(stands.min(self.upload.length), Ordering::SeqCst);
        }
        // A merge that is told to run has yet to end, and a lost request to arrive.
        let may_come_later = answer.is_none_or(|answer| answer.status == 202);
        let answered = (!may_come_later).then_some(over);
        let op = Op { ask, told, beside: Vec::new() };
        Event { op, invoked, answered }
    }

    fn now(&self) -> u64 {
        self.begun.elapsed().as_nanos() as u64
    }

    fn send(&self, server: &Server, ask: Ask, manner: Manner) -> Option<Answer> {
        let request = self.request(ask);
        let mut connection = server.connect();
        if request.body.is_empty() || ask == Ask::Merge {
            return Some(connection.ask(&request));
        }
        // A chunk has to announce its length.
        let manner = match (manner, ask) {
            (Manner::Chunked, Ask::Put { .. }) => Manner::Whole,
            (manner, _) => manner,
        };
        match manner {
            Manner::Whole => connection.try_ask(&request).ok(),
            Manner::Chunked => {
                let body = request.body.clone();
                connection.try_ask(&request.chunked(&body, body.len().div_ceil(3))).ok()
            }
            Manner::Halting(pause) => halting(&mut connection, &request, pause).ok(),
            Manner::Cut => {
                let wire = request.wire();
                let _ = connection.try_raw(&wire[..wire.len() - request.body.len().div_ceil(2)]);
                connection.finish();
                None
            }
        }
    }

    fn request(&self, ask: Ask) -> Request {
        match ask {
            Ask::Patch { offset, count, writer } => {
                append(&self.url, offset as u64).body(vec![writer; count])
            }
            Ask::Put { chunk, writer } => {
                self.parts.put_bytes(chunk, &vec![writer; self.upload.len_of(chunk)])
            }
            Ask::Head => request("HEAD", &self.url),
            Ask::Status => self.parts.status_request(),
            Ask::Get => Request::new("GET", &self.url),
            Ask::Merge => {
                let mut body = self.parts.merge_body();
                body.as_object_mut().unwrap().remove("digest");
                merge(&body)
            }
            Ask::Delete => request("DELETE", &self.url),
            Ask::DeleteKey => self.parts.delete(),
        }
    }
}

fn halting(connection: &mut Conn, request: &Request, pause: u64) -> io::Result<Answer> {
    let wire = request.wire();
    let (now, later) = wire.split_at(wire.len() - request.body.len() / 2);
    connection.try_raw(now)?;
    thread::sleep(Duration::from_micros(pause));
    // Who was taken over may have its answer by now, and nobody who reads the rest.
    let _ = connection.try_raw(later);
    connection.try_answer(&request.method)
}

/// What an answer says. One that has no business here is a failure by itself.
#[track_caller]
fn told(ask: Ask, answer: &Answer) -> Told {
    let offset = || answer.offset() as usize;
    let problem = || {
        let kind = answer.json()["type"].as_str().unwrap_or_default().to_owned();
        kind.rsplit(['/', '#', ':']).next().unwrap_or_default().to_owned()
    };
    match (ask, answer.status) {
        (_, 404) => Told::Unknown,
        // A PATCH that was taken over is told the same as one that was never let in.
        (Ask::Patch { .. }, 423) | (Ask::Merge, 202) => Told::Perhaps,
        (_, 423) => Told::Busy,
        (Ask::Patch { .. }, 204) | (Ask::Head, 200) => Told::Offset(offset()),
        (Ask::Patch { .. }, 409) => Told::Elsewhere(offset()),
        (Ask::Put { .. }, 201) => Told::Stored,
        (Ask::Put { .. }, 200) => Told::Duplicate,
        (Ask::Put { .. }, 409) if problem() == "chunk-conflict" => Told::FinishedOther,
        (Ask::Put { .. }, 409) if problem() == "merging" => Told::Merging,
        (Ask::Status, 200) => status(&answer.json()),
        (Ask::Get, 200) => Told::File(file(answer)),
        (Ask::Merge, 201) => Told::Merged,
        (Ask::Merge, 200) => Told::MergedBefore,
        (Ask::Merge, 409) if problem() == "chunks-missing" => {
            Told::Missing(indexes(&answer.json()["missing"]))
        }
        (Ask::Delete | Ask::DeleteKey, 204) => Told::Deleted,
        _ => panic!("{ask:?} was answered {answer:?}"),
    }
}

fn file(answer: &Answer) -> Runs {
    runs(&answer.body)
}

fn status(json: &Value) -> Told {
    Told::Status {
        state: json["state"].as_str().unwrap().to_owned(),
        received: json["received_bytes"].as_u64().unwrap() as usize,
        sealed: indexes(&json["uploaded"]),
    }
}

fn indexes(list: &Value) -> Vec<usize> {
    numbers(list).into_iter().map(|index| index as usize).collect()
}

/// Writes down what ran beside what.
fn note_neighbours(history: &mut [Event<Op>]) {
    let spans: Vec<(Ask, u64, u64)> = history
        .iter()
        .map(|event| (event.op.ask, event.invoked, event.answered.unwrap_or(u64::MAX)))
        .collect();
    for (number, event) in history.iter_mut().enumerate() {
        let (_, from, to) = spans[number];
        let others = spans.iter().enumerate().filter(|(other, _)| *other != number);
        let beside = others.filter(|(_, (_, begun, over))| *begun < to && *over > from);
        event.op.beside = beside.map(|(_, (ask, ..))| *ask).collect();
    }
}

impl Upload {
    fn note_numbers(&mut self, history: &[Event<Op>]) {
        for event in history {
            if let Ask::Patch { offset, .. } = event.op.ask {
                self.offsets.push(offset);
            }
            match event.op.told {
                Told::Offset(offset) | Told::Elsewhere(offset) => self.offsets.push(offset),
                Told::Status { received, .. } => {
                    self.offsets.push(received);
                    self.received.push(received);
                }
                _ => {}
            }
        }
    }
}
