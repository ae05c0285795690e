//! The room from its door: command lines, variables and files in, a `Config` or a message out.

mod help;
mod precedence;
mod refusals;
mod values;

use std::ffi::OsString;
use std::fs;

use tempfile::TempDir;

use super::{Command, Config, ConfigError};

/// What an operator said, layer by layer. The process environment never plays a part.
#[derive(Debug, Default)]
struct Said {
    flags: Vec<String>,
    variables: Vec<(String, OsString)>,
    file: Option<String>,
}

impl Said {
    fn flag(mut self, flag: impl Into<String>) -> Self {
        self.flags.push(flag.into());
        self
    }

    fn variable(mut self, name: impl Into<String>, text: impl Into<OsString>) -> Self {
        self.variables.push((name.into(), text.into()));
        self
    }

    fn file(mut self, text: impl Into<String>) -> Self {
        self.file = Some(text.into());
        self
    }

    fn resolve(self) -> Result<Config, ConfigError> {
        let folder = TempDir::new().unwrap();
        let mut line = vec!["piton".to_owned()];
        if let Some(text) = &self.file {
            let path = folder.path().join("piton.toml");
            fs::write(&path, text).unwrap();
            line.push(format!("--config={}", path.display()));
        }
        line.extend(self.flags);
        let Command::Serve(options) = Command::parse(line).unwrap() else { panic!("not serve") };
        Config::resolve(*options, &|name| {
            self.variables.iter().find(|(known, _)| known == name).map(|(_, text)| text.clone())
        })
    }

    fn message(self) -> String {
        self.resolve().expect_err("it should have been refused").to_string()
    }
}

/// The names of all options of `serve`, as clap knows them.
fn names() -> Vec<String> {
    let command = super::args::described();
    command.get_arguments().filter_map(|option| option.get_long().map(str::to_owned)).collect()
}
