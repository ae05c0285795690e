//! The law, held against its vectors and its edges.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;

fn length(bytes: u64) -> Length {
    Length::new(bytes).unwrap()
}

fn size(bytes: u64) -> ChunkSize {
    ChunkSize::new(bytes).unwrap()
}

fn count(chunks: u64) -> ChunkCount {
    ChunkCount::new(chunks).unwrap()
}

fn index(chunk: u64) -> ChunkIndex {
    ChunkIndex::new(chunk).unwrap()
}

fn lengths(layout: &Layout) -> Vec<u64> {
    let chunks = layout.total().unwrap().indexes();
    chunks.map(|chunk| layout.chunk_len(chunk).unwrap()).collect()
}

// spec: CHUNK-22
#[test]
fn composite_digests_are_those_of_the_conformance_vectors() {
    let vectors: [(&[&str], &str, &str); 6] = [
        (
            &["hello ", "world", "!"],
            "f43bd1d7e4f6f284fdffdfe143bef256b99234cf2010c947b6c1a83bd178b25f",
            "79f700eb632b9f16c79e2a68bcd63d803d4dc05b501ebb1099e0091cf11b5ca7",
        ),
        (
            &["hello ", "world!"],
            "9ef38ec3efc683f76cb9ab53a326b239d1605af64ad786b41b98379000574c6b",
            "fbcf33e211b6aee6930621d52a54e8cfe44dcfde8fea2d6421f560137b8586a8",
        ),
        (
            &["hello", " worl", "d!"],
            "0f7a99aa13023b48fe87e452ed1411f1415d5f899379dd627b196d1c448d5300",
            "7aeab14993cf9a5330e4edf6908cf434ada905542ae62216c7dc4b6e01688dda",
        ),
        (
            &["hello", " world!"],
            "682a80f0dba47207545eb4e93f9da95240a4658e553297464a212730176116bd",
            "cdc36629b4b0264c00dcb919198b7c3baed8a7e902eba85b9e1c4ade076c0ace",
        ),
        (
            &["hello world!"],
            "1332f5132b45de03e729e764b38f9a2e4057d6760a8807662331b37ddea936e4",
            "1ebd697eb955affab0738ceb75ed33a9bd5a9c44358e96c7bb6e3afd62f6a404",
        ),
        (
            &[""],
            "5df6e0e2761359d30a8275058e299fcc0381534545f55cf43e41983f5d4c9456",
            "cd372fb85148700fa88095e3492d3f9f5beb43e555e5ff26d95f5a6adc36f8e6",
        ),
    ];
    for (chunks, raw, hex) in vectors {
        let digests: Vec<_> =
            chunks.iter().map(|chunk| Sha256Digest::of(chunk.as_bytes())).collect();
        let composite = CompositeDigest::of(&digests);
        assert_eq!(composite.raw.to_hex(), raw, "{chunks:?}");
        assert_eq!(composite.hex.to_hex(), hex, "{chunks:?}");
    }
}

#[test]
fn a_composite_digest_matches_in_the_form_that_was_named_or_in_either() {
    let composite = CompositeDigest::of(&[Sha256Digest::of(b"hello world!")]);
    let (raw, hex) = (DigestForm::Raw, DigestForm::Hex);
    let matched = |form| Ok(CompositeMatch { form });
    assert_eq!(composite.compare(composite.raw, None), matched(raw));
    assert_eq!(composite.compare(composite.raw, Some(raw)), matched(raw));
    assert_eq!(composite.compare(composite.hex, None), matched(hex));
    assert_eq!(composite.compare(composite.hex, Some(hex)), matched(hex));
    let mismatch = |expected, actual| Err(CompositeMismatch { expected, actual });
    assert_eq!(composite.compare(composite.hex, Some(raw)), mismatch(composite.hex, composite.raw));
    assert_eq!(composite.compare(composite.raw, Some(hex)), mismatch(composite.raw, composite.hex));
}

