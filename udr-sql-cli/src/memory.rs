//! How much memory queries and writes may use before they spill to disk.
//!
//! In: `--memory-limit`. Out: a DataFusion runtime. Called by `session`.
//!
//! The default is 70 % of the machine's memory, or of the container's if that is less. Where the
//! amount of memory cannot be found out it is 4 GiB.

use std::fmt;
use std::num::NonZeroUsize;
use std::str::FromStr;
use std::sync::Arc;

use datafusion::error::Result as DataFusionResult;
use datafusion::execution::memory_pool::{FairSpillPool, TrackConsumersPool};
use datafusion::execution::runtime_env::{RuntimeEnv, RuntimeEnvBuilder};

const MEMORY_BYTES_FALLBACK: usize = 4 << 30;
const PERCENT_DEFAULT: u8 = 70;
/// How many of the biggest users of memory an error names.
const CONSUMERS_NAMED: NonZeroUsize = NonZeroUsize::new(3).unwrap();

/// The value of `--memory-limit`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum MemoryLimit {
    /// This many bytes.
    Bytes(usize),
    /// This share of the machine's memory.
    Percent(u8),
    /// No limit: nothing spills.
    Unlimited,
}

impl MemoryLimit {
    /// The runtime that keeps to the limit.
    ///
    /// # Errors
    ///
    /// Whatever DataFusion finds wrong with the temporary folder.
    pub(crate) fn runtime(self) -> DataFusionResult<Arc<RuntimeEnv>> {
        let builder = RuntimeEnvBuilder::new();
        match self.bytes() {
            Some(bytes) => builder.with_memory_pool(Arc::new(TrackConsumersPool::new(
                FairSpillPool::new(bytes),
                CONSUMERS_NAMED,
            ))),
            None => builder,
        }
        .build_arc()
    }

    fn bytes(self) -> Option<usize> {
        match self {
            Self::Bytes(bytes) => Some(bytes),
            Self::Percent(percent) => Some(machine_bytes().map_or(MEMORY_BYTES_FALLBACK, |all| {
                all / 100 * usize::from(percent)
            })),
            Self::Unlimited => None,
        }
    }
}

impl Default for MemoryLimit {
    fn default() -> Self {
        Self::Percent(PERCENT_DEFAULT)
    }
}

impl fmt::Display for MemoryLimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bytes(bytes) => write!(f, "{bytes}"),
            Self::Percent(percent) => write!(f, "{percent}%"),
            Self::Unlimited => f.write_str("unlimited"),
        }
    }
}

impl FromStr for MemoryLimit {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let text = text.trim();
        if text.eq_ignore_ascii_case("unlimited") {
            return Ok(Self::Unlimited);
        }
        let digits = text
            .find(|c: char| !c.is_ascii_digit())
            .unwrap_or(text.len());
        let (number, unit) = text.split_at(digits);
        let wrong = || "expected a size such as 512MiB or 2G, a share such as 50%, or `unlimited`";
        let number = number.parse::<usize>().map_err(|_| wrong())?;
        let shift = match unit.trim().to_ascii_lowercase().as_str() {
            "%" => {
                return match u8::try_from(number) {
                    Ok(percent @ 1..=100) => Ok(Self::Percent(percent)),
                    _ => Err("a share is between 1% and 100%".to_owned()),
                };
            }
            "" | "b" => 0,
            "k" | "kb" | "kib" => 10,
            "m" | "mb" | "mib" => 20,
            "g" | "gb" | "gib" => 30,
            "t" | "tb" | "tib" => 40,
            _ => return Err(wrong().to_owned()),
        };
        let bytes = number.checked_mul(1 << shift).ok_or_else(wrong)?;
        if bytes == 0 {
            Err(wrong().to_owned())
        } else {
            Ok(Self::Bytes(bytes))
        }
    }
}

/// What the machine has, or the container if that is less.
fn machine_bytes() -> Option<usize> {
    let physical = std::fs::read_to_string("/proc/meminfo")
        .ok()
        .and_then(|text| total(&text))?;
    let container = std::fs::read_to_string("/sys/fs/cgroup/memory.max")
        .ok()
        .and_then(|text| text.trim().parse::<usize>().ok());
    Some(container.map_or(physical, |container| container.min(physical)))
}

fn total(meminfo: &str) -> Option<usize> {
    let line = meminfo
        .lines()
        .find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kib = line
        .trim()
        .strip_suffix("kB")?
        .trim()
        .parse::<usize>()
        .ok()?;
    kib.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_with_and_without_units() {
        for (text, limit) in [
            ("1024", MemoryLimit::Bytes(1024)),
            ("64k", MemoryLimit::Bytes(64 << 10)),
            ("512 MiB", MemoryLimit::Bytes(512 << 20)),
            ("2GB", MemoryLimit::Bytes(2 << 30)),
            ("50%", MemoryLimit::Percent(50)),
            ("UNLIMITED", MemoryLimit::Unlimited),
        ] {
            assert_eq!(text.parse(), Ok(limit), "{text}");
        }
        for text in [
            "",
            "-1",
            "0",
            "0G",
            "1.5G",
            "2X",
            "0%",
            "101%",
            "99999999999999999T",
        ] {
            assert!(text.parse::<MemoryLimit>().is_err(), "{text} was accepted");
        }
    }

    #[test]
    fn a_displayed_limit_reads_back() {
        for limit in [
            MemoryLimit::default(),
            MemoryLimit::Bytes(5 << 20),
            MemoryLimit::Unlimited,
        ] {
            assert_eq!(limit.to_string().parse(), Ok(limit));
        }
    }

    #[test]
    fn the_total_is_read_from_meminfo() {
        assert_eq!(
            total("MemFree: 1 kB\nMemTotal:       16384 kB\n"),
            Some(16 << 20)
        );
        assert_eq!(total("nothing"), None);
    }
}
