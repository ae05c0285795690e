//! What was typed. The doc comments of [`Options`] are the manual that `piton --help` prints.

use std::ffi::OsString;

use clap::{Arg, CommandFactory, FromArgMatches, Parser, Subcommand};

use super::audit::{self, InspectArgs, VerifyArgs};
use super::setting::{Setting, variable_name};

/// What the operator asked the program to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Accept uploads until told to stop; `piton` alone does the same
    #[command(after_help = AFTER_SHORT, after_long_help = AFTER_LONG)]
    Serve(Box<Options>),
    /// Show what is on disk of one upload: its facts, its chunks, its files
    #[command(after_help = audit::AFTER)]
    Inspect(Box<InspectArgs>),
    /// Compare what is on disk with its digests, of all uploads or one
    #[command(after_help = audit::AFTER)]
    Verify(Box<VerifyArgs>),
}

impl Command {
    /// Reads a command line whose first element is the name of the program.
    ///
    /// The error is also how `--help` and `--version` come back: it knows the stream it is to be
    /// printed on and the exit code, 0 for those two and 2 for a mistake.
    pub fn parse<I>(line: I) -> Result<Self, clap::Error>
    where
        I: IntoIterator,
        I::Item: Into<OsString> + Clone,
    {
        let matches = described().try_get_matches_from(line)?;
        let line = CommandLine::from_arg_matches(&matches)?;
        let command = line.command.unwrap_or_else(|| Self::Serve(Box::new(line.options)));
        #[cfg(feature = "mutants")]
        command.unless_mutants_are_asked_for()?;
        Ok(command)
    }
}

#[cfg(feature = "mutants")]
impl Command {
    /// The list comes as the help does.
    fn unless_mutants_are_asked_for(&self) -> Result<(), clap::Error> {
        let Self::Serve(options) = self else { return Ok(()) };
        if options.list_mutants != Some(true) {
            return Ok(());
        }
        let list = clap::Command::new("mutants").about(crate::mutants::Mutant::list());
        let list = list.help_template("{about}").term_width(0);
        list.try_get_matches_from(["mutants", "--help"]).map(drop)
    }
}

/// The command line as clap knows it, each option told the name of its variable.
pub(super) fn described() -> clap::Command {
    CommandLine::command()
        .mut_args(name_variable)
        .mut_subcommand("serve", |serve| serve.mut_args(name_variable))
        .mut_subcommand("inspect", audit::described)
        .mut_subcommand("verify", audit::described)
}

/// Adds the variable (to `--help`) and the default (to both) at the end of the text of an option.
///
/// clap's own `env` would do the first, but it also reads the environment by itself, which no
/// test can then replace. Who says it instead is [`super::layers`].
pub(super) fn name_variable(option: Arg) -> Arg {
    let Some(name) = option.get_long().map(ToOwned::to_owned) else {
        return option;
    };
    let default = match option.get_default_values() {
        [default, ..] => format!(" [default: {}]", default.display()),
        [] => String::new(),
    };
    let short = option.get_help().map(ToString::to_string).unwrap_or_default();
    let long = option.get_long_help().map_or_else(|| short.clone(), ToString::to_string);
    option
        .hide_default_value(true)
        .help(format!("{short}{default}"))
        .long_help(format!("{long}\n\n[env: {}]{default}", variable_name(&name)))
}

/// Receive files that arrive in pieces, and lose none of them
///
/// piton is a resumable-upload server: it speaks tus 1.0.0 and numbered chunks over one store,
/// checks what it was told to check, and makes a file visible only when all of it is there.
#[derive(Debug, Parser)]
#[command(name = "piton", version, after_help = AFTER_SHORT, after_long_help = AFTER_LONG)]
#[command(args_conflicts_with_subcommands = true)]
struct CommandLine {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    options: Options,
}

