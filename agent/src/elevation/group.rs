//! Membership of a local group.

use std::fs;
use std::time::{Duration, SystemTime};

use super::{Bench, Driver};
use crate::accounts;
use crate::places::Places;
use crate::processes::kill_members;
use crate::record::{Record, Undo};
use crate::right::{Elevation, Right};

/// How old the lock of a program must be that never took it away, and that does not say which it was.
const STALE: Duration = Duration::from_mins(1);

pub(super) struct Group<'a> {
    pub(super) right: &'a Right,
    pub(super) gid: u32,
}

impl Group<'_> {
    /// Another order by which the user is in the group.
    fn other<'a>(&self, bench: &'a Bench<'_>) -> Option<&'a Record> {
        bench.others.iter().filter(|record| record.is_in_force()).find(|record| {
            record.right.as_ref().is_some_and(|right| {
                let same =
                    matches!(&right.elevation, Elevation::Group { gid, .. } if *gid == self.gid);
                right.uid == self.right.uid && same
            })
        })
    }

    /// The group as it is called now, and which of the user's names are in it.
    fn standing(&self, bench: &Bench<'_>) -> Result<Option<(String, Vec<String>)>, String> {
        let wrong = |error: std::io::Error| format!("reading the accounts of this host: {error}");
        let found = accounts::group_of(bench.places, self.gid).map_err(wrong)?;
        let Some((name, group)) = found else { return Ok(None) };
        let mut names = accounts::names_of(bench.places, self.right.uid).map_err(wrong)?;
        names.push(self.right.user.clone());
        let members = group.members.into_iter().filter(|member| names.contains(member)).collect();
        Ok(Some((name, members)))
    }

    /// Whether the user stays in the group when this order ends.
    fn stays(&self, bench: &Bench<'_>, undo: Option<&Undo>) -> bool {
        undo.is_none_or(|undo| undo.was_member) || self.other(bench).is_some()
    }
}

/// How much is kept back on the disk of the accounts, so that a group can be changed when it is full: both files are
/// written anew for that. In bytes.
const RESERVE: usize = 256 * 1024;

fn gpasswd(bench: &Bench<'_>, option: &str, user: &str, group: &str) -> Result<(), String> {
    let change = || bench.system.run("gpasswd", &[option, user, group]);
    let mut ran = change().map_err(|error| error.to_string())?;
    if !ran.is_ok() && break_stale_locks(bench) {
        ran = change().map_err(|error| error.to_string())?;
    }
    if !ran.is_ok() && option == "--delete" && bench.system.remove(&bench.places.reserve()).is_ok()
    {
        ran = change().map_err(|error| error.to_string())?;
    }
    if ran.is_ok() { Ok(()) } else { Err(format!("changing the group {group}: {}", ran.said())) }
}

fn keep_reserve(bench: &Bench<'_>) -> Result<(), String> {
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

/// Refuses a group that a rule of sudo names: what its members start with sudo is root's, and would outlive the membership.
fn check_rules(places: &Places, name: &str, gid: u32) -> Result<(), String> {
    let folder = fs::read_dir(places.at("/etc/sudoers.d")).into_iter().flatten().flatten();
    let files = folder.map(|entry| entry.path()).chain([places.at("/etc/sudoers")]);
    let wanted = [format!("%{name}"), format!("%#{gid}")];
    for file in files {
        let Ok(text) = fs::read_to_string(&file) else { continue };
        let rules = text.lines().map(str::trim_start).filter(|line| !line.starts_with('#'));
        let is_end = |c: char| !(c.is_ascii_alphanumeric() || "_-.$".contains(c));
        let is_named = |line: &str| {
            wanted.iter().any(|name| {
                line.match_indices(name.as_str())
                    .any(|(at, _)| line[at + name.len()..].chars().next().is_none_or(is_end))
            })
        };
        if rules.into_iter().any(is_named) {
            let file = file.display();
            return Err(format!(
                "{file} has a rule of sudo for the group {name}, and what its members start by it would outlive the \
                 membership. Offer admin or commands instead"
            ));
        }
    }
    Ok(())
}

/// Removes the locks of a program that died and left no number by which that can be seen: they would keep everybody from
/// changing a group for ever.
fn break_stale_locks(bench: &Bench<'_>) -> bool {
    let mut broken = false;
    for name in ["/etc/group.lock", "/etc/gshadow.lock"] {
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

impl Driver for Group<'_> {
    fn prepare(&self, bench: &Bench<'_>) -> Result<Undo, String> {
        let standing = self.standing(bench)?;
        if let Some((name, _)) = &standing {
            check_rules(bench.places, name, self.gid)?;
        }
        // By another order the user may be in the group now, and was not before.
        if let Some(undo) = self.other(bench).and_then(|other| other.undo.clone()) {
            return Ok(undo);
        }
        let was_member = standing.is_some_and(|(_, members)| !members.is_empty());
        Ok(Undo { was_member, ..Undo::default() })
    }

    fn apply(&self, bench: &Bench<'_>, undo: &Undo) -> Result<(), String> {
        let gone = || format!("the group ID {} is gone", self.gid);
        let (name, members) = self.standing(bench)?.ok_or_else(gone)?;
        keep_reserve(bench)?;
        if members.is_empty() {
            gpasswd(bench, "--add", &self.right.user, &name)?;
        }
        let is_there = self.observe(bench, undo)?;
        is_there
            .then_some(())
            .ok_or_else(|| format!("{} is not in {name} all the same", self.right.user))
    }

    fn observe(&self, bench: &Bench<'_>, _: &Undo) -> Result<bool, String> {
        Ok(self.standing(bench)?.is_some_and(|(_, members)| !members.is_empty()))
    }

    fn revert(&self, bench: &Bench<'_>, undo: Option<&Undo>) -> Result<(), String> {
        if self.stays(bench, undo) {
            return Ok(());
        }
        // A group that is gone has no members.
        let Some((name, members)) = self.standing(bench)? else { return Ok(()) };
        for member in &members {
            gpasswd(bench, "--delete", member, &name)?;
        }
        let is_there = self.standing(bench)?.is_some_and(|(_, members)| !members.is_empty());
        (!is_there).then_some(()).ok_or_else(|| format!("{} is still in {name}", self.right.user))
    }

    fn stop(&self, bench: &Bench<'_>, undo: Option<&Undo>) -> Result<(), String> {
        if self.stays(bench, undo) {
            return Ok(());
        }
        kill_members(bench.system, bench.places, self.right.uid, self.gid)
    }
}
