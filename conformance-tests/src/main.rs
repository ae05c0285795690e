//! Judges a resumable-upload server by its answers, row by row of `rows.md`.
//!
//! ```text
//! conformance-tests --url http://127.0.0.1:8080/files/
//! conformance-tests --server-bin target/release/piton --strict
//! ```
//!
//! It speaks HTTP over its own sockets and links nothing of any server, so that the judge and the
//! judged can make no common mistake. The exit code is 0 if nothing unexpected was found, 1 if
//! something was, 2 if there was nobody to judge.
#![allow(clippy::disallowed_methods, reason = "the judge has a clock and folders of its own")]
#![allow(
    clippy::indexing_slicing,
    reason = "the judge's own bytes; a panic is a broken judge, and told"
)]

mod args;
mod case;
mod cases;
mod concat;
mod digest;
mod disk;
mod expectations;
mod judge;
mod parts;
mod power;
mod random;
mod report;
mod row;
mod run;
mod running;
mod server;
mod several;
mod stop;
mod strace;
mod target;
mod tus;
mod verdict;
mod wire;

use std::{io::Write, process::ExitCode};

use args::{Cli, Command, Run, Version};
use case::Case;
use clap::Parser;
use expectations::{Expectations, Strictness};
use judge::Bench;
use report::{Shown, Verdicts};
use server::{ChunkFlow, Http, Launcher, Server};
use stop::Stop;
use wire::Request;

fn main() -> ExitCode {
    let cli = Cli::parse();
    let ended = match cli.command {
        Some(Command::Report(wanted)) => report::matrix::page(&wanted).map(|page| (page, true)),
        None => judged(&cli.run),
    };
    match ended {
        Ok((text, good)) => {
            // Whoever closes the pipe has seen enough.
            let _ = std::io::stdout().write_all(text.as_bytes());
            if good { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
        Err(mistake) => {
            let _ = writeln!(std::io::stderr(), "error: {mistake}");
            ExitCode::from(2)
        }
    }
}

/// What a run prints, and whether nothing unexpected was found.
fn judged(run: &Run) -> Result<(String, bool), String> {
    let cases = chosen(run)?;
    if run.list {
        return Ok((report::list(&cases), true));
    }
    let expectations = run.expect.as_deref().map(Expectations::read).transpose()?;
    let expectations = expectations.unwrap_or_default();
    let bench = bench(run)?;
    let (outcomes, untold) = run::run(&bench, &cases, run.jobs);
    if untold > 0 {
        let _ = writeln!(
            std::io::stderr(),
            "the server ended by itself {untold} times while rows were asked side by side; asked \
             one by one, none of them ends it"
        );
    }
    let strictness = if run.strict { Strictness::Strict } else { Strictness::Lenient };
    let verdicts = Verdicts::new(outcomes, &expectations, strictness, run.no_skips);
    let shown = if run.advice { Shown::Advice } else { Shown::Failures };
    Ok((verdicts.written(run.format, shown)?, verdicts.good() && untold == 0))
}

/// The cases that the command line asks for.
fn chosen(run: &Run) -> Result<Vec<&'static Case>, String> {
    let begins = |id: &str, prefixes: &[String]| prefixes.iter().any(|one| id.starts_with(one));
    let wanted = |case: &&Case| {
        (run.only.is_empty() || begins(case.id, &run.only))
            && !begins(case.id, &run.skip)
            && run.profile.is_none_or(|profile| profile.holds(case.area()))
    };
    let named = run.only.iter().chain(&run.skip);
    let none = |prefix: &&String| {
        prefix.is_empty() || !cases::all().any(|case| begins(case.id, std::slice::from_ref(prefix)))
    };
    if let Some(unknown) = named.clone().find(none) {
        return Err(format!("no row has an id that begins with {unknown:?}"));
    }
    let chosen: Vec<_> = cases::all().filter(wanted).collect();
    let nothing = || "no row has such an id".to_owned();
    if chosen.is_empty() { Err(nothing()) } else { Ok(chosen) }
}

/// The server to judge, and what it announces.
fn bench(run: &Run) -> Result<Bench, String> {
    let http = match run.http {
        Version::One => Http::One,
        Version::Two => Http::Two,
    };
    let (server, launcher) = match (&run.url, &run.server_bin) {
        (Some(url), _) => (Server::remote(url, run.chunks_url.as_deref(), http)?, None),
        (None, Some(program)) => {
            let program = program.canonicalize();
            let program = program.map_err(|error| format!("--server-bin: {error}"))?;
            let (args, chunk_flow) = (run.server_arg.clone(), ChunkFlow::Offered);
            started(Launcher { program, args, under: Vec::new(), chunk_flow }, http)?
        }
        (None, None) => return Err("--url or --server-bin is needed (see --help)".to_owned()),
    };
    let answer = server.ask(&Request::new("OPTIONS", server.files()));
    let answer = answer.map_err(|stop| format!("nobody to judge: {}", told(stop)))?;
    if (300..400).contains(&answer.status) {
        let (status, to) = (answer.status, answer.header("Location").unwrap_or_default());
        return Err(format!("nobody to judge: {status}, and a Location of {to:?}: name that URL"));
    }
    let list = |name| {
        let value = answer.header(name).unwrap_or_default().split(',');
        value.map(|one| one.trim().to_owned()).filter(|one| !one.is_empty()).collect::<Vec<_>>()
    };
    let (extensions, algorithms) = (list("Tus-Extension"), list("Tus-Checksum-Algorithm"));
    Ok(Bench { server, launcher, http, extensions, algorithms })
}

/// Starts the server that all cases share: with small chunks if it knows the option, so that small
/// files have many of them.
fn started(launcher: Launcher, http: Http) -> Result<(Server, Option<Launcher>), String> {
    let mut small = launcher.clone();
    small.args.push("--chunk-size=64KiB".to_owned());
    // Everybody comes from one address here.
    let mut free = small.clone();
    free.args.push("--max-uploads-per-ip=1000".to_owned());
    let knows = |launcher: &Launcher| Server::start(launcher, &[], http).is_ok();
    let mut launcher = [free, small].into_iter().find(knows).unwrap_or(launcher);
    let server = Server::start(&launcher, &[], http).map_err(told)?;
    if server.answers_chunks() {
        return Ok((server, Some(launcher)));
    }
    launcher.chunk_flow = ChunkFlow::Absent;
    let server = Server::start(&launcher, &[], http).map_err(told)?;
    Ok((server, Some(launcher)))
}

fn told(stop: Stop) -> String {
    match stop {
        Stop::Breach(breach) => breach.what,
        Stop::Skip(why) | Stop::Part(why) => why,
    }
}