/// The options of `serve` as they were typed, still text; [`super::Config::load`] makes sense
/// of them.
#[derive(Debug, clap::Args)]
pub struct Options {
    /// Address and port to listen on
    ///
    /// An IP address and a port; port 0 takes any free one. `0.0.0.0:80` and `[::]:80` listen on
    /// all interfaces.
    #[arg(long, value_name = "ADDR:PORT", default_value = "127.0.0.1:8080")]
    #[arg(help_heading = ADDRESS)]
    pub(super) listen: Setting,

    /// Path under which uploads are created and addressed
    ///
    /// Slashes at either end are added where they are missing. It must leave /upload, /merge,
    /// /healthz, /readyz, /metrics and the files of the page (/piton.js, /page.js, …) free.
    #[arg(long, value_name = "PATH", default_value = "/files/", help_heading = ADDRESS)]
    pub(super) base_path: Setting,

    /// Address that clients see, when a proxy stands in front
    ///
    /// An absolute http or https URL, which is put before the base path in every URL that a
    /// client is given. With `none` clients are given paths, which they resolve by themselves; no
    /// header of a request names our address, unless a proxy of `behind-proxy` wrote it.
    #[arg(long, value_name = "URL", default_value = "none", help_heading = ADDRESS)]
    pub(super) public_url: Setting,

    /// Certificate to speak TLS with
    ///
    /// A PEM file that begins with the server's own certificate; the chain follows. It needs
    /// `--tls-key`, and with both the port speaks TLS and nothing else. SIGHUP reads both files
    /// again.
    #[arg(long, value_name = "FILE", default_value = "none", help_heading = ADDRESS)]
    pub(super) tls_cert: Setting,

    /// Private key of the certificate
    ///
    /// A PEM file.
    #[arg(long, value_name = "FILE", default_value = "none", help_heading = ADDRESS)]
    pub(super) tls_key: Setting,
    /// Proxies in front, whose word about a client is taken
    ///
    /// Addresses, networks (10.1.0.0/16) and the words `loopback` and `private`, separated by
    /// commas. Of requests from there, `Forwarded` or `X-Forwarded-For`, -Host, -Proto, -Port and
    /// -Prefix tell the client's address and the URLs that it is given. The proxy has to set or
    /// remove all of them, or the client's own would be believed.
    #[arg(long, value_name = "LIST", default_value = "none", help_heading = ADDRESS)]
    pub(super) behind_proxy: Setting,

    /// Header in which those proxies name the user of a request
    ///
    /// Uploads of different users then never meet, whatever hash and name their clients give them.
    /// The proxy has to set or remove the header; from elsewhere it is ignored, and a request
    /// without it belongs to nobody in particular. It needs `behind-proxy`.
    #[arg(long, value_name = "HEADER", default_value = "none", help_heading = ADDRESS)]
    pub(super) owner_header: Setting,

    /// Origins whose pages may use the server in a browser (CORS)
    ///
    /// `*` for all, or a list separated by commas: `https://app.example.org`,
    /// `https://*.example.org` for the names below it, `http://localhost:*` for any port. With
    /// `none` nothing is said of CORS, which is right where a proxy says it.
    #[arg(long, value_name = "LIST", default_value = "*", help_heading = BROWSERS)]
    pub(super) allow_origin: Setting,

    /// Let those pages send cookies along
    ///
    /// For a proxy in front that asks for them. It needs origins by name, not `*`.
    #[arg(long, value_name = "BOOL", default_value = "false", default_missing_value = "true")]
    #[arg(num_args = 0..=1, require_equals = true, help_heading = BROWSERS)]
    pub(super) cors_credentials: Setting,

    /// Serve no page at / that people send files with
    ///
    /// /piton.js, the module behind it, is served all the same, for pages of your own.
    #[arg(long, value_name = "BOOL", default_value = "false", default_missing_value = "true")]
    #[arg(num_args = 0..=1, require_equals = true, help_heading = BROWSERS)]
    pub(super) no_page: Setting,

