//! The command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

/// Judges a resumable-upload server by its answers: tus 1.0.0 with its extensions, HTTP around it,
/// and the flow of numbered chunks.
#[derive(Debug, Parser)]
#[command(name = "conformance-tests", version, args_conflicts_with_subcommands = true)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
    #[command(flatten)]
    pub(crate) run: Run,
}

/// What else it can do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Writes a table of areas and servers from the results of earlier runs (`--format json`).
    Report(Report),
}

/// One run against one server.
#[derive(Debug, Args)]
#[allow(clippy::struct_excessive_bools, reason = "these are flags of a command line")]
pub(crate) struct Run {
    /// The URL under which the server makes tus uploads, such as `http://127.0.0.1:8080/files/`.
    #[arg(long, value_name = "URL", conflicts_with = "server_bin")]
    pub(crate) url: Option<String>,
    /// The URL above `/upload` and `/merge` of the chunk flow.
    #[arg(long, value_name = "URL", requires = "url")]
    pub(crate) chunks_url: Option<String>,
    /// A program that the suite starts, kills and starts again:
    /// `PROGRAM --listen=ADDRESS --data-dir=FOLDER OPTIONS…` prints its URL in its first line.
    #[arg(long, value_name = "PROGRAM")]
    pub(crate) server_bin: Option<PathBuf>,
    /// An option for every server that is started; may be repeated.
    #[arg(long, value_name = "OPTION", requires = "server_bin", allow_hyphen_values = true)]
    pub(crate) server_arg: Vec<String>,
    /// Only rows whose id begins with one of these, such as `TUS-HEAD,TUS-CHK-01`.
    #[arg(long, value_name = "IDS", value_delimiter = ',')]
    pub(crate) only: Vec<String>,
    /// None of the rows whose id begins with one of these.
    #[arg(long, value_name = "IDS", value_delimiter = ',')]
    pub(crate) skip: Vec<String>,
    /// A set of rows; all that can be asked if not given.
    #[arg(long, value_enum)]
    pub(crate) profile: Option<Profile>,
    /// The version of HTTP to ask in, where it can say a request.
    #[arg(long, value_enum, default_value = "1")]
    pub(crate) http: Version,
    /// A file of known deviations, `conformance-tests/expectations/NAME.toml`.
    #[arg(long, value_name = "FILE")]
    pub(crate) expect: Option<PathBuf>,
    /// Advice counts as a failure.
    #[arg(long)]
    pub(crate) strict: bool,
    /// Shows the bytes behind advice, too; those of failures are always shown.
    #[arg(long)]
    pub(crate) advice: bool,
    /// A row that is skipped counts as a failure, unless the version of HTTP cannot say it.
    #[arg(long)]
    pub(crate) no_skips: bool,
    /// How many rows are asked side by side.
    #[arg(long, value_name = "N", default_value_t = 8)]
    pub(crate) jobs: usize,
    /// How the verdicts are written to standard output.
    #[arg(long, value_enum, default_value = "table")]
    pub(crate) format: Format,
    /// Lists the rows instead of asking them.
    #[arg(long)]
    pub(crate) list: bool,
}

/// Sets of rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Profile {
    /// The core protocol and creation.
    TusCore,
    /// tus 1.0.0 with all its extensions, and HTTP around it.
    TusAll,
    /// The flow of numbered chunks, and both flows on one upload.
    Chunks,
    /// Crashes, full disks, bad options; for servers that the suite starts.
    Faults,
}

impl Profile {
    /// Is a kind of rows in this set?
    pub(crate) fn holds(self, area: &str) -> bool {
        match self {
            Self::TusCore => matches!(
                area,
                "TUS-CORE" | "TUS-CREATE" | "TUS-HEAD" | "TUS-PATCH" | "TUS-OVR" | "TUS-META"
            ),
            Self::TusAll => area.starts_with("TUS-") || matches!(area, "CORS" | "CONN" | "RACE"),
            Self::Chunks => area.starts_with("CHUNK-") || area == "CROSS",
            Self::Faults => area == "FAULT",
        }
    }
}

/// Versions of HTTP.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Version {
    /// HTTP/1.1
    #[value(name = "1")]
    One,
    /// HTTP/2 with prior knowledge
    #[value(name = "2")]
    Two,
}

/// How verdicts are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// For people, with the bytes of each failure.
    Table,
    /// For programs, and for `report`.
    Json,
    /// For build servers.
    Junit,
    /// For pages.
    Markdown,
}

/// What `report` is made from.
#[derive(Debug, Args)]
pub(crate) struct Report {
    /// `NAME=FILE` for each server: its name with its version, and its results in JSON.
    #[arg(required = true, value_name = "NAME=FILE")]
    pub(crate) results: Vec<String>,
    /// The day of the runs, for the page.
    #[arg(long, value_name = "YYYY-MM-DD")]
    pub(crate) date: String,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        Cli::command().debug_assert();
        for good in [
            &["x", "--url", "http://h/"][..],
            &["x", "--server-bin", "p", "--server-arg=--max-size=1", "--only", "A,B"],
            &["x", "--list"],
            &["x", "report", "--date", "2026-01-01", "a=b"],
        ] {
            Cli::try_parse_from(good).unwrap();
        }
        for wrong in [
            &["x", "--url", "http://h/", "--server-bin", "p"][..],
            &["x", "--chunks-url", "http://h/"],
            &["x", "report"],
        ] {
            Cli::try_parse_from(wrong).unwrap_err();
        }
    }
}
