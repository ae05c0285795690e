//! Sessions that papers show: shell blocks are run from top to bottom, in one bash, and what stands
//! below a block is looked for in what it prints.
//!
//! A block is fenced as `sh`, what it prints as `text` right behind it. A block fenced as
//! `sh server` is a command line of piton: it is started on a free port, which from there on stands
//! for the one that the paper names.

use std::{
    env, fs,
    io::{BufRead, BufReader, Write},
    path::Path,
    process::{Child, ChildStdin, Command, Stdio},
    sync::mpsc::{self, Receiver},
    thread,
    time::Duration,
};

use tempfile::TempDir;

use crate::server::Server;

/// How long one block may take.
const PATIENCE: Duration = Duration::from_mins(1);
/// Stands for anything within a line.
const ANYTHING: char = '…';
/// Stands behind what a block printed.
const DONE: &str = "=== done with ";

/// A shell block of a paper.
#[derive(Debug, PartialEq, Eq)]
pub struct Block {
    /// Where its first line stands, counted from 1.
    pub line: usize,
    pub kind: Kind,
    pub text: String,
    /// Lines that it prints, in this order; others may stand between them.
    pub prints: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Shell,
    Server,
}

/// The shell blocks of a paper.
pub fn blocks(paper: &str) -> Vec<Block> {
    let (mut found, mut lines) = (Vec::<Block>::new(), paper.lines().enumerate());
    let mut adjacent = false;
    while let Some((at, line)) = lines.next() {
        let Some(kind) = line.strip_prefix("```") else {
            adjacent = false;
            continue;
        };
        let inner = lines.by_ref().map(|(_, line)| line).take_while(|line| *line != "```");
        let inner: Vec<&str> = inner.collect();
        let shell = match kind {
            "sh" => Some(Kind::Shell),
            "sh server" => Some(Kind::Server),
            _ => None,
        };
        match (shell, found.last_mut()) {
            (Some(kind), _) => {
                let text = inner.join("\n");
                found.push(Block { line: at + 2, kind, text, prints: Vec::new() });
            }
            (None, Some(block)) if kind == "text" && adjacent => {
                block.prints = inner.into_iter().map(str::to_owned).collect();
            }
            _ => {}
        }
        adjacent = shell.is_some();
    }
    found
}

/// The first of the lines that was not printed, in the order of the lines.
pub fn not_printed<'a>(lines: &'a [String], printed: &str) -> Option<&'a str> {
    let mut rest = printed.lines();
    let missing = |line: &&String| !rest.by_ref().any(|other| is_like(line, other.trim_end()));
    lines.iter().find(missing).map(String::as_str)
}

fn is_like(pattern: &str, line: &str) -> bool {
    let mut pieces = pattern.split(ANYTHING);
    let Some(mut rest) = line.strip_prefix(pieces.next().unwrap_or_default()) else { return false };
    let mut pieces = pieces.peekable();
    if pieces.peek().is_none() {
        return rest.is_empty();
    }
    while let Some(piece) = pieces.next() {
        if pieces.peek().is_none() {
            return rest.ends_with(piece);
        }
        let Some((_, behind)) = rest.split_once(piece) else { return false };
        rest = behind;
    }
    true
}

/// One bash, in an empty folder of its own.
pub struct Session {
    folder: TempDir,
    bash: Child,
    stdin: ChildStdin,
    printed: Receiver<String>,
    /// Servers, by the address that the paper names.
    servers: Vec<(String, Server)>,
}

