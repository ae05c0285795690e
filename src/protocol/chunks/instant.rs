//! The JSON of a proof: the client has the file that is held, so it need not send it.

use serde::Deserialize;

use super::{
    Named, Subject,
    json::object,
    params::{invalid, missing, parse_filename, parse_hash},
};
use crate::{
    protocol::{Parameter, Problem},
    upload::{Sha256Digest, UploadId},
};

/// Finish an upload without its bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Instant {
    /// Which upload.
    pub subject: Subject,
    /// The offer's random bytes.
    pub nonce: [u8; 32],
    /// SHA-256 over the nonce and the chunk of the offer.
    pub proof: Sha256Digest,
}

/// As it stands in the body.
#[derive(Deserialize)]
struct Document {
    upload_id: Option<String>,
    hash: Option<String>,
    filename: Option<String>,
    nonce: Option<String>,
    proof: Option<String>,
}

impl Instant {
    /// Reads the body: `{upload_id, nonce, proof}` or `{hash, filename, nonce, proof}`. Nonce and
    /// proof are 64 hex digits of any case.
    pub fn decode(body: &[u8]) -> Result<Self, Problem> {
        let Document { upload_id, hash, filename, nonce, proof } = object(body)?;
        let subject = match upload_id {
            Some(id) => Subject::Id(parse_id(&id)?),
            None => Subject::Named(Named {
                hash: parse_hash(hash.as_deref())?,
                filename: filename.as_deref().map_or(Ok(None), parse_filename)?,
            }),
        };
        let nonce = *digest(Parameter::Nonce, nonce.as_deref())?.bytes();
        Ok(Self { subject, nonce, proof: digest(Parameter::Proof, proof.as_deref())? })
    }
}

fn parse_id(text: &str) -> Result<UploadId, Problem> {
    let why = "it must be 32 or 48 lower-case hex digits";
    UploadId::parse(text).map_err(|_| invalid(Parameter::UploadId, why))
}

fn digest(name: Parameter, text: Option<&str>) -> Result<Sha256Digest, Problem> {
    let text = text.ok_or_else(|| missing(name))?;
    Sha256Digest::parse_hex(text).map_err(|_| invalid(name, "it must be 64 hex digits"))
}
