//! The socket: accept, limits, drain. The only place that names concrete adapters.

mod activity;
mod compose;
mod connection;
mod descriptors;
mod lobby;
mod places;
mod ration;
mod runtime;
mod tls;
mod wire;

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use tokio::{
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    time,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

pub use self::runtime::runtime;
use self::{
    activity::Requests,
    compose::House,
    connection::Porter,
    places::{LOBBY, Places},
    ration::Ration,
    tls::Tls,
};
#[cfg(feature = "mutants")]
use crate::mutants::Front;
#[cfg(not(feature = "mutants"))]
use crate::service::Service as Front;
use crate::{
    blocking,
    clock::Stopwatch,
    config::Config,
    service::is_short_of_descriptors,
    telemetry::{Meter, Sparingly, Surplus},
};

/// Every try meets the shortage, and one line is enough.
static NOT_ACCEPTED: Sparingly = Sparingly::new();
/// How long to wait before the next try when the process has no descriptor left for a connection.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// How long connections may take to write their last answer once all requests are done.
const LAST_WORDS: Duration = Duration::from_millis(500);
/// How often unused files and buffers are let go.
const COOL_DOWN_EVERY: Duration = Duration::from_secs(15);
/// How long a request's head may take at most, and how long a connection may be idle between two
/// requests, however patient the operator is with bodies.
const HEAD_TIMEOUT: Duration = Duration::from_secs(30);

/// Why the server could not be started.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The address cannot be listened on.
    #[error("cannot listen on {address}: {error}")]
    Listen {
        /// Which address.
        address: SocketAddr,
        /// Why not.
        error: io::Error,
    },
    /// The data directory cannot be used.
    #[error("cannot use the data directory {path}: {error}")]
    DataDir {
        /// Which one.
        path: String,
        /// Why not.
        error: String,
    },
    /// The certificate or its key cannot be used.
    #[error("no TLS: {0}")]
    Tls(String),
    /// A setting that only its user can judge.
    #[error("{option}: {error}")]
    Setting {
        /// Which one.
        option: &'static str,
        /// What is wrong with it.
        error: String,
    },
}

/// A server that listens and does not accept yet.
#[derive(Debug)]
pub struct Server {
    listener: TcpListener,
    house: House,
    tls: Option<Arc<Tls>>,
    config: Config,
}

impl Server {
    /// Reads certificate and key, opens the data directory, then the port.
    pub async fn bind(config: Config) -> Result<Self, StartError> {
        let tls = config.tls.clone().map(|files| blocking::run(move || Tls::open(files)));
        let tls = match tls {
            Some(opened) => Some(Arc::new(opened.await.map_err(StartError::Tls)?)),
            None => None,
        };
        let house = House::build(&config).await?;
        let listen = |error| StartError::Listen { address: config.listen, error };
        let listener = TcpListener::bind(config.listen).await.map_err(listen)?;
        Ok(Self { listener, house, tls, config })
    }

    /// The address, with the port that was taken.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// `https` or `http`.
    pub const fn scheme(&self) -> &'static str {
        if self.tls.is_some() { "https" } else { "http" }
    }

    /// A handle to reload with while the server serves.
    pub fn reloader(&self) -> Reloader {
        Reloader(self.tls.clone())
    }

    /// Serves until `shutdown` returns, then drains: no new connections, running requests seal what
    /// they received.
    pub async fn serve(self, shutdown: impl Future<Output = ()>) {
        let Self { listener, house, tls, config } = self;
        let porter = house.porter(tls, &config);
        let places = descriptors::connections(&config);
        let connections = TaskTracker::new();
        let background = house.begin_background();
        tokio::select! {
            () = accept(&listener, &porter, (places, house.holds.meter()), &connections) => {}
            () = shutdown => {}
        }
        drop(listener);
        tracing::info!("stopping");
        house.stop.cancel();
        background.abort();
        let left = config.shutdown_timeout;
        let stopping = Stopwatch::start();
        if time::timeout(left, drain(&house, &connections)).await.is_err() {
            tracing::warn!("gave up waiting for requests after the shutdown timeout");
            return;
        }
        let left = left.saturating_sub(stopping.elapsed());
        let mark = time::timeout(left, blocking::run(move || house.mark_clean())).await;
        match mark {
            Ok(Ok(())) => tracing::info!("stopped"),
            Ok(Err(error)) => tracing::warn!(%error, "could not mark the stop as clean"),
            Err(_) => tracing::warn!("the disk was too slow to mark the stop as clean"),
        }
    }
}

