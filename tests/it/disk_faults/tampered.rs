//! Files that somebody changed behind the server's back, while it runs and while it does not: one
//! table, a row for each. Nothing that has a digest is served with a wrong byte, the answers are
//! clear, and no other upload notices.

use std::{
    collections::BTreeSet,
    fs::{self, File},
    io::Write,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::Command,
};

use super::{content, nothing_panicked};
use crate::{
    chunks::Parts,
    client::{Answer, Request},
    disk,
    overload::logged,
    server::{CHUNK, Server},
    tus::{Upload, create},
};

/// What was there before somebody came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Subject {
    /// Three chunks of four and 100 bytes, by tus.
    Half,
    /// All of it, finished.
    Whole,
    /// Chunks 0, 1 and 3 of five, by number.
    Chunks,
}

/// What becomes of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    /// The same client goes on, and ends with the right file.
    Recovers,
    /// 404 or 410 for everybody.
    Gone,
    /// 500 for whoever needs what was changed; it can be deleted.
    Refused,
    /// The same, and it cannot be deleted either before somebody put that right.
    Stuck,
    /// Bytes without a digest that nobody can tell from others. They may be told.
    Unprovable,
}

/// The files of an upload.
struct Files {
    folder: PathBuf,
    ledger: PathBuf,
    /// The first part, or the finished file.
    bytes: PathBuf,
    /// Those of an upload of the same size with other bytes.
    other: Option<Box<Self>>,
}

