//! Wrong values, and what their authors are told.

use super::{Said, names};
use crate::config::setting::variable_name;
use crate::config::{Command, ConfigError};

/// Option, wrong value, part of the reason.
const WRONG: &[(&str, &str, &str)] = &[
    ("listen", "localhost:8080", "is not an IP address with a port"),
    ("listen", "8080", "is not an IP address with a port"),
    ("base-path", "/", "leaves no path"),
    ("base-path", "/upload", "collides with the server's own /upload"),
    ("base-path", "merge/x", "collides with the server's own /merge"),
    ("base-path", "/openapi.json/", "collides with the server's own /openapi.json"),
    ("base-path", "/healthz/", "collides with the server's own /healthz"),
    ("base-path", "/piton.js", "collides with the server's own /piton.js"),
    ("base-path", "/page.css/x", "collides with the server's own /page.css"),
    ("no-page", "yes", "is none of true, false"),
    ("base-path", "/a//b/", "empty segment"),
    ("base-path", "/a/../b/", "clients resolve away"),
    ("base-path", "/a?b/", "a character other than"),
    ("public-url", "up.example.org", "does not begin with http"),
    ("public-url", "ftp://up.example.org", "does not begin with http"),
    ("public-url", "https://up.example.org/?a=1", "has a query"),
    ("public-url", "https://up.example.org/#a", "has a query or a fragment"),
    ("public-url", "https://me:pw@up.example.org", "has a user name"),
    ("public-url", "https://", "is not a URL"),
    ("behind-proxy", "proxy.local", "which is no address and no network"),
    ("behind-proxy", "10.0.0.0/33", "which is no address and no network"),
    ("behind-proxy", "loopback,none", "has none beside others"),
    ("behind-proxy", "0.0.0.0/0", "which would believe everybody"),
    ("allow-origin", "app.example.org", "which lacks its scheme"),
    ("allow-origin", "https://a,,https://b", "has an empty entry"),
    ("allow-origin", "https://a,*", "has * beside others"),
    ("allow-origin", "https://a/", "more than scheme, host and port"),
    ("allow-origin", "https://*example.org", "a * stands for whole first labels"),
    ("allow-origin", "https://", "is not an origin"),
    ("allow-origin", "https://a:0", "is not an origin"),
    // Found by fuzzing: only the start of the server noticed these, and not where they were.
    ("allow-origin", "h!://a:*", "is not an origin"),
    ("allow-origin", "https://a!b", "is not an origin"),
    ("allow-origin", "https://a:b", "is not an origin"),
    ("allow-origin", "https://a:80:*", "is not an origin"),
    ("allow-origin", "https://[::g]", "is not an origin"),
    ("cors-credentials", "yes", "is none of true, false"),
    ("chunk-size", "5000", "is not a multiple of 4KiB"),
    ("chunk-size", "0", "is less than 4KiB"),
    ("chunk-size", "4GiB", "is more than 2GiB"),
    ("chunk-size", "8 parrots", "is not a size"),
    ("chunk-size", "99999999999EiB", "is more than 2GiB"),
    ("chunk-digest", "md5", "is none of sha256, none"),
    ("chunks-per-part", "0", "is less than 1"),
    ("chunks-per-part", "-1", "is not a whole number"),
    ("name-template", "{stem}{ext}", "two files of one name would meet"),
    ("name-template", "../{id}", "has a slash"),
    ("name-template", "{id}\n", "control character"),
    ("name-template", "{id}-{uuid}", "unknown placeholder {uuid}"),
    ("name-template", "{id}-{stem", "has a { without its }"),
    ("name-template", "a}{id}", "has a } without its {"),
    ("name-template", "{id}}", "has a } without its {"),
    ("max-size", "0", "is less than 1 bytes"),
    ("max-size", "8EiB", "is more than 9223372036854775807 bytes"),
    ("max-connections", "0", "is less than 1"),
    ("max-connections", "1000001", "is more than 1000000"),
    ("max-uploads", "0", "is less than 1"),
    ("max-uploads-per-ip", "0", "is less than 1"),
    ("max-uploads-per-ip", "1000001", "is more than 1000000"),
    ("queue-wait", "30", "time unit needed"),
    ("memory-budget", "4095KiB", "is less than 4MiB"),
    ("idle-timeout", "0s", "is less than 1ms"),
    ("idle-timeout", "30", "time unit needed"),
    ("min-rate", "0", "is less than 1"),
    ("min-rate", "2GiB", "is more than 1GiB"),
    ("expire-after", "0s", "is less than 1ms"),
    ("expire-after", "11years", "is more than 3652 days"),
    ("expire-after", "18446744073709551615s1000ms", "is longer than 20 characters"),
    ("disable-download", "yes", "is none of true, false"),
    ("disable-termination", "1", "is none of true, false"),
    ("keep-finished", "0s", "is less than 1ms"),
    ("keep-finished", "none", "is not a time"),
    ("keep-finished", "11years", "is more than 3652 days"),
    ("reap-every", "1ns", "is less than 1ms"),
    ("reap-every", "soon", "is not a time"),
    ("durability", "Complete", "is none of none, complete, ack"),
    ("consume-partials", "yes", "is none of true, false"),
    ("no-metrics", "yes", "is none of true, false"),
    ("auto-merge", "yes", "is none of true, false"),
    ("instant", "yes", "is none of true, false"),
    ("owner-header", "X User", "is not the name of a header"),
    ("verify-on-merge", "yes", "is none of true, false"),
    ("shutdown-timeout", "-1s", "is not a time"),
    ("log-format", "xml", "is none of text, json"),
    ("log-level", "inof", "neither a level"),
    ("log-level", "piton=loud", "is not a list of levels"),
];

