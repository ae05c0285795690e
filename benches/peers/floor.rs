//! The calibrated floor: what a thread takes that does a part of the work with nothing in between.

use std::{
    fs::{self, File},
    hint::black_box,
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    os::unix::fs::FileExt,
    path::Path,
    process::Command,
    thread,
    time::Instant,
};

use rustix::fs::{FallocateFlags, fallocate};
use sha2::{Digest, Sha256};

use crate::{GIB, KIB, MIB, client::PIECE, server::Sample};

/// Bytes that are reserved at a time, as many as piton's chunks have.
const RESERVED: usize = 8 * MIB;

/// What the thread does with bytes that come from a socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Receipt {
    Forget,
    Write,
    HashAndWrite,
}

/// Receives `size` bytes.
pub fn receive(folder: &Path, size: usize, receipt: Receipt) -> Sample {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut stream = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let path = folder.join("floor");
    let since = Instant::now();
    let cpu = thread::scope(|scope| {
        let receiver = scope.spawn(|| take(&listener.accept().unwrap().0, &path, size, receipt));
        for _ in 0..size / PIECE.len() {
            stream.write_all(&PIECE).unwrap();
        }
        receiver.join().unwrap()
    });
    let wall = since.elapsed().as_secs_f64();
    fs::remove_file(path).unwrap();
    sample(size, wall, cpu)
}

/// The receiving side; its CPU seconds.
fn take(mut stream: &TcpStream, path: &Path, size: usize, receipt: Receipt) -> f64 {
    let (mut digest, before) = (Sha256::new(), cpu_of_thread());
    let mut file = Reserving::new(path);
    let (mut buffer, mut left) = (vec![0; 256 * KIB], size);
    while left > 0 {
        let read = stream.read(&mut buffer).unwrap();
        assert_ne!(read, 0, "the sender stopped early");
        let bytes = &buffer[..read];
        if receipt == Receipt::HashAndWrite {
            digest.update(bytes);
        }
        if receipt != Receipt::Forget {
            file.write(bytes);
        }
        left -= read;
    }
    black_box(digest.finalize());
    cpu_of_thread() - before
}

/// Hashes `size` bytes of memory.
pub fn hash(size: usize) -> Sample {
    let (before, since) = (cpu_of_thread(), Instant::now());
    let mut digest = Sha256::new();
    for _ in 0..size / PIECE.len() {
        digest.update(&*PIECE);
    }
    black_box(digest.finalize());
    sample(size, since.elapsed().as_secs_f64(), cpu_of_thread() - before)
}

/// Writes `size` bytes of memory to a file.
pub fn write(folder: &Path, size: usize) -> Sample {
    let path = folder.join("floor");
    let (before, since) = (cpu_of_thread(), Instant::now());
    let mut file = Reserving::new(&path);
    for _ in 0..size / PIECE.len() {
        file.write(&PIECE);
    }
    let sample = sample(size, since.elapsed().as_secs_f64(), cpu_of_thread() - before);
    drop(file);
    fs::remove_file(path).unwrap();
    sample
}

/// Has `cp` copy a file of `size` bytes.
pub fn copy(folder: &Path, size: usize) -> Sample {
    let (from, to) = (folder.join("from"), folder.join("to"));
    if fs::metadata(&from).is_ok_and(|found| found.len() == size as u64) {
        let _ = fs::remove_file(&to);
    } else {
        let mut file = Reserving::new(&from);
        for _ in 0..size / PIECE.len() {
            file.write(&PIECE);
        }
    }
    let (before, since) = (cpu_of_children(), Instant::now());
    let done = Command::new("cp").arg("--reflink=auto").args([&from, &to]).status().unwrap();
    assert!(done.success());
    let sample = sample(size, since.elapsed().as_secs_f64(), cpu_of_children() - before);
    fs::remove_file(to).unwrap();
    sample
}

fn sample(size: usize, wall: f64, cpu: f64) -> Sample {
    let share = size as f64 / GIB as f64;
    Sample { cost: wall / share, cpu: Some(cpu / share), client: None, remark: None }
}

/// A file whose blocks are reserved ahead of the bytes.
#[derive(Debug)]
struct Reserving {
    file: File,
    length: u64,
    reserved: u64,
}

impl Reserving {
    fn new(path: &Path) -> Self {
        Self { file: File::create(path).unwrap(), length: 0, reserved: 0 }
    }

    fn write(&mut self, bytes: &[u8]) {
        let end = self.length + bytes.len() as u64;
        while self.reserved < end {
            let more = RESERVED as u64;
            // Where a file system cannot, it is written all the same.
            let _ = fallocate(&self.file, FallocateFlags::KEEP_SIZE, self.reserved, more);
            self.reserved += more;
        }
        self.file.write_all_at(bytes, self.length).unwrap();
        self.length = end;
    }
}

/// Seconds, by the scheduler's own count in nanoseconds.
fn cpu_of_thread() -> f64 {
    let stat = fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    stat.split(' ').next().unwrap().parse::<f64>().unwrap() / 1e9
}

/// Seconds of all children that ended.
fn cpu_of_children() -> f64 {
    let stat = fs::read_to_string("/proc/self/stat").unwrap();
    let fields = stat.rsplit(") ").next().unwrap().split(' ');
    fields.skip(13).take(2).map(|field| field.parse::<f64>().unwrap()).sum::<f64>() / 100.0
}
