//! Instant uploads: an offer in the answer to an init, and the proof that takes it.

use std::time::Duration;

use http::request::Parts;

use super::{
    ClientAddress, Service,
    body::RequestBody,
    chunks::{Outcome, collect_json, known, plain},
    shares::network,
};
use crate::{
    ingest::{Claim, IngestError, MergeOutcome, Proof, View},
    protocol::{
        BodyLength, Problem,
        chunks::{Instant, Instantly, Served, Subject, answer::InstantOffer, patience},
    },
    upload::Sha256Digest,
};

impl Service {
    /// What of the chunk flow is served here.
    pub(super) fn served(&self) -> Served {
        let offered = self.ingest().is_instant();
        let instantly = if offered { Instantly::Offered } else { Instantly::Never };
        Served { deleting: self.rules().deleting(), instantly }
    }

    /// What a client that begins an upload may prove instead of sending it.
    pub(super) async fn offer(
        &self,
        parts: &Parts,
        view: &View,
        chunks: &[Sha256Digest],
    ) -> Option<InstantOffer> {
        let client = parts.extensions.get::<ClientAddress>().map(|client| network(client.0));
        let claim = Claim { owner: self.owner(), chunks, client };
        let offer = self.ingest().offer(view, claim).await?;
        Some(InstantOffer::new(offer.nonce, offer.index, offer.expires_in))
    }

    /// A proof is one request's work for the disk, as a chunk is: it waits for its turn.
    pub(super) async fn instant(
        &self,
        parts: &Parts,
        length: BodyLength,
        body: &mut RequestBody,
    ) -> Outcome {
        let instant = Instant::decode(&collect_json(parts, length, body).await?)?;
        let found = match &instant.subject {
            Subject::Id(id) => self.ingest().status(id).await,
            Subject::Named(name) => self.ingest().status_of(name.key(self.owner())).await,
        };
        let Some(view) = known(found)? else { return Err(Problem::OfferGone.into()) };
        let _turn = self.turn(parts).await?;
        let patience: Option<Duration> = patience(&parts.headers);
        let (owner, nonce, digest) = (self.owner(), instant.nonce, instant.proof);
        let proof = Proof { owner, nonce, digest };
        match self.ingest().take_offer(&view.id, proof, patience).await {
            Ok(outcome) => Ok(self.merged(&view.id, outcome, patience)),
            Err(IngestError::NoOffer) => self.without_offer(&view, patience).await,
            Err(error) => Err(plain(error)),
        }
    }

    /// Who repeats a proof whose answer was lost is told what became of it.
    async fn without_offer(&self, view: &View, patience: Option<Duration>) -> Outcome {
        let now = known(self.ingest().status(&view.id).await)?;
        let now = now.filter(|now| now.record.manifest().owner() == self.owner());
        let outcome = match now {
            Some(View { record, merging, .. }) => match record.finished() {
                Some(finished) => Some(MergeOutcome::AlreadyMerged(finished.clone())),
                None => merging.then_some(MergeOutcome::Running),
            },
            None => None,
        };
        let outcome = outcome.ok_or(Problem::OfferGone)?;
        Ok(self.merged(&view.id, outcome, patience))
    }
}
