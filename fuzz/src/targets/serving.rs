//! Whole requests, against a whole service over memory.

use std::{cell::RefCell, collections::BTreeMap, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{Method, Request, StatusCode, header};
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use piton::{
    clock::{Clock, SystemClock},
    durable::Durability,
    hold::{Contents, Hashing, HoldOptions, Holds},
    ingest::{Ingest, IngestOptions},
    lock::{Locks, NoFileLocks, ProcessLocks},
    merger::{MergeOptions, Merger, Partials, Verify},
    protocol::{Cors, Links, OwnerHeader, Page, Proxies, tus::Rules},
    service::{Finishing, Metrics, Pace, Service, ServiceOptions, TurnOptions},
    state::MemoryState,
    storage::MemoryStorage,
    upload::{ChunkSize, IdSecret, Length, NameTemplate},
};
use tokio::runtime::{Builder, Runtime};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::input;

/// Bytes of a file at most.
const SIZE_MAX: u64 = 1 << 16;

thread_local! {
    static RUNTIME: RefCell<Runtime> =
        RefCell::new(Builder::new_current_thread().enable_all().build().unwrap());
}

fn service() -> Service {
    let (second, day) = (Duration::from_secs(1), Duration::from_hours(24));
    let (tasks, stop) = (TaskTracker::new(), CancellationToken::new());
    let state = Arc::new(MemoryState::new(IdSecret::new([7; 32])));
    let storage = Arc::new(MemoryStorage::new(|| SystemClock.now()));
    let files: Arc<dyn ProcessLocks> = Arc::new(NoFileLocks);
    let locks = (Locks::new(3 * second), files);
    let max_size = Some(Length::new(SIZE_MAX).unwrap());
    let rules = HoldOptions {
        durability: Durability::None,
        epoch: 0,
        chunks_per_part: u64::MAX,
        expire_after: day,
        keep_finished: None,
        contents: Contents::Noted,
    };
    let holds = Arc::new(Holds::new(state, storage, locks, Arc::new(SystemClock), rules));
    let rules = MergeOptions {
        template: NameTemplate::default(),
        verify: Verify::Everything,
        join_wait: 2 * second,
        partials: Partials::Keep,
        hashing: Hashing::Sha256,
        max_size,
    };
    let merger = Arc::new(Merger::new(holds.clone(), rules, tasks.clone()));
    let chunk_size = ChunkSize::new(4096).unwrap();
    let rules = IngestOptions {
        chunk_size,
        hashing: Hashing::Sha256,
        max_size,
        memory_budget: 4 << 20,
        writers_max: 4,
    };
    let ingest = Arc::new(Ingest::new(holds, merger, rules, stop.clone()));
    let options = ServiceOptions {
        rules: Rules { max_size, ..Rules::default() },
        links: Links::default(),
        cors: Cors::default(),
        proxies: Proxies::default(),
        owner: OwnerHeader::default(),
        page: Page::module(),
        pace: Pace { idle_timeout: 30 * second, min_rate: None },
        finishing: Finishing::OnRequest,
        turns: TurnOptions { together: None, per_address: None, wait: second },
        metrics: Metrics::Shown,
    };
    Service::new(ingest, options, tasks, stop)
}

/// What came of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Told {
    status: StatusCode,
    location: Option<String>,
    offset: Option<u64>,
    body: Bytes,
}

/// Sends a request in frames of these lengths, the last one again and again.
async fn ask(service: &Service, head: http::request::Parts, body: &[u8], cuts: &[u8]) -> Told {
    let mut frames = Vec::new();
    let (mut rest, mut cuts) = (body, cuts.iter());
    while !rest.is_empty() {
        let cut = cuts.next().map_or(rest.len(), |cut| usize::from(*cut));
        let (frame, behind) = rest.split_at(cut.min(rest.len()));
        frames.push(Ok::<_, std::io::Error>(Frame::data(Bytes::copy_from_slice(frame))));
        rest = behind;
    }
    let (method, path) = (head.method.clone(), head.uri.path().to_owned());
    let stream = StreamBody::new(Frames(frames.into_iter()));
    let answer = service.clone().answer(Request::from_parts(head, stream)).await;
    let answer = answer.unwrap_or_else(|error| panic!("{method} {path}: {error}"));
    let (parts, body) = answer.into_parts();
    let text = |name: header::HeaderName| {
        parts.headers.get(name).map(|value| value.to_str().unwrap().to_owned())
    };
    let offset = parts.headers.get("upload-offset").map(|v| v.to_str().unwrap().parse().unwrap());
    let body = body.collect().await.unwrap().to_bytes();
    let refused = parts.status.is_client_error() || parts.status.is_server_error();
    assert!(!parts.status.is_server_error(), "{} to {method} {path}: {body:?}", parts.status);
    if refused && method != Method::HEAD {
        let kind = text(header::CONTENT_TYPE);
        assert_eq!(kind.as_deref(), Some("application/problem+json"), "{method} {path}");
        let document: serde_json::Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(document["status"], parts.status.as_u16());
    }
    Told { status: parts.status, location: text(header::LOCATION), offset, body }
}

