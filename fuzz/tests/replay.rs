//! Every input of every corpus, as an ordinary test.

#![allow(clippy::disallowed_methods, clippy::unwrap_used, reason = "a test may tell the time")]

use std::{fs, panic, path::Path, time::Instant};

use piton_fuzz::TARGETS;

/// Milliseconds that one input may take in a debug build on a busy machine.
const SLOW: u128 = 10_000;

#[test]
fn every_input_of_every_corpus_keeps_what_its_decoder_promises() {
    for target in TARGETS {
        let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(target.name);
        let mut inputs: Vec<_> =
            fs::read_dir(&corpus).unwrap().map(|entry| entry.unwrap().path()).collect();
        inputs.sort();
        assert!(inputs.len() >= 3, "the corpus of {} has no seeds", target.name);
        for input in inputs {
            let bytes = fs::read(&input).unwrap();
            let begun = Instant::now();
            let ran = panic::catch_unwind(|| (target.run)(&bytes));
            assert!(ran.is_ok(), "{} broke a property, see above", input.display());
            let took = begun.elapsed().as_millis();
            assert!(took < SLOW, "{} took {took} ms", input.display());
        }
    }
}
