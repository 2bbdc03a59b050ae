//! What a user has open, and how they are logged off.

use std::fs;
use std::io;
use std::path::Path;
use std::thread::sleep;
use std::time::Instant;

use super::{PATIENCE, PAUSE, Stat, all, is_within, looking, of_threads, of_user, slice_of};
use crate::places::Places;
use crate::system::System;

/// The services of a host that start what somebody asks for, outside of their session.
const ON_DEMAND: [&str; 5] = ["atd", "cron", "crond", "ssh", "sshd"];

/// Kills what a user has open: their sessions with all that runs in them, and what services start on demand for them. Who
/// logs in again meanwhile is another matter, so of sessions only what was there at first is waited for. What is left of
/// it, in words, if anything is: a process that waits for a dead disk, say.
///
/// # Errors
/// If nobody was logged off.
pub fn log_off(system: &dyn System, places: &Places, uid: u32) -> Result<Option<String>, String> {
    let there = open(places, uid).map_err(looking)?;
    // At once, so that what forks meanwhile dies, too. Who has not logged in has no such group.
    if let Err(error) = system.tell_kernel(&of_user(places, uid).join("cgroup.kill"), "1")
        && error.kind() != io::ErrorKind::NotFound
    {
        return Err(format!("logging the user off: {error}"));
    }
    for process in &there {
        system.kill(process.number);
    }
    let began = Instant::now();
    let mut quiet = 0;
    loop {
        // A job is in no group of the user's, and may have forked while it was looked for.
        let mut left: Vec<_> =
            open(places, uid).map_err(looking)?.into_iter().filter(|one| one.is_job).collect();
        for job in &left {
            system.kill(job.number);
        }
        quiet = if left.is_empty() { quiet + 1 } else { 0 };
        left.extend(there.iter().filter(|one| one.is_alive(places)).copied());
        if quiet >= 3 && left.is_empty() {
            return Ok(None);
        }
        if began.elapsed() > PATIENCE {
            let few: Vec<_> = left.iter().take(5).map(|one| one.number.to_string()).collect();
            return Ok(Some(format!("processes of the user still run: {}", few.join(", "))));
        }
        sleep(PAUSE);
    }
}

/// Whether this process is itself in a session of a user.
///
/// # Errors
/// If nobody can say.
pub fn is_within_session_of(places: &Places, uid: u32) -> io::Result<bool> {
    Ok(is_within(&fs::read_to_string(places.at("/proc/self/cgroup"))?, &slice_of(uid)))
}

/// A process, and when it started: its number is used again.
#[derive(Clone, Copy)]
struct Process {
    number: i32,
    started: u64,
    is_job: bool,
}

impl Process {
    fn is_alive(self, places: &Places) -> bool {
        let folder = places.at("/proc").join(self.number.to_string());
        let stat = fs::read_to_string(folder.join("stat")).ok().and_then(|stat| Stat::of(&stat));
        stat.is_some_and(|stat| stat.started_ms == self.started) && is_alive(&folder)
    }
}

/// Whether a process does anything still. Its first thread may be dead, and others go on.
fn is_alive(folder: &Path) -> bool {
    of_threads(folder, "stat").any(|stat| Stat::of(&stat).is_some_and(|stat| !stat.is_dead))
}

/// What a user has open.
fn open(places: &Places, uid: u32) -> io::Result<Vec<Process>> {
    let slice = slice_of(uid);
    let mut found = Vec::new();
    for (number, folder) in all(places)? {
        // One that has just ended has nothing of these.
        let read = |name: &str| fs::read_to_string(folder.join(name)).unwrap_or_default();
        let Some(stat) = Stat::of(&read("stat")) else { continue };
        let cgroup = read("cgroup");
        let is_job = is_job(&cgroup, &read("status"), uid);
        if (is_job || is_within(&cgroup, &slice)) && is_alive(&folder) {
            found.push(Process { number, started: stat.started_ms, is_job });
        }
    }
    Ok(found)
}

/// Whether a process was started on demand for a user.
fn is_job(cgroup: &str, status: &str, uid: u32) -> bool {
    let uids = status.lines().find_map(|line| line.strip_prefix("Uid:")).unwrap_or_default();
    let is_theirs = uids.split_whitespace().any(|known| known.parse() == Ok(uid));
    is_theirs && is_on_demand(cgroup)
}

/// Whether a service has started something because somebody asked for it.
pub(super) fn is_on_demand(cgroup: &str) -> bool {
    let is_of = |name: &str| is_within(cgroup, &format!("/system.slice/{name}.service"));
    ON_DEMAND.iter().any(|name| is_of(name))
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case::a_session("0::/user.slice/user-1000.slice/session-3.scope", "1000", (true, false))]
    #[case::root_in_their_session("0::/user.slice/user-1000.slice/session-3.scope", "0", (true, false))]
    #[case::of_version_1("1:name=systemd:/user.slice/user-1000.slice/session-3.scope", "1000", (true, false))]
    #[case::a_job("0::/system.slice/atd.service", "1000", (false, true))]
    #[case::a_job_of_another("0::/system.slice/cron.service", "1001", (false, false))]
    #[case::cron_itself("0::/system.slice/cron.service", "0", (false, false))]
    #[case::a_service_that_runs_as_them("0::/system.slice/build.service", "1000", (false, false))]
    #[case::another("0::/user.slice/user-10001.slice/session-4.scope", "10001", (false, false))]
    #[case::of_their_number_in_a_container(
        "0::/machine.slice/web.scope/user.slice/user-1000.slice/session-3.scope", "1000", (false, false)
    )]
    #[case::a_job_in_a_container("0::/lxc.payload.web/system.slice/cron.service", "1000", (false, false))]
    fn what_somebody_has_open(
        #[case] cgroup: &str,
        #[case] uid: &str,
        #[case] expected: (bool, bool),
    ) {
        let status = format!("Name:\tx\nUid:\t{uid}\t{uid}\t{uid}\t{uid}\n");
        let found = (is_within(cgroup, &slice_of(1000)), is_job(cgroup, &status, 1000));
        assert_eq!(found, expected);
    }
}
