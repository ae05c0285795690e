//! Defaults, and the ways to write a right value.

use std::num::{NonZeroU64, NonZeroUsize};
use std::path::PathBuf;
use std::time::Duration;

use super::Said;
use crate::config::{AllowOrigin, ChunkDigest, Config, Durability, LogFormat};

#[test]
fn defaults() {
    let expected = Config {
        listen: "127.0.0.1:8080".parse().unwrap(),
        base_path: "/files/".to_owned(),
        public_url: None,
        tls: None,
        behind_proxy: Vec::new(),
        owner_header: None,
        allow_origin: AllowOrigin::Any,
        cors_credentials: false,
        no_page: false,
        data_dir: PathBuf::from("./data"),
        chunk_size: NonZeroU64::new(8 * 1024 * 1024).unwrap(),
        chunk_digest: ChunkDigest::Sha256,
        chunks_per_part: None,
        consume_partials: false,
        auto_merge: false,
        instant: false,
        name_template: "{stem}-{time}-{digest8}{ext}".to_owned(),
        max_size: None,
        max_connections: NonZeroUsize::new(10_000).unwrap(),
        max_uploads: NonZeroUsize::new(2048),
        max_uploads_per_ip: NonZeroUsize::new(8),
        queue_wait: Duration::from_secs(30),
        memory_budget: 32 * 1024 * 1024,
        idle_timeout: Duration::from_secs(30),
        min_rate: NonZeroU64::new(64),
        disable_download: false,
        disable_termination: false,
        no_metrics: false,
        expire_after: Duration::from_hours(24),
        keep_finished: None,
        reap_every: Duration::from_mins(30),
        durability: Durability::Complete,
        verify_on_merge: false,
        shutdown_timeout: Duration::from_secs(10),
        log_format: LogFormat::Text,
        log_level: "info".to_owned(),
        #[cfg(feature = "mutants")]
        mutant: None,
    };
    assert_eq!(Config::default(), expected);
    assert_eq!(Said::default().resolve().unwrap(), expected);
    assert_eq!(Said::default().file("").resolve().unwrap(), expected);
}

#[test]
fn base_paths_are_normalised() {
    for (text, path) in [
        ("files", "/files/"),
        ("/files", "/files/"),
        ("files/", "/files/"),
        ("/api/v1.0/up_load~s", "/api/v1.0/up_load~s/"),
        ("/uploads/", "/uploads/"),
        ("/x/upload", "/x/upload/"),
    ] {
        let said = Said::default().flag(format!("--base-path={text}"));
        assert_eq!(said.resolve().unwrap().base_path, path);
    }
}

#[test]
fn sizes_at_their_ends() {
    let size = |text: &str| Said::default().flag(format!("--max-size={text}")).resolve();
    assert_eq!(size("1").unwrap().max_size, Some(1));
    assert_eq!(size("1.5 MiB").unwrap().max_size, Some(1_572_864));
    assert_eq!(size("9223372036854775807").unwrap().max_size, Some((1 << 63) - 1));
    let chunk = |text: &str| Said::default().flag(format!("--chunk-size={text}")).resolve();
    assert_eq!(chunk("4KiB").unwrap().chunk_size.get(), 4096);
    assert_eq!(chunk("2GiB").unwrap().chunk_size.get(), 1 << 31);
}

#[test]
fn a_shutdown_may_be_immediate() {
    let config = Said::default().flag("--shutdown-timeout=0s").resolve().unwrap();
    assert_eq!(config.shutdown_timeout, Duration::ZERO);
}

#[test]
fn finished_files_are_kept_for_ever_or_for_a_time() {
    let kept = |text: &str| {
        let said = Said::default().flag(format!("--keep-finished={text}"));
        said.resolve().unwrap().keep_finished
    };
    assert_eq!(kept("forever"), None);
    assert_eq!(kept("90d"), Some(Duration::from_hours(90 * 24)));
    assert_eq!(kept("1ms"), Some(Duration::from_millis(1)));
}

#[test]
fn what_clients_may_not_do_is_said_by_a_bare_flag() {
    let said = Said::default().flag("--disable-download").flag("--disable-termination");
    let config = said.flag("--no-page").resolve().unwrap();
    assert!(config.disable_download && config.disable_termination && config.no_page);
}

#[test]
fn parts_of_the_program_have_levels_of_their_own() {
    for level in ["off", "WARN", "info,piton::merger=debug", "piton[upload{id=1}]=trace"] {
        let said = Said::default().flag(format!("--log-level={level}"));
        assert_eq!(said.resolve().unwrap().log_level, level);
    }
}

#[test]
fn the_file_may_write_numbers_and_truths_bare() {
    let file = "max-size = 1000\nchunks-per-part = 4\nverify-on-merge = true # why not\n";
    let config = Said::default().file(file).resolve().unwrap();
    assert_eq!(config.max_size, Some(1000));
    assert_eq!(config.chunks_per_part, NonZeroU64::new(4));
    assert!(config.verify_on_merge);
}

#[test]
fn lists_have_commas_or_are_arrays() {
    let listed = AllowOrigin::Listed(vec!["https://a".to_owned(), "http://*.b:*".to_owned()]);
    for file in [
        "allow-origin = 'https://a, http://*.b:*'",
        "allow-origin = ['https://A',\n 'http://*.b:*']",
    ] {
        assert_eq!(Said::default().file(file).resolve().unwrap().allow_origin, listed);
    }
    let nets = |text: &str| Said::default().flag(format!("--behind-proxy={text}")).resolve();
    let text = |text: &str| {
        nets(text).unwrap().behind_proxy.iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    assert_eq!(text("10.1.2.3, fd00::/8"), ["10.1.2.3/32", "fd00::/8"]);
    assert_eq!(text("loopback"), ["127.0.0.0/8", "::1/128"]);
    assert!(text("private,192.0.2.7").contains(&"192.168.0.0/16".to_owned()));
}
