//! One value, still text, and where it was found.

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::path::PathBuf;

use clap::builder::{TypedValueParser, ValueParserFactory};
use clap::parser::ValueSource;
use clap::{Arg, Command};

/// The text of one option, before anyone asked what it means.
///
/// It stays text for so long because the three layers then share one set of readers, and because
/// a refusal can say where the text came from.
#[derive(Clone, Debug)]
pub(super) struct Setting {
    /// The option's name as flags and file keys spell it: `chunk-size`.
    pub(super) name: String,
    pub(super) text: OsString,
    pub(super) origin: Origin,
}

impl Setting {
    /// The way to write `value` for this option in the place where this one was found.
    pub(super) fn spelled(&self, value: &str) -> String {
        let Self { name, .. } = self;
        match self.origin {
            Origin::Flag | Origin::Default => format!("--{name}={value}"),
            Origin::Variable => format!("{}={value}", variable_name(name)),
            Origin::File { .. } if is_bare_in_toml(value) => format!("{name} = {value}"),
            Origin::File { .. } => format!("{name} = {value:?}"),
        }
    }
}

/// The place where it was found, as a refusal begins with it.
impl fmt::Display for Setting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, .. } = self;
        match &self.origin {
            Origin::Flag => write!(f, "--{name}"),
            Origin::Variable => f.write_str(&variable_name(name)),
            Origin::File { path, line } => write!(f, "{}:{line}: {name}", path.display()),
            Origin::Default => write!(f, "the default of --{name}"),
        }
    }
}

/// The layer that a value was found in, strongest first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Origin {
    Flag,
    Variable,
    /// `line` counts from 1.
    File {
        path: PathBuf,
        line: usize,
    },
    Default,
}

/// `chunk-size` → `PITON_CHUNK_SIZE`; the only place where a variable gets its name.
pub(super) fn variable_name(option: &str) -> String {
    format!("PITON_{}", option.replace('-', "_").to_uppercase())
}

fn is_bare_in_toml(value: &str) -> bool {
    matches!(value, "true" | "false") || value.bytes().all(|byte| byte.is_ascii_digit())
}

impl ValueParserFactory for Setting {
    type Parser = SettingParser;

    fn value_parser() -> SettingParser {
        SettingParser
    }
}

/// Accepts any text and notes whether it was typed or is the default.
#[derive(Clone, Copy, Debug)]
pub(super) struct SettingParser;

impl TypedValueParser for SettingParser {
    type Value = Setting;

    fn parse_ref(
        &self,
        command: &Command,
        option: Option<&Arg>,
        text: &OsStr,
    ) -> Result<Setting, clap::Error> {
        self.parse_ref_(command, option, text, ValueSource::CommandLine)
    }

    fn parse_ref_(
        &self,
        _command: &Command,
        option: Option<&Arg>,
        text: &OsStr,
        source: ValueSource,
    ) -> Result<Setting, clap::Error> {
        let name = option.and_then(Arg::get_long).unwrap_or_default().to_owned();
        let origin = match source {
            ValueSource::DefaultValue => Origin::Default,
            _ => Origin::Flag,
        };
        Ok(Setting { name, text: text.to_owned(), origin })
    }
}
