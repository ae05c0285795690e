//! The request: route → decode → run → encode. A hyper service, and the library's face.

mod about;
mod body;
mod caller;
mod chunks;
mod instant;
mod intake;
mod multipart;
mod refusal;
mod response;
pub(crate) mod shares;
#[cfg(test)]
mod tests;
mod turns;
mod tus;
mod waiting;

use std::{
    error::Error,
    fmt,
    pin::Pin,
    sync::{Arc, atomic::AtomicUsize},
};

use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, StatusCode, header, request::Parts};
use http_body::Body;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

pub(crate) use self::{about::is_about, waiting::Waiting};
pub use self::{
    body::Pace,
    caller::ClientAddress,
    refusal::{Aborted, is_short_of_descriptors},
    response::ResponseBody,
    turns::TurnOptions,
};
use self::{
    body::{Received, RequestBody},
    caller::Caller,
    intake::Intake,
    refusal::Refusal,
    response::render,
    turns::Turns,
};
use crate::{
    ingest::{Broken, Ingest},
    protocol::{
        BodyLength, Cors, Links, OwnerHeader, Page, Problem, Proxies,
        chunks::route,
        tus::{Rules, decode},
    },
    telemetry::Spoken,
    upload::Dialect,
};

/// What requests are held to.
#[derive(Debug, Clone)]
pub struct ServiceOptions {
    /// Rules of the tus dialect.
    pub rules: Rules,
    /// Where answers say that things are.
    pub links: Links,
    /// Whose pages may read answers.
    pub cors: Cors,
    /// Whose word about a client is taken; it needs [`Service::for_peer`].
    pub proxies: Proxies,
    /// In which header they name the owner of a request.
    pub owner: OwnerHeader,
    /// What browsers are served beside the dialects.
    pub page: Page,
    /// How long a body may make us wait.
    pub pace: Pace,
    /// When the uploads of index clients become files.
    pub finishing: Finishing,
    /// How many may send at the same time.
    pub turns: TurnOptions,
    /// Who looks at what is counted.
    pub metrics: Metrics,
}

/// Who looks at what is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Metrics {
    /// Whoever asks for `/metrics`.
    Shown,
    /// Nobody (`--no-metrics`).
    Hidden,
}

/// When the uploads of index clients become files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Finishing {
    /// When a client asks for it.
    OnRequest,
    /// As soon as all chunks are there (`--auto-merge`).
    WhenComplete,
}

/// Serves both dialects. Clones share everything but who asks.
#[derive(Clone)]
pub struct Service(Arc<Inner>, Caller);

struct Inner {
    ingest: Arc<Ingest>,
    options: ServiceOptions,
    turns: Arc<Turns>,
    intake: Intake,
    /// Bodies that are being received.
    bodies: Arc<AtomicUsize>,
    tasks: TaskTracker,
    stop: CancellationToken,
    closed: CancellationToken,
}

impl Service {
    /// From now on every request is broken off. For the moment between the last request of a stop
    /// and the mark that the stop was clean.
    pub fn close(&self) {
        self.0.closed.cancel();
    }

    /// Requests run as `tasks` of their own, which a client that hangs up does not cancel. Once
    /// `stop` is cancelled, HTTP/1.1 connections are told to close.
    pub fn new(
        ingest: Arc<Ingest>,
        options: ServiceOptions,
        tasks: TaskTracker,
        stop: CancellationToken,
    ) -> Self {
        let closed = CancellationToken::new();
        let (caller, turns) = (Caller::default(), Arc::default());
        let intake = Intake::new(options.turns.together);
        let bodies = Arc::default();
        let inner = Inner { ingest, options, turns, intake, bodies, tasks, stop, closed };
        Self(Arc::new(inner), caller)
    }

    fn ingest(&self) -> &Arc<Ingest> {
        &self.0.ingest
    }

    fn rules(&self) -> &Rules {
        &self.0.options.rules
    }

    /// How long clients may make us wait.
    pub fn pace(&self) -> Pace {
        self.0.options.pace
    }

    /// How many bodies are being received, at any time.
    pub(crate) fn bodies(&self) -> Arc<AtomicUsize> {
        self.0.bodies.clone()
    }

    fn tasks(&self) -> &TaskTracker {
        &self.0.tasks
    }

    fn links(&self) -> &Links {
        self.1.links.as_deref().unwrap_or(&self.0.options.links)
    }

