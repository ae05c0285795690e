//! What was asked for.

use std::{env, path::PathBuf};

/// What is to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Task {
    /// Measures rows.
    Rows,
    /// Names them.
    List,
    /// Measures how requests grow with what is there.
    Growth,
}

/// The command line.
#[derive(Debug)]
pub struct Options {
    pub quick: bool,
    pub write: bool,
    pub task: Task,
    /// Rounds that count, beside the one that warms up.
    pub rounds: usize,
    /// The most uploads at rest that growth is measured to.
    pub most: usize,
    /// On which disk.
    pub dir: PathBuf,
    /// Launchers by the names of peers.
    pub peers: Vec<(String, PathBuf)>,
    only: Vec<String>,
}

impl Options {
    pub fn from_args() -> Self {
        let mut options = Self {
            quick: false,
            write: false,
            task: Task::Rows,
            rounds: 0,
            most: 100_000,
            dir: env::temp_dir(),
            peers: Vec::new(),
            only: Vec::new(),
        };
        let mut args = env::args().skip(1).flat_map(|arg| match arg.split_once('=') {
            Some((name, value)) if name.starts_with("--") => {
                vec![name.to_owned(), value.to_owned()]
            }
            _ => vec![arg],
        });
        while let Some(name) = args.next() {
            let mut value = || args.next().unwrap_or_else(|| panic!("{name} needs a value"));
            match name.as_str() {
                "--quick" => options.quick = true,
                "--list" => options.task = Task::List,
                "--write" => options.write = true,
                "--growth" => options.task = Task::Growth,
                "--rounds" => options.rounds = value().parse().expect("--rounds takes a number"),
                "--most" => options.most = value().parse().expect("--most takes a number"),
                "--dir" => options.dir = value().into(),
                "--only" => options.only.push(value()),
                "--peer" => {
                    let peer = value();
                    let (name, launcher) = peer.split_once('=').expect("--peer NAME=LAUNCHER");
                    options.peers.push((name.to_owned(), launcher.into()));
                }
                // What cargo says to every benchmark.
                "--bench" => {}
                _ => {
                    panic!("{name} is not known; the head of benches/peers/main.rs has the options")
                }
            }
        }
        options.dir = options.dir.canonicalize().expect("--dir names a folder");
        if options.rounds == 0 {
            options.rounds = if options.quick { 2 } else { 5 };
        }
        let whole = options.only.is_empty();
        assert!(whole || !options.write, "--write takes the figures of a whole run");
        options
    }

    pub fn wants(&self, row: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|only| only == row)
    }
}
