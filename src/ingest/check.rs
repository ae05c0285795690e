//! Are the bytes of a request those of the checksum that came with them?

use super::{End, IngestError};
use crate::{
    hold::Held,
    upload::{Checksum, ChecksumDemand, NotAChecksum, Offset, RunningChecksum},
};

/// What is to become of a request's bytes.
#[derive(Debug)]
pub(super) enum Verdict {
    /// They count.
    Keep,
    /// They never were. Nothing is wrong with the checksum where the body itself broke off.
    TakeBack(Option<IngestError>),
}

/// Is what a request changes to be taken back unless it is found right?
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Bracket {
    /// It counts once the request's checksum was right.
    Needed,
    /// It counts at once.
    Needless,
}

/// The demand of one request, and what is known of its bytes.
#[derive(Debug)]
pub(super) struct Check {
    demand: ChecksumDemand,
    /// Behind a pointer: some take two KiB, and few requests bring one.
    running: Option<Box<RunningChecksum>>,
}

impl Check {
    pub(super) fn new(demand: ChecksumDemand) -> Self {
        let running = match &demand {
            ChecksumDemand::Checksum(sum) => Some(RunningChecksum::new(sum.algorithm()).into()),
            _ => None,
        };
        Self { demand, running }
    }

    pub(super) fn bracket(&self) -> Bracket {
        match self.demand {
            ChecksumDemand::Nothing => Bracket::Needless,
            _ => Bracket::Needed,
        }
    }

    /// Takes bytes in that were stored.
    pub(super) fn update(&mut self, bytes: &[u8]) {
        if let Some(running) = &mut self.running {
            running.update(bytes);
        }
    }

    /// Judges a body that lies at `range` of the upload. One that was asked to be checked and is
    /// not there as a whole cannot be.
    pub(super) fn judge(
        &mut self,
        held: &Held,
        range: (Offset, Offset),
        end: Option<&End>,
        trailing: Result<Option<Checksum>, NotAChecksum>,
    ) -> Result<Verdict, IngestError> {
        const TWICE: &str = "it came as a header and as a trailer";
        const MISSING: &str = "it was announced as a trailer and did not come";
        let refuse = |why| Ok(Verdict::TakeBack(Some(IngestError::Unusable(why))));
        let whole = end == Some(&End::Complete);
        match (&self.demand, trailing) {
            (ChecksumDemand::Nothing, _) if !whole => Ok(Verdict::Keep),
            (_, _) if !whole => Ok(Verdict::TakeBack(None)),
            (ChecksumDemand::Nothing, Ok(None)) => Ok(Verdict::Keep),
            (ChecksumDemand::Trailer, Ok(None)) => refuse(NotAChecksum(MISSING)),
            (ChecksumDemand::Checksum(_), Ok(Some(_)) | Err(_)) => refuse(NotAChecksum(TWICE)),
            (ChecksumDemand::Unusable(why), _) => refuse(*why),
            (ChecksumDemand::Nothing | ChecksumDemand::Trailer, Err(why)) => refuse(why),
            (ChecksumDemand::Nothing | ChecksumDemand::Trailer, Ok(Some(sum))) => {
                let mut running = RunningChecksum::new(sum.algorithm());
                held.read_back(range, |bytes| running.update(bytes))?;
                Ok(compare(&sum, running))
            }
            (ChecksumDemand::Checksum(sum), Ok(None)) => {
                let algorithm = sum.algorithm();
                let running = self.running.take().map(|running| *running);
                Ok(compare(sum, running.unwrap_or_else(|| RunningChecksum::new(algorithm))))
            }
        }
    }
}

fn compare(sum: &Checksum, actual: RunningChecksum) -> Verdict {
    if actual.finish() == *sum {
        return Verdict::Keep;
    }
    Verdict::TakeBack(Some(IngestError::ChecksumMismatch { algorithm: sum.algorithm() }))
}
