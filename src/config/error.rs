//! Why there is no configuration. Each message says what, where, and how to mend it.

use std::io;
use std::path::PathBuf;

/// A mistake of the operator's, found before any port is bound; the program exits with code 2.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// A value that its option does not take.
    #[error("{place}: {text:?} {reason}; write for example {example}")]
    Value {
        /// The flag, the variable, or the file, line and key.
        place: String,
        /// The value as it was given.
        text: String,
        /// What is wrong with it: the end of a sentence that begins with the value.
        reason: String,
        /// A whole flag, variable or line that would be right in this place.
        example: String,
    },
    /// Digests are to be compared that were never taken.
    #[error(
        "verify-on-merge is true while chunk-digest is none, which leaves nothing to verify; \
         write --chunk-digest=sha256 or --verify-on-merge=false"
    )]
    NothingToVerify,
    /// Bytes are to be proven after a power loss, and nothing was taken to prove them by.
    #[error(
        "durability is ack while chunk-digest is none, which leaves nothing to tell acknowledged \
         bytes by after a power loss; write --chunk-digest=sha256 or --durability=complete"
    )]
    NothingToProve,
    /// Files are to be recognised by digests that are never taken.
    #[error(
        "instant is true while chunk-digest is none, which leaves nothing to recognise a file by; \
         write --chunk-digest=sha256 or --instant=false"
    )]
    NothingToRecognise,
    /// A header would tell owners that nobody is believed to write.
    #[error(
        "owner-header is set while behind-proxy is none, so that nobody's word is taken for it; \
         write for example --behind-proxy=loopback, or --owner-header=none"
    )]
    OwnerByNobody,
    /// Every page in the world would act with its visitors' cookies.
    #[error(
        "cors-credentials is true while allow-origin is *, which no browser accepts; \
         write --allow-origin=https://app.example.org or --cors-credentials=false"
    )]
    CredentialsForAnybody,
    /// A certificate without its key, or a key without its certificate.
    #[error(
        "{given} is set while {missing} is none; write both, as in \
         --tls-cert=server.pem --tls-key=server.key, or neither"
    )]
    HalfOfTls {
        /// The option that is there.
        given: &'static str,
        /// The one that is not.
        missing: &'static str,
    },
    /// The file of options cannot be read.
    #[error(
        "{place}: cannot read {}: {error}; name a file that exists and may be read",
        path.display()
    )]
    Unreadable {
        /// The flag or variable that names the file.
        place: String,
        /// The file.
        path: PathBuf,
        /// What the system said.
        error: io::Error,
    },
    /// The file of options is not TOML, or has a key that no option answers to.
    #[error("{}:{line}: {}", path.display(), reason.trim_end().replace('\n', "; "))]
    Syntax {
        /// The file.
        path: PathBuf,
        /// Counted from 1.
        line: usize,
        /// What is wrong, and what was expected instead.
        reason: String,
    },
}
