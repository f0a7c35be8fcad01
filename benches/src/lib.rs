//! UDR beside its floor, in one run.
//!
//! A floor is the least that anything with the same promises must do, done by the shortest program
//! that does it. Both take turns, so that both see the same machine; what is printed are speeds
//! relative to the floor, and never a pass or a failure.

pub mod lineitem;
pub mod tpch;

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Both sides of one round.
#[derive(Debug, Clone, Copy)]
pub struct Round {
    /// What UDR took.
    pub udr: Duration,
    /// What the floor took.
    pub floor: Duration,
}

/// The time that `work` takes.
#[expect(clippy::disallowed_methods, reason = "benchmarks measure real time")]
pub fn time<T>(work: impl FnOnce() -> T) -> (T, Duration) {
    let start = Instant::now();
    let done = work();
    (done, start.elapsed())
}

/// Prints how both sides of some rounds compare. Nothing where criterion's filter left them out.
#[expect(clippy::print_stdout, reason = "the report of a benchmark")]
pub fn report(name: &str, units: u32, rounds: &[Round]) {
    if rounds.is_empty() {
        return;
    }
    let udr = rounds.iter().map(|round| round.udr).collect::<Vec<_>>();
    let floor = rounds.iter().map(|round| round.floor).collect::<Vec<_>>();
    let (udr, floor) = (median(udr) / units, median(floor) / units);
    println!(
        "{name}: udr {udr:.3?}, floor {floor:.3?} (medians of {})",
        rounds.len()
    );
    println!(
        "{name}: ratio udr/floor = {:.2}",
        floor.as_secs_f64() / udr.as_secs_f64()
    );
}

/// The middle one, or the upper of the two in the middle.
pub fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times.get(times.len() / 2).copied().unwrap_or_default()
}

/// A folder for one benchmark, below `UDR_BENCH_DIR` or the system's folder for temporary files.
///
/// # Errors
///
/// Those of making it.
#[expect(
    clippy::disallowed_methods,
    reason = "a benchmark is configured by its environment"
)]
#[expect(clippy::print_stdout, reason = "the report of a benchmark")]
pub fn scratch() -> io::Result<tempfile::TempDir> {
    let parent =
        std::env::var("UDR_BENCH_DIR").map_or_else(|_| std::env::temp_dir(), PathBuf::from);
    let folder = tempfile::tempdir_in(&parent)?;
    let kind = file_system(folder.path()).unwrap_or_else(|| "unknown".to_owned());
    println!("scratch: {} on {kind}, durability full", parent.display());
    if kind == "tmpfs" {
        println!("scratch: a disk in memory syncs nothing; set UDR_BENCH_DIR to a real one");
    }
    Ok(folder)
}

/// The kind of file system that `path` is on, where Linux says so.
fn file_system(path: &Path) -> Option<String> {
    let path = path.canonicalize().ok()?;
    let mounts = fs::read_to_string("/proc/self/mounts").ok()?;
    let fields = mounts.lines().map(|line| line.split(' '));
    fields
        .filter_map(|mut fields| Some((fields.nth(1)?, fields.next()?)))
        .filter(|(mounted, _)| path.starts_with(mounted))
        .max_by_key(|(mounted, _)| mounted.len())
        .map(|(_, kind)| kind.to_owned())
}

/// Writes a file so that a power cut leaves it whole or absent, and no more than that.
///
/// # Errors
///
/// Those of the disk.
pub fn write_durably(folder: &Path, name: &str, bytes: &[u8]) -> io::Result<()> {
    let temp = folder.join(format!("{name}.tmp"));
    let mut file = File::create_new(&temp)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&temp, folder.join(name))?;
    File::open(folder)?.sync_all()
}

/// The files below a folder.
///
/// # Errors
///
/// Those of listing it.
pub fn files(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            found.extend(files(&entry.path())?);
        } else {
            found.push(entry.path());
        }
    }
    Ok(found)
}

/// Waits until everything that was written so far is on disk, so that the next one to sync does
/// not pay for it.
///
/// # Errors
///
/// Those of running `sync`.
pub fn quiesce() -> io::Result<()> {
    std::process::Command::new("sync").status().map(drop)
}

/// Begins to measure the peak of this process's memory anew.
///
/// # Errors
///
/// Those of the system, where it is not Linux.
pub fn reset_peak_memory() -> io::Result<()> {
    fs::write("/proc/self/clear_refs", "5")
}

/// The peak of this process's memory since it was reset, in bytes.
///
/// # Errors
///
/// Those of the system, where it is not Linux.
pub fn peak_memory() -> io::Result<u64> {
    let status = fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib = line.and_then(|line| line.trim().strip_suffix(" kB")?.parse::<u64>().ok());
    kib.map(|kib| kib << 10)
        .ok_or_else(|| io::Error::other("the system does not say"))
}
