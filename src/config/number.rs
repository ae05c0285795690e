//! Sizes, times and counts, as people write them.

use std::num::NonZeroU64;
use std::time::Duration;

use bytesize::ByteSize;

pub(super) const KIB: u64 = 1024;
pub(super) const MIB: u64 = 1024 * KIB;
pub(super) const GIB: u64 = 1024 * MIB;
pub(super) const TIB: u64 = 1024 * GIB;

/// Bytes, from `least` to `most`: `8MiB`, `512k`, `1GB`, `1000`.
pub(super) fn size(text: &str, least: u64, most: u64) -> Result<u64, String> {
    let ByteSize(bytes) = text.parse().map_err(|_| {
        "is not a size: a number of bytes, or a number with a unit such as k, MB, MiB or GiB"
            .to_owned()
    })?;
    if bytes < least {
        return Err(format!("is less than {}", human(least)));
    }
    if bytes > most {
        return Err(format!("is more than {}", human(most)));
    }
    Ok(bytes)
}

/// A whole number from 1 to `most`.
pub(super) fn count(text: &str, most: u64) -> Result<u64, String> {
    match text.parse::<u64>() {
        Ok(count) if (1..=most).contains(&count) => Ok(count),
        Ok(0) => Err("is less than 1".to_owned()),
        Ok(_) => Err(format!("is more than {most}")),
        Err(_) => Err("is not a whole number from 1 up".to_owned()),
    }
}

/// `number` with the proof that it is not 0.
pub(super) fn nonzero(number: u64) -> Result<NonZeroU64, String> {
    NonZeroU64::new(number).ok_or_else(|| "is less than 1".to_owned())
}

/// Up to ten years, and at least a millisecond: `30s`, `24h`, `1h30m`.
///
/// Shorter times would turn a pause into a busy loop.
pub(super) fn nonzero_duration(text: &str) -> Result<Duration, String> {
    match duration(text)? {
        time if time < Duration::from_millis(1) => Err("is less than 1ms".to_owned()),
        time => Ok(time),
    }
}

/// Up to ten years, 0 included. Longer ones would overflow the deadlines computed from them.
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    if text.len() > LONGEST_DURATION {
        return Err(format!("is longer than {LONGEST_DURATION} characters"));
    }
    let time = humantime::parse_duration(text)
        .map_err(|error| format!("is not a time (units are ms, s, m, h, d, w): {error}"))?;
    if time > Duration::from_hours(TEN_YEARS_HOURS) {
        return Err("is more than 3652 days".to_owned());
    }
    Ok(time)
}

/// humantime panics where whole seconds and a fraction add up to more than 2^64; that takes more
/// characters than this.
const LONGEST_DURATION: usize = 20;

const TEN_YEARS_HOURS: u64 = 3652 * 24;

/// The largest unit that divides `bytes`, since a limit is quoted to be typed again.
fn human(bytes: u64) -> String {
    [(TIB, "TiB"), (GIB, "GiB"), (MIB, "MiB"), (KIB, "KiB")]
        .into_iter()
        .find(|(unit, _)| bytes.is_multiple_of(*unit))
        .map_or_else(|| format!("{bytes} bytes"), |(unit, name)| format!("{}{name}", bytes / unit))
}
