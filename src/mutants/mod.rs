//! Ways to be wrong, on purpose: piton with one rule broken, for the judge to notice.
//!
//! Only under the feature `mutants`, which no build for users has. A mutant is a decorator that the
//! composition root puts in front of the service or of the storage; what it stands in front of is
//! the code that everybody runs, and knows nothing of it.

mod answers;
mod around;
mod chunks;
mod front;
mod list;
mod requests;
mod storage;

use std::{fmt, str::FromStr, sync::Arc};

use http::{Method, Request, Response, Uri, header::HeaderMap, request::Parts};

pub use self::front::Front;
use crate::{protocol::headers::X_HTTP_METHOD_OVERRIDE, service::ResponseBody, storage::Storage};

/// One broken rule.
#[derive(Clone, Copy)]
pub struct Mutant {
    name: &'static str,
    /// Rows of the conformance page of which at least one has to notice.
    rows: &'static str,
    how: Break,
}

/// Where a mutant stands, and what it does there.
#[derive(Clone, Copy)]
enum Break {
    /// The service hears another head than was sent.
    Request(fn(&mut Parts)),
    /// The client is told another answer than was given.
    Answer(fn(&Asked, &mut Response<ResponseBody>)),
    /// Both.
    Between(fn(&mut Parts), fn(&Asked, &mut Response<ResponseBody>)),
    /// The client reads other JSON, perhaps under another status.
    Json(chunks::Edit),
    /// The exchange as a whole.
    Around(around::Around),
    /// Other bytes are kept.
    Storage(storage::Harm),
}

/// A name that no mutant has.
#[derive(Debug, thiserror::Error)]
#[error("there is no such mutant; `piton --list-mutants` tells which there are")]
pub struct UnknownMutant;

impl Mutant {
    /// All of them, a line each: its name, a blank, the rows that have to notice, with commas.
    pub fn list() -> String {
        let lines = list::ALL.iter().map(|mutant| format!("{} {}\n", mutant.name, mutant.rows));
        lines.collect()
    }

    /// The storage that this one, if any, has the rooms work with.
    pub(crate) fn behind(chosen: Option<Self>, storage: Arc<dyn Storage>) -> Arc<dyn Storage> {
        match chosen.map(|mutant| mutant.how) {
            Some(Break::Storage(harm)) => Arc::new(storage::Harmed::new(storage, harm)),
            _ => storage,
        }
    }
}

impl FromStr for Mutant {
    type Err = UnknownMutant;

    fn from_str(name: &str) -> Result<Self, UnknownMutant> {
        list::ALL.iter().find(|mutant| mutant.name == name).copied().ok_or(UnknownMutant)
    }
}

impl PartialEq for Mutant {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl Eq for Mutant {}

impl fmt::Debug for Mutant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

/// The head of a request as the client sent it.
struct Asked {
    method: Method,
    uri: Uri,
    headers: HeaderMap,
}

impl Asked {
    fn of<B>(request: &Request<B>) -> Self {
        let overridden = request.headers().get(X_HTTP_METHOD_OVERRIDE);
        let overridden = overridden.filter(|_| request.method() == Method::POST);
        let method = overridden.and_then(|name| Method::from_bytes(name.as_bytes()).ok());
        Self {
            method: method.unwrap_or_else(|| request.method().clone()),
            uri: request.uri().clone(),
            headers: request.headers().clone(),
        }
    }

    fn is(&self, method: &Method) -> bool {
        self.method == *method
    }

    fn speaks_tus(&self) -> bool {
        self.uri.path().starts_with("/files")
    }

    fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }
}
