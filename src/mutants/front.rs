//! What stands where the service would.

use std::{
    collections::{BTreeMap, BTreeSet},
    error::Error,
    fmt,
    net::IpAddr,
    ops::Deref,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use bytes::Bytes;
use http::{HeaderValue, Request, Response, header};
use http_body::Body;
use http_body_util::{BodyExt, combinators::UnsyncBoxBody};
use serde_json::Value;

use super::{Asked, Break, Mutant, chunks};
use crate::service::{Aborted, ResponseBody, Service};

/// The service, behind a mutant where one was chosen.
#[derive(Clone)]
pub struct Front {
    service: Service,
    mutant: Option<Mutant>,
    memory: Memory,
}

/// The body of a request, of whatever kind it was.
pub(super) type Carried = UnsyncBoxBody<Bytes, Box<dyn Error + Send + Sync>>;

/// How an exchange ends.
pub(super) type Exchange =
    Pin<Box<dyn Future<Output = Result<Response<ResponseBody>, Aborted>> + Send>>;

/// What mutants remember from one request to the next.
#[derive(Debug, Clone, Default)]
pub(super) struct Memory(Arc<Mutex<Remembered>>);

/// Paths.
#[derive(Debug, Default)]
pub(super) struct Remembered {
    /// Those that a request is writing to.
    pub(super) busy: BTreeSet<String>,
    /// Those that clients know by another name.
    pub(super) known_as: BTreeMap<String, String>,
}

impl Memory {
    pub(super) fn lock(&self) -> MutexGuard<'_, Remembered> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Front {
    /// Puts `mutant` in front of `service`.
    pub(crate) fn new(service: Service, mutant: Option<Mutant>) -> Self {
        Self { service, mutant, memory: Memory::default() }
    }

    /// As [`Service::for_peer`].
    #[must_use]
    pub(crate) fn for_peer(self, peer: IpAddr) -> Self {
        Self { service: self.service.for_peer(peer), ..self }
    }

    /// As [`Service::answer`].
    pub(crate) async fn answer<B>(
        self,
        request: Request<B>,
    ) -> Result<Response<ResponseBody>, Aborted>
    where
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<Box<dyn Error + Send + Sync>>,
    {
        let Some(mutant) = self.mutant else { return self.service.answer(request).await };
        let asked = Asked::of(&request);
        let request = request.map(|body| body.map_err(Into::into).boxed_unsync());
        match mutant.how {
            Break::Request(edit) => self.service.answer(edited(request, edit)).await,
            Break::Answer(edit) => {
                let mut answer = self.service.answer(request).await?;
                edit(&asked, &mut answer);
                Ok(answer)
            }
            Break::Between(heard, told) => {
                let mut answer = self.service.answer(edited(request, heard)).await?;
                told(&asked, &mut answer);
                Ok(answer)
            }
            Break::Json(edit) => reread(&asked, self.service.answer(request).await?, edit).await,
            Break::Around(around) => around(self.service, self.memory, asked, request).await,
            Break::Storage(_) => self.service.answer(request).await,
        }
    }
}

fn edited(request: Request<Carried>, edit: fn(&mut http::request::Parts)) -> Request<Carried> {
    let (mut parts, body) = request.into_parts();
    edit(&mut parts);
    Request::from_parts(parts, body)
}

/// The answer with other JSON, where it has any; files are left alone.
async fn reread(
    asked: &Asked,
    mut answer: Response<ResponseBody>,
    edit: chunks::Edit,
) -> Result<Response<ResponseBody>, Aborted> {
    if asked.speaks_tus() {
        return Ok(answer);
    }
    let bytes = match answer.body_mut().collect().await {
        Ok(bytes) => bytes.to_bytes(),
        Err(_) => Bytes::new(),
    };
    let (told, mut status) = (serde_json::from_slice::<Value>(&bytes), answer.status());
    let mut value = told.as_ref().cloned().unwrap_or_default();
    edit(asked, &mut status, &mut value);
    *answer.status_mut() = status;
    let same = told.map_or(true, |told| told == value);
    let bytes = if same { bytes.into() } else { value.to_string().into_bytes() };
    *answer.body_mut() = ResponseBody::whole(bytes);
    if status.is_success() && !same {
        let json = HeaderValue::from_static("application/json");
        answer.headers_mut().insert(header::CONTENT_TYPE, json);
    }
    Ok(answer)
}

impl Deref for Front {
    type Target = Service;

    fn deref(&self) -> &Service {
        &self.service
    }
}

impl fmt::Debug for Front {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Front").field(&self.mutant).finish()
    }
}

impl<B> hyper::service::Service<Request<B>> for Front
where
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    type Response = Response<ResponseBody>;
    type Error = Aborted;
    type Future = Exchange;

    fn call(&self, request: Request<B>) -> Exchange {
        Box::pin(self.clone().answer(request))
    }
}
