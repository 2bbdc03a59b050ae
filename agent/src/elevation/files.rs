//! How the files of users and groups are changed: by the host's own programs, past locks of programs that died, and at an
//! end also on a full disk.

use std::fs;
use std::time::{Duration, SystemTime};

use super::Bench;

/// How old the lock of a program must be that never took it away, and that does not say which it was.
const STALE: Duration = Duration::from_mins(1);
/// The locks of these files.
const LOCKS: [&str; 6] = [
    "/etc/passwd.lock",
    "/etc/shadow.lock",
    "/etc/group.lock",
    "/etc/gshadow.lock",
    "/etc/subuid.lock",
    "/etc/subgid.lock",
];
/// How much is kept back on the disk of the accounts, so that they can be changed when it is full: the files are written
/// anew for that. In bytes.
const RESERVE: usize = 256 * 1024;

/// What a change is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Aim {
    /// Something is given.
    Gives,
    /// Something is taken back: for that, room is kept.
    Ends,
}

/// Changes users or groups by a program of the host. `what` is what is done, as in "changing the group ops".
pub(super) fn change(
    bench: &Bench<'_>,
    aim: Aim,
    what: &str,
    (program, arguments): (&str, &[&str]),
) -> Result<(), String> {
    let run = || bench.system.run(program, arguments).map_err(|error| error.to_string());
    let mut ran = run()?;
    if !ran.is_ok() && break_stale_locks(bench) {
        ran = run()?;
    }
    if !ran.is_ok() && aim == Aim::Ends && bench.system.remove(&bench.places.reserve()).is_ok() {
        ran = run()?;
    }
    if ran.is_ok() { Ok(()) } else { Err(format!("{what}: {}", ran.said())) }
}

/// Sees to it that there is room for the end.
pub(super) fn keep_reserve(bench: &Bench<'_>) -> Result<(), String> {
    let path = bench.places.reserve();
    if fs::metadata(&path).is_ok_and(|found| found.len() == RESERVE as u64) {
        return Ok(());
    }
    let wrong =
        |error: std::io::Error| format!("keeping room for the end in {}: {error}", path.display());
    path.parent().map_or(Ok(()), fs::create_dir_all).map_err(wrong)?;
    // Not zeros, which some file systems keep nowhere.
    let mut bytes = vec![0; RESERVE];
    getrandom::fill(&mut bytes).map_err(|error| format!("keeping room for the end: {error}"))?;
    bench.system.replace(&path, &bytes, 0o600).map_err(wrong)
}

/// Removes the locks of a program that died and left no number by which that can be seen: they would keep everybody from
/// changing anything for ever.
fn break_stale_locks(bench: &Bench<'_>) -> bool {
    let mut broken = false;
    for name in LOCKS {
        let path = bench.places.at(name);
        let Ok(content) = fs::read_to_string(&path) else { continue };
        let number = content.trim_matches(|c: char| c.is_whitespace() || c == '\0').parse::<u32>();
        let lives =
            number.is_ok_and(|number| bench.places.at("/proc").join(number.to_string()).exists());
        let written = fs::metadata(&path).and_then(|found| found.modified());
        let is_old = written.is_ok_and(|written| age(written) > STALE);
        if !lives && is_old {
            broken |= bench.system.remove(&path).is_ok();
        }
    }
    broken
}

#[expect(clippy::disallowed_methods, reason = "how old a file is goes by the clock that dated it")]
fn age(written: SystemTime) -> Duration {
    SystemTime::now().duration_since(written).unwrap_or_default()
}

/// What is said when the files of accounts cannot be read.
#[expect(clippy::needless_pass_by_value, reason = "errors are mapped by it")]
pub(super) fn unreadable(error: std::io::Error) -> String {
    format!("reading the accounts of this host: {error}")
}
