//! What is counted, under which names: the only list of metrics. Labels take a few fixed words
//! each, so that no client can make the page grow.

use std::{
    fmt,
    sync::{Arc, atomic::AtomicU64},
    time::Duration,
};

use http::{Method, StatusCode};
use prometheus_client::{
    encoding::{EncodeLabelSet, EncodeLabelValue, LabelValueEncoder, text},
    metrics::{
        counter::Counter,
        family::Family,
        gauge::Gauge,
        histogram::{Histogram, exponential_buckets},
    },
    registry::{Registry, Unit},
};

use super::sparingly::Sparingly;

/// The media type of [`Meter::page`] (`OpenMetrics` 1.0, which Prometheus reads).
pub const MEDIA_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Counts. Clones count together.
#[derive(Clone)]
pub struct Meter(Arc<Inner>);

struct Inner {
    registry: Registry,
    requests: Family<Request, Counter>,
    received: Counter,
    uploads: Family<Turned, Counter>,
    merges: Family<Outcome, Histogram>,
    connections: Gauge,
    refused: Family<Beyond, Counter>,
    surplus: [Sparingly; 2],
    buffers: Gauge<u64, AtomicU64>,
    buffers_max: Gauge<u64, AtomicU64>,
    waiting: Gauge<u64, AtomicU64>,
}

/// Who asked for what, and what came of it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Request {
    dialect: Spoken,
    method: Asked,
    status: Class,
}

/// Which dialect a request speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Spoken {
    /// tus.
    Tus,
    /// The chunk flow.
    Chunks,
    /// None of them: a look at the server's health, a path that is not ours.
    Other,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Asked {
    Get,
    Head,
    Post,
    Put,
    Patch,
    Delete,
    Options,
    Other,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Class {
    Success,
    Redirection,
    ClientError,
    ServerError,
    /// No answer: the client left or stalled.
    None,
}

/// What became of uploads.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Turned {
    event: Event,
}

/// What becomes of an upload.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Event {
    /// A client began it.
    Begun,
    /// Its file is visible.
    Finished,
    /// Its time was over before that.
    Expired,
    /// Its file was here already, and became visible without being sent.
    Instant,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Outcome {
    outcome: MergeEnd,
}

/// How a merge ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum MergeEnd {
    /// With a file.
    Merged,
    /// Without one: chunks are missing, a digest differs, the disk failed.
    Refused,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Beyond {
    surplus: Surplus,
}

/// What came beyond a limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Surplus {
    /// `--max-connections`.
    Connection,
    /// `--max-uploads`.
    Upload,
}

/// What is not counted but read when somebody looks.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Readings {
    /// Write buffers in use.
    pub buffers: u64,
    /// Write buffers that there may be.
    pub buffers_max: u64,
    /// Requests that wait for their turn.
    pub waiting: u64,
}

/// An open connection, until it is dropped.
#[derive(Debug)]
pub struct OpenConnection(Meter);

impl Default for Meter {
    fn default() -> Self {
        let mut inner = Inner {
            registry: Registry::with_prefix("piton"),
            requests: Family::default(),
            received: Counter::default(),
            uploads: Family::default(),
            merges: Family::new_with_constructor(|| {
                // From a millisecond to about half a minute.
                Histogram::new(exponential_buckets(0.001, 2.0, 16))
            }),
            connections: Gauge::default(),
            refused: Family::default(),
            surplus: Default::default(),
            buffers: Gauge::default(),
            buffers_max: Gauge::default(),
            waiting: Gauge::default(),
        };
        inner.name_all();
        Self(Arc::new(inner))
    }
}

impl Inner {
    fn name_all(&mut self) {
        let registry = &mut self.registry;
        let help = "Requests by dialect, method and class of status";
        registry.register("requests", help, self.requests.clone());
        let help = "Bytes of request bodies that were read";
        registry.register_with_unit("received", help, Unit::Bytes, self.received.clone());
        let help = "Uploads that were begun, that became files, that expired, that were not sent";
        registry.register("uploads", help, self.uploads.clone());
        let help = "Merges of numbered chunks, and how long they took";
        registry.register_with_unit("merge", help, Unit::Seconds, self.merges.clone());
        let help = "Connections that are open";
        registry.register("connections", help, self.connections.clone());
        let help = "Connections and uploads that were refused with 503";
        registry.register("refused", help, self.refused.clone());
        let help = "Write buffers in use";
        registry.register("buffers", help, self.buffers.clone());
        let help = "Write buffers that there may be (--memory-budget)";
        registry.register("buffers_max", help, self.buffers_max.clone());
        let help = "Chunks that wait for their turn (--max-uploads-per-ip)";
        registry.register("queue_length", help, self.waiting.clone());
    }
}