type Tamper = fn(&Files);
type Row = (&'static str, Subject, Fate, Tamper);

/// What a running server knows better, since it read the ledger before.
const KNOWN_BETTER: [&str; 1] = ["a ledger's middle"];

use Fate::{Gone, Recovers, Refused, Stuck, Unprovable};
use Subject::{Chunks, Half, Whole};

const PARTS: [Row; 17] = [
    ("a part cut", Half, Recovers, |files| cut(&files.bytes, CHUNK as u64 + 77)),
    ("a part emptied", Half, Recovers, |files| cut(&files.bytes, 0)),
    ("a part swapped", Half, Recovers, |files| swap(&files.bytes, &files.other().bytes)),
    ("a part copied over", Half, Recovers, |files| copy(&files.other().bytes, &files.bytes)),
    ("a sealed bit", Half, Recovers, |files| flip(&files.bytes, CHUNK + 17)),
    ("a part removed", Half, Recovers, |files| fs::remove_file(&files.bytes).unwrap()),
    ("its folder removed", Half, Recovers, |files| fs::remove_dir_all(&files.folder).unwrap()),
    ("a part that is a folder", Half, Refused, |files| into_folder(&files.bytes)),
    ("a part that is a pipe", Half, Refused, |files| into_pipe(&files.bytes)),
    ("a part that is a link", Half, Refused, |files| into_link(&files.bytes)),
    ("a part grown", Half, Unprovable, |files| grow(&files.bytes, &[7; 1000])),
    ("a chunk cut", Chunks, Recovers, |files| cut(&files.chunk(3), 5)),
    ("a chunk removed", Chunks, Recovers, |files| fs::remove_file(files.chunk(3)).unwrap()),
    ("a chunk's bit", Chunks, Recovers, |files| flip(&files.chunk(3), 5)),
    ("a chunk grown", Chunks, Recovers, |files| grow(&files.chunk(3), b"more")),
    ("a chunk swapped", Chunks, Recovers, |files| swap(&files.chunk(3), &files.bytes)),
    ("all chunks removed", Chunks, Recovers, |files| fs::remove_dir_all(&files.folder).unwrap()),
];

const LEDGERS: [Row; 16] = [
    ("a ledger's head", Half, Gone, |files| flip(&files.ledger, 17)),
    ("a ledger's version", Half, Gone, |files| flip(&files.ledger, 7)),
    ("a ledger's manifest", Half, Gone, |files| flip(&files.ledger, 40)),
    ("a ledger's middle", Half, Gone, |files| flip(&files.ledger, middle(&files.ledger))),
    ("a torn ledger", Half, Recovers, |files| cut(&files.ledger, size(&files.ledger) - 3)),
    ("a ledger without facts", Half, Recovers, |files| cut(&files.ledger, facts(&files.ledger))),
    ("an empty ledger", Half, Gone, |files| cut(&files.ledger, 0)),
    ("half a head", Half, Gone, |files| cut(&files.ledger, 20)),
    ("zeros", Half, Gone, |files| fs::write(&files.ledger, [0; 500]).unwrap()),
    ("a ledger removed", Half, Gone, |files| fs::remove_file(&files.ledger).unwrap()),
    ("another one's ledger", Half, Gone, |files| copy(&files.other().ledger, &files.ledger)),
    ("a ledger grown", Half, Recovers, |files| grow(&files.ledger, &[7; 300])),
    ("facts of another one", Half, Recovers, |files| {
        let other = fs::read(&files.other().ledger).unwrap();
        grow(&files.ledger, &other[facts(&files.other().ledger) as usize..]);
    }),
    ("a ledger elsewhere", Half, Recovers, |files| {
        let elsewhere = files.ledger.with_extension("elsewhere");
        fs::rename(&files.ledger, &elsewhere).unwrap();
        symlink(elsewhere, &files.ledger).unwrap();
    }),
    ("a ledger that is a pipe", Half, Stuck, |files| into_pipe(&files.ledger)),
    ("a ledger that is a folder", Half, Stuck, |files| into_folder(&files.ledger)),
];

const FINISHED: [Row; 9] = [
    ("a file cut", Whole, Gone, |files| cut(&files.bytes, 100)),
    ("a file grown", Whole, Gone, |files| grow(&files.bytes, b"more")),
    ("a file removed", Whole, Gone, |files| fs::remove_file(&files.bytes).unwrap()),
    ("a file that is a folder", Whole, Gone, |files| into_folder(&files.bytes)),
    ("a file that is a pipe", Whole, Gone, |files| into_pipe(&files.bytes)),
    ("a file that is a link", Whole, Gone, |files| into_link(&files.bytes)),
    ("a finished one's ledger", Whole, Gone, |files| fs::remove_file(&files.ledger).unwrap()),
    ("a finished one's head", Whole, Gone, |files| flip(&files.ledger, 3)),
    ("a torn end", Whole, Recovers, |files| grow(&files.ledger, &[9; 100])),
];

impl Files {
    fn other(&self) -> &Self {
        self.other.as_ref().unwrap()
    }

    fn chunk(&self, index: usize) -> PathBuf {
        self.folder.join(format!("{index}.part"))
    }

    fn of(upload: &Upload<'_>, subject: Subject) -> Self {
        let bytes = match subject {
            Whole => {
                let named = |path: &PathBuf| path.to_string_lossy().contains(upload.id());
                upload.server.finished().into_iter().find(named).unwrap()
            }
            Half | Chunks => upload.folder().join("0.part"),
        };
        Self { folder: upload.folder(), ledger: upload.ledger(), bytes, other: None }
    }
}

fn size(path: &Path) -> u64 {
    fs::metadata(path).unwrap().len()
}

/// Where the facts of a ledger begin: behind 28 bytes and the manifest.
fn facts(ledger: &Path) -> u64 {
    let bytes = fs::read(ledger).unwrap();
    28 + u64::from(u32::from_le_bytes(bytes[8..12].try_into().unwrap()))
}

/// A byte of its first fact.
fn middle(ledger: &Path) -> usize {
    facts(ledger) as usize + 20
}

fn cut(path: &Path, size: u64) {
    File::options().write(true).open(path).unwrap().set_len(size).unwrap();
}

fn grow(path: &Path, bytes: &[u8]) {
    File::options().append(true).open(path).unwrap().write_all(bytes).unwrap();
}

fn flip(path: &Path, at: usize) {
    let mut bytes = fs::read(path).unwrap();
    bytes[at] ^= 1;
    fs::write(path, bytes).unwrap();
}

fn copy(from: &Path, to: &Path) {
    fs::copy(from, to).unwrap();
}

fn swap(one: &Path, other: &Path) {
    let aside = one.with_extension("aside");
    fs::rename(one, &aside).unwrap();
    fs::rename(other, one).unwrap();
    fs::rename(aside, other).unwrap();
}

fn into_folder(path: &Path) {
    fs::remove_file(path).unwrap();
    fs::create_dir(path).unwrap();
    fs::write(path.join("inside"), "somebody's").unwrap();
}

fn into_pipe(path: &Path) {
    fs::remove_file(path).unwrap();
    assert!(Command::new("mkfifo").arg(path).status().unwrap().success());
}

/// A link to a file with the same bytes.
fn into_link(path: &Path) {
    let elsewhere = path.with_extension("elsewhere");
    fs::rename(path, &elsewhere).unwrap();
    symlink(elsewhere, path).unwrap();
}

/// A row at work: what a client knows of it.
struct Victim {
    row: Row,
    url: String,
    parts: Parts,
    files: Files,
}

/// An upload in which the bytes of `seed` are stored as far as the subject says.
fn make(server: &Server, subject: Subject, seed: u64) -> (String, Parts) {
    let length = if subject == Chunks { 5 * CHUNK - 9 } else { 4 * CHUNK };
    let parts = Parts::new(&format!("{seed:016x}"), "a.bin", CHUNK, content(seed, length as u64));
    if subject == Chunks {
        for index in [0, 1, 3] {
            parts.send(server, index);
        }
        let url = parts.as_upload(server).url;
        return (url, parts);
    }
    let upload = Upload::new(server, length as u64);
    let ends = if subject == Half { [CHUNK, 3 * CHUNK + 100] } else { [CHUNK, length] };
    let mut at = 0;
    for end in ends {
        upload.patch(at as u64, &parts.bytes[at..end]).expect(204);
        at = end;
    }
    (upload.url, parts)
}

impl Victim {
    fn new(server: &Server, row: Row, seed: u64) -> Self {
        let (url, parts) = make(server, row.1, seed);
        let files = |url: String| Files::of(&Upload { server, url }, row.1);
        let other = Some(Box::new(files(make(server, row.1, seed + 1000).0)));
        let files = Files { other, ..files(url.clone()) };
        Self { row, url, parts, files }
    }

    fn tamper(&self) {
        self.row.3(&self.files);
    }

    fn known_at(mut self, moment: Moment) -> Self {
        if moment == Moment::Running && KNOWN_BETTER.contains(&self.row.0) {
            self.row.2 = Recovers;
        }
        self
    }

    fn upload<'a>(&self, server: &'a Server) -> Upload<'a> {
        Upload { server, url: self.url.clone() }
    }

    /// Everything that can be asked of it is answered, and nothing with a wrong byte.
    #[track_caller]
    fn is_answered(&self, server: &Server) {
        let upload = self.upload(server);
        let told = [upload.head(), upload.get(), self.server_says(server), self.checked(server)];
        for answer in told {
            let name = self.row.0;
            println!("  {} {}", name, answer.status);
            assert!([200, 404, 409, 410, 423, 500].contains(&answer.status), "{name}: {answer:?}");
        }
        let file = upload.get();
        assert!(file.status != 200 || file.body == self.parts.bytes, "{}: wrong bytes", self.row.0);
        if self.row.2 == Gone {
            upload.head().expect_one(&[404, 410]);
            upload.get().expect_one(&[404, 410]);
            upload.patch(0, "x").expect_one(&[404, 410]);
        }
    }

    fn server_says(&self, server: &Server) -> Answer {
        let id = self.url.rsplit('/').next().unwrap();
        server.ask(&Request::new("GET", &format!("/upload/status?upload_id={id}")))
    }

    fn checked(&self, server: &Server) -> Answer {
        let name = self.parts.name();
        server.ask(&Request::new("GET", &format!("/upload/check?{name}&index=3")))
    }

    /// Sends what is asked for, until all is there.
    #[track_caller]
    fn completes(&self, server: &Server) {
        if self.row.1 == Chunks {
            for _ in 0..4 {
                for index in 0..self.parts.total {
                    server.ask(&self.parts.put(index)).expect_one(&[200, 201]);
                }
                let merged = self.parts.merge(server).expect_one(&[200, 201, 409]);
                if merged.status != 409 {
                    break;
                }
            }
        } else {
            self.goes_on(server);
        }
        let file = self.upload(server).get().expect(200);
        assert!(file.body == self.parts.bytes, "{}: wrong bytes", self.row.0);
    }

    #[track_caller]
    fn goes_on(&self, server: &Server) {
        let (upload, bytes) = (self.upload(server), &self.parts.bytes);
        for _ in 0..20 {
            let head = upload.head().expect_one(&[200, 423]);
            if head.status == 423 {
                continue;
            }
            let at = head.offset() as usize;
            if at == bytes.len() {
                return;
            }
            upload.patch(at as u64, &bytes[at..]).expect_one(&[204, 409, 413, 423, 500]);
            // Behind a chunk that was lost others may be there.
            let next = bytes.len().min(at - at % CHUNK + CHUNK);
            if upload.head().header("Upload-Offset") == head.header("Upload-Offset") {
                upload.patch(at as u64, &bytes[at..next]).expect_one(&[204, 409, 423, 500]);
            }
        }
        panic!("{}: it cannot be completed", self.row.0);
    }

    /// Its end.
    #[track_caller]
    fn ends(&self, server: &Server) {
        let upload = self.upload(server);
        match self.row.2 {
            Recovers => {
                self.completes(server);
                upload.delete().expect(204);
            }
            Gone => {
                upload.delete().expect_one(&[204, 404, 410]);
            }
            Refused => {
                upload
                    .patch(upload.head().header("Upload-Offset").map_or(0, number), "xyz")
                    .refused_as(500, "storage");
                upload.delete().expect(204);
            }
            Stuck => {
                upload.head().expect(423);
                upload.get().refused_as(500, "storage");
                upload.patch(0, "x").refused_as(500, "storage");
                upload.delete().refused_as(500, "storage");
                return;
            }
            Unprovable => {
                let at = upload.offset();
                assert!(at <= 3 * CHUNK as u64 + 1100, "{at}");
                upload.delete().expect(204);
            }
        }
        upload.head().expect_one(&[404, 410]);
    }
}

