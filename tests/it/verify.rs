//! `piton verify` and `piton inspect`: what they tell, and that they leave no trace.

use std::{
    collections::BTreeMap,
    fs::{self, OpenOptions},
    net::SocketAddr,
    os::unix::fs::{FileExt, MetadataExt, symlink},
    panic,
    path::{Path, PathBuf},
    process::Command,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::Duration,
};

use base64::prelude::{BASE64_STANDARD, Engine};
use serde_json::Value;

use crate::{
    chunks::Parts,
    client::{Conn, Request},
    digest,
    mount::{Kind, Mount},
    random::Random,
    rounds::Rounds,
    server::{CHUNK, Server, until},
    tus::{Upload, append, create, create_with, patch, request},
};

/// How a command ended, and what it said.
#[derive(Debug)]
struct Said {
    code: Option<i32>,
    out: String,
    err: String,
}

impl Said {
    #[track_caller]
    fn ends_with(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "{}\n{}", self.out, self.err);
        self
    }

    #[track_caller]
    fn tells(self, what: &str) -> Self {
        assert!(self.out.contains(what), "{what:?} is not in\n{}", self.out);
        self
    }

    /// The objects, one a line.
    #[track_caller]
    fn json(&self) -> Vec<Value> {
        self.out.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

fn piton(data: &Path, args: &[&str]) -> Said {
    let mut command = Command::new(env!("CARGO_BIN_EXE_piton"));
    said(command.args(args).arg("--data-dir").arg(data))
}

fn said(command: &mut Command) -> Said {
    let output = command.output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    Said { code: output.status.code(), out: text(output.stdout), err: text(output.stderr) }
}

/// All that the system notes of everything below a folder: contents, sizes, times.
fn traces(folder: &Path) -> BTreeMap<PathBuf, (u64, [i64; 4], Vec<u8>)> {
    let mut found = BTreeMap::new();
    let mut next = vec![folder.to_owned()];
    while let Some(path) = next.pop() {
        let about = fs::symlink_metadata(&path).unwrap();
        let times = [about.mtime(), about.mtime_nsec(), about.ctime(), about.ctime_nsec()];
        let mut bytes = Vec::new();
        if about.is_dir() {
            next.extend(fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
        } else if about.is_file() {
            bytes = fs::read(&path).unwrap();
        }
        found.insert(path, (about.len(), times, bytes));
    }
    found
}

/// Chunk `k` is so many bytes.
fn chunk(seed: u64) -> Vec<u8> {
    Random::seeded(seed).bytes(CHUNK)
}

/// Waits until the bytes of a joined file are hashed, which is done behind the answer.
#[track_caller]
fn has_digests(joined: &Upload<'_>) {
    let look = Request::new("GET", &format!("/upload/status?upload_id={}", joined.id()));
    let result = || joined.server.ask(&look).expect(200).json()["result"].clone();
    until(|| !result()["composite_sha256"].is_null(), || format!("no digest: {}", result()));
}

/// The ids of one upload in each phase that bytes can lie in; the server is killed in between.
fn one_of_each(server: &mut Server) -> BTreeMap<&'static str, String> {
    let mut ids = BTreeMap::new();
    let mut note = |name, upload: &Upload<'_>| {
        ids.insert(name, upload.id().to_owned());
    };
    note("new", &Upload::new(server, 11));
    note("half", &Upload::hello(server));
    let deferred = Upload::deferred(server);
    deferred.patch(0, [chunk(1), b"more".to_vec()].concat()).expect(204);
    note("deferred", &deferred);
    note("finished", &Upload::finished(server));
    let holes = Parts::new("00000000000000a1", "holes.bin", 4096, chunk(2));
    for k in [0, 1, 3, 7] {
        holes.send(server, k);
    }
    note("holes", &holes.as_upload(server));
    let whole = Parts::new("00000000000000a2", "whole.bin", 4096, chunk(3));
    whole.send_all(server);
    note("whole", &whole.as_upload(server));
    let merged = Parts::new("00000000000000a3", "merged.bin", 4096, chunk(4));
    merged.send_all(server);
    merged.merge(server).expect(201);
    note("merged", &merged.as_upload(server));
    let empty = Upload::from_answer(server, &server.ask(&create_with(0, "")).expect(201));
    note("empty", &empty);
    let partial = |bytes: &[u8]| {
        let post = create_with(bytes.len() as u64, bytes).header("Upload-Concat", "partial");
        Upload::from_answer(server, &server.ask(&post).expect(201))
    };
    let (first, second) = (partial(&chunk(5)), partial(b"second"));
    let urls = format!("final;{} {}", first.url, second.url);
    let joined = server.ask(&request("POST", "/files/").header("Upload-Concat", urls)).expect(201);
    note("partial", &first);
    let joined = Upload::from_answer(server, &joined);
    note("final", &joined);
    let open = server.ask(&create(10).header("Upload-Concat", "partial")).expect(201);
    let urls = format!("final;{}", open.needs("Location"));
    let waits = server.ask(&request("POST", "/files/").header("Upload-Concat", urls)).expect(201);
    note("waiting", &Upload::from_answer(server, &waits));
    // A request with a checksum that was cut off by a kill: its bytes do not count.
    let checked = Upload::new(server, 5 + 16 * CHUNK as u64);
    checked.patch(0, "hello").expect(204);
    note("checked", &checked);
    let head = append(&checked.url, 5).announcing(16 * CHUNK as u64);
    let sum = digest::checksum("sha1", b" world");
    let mut connection = server.begin(&head.header("Upload-Checksum", sum));
    let ledger = checked.ledger();
    let facts = fs::metadata(&ledger).unwrap().len();
    (0..12).for_each(|k| connection.raw(chunk(k)));
    let told = || fs::metadata(&ledger).unwrap().len();
    until(|| told() >= facts + 3 * 96, || format!("{} of {facts} bytes", told()));
    has_digests(&joined);
    server.settled_uploads();
    server.kill_9();
    ids
}

