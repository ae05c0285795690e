//! Turns: how many chunks one address may send at the same time. The others wait for their turn, in
//! the order of their coming, and nobody waits for another address.
//!
//! Waiting comes before refusing, since clients of this flow repeat a refused chunk a hundred times
//! at once or not at all. A request that waits has not read its body: nothing of it is in memory,
//! and a client that waits for 100 is not told to send.
//!
//! Only chunks wait. A PATCH of tus may last for hours, so that whoever waited for one would be
//! refused in the end, and its client takes 429 for a verdict on the upload; and a newcomer that is
//! to take an upload over from a stalled PATCH must not stand in line behind it. Over HTTP/2 nobody
//! waits either: unread bodies would use up the window of the connection, which the running
//! requests need, and the number of its streams is bounded already.

mod line;

use std::{num::NonZeroUsize, time::Duration};

use http::{Version, request::Parts};

pub(super) use self::line::{Turn, Turns};
use super::{ClientAddress, Service, shares::network};
use crate::{protocol::Problem, sync};

/// How many may send at the same time.
#[derive(Debug, Clone, Copy)]
pub struct TurnOptions {
    /// Bodies of uploads that are received at the same time; none for no limit.
    pub together: Option<NonZeroUsize>,
    /// Chunks that one address may send at the same time; none for no limit.
    pub per_address: Option<NonZeroUsize>,
    /// How long a request waits for its turn at most.
    pub wait: Duration,
}

impl Service {
    /// Waits until the client may send a chunk. `None` where nobody is counted.
    ///
    /// [`Problem::TooManyUploads`] after the longest wait, [`Problem::ShuttingDown`] during a stop.
    pub(super) async fn turn(&self, parts: &Parts) -> Result<Option<Turn>, Problem> {
        let TurnOptions { per_address, wait, .. } = self.0.options.turns;
        let client = parts.extensions.get::<ClientAddress>().map(|client| network(client.0));
        let (Some(places), Some(address)) = (per_address, client) else { return Ok(None) };
        if parts.version >= Version::HTTP_2 {
            return Ok(None);
        }
        tokio::select! {
            turn = self.0.turns.take((address, places), wait) => match turn {
                Some(turn) => Ok(Some(turn)),
                None => Err(Problem::TooManyUploads),
            },
            () = self.0.stop.cancelled() => Err(Problem::ShuttingDown),
        }
    }
}
