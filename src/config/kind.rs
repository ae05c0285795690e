//! What each option takes: how its text is read, and an example to show whoever wrote a wrong one.

use std::net::SocketAddr;
use std::num::{NonZeroU64, NonZeroUsize};
use std::time::Duration;

use ipnet::IpNet;

use super::address::{base_path, public_url, socket_address};
use super::choice::{ChunkDigest, Durability, LogFormat, choice, log_level, truth};
use super::neighbours::{AllowOrigin, allow_origin, header_name, proxies};
use super::number::{GIB, KIB, MIB, TIB, count, duration, nonzero, nonzero_duration, size};
use super::template::name_template;

/// A way to read text as a `T`.
///
/// The error of `parse` is the end of a sentence that begins with the text.
#[derive(Debug)]
pub(super) struct Kind<T> {
    pub(super) example: &'static str,
    pub(super) parse: fn(&str) -> Result<T, String>,
}

pub(super) const LISTEN: Kind<SocketAddr> =
    Kind { example: "127.0.0.1:8080", parse: socket_address };

pub(super) const BASE_PATH: Kind<String> = Kind { example: "/files/", parse: base_path };

pub(super) const PUBLIC_URL: Kind<Option<String>> =
    Kind { example: "https://up.example.org", parse: |text| unless_none(text, public_url) };

pub(super) const PROXIES: Kind<Vec<IpNet>> = Kind { example: "loopback", parse: proxies };

/// The one value that goes with every other option.
pub(super) const OWNER_HEADER: Kind<Option<String>> =
    Kind { example: "none", parse: |text| unless_none(text, header_name) };

pub(super) const ALLOW_ORIGIN: Kind<AllowOrigin> =
    Kind { example: "https://app.example.org", parse: allow_origin };

/// The one value that goes with every other option.
pub(super) const CORS_CREDENTIALS: Kind<bool> = Kind { example: "false", parse: truth };

/// The layout addresses a chunk in memory pages, and a chunk has to fit a 32-bit length.
pub(super) const CHUNK_SIZE: Kind<NonZeroU64> = Kind {
    example: "8MiB",
    parse: |text| match size(text, 4 * KIB, 2 * GIB)? {
        bytes if bytes.is_multiple_of(4 * KIB) => nonzero(bytes),
        _ => Err("is not a multiple of 4KiB".to_owned()),
    },
};

pub(super) const CHUNK_DIGEST: Kind<ChunkDigest> = Kind {
    example: "sha256",
    parse: |text| choice(text, &[("sha256", ChunkDigest::Sha256), ("none", ChunkDigest::None)]),
};

pub(super) const CHUNKS_PER_PART: Kind<Option<NonZeroU64>> =
    Kind { example: "1", parse: |text| unless_none(text, |text| nonzero(count(text, u64::MAX)?)) };

pub(super) const CONSUME_PARTIALS: Kind<bool> = Kind { example: "true", parse: truth };

pub(super) const AUTO_MERGE: Kind<bool> = Kind { example: "true", parse: truth };

pub(super) const INSTANT: Kind<bool> = Kind { example: "true", parse: truth };

pub(super) const NAME_TEMPLATE: Kind<String> =
    Kind { example: "{stem}-{time}-{digest8}{ext}", parse: name_template };

/// Offsets in a file are signed numbers to the system, which is where the upper end comes from.
pub(super) const MAX_SIZE: Kind<Option<u64>> = Kind {
    example: "10GiB",
    parse: |text| unless_none(text, |text| size(text, 1, i64::MAX.unsigned_abs())),
};

pub(super) const MAX_CONNECTIONS: Kind<NonZeroUsize> = Kind { example: "10000", parse: places };

pub(super) const MAX_UPLOADS: Kind<Option<NonZeroUsize>> =
    Kind { example: "2048", parse: |text| unless_none(text, places) };

pub(super) const MAX_UPLOADS_PER_IP: Kind<Option<NonZeroUsize>> =
    Kind { example: "8", parse: |text| unless_none(text, places) };

pub(super) const QUEUE_WAIT: Kind<Duration> = Kind { example: "30s", parse: duration };

pub(super) const MEMORY_BUDGET: Kind<u64> =
    Kind { example: "32MiB", parse: |text| size(text, 4 * MIB, TIB) };

pub(super) const IDLE_TIMEOUT: Kind<Duration> = Kind { example: "30s", parse: nonzero_duration };

pub(super) const MIN_RATE: Kind<Option<NonZeroU64>> =
    Kind { example: "64", parse: |text| unless_none(text, |text| nonzero(size(text, 1, GIB)?)) };
pub(super) const NO_PAGE: Kind<bool> = Kind { example: "true", parse: truth };

pub(super) const DISABLE_DOWNLOAD: Kind<bool> = Kind { example: "true", parse: truth };

pub(super) const NO_METRICS: Kind<bool> = Kind { example: "true", parse: truth };

pub(super) const EXPIRE_AFTER: Kind<Duration> = Kind { example: "24h", parse: nonzero_duration };

pub(super) const KEEP_FINISHED: Kind<Option<Duration>> = Kind {
    example: "90d",
    parse: |text| {
        if text == "forever" { Ok(None) } else { nonzero_duration(text).map(Some) }
    },
};

pub(super) const REAP_EVERY: Kind<Duration> = Kind { example: "30m", parse: nonzero_duration };

pub(super) const DURABILITY: Kind<Durability> = Kind {
    example: "complete",
    parse: |text| {
        let promises = [
            ("none", Durability::None),
            ("complete", Durability::Complete),
            ("ack", Durability::Ack),
        ];
        choice(text, &promises)
    },
};

pub(super) const DISABLE_TERMINATION: Kind<bool> = Kind { example: "true", parse: truth };

pub(super) const VERIFY_ON_MERGE: Kind<bool> = Kind { example: "true", parse: truth };

pub(super) const SHUTDOWN_TIMEOUT: Kind<Duration> = Kind { example: "10s", parse: duration };

pub(super) const LOG_FORMAT: Kind<LogFormat> = Kind {
    example: "json",
    parse: |text| choice(text, &[("text", LogFormat::Text), ("json", LogFormat::Json)]),
};

pub(super) const LOG_LEVEL: Kind<String> = Kind { example: "info", parse: log_level };

fn places(text: &str) -> Result<NonZeroUsize, String> {
    let places = usize::try_from(count(text, 1_000_000)?);
    places.ok().and_then(NonZeroUsize::new).ok_or_else(|| "is too large".to_owned())
}

fn unless_none<T>(
    text: &str,
    parse: impl FnOnce(&str) -> Result<T, String>,
) -> Result<Option<T>, String> {
    if text == "none" { Ok(None) } else { parse(text).map(Some) }
}
