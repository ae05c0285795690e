//! Offers that are open: which client may prove that it has which content, and how. They live in
//! memory and not for long; a restart forgets them, and their clients send what they have.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use crate::{
    clock::Stopwatch,
    upload::{ChunkIndex, Content, Sha256Digest, UploadId},
};

/// How long an offer is good for, and how long a wrong proof bars its upload from another one.
pub(super) const LIFETIME: Duration = Duration::from_mins(1);
/// Offers that there may be at once.
const OFFERS_MAX: usize = 4096;
/// Of which one client address may have so many: those whose proof was right do not count.
const OFFERS_OF_ONE_MAX: usize = 64;

/// What a client is to prove, and until when.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Offer {
    /// Random bytes that the proof begins with.
    pub nonce: [u8; 32],
    /// The chunk that the proof ends with.
    pub index: ChunkIndex,
    /// How long it is good for.
    pub expires_in: Duration,
}

/// Who wants an offer, and what for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Asked {
    pub(super) id: UploadId,
    pub(super) content: Content,
    pub(super) client: Option<IpAddr>,
}

/// What is known once the held chunk was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Terms {
    pub(super) nonce: [u8; 32],
    pub(super) index: ChunkIndex,
    /// SHA-256 over the nonce and the chunk.
    pub(super) expected: Sha256Digest,
    /// The finished upload that has the bytes.
    pub(super) holder: UploadId,
}

/// What becomes of a wish for an offer.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// It may be made: a place is kept for it.
    Free,
    /// It was made already, and is good still.
    Made(Offer),
    /// There is none to be had now.
    Barred,
}

/// A proof that was right.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Proven {
    pub(super) holder: UploadId,
    pub(super) content: Content,
}

/// Why a proof is worth nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unproven {
    /// There is no such offer (any more).
    NoOffer,
    /// It came before, and was right.
    Underway,
    /// It is wrong.
    Wrong,
}

/// All offers of this process, one for each upload at most.
#[derive(Debug)]
pub(super) struct Offers {
    by_upload: Mutex<HashMap<UploadId, Entry>>,
    lifetime: Duration,
}

#[derive(Debug)]
struct Entry {
    asked: Asked,
    since: Stopwatch,
    stage: Stage,
}

#[derive(Debug)]
enum Stage {
    /// The held chunk is being read.
    Begun,
    Open(Terms),
    /// The right proof came, and the file is being made.
    Taken([u8; 32]),
    /// A wrong proof came.
    Spent,
}

impl Offers {
    pub(super) fn new(lifetime: Duration) -> Self {
        Self { by_upload: Mutex::default(), lifetime }
    }

    /// May this offer be made? Whoever is told so either makes it or gives the place back.
    pub(super) fn stand(&self, asked: &Asked) -> Standing {
        let mut offers = self.offers();
        offers.retain(|_, entry| entry.since.elapsed() < self.lifetime);
        if let Some(entry) = offers.get(&asked.id) {
            let made = entry.offer(self.lifetime).filter(|_| entry.asked.content == asked.content);
            return made.map_or(Standing::Barred, Standing::Made);
        }
        let same_client = |entry: &&Entry| entry.asked.client == asked.client;
        let full = offers.len() >= OFFERS_MAX
            || offers.values().filter(same_client).count() >= OFFERS_OF_ONE_MAX;
        if full {
            return Standing::Barred;
        }
        let (since, stage) = (Stopwatch::start(), Stage::Begun);
        offers.insert(asked.id.clone(), Entry { asked: asked.clone(), since, stage });
        Standing::Free
    }

    /// Makes the offer that a place was kept for; its time begins now.
    pub(super) fn make(&self, id: &UploadId, terms: Terms) -> Option<Offer> {
        let mut offers = self.offers();
        let entry = offers.get_mut(id).filter(|entry| matches!(entry.stage, Stage::Begun))?;
        entry.stage = Stage::Open(terms);
        entry.since = Stopwatch::start();
        entry.offer(self.lifetime)
    }

    /// Gives the place back.
    pub(super) fn give_up(&self, id: &UploadId) {
        self.offers().remove(id);
    }

    /// Takes a proof: whatever it is worth, there is no second one for the same nonce. The place of
    /// an offer that was taken is to be given back.
    pub(super) fn prove(
        &self,
        (id, owner): (&UploadId, &str),
        nonce: [u8; 32],
        proof: Sha256Digest,
    ) -> Result<Proven, Unproven> {
        let mut offers = self.offers();
        let entry = offers.get_mut(id).filter(|entry| entry.since.elapsed() < self.lifetime);
        let entry = entry.filter(|entry| entry.asked.content.owner == owner);
        let entry = entry.ok_or(Unproven::NoOffer)?;
        let terms = match &entry.stage {
            Stage::Open(terms) if terms.nonce == nonce => terms,
            Stage::Taken(taken) if *taken == nonce => return Err(Unproven::Underway),
            _ => return Err(Unproven::NoOffer),
        };
        if terms.expected != proof {
            entry.stage = Stage::Spent;
            return Err(Unproven::Wrong);
        }
        let (holder, content) = (terms.holder.clone(), entry.asked.content.clone());
        entry.stage = Stage::Taken(nonce);
        Ok(Proven { holder, content })
    }