// spec: STORE-61, STORE-62
#[test]
fn whatever_is_well_is_told_so_and_nothing_is_touched() {
    let mut server = Server::start();
    let ids = one_of_each(&mut server);
    let before = traces(&server.data());
    let told = piton(&server.data(), &["verify"]).ends_with(0);
    for (name, id) in &ids {
        let line = told.out.lines().find(|line| line.starts_with(id));
        let line = line.unwrap_or_else(|| panic!("{name} {id} is not in\n{}", told.out));
        assert!(line.contains("  ok  "), "{name}: {line}");
    }
    assert!(told.out.lines().last().unwrap().contains(" 0 damaged"), "{}", told.out);
    assert!(told.out.contains("a request with a checksum is under way or was cut off"));
    for (name, id) in &ids {
        let one = piton(&server.data(), &["verify", id]).ends_with(0);
        assert!(one.out.starts_with(id) && one.out.contains("1 uploads"), "{name}: {}", one.out);
        piton(&server.data(), &["verify", "--quick", id]).ends_with(0).tells(" 0 bytes checked");
        piton(&server.data(), &["inspect", id]).ends_with(0).tells("state      ok");
    }
    assert_eq!(traces(&server.data()), before);
}

#[test]
fn an_inspection_tells_what_a_client_is_told_and_what_lies_there() {
    let server = Server::start();
    let metadata = format!("filename {},empty", BASE64_STANDARD.encode(b"a\x1b[2Jb.bin"));
    let bytes = [chunk(1), b"tail".to_vec()].concat();
    let post = create_with(3 * CHUNK as u64, bytes.clone()).header("Upload-Metadata", metadata);
    let upload = Upload::from_answer(&server, &server.ask(&post).expect(201));
    let told = piton(&server.data(), &["inspect", &upload.url, "--expire-after=1h"]).ends_with(0);
    let sealed = digest::sha256_hex(&chunk(1));
    for line in [
        format!("upload     {}", upload.id()),
        "phase      receiving".to_owned(),
        "length     196608".to_owned(),
        format!("offset     {}", upload.offset()),
        "filename   a\\u{1b}[2Jb.bin".to_owned(),
        "metadata   filename = a\\u{1b}[2Jb.bin".to_owned(),
        "metadata   empty = ".to_owned(),
        format!(
            "  uploads/{}/0.part  65540 bytes  0..65536  4 more bytes, of the tail",
            upload.id()
        ),
        format!("  0  0..65536  {sealed}  uploads/{}/0.part", upload.id()),
    ] {
        assert!(told.out.lines().any(|l| l.trim_end() == line.trim_end()), "{line}\n{}", told.out);
    }
    let fact = told.out.lines().find(|line| line.contains("  sealed  chunk 0, 65536 bytes"));
    assert!(fact.is_some_and(|line| line.contains(&sealed)), "{}", told.out);
    let json = piton(&server.data(), &["inspect", "--json", upload.id()]).ends_with(0).json();
    let [report] = &json[..] else { panic!("{json:?}") };
    assert_eq!(report["upload"]["offset"], bytes.len());
    assert_eq!(report["upload"]["filename"], "a\u{1b}[2Jb.bin");
    assert_eq!(report["chunks"][0]["sha256"], sealed);
    // Finished, the file and its digest are told.
    upload.patch(bytes.len() as u64, vec![0; 3 * CHUNK - bytes.len()]).expect(204);
    let told = piton(&server.data(), &["inspect", upload.id()]).ends_with(0);
    let name = &server.finished_names()[0];
    told.tells("phase      finished").tells(&format!("file       files/{name}\n"));
}

