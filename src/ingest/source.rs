//! Where a request's bytes come from, without a word about HTTP.

use std::{
    future::poll_fn,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;

use crate::upload::{Checksum, NotAChecksum};

/// Why a body ended before its end.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Broken {
    /// The client is gone.
    #[error("the connection was cut")]
    Cut,
    /// Its framing makes no sense.
    #[error("the framing of the body is broken")]
    Malformed,
    /// No byte came for the idle timeout.
    #[error("the client stalled")]
    Stalled,
    /// Its place is for somebody else.
    #[error("its place is for somebody who has fewer")]
    GaveWay,
}

/// The bytes of one request, in order.
pub trait Source: Send + 'static {
    /// The next bytes; `None` at the proper end. Not polled again after an end or an error.
    fn poll_bytes(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Bytes, Broken>>>;

    /// How many bytes were announced, where the client said so.
    fn announced(&self) -> Option<u64>;

    /// Nobody asked for bytes for so long, though the last answer was to wait: that is not the
    /// client's fault.
    fn excuse(&mut self, _: Duration) {}

    /// The checksum that came behind the bytes. Asked for after their proper end.
    fn checksum(&self) -> Result<Option<Checksum>, NotAChecksum> {
        Ok(None)
    }
}

/// No bytes at all.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoBytes;

impl Source for NoBytes {
    fn poll_bytes(&mut self, _: &mut Context<'_>) -> Poll<Option<Result<Bytes, Broken>>> {
        Poll::Ready(None)
    }

    fn announced(&self) -> Option<u64> {
        Some(0)
    }
}

/// The next bytes that are not empty.
pub(super) async fn next(source: &mut dyn Source) -> Option<Result<Bytes, Broken>> {
    loop {
        match poll_fn(|context| source.poll_bytes(context)).await {
            Some(Ok(bytes)) if bytes.is_empty() => {}
            other => return other,
        }
    }
}
