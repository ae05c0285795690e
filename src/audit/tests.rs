//! What reports look like.

use super::{
    finding::{Note, Problem, Runs, Stage},
    inspect::{Chunk, FactLine, Inspection, Ledger, Part, Upload},
    text::{self, Extent},
    *,
};

const ID: &str = "0123456789abcdef0123456789abcdef";

fn verdict(status: Status, problems: Vec<Problem>, notes: Vec<Note>) -> Verdict {
    Verdict {
        id: ID.to_owned(),
        status,
        phase: Some("receiving".to_owned()),
        length: Some(11),
        stored: 5,
        checked: 4,
        unproven: 1,
        file: None,
        problems: problems.into_iter().map(|p| p.told(Stage::Unfinished)).collect(),
        notes: notes.into_iter().map(Note::told).collect(),
    }
}

fn file() -> String {
    format!("uploads/{ID}/0.part")
}

#[test]
fn an_upload_that_is_well_is_one_line() {
    let text = text::verdict(&verdict(Status::Ok, Vec::new(), Vec::new()));
    assert_eq!(text, format!("{ID}  ok          receiving  5 of 11 bytes\n"));
}

#[test]
fn damage_is_told_with_its_place_what_it_means_and_what_to_do() {
    let mut chunks = Runs::one(7);
    let differs = |chunks: &Runs| Problem::BytesDiffer {
        file: file(),
        chunks: chunks.clone(),
        from: 58_720_256,
        to: 67_108_864,
        at: 58_720_256,
    };
    let text = text::verdict(&verdict(Status::Damaged, vec![differs(&chunks)], Vec::new()));
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines[0], format!("{ID}  DAMAGED     receiving  5 of 11 bytes"));
    let place = "chunk 7, bytes 58720256..67108864, does not match its digest";
    assert_eq!(lines[1], format!("    {place}: {} from byte 58720256 on", file()));
    assert!(lines[2].starts_with("      means: ") && lines[3].starts_with("      do: "), "{text}");
    chunks.push(8);
    chunks.push(11);
    assert!(differs(&chunks).to_string().starts_with("chunks 7 to 8, 11, bytes"));

    let chunks = Runs::one(2);
    let short = Problem::PartShort { file: file(), size: 90, expected: 100, chunks };
    assert_eq!(
        short.to_string(),
        format!("{} is short by 10 bytes: 90 of 100, in chunk 2", file())
    );
}

#[test]
fn advice_depends_on_whether_the_file_is_there_for_all() {
    let differs =
        || Problem::BytesDiffer { file: file(), chunks: Runs::one(0), from: 0, to: 1, at: 0 };
    let unfinished = differs().told(Stage::Unfinished).remedy.unwrap();
    let finished = differs().told(Stage::Finished).remedy.unwrap();
    assert!(unfinished.contains("--verify-on-merge") && !finished.contains("--verify-on-merge"));
}

#[test]
fn a_busy_upload_is_not_called_damaged() {
    let gone = Problem::FileMissing { file: "files/a".to_owned() };
    let text = text::verdict(&verdict(Status::Busy, vec![gone], Vec::new()));
    assert!(text.contains("  busy  ") && text.contains("look again later"), "{text}");
    assert!(!text.contains("DAMAGED"), "{text}");
}

#[test]
fn notes_are_told_without_alarm() {
    let text = text::verdict(&verdict(Status::Ok, Vec::new(), vec![Note::Unproven { bytes: 1 }]));
    assert!(text.ends_with("    note: 1 bytes have no digest: only their number was compared\n"));
}

#[test]
fn the_summary_names_what_there_is_and_nothing_else() {
    let mut summary = Summary { uploads: 3, checked: 22, damaged: 1, ..Summary::default() };
    assert_eq!(text::summary(&summary), "3 uploads, 22 bytes checked, 1 damaged\n");
    summary.busy = 1;
    summary.loose = 2;
    let text = text::summary(&summary);
    assert_eq!(text, "3 uploads, 22 bytes checked, 1 damaged; 1 busy; 2 nobody's\n");
}

