//! The lock, the buffer pool, the turns and the pump once more, over shuttle: their files are
//! compiled a second time with [`sync`] and [`blocking`] from here in place of the crate's own, and
//! shuttle tries the orders in which their tasks and threads may meet, a random one in each run.
//! Tasks are dropped at any await, and waits end at any moment.
//!
//! What waits is tokio's own: its primitives need no runtime. Before each call of one shuttle may
//! let others go first.
#![allow(
    dead_code,
    unreachable_pub,
    clippy::duplicate_mod,
    reason = "the same files, to be used in part and here by nobody else"
)]

mod blocking;
#[path = "../../ingest/buffers.rs"]
mod buffers;
#[path = "../../service/turns/line.rs"]
mod line;
#[path = "../../ingest/pairs.rs"]
mod pairs;
#[path = "../../ingest/pump.rs"]
mod pump;
#[path = "../../lock/queue.rs"]
mod queue;
#[path = "../../ingest/source.rs"]
mod source;
mod sync;
mod tests;

use self::queue::LeaveSignal;
