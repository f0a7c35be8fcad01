//! What a user writes to name a state: `main`, `main~2`, `42`, a timestamp, a tag, a commit id.

use std::fmt;
use std::str::FromStr;

use chrono::{DateTime, NaiveDate, NaiveDateTime, SecondsFormat, TimeZone as _, Utc};

use crate::env::Micros;
use crate::error::{Error, Result};
use crate::format::{BranchPoint, CommitRef};
use crate::id::Version;
use crate::name::RefName;

/// The fewest digits that abbreviate a commit id.
pub(crate) const COMMIT_PREFIX_MIN: usize = 4;

/// Names a state. Parsed from text with [`str::parse`]; nothing is looked up yet.
///
/// A plain word is looked up as a branch, then as a tag, then read as a version of the current
/// branch, as a time, as the beginning of a commit id. `HEAD` is the current branch. `~n` after
/// any of them goes back `n` commits, along first parents.
///
/// A time names the state that was current then. Without a zone it is in UTC; a date alone is its
/// first instant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Revision {
    pub(crate) base: Base,
    pub(crate) back: u32,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Base {
    Head,
    Version(Version),
    Time(Micros),
    /// A branch, a tag or, if it can be one, a time or the beginning of a commit id.
    Word(String),
    Ref(RefName),
}

/// A revision that was looked up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Point {
    /// The branch it was found on; none for a commit that no branch leads to by itself.
    pub branch: Option<RefName>,
    /// The version there.
    pub version: Option<Version>,
    /// The commit.
    pub commit: CommitRef,
    /// When it was published there.
    pub at: Micros,
    /// What the branch had skipped there.
    pub(crate) skipped: u64,
}

impl Point {
    /// The published state of a branch that this is, if it is one.
    pub fn published(&self) -> Option<BranchPoint> {
        Some(BranchPoint {
            branch: self.branch.clone()?,
            version: self.version?,
            skipped: self.skipped,
        })
    }
}

impl Revision {
    /// The head of the current branch.
    pub fn head() -> Self {
        Self {
            base: Base::Head,
            back: 0,
        }
    }

    /// A version of the current branch.
    pub fn at_version(version: Version) -> Self {
        Self {
            base: Base::Version(version),
            back: 0,
        }
    }

    /// What was current at a time.
    pub fn at_time(time: Micros) -> Self {
        Self {
            base: Base::Time(time),
            back: 0,
        }
    }

    /// A branch or a tag.
    pub fn of_ref(name: RefName) -> Self {
        Self {
            base: Base::Ref(name),
            back: 0,
        }
    }

    /// The time that it is, if it can be read as one and goes back no further.
    pub fn time(&self) -> Option<Micros> {
        match &self.base {
            Base::Time(time) => Some(*time),
            Base::Word(word) => parse_time(word),
            Base::Head | Base::Version(_) | Base::Ref(_) => None,
        }
        .filter(|_| self.back == 0)
    }
}

impl FromStr for Revision {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let refuse = |why: &str| {
            Err(Error::invalid(format!("not a revision, {why}"))
                .with("revision", text)
                .with_hint(
                    "write a branch, a tag, a version, a time or a commit id, with `~n` to go back",
                ))
        };
        let mut word = text.trim();
        let mut back = 0u32;
        while let Some((before, digits)) = word.rsplit_once('~') {
            let steps = if digits.is_empty() {
                Ok(1)
            } else {
                digits.parse::<u32>()
            };
            match steps.ok().and_then(|steps| back.checked_add(steps)) {
                Some(sum) if digits.bytes().all(|b| b.is_ascii_digit()) => back = sum,
                _ => return refuse("a number must follow `~`"),
            }
            word = before;
        }
        if word.is_empty() {
            return refuse("it is empty");
        }
        if word.chars().count() > 1_100 {
            return refuse("it is too long");
        }
        let base = if word.eq_ignore_ascii_case("head") {
            Base::Head
        } else if word.bytes().all(|b| b.is_ascii_digit()) && word.len() <= 20 {
            match word.parse() {
                Ok(version) => Base::Version(Version(version)),
                Err(_) => return refuse("the version is out of range"),
            }
        } else {
            Base::Word(word.to_owned())
        };
        Ok(Self { base, back })
    }
}

