//! A file that is here already need not be sent: a client that knows the digests of its chunks
//! proves that it has the bytes, and its upload is finished with those that are held.

use std::{io, net::IpAddr, sync::Arc, time::Duration};

use sha2::{Digest, Sha256};

use super::{
    Ingest, IngestError, View,
    offers::{Asked, Offer, Proven, Standing, Terms, Unproven},
};
use crate::{
    blocking,
    hold::{Contents, HoldError, copy_range},
    merger::{Duplicate, MergeOutcome},
    upload::{
        ChunkCount, ChunkIndex, CompositeDigest, Content, Dialect, Phase, Record, Sha256Digest,
        UploadId,
    },
};

/// What a client claims to have.
#[derive(Debug, Clone, Copy)]
pub struct Claim<'a> {
    /// Who it is; empty where nobody is told apart.
    pub owner: &'a str,
    /// The digests of all chunks, in order.
    pub chunks: &'a [Sha256Digest],
    /// Where it asks from.
    pub client: Option<IpAddr>,
}

/// What a client proves.
#[derive(Debug, Clone, Copy)]
pub struct Proof<'a> {
    /// Who it is; empty where nobody is told apart.
    pub owner: &'a str,
    /// The offer's random bytes.
    pub nonce: [u8; 32],
    /// SHA-256 over the nonce and the chunk of the offer.
    pub digest: Sha256Digest,
}

impl Ingest {
    /// Are files recognised that are here already?
    pub fn is_instant(&self) -> bool {
        self.holds.options().contents == Contents::Noted
    }

    /// An offer to finish this upload without its bytes, where the claimed content is held for the
    /// same owner. Whatever goes wrong, there is none, and the client sends its chunks.
    pub async fn offer(self: &Arc<Self>, view: &View, claim: Claim<'_>) -> Option<Offer> {
        let content = claimed(&view.record, claim).filter(|_| self.is_instant())?;
        let asked = Asked { id: view.id.clone(), content, client: claim.client };
        match self.offers.stand(&asked) {
            Standing::Free => {}
            Standing::Made(offer) => return Some(offer),
            Standing::Barred => return None,
        }
        let (this, content) = (self.clone(), asked.content);
        let terms = blocking::run(move || this.terms(&content)).await;
        match terms {
            Ok(Some(terms)) => return self.offers.make(&asked.id, terms),
            Ok(None) => {}
            Err(error) => tracing::error!(id = %view.id, %error, "could not look for a content"),
        }
        self.offers.give_up(&asked.id);
        None
    }

    /// Finds whoever holds the content and takes the digests of one chunk. A file that was changed
    /// under its name is not believed any more. Blocks.
    fn terms(&self, content: &Content) -> Result<Option<Terms>, HoldError> {
        let index = self.holds.state().secret().sample(content);
        for holder in self.holds.holders(content)? {
            let mut nonce = [0; 32];
            getrandom::fill(&mut nonce).map_err(io::Error::from)?;
            let record = self.holds.look(&holder)?.current.record;
            let expected = self.expected_proof(&record, index, nonce).unwrap_or_else(|error| {
                tracing::warn!(id = %holder, %error, "a finished file cannot be read");
                None
            });
            if let Some(expected) = expected {
                return Ok(Some(Terms { nonce, index, expected, holder }));
            }
            tracing::warn!(id = %holder, "a finished file is not what it was");
            self.holds.disbelieve(content, &holder);
        }
        Ok(None)
    }

    /// `None` where the file has another length by now, or the chunk another digest.
    fn expected_proof(
        &self,
        record: &Record,
        index: ChunkIndex,
        nonce: [u8; 32],
    ) -> io::Result<Option<Sha256Digest>> {
        let (Some(finished), Some(sealed)) = (record.finished(), record.chunks().get(index)) else {
            return Ok(None);
        };
        let file = self.holds.storage().open_finished(&finished.name)?;
        if file.size()? != finished.length.get() {
            return Ok(None);
        }
        let at = record.layout().start(index).map_err(io::Error::other)?.get();
        let (mut chunk, mut proof) = (Sha256::new(), Sha256::new_with_prefix(nonce));
        copy_range(&*file, at, sealed.length, |bytes, _| {
            chunk.update(bytes);
            proof.update(bytes);
            Ok(())
        })?;
        let unchanged = sealed.digest == Some(chunk.into());
        Ok(unchanged.then(|| proof.into()))
    }

    /// Finishes the upload with the bytes that are held, if the proof is right.
    pub async fn take_offer(
        &self,
        id: &UploadId,
        proof: Proof<'_>,
        wait: Option<Duration>,
    ) -> Result<MergeOutcome, IngestError> {
        let proven = self.offers.prove((id, proof.owner), proof.nonce, proof.digest);
        let Proven { holder, content } = match proven {
            Ok(proven) => proven,
            Err(Unproven::Underway) => return Ok(MergeOutcome::Running),
            Err(Unproven::NoOffer) => return Err(IngestError::NoOffer),
            Err(Unproven::Wrong) => return Err(IngestError::NotProven),
        };
        let duplicate = Duplicate { id: id.clone(), holder, content };
        let outcome = self.merger.duplicate(duplicate, wait).await;
        self.offers.give_up(id);
        Ok(outcome?)
    }
}

/// The content that a client claims to have for this upload, which takes chunks and is the
/// claimant's own.
fn claimed(record: &Record, claim: Claim<'_>) -> Option<Content> {
    let (manifest, layout) = (record.manifest(), record.layout());
    let takes = record.phase() == Phase::Receiving;
    let own = manifest.dialect == Dialect::Chunks && manifest.owner() == claim.owner;
    let (length, total) = (layout.length()?, layout.total()?);
    let whole = u64::try_from(claim.chunks.len()) == Ok(ChunkCount::get(total));
    (takes && own && whole).then(|| Content {
        owner: claim.owner.to_owned(),
        length,
        chunk_size: layout.chunk_size(),
        total,
        composite: CompositeDigest::of(claim.chunks).raw,
    })
}
