//! What runs under a right, and how it ends.

mod everything;
mod listed;
mod log_off;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::{Duration, Instant};

pub use self::everything::{Extent, end_all_of};
pub use self::listed::{command_of, within};
pub use self::log_off::{is_within_session_of, log_off};
use crate::accounts;
use crate::places::{Id, Places};
use crate::system::System;

/// How long is waited until killed processes are gone.
const PATIENCE: Duration = Duration::from_secs(2);
const PAUSE: Duration = Duration::from_millis(5);

/// What the kernel counts the starts of processes in, in milliseconds.
pub const TICK_MS: u64 = 10;

/// Kills what was started with sudo under a grant. The kernel kills the whole group at once: what forks meanwhile dies,
/// too.
///
/// # Errors
/// With a message that says what is left.
pub fn kill_slice(system: &dyn System, places: &Places, id: &Id) -> Result<(), String> {
    let slice = places.slice(id);
    let began = Instant::now();
    loop {
        match is_populated(&slice) {
            Ok(false) => return Ok(()),
            Ok(true) => {}
            Err(error) => return Err(format!("whether what it started still runs: {error}")),
        }
        if began.elapsed() > PATIENCE {
            return Err(format!(
                "something that it started still runs (systemd-cgls --unit {})",
                id.slice()
            ));
        }
        if let Err(error) = system.tell_kernel(&slice.join("cgroup.kill"), "1")
            && error.kind() != io::ErrorKind::NotFound
        {
            return Err(format!("killing what it started: {error}"));
        }
        sleep(PAUSE);
    }
}

/// Whether anything lives in a group of processes. One that is not there is empty.
fn is_populated(group: &Path) -> io::Result<bool> {
    match fs::read_to_string(group.join("cgroup.events")) {
        Ok(events) => Ok(!events.lines().any(|line| line == "populated 0")),
        // While it goes, reading says that the device is none.
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) if error.raw_os_error() == Some(nix::libc::ENODEV) => Ok(false),
        Err(error) => Err(error),
    }
}

/// The group of all that a user runs who has logged in.
#[must_use]
pub fn of_user(places: &Places, uid: u32) -> PathBuf {
    places.at("/sys/fs/cgroup/user.slice").join(format!("user-{uid}.slice"))
}

/// Where the kernel is told to hold, or to let go on, what a user who has logged in runs.
fn freezer(places: &Places, uid: u32) -> PathBuf {
    of_user(places, uid).join("cgroup.freeze")
}

/// Lets go on what a user runs, whoever held it: an agent that died in between must not hold anybody for ever.
pub fn thaw(system: &dyn System, places: &Places, uid: u32) {
    // Who has not logged in has no such group.
    let _ = system.tell_kernel(&freezer(places, uid), "0");
}

/// Kills the processes of a user that are in a group: leaving the group in the files takes it from none of them. Held
/// meanwhile, so that none forks while it is looked for.
///
/// # Errors
/// With a message that says what is left.
pub fn kill_members(
    system: &dyn System,
    places: &Places,
    uid: u32,
    gid: u32,
) -> Result<(), String> {
    let _ = system.tell_kernel(&freezer(places, uid), "1");
    let killed = kill_all(system, places, uid, gid);
    thaw(system, places, uid);
    killed
}

fn kill_all(system: &dyn System, places: &Places, uid: u32, gid: u32) -> Result<(), String> {
    let hunt = Hunt::new(places, uid, gid).map_err(looking)?;
    kill_found(
        system,
        || hunt.find(places),
        |left| format!("processes of the user are still in the group: {left}"),
    )
}

/// Kills what is found, until nothing is found three times: what is in no group that was killed or held, such as a job of
/// cron, may have forked while it was looked for.
fn kill_found(
    system: &dyn System,
    find: impl Fn() -> io::Result<Vec<i32>>,
    left: impl Fn(&str) -> String,
) -> Result<(), String> {
    let began = Instant::now();
    let mut quiet = 0;
    loop {
        let found = find().map_err(looking)?;
        for process in &found {
            system.kill(*process);
        }
        quiet = if found.is_empty() { quiet + 1 } else { 0 };
        if quiet == 3 {
            return Ok(());
        }
        if began.elapsed() > PATIENCE {
            let few: Vec<_> = found.iter().take(5).map(ToString::to_string).collect();
            return Err(left(&few.join(", ")));
        }
        sleep(PAUSE);
    }
}

