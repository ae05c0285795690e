//! What can happen to an upload after its creation; the ledger is a list of these.

use super::{
    digest::{DigestForm, Sha256Digest},
    id::UploadId,
    mark::FileMark,
    name::FinalName,
    part::PartId,
    time::Timestamp,
    units::{ChunkIndex, Length, Offset},
};

/// The epoch of a finished file that no power loss can take.
pub const PROVEN: u64 = u64::MAX;

/// One change of an upload. The record applies it; the ledger keeps it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fact {
    /// A chunk is whole and lies in `part`. A chunk that was sealed before moves there.
    Sealed {
        /// Which chunk.
        chunk: ChunkIndex,
        /// Its bytes.
        length: u64,
        /// Its SHA-256; absent under `--chunk-digest none`.
        digest: Option<Sha256Digest>,
        /// The file that holds it.
        part: PartId,
        /// Were its bytes on the disk before it counted?
        flushed: bool,
    },
    /// The first `length` bytes of the unsealed chunk behind the prefix were promised to be
    /// durable.
    Tail {
        /// Which chunk.
        chunk: ChunkIndex,
        /// Bytes of it that are there.
        length: u64,
        /// Their SHA-256.
        digest: Sha256Digest,
    },
    /// A request that carries a checksum begins at this offset; what follows counts once it is
    /// accepted.
    Pending {
        /// Where its bytes begin.
        offset: Offset,
    },
    /// The pending request's checksum was right.
    Accepted,
    /// The pending request's checksum was wrong, or could not be compared: the upload is as it was
    /// before.
    Rejected,
    /// A chunk's bytes turned out to be lost or wrong; it is asked for again.
    Dropped {
        /// Which chunk.
        chunk: ChunkIndex,
    },
    /// A chunk's bytes now lie, at their place, in another part.
    Absorbed {
        /// Which chunk.
        chunk: ChunkIndex,
        /// The part that holds it now.
        into: PartId,
        /// Were its bytes on the disk there before this counted?
        flushed: bool,
    },
    /// The length is known now.
    Length(Length),
    /// The part of this complete partial upload is about to be the beginning of a final one's, too:
    /// from now on nothing is written to it or cut off it here.
    Lent {
        /// The part that holds all chunks.
        part: PartId,
        /// The final upload.
        to: UploadId,
    },
    /// A client was told that this final upload completes by itself.
    Promised,
    /// All bytes of the partial uploads lie in part 0, in order. Their chunks have no digests yet.
    Joined,
    /// The digest of a chunk whose bytes were there before it was taken.
    Digested {
        /// Which chunk.
        chunk: ChunkIndex,
        /// Its SHA-256.
        digest: Sha256Digest,
    },
    /// Bytes arrived that no other fact tells of; keeps the upload from expiring.
    Touched,
    /// All bytes were compared with their digests after the page cache had been lost for the
    /// `epoch`-th time; or, with [`PROVEN`], they and the file's name are on the disk.
    Verified {
        /// The trust epoch that the upload has reached.
        epoch: u64,
    },
    /// All bytes are there and checked; the file is about to appear under this name.
    Merging {
        /// Its final name.
        name: FinalName,
        /// In which form the client's digest matched; absent where it gave none.
        form: Option<DigestForm>,
        /// Tells the file from others; absent where the storage knows no marks.
        mark: Option<FileMark>,
    },
    /// The merge did not happen; the upload is as before.
    MergeAbandoned,
    /// The file is visible.
    Finished {
        /// Its bytes.
        length: Length,
        /// The raw composite digest; absent under `--chunk-digest none`.
        composite: Option<Sha256Digest>,
    },
    /// What an earlier upload of the same id had left is gone: whatever is found from now on is
    /// this one's.
    Cleared,
    /// The deadline passed; the bytes are gone.
    Expired,
    /// The stored facts or bytes contradict each other; nothing can be added.
    Corrupt,
}

/// A fact and when it became one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stamped {
    /// When.
    pub at: Timestamp,
    /// What.
    pub fact: Fact,
}