fn inspection(chunks: u64) -> Inspection {
    let upload = Upload {
        phase: "receiving".to_owned(),
        dialect: "tus".to_owned(),
        length: None,
        offset: 5,
        chunk_size: 4,
        total: None,
        sealed: 1,
        digests: 1,
        tail: 1,
        created: "2026-01-01T00:00:00.000Z".to_owned(),
        active: "2026-01-01T00:00:01.000Z".to_owned(),
        expires: None,
        expired: false,
        verified: "0".to_owned(),
        epoch: 0,
        owner: Some("ann\u{202e}".to_owned()),
        hash: None,
        filename: Some("a\u{1b}[2Jb\u{9b}31m\n.bin".to_owned()),
        media_type: None,
        metadata: vec![("k".to_owned(), "\r\nforged line".to_owned())],
        concatenation: None,
        file: None,
        finished: None,
        composite: None,
    };
    let chunk = |chunk| Chunk {
        chunk,
        from: chunk * 4,
        to: chunk * 4 + 4,
        sha256: Some("ab".repeat(32)),
        file: file(),
    };
    let fact = |at| FactLine {
        at,
        time: "2026-01-01T00:00:01.000Z".to_owned(),
        fact: "sealed",
        about: format!("chunk {at}"),
    };
    let part = Part {
        file: file(),
        size: Some(5),
        from: Some(0),
        to: Some(4),
        state: "1 more bytes, of the tail".to_owned(),
    };
    Inspection {
        verdict: verdict(Status::Ok, Vec::new(), Vec::new()),
        ledger: Ledger {
            file: format!("state/01/{ID}.ledger"),
            size: 496,
            end: 496,
            changed: "2026-01-01T00:00:01.000Z".to_owned(),
        },
        upload: Some(upload),
        parts: vec![part],
        chunks: (0..chunks).map(chunk).collect(),
        facts: (0..chunks).map(fact).collect(),
    }
}

#[test]
fn no_terminal_obeys_what_a_client_chose() {
    let report = inspection(1);
    let texts = [text::inspection(&report, Extent::All), text::json(&report).unwrap()];
    for text in &texts {
        let strange = |c: char| crate::upload::is_invisible(c) && c != '\n';
        assert!(!text.contains(strange), "{text:?}");
        assert!(!text.lines().any(|line| line.starts_with("forged")), "{text}");
    }
    let [text, json] = texts;
    assert!(text.contains("a\\u{1b}[2Jb\\u{9b}31m\\u{a}.bin"), "{text}");
    // The same text, for whoever reads it by program.
    let read: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(read["upload"]["filename"], "a\u{1b}[2Jb\u{9b}31m\n.bin");
    assert_eq!(read["upload"]["owner"], "ann\u{202e}");
}

#[test]
fn an_inspection_tells_phase_offset_parts_chunks_and_facts() {
    let text = text::inspection(&inspection(1), Extent::Ends);
    for line in [
        &*format!("upload     {ID}"),
        "phase      receiving",
        "length     unknown",
        "offset     5",
        "chunks     1 of unknown, 1 with a digest, 4 bytes each, 1 bytes behind them",
        "expires    never",
        "state      ok, as far as sizes tell",
        &format!("  {}  5 bytes  0..4  1 more bytes, of the tail", file()),
        &format!("  0  0..4  {}  {}", "ab".repeat(32), file()),
        "  2026-01-01T00:00:01.000Z  0  sealed  chunk 0",
    ] {
        assert!(text.lines().any(|told| told == line), "{line:?} is not in\n{text}");
    }
}

#[test]
fn long_lists_show_their_ends_unless_all_is_asked_for() {
    let report = inspection(1000);
    let ends = text::inspection(&report, Extent::Ends);
    assert!(ends.contains("  … 960 more, shown by --all\n"), "{ends}");
    assert!(ends.contains("\n  19  76..80  ") && ends.contains("\n  980  3920..3924  "), "{ends}");
    assert!(!ends.contains("\n  20  80..84  ") && !ends.contains("\n  979  "), "{ends}");
    let all = text::inspection(&report, Extent::All);
    assert!(all.contains("\n  20  80..84  ") && !all.contains("--all"), "{all}");
}

#[test]
fn a_report_for_programs_has_the_kind_the_place_and_the_sentence() {
    let missing = Problem::PartMissing { file: file(), chunks: Runs::one(3) };
    let verdict = verdict(Status::Damaged, vec![missing], Vec::new());
    let json = text::json(&Told::Upload(&verdict)).unwrap();
    let read: serde_json::Value = serde_json::from_str(&json).unwrap();
    let problem = &read["upload"]["problems"][0];
    assert_eq!(problem["kind"], "part-missing");
    assert_eq!(problem["chunks"], serde_json::json!([[3, 3]]));
    assert_eq!(problem["says"], format!("{} is missing, with chunk 3", file()));
    assert_eq!((&read["upload"]["status"], &read["upload"]["id"]), (&"damaged".into(), &ID.into()));
}