    /// Folder that holds everything: unfinished uploads, their state, finished files
    ///
    /// It is created if it is missing. A relative path starts at the working directory.
    #[arg(long, value_name = "DIR", default_value = "./data", help_heading = STORAGE)]
    pub(super) data_dir: Setting,

    /// Size of the chunks that bytes are sealed and checked in
    ///
    /// A multiple of 4KiB, from 4KiB to 2GiB. It holds for new uploads; an upload keeps the size
    /// that it was begun with.
    #[arg(long, value_name = "SIZE", default_value = "8MiB", help_heading = STORAGE)]
    pub(super) chunk_size: Setting,

    /// Digest taken of every chunk: sha256 or none
    ///
    /// Without digests, receiving over tus costs a third to two thirds of the CPU, and nothing
    /// notices a chunk that changed on disk.
    #[arg(long, value_name = "DIGEST", default_value = "sha256", help_heading = STORAGE)]
    pub(super) chunk_digest: Setting,

    /// Most chunks that one file on disk may hold before an upload is finished
    ///
    /// At least 1, which makes each chunk a file of its own. With `none` an upload that arrives
    /// in order is one growing file, which makes finishing it a rename.
    #[arg(long, value_name = "COUNT", default_value = "none", help_heading = STORAGE)]
    pub(super) chunks_per_part: Setting,

    /// Remove partial uploads once a final upload has their bytes
    ///
    /// Saves disk space. Without it they stay until they expire or are deleted, so that a client
    /// which lost the answer can concatenate them once more.
    #[arg(long, value_name = "BOOL", default_value = "false", default_missing_value = "true")]
    #[arg(num_args = 0..=1, require_equals = true, help_heading = STORAGE)]
    pub(super) consume_partials: Setting,

    /// Finish the file as soon as all of its numbered chunks are there
    ///
    /// Without it, a client of the chunk flow asks for that with POST /merge. The answer to the
    /// last chunk then tells the result, where that takes no longer than two seconds.
    #[arg(long, value_name = "BOOL", default_value = "false", default_missing_value = "true")]
    #[arg(num_args = 0..=1, require_equals = true, help_heading = STORAGE)]
    pub(super) auto_merge: Setting,

    /// Finish files without their bytes where the server has them already
    ///
    /// A client of the chunk flow that offers the digests of a file's chunks is asked to prove that
    /// it has one of them, which the server picks; then its upload is finished with the bytes that
    /// are held for the same owner. Without `owner-header` everybody is one owner: who has the
    /// digests of a file and that one chunk gets the file. It needs `--chunk-digest sha256`.
    #[arg(long, value_name = "BOOL", default_value = "false", default_missing_value = "true")]
    #[arg(num_args = 0..=1, require_equals = true, help_heading = STORAGE)]
    pub(super) instant: Setting,

    /// Name of a finished file
    ///
    /// Placeholders: {stem} and {ext} of the original name, {time} of finishing, {digest} and its
    /// first eight digits {digest8}, {id} of the upload. At least one of {time}, {digest},
    /// {digest8} and {id} is needed, to tell apart files that were sent under one name.
    #[arg(long, value_name = "TEMPLATE", default_value = "{stem}-{time}-{digest8}{ext}")]
    #[arg(help_heading = STORAGE)]
    pub(super) name_template: Setting,

    /// Largest file accepted
    #[arg(long, value_name = "SIZE", default_value = "none", help_heading = LIMITS)]
    pub(super) max_size: Setting,

    /// Most connections open at one time
    ///
    /// From 1 to 1000000. A further one takes the place of the one that was idle for the longest
    /// time; where none is, its request is answered 503 with Retry-After, and it is closed. As many
    /// open files are needed and some more: where the system allows fewer, the limit is lower,
    /// which is logged at the start.
    #[arg(long, value_name = "COUNT", default_value = "10000", help_heading = LIMITS)]
    pub(super) max_connections: Setting,

