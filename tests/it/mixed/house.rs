//! A server, its clients, and the folder below them.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    sync::atomic::Ordering,
    thread,
    time::{Duration, Instant, SystemTime},
};

use super::{
    client::Client,
    oracle::{Belief, Known, Line, Made, Rules, Weather},
    tally,
};
use crate::{
    digest::sha256,
    disk::files_below,
    random::Random,
    server::Server,
    tus::{patch, request},
};

const CLIENTS: u64 = 6;
/// Longer than anything is remembered.
const LONG_AGO: Duration = Duration::from_hours(72);

/// Starts after which nothing may be left that nobody owns. Not a time: a long round leaves
/// hundreds of uploads, and a busy machine is slow to look at them.
const STARTS_TO_FORGET: usize = 12;

/// What a test of this kind works with.
#[derive(Debug)]
pub struct House {
    pub server: Server,
    pub clients: Vec<Client>,
    pub rules: Rules,
    pub random: Random,
}

impl House {
    pub fn new(server: Server, rules: Rules, mut random: Random) -> Self {
        let clients = (0..CLIENTS).map(|_| Client::new(random.next())).collect();
        Self { server, clients, rules, random }
    }

    /// Starts the server again, which gives everybody its time anew (STORE-84).
    pub fn start_again(&mut self) {
        self.server.start_again();
        self.clients.iter_mut().for_each(Client::forget_offsets);
    }

    /// All clients at work, until `fate` is done with the server.
    pub fn play(&mut self, fate: impl FnOnce(&Weather, u32)) {
        let weather = Weather::default();
        let line = Line { server: &self.server, weather: &weather, rules: &self.rules };
        thread::scope(|scope| {
            for client in &mut self.clients {
                scope.spawn(move || client.play(&line));
            }
            fate(&weather, self.server.pid());
        });
        self.clients.iter_mut().for_each(Client::forget_offsets);
    }

    /// All clients look at all they know, again and again, until `fate` is done with the server:
    /// each first look at an upload finds and mends what a kill left of it.
    pub fn recover(&mut self, fate: impl FnOnce(&Weather, u32)) {
        let weather = Weather::default();
        let line = Line { server: &self.server, weather: &weather, rules: &self.rules };
        thread::scope(|scope| {
            for client in &mut self.clients {
                scope.spawn(move || {
                    client.does("recover");
                    loop {
                        let before = client.tally.requests;
                        // Whoever has nothing to ask for would never hear of the end.
                        if client.check(&line).is_none() || client.tally.requests == before {
                            break;
                        }
                    }
                });
            }
            fate(&weather, self.server.pid());
        });
        self.clients.iter_mut().for_each(Client::forget_offsets);
    }

    /// Every client looks at all it knows.
    pub fn check(&mut self) {
        self.all(|client, line| {
            client.does("check");
            assert!(client.check(line).is_some());
        });
    }