impl fmt::Display for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.base {
            Base::Head => f.write_str("HEAD")?,
            Base::Version(version) => write!(f, "{version}")?,
            Base::Time(time) => f.write_str(&format_time(*time))?,
            Base::Word(word) => f.write_str(word)?,
            Base::Ref(name) => write!(f, "{name}")?,
        }
        if self.back > 0 {
            write!(f, "~{}", self.back)?;
        }
        Ok(())
    }
}

/// A time in UTC, as RFC 3339 has it.
pub(crate) fn format_time(time: Micros) -> String {
    match Utc.timestamp_micros(time).single() {
        Some(time) => time.to_rfc3339_opts(SecondsFormat::AutoSi, true),
        None => format!("{time} µs"),
    }
}

/// Reads a time with or without a zone, as a revision does; UTC without one.
pub fn parse_time(text: &str) -> Option<Micros> {
    const ZONED: [&str; 4] = [
        "%Y-%m-%d %H:%M:%S%.f%:z",
        "%Y-%m-%d %H:%M:%S%.f %:z",
        "%Y-%m-%dT%H:%M:%S%.f%#z",
        "%Y-%m-%d %H:%M:%S%.f%#z",
    ];
    const LOCAL: [&str; 4] = [
        "%Y-%m-%d %H:%M:%S%.f",
        "%Y-%m-%dT%H:%M:%S%.f",
        "%Y-%m-%d %H:%M",
        "%Y-%m-%dT%H:%M",
    ];
    if let Ok(time) = DateTime::parse_from_rfc3339(text) {
        return Some(time.timestamp_micros());
    }
    let spaced = text
        .strip_suffix(" UTC")
        .or_else(|| text.strip_suffix(['Z', 'z']))
        .unwrap_or(text);
    if let Some(time) = ZONED
        .iter()
        .find_map(|f| DateTime::parse_from_str(text, f).ok())
    {
        return Some(time.timestamp_micros());
    }
    if let Some(time) = LOCAL
        .iter()
        .find_map(|f| NaiveDateTime::parse_from_str(spaced, f).ok())
    {
        return Some(time.and_utc().timestamp_micros());
    }
    let date = NaiveDate::parse_from_str(text, "%Y-%m-%d").ok()?;
    Some(date.and_hms_opt(0, 0, 0)?.and_utc().timestamp_micros())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn revisions_are_read_as_written() {
        for text in [
            "main",
            "main~2",
            "42",
            "HEAD",
            "2026-01-01",
            "v1.2",
            "0123abcd~1",
        ] {
            assert_eq!(text.parse::<Revision>().unwrap().to_string(), text);
        }
        assert_eq!("main~".parse::<Revision>().unwrap().to_string(), "main~1");
        assert_eq!("main~1~2".parse::<Revision>().unwrap().back, 3);
        for text in [
            "",
            "~",
            "main~x",
            "main~-1",
            "99999999999999999999",
            "main~99999999999",
        ] {
            assert!(text.parse::<Revision>().is_err(), "{text}");
        }
    }

    #[test]
    fn times_are_read_with_and_without_zones() {
        let noon = parse_time("2026-01-01T12:00:00Z").unwrap();
        for text in [
            "2026-01-01 12:00:00",
            "2026-01-01T12:00",
            "2026-01-01 14:00:00+02:00",
            "2026-01-01 14:00:00 +02:00",
            "2026-01-01T14:00:00.000000+0200",
            "2026-01-01 12:00:00 UTC",
            "2026-01-01 12:00:00Z",
        ] {
            assert_eq!(parse_time(text), Some(noon), "{text}");
        }
        assert_eq!(format_time(noon), "2026-01-01T12:00:00Z");
        for text in ["2026-13-01", "noon", "2026-01-01 25:00:00", "main"] {
            assert_eq!(parse_time(text), None, "{text}");
        }
    }
}
