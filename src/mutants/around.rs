//! Exchanges that go otherwise as a whole.

use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, StatusCode, header, request::Parts};
use http_body_util::{BodyExt, Full};
use serde_json::Value;

use super::{
    Asked,
    answers::become_empty,
    front::{Carried, Exchange, Memory},
    requests::reword,
};
use crate::{
    protocol::headers::{TUS_RESUMABLE, UPLOAD_CHECKSUM, UPLOAD_LENGTH},
    service::{ResponseBody, Service},
};

/// The whole of one.
pub(super) type Around = fn(Service, Memory, Asked, Request<Carried>) -> Exchange;

/// Clients know uploads by numbers.
pub(super) fn ids_counted(
    service: Service,
    memory: Memory,
    _: Asked,
    mut request: Request<Carried>,
) -> Exchange {
    Box::pin(async move {
        let known_as = memory.lock().known_as.get(request.uri().path()).cloned();
        if let Some(Ok(uri)) = known_as.map(|path| path.parse()) {
            *request.uri_mut() = uri;
        }
        let mut answer = service.answer(request).await?;
        reword(answer.headers_mut(), header::LOCATION.as_str(), |path| {
            let mut memory = memory.lock();
            let number = format!("/files/{:032}", memory.known_as.len().saturating_add(1));
            memory.known_as.insert(number.clone(), path.to_owned());
            Some(number)
        });
        Ok(answer)
    })
}

/// Who is refused for the size is served as if it were one byte.
pub(super) fn max_size_not_held(
    service: Service,
    _: Memory,
    asked: Asked,
    request: Request<Carried>,
) -> Exchange {
    Box::pin(async move {
        let answer = service.clone().answer(request).await?;
        let created = asked.is(&Method::POST) && asked.speaks_tus();
        if !created || answer.status() != StatusCode::PAYLOAD_TOO_LARGE {
            return Ok(answer);
        }
        let mut again = asking(Method::POST, &asked);
        again.headers_mut().insert(UPLOAD_LENGTH, HeaderValue::from_static("1"));
        service.answer(again).await
    })
}

/// Bytes count only when all of them came.
pub(super) fn cut_body_dropped(
    service: Service,
    _: Memory,
    _: Asked,
    request: Request<Carried>,
) -> Exchange {
    Box::pin(async move {
        let (parts, bytes) = taken_whole(request).await;
        service.answer(with(parts, bytes)).await
    })
}

/// Whoever waits for 100 gets it before anything was looked at.
pub(super) fn continue_first(
    service: Service,
    _: Memory,
    asked: Asked,
    request: Request<Carried>,
) -> Exchange {
    Box::pin(async move {
        if asked.header("Expect").is_none() {
            return service.answer(request).await;
        }
        let (parts, bytes) = taken_whole(request).await;
        service.answer(with(parts, bytes)).await
    })
}

/// 460, and the bytes stay.
pub(super) fn mismatch_kept(
    service: Service,
    _: Memory,
    asked: Asked,
    request: Request<Carried>,
) -> Exchange {
    Box::pin(async move {
        if asked.header(UPLOAD_CHECKSUM).is_none() {
            return service.answer(request).await;
        }
        let (mut parts, bytes) = taken_whole(request).await;
        let answer = service.clone().answer(with(parts.clone(), bytes.clone())).await?;
        if answer.status().as_u16() == 460 {
            parts.headers.remove(UPLOAD_CHECKSUM);
            service.answer(with(parts, bytes)).await?;
        }
        Ok(answer)
    })
}

/// Nobody reads what comes behind a body.
pub(super) fn trailer_ignored(
    service: Service,
    _: Memory,
    asked: Asked,
    request: Request<Carried>,
) -> Exchange {
    Box::pin(async move {
        if asked.header("Trailer").is_none() {
            return service.answer(request).await;
        }
        let (mut parts, bytes) = taken_whole(request).await;
        parts.headers.remove(header::TRAILER);
        service.answer(with(parts, bytes)).await
    })
}

/// 204, and the upload stays.
pub(super) fn termination_hollow(
    service: Service,
    _: Memory,
    asked: Asked,
    request: Request<Carried>,
) -> Exchange {
    Box::pin(async move {
        if !asked.is(&Method::DELETE) || !asked.speaks_tus() {
            return service.answer(request).await;
        }
        let mut answer = service.clone().answer(asking(Method::HEAD, &asked)).await?;
        if answer.status() != StatusCode::OK {
            return service.answer(request).await;
        }
        become_empty(&mut answer, StatusCode::NO_CONTENT);
        Ok(answer)
    })
}

