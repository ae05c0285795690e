//! What a client is told when the disk does not do its part.

use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, Response};
use http_body_util::{BodyExt, Full};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{Finishing, Metrics, Pace, ResponseBody, Service, ServiceOptions, TurnOptions};
use crate::{
    protocol::{Cors, Links, OwnerHeader, Page, Proxies, tus::Rules},
    storage::{Failure, Operation},
    testing::{Bench, content, until},
    upload::UploadId,
};

const PACE: Pace = Pace { idle_timeout: Duration::from_secs(5), min_rate: None };

fn options() -> ServiceOptions {
    ServiceOptions {
        rules: Rules::default(),
        links: Links::default(),
        cors: Cors::default(),
        proxies: Proxies::default(),
        owner: OwnerHeader::default(),
        page: Page::default(),
        pace: PACE,
        finishing: Finishing::OnRequest,
        turns: TurnOptions { together: None, per_address: None, wait: Duration::ZERO },
        metrics: Metrics::Hidden,
    }
}

fn service(bench: &Bench) -> Service {
    let options = options();
    let (tasks, stop) = (TaskTracker::new(), CancellationToken::new());
    Service::new(bench.ingest.clone(), options, tasks, stop)
}

async fn patch(bench: &Bench, id: &UploadId, at: u64, bytes: &[u8]) -> Response<ResponseBody> {
    let service = service(bench);
    let request = Request::builder()
        .method(Method::PATCH)
        .uri(format!("/files/{id}"))
        .header("Host", "here")
        .header("Origin", "https://page.example")
        .header("Tus-Resumable", "1.0.0")
        .header("Upload-Offset", at)
        .header("Content-Type", "application/offset+octet-stream")
        .header("Content-Length", bytes.len());
    let body = Full::new(Bytes::copy_from_slice(bytes));
    service.answer(request.body(body).unwrap()).await.unwrap()
}

// rows: CORS-04
// spec: CORE-16, CORE-40
#[tokio::test]
async fn a_full_disk_is_told_from_a_broken_one_and_neither_moves_the_offset_too_far() {
    let bytes = content(23, 1);
    for (failure, status) in [(Failure::NoSpace, 507), (Failure::Device, 500)] {
        for half in [false, true] {
            let bench = Bench::local();
            let id = bench.create(Some(23)).await;
            assert_eq!(patch(&bench, &id, 0, &bytes[..5]).await.status(), 204);
            if half {
                bench.faults.cut_write(1, failure);
            } else {
                bench.faults.fail_from(Operation::Write, 1, failure);
            }
            let answer = patch(&bench, &id, 5, &bytes[5..]).await;
            assert_eq!(answer.status(), status, "{failure:?}");
            assert_eq!(answer.headers()["access-control-allow-origin"], "*");
            bench.faults.clear();
            let offset = bench.head(&id).await;
            assert!((5..23).contains(&offset), "{offset}");
            if let Some(told) = answer.headers().get("upload-offset") {
                assert!(told.to_str().unwrap().parse::<u64>().unwrap() <= offset);
            }
            let at = usize::try_from(offset).unwrap();
            assert_eq!(patch(&bench, &id, offset, &bytes[at..]).await.status(), 204);
            assert_eq!(bench.download(&id).await, bytes);
        }
    }
}

/// A body whose frames are all there at once.
struct Ready(std::collections::VecDeque<Bytes>);

impl http_body::Body for Ready {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<http_body::Frame<Bytes>, Self::Error>>> {
        std::task::Poll::Ready(self.0.pop_front().map(http_body::Frame::data).map(Ok))
    }
}

fn form(pieces: &[&[u8]]) -> Ready {
    let whole = pieces.concat();
    Ready(whole.chunks(64 * 1024).map(Bytes::copy_from_slice).collect())
}

async fn send_form(bench: &Bench, body: Ready) -> u16 {
    let service = service(bench);
    let size = 8 << 20;
    let query = format!("hash=0123456789&index=0&total=1&size={size}&chunk_size={size}");
    let request = Request::builder()
        .method(Method::PUT)
        .uri(format!("/upload?{query}"))
        .header("Transfer-Encoding", "chunked")
        .header("Content-Type", "multipart/form-data; boundary=b");
    service.answer(request.body(body).unwrap()).await.unwrap().status().as_u16()
}

const HEAD: &[u8] = b"--b\r\nContent-Disposition: form-data; name=\"file\"; filename=\"x\"\r\n\r\n";

/// Found by review: a form that was there faster than it was read counted as one without an end.
// spec: CHUNK-12
#[tokio::test]
async fn a_form_may_be_there_all_at_once() {
    let bench = Bench::local();
    let body = form(&[HEAD, &vec![7; 8 << 20], b"\r\n--b--\r\n"]);
    assert_eq!(send_form(&bench, body).await, 201);
}

// spec: CHUNK-12
#[tokio::test]
async fn a_form_that_never_begins_is_refused() {
    let bench = Bench::local();
    assert_eq!(send_form(&bench, form(&[&vec![b'-'; 8 << 20]])).await, 400);
    let endless = [b"--b\r\nContent-Disposition: ".as_slice(), &vec![b'x'; 8 << 20]];
    assert_eq!(send_form(&bench, form(&endless)).await, 400);
}

