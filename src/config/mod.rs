//! What the operator said: on the command line, in the environment, in a file.
//!
//! The road is one way. [`Command::parse`] takes what was typed, [`Config::load`] puts the layers
//! over each other (flag, then variable, then file, then default) and understands the result, and
//! from there on only [`Config`] counts: it holds plain values, all of them checked. A mistake is
//! a [`ConfigError`], before any port is bound.
//!
//! An option has one name. The flag `--chunk-size` is the variable `PITON_CHUNK_SIZE` and the key
//! `chunk-size`; the variable's name is derived, and a test compares the keys with the flags.
//! A new option is a field in `args`, `file` and [`Config`], and a `kind`.
//!
//! No other room reads the environment, and none below `server` sees [`Config`].

mod address;
mod args;
mod audit;
mod choice;
mod error;
mod file;
mod kind;
mod layers;
mod neighbours;
mod number;
mod setting;
mod template;
#[cfg(test)]
mod tests;

use std::net::SocketAddr;
use std::num::{NonZeroU64, NonZeroUsize};
use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;

pub use args::{Command, Options};
pub use audit::{InspectArgs, Place, PlaceArgs, VerifyArgs};
pub use choice::{ChunkDigest, Durability, LogFormat};
pub use error::ConfigError;
pub use neighbours::AllowOrigin;

use file::FileOptions;
use layers::{Layers, Lookup, from_variable};

/// Everything the operator decides, checked.
///
/// A caller that mounts the server by itself can begin with [`Config::default`] and change fields;
/// the ranges given here are then its own affair.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(clippy::struct_excessive_bools, reason = "each is a switch of its own")]
pub struct Config {
    /// Where to listen; port 0 takes any free one.
    pub listen: SocketAddr,
    /// Begins and ends with `/`, for example `/files/`; collides with no other route.
    pub base_path: String,
    /// Absolute http(s) URL to put before `base_path`, without a `/` at its end; `None` means
    /// that clients are given paths.
    pub public_url: Option<String>,
    /// What to speak TLS with; `None` is cleartext.
    pub tls: Option<TlsFiles>,
    /// Proxies whose word about a client is taken; empty for nobody's.
    pub behind_proxy: Vec<IpNet>,
    /// The header, in lower case, in which those proxies name the owner of a request; `None` where
    /// nobody is told apart. Implies that `behind_proxy` is not empty.
    pub owner_header: Option<String>,
    /// Whose pages may read answers.
    pub allow_origin: AllowOrigin,
    /// Whether those pages may send cookies along. Implies that `allow_origin` is not `Any`.
    pub cors_credentials: bool,
    /// Whether no page is served at `/`.
    pub no_page: bool,
    /// The folder that holds everything; need not exist yet.
    pub data_dir: PathBuf,
    /// Bytes: a multiple of 4 KiB, from 4 KiB to 2 GiB.
    pub chunk_size: NonZeroU64,
    /// Digest of every chunk.
    pub chunk_digest: ChunkDigest,
    /// Most chunks in one part file; `None` is without limit.
    pub chunks_per_part: Option<NonZeroU64>,
    /// Whether partial uploads go once a final upload has their bytes.
    pub consume_partials: bool,
    /// Whether uploads of index clients are finished without being asked for.
    pub auto_merge: bool,
    /// Whether files that are there already are finished without being sent. Implies that
    /// `chunk_digest` is not `None`.
    pub instant: bool,
    /// Name of a finished file: literal text and the placeholders `{stem}`, `{ext}`, `{time}`,
    /// `{digest}`, `{digest8}` and `{id}`, at least one of the last four; braces are balanced.
    pub name_template: String,
    /// Bytes in the largest file accepted, from 1 to 2^63 - 1; `None` is without limit.
    pub max_size: Option<u64>,
    /// Most open connections, up to 1,000,000.
    pub max_connections: NonZeroUsize,
    /// Most bodies of uploads that are received at the same time, or `None` for no limit.
    pub max_uploads: Option<NonZeroUsize>,
    /// Most chunks that one client address may send at the same time, or `None` for no limit.
    pub max_uploads_per_ip: Option<NonZeroUsize>,
    /// How long a chunk waits for its turn; 0 to ten years.
    pub queue_wait: Duration,
    /// Bytes of write buffers in the whole process, from 4 MiB to 1 TiB.
    pub memory_budget: u64,
    /// How long a client may be silent within a request; from 1 ms to ten years.
    pub idle_timeout: Duration,
    /// Bytes a second that a client has to send within a request, on average over twice
    /// `idle_timeout`; `None` is without limit.
    pub min_rate: Option<NonZeroU64>,
    /// Whether GET of an upload is refused.
    pub disable_download: bool,
    /// Whether DELETE is refused, in both protocols.
    pub disable_termination: bool,
    /// Whether `/metrics` is not shown.
    pub no_metrics: bool,
    /// How long an unfinished upload is kept; from 1 ms to ten years.
    pub expire_after: Duration,
    /// How long a finished file is kept; from 1 ms to ten years, or `None` for ever.
    pub keep_finished: Option<Duration>,
    /// Pause between two looks for expired uploads; from 1 ms to ten years.
    pub reap_every: Duration,
    /// What survives a power loss.
    pub durability: Durability,
    /// Whether trusted chunks are read and hashed again before publishing too. Implies that
    /// `chunk_digest` is not `None`.
    pub verify_on_merge: bool,
    /// How long requests may go on after a request to stop; 0 to ten years.
    pub shutdown_timeout: Duration,
    /// Form of the log.
    pub log_format: LogFormat,
    /// What to log: a list of levels that `EnvFilter` accepts.
    pub log_level: String,
    /// Which rule is broken, for the judge to notice.
    #[cfg(feature = "mutants")]
    pub mutant: Option<crate::mutants::Mutant>,
}