#[test]
fn each_layer_is_named_with_the_reason_and_a_value_that_would_do() {
    for (name, wrong, reason) in WRONG {
        let variable = variable_name(name);
        let by_flag = Said::default().flag(format!("--{name}={wrong}"));
        let by_variable = Said::default().variable(&variable, wrong);
        let by_file = Said::default().file(format!("# a comment\n{name} = {wrong:?}\n"));
        check(&by_flag.message(), &format!("--{name}: "), reason, name);
        check(&by_variable.message(), &format!("{variable}: "), reason, name);
        check(&by_file.message(), &format!("piton.toml:2: {name}: "), reason, name);
    }
}

/// Whether the message says where and why, and whether its own example is accepted.
fn check(message: &str, place: &str, reason: &str, name: &str) {
    let (refusal, example) = message.split_once("; write for example ").expect(message);
    assert!(refusal.contains(place), "{message}: should say {place}");
    assert!(refusal.contains(reason), "{message}: should say {reason}");
    assert!(example.contains(name) || example.contains(&variable_name(name)), "{message}");
    let said = match example.split_once('=') {
        _ if example.starts_with("--") => Said::default().flag(example),
        Some((variable, text)) if variable.starts_with("PITON_") => {
            Said::default().variable(variable, text)
        }
        _ => Said::default().file(example),
    };
    said.resolve().expect(message);
}

#[test]
fn every_option_that_can_be_wrong_is_tried() {
    for name in names() {
        let tried = WRONG.iter().any(|(known, ..)| *known == name);
        let any_path_will_do =
            ["data-dir", "config", "tls-cert", "tls-key"].contains(&name.as_str());
        assert!(tried || any_path_will_do, "{name} has no wrong value in the table");
    }
}

#[test]
fn an_unknown_key_is_refused_with_its_line_and_the_keys_there_are() {
    let message = Said::default().file("max-size = 1\n\nchunk-sise = \"8MiB\"\n").message();
    assert!(message.contains("piton.toml:3: unknown field `chunk-sise`"), "{message}");
    assert!(message.contains("`chunk-size`"), "{message}");
}

#[test]
fn keys_are_the_flags() {
    let message = Said::default().file("config = \"x\"").message();
    let (_, known) = message.split_once("expected one of ").unwrap();
    let mut keys: Vec<&str> = known.split(", ").map(|key| key.trim_matches('`')).collect();
    let flags = names();
    let mut flags: Vec<&str> =
        flags.iter().map(String::as_str).filter(|name| *name != "config").collect();
    keys.sort_unstable();
    flags.sort_unstable();
    assert_eq!(keys, flags);
}