/// What was done to a healthy upload, and what is then said of it.
struct Tampering {
    name: &'static str,
    upload: &'static str,
    harm: fn(&Harm),
    code: i32,
    says: &'static str,
}

/// Where the files of an upload lie.
struct Harm {
    ledger: PathBuf,
    folder: PathBuf,
    files: PathBuf,
}

impl Harm {
    fn part(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// The finished file of this name's beginning.
    fn file(&self, begins: &str) -> PathBuf {
        let mut all = fs::read_dir(&self.files).unwrap().map(|entry| entry.unwrap().path());
        all.find(|path| path.file_name().unwrap().to_str().unwrap().starts_with(begins)).unwrap()
    }
}

fn shorten(path: &Path, by: u64) {
    let file = OpenOptions::new().write(true).open(path).unwrap();
    file.set_len(file.metadata().unwrap().len() - by).unwrap();
}

fn flip(path: &Path, at: u64) {
    let file = OpenOptions::new().read(true).write(true).open(path).unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, at).unwrap();
    file.write_all_at(&[byte[0] ^ 1], at).unwrap();
}

const TAMPERINGS: [Tampering; 17] = [
    Tampering {
        name: "a part is shortened",
        upload: "deferred",
        harm: |harm| shorten(&harm.part("0.part"), 4 + 10),
        code: 1,
        says: "/0.part is short by 10 bytes: 65526 of 65536, in chunk 0",
    },
    Tampering {
        name: "a bit of a part flips",
        upload: "deferred",
        harm: |harm| flip(&harm.part("0.part"), 60_000),
        code: 1,
        says: "chunk 0, bytes 0..65536, does not match its digest",
    },
    Tampering {
        name: "a bit of a chunk behind a hole flips",
        upload: "holes",
        harm: |harm| flip(&harm.part("7.part"), 0),
        code: 1,
        says: "chunk 7, bytes 28672..32768, does not match its digest",
    },
    Tampering {
        name: "two parts are swapped",
        upload: "holes",
        harm: |harm| {
            let (three, seven) = (harm.part("3.part"), harm.part("7.part"));
            let bytes = (fs::read(&three).unwrap(), fs::read(&seven).unwrap());
            fs::write(&three, bytes.1).unwrap();
            fs::write(&seven, bytes.0).unwrap();
        },
        code: 1,
        says: "chunk 3, bytes 12288..16384, does not match its digest",
    },
    Tampering {
        name: "a part is removed",
        upload: "holes",
        harm: |harm| fs::remove_file(harm.part("3.part")).unwrap(),
        code: 1,
        says: "/3.part is missing, with chunk 3",
    },
    Tampering {
        name: "all parts are removed",
        upload: "whole",
        harm: |harm| fs::remove_dir_all(&harm.folder).unwrap(),
        code: 1,
        says: "/0.part is missing, with chunks 0 to 15",
    },
    Tampering {
        name: "a link lies in a part's place",
        upload: "holes",
        harm: |harm| {
            fs::remove_file(harm.part("7.part")).unwrap();
            symlink("/etc/passwd", harm.part("7.part")).unwrap();
        },
        code: 1,
        says: "/7.part is not a plain file",
    },
    Tampering {
        name: "the ledger is garbled in its middle",
        upload: "holes",
        harm: |harm| {
            let size = fs::metadata(&harm.ledger).unwrap().len();
            flip(&harm.ledger, size - 96 - 40);
        },
        code: 1,
        says: "the ledger cannot be read from byte",
    },
    Tampering {
        name: "the ledger's beginning is garbled",
        upload: "finished",
        harm: |harm| flip(&harm.ledger, 3),
        code: 1,
        says: "the ledger cannot be read from byte 0 on: not the header of a ledger",
    },
    Tampering {
        name: "the ledger is empty",
        upload: "half",
        harm: |harm| fs::write(&harm.ledger, "").unwrap(),
        code: 1,
        says: "the ledger has 0 bytes and no whole beginning, while 5 bytes are stored",
    },
    Tampering {
        name: "the ledger is another's",
        upload: "half",
        harm: |harm| {
            let mut bytes = fs::read(&harm.ledger).unwrap();
            let shard = harm.ledger.parent().unwrap().parent().unwrap();
            let mut next = vec![shard.to_owned()];
            while let Some(path) = next.pop() {
                if path.is_dir() {
                    next.extend(fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
                } else if path.extension().is_some_and(|e| e == "ledger") && path != harm.ledger {
                    bytes = fs::read(&path).unwrap();
                }
            }
            fs::write(&harm.ledger, bytes).unwrap();
        },
        code: 1,
        says: "the ledger of another upload",
    },
    Tampering {
        name: "the ledger is torn, as by a crash",
        upload: "deferred",
        harm: |harm| shorten(&harm.ledger, 1),
        code: 0,
        says: "the ledger's last 95 bytes, from ",
    },
    Tampering {
        name: "a finished file is removed",
        upload: "merged",
        harm: |harm| fs::remove_file(harm.file("merged-")).unwrap(),
        code: 1,
        says: " is missing\n",
    },
    Tampering {
        name: "a finished file is shortened",
        upload: "merged",
        harm: |harm| shorten(&harm.file("merged-"), 1),
        code: 1,
        says: " has 65535 bytes instead of 65536",
    },
    Tampering {
        name: "a finished file grows",
        upload: "merged",
        harm: |harm| fs::write(harm.file("merged-"), vec![7; 70_000]).unwrap(),
        code: 1,
        says: "chunks 0 to 15, bytes 0..65536, differ",
    },
    Tampering {
        name: "a bit of a finished file flips",
        upload: "merged",
        harm: |harm| flip(&harm.file("merged-"), 4096 * 5 + 1),
        code: 1,
        says: "chunk 5, bytes 20480..24576, does not match its digest",
    },
    Tampering {
        name: "a bit of a joined file flips",
        upload: "final",
        harm: |harm| {
            let joined = fs::read_dir(&harm.files).unwrap().map(|entry| entry.unwrap().path());
            let size = CHUNK as u64 + 6;
            let mut joined = joined.filter(|path| fs::metadata(path).unwrap().len() == size);
            flip(&joined.next().unwrap(), size - 1);
        },
        code: 1,
        says: "chunk 1, bytes 65536..65542, does not match its digest",
    },
];

/// A copy of a folder, symbolic and hard links aside.
fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap().map(Result::unwrap) {
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &to.join(entry.file_name()));
        } else {
            fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
        }
    }
}

