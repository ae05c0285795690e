//! The program under test, as a process of its own.

use std::{
    ffi::OsStr,
    fs,
    io::{BufRead, BufReader, Read},
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Child, ChildStderr, Command, ExitStatus, Stdio},
    sync::{Arc, Mutex, Once, mpsc},
    thread,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Resource, Rlimit, Signal, getrlimit, kill_process, prlimit, setrlimit};
use tempfile::TempDir;

use crate::{
    client::{Answer, Conn, Request},
    disk::{self, Snapshot},
    h2::H2,
};

/// Small chunks, so that small files have many.
pub const CHUNK: usize = 64 * 1024;

/// A running server on a data folder of its own; killed when it goes out of scope.
#[derive(Debug)]
pub struct Server {
    child: Child,
    address: SocketAddr,
    scheme: String,
    folder: Arc<TempDir>,
    args: Vec<String>,
    /// Variables of its environment.
    env: Vec<(String, String)>,
    log: Arc<Mutex<String>>,
}

impl Server {
    /// A server with chunks of 64 KiB and otherwise the defaults.
    pub fn start() -> Self {
        Self::with(&[])
    }

    /// A server with chunks of 64 KiB and these options.
    pub fn with(args: &[&str]) -> Self {
        Self::within(&std::env::temp_dir(), args)
    }

    /// The same on the disk of another folder, which outlives it.
    pub fn within(place: &Path, args: &[&str]) -> Self {
        Self::in_environment(place, args, &[])
    }

    /// The same with these variables in its environment.
    pub fn in_environment(place: &Path, args: &[&str], env: &[(&str, &str)]) -> Self {
        let owned = |&(name, value): &(&str, &str)| (name.to_owned(), value.to_owned());
        let env: Vec<_> = env.iter().map(owned).collect();
        let folder = Arc::new(tempfile::tempdir_in(place).unwrap());
        let mut all = vec!["--chunk-size=64KiB".to_owned()];
        all.retain(|_| !args.iter().any(|arg| arg.starts_with("--chunk-size")));
        all.extend(args.iter().map(|&arg| arg.to_owned()));
        let log = Arc::default();
        let (child, scheme, address) = spawn(&folder.path().join("data"), (&all, &env), &log);
        Self { child, address, scheme, folder, args: all, env, log }
    }

    /// Another process with the same options, on the same data folder.
    pub fn beside(&self) -> Self {
        let (folder, args, log) = (Arc::clone(&self.folder), self.args.clone(), Arc::default());
        let env = self.env.clone();
        let (child, scheme, address) = spawn(&self.data(), (&args, &env), &log);
        Self { child, address, scheme, folder, args, env, log }
    }

    /// No file can grow any more, as on a full disk. The limit is the process's own, which answers
    /// a write beyond it as a file system does that is full.
    pub fn fill_disk(&self) {
        self.limit_files(Some(0));
    }

    /// Files can grow again.
    pub fn make_room(&self) {
        self.limit_files(None);
    }