    /// Clients at once, on a server that stays.
    fn all(&mut self, each: impl Fn(&mut Client, &Line<'_>) + Sync) {
        let (weather, each) = (Weather::default(), &each);
        let line = Line { server: &self.server, weather: &weather, rules: &self.rules };
        thread::scope(|scope| {
            for client in &mut self.clients {
                scope.spawn(move || each(client, &line));
            }
        });
    }

    /// A share of the uploads is finished, compared and deleted; all of them with `of` 1.
    pub fn finish_one_in(&mut self, of: usize) {
        self.all(|client, line| {
            for number in client.uploads.keys().copied().collect::<Vec<_>>() {
                if client.random.below(of) == 0 && client.uploads.contains_key(&number) {
                    client.finish(line, number).unwrap();
                }
            }
        });
    }

    /// Each file that is seen is one that somebody sent.
    pub fn files_are_whole(&self) {
        for path in self.server.finished() {
            // A sweep may be faster.
            let Ok(bytes) = fs::read(&path) else { continue };
            let known = sha256(&bytes);
            let whole = self.clients.iter().any(|client| client.contents.contains(&known));
            assert!(whole, "{} has {} bytes that nobody sent", path.display(), bytes.len());
        }
    }

    /// All are deleted, what is left expires: then the folder is as on the first day, but for
    /// files of which no client ever had the URL.
    pub fn leaves_nothing(&mut self, args: &[&str]) {
        self.all(|client, line| {
            for number in client.uploads.keys().copied().collect::<Vec<_>>() {
                if client.uploads[&number].url.is_some() {
                    client.remove(line, number).unwrap();
                }
            }
        });
        self.files_are_whole();
        let shortly = ["--expire-after=1s", "--keep-finished=1s", "--reap-every=200ms"];
        let times = ["--expire", "--keep", "--reap"];
        let is_time = |arg: &&str| times.iter().any(|time| arg.starts_with(time));
        let others: Vec<&str> = args.iter().copied().filter(|arg| !is_time(arg)).collect();
        self.server.rearm(&[&others[..], &shortly].concat());
        for _ in 0..STARTS_TO_FORGET {
            // What was over at a start is kept for its time from then, which is a second here.
            let began = Instant::now();
            while began.elapsed() < Duration::from_secs(4) {
                if self.unowned().is_empty() {
                    return;
                }
                thread::sleep(Duration::from_millis(100));
            }
            self.server.sigterm();
            self.server.exits_within(Duration::from_secs(20));
            self.age();
            self.server.start_again();
        }
        panic!("nobody owns {:#?}", self.unowned());
    }

    /// What is left but for what expired, which is remembered for a day, also where it seems older
    /// at a start.
    fn unowned(&self) -> Vec<PathBuf> {
        let mut left = self.left();
        left.retain(|path| !self.is_remembered(path));
        left
    }

    /// Everything is as old as if nobody had come for days.
    fn age(&self) {
        let then = SystemTime::now() - LONG_AGO;
        let data = self.server.data();
        for path in files_below(&data).iter().chain(&folders_in(data.join("uploads"))) {
            // The start reads this one.
            if !path.ends_with("boot") {
                File::open(path).unwrap().set_modified(then).unwrap();
            }
        }
    }

    /// What a folder has that holds no upload must not have.
    fn left(&self) -> Vec<PathBuf> {
        let data = self.server.data();
        let mut left = files_below(&data);
        left.retain(|path| !["secret", "boot"].iter().any(|name| path.ends_with(name)));
        left.retain(|path| !path.starts_with(data.join("state/contents")));
        left.extend(folders_in(data.join("uploads")));
        left
    }

    /// A ledger that tells no more than that its upload expired.
    fn is_remembered(&self, path: &Path) -> bool {
        let name = path.file_name().and_then(|name| name.to_str());
        let Some(id) = name.and_then(|name| name.strip_suffix(".ledger")) else { return false };
        self.server.ask(&request("HEAD", &format!("/files/{id}"))).status == 410
    }

    pub fn summary(&self, test: &str, rounds: usize) {
        let all: Vec<_> = self.clients.iter().map(|client| &client.tally).collect();
        tally::print(test, rounds, &all);
    }
}

fn folders_in(folder: PathBuf) -> Vec<PathBuf> {
    let all = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    all.filter(|path| path.is_dir()).collect()
}

impl Client {
    /// Brings an upload to its end, and looks whether it is right.
    fn finish(&mut self, line: &Line<'_>, number: u64) -> Option<()> {
        self.does("finish");
        for _ in 0..20 {
            let Some(known) = self.uploads.get(&number) else { return Some(()) };
            if known.is_joined() || known.is_fading(line.rules) {
                // It may wait for parts.
                return self.look(line, number);
            }
            if known.at.is_none() || known.url.is_none() {
                self.look(line, number)?;
                continue;
            }
            if known.finished == Belief::Sure || (known.partial && known.is_whole()) {
                self.tally.completed += 1;
                return self.look(line, number);
            }
            if known.made == Made::Chunks && known.is_whole() {
                self.merge(line, number)?;
            } else if known.made == Made::Chunks && self.random.below(2) == 0 {
                self.put(line, number)?;
            } else {
                self.send_rest(line, number)?;
            }
        }
        let Some(known) = self.uploads.get(&number) else { return Some(()) };
        panic!("it cannot be finished: {known:?}")
    }

    fn send_rest(&mut self, line: &Line<'_>, number: u64) -> Option<()> {
        let known: &mut Known = self.known(number);
        let (from, length) = (known.at.take().unwrap(), known.length());
        let mut asked = patch(known.url(), from, &known.parts.bytes[from as usize..]);
        if known.deferred {
            asked = asked.header("Upload-Length", length);
        }
        let began = Instant::now();
        known.sent.add(from, length);
        let answer = self.ask(line, &asked)?;
        if [404, 410].contains(&answer.status) {
            self.is_gone(line, number, &answer);
            return Some(());
        }
        answer.expect_one(&[204, 423]);
        self.known(number).was_active(began, Belief::Sure);
        self.look(line, number)
    }
}

/// Nothing is answered any more once this is said.
pub fn kill(weather: &Weather, pid: u32) {
    weather.dying.store(true, Ordering::SeqCst);
    let pid = rustix::process::Pid::from_raw(pid.cast_signed()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
}