#[test]
fn broken_toml_is_refused_with_its_line() {
    let message = Said::default().file("max-size = 1\nlisten = \n").message();
    assert!(message.contains("piton.toml:2: "), "{message}");
    let message = Said::default().file("max-size = 1.5").message();
    assert!(message.contains("piton.toml:1: "), "{message}");
    assert!(message.contains("expected a string, an integer or true or false"), "{message}");
    let message = Said::default().file("max-size = 1\nmax-size = 2").message();
    assert!(message.contains("piton.toml:2: duplicate key"), "{message}");
}

#[test]
fn a_file_that_cannot_be_read_is_named_with_who_named_it() {
    let said = Said::default().variable("PITON_CONFIG", "/nowhere/piton.toml");
    let message = said.message();
    assert!(message.starts_with("PITON_CONFIG: cannot read /nowhere/piton.toml: "), "{message}");
    assert!(Said::default().flag("-c/nowhere").message().starts_with("--config: cannot read"));
}

#[test]
fn an_empty_folder_name_is_refused() {
    let message = Said::default().flag("--data-dir=").message();
    assert!(message.contains("--data-dir: \"\" is not a path"), "{message}");
}

#[test]
fn half_of_tls_is_refused() {
    for (given, missing) in [("tls-cert", "tls-key"), ("tls-key", "tls-cert")] {
        let message = Said::default().flag(format!("--{given}=a.pem")).message();
        assert!(message.contains(&format!("{given} is set while {missing} is none")), "{message}");
    }
}

#[test]
fn verification_without_digests_is_refused() {
    let said = Said::default().flag("--verify-on-merge").variable("PITON_CHUNK_DIGEST", "none");
    assert!(matches!(said.resolve(), Err(ConfigError::NothingToVerify)));
}

#[test]
fn ack_without_digests_is_refused() {
    let said = Said::default().flag("--durability=ack").variable("PITON_CHUNK_DIGEST", "none");
    assert!(matches!(said.resolve(), Err(ConfigError::NothingToProve)));
}

#[test]
fn files_without_digests_are_not_recognised() {
    let said = Said::default().flag("--instant").variable("PITON_CHUNK_DIGEST", "none");
    assert!(matches!(said.resolve(), Err(ConfigError::NothingToRecognise)));
}

#[test]
fn an_owner_is_named_by_a_proxy_or_by_nobody() {
    let said = || Said::default().flag("--owner-header=X-User");
    assert!(matches!(said().resolve(), Err(ConfigError::OwnerByNobody)));
    let config = said().flag("--behind-proxy=loopback").resolve().unwrap();
    assert_eq!(config.owner_header.as_deref(), Some("x-user"));
}

#[test]
fn cookies_for_everybody_are_refused() {
    let said = || Said::default().flag("--cors-credentials");
    assert!(matches!(said().resolve(), Err(ConfigError::CredentialsForAnybody)));
    assert!(matches!(
        said().flag("--allow-origin=*").resolve(),
        Err(ConfigError::CredentialsForAnybody)
    ));
    assert!(said().flag("--allow-origin=https://a").resolve().unwrap().cors_credentials);
}

#[cfg(unix)]
#[test]
fn text_that_is_not_utf8_is_refused() {
    use std::os::unix::ffi::OsStringExt;
    let text = std::ffi::OsString::from_vec(vec![0xff]);
    let message = Said::default().variable("PITON_LISTEN", text).message();
    assert!(message.starts_with("PITON_LISTEN: ") && message.contains("UTF-8"), "{message}");
}

#[test]
fn a_command_line_that_makes_no_sense_has_exit_code_2() {
    for line in [
        &["piton", "--chunk-sise=1"][..],
        &["piton", "--listen"],
        &["piton", "sevre"],
        &["piton", "--max-size=1", "serve"],
        &["piton", "--max-size=1", "--max-size=2"],
    ] {
        assert_eq!(Command::parse(line).expect_err("refused").exit_code(), 2, "{line:?}");
    }
}