/// A certificate and its key, both in PEM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFiles {
    /// The server's own certificate, then the chain.
    pub cert: PathBuf,
    /// The private key of the first certificate.
    pub key: PathBuf,
}

impl TlsFiles {
    fn pair(cert: Option<PathBuf>, key: Option<PathBuf>) -> Result<Option<Self>, ConfigError> {
        match (cert, key) {
            (Some(cert), Some(key)) => Ok(Some(Self { cert, key })),
            (None, None) => Ok(None),
            (Some(_), None) => {
                Err(ConfigError::HalfOfTls { given: "tls-cert", missing: "tls-key" })
            }
            (None, Some(_)) => {
                Err(ConfigError::HalfOfTls { given: "tls-key", missing: "tls-cert" })
            }
        }
    }
}

impl Config {
    /// Resolves what was typed with the environment, the file it names and the defaults.
    ///
    /// Reads the environment and at most one file; creates and binds nothing.
    pub fn load(options: Options) -> Result<Self, ConfigError> {
        Self::resolve(options, &|name| std::env::var_os(name))
    }

    fn resolve(mut options: Options, lookup: Lookup<'_>) -> Result<Self, ConfigError> {
        let path = options.config.take().or_else(|| from_variable("config", lookup));
        let (source, file) = file::load(path)?;
        Self::read(options, file, &Layers { lookup, source })
    }