fn number(text: &str) -> u64 {
    text.parse().unwrap()
}

/// When somebody comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Moment {
    Running,
    /// The server was killed, and starts again.
    Stopped,
}

#[track_caller]
fn all(rows: &[Row]) {
    for moment in [Moment::Running, Moment::Stopped] {
        println!("{moment:?}");
        let mut server = Server::with(&["--verify-on-merge", "--chunks-per-part=8"]);
        let bystander = Upload::hello(&server).url;
        let all: Vec<Victim> = (0..)
            .zip(rows)
            .map(|(seed, row)| Victim::new(&server, *row, 100 + seed).known_at(moment))
            .collect();
        if moment == Moment::Stopped {
            server.kill_9();
        }
        all.iter().for_each(Victim::tamper);
        if moment == Moment::Stopped {
            server.start_again();
        }
        for victim in &all {
            println!("{moment:?}: {}", victim.row.0);
            victim.is_answered(&server);
            victim.ends(&server);
        }
        let bystander = Upload { server: &server, url: bystander };
        assert_eq!(bystander.offset(), 5);
        bystander.patch(5, " world").expect(204);
        bystander.is_file(b"hello world");
        nothing_panicked(&server);
        server.restart();
        nothing_panicked(&server);
    }
}

// rows: FAULT-11
// spec: STORE-3, STORE-4, STORE-16
#[test]
fn parts_that_somebody_changed_cost_no_wrong_byte() {
    all(&PARTS);
}

