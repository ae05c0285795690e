//! Bodies of answers: nothing, a few bytes, or a file.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http::Response;
use http_body::{Body, Frame, SizeHint};
use hyper::ext::ReasonPhrase;
use tokio::{sync::mpsc, time};
use tokio_util::task::TaskTracker;

use crate::{
    ingest::Download,
    protocol::{Answer, download::Piece},
};

/// Blocks of a file that are read ahead of a client.
const AHEAD: usize = 1;

/// The status of tus for a wrong checksum.
const CHECKSUM_MISMATCH: u16 = 460;

/// The body of an answer.
#[derive(Debug)]
pub struct ResponseBody(Kind);

#[derive(Debug)]
enum Kind {
    Whole(Option<Bytes>),
    File { blocks: mpsc::Receiver<io::Result<Bytes>>, left: u64 },
}

impl ResponseBody {
    /// No bytes.
    pub const fn empty() -> Self {
        Self(Kind::Whole(None))
    }

    pub(crate) fn whole(bytes: Vec<u8>) -> Self {
        Self(Kind::Whole(Some(bytes.into()).filter(|bytes: &Bytes| !bytes.is_empty())))
    }

    /// Pieces of a finished file, read block by block as fast as the client takes them. It breaks
    /// off where the client leaves a block lying for `stall_max`.
    pub(super) fn file(
        download: Download,
        pieces: Vec<Piece>,
        (tasks, stall_max): (&TaskTracker, Duration),
    ) -> Self {
        let left = pieces.iter().map(Piece::len).fold(0, u64::saturating_add);
        if left == 0 {
            return Self::empty();
        }
        let (sender, blocks) = mpsc::channel(AHEAD);
        // Ends early where the client is gone, or does not read any more.
        let takers = Blocks { sender, stall_max };
        tasks.spawn(async move { send_all(download, pieces, &takers).await });
        Self(Kind::File { blocks, left })
    }
}

/// Where blocks go.
struct Blocks {
    sender: mpsc::Sender<io::Result<Bytes>>,
    stall_max: Duration,
}

impl Blocks {
    /// A place for the next block, before there is one: none lies about for who takes none. `None`
    /// where nobody takes the one before.
    async fn place(&self) -> Option<mpsc::Permit<'_, io::Result<Bytes>>> {
        time::timeout(self.stall_max, self.sender.reserve()).await.ok()?.ok()
    }
}

async fn send_all(mut download: Download, pieces: Vec<Piece>, blocks: &Blocks) -> Option<()> {
    for piece in pieces {
        match piece {
            Piece::Text(text) => blocks.place().await?.send(Ok(text.into())),
            Piece::File(span) => {
                download.seek(span);
                while !download.is_over() {
                    let place = blocks.place().await?;
                    place.send(download.next().await?);
                }
            }
        }
    }
    Some(())
}

/// An answer of the protocol as one of hyper's.
pub(super) fn render(answer: Answer) -> Response<ResponseBody> {
    let mut response = answer.map(ResponseBody::whole);
    if response.status().as_u16() == CHECKSUM_MISMATCH {
        // HTTP libraries know no words for it.
        let reason = ReasonPhrase::from_static(b"Checksum Mismatch");
        response.extensions_mut().insert(reason);
    }
    response
}

impl Body for ResponseBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        match &mut self.0 {
            Kind::Whole(bytes) => Poll::Ready(bytes.take().map(Frame::data).map(Ok)),
            Kind::File { blocks, left } => blocks.poll_recv(context).map(|block| match block {
                Some(Ok(bytes)) => {
                    *left = left.saturating_sub(u64::try_from(bytes.len()).unwrap_or(u64::MAX));
                    Some(Ok(Frame::data(bytes)))
                }
                Some(Err(error)) => Some(Err(error)),
                // The sender gave up. On HTTP/2 a plain end would look as if that were all.
                None if *left > 0 => Some(Err(io::ErrorKind::UnexpectedEof.into())),
                None => None,
            }),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.0 {
            Kind::Whole(bytes) => bytes.is_none(),
            Kind::File { left, .. } => *left == 0,
        }
    }

    fn size_hint(&self) -> SizeHint {
        let left = match &self.0 {
            Kind::Whole(bytes) => {
                bytes.as_ref().map_or(0, |bytes| u64::try_from(bytes.len()).unwrap_or(u64::MAX))
            }
            Kind::File { left, .. } => *left,
        };
        SizeHint::with_exact(left)
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;

    use super::*;

    /// Found by review: on HTTP/2 a file whose sender had given up looked like a whole one.
    // spec: CORE-66
    #[tokio::test]
    async fn a_file_that_breaks_off_does_not_end_as_if_it_were_whole() {
        let (sender, blocks) = mpsc::channel(AHEAD);
        let mut body = ResponseBody(Kind::File { blocks, left: 11 });
        sender.send(Ok(Bytes::from_static(b"hello"))).await.unwrap();
        drop(sender);
        assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap(), "hello");
        let broken = body.frame().await.unwrap().unwrap_err();
        assert_eq!(broken.kind(), io::ErrorKind::UnexpectedEof);
    }

    #[tokio::test]
    async fn a_whole_file_ends_properly() {
        let (sender, blocks) = mpsc::channel(AHEAD);
        let mut body = ResponseBody(Kind::File { blocks, left: 5 });
        sender.send(Ok(Bytes::from_static(b"hello"))).await.unwrap();
        drop(sender);
        assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap(), "hello");
        assert!(body.frame().await.is_none());
    }
}