// spec: STORE-61
#[test]
fn each_harm_is_told_with_its_place() {
    let mut server = Server::start();
    let ids = one_of_each(&mut server);
    let folders: Vec<_> = TAMPERINGS.iter().map(|_| tempfile::tempdir().unwrap()).collect();
    thread::scope(|scope| {
        for (tampering, folder) in TAMPERINGS.iter().zip(&folders) {
            let (data, id) = (folder.path().join("data"), &ids[tampering.upload]);
            copy(&server.data(), &data);
            let harm = Harm {
                ledger: data.join("state").join(&id[..2]).join(format!("{id}.ledger")),
                folder: data.join("uploads").join(id),
                files: data.join("files"),
            };
            (tampering.harm)(&harm);
            scope.spawn(move || is_told(tampering, &data, id));
        }
    });
}

#[track_caller]
fn is_told(Tampering { name, code, says, .. }: &Tampering, data: &Path, id: &str) {
    let before = traces(data);
    let all = piton(data, &["verify", "--quiet"]);
    assert_eq!(all.code, Some(*code), "{name}: {}{}", all.out, all.err);
    let damaged = all.out.lines().filter(|line| line.contains("DAMAGED")).count();
    assert_eq!(damaged, usize::from(*code == 1), "{name}: {}", all.out);
    let last = all.out.lines().last().unwrap();
    assert!(last.contains(&format!(", {damaged} damaged")), "{name}: {last}");
    let (_, from) = all.out.split_once(id).unwrap_or_else(|| panic!("{name}: {}", all.out));
    let own: String = from.split_inclusive('\n').take(8).collect();
    assert!(own.contains(says), "{name}: {says:?} is not in\n{}", all.out);
    if *code == 1 {
        assert!(own.contains("means: ") && own.contains("do: "), "{name}: {own}");
    }
    let one = piton(data, &["verify", "--json", id]);
    assert_eq!(one.code, Some(*code), "{name}: {}", one.out);
    let upload = &one.json()[0]["upload"];
    assert_eq!(upload["status"], if *code == 1 { "damaged" } else { "ok" }, "{name}");
    assert_eq!(upload["problems"].as_array().unwrap().is_empty(), *code == 0, "{name}");
    let shown = piton(data, &["inspect", id]);
    assert!(shown.out.contains(id), "{name}: {}{}", shown.out, shown.err);
    assert_eq!(traces(data), before, "{name}");
}

