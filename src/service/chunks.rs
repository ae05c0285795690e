//! The chunk flow: each request of the dialect, run.

use std::time::Duration;

use http::request::Parts;

use super::{
    Finishing, Service,
    body::RequestBody,
    multipart::Attended,
    refusal::{Refusal, merge_problem, refuse},
};
use crate::{
    ingest::{
        ChunkCommitted, ChunkFate, ChunkPut, Condition, ExpectedDigests, Hashing, HoldError,
        IngestError, MergeDemand, MergeOutcome, NewChunked, Origin, StagedChunk, View,
    },
    protocol::{
        Answer, BodyLength, Problem,
        chunks::{
            BodyKind, Check, ChunkUpload, IndexFormat, Init, JSON_BYTES_MAX, Merge, Named, Params,
            Route, StatusQuery, Subject, accepts_json,
            answer::{
                self, Begun, Beside, Checked, ChunkStored, Merged, Status, StatusState, Stored,
            },
            patience,
        },
        tus,
    },
    upload::{ChunkIndex, ChunkKey, Dialect, Finished, Length, Record, UploadHash, UploadId},
};

/// How long the chunk that completes a file waits for the file.
const AUTO_MERGE_WAIT: Duration = Duration::from_secs(2);

pub(super) type Outcome = Result<Answer, Refusal>;

impl Service {
    pub(super) async fn chunks(
        &self,
        route: Result<Route, Problem>,
        parts: &Parts,
        length: BodyLength,
        body: &mut RequestBody,
    ) -> Outcome {
        let done = match route {
            Ok(Route::Check) => self.check(parts).await.map(|checked| checked.response()),
            Ok(Route::Probe) => self.check(parts).await.map(|checked| checked.probe()),
            Ok(Route::Upload) => self.upload(parts, length, body).await,
            Ok(Route::Status) => self.status(parts).await,
            Ok(Route::Init) => self.init(parts, length, body).await,
            Ok(Route::Instant) => self.instant(parts, length, body).await,
            Ok(Route::Merge) => self.merge(parts, length, body).await,
            Ok(Route::Delete) => self.delete(parts).await,
            Err(problem) => Err(problem.into()),
        };
        match done {
            Err(Refusal::Problem(problem)) => Ok(problem.response(Dialect::Chunks)),
            other => other,
        }
    }

    async fn check(&self, parts: &Parts) -> Result<Checked, Refusal> {
        let check = Check::decode(&Params::from_query(parts.uri.query())?)?;
        let Some(view) = self.find(&check.name).await? else {
            return Ok(Checked::unknown(check.index));
        };
        check.fits(view.record.layout())?;
        Ok(Checked::of(&view.record, check.index, check.sha256))
    }

    async fn status(&self, parts: &Parts) -> Outcome {
        let query = StatusQuery::decode(&Params::from_query(parts.uri.query())?)?;
        let (found, name) = match &query.subject {
            Subject::Id(id) => (known(self.ingest().status(id).await)?, None),
            Subject::Named(name) => (self.find(name).await?, Some(name)),
        };
        let Some(view) = found else {
            return Ok(Status::unknown(name, query.format).response());
        };
        Ok(self.status_as(&view, query.format).response())
    }

    fn status_as(&self, view: &View, format: IndexFormat) -> Status {
        let beside = Beside { tail: view.tail, expires_at: view.deadline };
        let mut status = Status::of(&view.record, beside, self.links(), format);
        if view.merging && view.record.finished().is_none() {
            status.state = StatusState::Merging;
        }
        status
    }

    async fn init(&self, parts: &Parts, length: BodyLength, body: &mut RequestBody) -> Outcome {
        let init = Init::decode(&collect_json(parts, length, body).await?)?;
        self.check_size(Some(init.size))?;
        let mut random = [0; 20];
        getrandom::fill(&mut random).map_err(|error| HoldError::Io(error.into()))?;
        let key = init.name(|| UploadHash::from_random(random)).key(self.owner());
        let found = known(self.ingest().status_for_chunk(key.clone()).await)?;
        let (view, begun) = match found {
            Some(view) => (view, Begun::There),
            None => self.begin(key, &init).await?,
        };
        if view.record.layout().length().is_some() {
            init.fits(view.record.layout())?;
        }
        let mut status = self.status_as(&view, IndexFormat::List);
        if let Some(digests) = &init.chunks {
            status = status.compared(&view.record, digests);
            status.instant = self.offer(parts, &view, digests).await;
        }
        Ok(status.begun(begun, self.links()))
    }

