//! System calls that fail, or at which the server dies: strace, where it is installed and may.

use std::{
    fs,
    io::{BufRead, BufReader, ErrorKind},
    path::PathBuf,
    process::{Child, Command, Stdio},
    sync::mpsc,
    thread,
    time::Duration,
};

use tempfile::TempDir;

use crate::{
    server::Server,
    stop::{Step, Stop, breach},
};

/// The calls that carry an upload from one state to the next.
pub(crate) const STEPS: &str = "fsync,fdatasync,pwrite64,?rename,?renameat,?renameat2,?link,\
                                ?linkat,?unlink,?unlinkat";

/// strace at work on a server; it lets go with this value.
#[derive(Debug)]
pub(crate) struct Strace {
    child: Child,
    folder: TempDir,
}

impl Strace {
    /// Tampers with these calls of a server (`-e inject=`), only where they touch `paths` if there
    /// are any. The rest of the case is skipped where strace is not there or may not.
    pub(crate) fn attach(server: &Server, inject: &str, paths: &[PathBuf]) -> Step<Self> {
        let folder = tempfile::tempdir()?;
        let calls = inject.split(':').next().unwrap_or(inject);
        let mut command = Command::new("strace");
        command.args(["-f", "-y", "-o"]).arg(folder.path().join("log"));
        command.arg("-e").arg(format!("trace={calls}")).arg("-e").arg(format!("inject={inject}"));
        for path in paths {
            command.arg("-P").arg(path);
        }
        command.arg("-p").arg(server.pid()?.to_string());
        let spawned = command.stdin(Stdio::null()).stderr(Stdio::piped()).spawn();
        let child = spawned.map_err(|error| match error.kind() {
            ErrorKind::NotFound => Stop::Part("strace is not installed".to_owned()),
            _ => breach(format_args!("strace: {error}")),
        })?;
        let mut strace = Self { child, folder };
        let said = strace.first_line();
        if said.contains("attached") {
            return Ok(strace);
        }
        Err(Stop::Part(format!("strace may not attach here: {}", said.trim())))
    }

    fn first_line(&mut self) -> String {
        let Some(errors) = self.child.stderr.take() else { return String::new() };
        let (said, first) = mpsc::channel();
        thread::spawn(move || {
            let mut lines = BufReader::new(errors).lines().map_while(Result::ok);
            let _ = said.send(lines.next().unwrap_or_default());
            lines.for_each(drop);
        });
        first.recv_timeout(Duration::from_secs(5)).unwrap_or_default()
    }

    /// The calls that it has tampered with, a line each.
    pub(crate) fn tampered(&self) -> Vec<String> {
        let log = fs::read_to_string(self.folder.path().join("log")).unwrap_or_default();
        log.lines().filter(|line| line.contains("(INJECTED)")).map(str::to_owned).collect()
    }
}

impl Drop for Strace {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
