//! tus 1.0.0: each request of the dialect, run.

use std::io;

use http::{HeaderMap, Response};

use super::{
    Service,
    body::RequestBody,
    refusal::{Refusal, refuse},
    response::{ResponseBody, render},
};
use crate::{
    ingest::{Append, Appended, End, HoldError, IngestError, NewFinal, NewUpload, View},
    protocol::{
        Answer, BodyLength, Problem,
        address::Link,
        download::{self, Boundary},
        tus::{
            Creation, FinalCreation, Patch, Request, Rules,
            answer::{self, Progress, Rest},
        },
    },
    upload::{ChunkIndex, Concatenation, Length, UploadId},
};

type Outcome<T> = Result<T, Refusal>;

impl Service {
    pub(super) async fn tus(
        &self,
        request: Result<Request, Problem>,
        asked: &HeaderMap,
        body: &mut RequestBody,
    ) -> Outcome<Response<ResponseBody>> {
        let request = match request {
            Ok(request) => request,
            Err(problem) => return Ok(render(answer::refused(&problem, &Rest::default()))),
        };
        let done = match request {
            Request::Options => Ok(answer::options(self.rules())),
            // Those that are large lie apart, so that the others are small.
            Request::Create(creation) => Box::pin(self.create(creation, None, body)).await,
            Request::CreatePartial(creation) => {
                Box::pin(self.create(creation, Some(Concatenation::Partial), body)).await
            }
            Request::Concatenate(creation) => Box::pin(self.concatenate(creation, body)).await,
            Request::Head(id) => self.head(&id).await,
            Request::Patch(id, patch) => Box::pin(self.patch(id, patch, body)).await,
            Request::Delete(id) => self.terminate(&id).await,
            Request::Get(id) => match self.get(&id, asked).await {
                Ok(response) => return Ok(response),
                Err(refusal) => Err(refusal),
            },
        };
        match done {
            Ok(answer) => Ok(render(answer)),
            Err(Refusal::Problem(problem)) => {
                Ok(render(answer::refused(&problem, &Rest::default())))
            }
            Err(abort) => Err(abort),
        }
    }

    async fn concatenate(
        &self,
        creation: FinalCreation,
        body: &mut RequestBody,
    ) -> Outcome<Answer> {
        if creation.body == BodyLength::Unknown && body.has_bytes().await? {
            return Err(Problem::FinalUpload.into());
        }
        let FinalCreation { parts, metadata, .. } = creation;
        let new = NewFinal {
            parts,
            metadata: metadata.verbatim,
            filename: metadata.filename,
            media_type: metadata.media_type,
            owner: self.owner().to_owned(),
        };
        let created = self.ingest().concatenate(new).await.map_err(plain)?;
        let location = self.links().upload(&created.id);
        let length = created.finished.map(|finished| finished.length);
        Ok(answer::concatenated(&location, length, created.deadline))
    }

    async fn create(
        &self,
        creation: Creation,
        concatenation: Option<Concatenation>,
        body: &mut RequestBody,
    ) -> Outcome<Answer> {
        let bytes = match creation.body {
            BodyLength::Empty => false,
            BodyLength::Exactly(_) => true,
            BodyLength::Unknown => body.has_bytes().await?,
        };
        if bytes {
            creation.takes_bytes()?;
        }
        let _place = if bytes { Some(self.place(body).await?) } else { None };
        let metadata = creation.metadata;
        let new = NewUpload {
            length: creation.length,
            metadata: metadata.verbatim,
            filename: metadata.filename,
            media_type: metadata.media_type,
            concatenation,
            owner: self.owner().to_owned(),
        };
        let created = self.ingest().create(new, creation.checksum, body).await.map_err(plain)?;
        let location = self.links().upload(&created.id);
        let told = progress(&created.appended);
        let rest = rest(&created.appended, Some(location.clone()));
        match verdict(created.appended, self.rules())? {
            Ok(()) => Ok(answer::created(&location, told)),
            Err(problem) => Ok(answer::refused(&problem, &rest)),
        }
    }

    /// A HEAD has no use for a status that comes from a passing reason: clients drop the upload on
    /// anything but 423.
    async fn head(&self, id: &UploadId) -> Outcome<Answer> {
        let view = match self.ingest().head(id).await {
            Ok(view) => view,
            Err(error) => {
                let refusal = match plain(error) {
                    Refusal::Problem(Problem::Overloaded { .. }) => Problem::Busy.into(),
                    other => other,
                };
                return self.refuse_with_rest(id, refusal).await;
            }
        };
        let (manifest, expires_at) = (view.record.manifest(), view.deadline);
        let answer = if manifest.parts().is_some() && view.record.finished().is_none() {
            answer::head_of_awaited(view.awaited, expires_at, &manifest.metadata)
        } else {
            let progress = Progress { offset: view.offset, expires_at };
            answer::head(progress, view.record.layout().length(), &manifest.metadata)
        };
        Ok(answer::with_concatenation(answer, manifest.concatenation.as_ref()))
    }

