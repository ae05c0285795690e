//! `Upload-Checksum`, as a header or behind the body (tus checksum, checksum-trailer).

use base64::{Engine, engine::general_purpose::STANDARD};
use http::{HeaderMap, Version, header::TRAILER, request::Parts};

use crate::{
    protocol::{
        BodyLength,
        headers::{self, UPLOAD_CHECKSUM},
    },
    upload::{Checksum, ChecksumAlgorithm, ChecksumDemand, NotAChecksum},
};

/// What the head of a request demands of its body.
pub(super) fn demand(parts: &Parts, body: BodyLength) -> ChecksumDemand {
    const BOTH: &str = "it comes as a header and is announced as a trailer";
    const NEVER: &str = "it is announced as a trailer, which only a chunked body can have";
    let announced = announces(&parts.headers);
    match checksum(&parts.headers) {
        Err(why) => ChecksumDemand::Unusable(why),
        Ok(Some(_)) if announced => ChecksumDemand::Unusable(NotAChecksum(BOTH)),
        Ok(Some(sum)) => ChecksumDemand::Checksum(sum),
        Ok(None) if !announced => ChecksumDemand::Nothing,
        Ok(None) if may_have_trailers(parts.version, body) => ChecksumDemand::Trailer,
        Ok(None) => ChecksumDemand::Unusable(NotAChecksum(NEVER)),
    }
}

/// The checksum among these headers, or trailers: one name in lower case, one space, padded base64
/// (RFC 4648 §4) of as many bytes as the algorithm gives.
pub fn checksum(headers: &HeaderMap) -> Result<Option<Checksum>, NotAChecksum> {
    let single = headers::single(headers, UPLOAD_CHECKSUM);
    match single.map_err(|_| NotAChecksum("it may come only once, in plain ASCII"))? {
        None => Ok(None),
        Some(text) => parse(text).map(Some),
    }
}

fn parse(text: &str) -> Result<Checksum, NotAChecksum> {
    let Some((name, value)) = text.split_once(' ') else {
        return Err(NotAChecksum("it must be an algorithm, one space and a value"));
    };
    let algorithm = ChecksumAlgorithm::named(name)
        .ok_or(NotAChecksum("its algorithm is none of Tus-Checksum-Algorithm"))?;
    let value =
        STANDARD.decode(value).map_err(|_| NotAChecksum("its value must be padded base64"))?;
    Checksum::new(algorithm, value)
}

/// Does `Trailer` name the header?
fn announces(headers: &HeaderMap) -> bool {
    let lines = headers.get_all(TRAILER).iter().filter_map(|line| line.to_str().ok());
    let mut names =
        lines.flat_map(|line| line.split(',')).map(|name| name.trim_matches([' ', '\t']));
    names.any(|name| name.eq_ignore_ascii_case(UPLOAD_CHECKSUM))
}

/// HTTP/1.1 has trailers behind chunked bodies (RFC 9112 §7.1.2), HTTP/2 behind any (RFC 9113
/// §8.1), HTTP/1.0 none.
fn may_have_trailers(version: Version, body: BodyLength) -> bool {
    version >= Version::HTTP_2 || version == Version::HTTP_11 && body == BodyLength::Unknown
}

/// `Tus-Checksum-Algorithm`: all names, without blanks.
pub(super) fn algorithms() -> String {
    ChecksumAlgorithm::ALL.map(ChecksumAlgorithm::name).join(",")
}