    fn read(typed: Options, file: FileOptions, from: &Layers<'_>) -> Result<Self, ConfigError> {
        // One line for each option, which is all that there is to say.
        macro_rules! read {
            ($option:ident, $kind:ident) => {
                from.read(typed.$option, file.$option, &kind::$kind)?
            };
            ($option:ident list, $kind:ident) => {
                from.read(typed.$option, file.$option.joined(), &kind::$kind)?
            };
        }
        let config = Self {
            listen: read!(listen, LISTEN),
            base_path: read!(base_path, BASE_PATH),
            public_url: read!(public_url, PUBLIC_URL),
            tls: TlsFiles::pair(
                from.read_path_unless_none(typed.tls_cert, file.tls_cert, "server.pem")?,
                from.read_path_unless_none(typed.tls_key, file.tls_key, "server.key")?,
            )?,
            behind_proxy: read!(behind_proxy list, PROXIES),
            owner_header: read!(owner_header, OWNER_HEADER),
            allow_origin: read!(allow_origin list, ALLOW_ORIGIN),
            cors_credentials: read!(cors_credentials, CORS_CREDENTIALS),
            no_page: read!(no_page, NO_PAGE),
            data_dir: from.read_path(typed.data_dir, file.data_dir, "./data")?,
            chunk_size: read!(chunk_size, CHUNK_SIZE),
            chunk_digest: read!(chunk_digest, CHUNK_DIGEST),
            chunks_per_part: read!(chunks_per_part, CHUNKS_PER_PART),
            consume_partials: read!(consume_partials, CONSUME_PARTIALS),
            auto_merge: read!(auto_merge, AUTO_MERGE),
            instant: read!(instant, INSTANT),
            name_template: read!(name_template, NAME_TEMPLATE),
            max_size: read!(max_size, MAX_SIZE),
            max_connections: read!(max_connections, MAX_CONNECTIONS),
            max_uploads: read!(max_uploads, MAX_UPLOADS),
            max_uploads_per_ip: read!(max_uploads_per_ip, MAX_UPLOADS_PER_IP),
            queue_wait: read!(queue_wait, QUEUE_WAIT),
            memory_budget: read!(memory_budget, MEMORY_BUDGET),
            idle_timeout: read!(idle_timeout, IDLE_TIMEOUT),
            min_rate: read!(min_rate, MIN_RATE),
            disable_download: read!(disable_download, DISABLE_DOWNLOAD),
            disable_termination: read!(disable_termination, DISABLE_TERMINATION),
            no_metrics: read!(no_metrics, NO_METRICS),
            expire_after: read!(expire_after, EXPIRE_AFTER),
            keep_finished: read!(keep_finished, KEEP_FINISHED),
            reap_every: read!(reap_every, REAP_EVERY),
            durability: read!(durability, DURABILITY),
            verify_on_merge: read!(verify_on_merge, VERIFY_ON_MERGE),
            shutdown_timeout: read!(shutdown_timeout, SHUTDOWN_TIMEOUT),
            log_format: read!(log_format, LOG_FORMAT),
            log_level: read!(log_level, LOG_LEVEL),
            #[cfg(feature = "mutants")]
            mutant: typed.mutant,
        };
        config.consistent()
    }

    /// Refuses values that are right alone and contradict each other.
    fn consistent(self) -> Result<Self, ConfigError> {
        if self.verify_on_merge && self.chunk_digest == ChunkDigest::None {
            return Err(ConfigError::NothingToVerify);
        }
        if self.durability == Durability::Ack && self.chunk_digest == ChunkDigest::None {
            return Err(ConfigError::NothingToProve);
        }
        if self.instant && self.chunk_digest == ChunkDigest::None {
            return Err(ConfigError::NothingToRecognise);
        }
        if self.owner_header.is_some() && self.behind_proxy.is_empty() {
            return Err(ConfigError::OwnerByNobody);
        }
        if self.cors_credentials && self.allow_origin == AllowOrigin::Any {
            return Err(ConfigError::CredentialsForAnybody);
        }
        Ok(self)
    }
}

/// What `piton` alone runs with, whatever the environment says.
impl Default for Config {
    fn default() -> Self {
        let Ok(Command::Serve(options)) = Command::parse(["piton"]) else {
            unreachable!("no option has to be typed, as a test shows")
        };
        Self::resolve(*options, &|_| None).expect("every default is valid, as a test shows")
    }
}
