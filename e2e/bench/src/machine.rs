//! What the machine gives: how fast its disk confirms, what a process has used.

use std::io::Write as _;
use std::os::unix::fs::FileExt as _;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};

use crate::pace;
use crate::report::{precise, say};

/// Overwrites one page and waits for the disk, again and again: how often in a
/// second, and the 99th percentile in milliseconds.
pub(crate) fn fdatasync(at_least: Duration) -> Result<(f64, f64)> {
    let mut file = tempfile::tempfile_in("/tmp")?;
    file.write_all(&[1; 8192])?;
    file.sync_all()?;
    let mut took = pace::histogram()?;
    let started = Instant::now();
    while started.elapsed() < at_least {
        let one = Instant::now();
        file.write_all_at(&[2; 8192], 0)?;
        file.sync_data()?;
        took.saturating_record(u64::try_from(one.elapsed().as_micros()).unwrap_or(u64::MAX));
    }
    Ok((precise(took.len()) / started.elapsed().as_secs_f64(), pace::ms(&took, 0.99)))
}

/// While this lives the kernel writes early what nobody waits for. By default it
/// gathers a tenth of the memory, and a commit waits behind all of it.
pub(crate) struct WritesEarly {
    before: (&'static str, String),
}

const DIRTY: &str = "/proc/sys/vm/dirty_background_bytes";
const AUTOGROUP: &str = "/proc/sys/kernel/sched_autogroup_enabled";
/// One of the two holds, the other is 0.
const DIRTY_SHARE: &str = "/proc/sys/vm/dirty_background_ratio";
const DIRTY_BYTES: &str = "33554432";

impl WritesEarly {
    pub(crate) fn set() -> Result<Self> {
        let bytes = std::fs::read_to_string(DIRTY)?;
        let by_share = bytes.trim() == "0";
        let before =
            if by_share { (DIRTY_SHARE, std::fs::read_to_string(DIRTY_SHARE)?) } else { (DIRTY, bytes) };
        std::fs::write(DIRTY, DIRTY_BYTES).context("vm.dirty_background_bytes is root's to set")?;
        say(&format!("kernel: vm.dirty_background_bytes = {DIRTY_BYTES}"));
        // Where it is 1, each session of PostgreSQL has as large a share of the cores as all
        // processes that the benchmark started.
        let grouped = std::fs::read_to_string(AUTOGROUP).unwrap_or_default();
        say(&format!("kernel: sched_autogroup_enabled = {}", grouped.trim()));
        Ok(Self { before })
    }
}

impl Drop for WritesEarly {
    fn drop(&mut self) {
        let (file, value) = &self.before;
        let _ = std::fs::write(file, value);
    }
}

/// Seconds of CPU that processes have used whose command line has this text.
pub(crate) fn cpu_seconds(text: &str) -> f64 {
    let ticks: u64 = processes(text).into_iter().filter_map(ticks).sum();
    #[expect(clippy::cast_precision_loss, reason = "ticks of minutes")]
    let ticks = ticks as f64;
    ticks / 100.0
}

/// The memory that the first such process keeps, in MB.
pub(crate) fn resident_mb(text: &str) -> f64 {
    processes(text).into_iter().map(peak_mb_of).find(|mb| *mb > 0.0).unwrap_or(0.0)
}

/// 0 where there is no such process any more.
pub(crate) fn peak_mb_of(pid: u32) -> f64 {
    status_mb(pid, "VmHWM").unwrap_or(0.0)
}

/// The same of a process and its children, with what they share counted once.
pub(crate) fn family_peak_mb(pid: u32) -> f64 {
    let shared = |pid: &u32| status_mb(*pid, "RssShmem").unwrap_or(0.0);
    let family = family(pid);
    let own: f64 = family.iter().map(|pid| (peak_mb_of(*pid) - shared(pid)).max(0.0)).sum();
    own + family.iter().map(shared).fold(0.0, f64::max)
}

fn status_mb(pid: u32, name: &str) -> Result<f64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find(|line| line.starts_with(name)).with_context(|| format!("no {name}"))?;
    let kilobytes: f64 = line.split_whitespace().nth(1).context("no number")?.parse()?;
    Ok(kilobytes / 1024.0)
}

fn processes(text: &str) -> Vec<u32> {
    let Ok(entries) = std::fs::read_dir("/proc") else { return vec![] };
    let pids = entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.filter(|pid: &u32| {
        let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        String::from_utf8_lossy(&line).replace('\0', " ").contains(text)
    })
    .collect()
}

fn ticks(pid: u32) -> Option<u64> {
    stat(pid, 11)?.checked_add(stat(pid, 12)?)
}

/// A number of a process's `stat`, counted behind its name: 1 is its parent, 11 and 12
/// its ticks, 13 and 14 those of its children that ended.
pub(crate) fn stat(pid: u32, field: usize) -> Option<u64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit_once(')')?.1.split_whitespace().nth(field)?.parse().ok()
}

/// Seconds of CPU of a process, of its children, and of those of them that ended.
pub(crate) fn family_cpu_seconds(pid: u32) -> f64 {
    let own = (11..=14).filter_map(|field| stat(pid, field)).sum::<u64>();
    let children = family(pid).into_iter().skip(1).filter_map(ticks).sum::<u64>();
    precise(own.saturating_add(children)) / 100.0
}

/// Seconds of CPU that everybody on this machine has used, the kernel included.
pub(crate) fn all_cpu_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/stat").unwrap_or_default();
    let ticks = stat.lines().next().unwrap_or_default().split_whitespace().skip(1);
    // Behind user, nice and system come idle and waiting; guests are in user already.
    let busy = ticks.take(8).enumerate().filter(|(n, _)| !matches!(n, 3 | 4));
    precise(busy.filter_map(|(_, ticks)| ticks.parse::<u64>().ok()).sum()) / 100.0
}

/// A process and its children.
fn family(pid: u32) -> Vec<u32> {
    let children = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    [pid].into_iter().chain(children.split_whitespace().filter_map(|child| child.parse().ok())).collect()
}
