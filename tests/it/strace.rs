//! System calls of a server that fail: strace, where it is installed and may.

use std::{
    fs,
    io::{BufRead, BufReader, ErrorKind},
    path::Path,
    process::{Child, Command, Stdio},
    sync::mpsc,
    thread,
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use crate::server::Server;

/// strace at work on a server; it lets go with this value.
#[derive(Debug)]
pub struct Strace {
    child: Child,
    folder: TempDir,
}

impl Strace {
    /// May this machine do that? Says so where not, for tests that then have nothing to do.
    pub fn is_possible() -> bool {
        let tried = Command::new("strace").args(["-o", "/dev/null", "/bin/true"]).output();
        let possible = match &tried {
            Ok(output) => output.status.success(),
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::NotFound, "strace: {error}");
                false
            }
        };
        if !possible {
            println!("skipped: there is no strace here, or it may not");
        }
        possible
    }

    /// Tampers with calls of a server (`-e inject=`), only where they touch `paths` if there are
    /// any.
    #[track_caller]
    pub fn attach(server: &Server, inject: &[String], paths: &[&Path]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut command = Command::new("strace");
        command.args(["-f", "-y", "-o"]).arg(folder.path().join("log"));
        let calls: Vec<_> = inject.iter().map(|one| one.split(':').next().unwrap()).collect();
        command.arg("-e").arg(format!("trace={}", calls.join(",")));
        for one in inject {
            command.arg("-e").arg(format!("inject={one}"));
        }
        for path in paths {
            command.arg("-P").arg(path);
        }
        command.arg("-p").arg(server.pid().to_string());
        let child = command.stdin(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let mut strace = Self { child, folder };
        let said = strace.first_line();
        assert!(said.contains("attached"), "{said}");
        strace
    }

    fn first_line(&mut self) -> String {
        let errors = self.child.stderr.take().unwrap();
        let (said, first) = mpsc::channel();
        thread::spawn(move || {
            let mut lines = BufReader::new(errors).lines().map_while(Result::ok);
            let _ = said.send(lines.next().unwrap_or_default());
            lines.for_each(drop);
        });
        first.recv_timeout(Duration::from_secs(10)).unwrap_or_default()
    }

    /// The calls that it has tampered with, a line each.
    pub fn tampered(&self) -> Vec<String> {
        let log = fs::read_to_string(self.folder.path().join("log")).unwrap_or_default();
        log.lines().filter(|line| line.contains("(INJECTED)")).map(str::to_owned).collect()
    }
}

impl Drop for Strace {
    fn drop(&mut self) {
        // Asked to end, it lets go of no thread in the middle of a call.
        let _ = kill_process(Pid::from_child(&self.child), Signal::TERM);
        let _ = self.child.wait();
    }
}
