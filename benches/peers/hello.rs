//! The floor of small requests: hyper, which reads bodies and answers with nothing. The benchmark
//! starts itself as this server, so that it is measured like the others.

use std::convert::Infallible;

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Empty};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{net::TcpListener, runtime::Runtime};

/// The argument that says so.
pub const ASKED: &str = "--serve-nothing";

/// Serves until it is killed.
pub fn serve() {
    Runtime::new().unwrap().block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        println!("hyper listening on http://{}/files/", listener.local_addr().unwrap());
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            stream.set_nodelay(true).unwrap();
            let connection = http1::Builder::new()
                .timer(TokioTimer::new())
                .serve_connection(TokioIo::new(stream), service_fn(answer));
            tokio::spawn(connection);
        }
    });
}

/// What a client of tus wants to hear.
async fn answer(mut request: Request<Incoming>) -> Result<Response<Empty<Bytes>>, Infallible> {
    let number = |request: &Request<Incoming>, name| {
        let value = request.headers().get(name).and_then(|value| value.to_str().ok());
        value.and_then(|value| value.parse::<u64>().ok()).unwrap_or_default()
    };
    let end = number(&request, "upload-offset") + number(&request, "content-length");
    while let Some(Ok(frame)) = request.frame().await {
        drop(frame);
    }
    let answer = Response::builder().header("tus-resumable", "1.0.0");
    let answer = match *request.method() {
        Method::POST => answer.status(StatusCode::CREATED).header("location", "/files/0"),
        Method::HEAD => answer.status(StatusCode::OK).header("upload-offset", 0),
        _ => answer.status(StatusCode::NO_CONTENT).header("upload-offset", end),
    };
    Ok(answer.body(Empty::new()).unwrap())
}
