//! Creation, with or without the first bytes.

use super::{Appended, End, Fate, Ingest, IngestError, Source, check::Check, pump::SMALL};
use crate::{
    blocking,
    durable::Flush,
    hold::{Held, HoldError, Origin},
    upload::{
        ChecksumDemand, ChunkIndex, Concatenation, Dialect, Layout, Length, Manifest, Timestamp,
        UploadId,
    },
};

/// What a client says of the upload that it begins.
#[derive(Debug, Clone)]
pub struct NewUpload {
    /// Its length, if known.
    pub length: Option<Length>,
    /// tus `Upload-Metadata`, verbatim.
    pub metadata: String,
    /// The file's name.
    pub filename: Option<String>,
    /// The file's media type.
    pub media_type: Option<String>,
    /// Present when it is joined with others, or is made of others.
    pub concatenation: Option<Concatenation>,
    /// Whose it is; empty where nobody is told apart.
    pub owner: String,
}

/// A new upload.
#[derive(Debug)]
pub struct Created {
    /// Its name.
    pub id: UploadId,
    /// What became of the bytes that came with the request.
    pub appended: Appended,
}

impl Ingest {
    /// Makes an upload and stores the bytes that came along. One of length 0 is finished at once.
    /// Where the bytes were to be compared and were not found right, there is no upload.
    pub async fn create(
        &self,
        new: NewUpload,
        demand: ChecksumDemand,
        source: &mut dyn Source,
    ) -> Result<Created, IngestError> {
        let manifest = self.manifest(new)?;
        let id = manifest.id.clone();
        let held = self.place_of(manifest, (&demand, source.announced())).await?;
        let error = match self.fill(held, demand, source).await {
            Ok(appended) if appended.fate == Fate::Kept => return Ok(Created { id, appended }),
            Ok(taken_back) => self.reason(taken_back),
            Err(error) => error,
        };
        // Nobody will ever hear of this upload. If it cannot go now, it expires.
        let _ = self.holds.forget(&id).await;
        Err(error)
    }

    /// An upload that few bytes come with, which count whatever they are, begins with them.
    async fn place_of(
        &self,
        manifest: Manifest,
        (demand, announced): (&ChecksumDemand, Option<u64>),
    ) -> Result<Held, HoldError> {
        let few = announced.is_some_and(|bytes| bytes > 0 && bytes <= SMALL);
        let plain = *demand == ChecksumDemand::Nothing && manifest.concatenation.is_none();
        if few && plain && self.holds.options().durability.of_answer() == Flush::Lazy {
            return self.holds.begin(manifest).await;
        }
        match self.holds.create(manifest).await? {
            (held, Origin::Created) => Ok(held),
            (_, Origin::Found) => {
                Err(HoldError::Io(std::io::Error::other("a random id came twice")))
            }
        }
    }

    /// Why bytes were taken back.
    fn reason(&self, appended: Appended) -> IngestError {
        if let Some(failure) = appended.failure {
            return failure;
        }
        match appended.end {
            End::Broken(broken) => broken.into(),
            End::Overflow => self.overflow(appended.length),
            End::Complete | End::TakenOver => HoldError::Busy.into(),
            End::Stopping => IngestError::Stopping,
        }
    }

    async fn fill(
        &self,
        held: Held,
        demand: ChecksumDemand,
        source: &mut dyn Source,
    ) -> Result<Appended, IngestError> {
        if let ChecksumDemand::Unusable(why) = demand {
            return Err(IngestError::Unusable(why));
        }
        let check = Check::new(demand);
        let held = if held.record().layout().length() == Some(Length::ZERO) {
            let hashing = self.options.hashing;
            blocking::run(move || seal_empty(held, hashing)).await?
        } else {
            held
        };
        let before = held.current().record.clone();
        self.receive(held, (before, check), source).await
    }

    pub(super) fn manifest(&self, new: NewUpload) -> Result<Manifest, HoldError> {
        let mut random = [0; 16];
        getrandom::fill(&mut random).map_err(std::io::Error::from)?;
        Ok(Manifest {
            id: UploadId::from_random(random),
            layout: Layout::by_size(self.options.chunk_size, new.length),
            metadata: new.metadata,
            filename: new.filename,
            media_type: new.media_type,
            dialect: Dialect::Tus,
            key: None,
            concatenation: new.concatenation,
            owner: new.owner,
            created_at: self.now(),
            epoch: self.holds.options().epoch,
        })
    }

    pub(super) fn now(&self) -> Timestamp {
        self.holds.now()
    }
}

/// The one chunk of an upload of no bytes is empty, and there.
fn seal_empty(mut held: Held, hashing: crate::hold::Hashing) -> Result<Held, HoldError> {
    held.open_tail(ChunkIndex::ZERO, hashing)?;
    held.seal_tail()?;
    Ok(held)
}