#[test]
fn a_digest_is_read_in_hex_of_any_case_and_in_base64() {
    let digest = Sha256Digest::of(b"hello world");
    assert_eq!(Sha256Digest::parse(&digest.to_hex()), Ok(digest));
    assert_eq!(Sha256Digest::parse(&digest.to_hex().to_uppercase()), Ok(digest));
    assert_eq!(Sha256Digest::parse("uU0nuZNNPgilLlLX2n2r+sSE7+N6U4DukIj3rOLvzek="), Ok(digest));
    let hex = digest.to_hex();
    let sixty_three = &hex[1..];
    let not_hex = hex.replacen('b', "g", 1);
    let unpadded = "uU0nuZNNPgilLlLX2n2r+sSE7+N6U4DukIj3rOLvzek";
    for text in
        ["", sixty_three, &format!("{hex}0"), &not_hex, unpadded, "Kq5sNclPz7QV2+lfQIuc6R7oRu0="]
    {
        assert_eq!(Sha256Digest::parse(text), Err(ParseDigestError), "{text}");
    }
}

// spec: CHUNK-7
#[test]
fn both_totals_are_legal_and_no_others() {
    let legal =
        |length_, size_, total| Layout::by_total(size(size_), length(length_), count(total));
    assert_eq!(lengths(&legal(12, 5, 3).unwrap()), [5, 5, 2]);
    assert_eq!(lengths(&legal(12, 5, 2).unwrap()), [5, 7]);
    for total in [0, 1, 4] {
        assert!(matches!(legal(12, 5, total), Err(LayoutError::Total { ceil: 3, floor: 2, .. })));
    }
    assert_eq!(lengths(&legal(3, 5, 1).unwrap()), [3]);
    assert!(legal(3, 5, 0).is_err());
    assert_eq!(lengths(&legal(10, 5, 2).unwrap()), [5, 5]);
    assert!(legal(10, 5, 1).is_err());
}

#[test]
fn the_last_chunk_may_be_one_byte_short_of_two() {
    let layout = Layout::by_total(size(5), length(9), count(1)).unwrap();
    assert_eq!(lengths(&layout), [9]);
    let layout = Layout::by_total(size(5), length(19), count(3)).unwrap();
    assert_eq!(lengths(&layout), [5, 5, 9]);
    assert_eq!(layout.chunk_at(Offset::new(15).unwrap()), Ok(index(2)));
    assert_eq!(layout.chunk_at(Offset::new(19).unwrap()), Ok(index(2)));
}

#[test]
fn an_empty_file_is_one_chunk_of_nothing() {
    let by_total = Layout::by_total(size(5), Length::ZERO, count(1)).unwrap();
    assert_eq!(by_total, Layout::by_size(size(5), Some(Length::ZERO)));
    assert_eq!(lengths(&by_total), [0]);
    assert_eq!(by_total.chunk_at(Offset::ZERO), Ok(index(0)));
    assert_eq!(by_total.end(index(0)), Ok(Offset::ZERO));
    assert!(Layout::by_total(size(5), Length::ZERO, count(0)).is_err());
}

#[test]
fn a_length_is_declared_once() {
    let open = Layout::by_size(size(5), None);
    assert_eq!(open.total(), None);
    assert!(open.contains(index(1_000_000)));
    let known = open.with_length(length(11)).unwrap();
    assert_eq!(known.total(), Some(count(3)));
    assert_eq!(known.with_length(length(11)), Ok(known));
    assert_eq!(known.with_length(length(12)), Err(LayoutError::Fixed(length(11))));
}

