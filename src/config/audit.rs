//! The options of `piton inspect` and `piton verify`. What they share with `serve` comes from the
//! same layers, so that both look where the server does; nothing else has to be said, or be right.

use std::path::PathBuf;
use std::time::Duration;

use super::args::name_variable;
use super::error::ConfigError;
use super::file;
use super::kind;
use super::layers::{Layers, Lookup, from_variable};
use super::setting::Setting;

/// `piton inspect` as it was typed.
#[derive(Debug, clap::Args)]
pub struct InspectArgs {
    /// Which upload: its id, its URL, or the hash of the chunk flow
    #[arg(value_name = "UPLOAD")]
    pub upload: String,

    /// Show every chunk and every fact, not only the first and the last ones
    #[arg(long)]
    pub all: bool,

    /// Write one JSON object
    #[arg(long)]
    pub json: bool,

    /// Where, and whose.
    #[command(flatten)]
    pub place: PlaceArgs,

    /// How long the server keeps an unfinished upload
    #[arg(long, value_name = "TIME", default_value = "24h")]
    expire_after: Setting,

    /// How long the server keeps a finished file
    #[arg(long, value_name = "TIME", default_value = "forever")]
    keep_finished: Setting,
}

/// `piton verify` as it was typed.
#[derive(Debug, clap::Args)]
pub struct VerifyArgs {
    /// Which upload: its id, its URL, or the hash of the chunk flow; without it all of them
    #[arg(value_name = "UPLOAD")]
    pub upload: Option<String>,

    /// Compare ledgers and the sizes of files only, and read no bytes
    #[arg(long)]
    pub quick: bool,

    /// Tell only of uploads that are not well, and the summary
    #[arg(short, long)]
    pub quiet: bool,

    /// Write one JSON object a line: an upload, something that is nobody's, the summary
    #[arg(long)]
    pub json: bool,

    /// Where, and whose.
    #[command(flatten)]
    pub place: PlaceArgs,
}

/// Where to look, as it was typed.
#[derive(Debug, clap::Args)]
pub struct PlaceArgs {
    /// Folder that holds everything
    #[arg(long, value_name = "DIR", default_value = "./data")]
    data_dir: Setting,

    /// File to read options from, the one of the server
    #[arg(short, long, value_name = "FILE")]
    config: Option<Setting>,

    /// User whose upload it is, for a hash where the server tells users apart
    #[arg(long, value_name = "NAME", default_value = "", hide_default_value = true)]
    pub owner: String,
}

/// What the server was told that matters for a look at its data.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The folder that holds everything.
    pub data_dir: PathBuf,
    /// How long an unfinished upload is kept.
    pub expire_after: Duration,
    /// How long a finished file is kept; `None` for ever.
    pub keep_finished: Option<Duration>,
}

impl InspectArgs {
    /// Resolves what was typed with the environment, the file it names and the defaults.
    pub fn place(&mut self) -> Result<Place, ConfigError> {
        let lifetimes = (self.expire_after.clone(), self.keep_finished.clone());
        self.place.resolve(lifetimes, &|name| std::env::var_os(name))
    }
}

impl VerifyArgs {
    /// The folder, out of the same layers.
    pub fn data_dir(&mut self) -> Result<PathBuf, ConfigError> {
        self.place.data_dir(&|name| std::env::var_os(name))
    }
}

impl PlaceArgs {
    fn layers<'a>(
        &mut self,
        lookup: Lookup<'a>,
    ) -> Result<(Layers<'a>, file::FileOptions), ConfigError> {
        let path = self.config.take().or_else(|| from_variable("config", lookup));
        let (source, file) = file::load(path)?;
        Ok((Layers { lookup, source }, file))
    }

    fn data_dir(&mut self, lookup: Lookup<'_>) -> Result<PathBuf, ConfigError> {
        let (from, file) = self.layers(lookup)?;
        from.read_path(self.data_dir.clone(), file.data_dir, "./data")
    }

    fn resolve(
        &mut self,
        (expire_after, keep_finished): (Setting, Setting),
        lookup: Lookup<'_>,
    ) -> Result<Place, ConfigError> {
        let (from, file) = self.layers(lookup)?;
        Ok(Place {
            data_dir: from.read_path(self.data_dir.clone(), file.data_dir, "./data")?,
            expire_after: from.read(expire_after, file.expire_after, &kind::EXPIRE_AFTER)?,
            keep_finished: from.read(keep_finished, file.keep_finished, &kind::KEEP_FINISHED)?,
        })
    }
}

/// Options that have a variable; the others are about one look.
const WITH_VARIABLE: [&str; 4] = ["data_dir", "config", "expire_after", "keep_finished"];

/// Tells the names of variables in the help.
pub(super) fn described(command: clap::Command) -> clap::Command {
    command.mut_args(|option| {
        if WITH_VARIABLE.contains(&option.get_id().as_str()) {
            name_variable(option)
        } else {
            option
        }
    })
}

pub(super) const AFTER: &str = "\
It reads only, and may run beside a server and on a file system that is mounted read-only.

Exit codes:
  0 all well, 1 something is damaged, 2 a mistake in the options, or it could not be read.";

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::config::Command;

    fn place(line: &[&str], variables: &[(&str, &str)]) -> Result<Place, ConfigError> {
        let line = ["piton", "inspect", "0123456789abcdef"].iter().chain(line);
        let Ok(Command::Inspect(mut args)) = Command::parse(line) else { panic!("not understood") };
        let lifetimes = (args.expire_after.clone(), args.keep_finished.clone());
        args.place.resolve(lifetimes, &|name| {
            variables.iter().find(|(known, _)| *known == name).map(|(_, text)| (*text).into())
        })
    }

    #[test]
    fn the_folder_comes_from_the_layers_of_the_server() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("piton.toml");
        // What does not matter here need not be right.
        fs::write(&file, "data-dir = \"/in/file\"\nexpire-after = \"3d\"\nmax-size = \"much\"")
            .unwrap();
        let config = format!("--config={}", file.display());
        let data_dir = |place: Result<Place, ConfigError>| place.unwrap().data_dir;
        assert_eq!(data_dir(place(&[], &[])), PathBuf::from("./data"));
        let told = place(&[&config], &[]).unwrap();
        assert_eq!(told.data_dir, PathBuf::from("/in/file"));
        assert_eq!(told.expire_after, Duration::from_hours(72));
        assert_eq!(told.keep_finished, None);
        let variable = [("PITON_DATA_DIR", "/in/variable")];
        assert_eq!(data_dir(place(&[&config], &variable)), PathBuf::from("/in/variable"));
        let typed = [&*config, "--data-dir=/typed", "--keep-finished=1d"];
        assert_eq!(data_dir(place(&typed, &variable)), PathBuf::from("/typed"));
        let by_variable = [("PITON_CONFIG", file.to_str().unwrap())];
        assert_eq!(data_dir(place(&[], &by_variable)), PathBuf::from("/in/file"));
        assert!(place(&["--expire-after=soon"], &[]).is_err());
        assert!(place(&["--config=/no/such/file"], &[]).is_err());
    }

    #[test]
    fn options_of_the_server_that_mean_nothing_here_are_refused() {
        for line in [&["piton", "verify", "--max-size=1"][..], &["piton", "inspect"]] {
            assert_eq!(Command::parse(line).unwrap_err().exit_code(), 2, "{line:?}");
        }
        assert_eq!(Command::parse(["piton", "verify", "--help"]).unwrap_err().exit_code(), 0);
    }
}