    /// Answers a request. `Aborted` asks for the connection to be closed without an answer.
    pub async fn answer<B>(self, request: Request<B>) -> Result<Response<ResponseBody>, Aborted>
    where
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<Box<dyn Error + Send + Sync>>,
    {
        let (parts, body) = request.into_parts();
        // Doubtful framing is refused although the body is over: who stands between may read on.
        let over = body.is_end_stream();
        let length = BodyLength::of(&parts).map(|told| if over { BodyLength::Empty } else { told });
        let announced = match &length {
            Ok(BodyLength::Empty) => Some(0),
            Ok(BodyLength::Exactly(bytes)) => Some(*bytes),
            Ok(BodyLength::Unknown) | Err(_) => None,
        };
        let counted = (!over).then(|| Received::begin(self.bodies()));
        let counts = (self.ingest().meter().clone(), counted);
        let body = RequestBody::new(body, announced, self.0.options.pace, counts);
        if parts.headers.contains_key(header::TRAILER) {
            body.expect_trailers();
        }
        // Counted before it is asked whether the stop is over: else it could end in between.
        let counted = self.0.tasks.token();
        if self.0.closed.is_cancelled() {
            return Err(Aborted(Broken::Cut));
        }
        let tasks = self.0.tasks.clone();
        // Detached: whatever has begun is brought to its end although the client hangs up.
        // It is large, and would be moved more than once on its way.
        let task = tasks.spawn(Box::pin(self.run(parts, length, body)));
        drop(counted);
        task.await.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()))
    }

    async fn run(
        mut self,
        mut parts: Parts,
        length: Result<BodyLength, Problem>,
        mut body: RequestBody,
    ) -> Result<Response<ResponseBody>, Aborted> {
        let client = self.meet(&mut parts);
        let answered = match length {
            Ok(length) => self.dispatch(&parts, length, &mut body).await,
            Err(problem) => Ok(self.refusal_of_head(&parts, &problem)),
        };
        let mut response = match answered {
            Ok(response) => response,
            Err(Refusal::Problem(problem)) => render(problem.response(Dialect::Chunks)),
            Err(Refusal::Abort(aborted)) => {
                tracing::debug!(reason = %aborted, path = parts.uri.path(), "request broken off");
                self.count(&parts, None);
                return Err(aborted);
            }
        };
        tracing::debug!(
            method = %parts.method,
            path = parts.uri.path(),
            status = response.status().as_u16(),
            client = client.map(tracing::field::display),
            "answered"
        );
        self.count(&parts, Some(response.status()));
        self.0.options.cors.write(&parts, response.headers_mut());
        self.leave_body(&parts, body, &mut response);
        if parts.method == Method::HEAD {
            *response.body_mut() = ResponseBody::empty();
        }
        Ok(response)
    }

    async fn dispatch(
        &self,
        parts: &Parts,
        length: BodyLength,
        body: &mut RequestBody,
    ) -> Result<Response<ResponseBody>, Refusal> {
        if let Some(problem) = &self.1.nobody {
            return Ok(self.refusal_of_head(parts, problem));
        }
        let path = parts.uri.path();
        if let Some(request) = decode(parts, length, self.rules()) {
            return self.tus(request, &parts.headers, body).await;
        }
        // Under the base it is an OPTIONS of tus, which is answered as well as this.
        if let Some(answer) = self.0.options.cors.preflight(parts) {
            return Ok(render(answer));
        }
        if let Some(route) = route(&parts.method, path, self.served()) {
            return Box::pin(self.chunks(route, parts, length, body)).await.map(render);
        }
        if let Some(answer) = self.0.options.page.answer(parts) {
            return Ok(render(answer?));
        }
        self.about(parts).await.unwrap_or_else(|| Err(Problem::NotFound.into()))
    }

    fn count(&self, parts: &Parts, status: Option<StatusCode>) {
        let path = parts.uri.path();
        let spoken = if self.rules().base.strip(path).is_some() {
            Spoken::Tus
        } else if route(&parts.method, path, self.served()).is_some() {
            Spoken::Chunks
        } else {
            Spoken::Other
        };
        self.ingest().meter().request(spoken, &parts.method, status);
    }

    /// Answers a head that cannot be trusted, and closes: nothing behind it may be taken for a
    /// request.
    pub fn refuse_head(&self, parts: &Parts, problem: &Problem) -> Response<ResponseBody> {
        let mut response = self.refusal_of_head(parts, problem);
        self.0.options.cors.write(parts, response.headers_mut());
        response
    }

    fn refusal_of_head(&self, parts: &Parts, problem: &Problem) -> Response<ResponseBody> {
        let tus = self.rules().base.strip(parts.uri.path()).is_some();
        let dialect = if tus { Dialect::Tus } else { Dialect::Chunks };
        let mut response = render(problem.response(dialect));
        if parts.version < http::Version::HTTP_2 {
            let close = HeaderValue::from_static("close");
            response.headers_mut().insert(header::CONNECTION, close);
        }
        response
    }

    /// What is left of the body is drained behind the answer. A client that still waits for 100 is
    /// not told to send what nobody wants: reading would tell it, so its connection is closed
    /// instead.
    fn leave_body(&self, parts: &Parts, body: RequestBody, response: &mut Response<ResponseBody>) {
        let close = HeaderValue::from_static("close");
        let http1 = parts.version < http::Version::HTTP_2;
        if self.0.stop.is_cancelled() && http1 {
            response.headers_mut().insert(header::CONNECTION, close.clone());
        }
        if body.is_over() {
            return;
        }
        if body.is_untouched() && parts.headers.contains_key(header::EXPECT) {
            if http1 {
                response.headers_mut().insert(header::CONNECTION, close);
            }
            return;
        }
        self.0.tasks.spawn(body.drain(self.0.stop.clone()));
    }
}

impl fmt::Debug for Service {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Service").field("options", &self.0.options).finish_non_exhaustive()
    }
}

impl<B> hyper::service::Service<Request<B>> for Service
where
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    type Response = Response<ResponseBody>;
    type Error = Aborted;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Aborted>> + Send>>;

    fn call(&self, request: Request<B>) -> Self::Future {
        Box::pin(self.clone().answer(request))
    }
}
