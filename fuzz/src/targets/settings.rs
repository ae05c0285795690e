//! What an operator says: files and command lines. Whatever is taken, every room can use.

use std::{cell::RefCell, fs, time::Duration};

use http::HeaderName;
use piton::{
    config::{AllowOrigin, Command, Config},
    protocol::{BasePath, OriginPattern, PublicUrl},
    upload::{ChunkSize, Length, NameTemplate},
};

use crate::scratch::Scratch;

const TEN_YEARS: Duration = Duration::from_hours(3652 * 24);

thread_local! {
    static SCRATCH: RefCell<Scratch> = RefCell::new(Scratch::new());
}

/// A file in TOML.
pub(crate) fn file(data: &[u8]) {
    SCRATCH.with_borrow(|scratch| {
        let path = scratch.path().join("piton.toml");
        fs::write(&path, data).unwrap();
        let line = ["piton".into(), "--config".into(), path.into_os_string()];
        let Ok(Command::Serve(options)) = Command::parse(line) else { panic!("a plain line") };
        judge(Config::load(*options).map_err(|error| error.to_string()));
    });
}

/// A command line, one argument a line.
pub(crate) fn arguments(data: &[u8]) {
    let Ok(text) = str::from_utf8(data) else { return };
    // Another file than ours might be a pipe or a device.
    if text.contains("--c") || text.contains('\0') {
        return;
    }
    match Command::parse(std::iter::once("piton").chain(text.lines())) {
        Ok(Command::Serve(options)) => {
            judge(Config::load(*options).map_err(|error| error.to_string()));
        }
        Ok(Command::Inspect(_) | Command::Verify(_)) => {}
        Err(said) => assert!(matches!(said.exit_code(), 0 | 2)),
    }
}

fn judge(loaded: Result<Config, String>) {
    match loaded {
        Err(said) => assert!(!said.is_empty()),
        Ok(config) => usable(&config),
    }
}

/// What the composition root expects of a checked configuration.
fn usable(config: &Config) {
    config.base_path.parse::<BasePath>().unwrap();
    config.name_template.parse::<NameTemplate>().unwrap();
    config.public_url.as_deref().map(str::parse::<PublicUrl>).transpose().unwrap();
    config.owner_header.as_deref().map(str::parse::<HeaderName>).transpose().unwrap();
    if let AllowOrigin::Listed(origins) = &config.allow_origin {
        for origin in origins {
            origin.parse::<OriginPattern>().unwrap();
        }
    }
    let chunk_size = config.chunk_size.get();
    assert!((4096..=1 << 31).contains(&chunk_size) && chunk_size.is_multiple_of(4096));
    ChunkSize::new(chunk_size).unwrap();
    assert!(config.max_size.is_none_or(|size| size > 0 && Length::new(size).is_ok()));
    assert!((4 << 20..=1 << 40).contains(&config.memory_budget));
    assert!(config.max_connections.get() <= 1_000_000);
    let pauses = [config.idle_timeout, config.expire_after, config.reap_every];
    for pause in pauses.into_iter().chain(config.keep_finished) {
        assert!((Duration::from_millis(1)..=TEN_YEARS).contains(&pause), "{pause:?}");
    }
    for wait in [config.queue_wait, config.shutdown_timeout] {
        assert!(wait <= TEN_YEARS, "{wait:?}");
    }
}