    async fn patch(
        &self,
        id: UploadId,
        patch: Result<Patch, Problem>,
        body: &mut RequestBody,
    ) -> Outcome<Answer> {
        let patch = match patch {
            Ok(patch) => patch,
            Err(problem) => {
                // What the upload is, is said before anything about the head.
                let view = self.ingest().status(&id).await.map_err(plain)?;
                let is_final = view.record.manifest().parts().is_some();
                let problem = if is_final { Problem::FinalUpload } else { problem };
                return Ok(answer::refused(&problem, &rest_of(&view)));
            }
        };
        let Patch { offset, length, checksum: demand, .. } = patch;
        let _place = if body.is_over() { None } else { Some(self.place(body).await?) };
        let append = Append { id: id.clone(), offset, length, demand };
        let appended = match self.ingest().append(append, body).await {
            Ok(appended) => appended,
            Err(error) => return self.refuse_with_rest(&id, plain(error)).await,
        };
        let told = progress(&appended);
        let rest = rest(&appended, None);
        match verdict(appended, self.rules())? {
            Ok(()) => Ok(answer::appended(told)),
            Err(problem) => Ok(answer::refused(&problem, &rest)),
        }
    }

    /// A refusal, with what every answer about an unfinished upload tells.
    async fn refuse_with_rest(&self, id: &UploadId, refusal: Refusal) -> Outcome<Answer> {
        match refusal {
            Refusal::Problem(problem @ (Problem::UnknownUpload | Problem::Gone)) => {
                Err(problem.into())
            }
            Refusal::Problem(problem) => {
                let rest = self.rest_of(id).await.unwrap_or_default();
                Ok(answer::refused(&problem, &rest))
            }
            abort @ Refusal::Abort(_) => Err(abort),
        }
    }

    /// What every answer about an unfinished upload tells: when it expires.
    async fn rest_of(&self, id: &UploadId) -> Outcome<Rest> {
        let view = self.ingest().status(id).await.map_err(plain)?;
        Ok(rest_of(&view))
    }

    async fn terminate(&self, id: &UploadId) -> Outcome<Answer> {
        self.ingest().terminate(id).await.map_err(plain)?;
        Ok(answer::deleted())
    }

    async fn get(&self, id: &UploadId, asked: &HeaderMap) -> Outcome<Response<ResponseBody>> {
        let download = self.ingest().download(id).await.map_err(plain)?;
        let mut random = [0; 16];
        getrandom::fill(&mut random).map_err(|error| HoldError::Io(io::Error::other(error)))?;
        let (manifest, finished) = (download.record.manifest(), &download.finished);
        let sha256 = download.record.sha256();
        let file = download::Download { manifest, finished, sha256 };
        let answer = file.answer(asked, &Boundary::new(random))?;
        let patience = (self.tasks(), self.pace().stall_max());
        Ok(answer.map(|pieces| ResponseBody::file(download, pieces, patience)))
    }
}

fn rest_of(view: &View) -> Rest {
    Rest { location: None, offset: None, expires_at: view.deadline }
}

fn progress(appended: &Appended) -> Progress {
    Progress { offset: appended.offset, expires_at: appended.deadline }
}

fn rest(appended: &Appended, location: Option<Link>) -> Rest {
    Rest { location, offset: Some(appended.offset), expires_at: appended.deadline }
}

/// What an append came to, for the client: it is fine, it is a problem, or nobody is there to be
/// told.
fn verdict(appended: Appended, rules: &Rules) -> Outcome<Result<(), Problem>> {
    if let Some(failure) = appended.failure {
        return told(plain(failure));
    }
    match appended.end {
        End::Complete => Ok(Ok(())),
        End::Overflow => Ok(Err(overflow(appended.length, rules))),
        End::TakenOver => Ok(Err(Problem::TakenOver)),
        End::Stopping => Ok(Err(Problem::ShuttingDown)),
        End::Broken(broken) => told(broken.into()),
    }
}

/// More bytes came than the file has, or than any file may have.
fn overflow(length: Option<Length>, rules: &Rules) -> Problem {
    match (length, rules.max_size) {
        (None, Some(max)) => Problem::MaxSizeExceeded { max },
        (length, _) => Problem::LengthExceeded { length: length.unwrap_or_default() },
    }
}

fn told(refusal: Refusal) -> Outcome<Result<(), Problem>> {
    match refusal {
        Refusal::Problem(problem) => Ok(Err(problem)),
        abort @ Refusal::Abort(_) => Err(abort),
    }
}

/// Offset clients never speak of chunks.
fn plain(error: IngestError) -> Refusal {
    refuse(error, ChunkIndex::ZERO)
}
