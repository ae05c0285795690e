//! Which layer a value is taken from: flag, then variable, then file, then default.

use std::ffi::OsString;
use std::path::PathBuf;

use super::error::ConfigError;
use super::file::{FileValue, Scalar, Source};
use super::kind::Kind;
use super::setting::{Origin, Setting, variable_name};

/// How a variable is looked up; the process environment, except in tests.
pub(super) type Lookup<'a> = &'a dyn Fn(&str) -> Option<OsString>;

/// The layers under the flags.
pub(super) struct Layers<'a> {
    pub(super) lookup: Lookup<'a>,
    pub(super) source: Source,
}

impl Layers<'_> {
    /// The strongest value of one option, understood.
    pub(super) fn read<T>(
        &self,
        typed: Setting,
        in_file: FileValue,
        kind: &Kind<T>,
    ) -> Result<T, ConfigError> {
        let setting = self.choose(typed, in_file);
        let value = match setting.text.to_str() {
            Some(text) => (kind.parse)(text),
            None => Err("is not UTF-8".to_owned()),
        };
        value.map_err(|reason| refusal(&setting, reason, kind.example))
    }

    /// The same for a path, which need not be UTF-8.
    pub(super) fn read_path(
        &self,
        typed: Setting,
        in_file: FileValue,
        example: &str,
    ) -> Result<PathBuf, ConfigError> {
        let setting = self.choose(typed, in_file);
        if setting.text.is_empty() {
            return Err(refusal(&setting, "is not a path".to_owned(), example));
        }
        Ok(PathBuf::from(setting.text))
    }

    /// The same for a path that may be `none`.
    pub(super) fn read_path_unless_none(
        &self,
        typed: Setting,
        in_file: FileValue,
        example: &str,
    ) -> Result<Option<PathBuf>, ConfigError> {
        let path = self.read_path(typed, in_file, example)?;
        Ok(Some(path).filter(|path| path.as_os_str() != "none"))
    }

    fn choose(&self, typed: Setting, in_file: FileValue) -> Setting {
        if typed.origin == Origin::Flag {
            return typed;
        }
        if let Some(setting) = from_variable(&typed.name, self.lookup) {
            return setting;
        }
        let Some(value) = in_file else {
            return typed;
        };
        let origin = self.source.origin(value.span());
        let Scalar(text) = value.into_inner();
        Setting { origin, text: text.into(), ..typed }
    }
}

/// What the variable of an option says.
///
/// An empty one says nothing: `PITON_MAX_SIZE=${MAX_SIZE:-}` is how service managers and
/// containers write *not set*.
pub(super) fn from_variable(name: &str, lookup: Lookup<'_>) -> Option<Setting> {
    let text = lookup(&variable_name(name)).filter(|text| !text.is_empty())?;
    Some(Setting { name: name.to_owned(), text, origin: Origin::Variable })
}

fn refusal(setting: &Setting, reason: String, example: &str) -> ConfigError {
    ConfigError::Value {
        place: setting.to_string(),
        text: setting.text.to_string_lossy().into_owned(),
        reason,
        example: setting.spelled(example),
    }
}
