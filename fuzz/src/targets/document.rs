//! JSON bodies of the chunk flow.

use piton::{
    protocol::chunks::{FILE_BYTES_MAX, Init, Instant, Merge, TOTAL_MAX},
    upload::{ChunkSize, Dialect, UploadHash},
};

use super::head::refusal;

/// An init, a merge or a proof: what is taken keeps to the limits.
pub(crate) fn json(data: &[u8]) {
    match Init::decode(data) {
        Err(problem) => refusal(&problem, Dialect::Chunks),
        Ok(init) => {
            named(init.filename.as_deref());
            let name = init.name(|| UploadHash::from_random([7; 20]));
            assert_eq!(name.filename, init.filename);
            match init.layout(ChunkSize::new(8 << 20).unwrap()) {
                Err(problem) => refusal(&problem, Dialect::Chunks),
                Ok(layout) => {
                    let total = layout.total().unwrap().get();
                    assert!((1..=TOTAL_MAX).contains(&total), "{total} chunks");
                    assert_eq!(layout.length(), Some(init.size));
                    assert!(init.size.get() <= FILE_BYTES_MAX.saturating_mul(2));
                    assert_eq!(init.fits(&layout), Ok(()), "it fits what was made for it");
                }
            }
        }
    }
    match Merge::decode(data) {
        Err(problem) => refusal(&problem, Dialect::Chunks),
        Ok(merge) => {
            named(merge.name.filename.as_deref());
            let listed = merge.chunks.as_ref().map_or(0, Vec::len);
            assert!(listed * 64 <= data.len(), "digests out of nowhere");
            assert!(merge.total.is_none_or(|total| (1..=TOTAL_MAX).contains(&total.get())));
        }
    }
    if let Err(problem) = Instant::decode(data) {
        refusal(&problem, Dialect::Chunks);
    }
}

fn named(filename: Option<&str>) {
    assert!(filename.is_none_or(|name| (1..=255).contains(&name.len())));
}
