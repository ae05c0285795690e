//! Paths, methods and media types of the chunk flow.

use http::{HeaderMap, Method};

use crate::protocol::{
    BodyLength, Problem,
    headers::{media_type, plain_coding},
};

/// What is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Route {
    /// GET `/upload/check`: is the chunk there?
    Check,
    /// HEAD `/upload/check`: the same, told by the status alone.
    Probe,
    /// POST or PUT `/upload`: a chunk.
    Upload,
    /// GET or HEAD `/upload/status`: how does the upload stand?
    Status,
    /// POST `/upload/init`: begin an upload, or learn how it stands.
    Init,
    /// POST `/upload/instant`: make the file out of one that is held.
    Instant,
    /// POST `/merge`: make the file.
    Merge,
    /// DELETE `/upload`: away with the upload.
    Delete,
}

/// May clients delete?
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Deleting {
    /// They may.
    Allowed,
    /// They may not (`--disable-termination`): the same uploads are refused to them under tus.
    Refused,
}

/// May files be finished without being sent?
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Instantly {
    /// They may (`--instant`).
    Offered,
    /// They may not: there is no such path.
    #[default]
    Never,
}

/// Which of the requests that an operator decides on are served.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Served {
    /// May clients delete?
    pub deleting: Deleting,
    /// May files be finished without being sent?
    pub instantly: Instantly,
}

/// What is asked under this path; `None` where the path belongs to nobody here. Another method:
/// [`Problem::MethodNotAllowed`]. No version header is needed.
pub fn route(method: &Method, path: &str, served: Served) -> Option<Result<Route, Problem>> {
    let (route, allow) = match path.strip_suffix('/').unwrap_or(path) {
        "/upload" => match served.deleting {
            Deleting::Allowed => (upload(method), "POST, PUT, DELETE"),
            Deleting::Refused => {
                let route = upload(method).filter(|route| *route != Route::Delete);
                (route, "POST, PUT")
            }
        },
        "/upload/check" => (check(method), "GET, HEAD"),
        "/upload/status" => (status(method), "GET, HEAD"),
        "/upload/init" => ((method == Method::POST).then_some(Route::Init), "POST"),
        "/upload/instant" if served.instantly == Instantly::Offered => {
            ((method == Method::POST).then_some(Route::Instant), "POST")
        }
        "/merge" => ((method == Method::POST).then_some(Route::Merge), "POST"),
        _ => return None,
    };
    Some(route.ok_or_else(|| Problem::MethodNotAllowed { allow: allow.to_owned() }))
}

fn upload(method: &Method) -> Option<Route> {
    match *method {
        Method::POST | Method::PUT => Some(Route::Upload),
        Method::DELETE => Some(Route::Delete),
        _ => None,
    }
}

fn check(method: &Method) -> Option<Route> {
    match *method {
        Method::GET => Some(Route::Check),
        Method::HEAD => Some(Route::Probe),
        _ => None,
    }
}

fn status(method: &Method) -> Option<Route> {
    matches!(*method, Method::GET | Method::HEAD).then_some(Route::Status)
}

/// How a chunk's bytes come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BodyKind {
    /// As the body itself, of so many bytes.
    Raw {
        /// `Content-Length`.
        length: u64,
    },
    /// As the one file of a form; its length only its end tells.
    Multipart,
}

impl BodyKind {
    /// Reads `Content-Type`: 415 for another than `application/octet-stream` and
    /// `multipart/form-data`, and for a coded body; 411 for a raw body of unknown length (row
    /// CHUNK-PUT-09).
    pub fn of(headers: &HeaderMap, body: BodyLength) -> Result<Self, Problem> {
        plain_coding(headers)?;
        match (media_type(headers).as_deref(), body) {
            (Some("multipart/form-data"), _) => Ok(Self::Multipart),
            (Some("application/octet-stream"), BodyLength::Empty) => Ok(Self::Raw { length: 0 }),
            (Some("application/octet-stream"), BodyLength::Exactly(length)) => {
                Ok(Self::Raw { length })
            }
            (Some("application/octet-stream"), BodyLength::Unknown) => Err(Problem::LengthRequired),
            _ => Err(Problem::UnsupportedMediaType {
                accepted: "application/octet-stream or multipart/form-data",
            }),
        }
    }
}
