//! The server under judgement: somebody else's by its URL, or one that the suite starts itself.

use std::{
    fs::{self, File},
    io::{self, BufRead, BufReader, Read},
    net::{SocketAddr, TcpStream, ToSocketAddrs},
    path::{Path, PathBuf},
    process::{Child, ChildStdout, Command, ExitStatus, Stdio},
    sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc},
    thread,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Resource, Rlimit, Signal, kill_process, prlimit};
use tempfile::TempDir;

use crate::{
    disk::{self, Snapshot},
    stop::{Step, Stop, breach, ensure},
    target::Target,
    wire::{Answer, PATIENCE, Request, h1::Conn, h2::H2},
};

/// The version of HTTP that a run asks in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Http {
    /// HTTP/1.1.
    One,
    /// HTTP/2 in cleartext, with prior knowledge, for all that it can say.
    Two,
}

/// A server, and how to talk to it. One that the suite has started ends with this value.
#[derive(Debug)]
pub(crate) struct Server {
    target: Target,
    /// What stands before `/upload` and `/merge`; `None` if there is no chunk flow.
    chunks: Option<String>,
    address: SocketAddr,
    http: Http,
    process: Option<Process>,
}

/// A process that the suite has started.
#[derive(Debug)]
struct Process {
    child: Mutex<Child>,
    launcher: Launcher,
    args: Vec<String>,
    folder: Arc<TempDir>,
    /// How often it has ended by itself.
    ends: Mutex<u64>,
}

/// How servers are started: `PROGRAM --listen ADDRESS --data-dir FOLDER OPTIONS…`, which prints its
/// URL within the first line.
#[derive(Debug, Clone)]
pub(crate) struct Launcher {
    pub(crate) program: PathBuf,
    /// Options that every server gets.
    pub(crate) args: Vec<String>,
    /// The words before the program: another one that runs it. Empty for none.
    pub(crate) under: Vec<String>,
    /// Whether its servers have one.
    pub(crate) chunk_flow: ChunkFlow,
}

/// The flow of numbered chunks, at the root of a server that is started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ChunkFlow {
    Offered,
    Absent,
}

/// What an attempt to start a server came to.
enum Started {
    Up(Child, String),
    /// It does not know one of the options (exit code 2).
    Unknown,
    Failed(String),
}

impl Server {
    /// A server that runs already.
    pub(crate) fn remote(url: &str, chunks_url: Option<&str>, http: Http) -> Result<Self, String> {
        let target = Target::parse(url)?;
        let chunks = chunks_url.map(Target::parse).transpose()?;
        let chunks = chunks.map(|target| target.path.trim_end_matches('/').to_owned());
        let found = target.address().to_socket_addrs();
        let found: Vec<_> = found.map_err(|error| format!("{url}: {error}"))?.collect();
        let address = reached(&found).ok_or_else(|| format!("{url} has no address"))?;
        Ok(Self { target, chunks, address, http, process: None })
    }

    /// A server of its own, on a data folder of its own.
    pub(crate) fn start(launcher: &Launcher, args: &[&str], http: Http) -> Step<Self> {
        Self::start_in(launcher, args, Arc::new(tempfile::tempdir()?), http)
    }

    /// As [`Server::start`], with the data folder `data` in a folder that is made already.
    pub(crate) fn start_in(
        launcher: &Launcher,
        args: &[&str],
        folder: Arc<TempDir>,
        http: Http,
    ) -> Step<Self> {
        Self::launch(launcher, args.iter().map(|&arg| arg.to_owned()).collect(), folder, http)
    }

    fn launch(
        launcher: &Launcher,
        args: Vec<String>,
        folder: Arc<TempDir>,
        http: Http,
    ) -> Step<Self> {
        let (child, url) = match launcher.spawn("127.0.0.1:0", &args, folder.path()) {
            Started::Up(child, url) => (child, url),
            Started::Unknown => {
                let options = args.join(" ");
                return Err(Stop::Skip(format!("the server has no option {options}")));
            }
            Started::Failed(why) => return Err(breach(why)),
        };
        let child = Mutex::new(child);
        let ends = Mutex::default();
        let process = Process { child, launcher: launcher.clone(), args, folder, ends };
        let (origin, files) = (origin(&url), files_url(&url));
        let chunks = (launcher.chunk_flow == ChunkFlow::Offered).then_some(origin.as_str());
        let mut server = Self::remote(&files, chunks, http).map_err(breach)?;
        server.process = Some(process);
        Ok(server)
    }

    /// Another process with the same options, on the same data folder.
    pub(crate) fn beside(&self) -> Step<Self> {
        let process = self.process()?;
        let (args, folder) = (process.args.clone(), Arc::clone(&process.folder));
        Self::launch(&process.launcher, args, folder, self.http)
    }