impl Session {
    pub fn begin() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut bash = Command::new("bash")
            .args(["-c", "exec bash --noprofile --norc 2>&1"])
            .current_dir(folder.path())
            .env("LC_ALL", "C")
            // Neither settings of whoever runs the tests nor a proxy come in between.
            .env("HOME", folder.path())
            .env("NO_PROXY", "*")
            .env("no_proxy", "*")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let (stdin, stdout) = (bash.stdin.take().unwrap(), bash.stdout.take().unwrap());
        let (line, printed) = mpsc::channel();
        thread::spawn(move || {
            for read in BufReader::new(stdout).split(b'\n').map_while(Result::ok) {
                let _ = line.send(String::from_utf8_lossy(&read).into_owned());
            }
        });
        Self { folder, bash, stdin, printed, servers: Vec::new() }
    }

    /// The folder that the session began in.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// From here on this server is the one that the paper means by an address.
    pub fn serve(&mut self, address: &str, server: Server) {
        self.servers.push((address.to_owned(), server));
    }

    /// Runs a block and says what it printed.
    #[track_caller]
    pub fn run(&mut self, block: &Block) -> String {
        match block.kind {
            Kind::Server => {
                self.start(&block.text);
                String::new()
            }
            Kind::Shell => self.shell(block),
        }
    }

    /// Runs all blocks, each of which has to print what stands below it.
    #[track_caller]
    pub fn prints_what_it_says(&mut self, paper: &str, blocks: &[Block]) {
        for block in blocks {
            let printed = self.run(block);
            if let Some(line) = not_printed(&block.prints, &printed) {
                let at = block.line;
                panic!("{paper}:{at}: {line:?} was not printed, or out of order:\n{printed}");
            }
        }
    }

    fn start(&mut self, command: &str) {
        let mut words = command.split_ascii_whitespace();
        assert_eq!(words.next(), Some("piton"), "{command}");
        let (mut args, mut listen) = (Vec::new(), None);
        while let Some(word) = words.next() {
            match word {
                "--listen" => listen = words.next(),
                "--data-dir" => drop(words.next()),
                file if self.folder().join(file).is_file() => {
                    args.push(self.folder().join(file).display().to_string());
                }
                other => args.push(other.to_owned()),
            }
        }
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        self.serve(listen.expect("--listen is said"), Server::with(&args));
    }

    #[track_caller]
    fn shell(&mut self, block: &Block) -> String {
        let mut text = block.text.clone();
        for (named, server) in &self.servers {
            text = text.replace(named, &server.address().to_string());
        }
        let file = self.folder().join(format!("block-{}.sh", block.line));
        fs::write(&file, text).unwrap();
        let done = format!("{DONE}{}", block.line);
        let source = format!(". {} < /dev/null\necho\necho '{done}'\n", file.display());
        self.stdin.write_all(source.as_bytes()).unwrap();
        let mut printed = Vec::new();
        loop {
            match self.printed.recv_timeout(PATIENCE) {
                Ok(line) if line == done => return printed.join("\n"),
                Ok(line) => printed.push(line),
                Err(error) => panic!("line {}: {error}\n{}", block.line, printed.join("\n")),
            }
        }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        let _ = self.bash.kill();
        let _ = self.bash.wait();
    }
}

/// The first program that is not there.
pub fn not_installed<'a>(programs: &[&'a str]) -> Option<&'a str> {
    let path = env::var_os("PATH").unwrap_or_default();
    let there = |name: &&&str| env::split_paths(&path).any(|folder| folder.join(name).is_file());
    programs.iter().find(|name| !there(name)).copied()
}

#[test]
fn blocks_are_found_with_what_they_print() {
    let paper =
        "a\n```sh server\npiton\n```\n```sh\nx\ny\n```\n```text\nb\n```\n\n```text\nc\n```\n";
    let block = |line, kind, text: &str, prints: &[&str]| Block {
        line,
        kind,
        text: text.to_owned(),
        prints: prints.iter().map(|&line| line.to_owned()).collect(),
    };
    let wanted = [block(3, Kind::Server, "piton", &[]), block(6, Kind::Shell, "x\ny", &["b"])];
    assert_eq!(blocks(paper), wanted);
}

#[test]
fn lines_that_were_not_printed_are_found() {
    let missing = |lines: &[&str], printed: &str| {
        let lines: Vec<String> = lines.iter().map(|&line| line.to_owned()).collect();
        not_printed(&lines, printed).map(str::to_owned)
    };
    let printed = "HTTP/1.1 201 Created \nlocation: /files/12\n{\"a\":1,\"b\":2}";
    assert_eq!(missing(&["HTTP/1.1 201 Created", "{…\"b\":…}"], printed), None);
    assert_eq!(missing(&["location: /files/…"], printed), None);
    for wrong in ["HTTP/1.1 20", "201 Created", "location: /file/…", "…\"c\":…}", "{…\"d\":…", "…1"]
    {
        assert_eq!(missing(&[wrong], printed).as_deref(), Some(wrong));
    }
    let swapped = ["location: …", "HTTP/1.1 201 Created"];
    assert_eq!(missing(&swapped, printed).as_deref(), Some("HTTP/1.1 201 Created"));
}

#[test]
fn a_session_keeps_its_variables_and_says_what_was_printed() {
    if not_installed(&["bash"]).is_some() {
        return;
    }
    let mut session = Session::begin();
    for (line, text, prints) in [(1, "a=5; cat", "\n"), (2, "echo $a; no-such-program", "5\n")] {
        let (text, prints) = (text.to_owned(), prints.to_owned());
        let block = Block { line, kind: Kind::Shell, text, prints: Vec::new() };
        let printed = format!("{}\n", session.run(&block));
        assert!(printed.starts_with(&prints), "{printed:?}");
        assert_eq!(printed.contains("not found"), line == 2);
    }
}