#[test]
fn bytes_that_were_promised_are_compared_too() {
    let mut server = Server::with(&["--durability=ack"]);
    let ids = [(); 3].map(|()| {
        let upload = Upload::new(&server, 100_000);
        upload.patch(0, chunk(1)[..50_000].to_vec()).expect(204);
        upload.id().to_owned()
    });
    server.kill_9();
    let told = piton(&server.data(), &["verify"]).ends_with(0);
    let well = "3 uploads, 150000 bytes checked, 0 damaged\n";
    assert!(told.out.ends_with(well), "{}", told.out);
    let part = |id: &str| server.data().join("uploads").join(id).join("0.part");
    flip(&part(&ids[0]), 49_999);
    shorten(&part(&ids[1]), 1);
    let told = piton(&server.data(), &["verify"]).ends_with(1).tells(" 2 damaged");
    for said in [
        "bytes 0..50000, which were promised, do not match their digest",
        "the offset 50000 was told, and the bytes end at 49999",
    ] {
        assert!(told.out.contains(said), "{said}: {}", told.out);
    }
    piton(&server.data(), &["verify", &ids[2]]).ends_with(0);
}

#[test]
fn what_nobody_owns_is_told_and_is_no_damage() {
    let mut server = Server::start();
    let (lost, half) = (Upload::hello(&server), Upload::hello(&server));
    let ledger = lost.ledger();
    fs::remove_file(&ledger).unwrap();
    fs::write(server.data().join("files/a\u{202e}nother.txt"), "x").unwrap();
    fs::write(server.data().join("files/foreign.txt"), "x").unwrap();
    let (lost, half) = (lost.id().to_owned(), half.id().to_owned());
    server.kill_9();
    let told = piton(&server.data(), &["verify"]).ends_with(0);
    for line in [&*format!("uploads/{lost}  nobody's"), "files/foreign.txt  nobody's"] {
        assert!(told.out.contains(line), "{line}: {}", told.out);
    }
    assert!(told.out.contains(&half) && !told.out.contains('\u{202e}'), "{}", told.out);
    let asked = piton(&server.data(), &["verify", &lost]).ends_with(2);
    assert!(asked.err.contains("there is no upload"), "{}", asked.err);
}