    async fn begin(&self, key: ChunkKey, init: &Init) -> Result<(View, Begun), Refusal> {
        let layout = init.layout(self.ingest().chunk_size())?;
        let metadata = tus::Metadata::named(key.filename.as_deref()).verbatim;
        let new = NewChunked { key, metadata, layout };
        let (view, origin) = self.ingest().begin(new).await.map_err(plain)?;
        let begun = match origin {
            Origin::Created => Begun::New,
            Origin::Found => Begun::There,
        };
        Ok((view, begun))
    }

    async fn upload(&self, parts: &Parts, length: BodyLength, body: &mut RequestBody) -> Outcome {
        let params = Params::from_query(parts.uri.query())?;
        let kind = BodyKind::of(&parts.headers, length)?;
        let _turn = self.turn(parts).await?;
        let _place = self.place_for_chunk(parts, body).await?;
        let length = match kind {
            BodyKind::Raw { length } => length,
            BodyKind::Multipart => return self.upload_form(params, parts, body).await,
        };
        let (upload, put) = self.decode_upload(&params, parts).await?;
        let index = upload.index;
        let checked = self.ingest().check_chunk(&put, Some(length)).await;
        checked.map_err(|error| refuse(error, index))?;
        let _attendance = put.upload.as_ref().map(|id| self.ingest().attend(id));
        let staged = self.ingest().stage_chunk(body, length, md5_wanted(&put)).await;
        self.commit(put, staged.map_err(|error| refuse(error, index))?).await
    }

    async fn upload_form(&self, params: Params, parts: &Parts, body: &RequestBody) -> Outcome {
        let md5 =
            if parts.headers.contains_key("content-md5") { Hashing::Sha256 } else { Hashing::Off };
        let form = self.read_form(&params, &parts.headers, body.clone(), md5).await?;
        let params = params.with_form(form.fields)?;
        let (_, mut put) = self.decode_upload(&params, parts).await?;
        // Deleted since the form began, it does not begin anew.
        let same = form.attended.as_ref().filter(|attended| attended.key == put.key);
        put.upload = same.map(|attended| attended.id.clone()).or(put.upload);
        let committed = self.commit(put, form.chunk).await;
        drop(form.attended.map(|attended| attended.attendance));
        committed
    }

    /// The request as a value, compared with the upload that is there.
    async fn decode_upload(
        &self,
        params: &Params,
        parts: &Parts,
    ) -> Result<(ChunkUpload, ChunkPut), Refusal> {
        let upload = ChunkUpload::decode(params, &parts.headers)?;
        self.check_size(upload.size)?;
        let key = upload.name.key(self.owner());
        let found = known(self.ingest().status_for_chunk(key.clone()).await)?;
        if found.as_ref().is_some_and(|view| view.record.manifest().parts().is_some()) {
            return Err(Problem::FinalUpload.into());
        }
        let stored = found.as_ref().and_then(|view| view.record.chunks().get(upload.index));
        upload.condition.check(stored)?;
        let layout = if let Some(view) = &found {
            if view.record.layout().length().is_some() {
                upload.fits(view.record.layout())?;
            }
            upload.layout().ok()
        } else {
            Some(upload.layout()?)
        };
        let demanded = upload.condition.clone();
        let condition = Condition::new(move |stored| demanded.check(stored).is_ok());
        let metadata = tus::Metadata::named(upload.name.filename.as_deref()).verbatim;
        let digests = upload.digests;
        let put = ChunkPut {
            upload: found.map(|view| view.id),
            key,
            metadata,
            index: upload.index,
            layout,
            condition,
            expected: ExpectedDigests { sha256: digests.sha256, md5: digests.md5 },
        };
        Ok((upload, put))
    }

    fn check_size(&self, size: Option<Length>) -> Result<(), Problem> {
        match (self.rules().max_size, size) {
            (Some(max), Some(size)) if size > max => Err(Problem::MaxSizeExceeded { max }),
            _ => Ok(()),
        }
    }

    async fn commit(&self, put: ChunkPut, chunk: StagedChunk) -> Outcome {
        let index = put.index;
        let committed = self.ingest().commit_chunk(put, chunk).await;
        let ChunkCommitted { fate, record, .. } =
            committed.map_err(|error| refuse(error, index))?;
        let mut stored = ChunkStored::of(&record, index).ok_or(Problem::Storage)?;
        stored.result = self.finish_if_complete(&record).await;
        Ok(stored.response(match fate {
            ChunkFate::Stored => Stored::New,
            ChunkFate::Duplicate => Stored::Identical,
        }))
    }