impl Meter {
    /// A request is over; without a status it was broken off.
    pub fn request(&self, dialect: Spoken, method: &Method, status: Option<StatusCode>) {
        let request = Request { dialect, method: method.into(), status: status.into() };
        self.0.requests.get_or_create(&request).inc();
    }

    /// Bytes of a body came.
    pub fn received(&self, bytes: u64) {
        self.0.received.inc_by(bytes);
    }

    /// Something became of an upload.
    pub fn upload(&self, event: Event) {
        self.0.uploads.get_or_create(&Turned { event }).inc();
    }

    /// A merge ended.
    pub fn merge(&self, outcome: MergeEnd, took: Duration) {
        self.0.merges.get_or_create(&Outcome { outcome }).observe(took.as_secs_f64());
    }

    /// Somebody came beyond a limit, and was told so.
    pub fn refused(&self, surplus: Surplus) {
        self.0.refused.get_or_create(&Beyond { surplus }).inc();
        let [connections, uploads] = &self.0.surplus;
        match surplus {
            Surplus::Connection => {
                connections.warn("refused with 503: more connections than --max-connections");
            }
            Surplus::Upload => {
                uploads.warn("refused with 503: more uploads at once than --max-uploads");
            }
        }
    }

    /// A connection was opened.
    #[must_use]
    pub fn connection(&self) -> OpenConnection {
        self.0.connections.inc();
        OpenConnection(self.clone())
    }

    /// All of it as text, of [`MEDIA_TYPE`].
    pub fn page(&self, now: Readings) -> String {
        self.0.buffers.set(now.buffers);
        self.0.buffers_max.set(now.buffers_max);
        self.0.waiting.set(now.waiting);
        let mut page = String::new();
        text::encode(&mut page, &self.0.registry).expect("writing to a String does not fail");
        page
    }
}

impl Drop for OpenConnection {
    fn drop(&mut self) {
        self.0.0.connections.dec();
    }
}

/// The word that stands for each value of a label.
macro_rules! words {
    ($label:ident: $($value:ident $word:literal),+) => {
        impl EncodeLabelValue for $label {
            fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> fmt::Result {
                let word = match self {
                    $(Self::$value => $word),+
                };
                word.encode(encoder)
            }
        }
    };
}

words!(Spoken: Tus "tus", Chunks "chunks", Other "other");
words!(Asked: Get "GET", Head "HEAD", Post "POST", Put "PUT", Patch "PATCH", Delete "DELETE",
    Options "OPTIONS", Other "other");
words!(Class: Success "2xx", Redirection "3xx", ClientError "4xx", ServerError "5xx", None "none");
words!(Event: Begun "begun", Finished "finished", Expired "expired",
    Instant "instant");
words!(Surplus: Connection "connection", Upload "upload");
words!(MergeEnd: Merged "merged", Refused "refused");

impl From<&Method> for Asked {
    fn from(method: &Method) -> Self {
        match method.as_str() {
            "GET" => Self::Get,
            "HEAD" => Self::Head,
            "POST" => Self::Post,
            "PUT" => Self::Put,
            "PATCH" => Self::Patch,
            "DELETE" => Self::Delete,
            "OPTIONS" => Self::Options,
            _ => Self::Other,
        }
    }
}

impl From<Option<StatusCode>> for Class {
    fn from(status: Option<StatusCode>) -> Self {
        match status {
            None => Self::None,
            Some(status) if status.is_server_error() => Self::ServerError,
            Some(status) if status.is_client_error() => Self::ClientError,
            Some(status) if status.is_redirection() => Self::Redirection,
            Some(_) => Self::Success,
        }
    }
}

impl fmt::Debug for Meter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Meter").finish_non_exhaustive()
    }
}