/// `Location` of a new upload, which a proxy claims to be ours elsewhere.
async fn creates(service: Service) -> String {
    let request = Request::builder()
        .method(Method::POST)
        .uri("/files/")
        .header("Tus-Resumable", "1.0.0")
        .header("Upload-Length", "0")
        .header("X-Forwarded-Host", "up.example")
        .header("X-Forwarded-Proto", "https");
    let answer = service.answer(request.body(Full::<Bytes>::default()).unwrap()).await.unwrap();
    answer.headers()["location"].to_str().unwrap().to_owned()
}

// spec: CORE-50, CORE-51
#[tokio::test]
async fn who_mounts_the_service_says_who_asks() {
    let bench = Bench::local();
    let mut options = options();
    options.proxies = Proxies::new(vec!["127.0.0.0/8".parse().unwrap()]);
    let (tasks, stop) = (TaskTracker::new(), CancellationToken::new());
    let service = Service::new(bench.ingest.clone(), options, tasks, stop);
    let from = |peer: &str| service.clone().for_peer(peer.parse().unwrap());
    assert!(creates(from("127.0.0.1")).await.starts_with("https://up.example/files/"));
    assert!(creates(from("192.0.2.1")).await.starts_with("/files/"));
    assert!(creates(service.clone()).await.starts_with("/files/"));
}

/// A body that pauses before each frame.
struct Paced {
    frames: std::collections::VecDeque<Bytes>,
    pause: std::pin::Pin<Box<tokio::time::Sleep>>,
}

const PAUSE: Duration = Duration::from_millis(30);

impl http_body::Body for Paced {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: std::pin::Pin<&mut Self>,
        context: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<http_body::Frame<Bytes>, Self::Error>>> {
        std::task::ready!(self.pause.as_mut().poll(context));
        self.pause = Box::pin(tokio::time::sleep(PAUSE));
        std::task::Poll::Ready(self.frames.pop_front().map(http_body::Frame::data).map(Ok))
    }
}

/// Found by review: what a slow disk took in a pause of the client counted as its pause.
// spec: CORE-65
#[tokio::test(flavor = "multi_thread")]
async fn a_slow_disk_makes_no_client_too_slow() {
    let bench = Bench::memory_with(|setup| setup.chunk_size = 1 << 20);
    let bytes = content(8 << 16, 3);
    let id = bench.create(Some(8 << 16)).await;
    let mut options = options();
    let idle = Duration::from_secs(2);
    options.pace.idle_timeout = idle;
    options.pace.min_rate = std::num::NonZeroU64::new(1 << 20);
    let (tasks, stop) = (TaskTracker::new(), CancellationToken::new());
    let service = Service::new(bench.ingest.clone(), options, tasks, stop);
    let request = Request::builder()
        .method(Method::PATCH)
        .uri(format!("/files/{id}"))
        .header("Tus-Resumable", "1.0.0")
        .header("Upload-Offset", 0)
        .header("Content-Type", "application/offset+octet-stream")
        .header("Content-Length", bytes.len());
    let frames = bytes.chunks(1 << 16).map(Bytes::copy_from_slice).collect();
    let body = Paced { frames, pause: Box::pin(tokio::time::sleep(PAUSE)) };
    bench.faults.hang(Operation::Write, 1);
    let sent = tokio::spawn(service.answer(request.body(body).unwrap()));
    until(|| bench.faults.hanging() == 1).await;
    // Longer than a client may take for its next byte, and than its rate is averaged over.
    tokio::time::sleep(idle * 5 / 2).await;
    bench.faults.release();
    assert_eq!(sent.await.unwrap().unwrap().status(), 204);
    assert_eq!(bench.download(&id).await, bytes);
}

/// Found by review: the operator's patience with clients was not that of downloads.
// spec: CORE-66
#[tokio::test]
async fn a_download_waits_for_its_client_as_long_as_the_operator_says() {
    let bench = Bench::memory_with(|setup| setup.chunk_size = 1 << 20);
    let bytes = content(1 << 20, 5);
    let id = bench.create(Some(1 << 20)).await;
    bench.push(&id, 0, &bytes).await.unwrap();
    for (idle, whole) in [(Duration::from_millis(50), false), (Duration::from_secs(9), true)] {
        let mut options = options();
        options.pace.idle_timeout = idle;
        let (tasks, stop) = (TaskTracker::new(), CancellationToken::new());
        let service = Service::new(bench.ingest.clone(), options, tasks.clone(), stop);
        let request = Request::get(format!("/files/{id}")).body(Full::<Bytes>::default()).unwrap();
        let answer = service.answer(request).await.unwrap();
        if whole {
            tokio::time::sleep(Duration::from_millis(400)).await;
        } else {
            // Whoever sends it has given up.
            until(|| tasks.is_empty()).await;
        }
        let got = answer.into_body().collect().await;
        assert_eq!(got.is_ok_and(|got| got.to_bytes() == bytes), whole, "{idle:?}");
    }
}
