//! The program `piton`: parse, resolve, run, exit code.

use std::{error::Error, io::Write, net::SocketAddr, process::ExitCode};

use piton::{
    config::{Command, Config},
    server::{Reloader, Server},
    telemetry,
};
use tokio::{
    runtime::{Builder, Runtime},
    signal::unix::{Signal, SignalKind, signal},
};
use tokio_util::sync::CancellationToken;

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
    match serve(config) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!(error, "stopped");
            ExitCode::FAILURE
        }
    }
}

fn serve(config: Config) -> Result<(), Box<dyn Error>> {
    let runtime = runtime()?;
    let served = runtime.block_on(run(config));
    // Whatever the drain left behind had its time.
    runtime.shutdown_background();
    served
}

/// Serves until the first SIGTERM or SIGINT, then drains; a second one ends the process at once.
async fn run(config: Config) -> Result<(), Box<dyn Error>> {
    tracing::debug!(?config, "configured");
    let (drain, quit) = (CancellationToken::new(), CancellationToken::new());
    tokio::spawn(signals()?.cancel_in_turn([drain.clone(), quit.clone()]));
    // Before anything can take time: unheard, this signal ends a process.
    let hangups = signal(SignalKind::hangup())?;
    let server = Server::bind(config).await?;
    tokio::spawn(reload(hangups, server.reloader()));
    let (scheme, address) = (server.scheme(), server.address()?);
    if let Err(error) = announce(scheme, address) {
        // Nobody reads it, or the disk below it is full: no reason to serve nobody else.
        tracing::warn!(%error, "could not announce the address");
    }
    tracing::info!(%address, "listening");
    tokio::select! {
        () = server.serve(drain.cancelled_owned()) => Ok(()),
        () = quit.cancelled() => Err("a second signal came before all requests had ended".into()),
    }
}

/// The first line.
fn announce(scheme: &str, address: SocketAddr) -> std::io::Result<()> {
    let mut stdout = std::io::stdout();
    writeln!(stdout, "piton listening on {scheme}://{address}")?;
    stdout.flush()
}

/// Reloads at each SIGHUP.
async fn reload(mut hangups: Signal, reloader: Reloader) {
    while hangups.recv().await.is_some() {
        reloader.reload().await;
    }
}

/// The two signals that ask to stop.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

fn signals() -> std::io::Result<Signals> {
    let terminate = signal(SignalKind::terminate())?;
    Ok(Signals { terminate, interrupt: signal(SignalKind::interrupt())? })
}

impl Signals {
    /// One token for each signal that comes.
    async fn cancel_in_turn(mut self, tokens: [CancellationToken; 2]) {
        for token in tokens {
            tokio::select! {
                _ = self.terminate.recv() => {}
                _ = self.interrupt.recv() => {}
            }
            token.cancel();
        }
    }
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
