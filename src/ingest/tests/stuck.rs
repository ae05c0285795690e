//! A holder that cannot leave.

use std::time::Duration;

use crate::{
    clock::Stopwatch,
    hold::HoldError,
    ingest::IngestError,
    storage::Operation,
    testing::{Bench, Medium, content},
};

// rows: RACE-05: what HTTP makes of it, 423 with Retry-After, is asked from outside.
// spec: TUS-23
#[tokio::test(flavor = "multi_thread")]
async fn a_holder_that_hangs_in_storage_is_not_waited_for_for_ever() {
    for medium in Medium::BOTH {
        let bench = Bench::build(medium, |setup| setup.patience = Duration::from_millis(100));
        let bytes = content(23, 11);
        let id = bench.create(Some(23)).await;
        bench.push(&id, 0, &bytes[..3]).await.unwrap();
        bench.faults.hang(Operation::Write, 1);
        let (house, own, more) = (bench.house.clone(), id.clone(), bytes.clone());
        let hanging = tokio::spawn(async move { house.push(&own, 3, &more[3..11]).await });
        while bench.faults.hanging() == 0 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        let since = Stopwatch::start();
        let busy = |error: IngestError| matches!(error, IngestError::Hold(HoldError::Busy));
        assert!(bench.ingest.head(&id).await.is_err_and(busy));
        assert!(bench.push(&id, 3, &bytes[3..]).await.is_err_and(busy));
        assert!(bench.ingest.terminate(&id).await.is_err_and(busy));
        // Three times the patience, and whatever a busy machine adds; it hangs until it is let go.
        assert!(since.elapsed() < Duration::from_secs(20), "{:?}", since.elapsed());
        bench.faults.release();
        // Who was asked to leave meanwhile leaves, with what it has.
        let _ = hanging.await.unwrap();
        let there = bench.head(&id).await;
        assert!((3..=11).contains(&there), "{there}");
        bench.push(&id, there, &bytes[usize::try_from(there).unwrap()..]).await.unwrap();
        assert_eq!(bench.download(&id).await, bytes);
    }
}
