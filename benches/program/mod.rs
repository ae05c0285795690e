//! The program as a benchmark sees it: a process to start, to talk to and to look at.

use std::{
    fs,
    io::{BufRead, BufReader, Read},
    net::{SocketAddr, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
};

/// Clock ticks in a second, as `/proc` counts CPU; 100 on every Linux that we know.
const TICKS: f64 = 100.0;

/// What the figures were taken on.
pub fn machine(folder: &Path) -> String {
    let cpus = thread::available_parallelism().map_or(0, std::num::NonZero::get);
    let info = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = info.lines().find(|line| line.starts_with("model name"));
    let model = model.and_then(|line| line.split_once(": ")).map_or("?", |(_, model)| model);
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    // From statfs(2).
    let kind = match u64::try_from(rustix::fs::statfs(folder).unwrap().f_type) {
        Ok(0xef53) => "ext4",
        Ok(0x5846_5342) => "XFS",
        Ok(0x9123_683e) => "btrfs",
        Ok(0x0102_1994) => "tmpfs, which has no disk behind it: take a folder on one",
        _ => "another file system",
    };
    format!("{cpus} CPUs: {model}, kernel {}, files on {kind}, HTTP/1.1 without TLS", kernel.trim())
}

/// User and system time out of a `stat` file of `/proc`.
pub fn cpu_seconds(path: &str) -> f64 {
    let stat = fs::read_to_string(path).unwrap();
    // The name of the program, in brackets, may contain blanks.
    let fields = stat.rsplit(") ").next().unwrap().split(' ');
    let ticks: f64 = fields.skip(11).take(2).map(|field| field.parse::<f64>().unwrap()).sum();
    ticks / TICKS
}

/// Bytes that no disk could compress.
pub fn noise(size: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let words = std::iter::repeat_with(|| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    });
    words.take(size.div_ceil(8)).flatten().take(size).collect()
}

/// The program, on a folder of its own.
#[derive(Debug)]
pub struct Server {
    child: Child,
    address: SocketAddr,
    folder: PathBuf,
}

impl Server {
    pub fn start(folder: &Path, args: &[&str]) -> Self {
        let folder = tempfile::tempdir_in(folder).unwrap().keep();
        let mut child = Command::new(env!("CARGO_BIN_EXE_piton"))
            .args(["--listen=127.0.0.1:0", "--log-level=warn", "--data-dir"])
            .arg(&folder)
            .args(args)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let address = line.trim_end().strip_prefix("piton listening on http://");
        let address = address.unwrap_or_else(|| panic!("its first line was {line:?}"));
        Self { child, address: address.trim_end_matches('/').parse().unwrap(), folder }
    }

    pub fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address).unwrap();
        stream.set_nodelay(true).unwrap();
        stream
    }

    pub fn cpu(&self) -> f64 {
        cpu_seconds(&self.proc("stat"))
    }

    /// The path of what `/proc` tells of the process under `name`.
    pub fn proc(&self, name: &str) -> String {
        format!("/proc/{}/{name}", self.child.id())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// The head of an answer.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    head: String,
}

impl Answer {
    pub fn header(&self, name: &str) -> Option<String> {
        let lines = self.head.lines().filter_map(|line| line.split_once(':'));
        let mut found = lines.filter(|(other, _)| other.eq_ignore_ascii_case(name));
        found.next().map(|(_, value)| value.trim().to_owned())
    }
}

/// Reads the head of an answer; its body, where it has one, is still to be read.
pub fn answer(stream: &mut TcpStream) -> Answer {
    let (mut head, mut byte) = (Vec::new(), [0]);
    while !head.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte).expect("an answer");
        head.push(byte[0]);
    }
    let head = String::from_utf8_lossy(&head).into_owned();
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
    Answer { status: status.expect("a status"), head }
}
