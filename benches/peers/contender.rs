//! Who takes part: piton as it is configured for a row, and each peer that is installed here.

use std::{
    env,
    net::{SocketAddr, TcpListener},
    path::{Path, PathBuf},
    process::Command,
};

use tempfile::TempDir;

use crate::{
    GIB, MIB,
    hello::ASKED,
    options::Options,
    rows::PITON,
    server::{Server, fresh},
};

/// The peers that have a launcher, by the names that people know them by.
const PEERS: [(&str, &str); 3] = [("tusd", "tusd"), ("rustus", "rustus"), ("@tus/server", "node")];

/// What the rows are measured on.
#[derive(Debug)]
pub struct Field {
    pub quick: bool,
    folder: TempDir,
    peers: Vec<Contender>,
    /// Names of those that could not be started, with the reason.
    pub missing: Vec<(String, String)>,
}

impl Field {
    /// Starts every peer once, to see whether it can be.
    pub fn new(options: &Options) -> Self {
        let folder = tempfile::tempdir_in(&options.dir).unwrap();
        let launchers = concat!(env!("CARGO_MANIFEST_DIR"), "/conformance-tests/peers");
        let mut candidates: Vec<_> = PEERS
            .iter()
            .map(|(name, launcher)| (*name, Path::new(launchers).join(launcher).join("server")))
            .collect();
        for (name, launcher) in &options.peers {
            candidates.retain(|(other, _)| other != name);
            candidates.push((name, launcher.canonicalize().expect("--peer names a file")));
        }
        let (mut peers, mut missing) = (Vec::new(), Vec::new());
        for (name, launcher) in candidates {
            let mut peer = Contender::peer(name, launcher);
            match peer.try_start(folder.path()) {
                Ok(server) => {
                    peer.extensions = server.connect().ask(&server.options()).extensions;
                    peers.push(peer);
                }
                Err(why) => missing.push((name.to_owned(), why)),
            }
        }
        Self { quick: options.quick, folder, peers, missing }
    }

    /// The folder in which servers have theirs.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub fn peers(&self) -> &[Contender] {
        &self.peers
    }

    /// Bytes of one stream.
    pub const fn stream(&self) -> usize {
        if self.quick { 64 * MIB } else { 512 * MIB }
    }

    /// Bytes of a file whose end is waited for.
    pub const fn file(&self) -> usize {
        if self.quick { 128 * MIB } else { GIB }
    }
}

/// A server that can be started.
#[derive(Debug, Clone)]
pub struct Contender {
    pub name: String,
    pub version: String,
    program: PathBuf,
    args: Vec<String>,
    release: bool,
    /// The extensions of tus that it offers.
    extensions: String,
}

impl Contender {
    /// piton with these options, `--durability none` unless they say otherwise.
    pub fn piton(name: &str, args: &[&str]) -> Self {
        let mut args: Vec<_> = args.iter().map(ToString::to_string).collect();
        if !args.iter().any(|arg| arg.starts_with("--durability")) {
            args.push("--durability=none".to_owned());
        }
        args.push("--log-level=warn".to_owned());
        let program = env!("CARGO_BIN_EXE_piton").into();
        let version = env!("CARGO_PKG_VERSION").to_owned();
        Self {
            name: name.to_owned(),
            version,
            program,
            args,
            release: false,
            extensions: String::new(),
        }
    }

    /// Nothing but hyper, which answers without doing anything.
    pub fn hyper() -> Self {
        let (program, args) = (env::current_exe().unwrap(), vec![ASKED.to_owned()]);
        let name = HYPER.to_owned();
        Self {
            name,
            version: String::new(),
            program,
            args,
            release: false,
            extensions: String::new(),
        }
    }

    fn peer(name: &str, program: PathBuf) -> Self {
        let version = Command::new(&program).arg("--version").env(BUILDS.0, BUILDS.1).output();
        let version = version.ok().filter(|output| output.status.success());
        let version = version.map(|output| String::from_utf8_lossy(&output.stdout).into_owned());
        let version = version.map_or_else(
            || "of unknown version".to_owned(),
            |text| {
                text.split_whitespace().find(|word| word.contains('.')).unwrap_or("?").to_owned()
            },
        );
        Self {
            name: name.to_owned(),
            version,
            program,
            args: Vec::new(),
            release: true,
            extensions: String::new(),
        }
    }

    /// Does it make uploads of uploads?
    pub fn concatenates(&self) -> bool {
        self.name == PITON || self.extensions.contains("concatenation")
    }

    fn command(&self, data: &Path, address: &str) -> Command {
        let mut command = Command::new(&self.program);
        command.args(&self.args).arg("--listen").arg(address).arg("--data-dir").arg(data);
        if self.release {
            command.env(BUILDS.0, BUILDS.1);
        }
        command
    }

    fn try_start(&self, folder: &Path) -> Result<Server, String> {
        let data = fresh(folder);
        Server::start(self.command(&data, "127.0.0.1:0"), &data)
    }

    /// Starts it on a fresh folder.
    pub fn start(&self, folder: &Path) -> Server {
        self.try_start(folder).unwrap_or_else(|why| panic!("{}: {why}", self.name))
    }

    /// Starts it on a folder with something in it, and waits for the first answer.
    pub fn start_on(&self, data: &Path) -> (Server, std::time::Duration) {
        let address = free_address();
        Server::start_at(self.command(data, &address.to_string()), data, address)
    }
}

/// The name of [`Contender::hyper`] in tables.
pub const HYPER: &str = "floor: hyper, empty answers";

/// Asks launchers for the builds whose speed is looked at.
const BUILDS: (&str, &str) = ("PITON_PEERS", "release");

fn free_address() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}
