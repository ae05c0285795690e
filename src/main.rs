//! The program `piton`: parse, resolve, run, exit code.
#![allow(clippy::print_stdout, reason = "its first line announces the address")]

use std::error::Error;
use std::process::ExitCode;

use piton::config::{Command, Config};
use piton::telemetry;
use tokio::runtime::{Builder, Runtime};

fn main() -> ExitCode {
    let options = match Command::parse(std::env::args_os()) {
        Ok(Command::Serve(options)) => options,
        Err(answer) => return print(&answer),
    };
    let config = match Config::load(*options) {
        Ok(config) => config,
        Err(error) => {
            eprintln!("error: {error}");
            return ExitCode::from(MISUSED);
        }
    };
    telemetry::init(config.log_format, &config.log_level);
    match runtime().map_err(Into::into).and_then(|runtime| runtime.block_on(run(config))) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!(error, "stopped");
            ExitCode::FAILURE
        }
    }
}

async fn run(config: Config) -> Result<(), Box<dyn Error>> {
    tracing::debug!(?config, "configured");
    tokio::signal::ctrl_c().await?;
    Ok(())
}

/// Built by hand for the one figure that matters: every active request may hold a blocking thread
/// that hashes and writes.
fn runtime() -> std::io::Result<Runtime> {
    Builder::new_multi_thread().enable_all().max_blocking_threads(512).build()
}

/// Prints the help or version that was asked for, or what was wrong with the command line.
fn print(answer: &clap::Error) -> ExitCode {
    // Whoever closed our output does not want to hear of it.
    let _ = answer.print();
    ExitCode::from(u8::try_from(answer.exit_code()).unwrap_or(MISUSED))
}

/// Exit code of a mistake in what the operator said.
const MISUSED: u8 = 2;
