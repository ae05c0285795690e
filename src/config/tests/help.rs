//! `--help` is the manual.

use super::names;
use crate::config::args::described;
use crate::config::setting::variable_name;
use crate::config::{Command, Options};

/// What is printed on a terminal of 100 columns.
fn asked(line: &[&str]) -> String {
    let answer = described().term_width(100).try_get_matches_from(line);
    answer.expect_err("help is an answer instead of a command").to_string()
}

/// The text of one option, up to the next one, on one line.
fn entry(help: &str, name: &str) -> String {
    let (_, from) = help.split_once(&format!(" --{name}")).expect(name);
    let end = from.find("\n      --").unwrap_or(from.len());
    from[..end].split_whitespace().collect::<Vec<_>>().join(" ")
}

#[test]
fn the_long_help_has_each_option_with_its_variable_and_default() {
    for line in [&["piton", "--help"][..], &["piton", "serve", "--help"]] {
        let help = asked(line);
        for name in names() {
            let entry = entry(&help, &name);
            assert!(entry.contains(&format!("[env: {}]", variable_name(&name))), "{entry}");
            assert!(entry.contains("[default: ") || name == "config", "{entry}");
        }
    }
}

#[test]
fn the_short_help_has_each_option_with_its_default_on_few_lines() {
    let help = asked(&["piton", "-h"]);
    for name in names() {
        assert!(entry(&help, &name).contains("[default: ") || name == "config", "{name}");
    }
    assert!(help.lines().count() < 90, "{help}");
}

#[test]
fn the_manual_is_grouped_and_ends_with_examples() {
    let help = asked(&["piton", "--help"]);
    let headings = ["Address", "Storage", "Limits", "Lifetime", "Durability", "Process"];
    let places = headings.map(|heading| help.find(&format!("\n{heading}:\n")).expect(heading));
    assert!(places.is_sorted(), "{places:?}");
    assert!(help.find("\nExamples:\n") > places.last().copied());
}

#[test]
fn variables_are_derived() {
    assert_eq!(variable_name("chunk-size"), "PITON_CHUNK_SIZE");
    assert_eq!(variable_name("listen"), "PITON_LISTEN");
    assert_eq!(variable_name("verify-on-merge"), "PITON_VERIFY_ON_MERGE");
}

#[test]
fn clap_finds_no_fault_with_the_command_line() {
    described().debug_assert();
}

#[test]
fn help_and_version_are_no_mistakes() {
    for question in ["--help", "-h", "--version", "-V", "help"] {
        let answer = Command::parse(["piton", question]).expect_err("an answer");
        assert_eq!(answer.exit_code(), 0, "{question}");
    }
}

/// The file in the manual's last example has to be one that works.
#[test]
fn the_example_file_is_accepted() {
    let help = asked(&["piton", "--help"]);
    let (_, file) = help.split_once("/etc/piton.toml for that\n").unwrap();
    let config = super::Said::default().file(file).resolve().unwrap();
    assert_eq!(config.max_size, Some(20 << 30));
    assert!(config.verify_on_merge);
}

#[test]
fn options_are_sent_where_the_program_runs() {
    fn sent<T: Send + 'static>() {}
    sent::<Options>();
    sent::<crate::config::ConfigError>();
}