    fn limit_files(&self, current: Option<u64>) {
        let pid = Some(Pid::from_child(&self.child));
        prlimit(pid, Resource::Fsize, Rlimit { current, maximum: None }).unwrap();
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What its first line said that it speaks: `http` or `https`.
    pub fn scheme(&self) -> &str {
        &self.scheme
    }

    /// The folder that holds everything.
    pub fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// The folder around the data folder.
    pub fn around(&self) -> &Path {
        self.folder.path()
    }

    /// A new connection.
    pub fn connect(&self) -> Conn {
        Conn::open(self.address)
    }

    /// One request on a connection of its own; over HTTP/2, where it can be said there, if
    /// `PITON_TEST_HTTP` is 2.
    #[track_caller]
    pub fn ask(&self, request: &Request) -> Answer {
        let second = std::env::var_os("PITON_TEST_HTTP").is_some_and(|version| version == "2");
        if second && self.scheme == "http" && H2::can(request) {
            return H2::open(self.address).ask(request);
        }
        self.connect().ask(request)
    }

    /// Waits until exactly so many connections are open, as its descriptors tell: an answer is
    /// heard before the server knows that the connection has ended, on a busy machine long before.
    #[track_caller]
    pub fn has_open(&self, connections: usize) {
        let open = || tcp_sockets(self.pid());
        // One of them listens.
        until(
            || open() == connections + 1,
            || format!("{} sockets, not {connections} and one", open()),
        );
    }

    /// Sends the request and leaves the connection open, unread.
    pub fn begin(&self, request: &Request) -> Conn {
        let mut connection = self.connect();
        connection.send(request);
        connection
    }

    /// The files under `uploads/`.
    pub fn uploads(&self) -> Snapshot {
        disk::snapshot(&self.data().join("uploads"))
    }

    /// The files under `uploads/` once they stand still: chunks are absorbed behind the answers. On
    /// a busy machine they stand still before that, too, so it is asked whether more is to be done.
    #[track_caller]
    pub fn settled_uploads(&self) -> Snapshot {
        let mut last = self.uploads();
        let settled = || {
            thread::sleep(Duration::from_millis(20));
            let before = std::mem::replace(&mut last, self.uploads());
            before == last && self.is_absorbed(&last)
        };
        until(settled, || format!("not settled: {:?}", self.uploads()));
        last
    }

    /// Has every chunk of a contiguous prefix gone into the part of its first one?
    fn is_absorbed(&self, uploads: &Snapshot) -> bool {
        uploads.keys().all(|path| {
            // `<upload>/<chunk>.part`, or `<upload>/<chunk>.<generation>.part`.
            let upload = path.parent().and_then(Path::to_str).unwrap();
            let name = path.file_name().and_then(OsStr::to_str).unwrap();
            let chunk: usize = name.split('.').next().unwrap().parse().unwrap_or(0);
            chunk == 0 || chunk >= self.prefix_of(upload)
        })
    }

    /// How many chunks of an upload are contiguous from its first one on.
    fn prefix_of(&self, upload: &str) -> usize {
        let look = Request::new("GET", &format!("/upload/status?upload_id={upload}"));
        let status = self.ask(&look).expect(200).json();
        let stored = status["uploaded"].as_array().into_iter().flatten();
        stored.enumerate().take_while(|(at, index)| **index == *at).count()
    }

    /// Soon nothing is staged: what nobody wants any more is removed behind the answer.
    #[track_caller]
    pub fn nothing_is_staged(&self) {
        let staged = || disk::files_below(&self.data().join("tmp"));
        until(|| staged().is_empty(), || format!("still there: {:?}", staged()));
    }

    /// How many bytes of bodies it has read.
    #[track_caller]
    pub fn received(&self) -> u64 {
        let page = self.ask(&Request::new("GET", "/metrics")).expect(200);
        let page = String::from_utf8(page.body).unwrap();
        let mut lines = page.lines();
        let told = lines.find_map(|line| line.strip_prefix("piton_received_bytes_total "));
        told.unwrap().parse().unwrap()
    }

    /// Waits until it has read so many bytes of bodies.
    #[track_caller]
    pub fn has_received(&self, bytes: u64) {
        until(
            || self.received() >= bytes,
            || format!("{} of {bytes} bytes are read", self.received()),
        );
    }

    /// Soon nothing is left under `uploads/`: parts go after the answer, not before it.
    #[track_caller]
    pub fn uploads_vanish(&self) {
        until(|| self.uploads().is_empty(), || format!("still there: {:?}", self.uploads()));
    }

    /// The finished files.
    pub fn finished(&self) -> Vec<PathBuf> {
        disk::files_below(&self.data().join("files"))
    }

    /// The names of the finished files.
    pub fn finished_names(&self) -> Vec<String> {
        let names = self.finished().into_iter();
        names.map(|path| path.file_name().unwrap().to_str().unwrap().to_owned()).collect()
    }

    /// The bytes of the only finished file.
    #[track_caller]
    pub fn the_file(&self) -> Vec<u8> {
        let files = self.finished();
        assert_eq!(files.len(), 1, "{files:?}");
        fs::read(&files[0]).unwrap()
    }

    /// What was logged so far.
    pub fn log(&self) -> String {
        self.log.lock().unwrap().clone()
    }

    /// Tells it to stop.
    pub fn sigterm(&self) {
        let _ = kill_process(Pid::from_child(&self.child), Signal::TERM);
    }

    /// Tells it to reload, and waits until it says `done`.
    #[track_caller]
    pub fn sighup(&self, done: &str) {
        let before = self.log().matches(done).count();
        let _ = kill_process(Pid::from_child(&self.child), Signal::HUP);
        until(
            || self.log().matches(done).count() > before,
            || format!("it never said {done:?}: {}", self.log()),
        );
    }

    /// Kills it as a power cut would, but for the page cache.
    pub fn kill_9(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Waits for its end.
    #[track_caller]
    pub fn exits_within(&mut self, span: Duration) -> ExitStatus {
        let deadline = Instant::now() + span;
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(Instant::now() < deadline, "still running after {span:?}");
            thread::sleep(Duration::from_millis(2));
        }
    }

    /// Has the process not ended yet?
    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// Stops it with SIGTERM and starts it again.
    #[track_caller]
    pub fn restart(&mut self) {
        self.sigterm();
        let status = self.exits_within(Duration::from_secs(15));
        assert!(status.success(), "{status}");
        self.start_again();
    }

    /// Kills it with SIGKILL and starts it again.
    pub fn crash(&mut self) {
        self.kill_9();
        self.start_again();
    }

    /// Starts it again on the same folder, once it has ended.
    pub fn start_again(&mut self) {
        let (child, _, address) = spawn(&self.data(), (&self.args, &self.env), &self.log);
        self.child = child;
        self.address = address;
    }

    /// The options of the next start.
    pub fn rearm(&mut self, args: &[&str]) {
        self.args = args.iter().map(|&arg| arg.to_owned()).collect();
    }

    /// Starts it once it has ended, and kills it so long after that, wherever it is by then.
    pub fn dies_starting(&mut self, after: Duration) {
        self.child =
            command(&self.data(), (&self.args, &self.env)).stdout(Stdio::null()).spawn().unwrap();
        keep_log(self.child.stderr.take().unwrap(), Arc::clone(&self.log));
        thread::sleep(after);
        self.kill_9();
    }

    /// The id of the process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if thread::panicking() {
            eprintln!("--- log of {}\n{}---", self.data().display(), self.log());
        }
    }
}

