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
mod choice;
mod error;
mod file;
mod kind;
mod layers;
mod number;
mod setting;
mod template;
#[cfg(test)]
mod tests;

use std::net::SocketAddr;
use std::num::{NonZeroU64, NonZeroUsize};
use std::path::PathBuf;
use std::time::Duration;

pub use args::{Command, Options};
pub use choice::{ChunkDigest, Durability, LogFormat};
pub use error::ConfigError;

use file::FileOptions;
use layers::{Layers, Lookup, from_variable};

/// Everything the operator decides, checked.
///
/// A caller that mounts the server by itself can begin with [`Config::default`] and change fields;
/// the ranges given here are then its own affair.
#[derive(Clone, Debug, PartialEq, Eq)]
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
    /// The folder that holds everything; need not exist yet.
    pub data_dir: PathBuf,
    /// Bytes: a multiple of 4 KiB, from 4 KiB to 2 GiB.
    pub chunk_size: NonZeroU64,
    /// Digest of every chunk.
    pub chunk_digest: ChunkDigest,
    /// Most chunks in one part file; `None` is without limit.
    pub chunks_per_part: Option<NonZeroU64>,
    /// Name of a finished file: literal text and the placeholders `{stem}`, `{ext}`, `{time}`,
    /// `{digest}`, `{digest8}` and `{id}`, at least one of the last four; braces are balanced.
    pub name_template: String,
    /// Bytes in the largest file accepted, from 1 to 2^63 - 1; `None` is without limit.
    pub max_size: Option<u64>,
    /// Most open connections, up to 1,000,000.
    pub max_connections: NonZeroUsize,
    /// Bytes of write buffers in the whole process, from 4 MiB to 1 TiB.
    pub memory_budget: u64,
    /// How long a client may be silent within a request; from 1 ms to ten years.
    pub idle_timeout: Duration,
    /// Bytes a second that a client has to send within a request, on average over twice
    /// `idle_timeout`; `None` is without limit.
    pub min_rate: Option<NonZeroU64>,
    /// How long an unfinished upload is kept; from 1 ms to ten years.
    pub expire_after: Duration,
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
        let config = Self {
            listen: from.read(typed.listen, file.listen, &kind::LISTEN)?,
            base_path: from.read(typed.base_path, file.base_path, &kind::BASE_PATH)?,
            public_url: from.read(typed.public_url, file.public_url, &kind::PUBLIC_URL)?,
            tls: TlsFiles::pair(
                from.read_path_unless_none(typed.tls_cert, file.tls_cert, "server.pem")?,
                from.read_path_unless_none(typed.tls_key, file.tls_key, "server.key")?,
            )?,
            data_dir: from.read_path(typed.data_dir, file.data_dir, "./data")?,
            chunk_size: from.read(typed.chunk_size, file.chunk_size, &kind::CHUNK_SIZE)?,
            chunk_digest: from.read(typed.chunk_digest, file.chunk_digest, &kind::CHUNK_DIGEST)?,
            chunks_per_part: from.read(
                typed.chunks_per_part,
                file.chunks_per_part,
                &kind::CHUNKS_PER_PART,
            )?,
            name_template: from.read(
                typed.name_template,
                file.name_template,
                &kind::NAME_TEMPLATE,
            )?,
            max_size: from.read(typed.max_size, file.max_size, &kind::MAX_SIZE)?,
            max_connections: from.read(
                typed.max_connections,
                file.max_connections,
                &kind::MAX_CONNECTIONS,
            )?,
            memory_budget: from.read(
                typed.memory_budget,
                file.memory_budget,
                &kind::MEMORY_BUDGET,
            )?,
            idle_timeout: from.read(typed.idle_timeout, file.idle_timeout, &kind::IDLE_TIMEOUT)?,
            min_rate: from.read(typed.min_rate, file.min_rate, &kind::MIN_RATE)?,
            expire_after: from.read(typed.expire_after, file.expire_after, &kind::EXPIRE_AFTER)?,
            reap_every: from.read(typed.reap_every, file.reap_every, &kind::REAP_EVERY)?,
            durability: from.read(typed.durability, file.durability, &kind::DURABILITY)?,
            verify_on_merge: from.read(
                typed.verify_on_merge,
                file.verify_on_merge,
                &kind::VERIFY_ON_MERGE,
            )?,
            shutdown_timeout: from.read(
                typed.shutdown_timeout,
                file.shutdown_timeout,
                &kind::SHUTDOWN_TIMEOUT,
            )?,
            log_format: from.read(typed.log_format, file.log_format, &kind::LOG_FORMAT)?,
            log_level: from.read(typed.log_level, file.log_level, &kind::LOG_LEVEL)?,
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
        Ok(self)
    }
}

/// What `piton` alone runs with, whatever the environment says.
impl Default for Config {
    fn default() -> Self {
        let Command::Serve(options) =
            Command::parse(["piton"]).expect("no option has to be typed, as a test shows");
        Self::resolve(*options, &|_| None).expect("every default is valid, as a test shows")
    }
}