    /// Under `--auto-merge` whoever completes the set finishes the file, and who finds it complete.
    /// The chunk is stored whatever becomes of that.
    async fn finish_if_complete(&self, record: &Record) -> Option<Merged> {
        let manifest = record.manifest();
        let asked_for = self.0.options.finishing == Finishing::OnRequest;
        if asked_for || manifest.dialect != Dialect::Chunks || !record.is_complete() {
            return None;
        }
        let demand = MergeDemand::default();
        match self.ingest().merge_within(record, demand, AUTO_MERGE_WAIT).await {
            Ok(MergeOutcome::Merged(finished) | MergeOutcome::AlreadyMerged(finished)) => {
                Some(Merged::of(&manifest.id, &finished, self.links()))
            }
            Ok(MergeOutcome::Running) => None,
            Err(error) => {
                tracing::error!(id = %manifest.id, %error, "could not finish a complete upload");
                None
            }
        }
    }

    async fn merge(&self, parts: &Parts, length: BodyLength, body: &mut RequestBody) -> Outcome {
        let merge = Merge::decode(&collect_json(parts, length, body).await?)?;
        let key = merge.name.key(self.owner());
        let view = self.ingest().status_of(key).await.map_err(plain)?;
        merge.fits(view.record.layout())?;
        let digest = merge.digest.map(|digest| (digest, merge.form));
        let demand = MergeDemand { digest, chunks: merge.chunks };
        let (id, patience) = (view.id, patience(&parts.headers));
        let merged = match patience {
            None => self.ingest().merge(&id, demand).await,
            Some(wait) => self.ingest().merge_within(&view.record, demand, wait).await,
        };
        match merged {
            Ok(outcome) => Ok(self.merged(&id, outcome, patience)),
            Err(error) => {
                let view = match self.ingest().status(&id).await {
                    // Gone meanwhile: nothing is missing of what is not there.
                    Err(gone @ IngestError::Hold(HoldError::Unknown | HoldError::Expired)) => {
                        return Err(plain(gone));
                    }
                    view => view.ok(),
                };
                Err(merge_problem(error, view.as_ref().map(|view| &*view.record)).into())
            }
        }
    }

    /// What a client that waits so long is told of a finish.
    pub(super) fn merged(
        &self,
        id: &UploadId,
        outcome: MergeOutcome,
        patience: Option<Duration>,
    ) -> Answer {
        let merged = |finished: &Finished| Merged::of(id, finished, self.links());
        match outcome {
            MergeOutcome::Merged(finished) => {
                merged(&finished).response(answer::MergeOutcome::Created)
            }
            MergeOutcome::AlreadyMerged(finished) => {
                merged(&finished).response(answer::MergeOutcome::Found)
            }
            MergeOutcome::Running if patience.is_some() => {
                answer::merging_as_preferred(id, self.links())
            }
            MergeOutcome::Running => answer::merging(id, self.links()),
        }
    }

    async fn delete(&self, parts: &Parts) -> Outcome {
        let name = Named::decode(&Params::from_query(parts.uri.query())?)?;
        match self.ingest().terminate_of(name.key(self.owner())).await.map_err(plain) {
            Err(Refusal::Problem(Problem::UnknownUpload | Problem::Gone)) | Ok(()) => {}
            Err(other) => return Err(other),
        }
        Ok(answer::deleted())
    }

    /// Keeps the upload that a form belongs to, as far as its fields tell it already.
    pub(super) async fn attend(
        &self,
        params: &Params,
        fields: &[(String, String)],
    ) -> Option<Attended> {
        let params = params.clone().with_form(fields.to_vec()).ok()?;
        let key = Named::decode(&params).ok()?.key(self.owner());
        let view = self.ingest().status_for_chunk(key.clone()).await.ok()?;
        let attendance = self.ingest().attend(&view.id);
        Some(Attended { key, id: view.id, attendance })
    }

    async fn find(&self, name: &Named) -> Result<Option<View>, Refusal> {
        known(self.ingest().status_of(name.key(self.owner())).await)
    }
}

/// In this dialect an upload that is unknown or expired is no error but the beginning.
pub(super) fn known(view: Result<View, IngestError>) -> Result<Option<View>, Refusal> {
    match view.map_err(plain) {
        Ok(view) => Ok(Some(view)),
        Err(Refusal::Problem(Problem::UnknownUpload | Problem::Gone)) => Ok(None),
        Err(other) => Err(other),
    }
}

pub(super) async fn collect_json(
    parts: &Parts,
    length: BodyLength,
    body: &mut RequestBody,
) -> Result<Vec<u8>, Refusal> {
    accepts_json(&parts.headers, length)?;
    let json = body.collect(JSON_BYTES_MAX).await?;
    Ok(json.ok_or(Problem::BodyTooLarge { limit: JSON_BYTES_MAX })?)
}

fn md5_wanted(put: &ChunkPut) -> Hashing {
    if put.expected.md5.is_some() { Hashing::Sha256 } else { Hashing::Off }
}

pub(super) fn plain(error: IngestError) -> Refusal {
    refuse(error, ChunkIndex::ZERO)
}