/// Frames that are there already.
struct Frames(std::vec::IntoIter<Result<Frame<Bytes>, std::io::Error>>);

impl futures_core::Stream for Frames {
    type Item = Result<Frame<Bytes>, std::io::Error>;

    fn poll_next(
        mut self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Self::Item>> {
        std::task::Poll::Ready(self.0.next())
    }
}

/// Several requests, between lines of `===`; `@1` stands for the URL that the first answer named.
/// Whatever is asked, it is no error of the server's, and no offset goes down.
pub(crate) fn sessions(data: &[u8]) {
    const MARK: &[u8] = b"\n===\n";
    let (mut rest, mut requests) = (data, Vec::new());
    while let Some((request, behind)) = input::split(rest, MARK) {
        requests.push(request);
        rest = behind;
    }
    requests.push(rest);
    RUNTIME.with_borrow(|runtime| {
        runtime.block_on(async {
            let service = service();
            let mut urls: Vec<String> = Vec::new();
            let mut offsets: BTreeMap<String, u64> = BTreeMap::new();
            for request in requests.into_iter().take(8) {
                let request = with_urls(request, &urls);
                let Some((mut parts, body)) = input::request(&request) else { continue };
                // As a connection would have it: with a body goes its length.
                parts.headers.remove(header::TRANSFER_ENCODING);
                parts.headers.insert(header::CONTENT_LENGTH, body.len().into());
                let (path, method) = (parts.uri.path().to_owned(), parts.method.clone());
                let overridden = parts.headers.contains_key("x-http-method-override");
                let told = ask(&service, parts, body, &[]).await;
                if let Some(offset) = told.offset.filter(|_| !overridden) {
                    let before = offsets.insert(path.clone(), offset).unwrap_or_default();
                    let ended = method == Method::DELETE || path == "/files/";
                    assert!(ended || offset >= before, "{path}: {offset} after {before}");
                }
                urls.extend(told.location);
            }
            service.close();
        });
    });
}

/// The request with the URLs that earlier ones were told.
fn with_urls(request: &[u8], urls: &[String]) -> Vec<u8> {
    let mut text = request.to_vec();
    for (number, url) in urls.iter().enumerate().take(9) {
        let mark = format!("@{}", number + 1);
        while let Some((before, behind)) = input::split(&text, mark.as_bytes()) {
            text = [before, url.as_bytes(), behind].concat();
        }
    }
    text
}

/// A form with a chunk, under the boundary `x`: cut into frames anywhere it is the same form. The
/// first bytes say where it is cut, the form begins behind an empty line.
pub(crate) fn forms(data: &[u8]) {
    const HEAD: &[u8] = b"POST /upload\nHost: x\nContent-Type: multipart/form-data; boundary=x\n";
    let (cuts, form) = input::split(data, b"\n\n").unwrap_or((&[], data));
    if form.len() > 1 << 14 {
        return;
    }
    RUNTIME.with_borrow(|runtime| {
        runtime.block_on(async {
            let (head, _) = input::request(HEAD).unwrap();
            let one = ask(&service(), head.clone(), form, &[]).await;
            let cuts: Vec<u8> = cuts.iter().copied().cycle().take(512).collect();
            let many = ask(&service(), head, form, &cuts).await;
            assert_eq!(one.status, many.status, "{:?} and {:?}", one.body, many.body);
            if one.status.is_success() {
                assert_eq!(one.body, many.body);
            }
        });
    });
}
