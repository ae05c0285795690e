//! The program, on a folder that outlives it.

use std::{
    fs,
    io::{BufRead, BufReader},
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};

/// A process; killed when dropped.
#[derive(Debug)]
pub struct Program {
    child: Child,
    pub address: SocketAddr,
    data: PathBuf,
    log: mpsc::Receiver<(Instant, String)>,
}

impl Program {
    /// On a new folder below `place`.
    pub fn start(place: &Path, args: &[&str]) -> Self {
        Self::start_on(&tempfile::tempdir_in(place).unwrap().keep(), args)
    }

    pub fn start_on(data: &Path, args: &[&str]) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_piton"))
            .args(["--listen=127.0.0.1:0", "--log-level=error,piton::reaper=debug", "--data-dir"])
            .arg(data)
            .args(args)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let address = line.trim_end().strip_prefix("piton listening on http://");
        let address = address.unwrap_or_else(|| panic!("its first line was {line:?}"));
        let (write, log) = mpsc::channel();
        let stderr = BufReader::new(child.stderr.take().unwrap());
        thread::spawn(move || {
            for line in stderr.lines().map_while(Result::ok) {
                let _ = write.send((Instant::now(), line));
            }
        });
        let address = address.trim_end_matches('/').parse().unwrap();
        Self { child, address, data: data.to_owned(), log }
    }

    pub fn data(&self) -> &Path {
        &self.data
    }

    /// MiB that it has now.
    pub fn memory(&self) -> f64 {
        self.figure("VmRSS:")
    }

    /// The most MiB that it ever had.
    pub fn peak_memory(&self) -> f64 {
        self.figure("VmHWM:")
    }

    fn figure(&self, name: &str) -> f64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
        line.trim().trim_end_matches(" kB").parse::<f64>().unwrap() / 1024.0
    }

    /// The next line of the log in which all of `words` stand.
    pub fn waits_for(&self, words: &[&str], patience: Duration) -> Option<String> {
        let deadline = Instant::now() + patience;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let (_, line) = self.log.recv_timeout(left).ok()?;
            if words.iter().all(|word| line.contains(word)) {
                return Some(line);
            }
        }
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Ends it in good order.
    pub fn stop(&mut self) -> Duration {
        let since = Instant::now();
        kill_process(Pid::from_child(&self.child), Signal::TERM).unwrap();
        self.child.wait().unwrap();
        since.elapsed()
    }

    /// Ends it at once.
    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