// spec: STORE-61, STORE-86
#[test]
fn a_deletion_that_was_cut_off_is_no_damage_and_an_emptied_ledger_is() {
    let server = Server::start();
    let upload = Upload::new(&server, 300);
    upload.patch(0, b"a few bytes").expect(204);
    let (data, ledger) = (server.data(), upload.ledger());
    let cut = |size| OpenOptions::new().write(true).open(&ledger).unwrap().set_len(size).unwrap();
    cut(1);
    upload.head().expect(404);
    piton(&data, &["verify"]).ends_with(0).tells("its end was cut off");
    cut(0);
    piton(&data, &["verify"]).ends_with(1).tells("no whole beginning");
}

#[test]
fn an_upload_is_found_by_whatever_a_client_sees_and_nothing_else() {
    let server = Server::start();
    let tus = Upload::hello(&server);
    let parts = Parts::hello();
    parts.send(&server, 0);
    let index = parts.as_upload(&server);
    let url = format!("http://{}{}", server.address(), tus.url);
    let status = format!("/upload/status?{}", parts.name());
    let other = Parts { filename: Some("b.bin".to_owned()), ..Parts::hello() };
    for (name, id) in [
        (tus.id(), tus.id()),
        (&*tus.url, tus.id()),
        (&*url, tus.id()),
        (index.id(), index.id()),
        (&*parts.hash, index.id()),
        (&*parts.hash.to_uppercase(), index.id()),
        (&*status, index.id()),
    ] {
        for command in ["inspect", "verify"] {
            piton(&server.data(), &[command, name]).ends_with(0).tells(id);
        }
    }
    other.send(&server, 0);
    let several = piton(&server.data(), &["inspect", &parts.hash]).ends_with(2);
    assert!(several.err.contains(index.id()) && several.err.contains("several"), "{several:?}");
    piton(&server.data(), &["inspect", &status]).ends_with(0).tells(index.id());
    let nobody = piton(&server.data(), &["inspect", &parts.hash, "--owner=ann"]).ends_with(2);
    assert!(nobody.err.contains("there is no upload"), "{nobody:?}");
    for wrong in [
        "0123456789abcdef0123456789abcdef",
        "deadbeef",
        "../../etc/passwd",
        "\u{1b}[2J",
        &format!("../{}", tus.id()),
        &format!("{}.ledger", tus.id()),
    ] {
        for command in ["inspect", "verify"] {
            let said = piton(&server.data(), &[command, "--", wrong]).ends_with(2);
            assert!(said.out.is_empty() && said.err.starts_with("error: "), "{said:?}");
            assert!(!said.err.contains('\u{1b}'), "{said:?}");
        }
    }
}

#[test]
fn the_folder_is_found_where_the_server_finds_it() {
    let server = Server::start();
    let id = Upload::hello(&server).id().to_owned();
    let file = server.around().join("piton.toml");
    fs::write(&file, format!("data-dir = {:?}\nmax-size = \"1MiB\"", server.data())).unwrap();
    let command = || Command::new(env!("CARGO_BIN_EXE_piton"));
    let by_file = said(command().args(["verify", "-c"]).arg(&file)).ends_with(0);
    assert!(by_file.out.contains(&id), "{}", by_file.out);
    let variable = said(command().args(["inspect", &id]).env("PITON_DATA_DIR", server.data()));
    assert!(variable.ends_with(0).out.contains(&id));
    for command in [&["verify"][..], &["inspect", &id]] {
        let nothing = piton(server.around(), command).ends_with(2);
        assert!(nothing.err.contains("holds no data of piton"), "{nothing:?}");
        // Nothing is made where nothing was.
        assert_eq!(fs::read_dir(server.around()).unwrap().count(), 2);
    }
}

#[test]
fn a_server_notices_nothing_and_a_long_request_is_no_damage() {
    let server = Server::start();
    let upload = Upload::new(&server, 4 * CHUNK as u64);
    let length = 4 * CHUNK as u64;
    let mut stalled = server.begin(&append(&upload.url, 0).announcing(length));
    upload.takes(&mut stalled, &chunk(1), length);
    // The chunk is written down once no more bytes come for a moment.
    let inspected = || piton(&server.data(), &["inspect", upload.id()]).ends_with(0).out;
    until(|| inspected().contains("offset     65536"), inspected);
    for _ in 0..3 {
        piton(&server.data(), &["verify", upload.id()]).ends_with(0).tells(" 0 damaged");
        piton(&server.data(), &["inspect", upload.id()]).ends_with(0).tells("offset     65536");
    }
    for k in 2..=4 {
        stalled.raw(chunk(k));
    }
    stalled.answer("PATCH").expect(204);
    upload.is_file(&[1, 2, 3, 4].map(chunk).concat());
}