// rows: FAULT-10
// spec: STORE-11, STORE-3
#[test]
fn ledgers_that_somebody_changed_cost_their_own_upload_at_most() {
    all(&LEDGERS);
}

// rows: FAULT-11
// spec: STORE-35, STORE-11
#[test]
fn finished_files_that_somebody_changed_are_not_served() {
    all(&FINISHED);
}

// spec: STORE-10
#[test]
fn without_its_mark_a_server_believes_only_digests() {
    for tamper in [
        |mark: &Path| fs::remove_file(mark).unwrap(),
        |mark: &Path| flip(mark, 20),
        |mark: &Path| cut(mark, 0),
        |mark: &Path| cut(mark, 40),
        |mark: &Path| fs::write(mark, [0xff; 9000]).unwrap(),
        |mark: &Path| grow(mark, b"more"),
    ] {
        let mut server = Server::start();
        let (url, parts) = make(&server, Half, 7);
        let files = Files::of(&Upload { server: &server, url: url.clone() }, Half);
        server.kill_9();
        let mark = server.data().join("state/boot");
        let grown = size(&mark);
        tamper(&mark);
        let harmless = mark.exists() && size(&mark) > grown && size(&mark) < 9000;
        if !harmless {
            flip(&files.bytes, CHUNK + 17);
        }
        server.start_again();
        let upload = Upload { server: &server, url: url.clone() };
        assert_eq!(upload.offset(), if harmless { 3 * CHUNK as u64 + 100 } else { CHUNK as u64 });
        let row: Row = ("the mark", Half, Recovers, |_| {});
        let victim = Victim { row, url, parts, files };
        victim.completes(&server);
        nothing_panicked(&server);
    }
}

