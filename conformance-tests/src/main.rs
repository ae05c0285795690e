//! Judges a resumable-upload server by its answers, row by row of the conformance table.
//!
//! ```text
//! conformance-tests --url http://127.0.0.1:8080/files/
//! ```
//!
//! It speaks HTTP over its own sockets and links nothing of any server, so that the judge and the
//! judged can make no common mistake. The exit code is 0 if no row that is a MUST failed, 1 if one
//! did, 2 if there was nobody to judge.

mod cases;
mod report;
mod target;
mod wire;

use std::process::ExitCode;

use cases::CASES;
use report::Report;
use target::Target;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let prepared = target(&args).and_then(|target| Ok((cases::announced(&target)?, target)));
    let (announced, target) = match prepared {
        Ok(prepared) => prepared,
        Err(mistake) => {
            eprintln!("error: {mistake}\nusage: conformance-tests --url URL");
            return ExitCode::from(2);
        }
    };
    let mut report = Report::default();
    for case in &CASES {
        let judged = case.extension.is_empty() || announced.iter().any(|one| one == case.extension);
        report.add(case, judged.then(|| (case.run)(&target)));
    }
    if report.close() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// What the command line names.
fn target(args: &[String]) -> Result<Target, String> {
    match args {
        [name, url] if name == "--url" => Target::parse(url),
        _ => Err("--url and a URL are needed, and nothing else".to_owned()),
    }
}

#[test]
fn a_url_is_needed() {
    let parse = |args: &[&str]| target(&args.iter().map(|&arg| arg.to_owned()).collect::<Vec<_>>());
    parse(&["--url", "http://localhost/files/"]).unwrap();
    for wrong in [&[][..], &["--url"], &["--only", "X"], &["--url", "http://h/", "x"]] {
        parse(wrong).unwrap_err();
    }
}
