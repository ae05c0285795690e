//! A resumable-upload server: tus 1.0.0 and numbered chunks over one verified, crash-safe store.
//!
//! *Two dialects name the bytes, one law says what they mean, three hands move them, two stores
//! keep them.* A request flows through the rooms from top to bottom, and each knows only what lies
//! below it:
//!
//! | room | what it is |
//! |---|---|
//! | [`config`] | what the operator said, checked |
//! | [`server`] | the socket: accept, limits, drain; puts the house together |
//! | [`service`] | the request: route → decode → run → encode; a hyper service |
//! | [`protocol`] | the dialects, free of IO: heads → commands, outcomes → answers |
//! | [`upload`] | the law, pure: layout, digests, phases, facts and the record they make |
//! | [`ingest`] | bytes in: create, append, put a chunk; looks and downloads out |
//! | [`hold`] | one upload in hand: its lock, its facts and its bytes, brought into agreement |
//! | [`merger`] | parts → finished file: check, absorb, publish |
//! | [`reaper`] | expired → gone; the only broom |
//! | [`audit`] | what lies on disk, and what is wrong with it; reads only |
//! | [`lock`] | one holder at a time, in this process and among processes; the newcomer wins |
//! | [`state`] | where facts live: one append-only ledger per upload |
//! | [`storage`] | where bytes live: parts, staging, finished files |
//! | [`blocking`], [`clock`], [`durable`] | the one door to disk, to time, to flushes |
//! | [`telemetry`] | the log |
//!
//! `ARCHITECTURE.md` tells why, `protocol-spec.md` what is answered.
//!
//! # Within a server of your own
//!
//! [`server::Server`] is the whole server. [`service::Service`] is the part that answers requests;
//! it mounts in whatever takes a hyper service, here over memory:
//!
//! ```
//! # use std::{sync::Arc, time::Duration};
//! # use tokio_util::{sync::CancellationToken, task::TaskTracker};
//! use piton::clock::{Clock, SystemClock};
//! use piton::{durable::Durability, lock, merger, protocol, state, storage, upload};
//! use piton::hold::{Contents, Hashing, HoldOptions, Holds};
//! use piton::ingest::{Ingest, IngestOptions};
//! use piton::service::{Finishing, Metrics, Pace, Service, ServiceOptions, TurnOptions};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let (second, day) = (Duration::from_secs(1), Duration::from_hours(24));
//! let (tasks, stop) = (TaskTracker::new(), CancellationToken::new());
//! let state = state::MemoryState::new(upload::IdSecret::new([7; 32]));
//! let storage = storage::MemoryStorage::new(|| SystemClock.now());
//! let locks = (lock::Locks::new(3 * second), Arc::new(lock::NoFileLocks) as Arc<_>);
//! let rules = HoldOptions {
//!     durability: Durability::None, epoch: 0, chunks_per_part: u64::MAX, expire_after: day,
//!     keep_finished: None, contents: Contents::Unnoted,
//! };
//! let (state, storage, clock) = (Arc::new(state), Arc::new(storage), Arc::new(SystemClock));
//! let holds = Arc::new(Holds::new(state, storage, locks, clock, rules));
//! let (template, verify) = (upload::NameTemplate::default(), merger::Verify::Trusted);
//! let rules = merger::MergeOptions {
//!     template, verify, join_wait: 2 * second, partials: merger::Partials::Keep,
//!     hashing: Hashing::Sha256, max_size: None,
//! };
//! let merger = Arc::new(merger::Merger::new(holds.clone(), rules, tasks.clone()));
//! let rules = IngestOptions {
//!     chunk_size: upload::ChunkSize::new(8 << 20)?, hashing: Hashing::Sha256,
//!     max_size: None, memory_budget: 32 << 20, writers_max: 64,
//! };
//! let ingest = Arc::new(Ingest::new(holds, merger, rules, stop.clone()));
//! let pace = Pace { idle_timeout: 30 * second, min_rate: None };
//! let (rules, links) = (protocol::tus::Rules::default(), protocol::Links::default());
//! let (cors, proxies) = (protocol::Cors::default(), protocol::Proxies::default());
//! let turns = TurnOptions { together: None, per_address: None, wait: 30 * second };
//! let (finishing, metrics) = (Finishing::OnRequest, Metrics::Hidden);
//! let (page, owner) = (protocol::Page::module(), protocol::OwnerHeader::default());
//! let options = ServiceOptions {
//!     rules, links, cors, proxies, owner, page, pace, finishing, turns, metrics,
//! };
//! let service = Service::new(ingest, options, tasks, stop);
//! # let post = http::Request::post("/files/");
//! # let post = post.header("Tus-Resumable", "1.0.0").header("Upload-Length", "11");
//! # let body = http_body_util::Empty::<bytes::Bytes>::new();
//! # let answer = hyper::service::Service::call(&service, post.body(body)?).await?;
//! # assert_eq!(answer.status(), 201);
//! # Ok(())
//! # }
//! ```

pub mod config;
pub mod server;

pub mod service;

pub mod protocol;
pub mod upload;

pub mod ingest;

pub mod hold;
pub mod merger;
pub mod reaper;

pub mod audit;

pub mod lock;
pub mod state;
pub mod storage;

pub mod blocking;
pub mod clock;
pub mod durable;
mod sync;
pub mod telemetry;

#[cfg(feature = "mutants")]
pub mod mutants;

#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