/// Lets requests end, and then the connections, as far as they are willing.
async fn drain(house: &House, connections: &TaskTracker) {
    house.tasks.close();
    house.tasks.wait().await;
    connections.close();
    // A connection that never sent a request does not go by itself.
    let _ = time::timeout(LAST_WORDS, connections.wait()).await;
    house.service.close();
    house.tasks.wait().await;
}

async fn accept(
    listener: &TcpListener,
    porter: &Porter,
    (count, meter): (usize, &Meter),
    connections: &TaskTracker,
) {
    let places = Arc::new(Places::new(count));
    // Whatever a flood does: no more are open than have a place, or are on their way out.
    let all = count.saturating_add(2 * LOBBY).min(Semaphore::MAX_PERMITS);
    let all = Arc::new(Semaphore::new(all));
    loop {
        let counted = all.clone().acquire_owned().await.expect("the semaphore is never closed");
        let (stream, peer) = next_stream(listener, &places).await;
        let (porter, places) = (porter.for_peer(peer.ip()), places.clone());
        let (meter, open) = (meter.clone(), meter.connection());
        let whose = porter.service.whose(peer.ip());
        let free = places.free_seat(whose);
        connections.spawn(async move {
            let seat = match free {
                Some(seat) => Some(seat),
                None => places.next_seat(whose).await,
            };
            if let Some(seat) = seat {
                porter.serve(stream, seat).await;
            } else {
                meter.refused(Surplus::Connection);
                porter.turn_away(stream, places.lobby()).await;
            }
            drop((counted, open));
        });
    }
}

async fn next_stream(listener: &TcpListener, places: &Places) -> (TcpStream, SocketAddr) {
    loop {
        match listener.accept().await {
            Ok(accepted) => return accepted,
            Err(error) => {
                if let Some(left_out) = NOT_ACCEPTED.due() {
                    tracing::warn!(%error, left_out, "could not accept a connection");
                }
                if is_short_of_descriptors(&error) {
                    // Perhaps one that is idle has the descriptor.
                    places.make_room();
                }
                time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// Reads anew what may change while the server serves: certificate and key.
#[derive(Debug, Clone)]
pub struct Reloader(Option<Arc<Tls>>);

impl Reloader {
    /// What cannot be used is logged, and what was in use stays.
    pub async fn reload(&self) {
        let Some(tls) = self.0.clone() else {
            tracing::info!("nothing to reload");
            return;
        };
        match blocking::run(move || tls.reload()).await {
            Ok(()) => tracing::info!("certificate and key were read again"),
            Err(error) => tracing::error!(error, "certificate and key stay as they were"),
        }
    }
}

impl House {
    fn porter(&self, tls: Option<Arc<Tls>>, config: &Config) -> Porter {
        let patience = config.idle_timeout.min(HEAD_TIMEOUT);
        let stall_max = self.service.pace().stall_max();
        let in_lobby = Requests::at_once(lobby::REQUESTS_OF_ALL);
        let ration = Ration::new(config.memory_budget, self.service.bodies());
        let (service, stop) = (self.service.clone(), self.stop.clone());
        Porter { service, tls, patience, stall_max, stop, ration, in_lobby }
    }

    /// The reaper, and the hand that closes what nobody uses.
    fn begin_background(&self) -> tokio::task::JoinHandle<()> {
        let reaper = self.reaper();
        let (holds, stop): (_, CancellationToken) = (self.holds.clone(), self.stop.clone());
        let merger = self.merger.clone();
        tokio::spawn(async move {
            let cooling = async {
                loop {
                    time::sleep(COOL_DOWN_EVERY).await;
                    let holds = holds.clone();
                    blocking::run(move || holds.cool_down()).await;
                    merger.look_again().await;
                }
            };
            tokio::select! {
                () = reaper.run(stop) => {}
                () = cooling => {}
            }
        })
    }
}