proptest! {
    #[test]
    fn chunks_tile_the_file(bytes in 0_u64..100_000, chunk in 1_u64..5_000, long in any::<bool>()) {
        let total = if long { bytes / chunk } else { bytes.div_ceil(chunk) }.max(1);
        let layout = Layout::by_total(size(chunk), length(bytes), count(total)).unwrap();
        let mut end = Offset::ZERO;
        for index in count(total).indexes() {
            prop_assert_eq!(layout.start(index), Ok(end));
            end = layout.end(index).unwrap();
            let inside = layout.chunk_len(index).unwrap().saturating_sub(1);
            let last = layout.start(index).unwrap().advance(inside).unwrap();
            prop_assert_eq!(layout.chunk_at(last), Ok(index));
        }
        prop_assert_eq!(end, length(bytes).end());
        prop_assert_eq!(layout.chunk_len(index(total)), Err(OutOfRange));
    }

    // spec: STORE-14
    #[test]
    fn any_text_becomes_a_safe_name(given in any::<String>()) {
        let name = render(Some(&given));
        prop_assert_eq!(FinalName::parse(name.as_str()), Ok(name.clone()));
        prop_assert!(!name.as_str().starts_with(['.', '-']));
        prop_assert!(name.numbered(u32::MAX).as_str().len() <= 255);
    }

    #[test]
    fn an_id_is_read_as_it_was_written(bytes in any::<[u8; 16]>()) {
        let id = UploadId::from_random(bytes);
        prop_assert_eq!(UploadId::parse(id.as_str()), Ok(id));
    }
}

#[test]
fn numbers_end_where_files_do() {
    assert!(Length::new(i64::MAX.unsigned_abs()).is_ok());
    assert_eq!(Length::new(1 << 63), Err(OutOfRange));
    assert_eq!(Offset::new(1).unwrap().advance(i64::MAX.unsigned_abs()), Err(OutOfRange));
    assert_eq!(Offset::ZERO.advance(u64::MAX), Err(OutOfRange));
    assert_eq!(ChunkSize::new(0), Err(OutOfRange));
    assert!(ChunkSize::new(1 << 31).is_ok());
    assert_eq!(ChunkSize::new((1 << 31) + 1), Err(OutOfRange));
    let largest = Layout::by_size(size(1), Some(length(i64::MAX.unsigned_abs())));
    assert_eq!(largest.total().map(ChunkCount::get), Some(i64::MAX.unsigned_abs()));
}

#[test]
fn only_lower_case_hex_of_two_lengths_is_an_id() {
    let (short, long) = ("0123456789abcdef".repeat(2), "0123456789abcdef".repeat(3));
    assert_eq!(UploadId::parse(&short).unwrap().as_str(), short);
    assert_eq!(UploadId::parse(&long).unwrap().shard(), "01");
    let path = format!("../{}", &short[3..]);
    let extended = format!("{short}.ledger");
    let upper = short.to_uppercase();
    for text in ["", "..", "/", &short[1..], &path, &extended, &upper, &"é".repeat(16), "a\0b"] {
        assert_eq!(UploadId::parse(text), Err(ParseIdError), "{text:?}");
    }
}

#[test]
fn derived_ids_share_a_family_and_depend_on_owner_hash_name_and_secret() {
    let key = |owner: &str, hash: &str, filename: Option<&str>| ChunkKey {
        owner: owner.to_owned(),
        hash: UploadHash::parse(hash).unwrap(),
        filename: filename.map(ToOwned::to_owned),
    };
    let secret = IdSecret::new([7; 32]);
    let base = secret.id(&key("", "0123456789abcdef", Some("a.bin")));
    assert_eq!(UploadId::parse(base.as_str()), Ok(base.clone()));
    assert_eq!(secret.id(&key("", "0123456789ABCDEF", Some("a.bin"))), base);
    let family = secret.family("", &UploadHash::parse("0123456789abcdef").unwrap());
    let sibling = secret.id(&key("", "0123456789abcdef", Some("b.bin")));
    assert!(base.as_str().starts_with(&family) && sibling.as_str().starts_with(&family));
    let others = [
        sibling,
        secret.id(&key("", "0123456789abcdef", None)),
        secret.id(&key("", "0123456789abcdef", Some(""))),
        secret.id(&key("eve", "0123456789abcdef", Some("a.bin"))),
        secret.id(&key("", "0123456789abcde0", Some("a.bin"))),
        IdSecret::new([8; 32]).id(&key("", "0123456789abcdef", Some("a.bin"))),
    ];
    assert!(others.iter().all(|other| *other != base));
}