// spec: STORE-1
#[test]
fn without_its_secret_a_server_finds_uploads_by_id_and_takes_others_anew() {
    let mut server = Server::start();
    let half = Upload::hello(&server).url;
    let (chunks, parts) = make(&server, Chunks, 8);
    server.kill_9();
    let secret = server.data().join("state/secret");
    let bytes = fs::read(&secret).unwrap();
    fs::remove_file(&secret).unwrap();
    server.start_again();
    logged(&server, "secret");
    let upload = Upload { server: &server, url: half };
    upload.patch(5, " world").expect(204);
    upload.is_file(b"hello world");
    assert_eq!(parts.status(&server)["state"], "none");
    assert_eq!(Upload { server: &server, url: chunks }.offset(), 2 * CHUNK as u64);
    parts.send_all(&server);
    parts.merge(&server).expect(201);
    server.kill_9();
    // Cut, it is no secret: another one would orphan what was begun under it.
    fs::write(&secret, &bytes[..31]).unwrap();
    let data = server.data();
    let (status, log) =
        crate::server::run(&["--listen=127.0.0.1:0", &format!("--data-dir={}", data.display())]);
    assert!(!status.success());
    assert!(log.contains("secret does not have 32 bytes"), "{log}");
    fs::write(&secret, bytes).unwrap();
    server.start_again();
    assert_eq!(parts.uploaded(&server), [0, 1, 3]);
}

// spec: STORE-17
#[test]
fn foreign_files_are_left_alone() {
    let mut server = Server::with(&["--reap-every=50ms", "--expire-after=3s"]);
    let (url, _) = make(&server, Half, 9);
    let whole = Upload::finished(&server).url;
    let data = server.data();
    let shard = data.join("state").join(&url.rsplit('/').next().unwrap()[..2]);
    let folder = data.join("uploads").join(url.rsplit('/').next().unwrap());
    let places = ["", "uploads", "files", "tmp", "state"].map(|place| data.join(place));
    let places = places.into_iter().chain([shard, folder]);
    let mut foreign = BTreeSet::new();
    for place in places {
        fs::create_dir(place.join("lost+found")).unwrap();
        for name in ["notes.txt", ".hidden", "x.ledger", "00.part", "lost+found/inside"] {
            let path = place.join(name);
            fs::write(&path, "somebody's").unwrap();
            foreign.insert(path);
        }
    }
    server.restart();
    std::thread::sleep(std::time::Duration::from_secs(5));
    let gone = Upload { server: &server, url };
    gone.head().expect(410);
    Upload { server: &server, url: whole }.is_file(b"hello world");
    server.ask(&create(11)).expect(201);
    for path in &foreign {
        assert_eq!(fs::read(path).unwrap(), b"somebody's", "{}", path.display());
    }
    let left: Vec<_> = disk::files_below(&data.join("uploads"));
    assert!(left.iter().all(|path| foreign.contains(path)), "{left:?}");
    nothing_panicked(&server);
}
