//! A client that sends what it was told to.

use std::{
    collections::VecDeque,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use tokio::sync::Notify;

use crate::{
    ingest::{Broken, Source},
    upload::{Checksum, Length, NotAChecksum},
};

/// What a scripted client does next.
#[derive(Debug, Clone)]
pub(crate) enum Frame {
    Bytes(Bytes),
    /// Nothing more comes, and no end either.
    Stall,
    Break(Broken),
}

/// A body.
#[derive(Debug, Clone)]
pub(crate) struct Script {
    frames: VecDeque<Frame>,
    announced: Option<u64>,
    length: Option<u64>,
    trailer: Option<Result<Checksum, NotAChecksum>>,
    stalled: Arc<Notify>,
}

impl Script {
    /// All of `bytes` at once, announced.
    pub(crate) fn of(bytes: &[u8]) -> Self {
        Self::in_frames(bytes, bytes.len().max(1))
    }

    /// `bytes` in frames of `size`, announced.
    pub(crate) fn in_frames(bytes: &[u8], size: usize) -> Self {
        let frame = |frame: &[u8]| Frame::Bytes(Bytes::copy_from_slice(frame));
        Self {
            frames: bytes.chunks(size).map(frame).collect(),
            announced: Some(super::len(bytes)),
            length: None,
            trailer: None,
            stalled: Arc::default(),
        }
    }

    /// The same without a word about its length.
    pub(crate) fn unannounced(mut self) -> Self {
        self.announced = None;
        self
    }

    /// The same with a word about the length of the file.
    pub(crate) fn declaring(mut self, length: u64) -> Self {
        self.length = Some(length);
        self
    }

    /// The same with a checksum behind its bytes.
    pub(crate) fn followed_by(mut self, trailer: Result<Checksum, NotAChecksum>) -> Self {
        self.trailer = Some(trailer);
        self.unannounced()
    }

    pub(crate) fn length(&self) -> Option<Length> {
        self.length.map(|length| Length::new(length).unwrap())
    }

    /// The same with `more` bytes announced than come before what `end` says.
    pub(crate) fn then(mut self, end: Frame, more: u64) -> Self {
        self.frames.push_back(end);
        self.announced = self.announced.map(|announced| announced + more);
        self
    }

    /// Is told once the client stalls: whatever came before that was taken.
    pub(crate) fn stalled(&self) -> Arc<Notify> {
        self.stalled.clone()
    }
}

impl Source for Script {
    fn poll_bytes(&mut self, _: &mut Context<'_>) -> Poll<Option<Result<Bytes, Broken>>> {
        match self.frames.pop_front() {
            None => Poll::Ready(None),
            Some(Frame::Bytes(bytes)) => Poll::Ready(Some(Ok(bytes))),
            Some(Frame::Break(broken)) => Poll::Ready(Some(Err(broken))),
            Some(Frame::Stall) => {
                self.frames.push_front(Frame::Stall);
                self.stalled.notify_one();
                Poll::Pending
            }
        }
    }

    fn announced(&self) -> Option<u64> {
        self.announced
    }

    fn checksum(&self) -> Result<Option<Checksum>, NotAChecksum> {
        self.trailer.clone().transpose()
    }
}
