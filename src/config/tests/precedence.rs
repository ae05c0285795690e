//! Flag over variable over file over default, for a value of every kind.

use std::fmt::Debug;
use std::num::{NonZeroU64, NonZeroUsize};
use std::path::PathBuf;
use std::time::Duration;

use super::Said;
use crate::config::{AllowOrigin, ChunkDigest, Config, Durability, LogFormat};

/// Says `texts` (file, variable, flag) one over the other and compares with `values` each time.
fn climbs<T: Debug + PartialEq>(
    name: &str,
    texts: [&str; 3],
    values: &[T; 3],
    of: impl Fn(Config) -> T,
) {
    let [in_file, in_variable, in_flag] = texts;
    let [from_file, from_variable, from_flag] = values;
    let file = || Said::default().file(format!("{name} = {in_file:?}\n"));
    let variable = || file().variable(super::super::setting::variable_name(name), in_variable);
    let flag = || variable().flag(format!("--{name}={in_flag}"));

    assert_ne!(&of(Config::default()), from_file, "{name}: the example is the default");
    assert_eq!(&of(file().resolve().unwrap()), from_file, "{name}: file over default");
    assert_eq!(&of(variable().resolve().unwrap()), from_variable, "{name}: variable over file");
    assert_eq!(&of(flag().resolve().unwrap()), from_flag, "{name}: flag over variable");
}

#[test]
fn an_address_climbs_through_the_layers() {
    let texts = ["127.0.0.1:1", "[::1]:2", "0.0.0.0:3"];
    climbs("listen", texts, &texts.map(|text| text.parse().unwrap()), |config| config.listen);
}

#[test]
fn a_path_climbs_through_the_layers() {
    let texts = ["/srv/a", "b", "./c"];
    climbs("data-dir", texts, &texts.map(PathBuf::from), |config| config.data_dir);
}

#[test]
fn a_url_climbs_through_the_layers() {
    let values = ["http://a", "https://b/x"].map(|text| Some(text.to_owned()));
    let [a, b] = values;
    climbs("public-url", ["http://a", "https://b/x/", "none"], &[a, b, None], |config| {
        config.public_url
    });
}

#[test]
fn a_size_climbs_through_the_layers() {
    let sizes = [1 << 20, 1 << 16, 8192].map(|bytes| NonZeroU64::new(bytes).unwrap());
    climbs("chunk-size", ["1MiB", "64KiB", "8192"], &sizes, |config| config.chunk_size);
}

#[test]
fn an_optional_size_climbs_through_the_layers() {
    let sizes = [Some(1_000_000_000), None, Some(512_000)];
    climbs("max-size", ["1GB", "none", "512k"], &sizes, |config| config.max_size);
}

#[test]
fn a_count_climbs_through_the_layers() {
    let counts = [1, 2, 3].map(|count| NonZeroUsize::new(count).unwrap());
    climbs("max-connections", ["1", "2", "3"], &counts, |config| config.max_connections);
}

#[test]
fn a_time_climbs_through_the_layers() {
    let times = [5400, 7 * 86400, 1].map(Duration::from_secs);
    climbs("expire-after", ["1h30m", "7d", "1s"], &times, |config| config.expire_after);
}

#[test]
fn a_word_climbs_through_the_layers() {
    let promises = [Durability::None, Durability::Ack, Durability::Complete];
    climbs("durability", ["none", "ack", "complete"], &promises, |config| config.durability);
}

#[test]
fn a_truth_value_climbs_through_the_layers() {
    let truths = [true, false, true];
    climbs("no-metrics", ["true", "false", "true"], &truths, |config| config.no_metrics);
    climbs("auto-merge", ["true", "false", "true"], &truths, |config| config.auto_merge);
    climbs("instant", ["true", "false", "true"], &truths, |config| config.instant);
    climbs("consume-partials", ["true", "false", "true"], &truths, |config| {
        config.consume_partials
    });
    climbs("verify-on-merge", ["true", "false", "true"], &truths, |config| config.verify_on_merge);
    climbs("disable-termination", ["true", "false", "true"], &truths, |config| {
        config.disable_termination
    });
}

#[test]
fn a_template_climbs_through_the_layers() {
    let texts = ["{id}", "{time}", "{digest}{ext}"];
    climbs("name-template", texts, &texts.map(str::to_owned), |config| config.name_template);
}

#[test]
fn a_list_climbs_through_the_layers() {
    let listed = AllowOrigin::Listed(vec!["https://a".to_owned(), "https://b".to_owned()]);
    let values = [listed, AllowOrigin::None, AllowOrigin::Any];
    climbs("allow-origin", ["https://a,https://b", "none", "*"], &values, |config| {
        config.allow_origin
    });
}

#[test]
fn an_optional_path_climbs_through_the_layers() {
    let climbs_to = |said: Said| said.flag("--tls-key=key").resolve().unwrap().tls.unwrap().cert;
    let file = || Said::default().file("tls-cert = 'file'");
    let variable = || file().variable("PITON_TLS_CERT", "variable");
    assert_eq!(climbs_to(file()), PathBuf::from("file"));
    assert_eq!(climbs_to(variable()), PathBuf::from("variable"));
    assert_eq!(climbs_to(variable().flag("--tls-cert=flag")), PathBuf::from("flag"));
    let off = file().variable("PITON_TLS_KEY", "none").flag("--tls-cert=none");
    assert_eq!(off.resolve().unwrap().tls, None);
}

#[test]
fn a_flag_without_a_value_is_true() {
    assert!(Said::default().flag("--verify-on-merge").resolve().unwrap().verify_on_merge);
}

#[test]
fn an_empty_variable_counts_as_not_set() {
    let said = Said::default().variable("PITON_MAX_SIZE", "").file("max-size = 7");
    assert_eq!(said.resolve().unwrap().max_size, Some(7));
}

#[test]
fn the_file_is_found_by_its_variable_and_a_flag_names_another() {
    let folder = tempfile::TempDir::new().unwrap();
    let path = folder.path().join("other.toml");
    std::fs::write(&path, "max-size = 1").unwrap();
    let variable = || Said::default().variable("PITON_CONFIG", path.as_os_str());
    assert_eq!(variable().resolve().unwrap().max_size, Some(1));
    assert_eq!(variable().file("max-size = 2").resolve().unwrap().max_size, Some(2));
}

#[test]
fn options_may_follow_the_command_too() {
    let said = Said::default().flag("serve").flag("--log-format=json").flag("--chunk-digest=none");
    let config = said.resolve().unwrap();
    assert_eq!(config.log_format, LogFormat::Json);
    assert_eq!(config.chunk_digest, ChunkDigest::None);
}

#[cfg(unix)]
#[test]
fn a_folder_need_not_be_utf8() {
    use std::os::unix::ffi::OsStringExt;
    let name = std::ffi::OsString::from_vec(vec![b'/', 0xff]);
    let config = Said::default().variable("PITON_DATA_DIR", name.clone()).resolve().unwrap();
    assert_eq!(config.data_dir, PathBuf::from(name));
}
