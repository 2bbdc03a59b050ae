//! What processes use.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};

use super::figure::Figure;
use crate::plane::Process;

/// How often a process is looked at.
const LOOK: Duration = Duration::from_millis(100);
/// How long memory is looked at: the sweep comes every 20 s.
const LONG: Duration = Duration::from_secs(25);
/// More than this is used by no program that works.
const TOO_MUCH_MIB: f64 = 4096.0;

/// A field of `/proc/PID/status` (proc(5)), such as `VmRSS`, in MiB.
pub(super) fn memory_mib(pid: u32, field: &str) -> Result<f64> {
    let path = format!("/proc/{pid}/status");
    let status = std::fs::read_to_string(&path).with_context(|| format!("reading {path}"))?;
    let line = status.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
    let kib = line.and_then(|line| line.trim().strip_suffix(" kB"));
    let kib = kib.with_context(|| format!("{path} has no {field}"))?;
    Ok(kib.trim().parse::<f64>()? / 1024.0)
}

/// What a process uses for so long that a sweep falls into it: `VmRSS`, and `RssAnon` in the note.
pub(super) async fn resting_memory(what: &str, pid: u32) -> Result<Figure> {
    let begun = Instant::now();
    let mut values = vec![bounded_memory(pid)?];
    while begun.elapsed() < LONG {
        tokio::time::sleep(LOOK).await;
        values.push(bounded_memory(pid)?);
    }
    let (own, peak) = (memory_mib(pid, "RssAnon")?, memory_mib(pid, "VmHWM")?);
    let note = format!("VmRSS over {} s; RssAnon {own:.1}, peak so far {peak:.1}", LONG.as_secs());
    Ok(Figure::new(what, "MiB", values).note(note))
}

/// What comes of something, unless a process uses too much memory meanwhile.
pub(super) async fn within_reason<T>(pid: u32, work: impl Future<Output = Result<T>>) -> Result<T> {
    let excess = async {
        loop {
            tokio::time::sleep(LOOK).await;
            if let Err(error) = bounded_memory(pid) {
                return error;
            }
        }
    };
    tokio::select! {
        done = work => done,
        error = excess => Err(error),
    }
}

/// The most memory that a process used until its end (`VmHWM`), in MiB.
pub(super) async fn peak_of(process: &Process) -> Result<f64> {
    let mut peak = memory_mib(process.pid(), "VmHWM")?;
    while process.exit().is_none() {
        // What has ended meanwhile has no memory any more.
        peak = memory_mib(process.pid(), "VmHWM").unwrap_or(peak);
        if peak > TOO_MUCH_MIB {
            process.kill();
            return Err(excess(process.name(), peak));
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    Ok(peak)
}

fn excess(who: &str, used: f64) -> anyhow::Error {
    anyhow::anyhow!("{who} uses {used:.0} MiB: stopped, to leave some for the machine")
}

/// The memory of a process.
///
/// # Errors
/// If it uses so much that the machine is in danger.
pub(super) fn bounded_memory(pid: u32) -> Result<f64> {
    let used = memory_mib(pid, "VmRSS")?;
    if used > TOO_MUCH_MIB {
        return Err(excess(&format!("process {pid}"), used));
    }
    Ok(used)
}

/// How much time of a core a process has used until now, in seconds.
pub(super) fn cpu_seconds(pid: u32) -> Result<f64> {
    let path = format!("/proc/{pid}/stat");
    let stat = std::fs::read_to_string(&path).with_context(|| format!("reading {path}"))?;
    cpu_of(&stat).with_context(|| format!("{path} is not as proc(5) says"))
}

/// The sum of `utime` and `stime` (proc(5)), in ticks of which there are 100 in a second.
fn cpu_of(stat: &str) -> Option<f64> {
    // The name of the program may hold anything; it ends with the last parenthesis.
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    let ticks = |index: usize| fields.get(index)?.parse::<f64>().ok();
    Some((ticks(11)? + ticks(12)?) / 100.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_that_a_process_used_is_read() {
        let stat = "7 (a (b) c) S 1 7 7 0 -1 4194560 10 0 0 0 250 50 0 0 20 0 3 0 100 1 2";
        assert_eq!(cpu_of(stat), Some(3.0));
        assert_eq!(cpu_of("7 (x"), None);
    }

    #[test]
    fn memory_is_read_in_mib() {
        assert!(memory_mib(std::process::id(), "VmRSS").unwrap() > 1.0);
        assert!(memory_mib(std::process::id(), "VmNothing").is_err());
    }
}