    fn offers(&self) -> MutexGuard<'_, HashMap<UploadId, Entry>> {
        self.by_upload.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Entry {
    fn offer(&self, lifetime: Duration) -> Option<Offer> {
        let Stage::Open(Terms { nonce, index, .. }) = self.stage else { return None };
        let expires_in = lifetime.saturating_sub(self.since.elapsed());
        Some(Offer { nonce, index, expires_in })
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;
    use crate::upload::{ChunkCount, ChunkSize, Length};

    const NONCE: [u8; 32] = [9; 32];

    fn id(n: u32) -> UploadId {
        UploadId::parse(&format!("{n:032x}")).unwrap()
    }

    fn content(owner: &str) -> Content {
        Content {
            owner: owner.to_owned(),
            length: Length::new(8).unwrap(),
            chunk_size: ChunkSize::new(4).unwrap(),
            total: ChunkCount::new(2).unwrap(),
            composite: Sha256Digest::of(b"content"),
        }
    }

    fn asked(n: u32, client: u8) -> Asked {
        let client = Some(IpAddr::from(Ipv4Addr::new(10, 0, 0, client)));
        Asked { id: id(n), content: content("me"), client }
    }

    fn terms() -> Terms {
        let expected = Sha256Digest::of(b"proof");
        Terms { nonce: NONCE, index: ChunkIndex::ZERO, expected, holder: id(77) }
    }

    fn made(offers: &Offers, asked: &Asked) -> Offer {
        assert_eq!(offers.stand(asked), Standing::Free);
        offers.make(&asked.id, terms()).unwrap()
    }

    fn proof(offers: &Offers, n: u32, text: &[u8]) -> Result<Proven, Unproven> {
        offers.prove((&id(n), "me"), NONCE, Sha256Digest::of(text))
    }

    /// As old as they are, offers are good no longer.
    fn time_is_over(offers: &mut Offers) {
        offers.lifetime = Duration::ZERO;
    }

    // spec: CHUNK-92
    #[test]
    fn a_right_proof_counts_once() {
        let offers = Offers::new(LIFETIME);
        made(&offers, &asked(1, 1));
        let proven = Proven { holder: id(77), content: content("me") };
        assert_eq!(proof(&offers, 1, b"proof"), Ok(proven));
        assert_eq!(proof(&offers, 1, b"proof"), Err(Unproven::Underway));
        assert_eq!(offers.stand(&asked(1, 1)), Standing::Barred);
        offers.give_up(&id(1));
        assert_eq!(proof(&offers, 1, b"proof"), Err(Unproven::NoOffer));
        // It does not bar the upload: should the copy fail, the client may ask again.
        made(&offers, &asked(1, 1));
    }

    // spec: CHUNK-92, CHUNK-93
    #[test]
    fn a_wrong_proof_bars_the_upload_for_a_while() {
        let mut offers = Offers::new(LIFETIME);
        made(&offers, &asked(1, 1));
        assert_eq!(proof(&offers, 1, b"guess"), Err(Unproven::Wrong));
        assert_eq!(proof(&offers, 1, b"proof"), Err(Unproven::NoOffer));
        assert_eq!(offers.stand(&asked(1, 1)), Standing::Barred);
        time_is_over(&mut offers);
        made(&offers, &asked(1, 1));
    }

    // spec: CHUNK-92
    #[test]
    fn an_offer_ends() {
        let mut offers = Offers::new(LIFETIME);
        let offer = made(&offers, &asked(1, 1));
        assert!(offer.expires_in <= LIFETIME);
        time_is_over(&mut offers);
        assert_eq!(proof(&offers, 1, b"proof"), Err(Unproven::NoOffer));
    }

    // spec: CHUNK-92
    #[test]
    fn a_proof_is_for_this_upload_this_owner_and_this_nonce() {
        let offers = Offers::new(LIFETIME);
        made(&offers, &asked(1, 1));
        assert_eq!(proof(&offers, 2, b"proof"), Err(Unproven::NoOffer));
        let right = Sha256Digest::of(b"proof");
        assert_eq!(offers.prove((&id(1), "you"), NONCE, right), Err(Unproven::NoOffer));
        assert_eq!(offers.prove((&id(1), "me"), [0; 32], right), Err(Unproven::NoOffer));
        // None of these took it from whom it is for.
        assert!(proof(&offers, 1, b"proof").is_ok());
    }

    // spec: CHUNK-91
    #[test]
    fn who_asks_again_is_told_the_same() {
        let offers = Offers::new(LIFETIME);
        assert_eq!(offers.stand(&asked(1, 1)), Standing::Free);
        assert_eq!(offers.stand(&asked(1, 1)), Standing::Barred, "the chunk is being read");
        let first = offers.make(&id(1), terms()).unwrap();
        let Standing::Made(second) = offers.stand(&asked(1, 1)) else { panic!("it is made") };
        assert_eq!((second.nonce, second.index), (first.nonce, first.index));
        let other = Asked { content: content("you"), ..asked(1, 1) };
        assert_eq!(offers.stand(&other), Standing::Barred);
        offers.give_up(&id(1));
        assert_eq!(offers.stand(&other), Standing::Free);
    }

    // spec: CHUNK-93
    #[test]
    fn one_address_has_a_few_at_a_time() {
        let offers = Offers::new(LIFETIME);
        let most = u32::try_from(OFFERS_OF_ONE_MAX).unwrap();
        for n in 0..most {
            assert_eq!(offers.stand(&asked(n, 1)), Standing::Free);
        }
        assert_eq!(offers.stand(&asked(most, 1)), Standing::Barred);
        assert_eq!(offers.stand(&asked(most, 2)), Standing::Free);
        offers.give_up(&id(0));
        assert_eq!(offers.stand(&asked(most + 1, 1)), Standing::Free);
    }
}