    /// Most uploads that bring bytes at the same time
    ///
    /// At least 1. Those that have begun go on; further ones wait a little, numbered chunks up to
    /// `queue-wait`, and are then answered 503 with Retry-After before their bytes are read. What
    /// brings no bytes is served all the same.
    #[arg(long, value_name = "COUNT", default_value = "2048", help_heading = LIMITS)]
    pub(super) max_uploads: Setting,

    /// Most chunks that one client address may send at the same time
    ///
    /// At least 1. Further ones wait for their turn in the order of their coming, while other
    /// addresses go on. Of IPv6 a network of 64 bits counts as one address. Uploads over tus and
    /// requests over HTTP/2 are not counted. A proxy in front has to be named in `behind-proxy`,
    /// or all its clients count as one.
    #[arg(long, value_name = "COUNT", default_value = "8", help_heading = LIMITS)]
    pub(super) max_uploads_per_ip: Setting,

    /// How long a chunk waits for its turn before it is refused
    ///
    /// The answer is then 429 with Retry-After, or 503 where it waited for `max-uploads`. Make it
    /// no shorter than `idle-timeout`: so long a connection that broke may hold its place.
    #[arg(long, value_name = "TIME", default_value = "30s", help_heading = LIMITS)]
    pub(super) queue_wait: Setting,

    /// Memory for the write buffers of all uploads together
    ///
    /// From 4MiB to 1TiB. When it is used up, uploads wait for each other instead of taking more.
    #[arg(long, value_name = "SIZE", default_value = "32MiB", help_heading = LIMITS)]
    pub(super) memory_budget: Setting,

    /// How long a client may send nothing before its request is ended
    ///
    /// What had arrived is kept; the client goes on from there.
    #[arg(long, value_name = "TIME", default_value = "30s", help_heading = LIMITS)]
    pub(super) idle_timeout: Setting,

    /// Fewest bytes that a client may send in a second, on average
    ///
    /// Measured over twice the idle timeout, of which only the time counts that the server waited
    /// for the client. A request that is slower is ended like one that is silent.
    #[arg(long, value_name = "SIZE", default_value = "64", help_heading = LIMITS)]
    pub(super) min_rate: Setting,
    /// Refuse to hand out finished files
    ///
    /// GET of an upload is then answered 405: files are fetched some other way.
    #[arg(long, value_name = "BOOL", default_value = "false", default_missing_value = "true")]
    #[arg(num_args = 0..=1, require_equals = true, help_heading = LIMITS)]
    pub(super) disable_download: Setting,

    /// Refuse to delete uploads that clients want to be rid of
    ///
    /// DELETE is then answered 405, in both protocols, and the tus extension is not announced.
    #[arg(long, value_name = "BOOL", default_value = "false", default_missing_value = "true")]
    #[arg(num_args = 0..=1, require_equals = true, help_heading = LIMITS)]
    pub(super) disable_termination: Setting,

    /// Show nobody what is counted under /metrics
    ///
    /// Without it whoever can reach the server can read there how much it does: bytes, uploads,
    /// connections.
    #[arg(long, value_name = "BOOL", default_value = "false", default_missing_value = "true")]
    #[arg(num_args = 0..=1, require_equals = true, help_heading = LIMITS)]
    pub(super) no_metrics: Setting,

    /// How long an unfinished upload is kept
    ///
    /// Counted anew with every byte that is stored.
    #[arg(long, value_name = "TIME", default_value = "24h", help_heading = LIFETIME)]
    pub(super) expire_after: Setting,

    /// How long a finished file is kept
    ///
    /// Counted from the moment it was finished; then it is removed. With `forever` it stays until
    /// it is deleted.
    #[arg(long, value_name = "TIME", default_value = "forever", help_heading = LIFETIME)]
    pub(super) keep_finished: Setting,

    /// How often expired uploads are looked for
    #[arg(long, value_name = "TIME", default_value = "30m", help_heading = LIFETIME)]
    pub(super) reap_every: Setting,