/// What is said when processes cannot be looked for.
#[expect(clippy::needless_pass_by_value, reason = "errors are mapped by it")]
fn looking(error: io::Error) -> String {
    format!("looking for processes: {error}")
}

/// Whom to look for: who is in the group by this user, and not by themselves.
struct Hunt {
    uid: u32,
    gid: u32,
    /// The user IDs that the user may give to processes (subuid(5)): the first, and how many.
    lent: Vec<(u32, u32)>,
    /// Who is in the group by the files.
    members: Vec<u32>,
    slice: String,
}

impl Hunt {
    fn new(places: &Places, uid: u32, gid: u32) -> io::Result<Self> {
        let mut members = accounts::primary_members(places, gid)?;
        if let Some((_, group)) = accounts::group_of(places, gid)? {
            for member in group.members {
                members.extend(accounts::user(places, &member)?.map(|user| user.uid));
            }
        }
        let lent = accounts::lent(places, uid)?;
        Ok(Self { uid, gid, lent, members, slice: slice_of(uid) })
    }

    fn find(&self, places: &Places) -> io::Result<Vec<i32>> {
        let mut found = Vec::new();
        for (process, folder) in all(places)? {
            // One that has just ended has nothing of these.
            let cgroup = fs::read_to_string(folder.join("cgroup")).unwrap_or_default();
            let is_inside = is_within(&cgroup, &self.slice);
            // The first thread may be dead, and each has user and groups of its own.
            let mut statuses = of_threads(&folder, "status");
            if statuses.any(|status| self.is_wanted(&status, is_inside)) {
                found.push(process);
            }
        }
        Ok(found)
    }

    /// Whether a thread is in the group, and is so by the user. A dead one that nobody has waited for does nothing more.
    fn is_wanted(&self, status: &str, is_inside: bool) -> bool {
        let numbers = |field: &str| numbers(status, field);
        let is_in = numbers("Groups:").contains(&self.gid) || numbers("Gid:").contains(&self.gid);
        if is_dead(status) || !is_in {
            return false;
        }
        let uids = numbers("Uid:");
        if is_of(&uids, self.uid, &self.lent) {
            return true;
        }
        // Somebody else, who was started by the user: unless the group is theirs by the files.
        is_inside && uids.first().is_none_or(|uid| !self.members.contains(uid))
    }
}

/// The numbers in a line of what proc(5) says of a thread.
fn numbers(status: &str, field: &str) -> Vec<u32> {
    let line = status.lines().find_map(|line| line.strip_prefix(field));
    line.unwrap_or_default().split_whitespace().filter_map(|word| word.parse().ok()).collect()
}

/// Whether a thread does nothing more, and only waits to be waited for.
fn is_dead(status: &str) -> bool {
    status.lines().any(|line| line.starts_with("State:\tZ") || line.starts_with("State:\tX"))
}

/// Whether one of these user IDs is a user's, or lent to them.
fn is_of(uids: &[u32], uid: u32, lent: &[(u32, u32)]) -> bool {
    let is_lent =
        |uid: &u32| lent.iter().any(|(first, count)| uid >= first && uid - first < *count);
    uids.contains(&uid) || uids.iter().any(is_lent)
}

/// All processes: the number of each, and its folder.
fn all(places: &Places) -> io::Result<Vec<(i32, PathBuf)>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(places.at("/proc"))? {
        let entry = entry?;
        let number = entry.file_name().to_str().and_then(|name| name.parse().ok());
        found.extend(number.map(|number| (number, entry.path())));
    }
    Ok(found)
}

/// What a file says of each thread of a process, by the folder of the process.
fn of_threads(folder: &Path, file: &'static str) -> impl Iterator<Item = String> + use<> {
    let threads = fs::read_dir(folder.join("task")).into_iter().flatten().flatten();
    threads.filter_map(move |thread| fs::read_to_string(thread.path().join(file)).ok())
}