    /// The same server asked in another version of HTTP.
    pub(crate) fn in_http(&self, http: Http) -> Self {
        let (target, chunks) = (self.target.clone(), self.chunks.clone());
        Self { target, chunks, address: self.address, http, process: None }
    }

    fn process(&self) -> Step<&Process> {
        let remote = || Stop::Skip("the suite has not started this server".to_owned());
        self.process.as_ref().ok_or_else(remote)
    }

    fn child(&self) -> Step<MutexGuard<'_, Child>> {
        Ok(self.process()?.child.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Host and port as `Host` names them.
    pub(crate) fn host(&self) -> &str {
        &self.target.authority
    }

    /// The path under which it makes tus uploads; it may end in a slash or not.
    pub(crate) fn files(&self) -> &str {
        &self.target.path
    }

    /// The path that a `Location` leads to.
    pub(crate) fn resolve(&self, location: &str) -> String {
        self.target.resolve(location)
    }

    /// A path of the chunk flow: `at("/merge")`.
    pub(crate) fn at(&self, path: &str) -> Step<String> {
        let none = || Stop::Skip("no URL of a chunk flow is given".to_owned());
        Ok(format!("{}{path}", self.chunks.as_ref().ok_or_else(none)?))
    }

    /// Is there a chunk flow to be asked?
    pub(crate) fn has_chunks(&self) -> bool {
        self.chunks.is_some()
    }

    /// Must it hand out finished files? tus 1.0.0 knows no download; the chunk flow has one.
    pub(crate) fn hands_out_files(&self) -> bool {
        if self.process.is_some() { self.has_known_layout() } else { self.has_chunks() }
    }

    /// Does `GET /upload/check` answer as the chunk flow does?
    pub(crate) fn answers_chunks(&self) -> bool {
        let asked = self.at("/upload/check?hash=0123456789abcdef&index=0");
        let asked = asked.and_then(|target| self.ask(&Request::new("GET", &target)));
        let told = asked.and_then(|answer| answer.expect(200)?.json());
        told.is_ok_and(|told| told["exists"].is_boolean())
    }

    /// The version of HTTP that [`Server::ask`] speaks.
    pub(crate) fn http(&self) -> Http {
        self.http
    }

    /// A new connection of HTTP/1.1.
    pub(crate) fn connect(&self) -> Step<Conn> {
        Ok(Conn::open(self.address, self.host())?)
    }

    /// A new connection of HTTP/2.
    pub(crate) fn connect_h2(&self) -> Step<H2> {
        Ok(H2::open(self.address, self.host())?)
    }

    /// One request on a connection of its own, in the version of HTTP of this run where that can
    /// say it.
    pub(crate) fn ask(&self, request: &Request) -> Step<Answer> {
        if self.http == Http::Two && H2::can(request) {
            return self.connect_h2()?.ask(request);
        }
        Ok(self.connect()?.ask(request)?)
    }

    /// Sends the request and leaves the connection open, unread.
    pub(crate) fn begin(&self, request: &Request) -> Step<Conn> {
        let mut connection = self.connect()?;
        connection.send(request);
        Ok(connection)
    }

    /// The folder that holds everything, of a server that the suite has started.
    pub(crate) fn data(&self) -> Step<PathBuf> {
        Ok(data_of(self.process()?.folder.path()))
    }

    /// The folder around the data folder.
    pub(crate) fn around(&self) -> Step<&Path> {
        Ok(self.process()?.folder.path())
    }

    /// Does the data folder have the layout that piton documents (`uploads/`, `files/`)?
    fn has_known_layout(&self) -> bool {
        self.data().is_ok_and(|data| data.join("uploads").is_dir() && data.join("files").is_dir())
    }

    /// The data folder, if its layout is the one that the rows speak of.
    pub(crate) fn layout(&self) -> Step<PathBuf> {
        let unknown = || Stop::Skip("the data folder cannot be looked into".to_owned());
        if self.has_known_layout() { self.data() } else { Err(unknown()) }
    }

    /// The unfinished bytes as they lie on disk; nothing where the layout is not known.
    pub(crate) fn stored(&self) -> Snapshot {
        self.layout().map(|data| disk::snapshot(&data.join("uploads"))).unwrap_or_default()
    }

    /// The finished files; a skip where the layout is not known.
    pub(crate) fn finished(&self) -> Step<Vec<PathBuf>> {
        Ok(disk::files_below(&self.layout()?.join("files")))
    }

    /// What was logged so far.
    pub(crate) fn log(&self) -> String {
        let read = self.process().map(|process| process.folder.path().join("log"));
        read.ok().and_then(|path| fs::read_to_string(path).ok()).unwrap_or_default()
    }

    /// The id of the process.
    pub(crate) fn pid(&self) -> Step<u32> {
        Ok(self.child()?.id())
    }

    /// Tells it to stop.
    pub(crate) fn sigterm(&self) -> Step {
        let child = self.child()?;
        let told = kill_process(Pid::from_child(&child), Signal::TERM);
        told.map_err(|error| breach(format_args!("SIGTERM: {error}")))
    }

    /// Waits for its end.
    pub(crate) fn exits_within(&self, span: Duration) -> Step<ExitStatus> {
        let deadline = Instant::now() + span;
        loop {
            if let Some(status) = self.child()?.try_wait()? {
                return Ok(status);
            }
            ensure(Instant::now() < deadline, format_args!("still running after {span:?}"))?;
            thread::sleep(Duration::from_millis(2));
        }
    }

    /// Stops it with SIGTERM.
    pub(crate) fn stop(&self) -> Step {
        self.sigterm()?;
        self.exits_within(Duration::from_secs(15)).map(|_| ())
    }

    /// Stops it with SIGTERM and starts it again.
    pub(crate) fn restart(&self) -> Step {
        self.stop()?;
        self.start_again()
    }

    /// Kills it with SIGKILL.
    pub(crate) fn kill_9(&self) -> Step {
        let mut child = self.child()?;
        child.kill()?;
        child.wait()?;
        Ok(())
    }

    /// Kills it with SIGKILL and starts it again.
    pub(crate) fn crash(&self) -> Step {
        self.kill_9()?;
        self.start_again()
    }

    /// Starts it again on the same folder and port, once it has ended.
    pub(crate) fn start_again(&self) -> Step {
        let process = self.process()?;
        let address = self.address.to_string();
        let deadline = Instant::now() + PATIENCE;
        loop {
            match process.launcher.spawn(&address, &process.args, process.folder.path()) {
                Started::Up(child, _) => {
                    *self.child()? = child;
                    return Ok(());
                }
                Started::Unknown => return Err(breach("the server does not know its options now")),
                // The port may still be held by what is left of a connection.
                Started::Failed(why) if Instant::now() > deadline => return Err(breach(why)),
                Started::Failed(_) => thread::sleep(Duration::from_millis(100)),
            }
        }
    }

    /// Starts it again if it has ended by itself; how often it has.
    pub(crate) fn revived(&self) -> u64 {
        let Some(process) = &self.process else { return 0 };
        let mut ends = process.ends.lock().unwrap_or_else(PoisonError::into_inner);
        let ended =
            self.child().is_ok_and(|mut child| child.try_wait().is_ok_and(|it| it.is_some()));
        if ended {
            // Whoever asks next sees that nobody answers.
            let _ = self.start_again();
            *ends += 1;
        }
        *ends
    }

    /// No file can grow any more, as on a full disk. The limit is the process's own, which answers
    /// a write beyond it as a file system does that is full.
    pub(crate) fn fill_disk(&self) -> Step {
        self.fill_disk_at(0)
    }

    /// No file can grow beyond `length` bytes: of a write across it the first part is taken.
    pub(crate) fn fill_disk_at(&self, length: u64) -> Step {
        self.limit(Resource::Fsize, Rlimit { current: Some(length), maximum: None })
    }

    /// Files can grow again.
    pub(crate) fn make_room(&self) -> Step {
        self.limit(Resource::Fsize, Rlimit { current: None, maximum: None })
    }

    /// It cannot have more files and connections open than `most`.
    pub(crate) fn limit_descriptors(&self, most: u64) -> Step {
        self.limit(Resource::Nofile, Rlimit { current: Some(most), maximum: Some(most) })
    }

    fn limit(&self, what: Resource, limit: Rlimit) -> Step {
        let pid = Some(Pid::from_child(&*self.child()?));
        let limited = prlimit(pid, what, limit);
        limited.map(|_| ()).map_err(|error| Stop::Skip(format!("no limit can be set: {error}")))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Ok(mut child) = self.child() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// The address where somebody listens, of a name that has several: `localhost` is often two.
fn reached(found: &[SocketAddr]) -> Option<SocketAddr> {
    let listens = |one: &&SocketAddr| {
        found.len() > 1 && TcpStream::connect_timeout(one, Duration::from_secs(3)).is_ok()
    };
    found.iter().find(listens).or(found.first()).copied()
}

fn data_of(folder: &Path) -> PathBuf {
    folder.join("data")
}

/// Where tus uploads are made: the URL, or `/files/` if it names no path.
fn files_url(url: &str) -> String {
    let (origin, path) = url.split_at(origin(url).len());
    if path.len() > 1 { url.to_owned() } else { format!("{origin}/files/") }
}

/// `http://host:port` of a URL.
fn origin(url: &str) -> String {
    url.splitn(4, '/').take(3).collect::<Vec<_>>().join("/")
}

impl Launcher {
    /// Runs the program to its end, for command lines that start no server: its status and what it
    /// said on standard error. One that runs on is ended, which is a breach.
    pub(crate) fn run(&self, args: &[&str]) -> Step<(ExitStatus, String)> {
        let folder = tempfile::tempdir()?;
        let log = folder.path().join("log");
        let mut child = Command::new(&self.program)
            .args(args)
            .current_dir(folder.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(File::create(&log)?)
            .spawn()?;
        let deadline = Instant::now() + PATIENCE / 4;
        while child.try_wait()?.is_none() {
            if Instant::now() > deadline {
                child.kill()?;
                child.wait()?;
                return Err(breach("the server runs instead of ending"));
            }
            thread::sleep(Duration::from_millis(5));
        }
        Ok((child.wait()?, fs::read_to_string(&log).unwrap_or_default()))
    }

    fn spawn(&self, listen: &str, args: &[String], folder: &Path) -> Started {
        self.try_spawn(listen, args, folder).unwrap_or_else(|error| {
            Started::Failed(format!("{} cannot be started: {error}", self.program.display()))
        })
    }

    fn try_spawn(&self, listen: &str, args: &[String], folder: &Path) -> io::Result<Started> {
        let log = folder.join("log");
        let errors = File::options().create(true).append(true).open(&log)?;
        // Who ignores the signal sees the error of a write beyond the limit of `fill_disk`.
        let mut child = Command::new("/bin/sh")
            .args(["-c", "trap '' XFSZ; exec \"$@\"", "sh"])
            .args(&self.under)
            .arg(&self.program)
            .arg(format!("--listen={listen}"))
            .arg(format!("--data-dir={}", data_of(folder).display()))
            .args(self.args.iter().filter(|arg| !is_said_in(args, arg)))
            .args(args)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(errors)
            .spawn()?;
        let line = child.stdout.take().map(first_line).unwrap_or_default();
        if let Some(url) = url_in(&line) {
            return Ok(Started::Up(child, url));
        }
        let _ = child.kill();
        let status = child.wait()?;
        if status.code() == Some(2) {
            return Ok(Started::Unknown);
        }
        let log = fs::read_to_string(&log).unwrap_or_default();
        Ok(Started::Failed(format!("the server did not start ({status}): {line}{log}")))
    }
}

/// Does one of `args` set the same option? Each may be said once, and that of a case counts.
fn is_said_in(args: &[String], option: &str) -> bool {
    let name = |arg: &str| arg.split('=').next().unwrap_or_default().to_owned();
    args.iter().any(|arg| name(arg) == name(option))
}

/// The most of a first line that is looked at.
const LINE: u64 = 64 * 1024;

/// The first line, and a thread that takes the others.
fn first_line(stdout: ChildStdout) -> String {
    let (said, first) = mpsc::channel();
    thread::spawn(move || {
        let mut stdout = BufReader::new(stdout);
        let mut line = Vec::new();
        let _ = stdout.by_ref().take(LINE).read_until(b'\n', &mut line);
        let _ = said.send(String::from_utf8_lossy(&line).into_owned());
        let _ = io::copy(&mut stdout, &mut io::sink());
    });
    first.recv_timeout(PATIENCE).unwrap_or_default()
}

/// The first URL of a line.
fn url_in(line: &str) -> Option<String> {
    let from = line.find("http://")?;
    let rest = line.get(from..)?;
    Some(rest.split([' ', '"', ',', '\n']).next().unwrap_or(rest).to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_option_of_a_case_takes_the_place_of_the_usual_one() {
        let args = ["--max-size=5", "--queue-wait=1s"].map(str::to_owned);
        assert!(is_said_in(&args, "--max-size=1000"));
        assert!(!is_said_in(&args, "--max-size-x=1000"));
        assert!(!is_said_in(&args, "--max=5"));
    }

    #[test]
    fn the_url_is_found_in_the_first_line() {
        let line = "listening on http://127.0.0.1:1080/files/ (HTTP/1.1, HTTP/2)\n";
        assert_eq!(url_in(line).unwrap(), "http://127.0.0.1:1080/files/");
        assert_eq!(url_in("cannot listen"), None);
        assert_eq!(origin("http://127.0.0.1:1080/files/"), "http://127.0.0.1:1080");
        assert_eq!(files_url("http://127.0.0.1:1080"), "http://127.0.0.1:1080/files/");
        assert_eq!(files_url("http://127.0.0.1:1080/x"), "http://127.0.0.1:1080/x");
    }
}
