//! The program `piton`: parse, resolve, run, exit code.

use std::{error::Error, io::Write, net::SocketAddr, process::ExitCode};

use piton::{
    audit::{
        self, AuditError, Extent, Form, InspectOptions, Lifetimes, Outcome, Telling, Thoroughness,
        VerifyOptions,
    },
    config::{Command, Config, InspectArgs, Options, VerifyArgs},
    server::{Reloader, Server, runtime},
    telemetry,
};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;

fn main() -> ExitCode {
    match Command::parse(std::env::args_os()) {
        Ok(Command::Serve(options)) => serve_with(*options),
        Ok(Command::Inspect(args)) => told(inspect(*args)),
        Ok(Command::Verify(args)) => told(verify(*args)),
        Err(answer) => print(&answer),
    }
}

fn serve_with(options: Options) -> ExitCode {
    let config = match Config::load(options) {
        Ok(config) => config,
        Err(error) => return refuse(&error),
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

fn inspect(mut args: InspectArgs) -> Result<Outcome, Box<dyn Error>> {
    let place = args.place()?;
    let lifetimes =
        Lifetimes { expire_after: place.expire_after, keep_finished: place.keep_finished };
    let options = InspectOptions {
        data_dir: place.data_dir,
        upload: args.upload,
        owner: args.place.owner,
        lifetimes,
        extent: if args.all { Extent::All } else { Extent::Ends },
        form: form(args.json),
    };
    Ok(audit::inspect(&options, &mut std::io::stdout().lock())?)
}

fn verify(mut args: VerifyArgs) -> Result<Outcome, Box<dyn Error>> {
    let options = VerifyOptions {
        data_dir: args.data_dir()?,
        upload: args.upload,
        owner: args.place.owner,
        thoroughness: if args.quick { Thoroughness::Quick } else { Thoroughness::Full },
        telling: if args.quiet { Telling::Trouble } else { Telling::Everything },
        form: form(args.json),
    };
    Ok(audit::verify(&options, &mut std::io::stdout().lock())?)
}

const fn form(json: bool) -> Form {
    if json { Form::Json } else { Form::Text }
}

/// How a look at the disk ends.
fn told(outcome: Result<Outcome, Box<dyn Error>>) -> ExitCode {
    match outcome {
        Ok(Outcome::Well) => ExitCode::SUCCESS,
        Ok(Outcome::Damaged) => ExitCode::FAILURE,
        Ok(Outcome::Unreadable) => ExitCode::from(MISUSED),
        // Whoever closed our output does not want to hear of it.
        Err(error) if error.downcast_ref().is_some_and(AuditError::is_unheard) => {
            ExitCode::from(MISUSED)
        }
        Err(error) => refuse(&*error),
    }
}

/// Says what is wrong with what the operator said, or with the place it names.
fn refuse(error: &dyn Error) -> ExitCode {
    eprintln!("error: {error}");
    ExitCode::from(MISUSED)
}

/// Prints the help or version that was asked for, or what was wrong with the command line.
fn print(answer: &clap::Error) -> ExitCode {
    // Whoever closed our output does not want to hear of it.
    let _ = answer.print();
    ExitCode::from(u8::try_from(answer.exit_code()).unwrap_or(MISUSED))
}

/// Exit code of a mistake in what the operator said.
const MISUSED: u8 = 2;