/// The group of all that a user runs who has logged in, as proc(5) shows it.
fn slice_of(uid: u32) -> String {
    format!("/user.slice/user-{uid}.slice/")
}

/// Whether a process is in this group of the host. A container has groups of the same names further down, of other people.
pub(crate) fn is_within(cgroup: &str, group: &str) -> bool {
    let mut paths = cgroup.lines().filter_map(|line| line.splitn(3, ':').nth(2));
    paths.any(|path| path.starts_with(group))
}

/// What proc(5) says of a process in one line.
pub struct Stat {
    /// Whether it does nothing more, and only waits to be waited for.
    pub is_dead: bool,
    /// The number of its terminal, as the kernel has it: 0 if it has none.
    pub terminal: u64,
    /// When it started: milliseconds since the host did.
    pub started_ms: u64,
}

impl Stat {
    /// Reads the line. The name of the program may hold anything, and ends with the last parenthesis; the state is what comes
    /// first then, the terminal the 5th, and the start the 20th, in hundredths of a second.
    #[must_use]
    pub fn of(line: &str) -> Option<Self> {
        let mut fields = line.rsplit_once(')')?.1.split_whitespace();
        let is_dead = matches!(fields.next()?, "Z" | "X");
        // It is written as a signed number of 32 bits.
        let terminal = fields.nth(3)?.parse::<i64>().ok()?.cast_unsigned() & u64::from(u32::MAX);
        let ticks: u64 = fields.nth(14)?.parse().ok()?;
        Some(Self { is_dead, terminal, started_ms: ticks.checked_mul(TICK_MS)? })
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    fn status(state: &str, uid: &str, gid: u32, groups: &str) -> String {
        format!(
            "State:\t{state}\nUid:\t{uid}\nGid:\t{gid}\t{gid}\t{gid}\t{gid}\nGroups:\t{groups}\n"
        )
    }

    #[rstest]
    #[case::supplementary("S (sleeping)", "1000\t1000\t1000\t1000", 1000, "4 27", false, true)]
    #[case::newgrp("S", "1000\t1000\t1000\t1000", 27, "", false, true)]
    #[case::not_in_it("S", "1000\t1000\t1000\t1000", 1000, "4 127", true, false)]
    #[case::of_another("S", "1001\t1001\t1001\t1001", 27, "27", false, false)]
    #[case::a_program_of_theirs_that_became_root("S", "1000\t0\t0\t0", 27, "27", false, true)]
    #[case::dead("Z (zombie)", "1000\t1000\t1000\t1000", 27, "27", true, false)]
    #[case::by_a_lent_user("S", "100000\t100000\t100000\t100000", 65534, "27 65534", false, true)]
    #[case::beyond_what_is_lent("S", "165536\t165536\t165536\t165536", 65534, "27", false, false)]
    #[case::by_a_program_of_somebody_else("S", "1001\t1001\t1001\t1001", 27, "27", true, true)]
    #[case::a_member_who_came_by_su("S", "1002\t1002\t1002\t1002", 1002, "27", true, false)]
    fn who_holds_a_group_by_somebody(
        #[case] state: &str,
        #[case] uid: &str,
        #[case] gid: u32,
        #[case] groups: &str,
        #[case] is_inside: bool,
        #[case] expected: bool,
    ) {
        let slice = slice_of(1000);
        let hunt =
            Hunt { uid: 1000, gid: 27, lent: vec![(100_000, 65_536)], members: vec![1002], slice };
        assert_eq!(hunt.is_wanted(&status(state, uid, gid, groups), is_inside), expected);
    }

    #[test]
    fn the_start_of_a_process_is_read_whatever_it_calls_itself() {
        let line = "7 (a) b) S 1 7 7 34817 -1 4194560 10 0 0 0 250 50 0 0 20 0 3 0 12345 1 2";
        let stat = Stat::of(line).unwrap();
        assert_eq!((stat.terminal, stat.started_ms, stat.is_dead), (34_817, 123_450, false));
        assert!(Stat::of("7 (x").is_none());
    }
}
