//! The log, one stream on standard error, for people or for machines; and what is counted.

mod meter;
mod sparingly;

use std::io::{IsTerminal, stderr};

use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::Subscriber;

pub use self::{
    meter::{Event, MEDIA_TYPE, MergeEnd, Meter, OpenConnection, Readings, Spoken, Surplus},
    sparingly::Sparingly,
};
use crate::config::LogFormat;

/// Sends the log of the whole process to standard error, a line for each event.
///
/// `level` is a list of levels as [`crate::config::Config::log_level`] holds it; a part that
/// cannot be read is left out. Colours appear on a terminal only, and not under `NO_COLOR`. Where
/// a program that embeds the server has set up a log of its own, that one stays.
pub fn init(format: LogFormat, level: &str) {
    let log = Subscriber::builder()
        .with_env_filter(EnvFilter::builder().parse_lossy(level))
        .with_writer(stderr)
        // A full disk under the log: to tell of that on the same stream would panic.
        .log_internal_errors(false);
    // Asking for colours would overrule NO_COLOR, so the terminal's are only ever taken away.
    let log = if stderr().is_terminal() { log } else { log.with_ansi(false) };
    let set = match format {
        LogFormat::Text => log.try_init(),
        LogFormat::Json => log.json().flatten_event(true).try_init(),
    };
    if let Err(error) = set {
        tracing::debug!(%error, "a log is set up already");
    }
}