#[test]
fn a_hash_is_8_to_64_hex_digits_in_lower_case() {
    assert_eq!(UploadHash::parse("0123ABCD").unwrap().as_str(), "0123abcd");
    assert!(UploadHash::parse(&"a".repeat(64)).is_ok());
    for text in ["", "0123abc", &"a".repeat(65), "0123abcg", "../../..", "0123 abcd", "é123abcd"] {
        assert_eq!(UploadHash::parse(text), Err(ParseHashError), "{text:?}");
    }
}

const ID: &str = "0123456789abcdef0123456789abcdef";

fn render_with(template: &NameTemplate, filename: Option<&str>) -> FinalName {
    let composite = CompositeDigest::of(&[Sha256Digest::of(b"hello world!")]).raw;
    template.render(&NameParts {
        id: &UploadId::parse(ID).unwrap(),
        filename,
        at: Timestamp::from_millis(1_785_585_600_123),
        composite: Some(composite),
    })
}

fn render(filename: Option<&str>) -> FinalName {
    render_with(&NameTemplate::default(), filename)
}

// spec: STORE-14
#[test]
fn names_of_strangers_become_sane_names() {
    let suffix = "-20260801T120000Z-1332f513";
    let cases = [
        (Some("a.bin"), format!("a{suffix}.bin")),
        (Some("../../x"), format!("x{suffix}")),
        (Some("..\\..\\x.txt"), format!("x{suffix}.txt")),
        (Some("/etc/passwd"), format!("passwd{suffix}")),
        (Some(".env"), format!("env{suffix}")),
        (Some("-rf"), format!("rf{suffix}")),
        (Some("a\0\r\nb.txt"), format!("ab{suffix}.txt")),
        (Some("gpj.\u{202e}exe"), format!("gpj{suffix}.exe")),
        (Some("测试 é.tar.gz"), format!("测试 é.tar{suffix}.gz")),
        (Some("a. b"), format!("a. b{suffix}")),
        (Some("a.b "), format!("a{suffix}.b")),
        (Some("."), format!("{ID}{suffix}")),
        (Some(".."), format!("{ID}{suffix}")),
        (Some(""), format!("{ID}{suffix}")),
        (Some("a/"), format!("{ID}{suffix}")),
        (None, format!("{ID}{suffix}")),
    ];
    for (given, expected) in cases {
        assert_eq!(render(given).as_str(), expected, "{given:?}");
    }
}

#[test]
fn a_long_name_is_cut_between_characters_and_keeps_its_extension() {
    for stem in ["x".repeat(300), "é".repeat(150), "测".repeat(100)] {
        let name = render(Some(&format!("{stem}.bin")));
        assert!(name.as_str().len() <= 255 && name.as_str().ends_with("-1332f513.bin"));
        assert!(name.numbered(2).as_str().ends_with("-1332f513-2.bin"));
    }
    let no_extension = format!("a.{}", "b".repeat(300));
    assert!(render(Some(&no_extension)).as_str().ends_with("-1332f513"));
}

#[test]
fn templates_are_checked_when_they_are_read() {
    let template: NameTemplate = "{id}_{digest}{ext}".parse().unwrap();
    let digest = "1332f5132b45de03e729e764b38f9a2e4057d6760a8807662331b37ddea936e4";
    assert_eq!(render_with(&template, Some("a.bin")).as_str(), format!("{ID}_{digest}.bin"));
    let read = |text: &str| text.parse::<NameTemplate>();
    assert_eq!(read("{stem}-{time}-{digest8}{ext}"), Ok(NameTemplate::default()));
    assert_eq!(read("{nme}"), Err(ParseTemplateError::Placeholder("nme".to_owned())));
    assert_eq!(read("{stem"), Err(ParseTemplateError::Brace));
    assert_eq!(read("stem}"), Err(ParseTemplateError::Brace));
    assert_eq!(read("a/{stem}"), Err(ParseTemplateError::Text));
    assert_eq!(read("\u{7}{stem}"), Err(ParseTemplateError::Text));
    for constant in ["", "a", "{ext}", "a{ext}"] {
        assert_eq!(read(constant), Err(ParseTemplateError::Constant), "{constant}");
    }
}

