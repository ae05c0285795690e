//! A server that runs: what it takes of the machine, read from the kernel.

use std::{
    fs::{self, File},
    io::{BufRead, BufReader},
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};

use crate::{client::Conn, program::cpu_seconds};

/// How long a server may take until it answers.
const PATIENCE: Duration = Duration::from_mins(1);

/// One measurement.
#[derive(Debug, Clone, Copy)]
pub struct Sample {
    /// Wall time, or memory, in the unit of its row.
    pub cost: f64,
    /// CPU seconds of the server for each piece of work or GiB.
    pub cpu: Option<f64>,
    /// The same of the client.
    pub client: Option<f64>,
    /// What a reader must know of it.
    pub remark: Option<&'static str>,
}

impl Sample {
    /// A figure without CPU.
    pub const fn plain(cost: f64) -> Self {
        Self { cost, cpu: None, client: None, remark: None }
    }
}

/// A process, and whom it started, on a folder of its own that stays when they end.
#[derive(Debug)]
pub struct Server {
    child: Child,
    others: Vec<u32>,
    address: SocketAddr,
    /// Where uploads are created.
    path: String,
    folder: PathBuf,
}

impl Server {
    /// Starts what says on its first line where it listens; why not, where it does not.
    pub fn start(mut command: Command, folder: &Path) -> Result<Self, String> {
        let log = folder.with_extension("log");
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(File::create(&log).unwrap())
            .spawn()
            .map_err(|error| error.to_string())?;
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let Some((_, url)) = line.trim_end().split_once("://") else {
            let _ = child.kill();
            let _ = child.wait();
            let log = fs::read_to_string(log).unwrap_or_default();
            return Err(log.lines().last().unwrap_or("it said nothing").to_owned());
        };
        let (address, path) = url.split_once('/').unwrap_or((url, ""));
        // piton names its root, where the page is.
        let path = if path.is_empty() { "/files/".to_owned() } else { format!("/{path}") };
        let others = descendants(child.id());
        let address = address.parse().map_err(|_| format!("its first line was {line:?}"))?;
        Ok(Self { child, others, address, path, folder: folder.to_owned() })
    }

    /// Starts what was told to listen at `address`, and waits for its first answer; what that took.
    pub fn start_at(mut command: Command, folder: &Path, address: SocketAddr) -> (Self, Duration) {
        let since = Instant::now();
        let child = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let path = "/files/".to_owned();
        let folder = folder.to_owned();
        let server = Self { child, others: Vec::new(), address, path, folder };
        while Conn::try_open(address).is_err() {
            assert!(since.elapsed() < PATIENCE, "no server at {address}");
            thread::sleep(Duration::from_micros(500));
        }
        let mut conn = server.connect();
        assert!(conn.ask(&server.options()).status < 500);
        (server, since.elapsed())
    }

    pub fn connect(&self) -> Conn {
        Conn::try_open(self.address).unwrap()
    }

    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where uploads are created.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// Ends it, and removes its folder, which otherwise stays.
    pub fn remove(self) {
        let folder = self.folder.clone();
        drop(self);
        let _ = fs::remove_dir_all(folder);
    }

    /// Ends it in good order, or whom it looks after.
    pub fn stop(mut self) {
        let pid = self.others.first().copied().unwrap_or_else(|| self.child.id());
        kill_process(Pid::from_raw(pid.cast_signed()).unwrap(), Signal::TERM).unwrap();
        self.child.wait().unwrap();
    }

    /// CPU seconds of all its processes until now.
    pub fn cpu(&self) -> f64 {
        let of = |pid: u32| {
            let path = format!("/proc/{pid}/stat");
            if fs::exists(&path).unwrap_or(false) { cpu_seconds(&path) } else { 0.0 }
        };
        of(self.child.id()) + self.others.iter().copied().map(of).sum::<f64>()
    }

    /// Resident memory of all its processes, in KiB.
    pub fn memory(&self) -> f64 {
        let of = |pid: &u32| {
            let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
            let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
            line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<f64>().ok())
        };
        of(&self.child.id()).unwrap() + self.others.iter().filter_map(of).sum::<f64>()
    }

    /// What `work` costs, for each of `amount` pieces of it.
    pub fn cost(&self, amount: f64, work: impl FnOnce()) -> Sample {
        let (cpu, client, since) = (self.cpu(), cpu_seconds("/proc/self/stat"), Instant::now());
        work();
        let cost = since.elapsed().as_secs_f64() / amount;
        let cpu = (self.cpu() - cpu) / amount;
        let client = (cpu_seconds("/proc/self/stat") - client) / amount;
        Sample { cost, cpu: Some(cpu), client: Some(client), remark: None }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // As they are now: a number may be somebody else's by the time its process is gone.
        for pid in descendants(self.child.id()) {
            let _ = kill_process(Pid::from_raw(pid.cast_signed()).unwrap(), Signal::KILL);
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// All processes that `root` started, or those did.
fn descendants(root: u32) -> Vec<u32> {
    let processes = fs::read_dir("/proc").unwrap().flatten().filter_map(|entry| {
        let pid: u32 = entry.file_name().to_str()?.parse().ok()?;
        let stat = fs::read_to_string(entry.path().join("stat")).ok()?;
        let mut fields = stat.rsplit(") ").next()?.split(' ');
        let (state, parent) = (fields.next()?.to_owned(), fields.next()?.parse::<u32>().ok()?);
        (state != "Z").then_some((pid, parent))
    });
    let processes: Vec<_> = processes.collect();
    let mut found = vec![root];
    let mut at = 0;
    while let Some(&parent) = found.get(at) {
        found.extend(processes.iter().filter(|(_, of)| *of == parent).map(|(pid, _)| *pid));
        at += 1;
    }
    found.split_off(1)
}

/// A new folder that stays until somebody removes it.
pub fn fresh(folder: &Path) -> PathBuf {
    tempfile::tempdir_in(folder).unwrap().keep()
}
