//! What belongs to no dialect: how the server is, what it counts, and how it is spoken to.

use http::{HeaderValue, Method, Response, header, request::Parts};

use super::{Metrics, Service, refusal::Refusal, response::ResponseBody};
use crate::{
    ingest::HoldError,
    protocol::Problem,
    telemetry::{MEDIA_TYPE, Readings},
};

/// The chunk flow for machines, as the tree has it.
const OPENAPI: &str = include_str!("../../docs/openapi.json");

impl Service {
    /// `None` where the path belongs to nobody here.
    pub(super) async fn about(
        &self,
        parts: &Parts,
    ) -> Option<Result<Response<ResponseBody>, Refusal>> {
        let told = match bare(parts.uri.path()) {
            "/healthz" => ("text/plain", "ok\n".to_owned()),
            "/readyz" => match self.ready(&parts.method).await {
                Ok(told) => told,
                Err(refusal) => return Some(Err(refusal)),
            },
            "/metrics" if self.0.options.metrics == Metrics::Shown => {
                (MEDIA_TYPE, self.ingest().meter().page(self.readings()))
            }
            "/openapi.json" => ("application/json", OPENAPI.to_owned()),
            _ => return None,
        };
        Some(tell(&parts.method, told))
    }

    /// Nothing is tried for a method that is refused.
    async fn ready(&self, method: &Method) -> Result<(&'static str, String), Refusal> {
        if matches!(*method, Method::GET | Method::HEAD) {
            self.ingest().ready().await.map_err(HoldError::Io)?;
        }
        Ok(("text/plain", "ready\n".to_owned()))
    }

    fn readings(&self) -> Readings {
        let number = |count: usize| u64::try_from(count).unwrap_or(u64::MAX);
        let (buffers, buffers_max) = self.ingest().buffers();
        Readings {
            buffers: number(buffers),
            buffers_max: number(buffers_max),
            waiting: number(self.0.turns.waiting()),
        }
    }
}

/// Does somebody look how the server is? It is told whatever else goes on.
pub(crate) fn is_about(path: &str) -> bool {
    matches!(bare(path), "/healthz" | "/metrics")
}

fn bare(path: &str) -> &str {
    path.strip_suffix('/').unwrap_or(path)
}

fn tell(
    method: &Method,
    (media_type, text): (&'static str, String),
) -> Result<Response<ResponseBody>, Refusal> {
    if !matches!(*method, Method::GET | Method::HEAD) {
        return Err(Problem::MethodNotAllowed { allow: "GET, HEAD".to_owned() }.into());
    }
    let mut response = Response::new(ResponseBody::whole(text.into_bytes()));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(media_type));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(response)
}
