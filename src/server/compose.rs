//! The composition root: configuration → rooms with their adapters.

use std::{
    fmt::Display,
    fs::File,
    io,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use http::header::InvalidHeaderName;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{Front, StartError};
use crate::{
    blocking,
    clock::SystemClock,
    config::{self, Config},
    durable::Durability,
    hold::{Contents, Hashing, HoldOptions, Holds},
    ingest::{Ingest, IngestOptions},
    lock::{LedgerLocks, LedgerPath, Locks, ProcessLocks},
    merger::{MergeOptions, Merger, Partials, Verify},
    protocol::{Cors, Links, OriginPattern, OwnerHeader, Page, Proxies, tus::Rules},
    reaper::{Reaper, ReaperOptions, Unasked},
    service::{Finishing, Metrics, Pace, Service, ServiceOptions, TurnOptions},
    state::{
        LocalState,
        local::{TrustMark, ledger_path},
    },
    storage::{LocalStorage, Storage},
    upload::{ChunkSize, Length, NameTemplate, UploadId},
};

/// How long a newcomer waits for an upload's holder before it is told to come back.
const PATIENCE: Duration = Duration::from_secs(3);
/// How long a merge request waits for a running merge before it is told to come back.
const JOIN_WAIT: Duration = Duration::from_secs(2);
/// How long an expired upload is remembered.
const REMEMBER: Duration = Duration::from_hours(24);
/// Threads that write at the same time; tokio's blocking pool has 512, and looking things up needs
/// some too.
const WRITERS_MAX: usize = 384;

/// All rooms of one server.
#[derive(Debug)]
pub(super) struct House {
    pub(super) service: Front,
    pub(super) holds: Arc<Holds>,
    pub(super) tasks: TaskTracker,
    /// Cancelled when the process is about to stop.
    pub(super) stop: CancellationToken,
    pub(super) merger: Arc<Merger>,
    reap: ReaperOptions,
    mark: TrustMark,
}

/// Ledgers of a local state.
#[derive(Debug)]
struct Ledgers(PathBuf, Arc<LocalState>);

impl LedgerPath for Ledgers {
    fn path(&self, id: &UploadId) -> PathBuf {
        ledger_path(&self.0, id)
    }

    fn at_hand(&self, id: &UploadId) -> Option<Arc<File>> {
        self.1.at_hand(id)
    }
}

impl House {
    pub(super) async fn build(config: &Config) -> Result<Self, StartError> {
        let options = Options::read(config)?;
        let data_dir = config.data_dir.clone();
        let opened = blocking::run(move || open(&data_dir)).await;
        let (state, storage, mark, ledgers) = opened.map_err(|error| StartError::DataDir {
            path: config.data_dir.display().to_string(),
            error,
        })?;
        let (stop, tasks) = (CancellationToken::new(), TaskTracker::new());
        let hold = HoldOptions { epoch: mark.epoch(), ..options.hold };
        let files: Arc<dyn ProcessLocks> = Arc::new(LedgerLocks::new(ledgers));
        let locks = (Locks::new(PATIENCE), files);
        let storage: Arc<dyn Storage> = Arc::new(storage);
        #[cfg(feature = "mutants")]
        let storage = crate::mutants::Mutant::behind(config.mutant, storage);
        let holds = Arc::new(Holds::new(state, storage, locks, Arc::new(SystemClock), hold));
        let merger = Arc::new(Merger::new(holds.clone(), options.merge, tasks.clone()));
        let ingest = Ingest::new(holds.clone(), merger.clone(), options.ingest, stop.clone());
        let ingest = Arc::new(ingest);
        let service = Service::new(ingest, options.service, tasks.clone(), stop.clone());
        #[cfg(feature = "mutants")]
        let service = Front::new(service, config.mutant);
        let finishing = if config.auto_merge { Unasked::Everybody } else { Unasked::OffsetClients };
        let reap = ReaperOptions { every: config.reap_every, remember: REMEMBER, finishing };
        Ok(Self { service, holds, tasks, stop, merger, reap, mark })
    }

    pub(super) fn reaper(&self) -> Reaper {
        let (merger, tasks) = (self.merger.clone(), self.tasks.clone());
        Reaper::new(self.holds.clone(), self.reap, move |id| {
            let merger = merger.clone();
            tasks.spawn(async move {
                if let Err(error) = merger.resume(&id).await {
                    tracing::error!(%id, %error, "could not finish an interrupted upload");
                }
            });
        })
    }

    /// Says on disk that everything was written before the process ended. Blocks.
    pub(super) fn mark_clean(self) -> io::Result<()> {
        self.mark.end()
    }
}

type Opened = (Arc<LocalState>, LocalStorage, TrustMark, Ledgers);

fn open(data_dir: &Path) -> Result<Opened, String> {
    let say = |error: &dyn Display| error.to_string();
    let storage = LocalStorage::open(data_dir).map_err(|error| say(&error))?;
    let root = data_dir.join("state");
    let state = Arc::new(LocalState::open(&root).map_err(|error| say(&error))?);
    let mark = TrustMark::begin(&root).map_err(|error| say(&error))?;
    let ledgers = Ledgers(root, state.clone());
    Ok((state, storage, mark, ledgers))
}

/// Each room's options, out of the configuration.
struct Options {
    hold: HoldOptions,
    merge: MergeOptions,
    ingest: IngestOptions,
    service: ServiceOptions,
}

impl Options {
    fn read(config: &Config) -> Result<Self, StartError> {
        let chunk_size = ChunkSize::new(config.chunk_size.get());
        let chunk_size = chunk_size.map_err(|error| setting("chunk-size", &error))?;
        let hold = HoldOptions {
            durability: durability(config.durability),
            epoch: 0,
            chunks_per_part: config.chunks_per_part.map_or(u64::MAX, std::num::NonZeroU64::get),
            expire_after: config.expire_after,
            keep_finished: config.keep_finished,
            contents: if config.instant { Contents::Noted } else { Contents::Unnoted },
        };
        let template: NameTemplate =
            config.name_template.parse().map_err(|error| setting("name-template", &error))?;
        let verify = if config.verify_on_merge { Verify::Everything } else { Verify::Trusted };
        let hashing = match config.chunk_digest {
            config::ChunkDigest::Sha256 => Hashing::Sha256,
            config::ChunkDigest::None => Hashing::Off,
        };
        let service = service_options(config)?;
        Ok(Self {
            hold,
            merge: MergeOptions {
                template,
                verify,
                join_wait: JOIN_WAIT,
                partials: if config.consume_partials { Partials::Consume } else { Partials::Keep },
                hashing,
                max_size: max_size(config)?,
            },
            ingest: IngestOptions {
                chunk_size,
                max_size: service.rules.max_size,
                hashing,
                memory_budget: config.memory_budget,
                writers_max: WRITERS_MAX,
            },
            service,
        })
    }
}

fn service_options(config: &Config) -> Result<ServiceOptions, StartError> {
    let base = config.base_path.parse().map_err(|error| setting("base-path", &error))?;
    let public = config.public_url.as_deref().map(str::parse).transpose();
    let public = public.map_err(|error| setting("public-url", &error))?;
    let max_size = max_size(config)?;
    let links = Links { base, public };
    let rules = Rules {
        base: links.base.clone(),
        max_size,
        termination_disabled: config.disable_termination,
        download_disabled: config.disable_download,
    };
    let (cors, proxies) = (cors(config)?, Proxies::new(config.behind_proxy.clone()));
    let owner = config.owner_header.as_deref().map(str::parse).transpose();
    let owner = owner.map_err(|error: InvalidHeaderName| setting("owner-header", &error))?;
    let owner = owner.map(OwnerHeader::new).unwrap_or_default();
    let pace = Pace { idle_timeout: config.idle_timeout, min_rate: config.min_rate };
    let finishing = if config.auto_merge { Finishing::WhenComplete } else { Finishing::OnRequest };
    let turns = TurnOptions {
        together: config.max_uploads,
        per_address: config.max_uploads_per_ip,
        wait: config.queue_wait,
    };
    let metrics = if config.no_metrics { Metrics::Hidden } else { Metrics::Shown };
    let shown = if config.no_page { Page::module() } else { Page::whole(&rules) };
    Ok(ServiceOptions {
        rules,
        links,
        cors,
        proxies,
        owner,
        page: shown,
        pace,
        finishing,
        turns,
        metrics,
    })
}

fn cors(config: &Config) -> Result<Cors, StartError> {
    let listed = match &config.allow_origin {
        config::AllowOrigin::None => return Ok(Cors::Off),
        config::AllowOrigin::Any => return Ok(Cors::Any),
        config::AllowOrigin::Listed(listed) => listed.iter().map(|origin| origin.parse()),
    };
    let origins: Result<Vec<OriginPattern>, _> = listed.collect();
    let origins = origins.map_err(|error| setting("allow-origin", &error))?;
    Ok(Cors::Listed { origins, credentials: config.cors_credentials })
}

fn max_size(config: &Config) -> Result<Option<Length>, StartError> {
    let max_size = config.max_size.map(Length::new).transpose();
    max_size.map_err(|error| setting("max-size", &error))
}

const fn durability(named: config::Durability) -> Durability {
    match named {
        config::Durability::None => Durability::None,
        config::Durability::Complete => Durability::Complete,
        config::Durability::Ack => Durability::Ack,
    }
}

fn setting(option: &'static str, error: &dyn Display) -> StartError {
    StartError::Setting { option, error: error.to_string() }
}