#[test]
fn part_names_are_read_as_they_are_written() {
    for part in [PartId::new(index(0)), PartId { first: index(17), generation: 3 }] {
        assert_eq!(PartId::parse(&part.to_string()), Some(part));
    }
    for foreign in ["", "0", ".part", "+1.part", "01.part", "0.0.part", "0.part.tmp", "-1.part"] {
        assert_eq!(PartId::parse(foreign), None, "{foreign}");
    }
}

#[test]
fn a_manifest_without_an_owner_is_as_it_always_was() {
    let record = open_record(&[]);
    let mut manifest = record.manifest().clone();
    let written = serde_json::to_string(&manifest).unwrap();
    assert!(!written.contains("owner"), "{written}");
    assert_eq!(serde_json::from_str::<Manifest>(&written).unwrap(), manifest);
    assert_eq!(manifest.owner(), "");
    manifest.owner = "ann".to_owned();
    let written = serde_json::to_string(&manifest).unwrap();
    assert_eq!(serde_json::from_str::<Manifest>(&written).unwrap().owner(), "ann");
}

/// An upload of unknown length in chunks of five bytes, of which these are sealed.
fn open_record(sealed: &[u64]) -> Record {
    let mut record = Record::new(Manifest {
        id: UploadId::parse(ID).unwrap(),
        layout: Layout::by_size(size(5), None),
        metadata: String::new(),
        filename: None,
        media_type: None,
        dialect: Dialect::Tus,
        key: None,
        concatenation: None,
        owner: String::new(),
        created_at: Timestamp::default(),
        epoch: 0,
    });
    for number in sealed {
        let chunk = index(*number);
        let (part, flushed) = (PartId::new(chunk), false);
        let fact = Fact::Sealed { chunk, length: 5, digest: None, part, flushed };
        apply(&mut record, fact).unwrap();
    }
    record
}

fn apply(record: &mut Record, fact: Fact) -> Result<(), LawError> {
    record.apply(&Stamped { at: Timestamp::default(), fact })
}

#[test]
fn a_length_cannot_be_declared_below_a_chunk_behind_a_gap() {
    let mut record = open_record(&[0, 2]);
    for bytes in [5, 8, 12, 14] {
        let before = record.clone();
        let refused = apply(&mut record, Fact::Length(length(bytes)));
        let stored = Offset::new(15).unwrap();
        assert_eq!(refused, Err(LawError::TooShort { length: length(bytes), stored }));
        assert_eq!(record, before);
    }
    apply(&mut record, Fact::Length(length(16))).unwrap();
    assert_eq!(record.layout().total(), Some(count(4)));
}

#[test]
fn a_refused_length_leaves_no_trace() {
    let mut record = open_record(&[0]);
    apply(&mut record, Fact::Expired).unwrap();
    let before = record.clone();
    assert!(matches!(apply(&mut record, Fact::Length(length(11))), Err(LawError::Move(_))));
    assert_eq!(record, before);
}

/// Whoever knows the digests of a file's chunks could find a short one's bytes by trying.
// spec: CHUNK-91
#[test]
fn the_chunk_to_prove_is_never_the_last_of_several() {
    let sample = |total: u64, salt: u8| {
        IdSecret::new([7; 32]).sample(&Content {
            owner: String::new(),
            length: Length::new((total - 1) * 4 + 1).unwrap(),
            chunk_size: ChunkSize::new(4).unwrap(),
            total: ChunkCount::new(total).unwrap(),
            composite: Sha256Digest::of(&[salt]),
        })
    };
    for total in [1, 2, 3] {
        let sampled: BTreeSet<u64> = (0..64).map(|salt| sample(total, salt).get()).collect();
        assert_eq!(sampled, (0..(total - 1).max(1)).collect(), "{total}");
    }
}