/// Waits until something is so, for as long as the busiest machine may need; `what` tells what is
/// instead.
#[track_caller]
pub fn until(mut is_so: impl FnMut() -> bool, what: impl FnOnce() -> String) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !is_so() {
        assert!(Instant::now() < deadline, "{}", what());
        thread::sleep(Duration::from_millis(2));
    }
}

/// How many TCP sockets a process has.
fn tcp_sockets(pid: u32) -> usize {
    let links = fs::read_dir(format!("/proc/{pid}/fd")).unwrap();
    let links = links.filter_map(|link| fs::read_link(link.ok()?.path()).ok());
    let held: Vec<String> = links.map(|link| link.to_string_lossy().into_owned()).collect();
    let table = fs::read_to_string(format!("/proc/{pid}/net/tcp")).unwrap();
    let inodes = table.lines().skip(1).filter_map(|line| line.split_whitespace().nth(9));
    inodes.filter(|inode| held.contains(&format!("socket:[{inode}]"))).count()
}

/// Runs the program to its end, for command lines that start no server.
pub fn run(args: &[&str]) -> (ExitStatus, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_piton")).args(args).output().unwrap();
    (output.status, String::from_utf8_lossy(&output.stderr).into_owned())
}

/// How a server is started: its options and variables.
type Start<'a> = (&'a [String], &'a [(String, String)]);

fn command(data: &Path, (args, env): Start) -> Command {
    // Who ignores the signal sees the error of a write beyond the limit of `fill_disk`.
    let mut command = Command::new("/bin/sh");
    command
        .args(["-c", "trap '' XFSZ; exec \"$0\" \"$@\"", env!("CARGO_BIN_EXE_piton")])
        .arg("--listen=127.0.0.1:0")
        .arg("--data-dir")
        .arg(data)
        .args(args)
        .envs(env.iter().map(|(name, value)| (name, value)))
        .stdin(Stdio::null())
        .stderr(Stdio::piped());
    command
}

/// Thousands of connections are open in the tests of load, and all tests are one process, which
/// many systems give no more than 1024 descriptors at first.
fn allow_descriptors() {
    static RAISED: Once = Once::new();
    RAISED.call_once(|| {
        let maximum = getrlimit(Resource::Nofile).maximum;
        setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }).unwrap();
    });
}

fn spawn(data: &Path, start: Start, log: &Arc<Mutex<String>>) -> (Child, String, SocketAddr) {
    allow_descriptors();
    let mut child = command(data, start).stdout(Stdio::piped()).spawn().unwrap();
    keep_log(child.stderr.take().unwrap(), Arc::clone(log));
    let stdout = child.stdout.take().unwrap();
    let (said, first_line) = mpsc::channel();
    thread::spawn(move || {
        let mut stdout = BufReader::new(stdout);
        let mut line = String::new();
        let _ = stdout.read_line(&mut line);
        let _ = said.send(line);
        let _ = stdout.read_to_end(&mut Vec::new());
    });
    let line = first_line.recv_timeout(Duration::from_secs(20)).unwrap_or_default();
    let place = line.trim_end().strip_prefix("piton listening on ");
    let Some((scheme, address)) = place.and_then(|place| place.split_once("://")) else {
        let _ = child.kill();
        let _ = child.wait();
        // Not under the lock, which a panic would poison.
        let log = log.lock().unwrap().clone();
        panic!("its first line was {line:?}; its log:\n{log}");
    };
    (child, scheme.to_owned(), address.trim_end_matches('/').parse().unwrap())
}

fn keep_log(stderr: ChildStderr, log: Arc<Mutex<String>>) {
    thread::spawn(move || {
        for line in BufReader::new(stderr).lines().map_while(Result::ok) {
            let mut log = log.lock().unwrap();
            log.push_str(&line);
            log.push('\n');
        }
    });
}