// spec: STORE-62
#[test]
fn what_somebody_holds_is_busy_unless_bytes_are_wrong() {
    let mut server = Server::start();
    let (lacking, wrong) = (Upload::new(&server, 200_000), Upload::new(&server, 200_000));
    for upload in [&lacking, &wrong] {
        upload.patch(0, [chunk(1), chunk(2)].concat()).expect(204);
    }
    fs::remove_file(lacking.folder().join("0.part")).unwrap();
    flip(&wrong.folder().join("0.part"), 70_000);
    let ledgers = [lacking.ledger(), wrong.ledger()].map(|path| fs::File::open(path).unwrap());
    let ids = [lacking.id().to_owned(), wrong.id().to_owned()];
    server.kill_9();
    for ledger in &ledgers {
        ledger.lock().unwrap();
    }
    let told = piton(&server.data(), &["verify"]).ends_with(1).tells(" 1 damaged");
    for (id, how) in ids.iter().zip(["  busy  ", "  DAMAGED  "]) {
        let line = told.out.lines().find(|line| line.starts_with(id)).unwrap();
        assert!(line.contains(how), "{}", told.out);
    }
    assert!(told.out.contains("; 1 busy"), "{}", told.out);
    // Not by closing them: another test may be about to start a process, which has them too.
    for ledger in &ledgers {
        ledger.unlock().unwrap();
    }
    piton(&server.data(), &["verify", &ids[0]]).ends_with(1).tells("/0.part is missing");
}

/// Everything that clients do, again and again; each answer is the one that they expect.
fn live(server: &Server, seed: u64, stop: &AtomicBool) {
    let mut random = Random::seeded(seed);
    while !stop.load(Ordering::Relaxed) {
        let bytes = random.bytes(5 * CHUNK + 100);
        let upload = Upload::new(server, bytes.len() as u64);
        let cut = random.below(bytes.len());
        upload.patch(0, &bytes[..cut]).expect(204);
        upload.patch(cut as u64, &bytes[cut..]).expect(204);
        upload.is_file(&bytes);
        upload.delete().expect(204);
        let half = Upload::new(server, bytes.len() as u64);
        half.patch(0, &bytes[..cut]).expect(204);
        let parts = Parts::new(&random.hash(), "live.bin", 8192, bytes.clone());
        for k in random.shuffled((0..parts.total).collect()) {
            parts.send(server, k);
        }
        parts.merge(server).expect(201);
        let again = Parts::new(&random.hash(), "again.bin", 8192, bytes[..40_000].to_vec());
        again.send_all(server);
        // Another chunk in place of one that is there.
        let other = again.put_bytes(2, &vec![seed as u8; 8192]);
        server.ask(&other).expect(201);
        let sum = digest::checksum("sha1", b"right");
        let checked = Upload::new(server, 10);
        let first = patch(&checked.url, 0, "right").header("Upload-Checksum", &sum);
        server.ask(&first).expect(204);
        let wrong = patch(&checked.url, 5, "wrong").header("Upload-Checksum", &sum);
        server.ask(&wrong).expect(460);
        let part = create_with(6, "joined").header("Upload-Concat", "partial");
        let part = Upload::from_answer(server, &server.ask(&part).expect(201));
        let urls = format!("final;{} {}", part.url, part.url);
        let post = request("POST", "/files/").header("Upload-Concat", urls);
        let joined = Upload::from_answer(server, &server.ask(&post).expect(201));
        server.ask(&again.delete()).expect(204);
        for upload in [half, joined, part, checked, parts.as_upload(server)] {
            upload.delete().expect(204);
        }
    }
}

