//! A request over HTTP/2 with trailers: what the hand-written client does not speak.

use std::{net::SocketAddr, time::Duration};

use bytes::Bytes;
use h2::client;
use http::{HeaderMap, HeaderName, HeaderValue};
use tokio::{net::TcpStream, runtime::Builder, time};

use crate::client::{Answer, Request};

/// Sends the request with its body, then the trailers, on a connection of its own.
#[track_caller]
pub fn ask(address: SocketAddr, request: &Request, trailers: &[(&str, &str)]) -> Answer {
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    let asked =
        async { time::timeout(Duration::from_secs(20), send(address, request, trailers)).await };
    runtime.block_on(asked).expect("no answer in time")
}

async fn send(address: SocketAddr, request: &Request, trailers: &[(&str, &str)]) -> Answer {
    let socket = TcpStream::connect(address).await.unwrap();
    let (mut sender, connection) = client::handshake(socket).await.unwrap();
    let connection = tokio::spawn(connection);
    let ends = request.body.is_empty() && trailers.is_empty();
    let (answer, mut body) = sender.send_request(head(request), ends).unwrap();
    if !ends {
        // Small bodies only: nobody waits for the window.
        let bytes = Bytes::from(request.body.clone());
        body.send_data(bytes, trailers.is_empty()).unwrap();
        if !trailers.is_empty() {
            body.send_trailers(fields(trailers)).unwrap();
        }
    }
    let answer = answer.await.unwrap();
    let (parts, mut body) = answer.into_parts();
    let headers = parts.headers.iter();
    let headers = headers
        .map(|(name, value)| (name.to_string(), value.to_str().unwrap_or_default().to_owned()));
    let mut answer = Answer {
        status: parts.status.as_u16(),
        headers: headers.collect(),
        body: Vec::new(),
        interim: Vec::new(),
    };
    while let Some(bytes) = body.data().await {
        answer.body.extend_from_slice(&bytes.unwrap());
    }
    connection.abort();
    answer
}

fn head(request: &Request) -> http::Request<()> {
    let uri = format!("http://piton.test{}", request.target);
    let mut head = http::Request::builder().method(&*request.method).uri(uri);
    for (name, value) in &request.headers {
        if !name.eq_ignore_ascii_case("Host") {
            head = head.header(name, value);
        }
    }
    head.body(()).unwrap()
}

fn fields(trailers: &[(&str, &str)]) -> HeaderMap {
    let field = |(name, value): &(&str, &str)| {
        let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
        (name, HeaderValue::from_str(value).unwrap())
    };
    trailers.iter().map(field).collect()
}