    /// What survives a power loss: none, complete or ack
    ///
    /// `none`: nothing is promised. `complete`: a file whose upload was answered as finished.
    /// `ack`: every byte that was acknowledged, at the price of a flush for each answer. A crash
    /// of the process alone loses nothing under any of them.
    #[arg(long, value_name = "PROMISE", default_value = "complete", help_heading = DURABILITY)]
    pub(super) durability: Setting,

    /// Read every chunk again and compare its digest before a file is made visible
    ///
    /// Without it, chunks that this process hashed while they arrived are trusted. It reads each
    /// finished file once more, and needs `--chunk-digest sha256`.
    #[arg(long, value_name = "BOOL", default_value = "false", default_missing_value = "true")]
    #[arg(num_args = 0..=1, require_equals = true, help_heading = DURABILITY)]
    pub(super) verify_on_merge: Setting,

    /// File to read options from
    ///
    /// A TOML file whose keys are the names of the options without their dashes in front.
    #[arg(short, long, value_name = "FILE", help_heading = PROCESS)]
    pub(super) config: Option<Setting>,

    /// How long a stop may take
    ///
    /// Uploads in flight are told to come back at once, and keep what they sent; downloads and
    /// merges may go on that long. With `0s` they are cut off.
    #[arg(long, value_name = "TIME", default_value = "10s", help_heading = PROCESS)]
    pub(super) shutdown_timeout: Setting,

    /// Form of the log on standard error: text or json
    #[arg(long, value_name = "FORMAT", default_value = "text", help_heading = PROCESS)]
    pub(super) log_format: Setting,

    /// What to log: off, error, warn, info, debug or trace
    ///
    /// A level, or a list that gives parts of the program levels of their own:
    /// `info,piton::merger=debug`.
    #[arg(long, value_name = "LEVEL", default_value = "info", help_heading = PROCESS)]
    pub(super) log_level: Setting,

    /// Break one rule, for the judge to notice
    #[cfg(feature = "mutants")]
    #[arg(long, value_name = "NAME", hide = true)]
    pub(super) mutant: Option<crate::mutants::Mutant>,

    /// List what `--mutant` can break, with the rows that have to notice
    #[cfg(feature = "mutants")]
    #[arg(long, value_name = "BOOL", default_missing_value = "true", hide = true)]
    #[arg(num_args = 0..=1, require_equals = true)]
    pub(super) list_mutants: Option<bool>,
}

const ADDRESS: &str = "Address";
const BROWSERS: &str = "Browsers";
const STORAGE: &str = "Storage";
const LIMITS: &str = "Limits";
const LIFETIME: &str = "Lifetime";
const DURABILITY: &str = "Durability";
const PROCESS: &str = "Process";

const AFTER_SHORT: &str = "`piton --help` says more on each option, and shows examples.";

const AFTER_LONG: &str = r#"Where a value comes from:
  The flag, else the environment variable, else the file, else the default. An empty variable
  counts as not set.

Values:
  Sizes are bytes, or a number with a unit: 8MiB = 8388608, 8MB = 8000000, 512k = 512000.
  Times need a unit: 30s, 24h, 1h30m, 7d.
  `none` switches off what has it as default, --max-uploads, --max-uploads-per-ip and --min-rate.
  A file may write a list as an array: allow-origin = ["https://a.example", "https://b.example"].

Exit codes:
  0 after a request to stop, 1 when serving failed, 2 for a mistake in the options.

Examples:
  Try it: files arrive in ./data/files
      piton

  Behind a proxy that speaks TLS, on a disk of its own
      piton --data-dir /srv/uploads --public-url https://up.example.org

  Files up to 20 GiB, three days to finish them, safe against power loss at every step
      piton --max-size 20GiB --expire-after 3d --durability ack

  From a file, with one value from the environment
      PITON_LISTEN=0.0.0.0:80 piton -c /etc/piton.toml

  /etc/piton.toml for that
      data-dir = "/srv/uploads"
      max-size = "20GiB"
      expire-after = "3d"
      max-connections = 2000
      verify-on-merge = true"#;