/// GET of an unfinished upload: 200 with nothing.
pub(super) fn unfinished_served(
    service: Service,
    _: Memory,
    asked: Asked,
    request: Request<Carried>,
) -> Exchange {
    Box::pin(async move {
        let answer = service.clone().answer(request).await?;
        if !asked.is(&Method::GET) || answer.status() != StatusCode::NOT_FOUND {
            return Ok(answer);
        }
        let head = service.answer(asking(Method::HEAD, &asked)).await?;
        Ok(if head.status() == StatusCode::OK { head } else { answer })
    })
}

/// Whoever comes while a PATCH runs is sent away.
pub(super) fn no_takeover(
    service: Service,
    memory: Memory,
    asked: Asked,
    request: Request<Carried>,
) -> Exchange {
    /// Ends with the PATCH, however that ends.
    struct Writing(Memory, String);
    impl Drop for Writing {
        fn drop(&mut self) {
            self.0.lock().busy.remove(&self.1);
        }
    }
    Box::pin(async move {
        let path = asked.uri.path().to_owned();
        if memory.lock().busy.contains(&path) {
            let mut answer = Response::new(ResponseBody::empty());
            *answer.status_mut() = StatusCode::LOCKED;
            answer.headers_mut().insert(TUS_RESUMABLE, HeaderValue::from_static("1.0.0"));
            return Ok(answer);
        }
        let writes = asked.is(&Method::PATCH);
        let writing = writes.then(|| Writing(memory.clone(), path.clone()));
        if writes {
            memory.lock().busy.insert(path);
        }
        let answer = service.answer(request).await;
        drop(writing);
        answer
    })
}

/// The composite digest that a client sends is not looked at.
pub(super) fn merge_any_digest(
    service: Service,
    _: Memory,
    asked: Asked,
    request: Request<Carried>,
) -> Exchange {
    Box::pin(async move {
        if asked.uri.path() != "/merge" {
            return service.answer(request).await;
        }
        let (mut parts, bytes) = taken_whole(request).await;
        let bytes = match serde_json::from_slice(&bytes) {
            Ok(Value::Object(mut merge)) => {
                merge.retain(|name, _| !matches!(name.as_str(), "digest" | "digest_format"));
                Value::Object(merge).to_string().into()
            }
            _ => bytes,
        };
        parts.headers.insert(header::CONTENT_LENGTH, bytes.len().into());
        service.answer(with(parts, bytes)).await
    })
}

/// A merge that fails takes the chunks with it.
pub(super) fn merge_mismatch_deletes(
    service: Service,
    _: Memory,
    asked: Asked,
    request: Request<Carried>,
) -> Exchange {
    Box::pin(async move {
        if asked.uri.path() != "/merge" {
            return service.answer(request).await;
        }
        let (parts, bytes) = taken_whole(request).await;
        let answer = service.clone().answer(with(parts, bytes.clone())).await?;
        if answer.status() == StatusCode::UNPROCESSABLE_ENTITY {
            let merge: Value = serde_json::from_slice(&bytes).unwrap_or_default();
            let told = |name| merge.get(name).and_then(Value::as_str).unwrap_or_default();
            let path = format!("/upload?hash={}&filename={}", told("hash"), told("filename"));
            let mut delete = Request::new(Full::<Bytes>::default());
            *delete.method_mut() = Method::DELETE;
            *delete.uri_mut() = path.parse().unwrap_or_default();
            service.answer(delete).await?;
        }
        Ok(answer)
    })
}

/// 204, and the chunks stay.
pub(super) fn chunk_delete_hollow(
    service: Service,
    _: Memory,
    asked: Asked,
    request: Request<Carried>,
) -> Exchange {
    Box::pin(async move {
        if !asked.is(&Method::DELETE) || asked.uri.path() != "/upload" {
            return service.answer(request).await;
        }
        let mut answer = Response::new(ResponseBody::empty());
        *answer.status_mut() = StatusCode::NO_CONTENT;
        Ok(answer)
    })
}

/// All of a body, and nothing behind it. Of one that breaks off nothing is left.
async fn taken_whole(request: Request<Carried>) -> (Parts, Bytes) {
    let (parts, body) = request.into_parts();
    let bytes = match body.collect().await {
        Ok(collected) => collected.to_bytes(),
        Err(_) => Bytes::new(),
    };
    (parts, bytes)
}

fn with(parts: Parts, bytes: Bytes) -> Request<Full<Bytes>> {
    Request::from_parts(parts, Full::new(bytes))
}

/// A request of our own about what was asked about.
fn asking(method: Method, asked: &Asked) -> Request<Full<Bytes>> {
    let mut request = Request::new(Full::default());
    *request.method_mut() = method;
    *request.uri_mut() = asked.uri.clone();
    let version = HeaderValue::from_static("1.0.0");
    request.headers_mut().insert(TUS_RESUMABLE, version);
    request
}