/// Looks again and again at what a server works on: nothing is damaged, and nothing nobody's.
fn looks_find_nothing_wrong(test: &'static str, few: usize, server: &Server) {
    for round in Rounds::of(test, few) {
        let options = [&["verify"][..], &["verify", "--quick"]][round % 2];
        let told = piton(&server.data(), options).ends_with(0).tells(" 0 damaged");
        assert!(!told.out.contains("nobody's"), "{}", told.out);
        assert!(!told.out.contains("belong to nobody"), "{}", told.out);
    }
}

/// Looks while others work; they stop when the looks end, however those end.
fn looks_beside(
    (test, few): (&'static str, usize),
    server: &Server,
    work: impl Fn(u64, &AtomicBool) + Sync,
) {
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        for seed in 0..3 {
            let (work, stop) = (&work, &stop);
            scope.spawn(move || work(seed, stop));
        }
        let looks = panic::catch_unwind(|| looks_find_nothing_wrong(test, few, server));
        stop.store(true, Ordering::Relaxed);
        looks.unwrap_or_else(|panic| panic::resume_unwind(panic));
    });
}

// spec: STORE-62
#[test]
fn beside_a_server_under_load_there_is_no_false_alarm() {
    let server = Server::with(&["--max-uploads-per-ip=none"]);
    let test = "beside_a_server_under_load_there_is_no_false_alarm";
    looks_beside((test, 40), &server, |seed, stop| live(&server, seed, stop));
}

// spec: STORE-62
#[test]
fn beside_a_server_that_sweeps_there_is_no_false_alarm() {
    let server = Server::with(&[
        "--max-uploads-per-ip=none",
        "--auto-merge",
        "--expire-after=300ms",
        "--keep-finished=200ms",
        "--reap-every=20ms",
    ]);
    let test = "beside_a_server_that_sweeps_there_is_no_false_alarm";
    looks_beside((test, 30), &server, |seed, stop| blindly(server.address(), seed, stop));
}

#[test]
fn after_a_kill_at_any_moment_nothing_is_damaged() {
    let test = "after_a_kill_at_any_moment_nothing_is_damaged";
    let mut random = Random::announced(test);
    let mut server = Server::start();
    for round in Rounds::of(test, 5) {
        let stop = AtomicBool::new(false);
        let moment = Duration::from_millis(random.between(20, 400));
        let seeds = [random.next(), random.next()];
        thread::scope(|scope| {
            for seed in seeds {
                let address = server.address();
                let stop = &stop;
                scope.spawn(move || blindly(address, seed, stop));
            }
            thread::sleep(moment);
            server.kill_9();
            stop.store(true, Ordering::Relaxed);
        });
        let told = piton(&server.data(), &["verify"]);
        assert_eq!(told.code, Some(0), "round {round} after {moment:?}: {}", told.out);
        server.start_again();
        piton(&server.data(), &["verify"]).ends_with(0);
    }
}

/// Chunks and merges without looking at answers, until the server is gone.
fn blindly(address: SocketAddr, seed: u64, stop: &AtomicBool) {
    let mut random = Random::seeded(seed);
    while !stop.load(Ordering::Relaxed) {
        let bytes = random.bytes(3 * CHUNK + 5);
        let parts = Parts::new(&random.hash(), "kill.bin", 8192, bytes.clone());
        let mut all: Vec<Request> = (0..parts.total).map(|k| parts.put(k)).collect();
        all.push(crate::chunks::merge(&parts.merge_body()));
        all.push(create_with(bytes.len() as u64, bytes));
        for request in all {
            let asked = Conn::try_open(address).and_then(|mut open| open.try_ask(&request));
            if asked.is_err() {
                return;
            }
        }
    }
}

#[test]
#[ignore = "mounts file systems: needs root"]
fn a_disk_that_can_only_be_read_is_enough() {
    let mount = Mount::new(Kind::Ext4, 64 << 20);
    let mut server = Server::within(&mount.path(), &[]);
    let ids = one_of_each(&mut server);
    mount.read_only();
    piton(&server.data(), &["verify"]).ends_with(0).tells(" 0 damaged");
    for id in ids.values() {
        piton(&server.data(), &["inspect", id]).ends_with(0);
    }
    mount.read_write();
}
