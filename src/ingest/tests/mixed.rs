//! Both roads over one upload.

use crate::{
    ingest::ChunkFate,
    testing::{Bench, Medium, content, layout, len},
    upload::Phase,
};

const HASH: &str = "00112233445566778899aabbccddeeff";

/// Chunks 0 and 2 of 14 bytes lie there.
async fn with_a_gap(medium: Medium, chunks_per_part: u64, bytes: &[u8]) -> Bench {
    let bench = Bench::build(medium, |setup| setup.chunks_per_part = chunks_per_part);
    bench.put(HASH, (0, &bytes[..4]), layout(4, 14, 4)).await.unwrap();
    bench.put(HASH, (2, &bytes[8..12]), None).await.unwrap();
    bench
}

#[tokio::test]
async fn an_append_goes_over_sealed_chunks() {
    for medium in Medium::BOTH {
        for chunks_per_part in [1, 2, u64::MAX] {
            for (same, restarts) in [(true, true), (true, false), (false, true), (false, false)] {
                let old = content(14, 1);
                let mut new = if same { old.clone() } else { content(14, 2) };
                new[..4].copy_from_slice(&old[..4]);
                let mut bench = with_a_gap(medium, chunks_per_part, &old).await;
                let id = bench.id_of(HASH);
                // Over the gap, over what is sealed, and beyond.
                assert_eq!(bench.push(&id, 4, &new[4..13]).await.unwrap(), 13);
                if restarts {
                    bench.reopen().await;
                }
                assert_eq!(bench.head(&id).await, 13);
                let again = bench.put(HASH, (2, &new[8..12]), None).await.unwrap();
                assert_eq!(again, ChunkFate::Duplicate);
                bench.push(&id, 13, &new[13..]).await.unwrap();
                assert_eq!(bench.download(&id).await, new);
            }
        }
    }
}

#[tokio::test]
async fn an_append_that_ends_inside_a_sealed_chunk_leaves_it_as_it_was() {
    for medium in Medium::BOTH {
        for restarts in [false, true] {
            for end in 8..12 {
                let (old, new) = (content(14, 3), content(14, 4));
                let mut bench = with_a_gap(medium, u64::MAX, &old).await;
                let id = bench.id_of(HASH);
                let told = bench.push(&id, 4, &new[4..end]).await.unwrap();
                assert_eq!(told, len(&new[..end]));
                if restarts {
                    bench.reopen().await;
                }
                assert_eq!(bench.status(&id).await.offset.get(), 12);
                assert_eq!(bench.head(&id).await, 12);
                bench.push(&id, 12, &new[12..]).await.unwrap();
                let expected = [&old[..4], &new[4..8], &old[8..12], &new[12..]].concat();
                assert_eq!(bench.download(&id).await, expected);
            }
        }
    }
}

#[tokio::test]
async fn an_upload_begun_by_offset_is_ended_by_number() {
    for medium in Medium::BOTH {
        for sent in 0..14 {
            let mut bench = Bench::build(medium, |_| {});
            let bytes = content(14, 5);
            let id = bench.create(Some(14)).await;
            bench.push(&id, 0, &bytes[..sent]).await.unwrap();
            bench.reopen().await;
            for index in (sent / 4..4).rev() {
                let at = index * 4..(index * 4 + 4).min(14);
                let index = u64::try_from(index).unwrap();
                bench.put(id.as_str(), (index, &bytes[at]), None).await.unwrap();
            }
            assert_eq!(bench.status(&id).await.record.phase(), Phase::Finished);
            assert_eq!(bench.download(&id).await, bytes);
        }
    }
}

#[tokio::test]
async fn status_tells_the_offset_that_an_append_is_taken_at() {
    for chunks_per_part in [1, 2, u64::MAX] {
        for after in [1, 2, u64::MAX] {
            let mut bench = Bench::local_with(|setup| setup.chunks_per_part = chunks_per_part);
            let bytes = content(23, 6);
            let id = bench.create(Some(23)).await;
            for (from, to) in [(0, 3), (3, 5), (5, 10), (10, 14), (14, 22)] {
                bench.push(&id, len(&bytes[..from]), &bytes[from..to]).await.unwrap();
                bench.reopen_with(|setup| setup.chunks_per_part = after).await;
                assert_eq!(bench.status(&id).await.offset.get(), len(&bytes[..to]));
            }
            bench.push(&id, 22, &bytes[22..]).await.unwrap();
            assert_eq!(bench.download(&id).await, bytes);
        }
    }
}
