//! A chunk that comes as the file of a form. The file is staged as it streams by; fields may stand
//! before and behind.

use std::{
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use futures_core::Stream;
use http::{HeaderMap, header};
use multer::{Constraints, Field, Multipart, SizeLimit};

use super::{
    Service,
    body::RequestBody,
    refusal::{Refusal, refuse},
};
use crate::{
    ingest::{Attendance, Broken, CHUNK_LEN_MAX, Hashing, Source, StagedChunk},
    protocol::{
        Problem,
        chunks::{FIELD_BYTES_MAX as FIELD_BYTES, FIELDS_MAX, Params},
    },
    upload::{ChunkIndex, ChunkKey, UploadId},
};

/// What a form came to.
pub(super) struct Form {
    pub(super) fields: Vec<(String, String)>,
    pub(super) chunk: StagedChunk,
    pub(super) attended: Option<Attended>,
}

/// The upload that a form is for, where the fields before the file tell it.
pub(super) struct Attended {
    pub(super) key: ChunkKey,
    pub(super) id: UploadId,
    /// Keeps it until the chunk is part of it.
    pub(super) attendance: Attendance,
}

const MALFORMED: Problem = Problem::MalformedMultipart { why: "the form cannot be read" };

impl Service {
    /// Reads a whole form with exactly one part named `file` or `chunk`. `with_md5` asks for the
    /// file's MD5 too.
    pub(super) async fn read_form(
        &self,
        params: &Params,
        headers: &HeaderMap,
        mut body: RequestBody,
        md5: Hashing,
    ) -> Result<Form, Refusal> {
        let kind = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
        let boundary = multer::parse_boundary(kind.unwrap_or_default()).map_err(|_| {
            Problem::MalformedMultipart { why: "the Content-Type has no usable boundary" }
        })?;
        let mut form = Multipart::with_constraints(body.clone(), boundary, constraints());
        let mut fields = Vec::new();
        let mut chunk = None;
        let mut attended = None;
        while let Some(field) = form.next_field().await.map_err(form_error)? {
            body.handed_on();
            match field.name().unwrap_or_default().to_owned().as_str() {
                "file" | "chunk" if chunk.is_some() => {
                    let why = "it has more than one file";
                    return Err(Problem::MalformedMultipart { why }.into());
                }
                "file" | "chunk" => {
                    let mut source = FieldSource { field, body: body.clone(), error: None };
                    attended = self.attend(params, &fields).await;
                    let staged = self.ingest().stage_chunk(&mut source, CHUNK_LEN_MAX, md5).await;
                    if let Some(error) = source.error {
                        return Err(form_error(error));
                    }
                    chunk = Some(staged.map_err(|error| refuse(error, ChunkIndex::ZERO))?);
                }
                name => {
                    if fields.len() >= FIELDS_MAX {
                        let why = "it has more than 32 fields";
                        return Err(Problem::MalformedMultipart { why }.into());
                    }
                    let name = name.to_owned();
                    let value = field.bytes().await.map_err(form_error)?;
                    let value = String::from_utf8(value.to_vec()).map_err(|_| {
                        Problem::MalformedMultipart { why: "a field is not UTF-8 text" }
                    })?;
                    fields.push((name, value));
                }
            }
        }
        // The form may be over before the body is; a cut there is a cut all the same.
        body.collect(FIELD_BYTES).await?.ok_or(MALFORMED)?;
        let missing = Problem::MalformedMultipart { why: "it has no part named file" };
        Ok(Form { fields, chunk: chunk.ok_or(missing)?, attended })
    }
}

fn constraints() -> Constraints {
    let limits = SizeLimit::new()
        .per_field(FIELD_BYTES)
        .for_field("file", CHUNK_LEN_MAX)
        .for_field("chunk", CHUNK_LEN_MAX);
    Constraints::new().size_limit(limits)
}

/// A form's error is the client's, except where the connection itself broke.
fn form_error(error: multer::Error) -> Refusal {
    match error {
        multer::Error::StreamReadFailed(error) => match error.downcast::<Broken>() {
            Ok(broken) => (*broken).into(),
            Err(_) => MALFORMED.into(),
        },
        multer::Error::IncompleteFieldData { .. }
        | multer::Error::IncompleteHeaders
        | multer::Error::IncompleteStream => {
            Problem::MalformedMultipart { why: "it ends in the middle" }.into()
        }
        multer::Error::FieldSizeExceeded { limit, .. }
        | multer::Error::StreamSizeExceeded { limit } => Problem::BodyTooLarge { limit }.into(),
        _ => MALFORMED.into(),
    }
}

/// The file part as a source of bytes.
struct FieldSource {
    field: Field<'static>,
    body: RequestBody,
    error: Option<multer::Error>,
}

impl Source for FieldSource {
    fn poll_bytes(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Bytes, Broken>>> {
        Pin::new(&mut self.field).poll_next(context).map(|next| match next? {
            Ok(bytes) => {
                self.body.handed_on();
                Some(Ok(bytes))
            }
            Err(error) => {
                self.error = Some(error);
                Some(Err(Broken::Cut))
            }
        })
    }

    fn announced(&self) -> Option<u64> {
        None
    }

    fn excuse(&mut self, span: Duration) {
        self.body.excuse(span);
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::VecDeque, convert::Infallible};

    use http_body::{Body, Frame};

    use super::*;
    use crate::{service::body::Pace, telemetry::Meter};

    /// Has nothing yet when it is asked first, and everything right after.
    struct Late(VecDeque<Option<&'static [u8]>>);

    impl Body for Late {
        type Data = Bytes;
        type Error = Infallible;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            context: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
            match self.0.pop_front() {
                Some(None) => {
                    context.waker().wake_by_ref();
                    Poll::Pending
                }
                Some(Some(bytes)) => Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(bytes))))),
                None => Poll::Ready(None),
            }
        }
    }

    fn body(frames: impl IntoIterator<Item = Option<&'static [u8]>>) -> RequestBody {
        let pace = Pace { idle_timeout: Duration::from_secs(30), min_rate: None };
        RequestBody::new(Late(frames.into_iter().collect()), None, pace, (Meter::default(), None))
    }

    /// The parser asks twice before it looks at what it has. Found where a chunk of a form over
    /// HTTP/2 was answered 400 now and then, although all of it had come.
    #[tokio::test]
    async fn a_form_that_comes_between_two_looks_is_whole() {
        let form = b"--x\r\nContent-Disposition: form-data; name=\"hash\"\r\n\r\n0123\r\n--x--\r\n";
        let body = body([None, Some(&form[..])]);
        let mut form = Multipart::with_constraints(body.clone(), "x", constraints());
        let field = form.next_field().await.unwrap().unwrap();
        assert_eq!((field.name(), body.is_over()), (Some("hash"), true));
        assert_eq!(field.bytes().await.unwrap(), "0123");
        assert!(form.next_field().await.unwrap().is_none());
    }

    /// The same with more bytes than the parser may take in before it hands something on.
    #[tokio::test]
    async fn a_form_of_which_much_comes_between_two_looks_is_read() {
        static MUCH: [u8; 200_000] = [7; 200_000];
        let head = b"--x\r\nContent-Disposition: form-data; name=\"file\"\r\n\r\n";
        let frames = [None, Some(&head[..])].into_iter();
        let body = body(frames.chain([Some(&MUCH[..]); 4]).chain([Some(&b"\r\n--x--"[..])]));
        let mut form = Multipart::with_constraints(body.clone(), "x", constraints());
        let mut field = form.next_field().await.unwrap().unwrap();
        body.handed_on();
        let mut length = 0;
        while let Some(bytes) = field.chunk().await.unwrap() {
            body.handed_on();
            length += bytes.len();
        }
        assert_eq!(length, 800_000);
    }
}
