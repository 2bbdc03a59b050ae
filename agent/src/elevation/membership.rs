//! Membership of a user in a local group, whichever orders it is by: one for the group, or one for the account.

use std::fs;

use super::Bench;
use super::files::{Aim, change, unreadable};
use crate::accounts;
use crate::places::Places;
use crate::processes::kill_members;
use crate::record::Record;
use crate::right::Elevation;

/// A user in a group. Both are known by their numbers: they may be renamed meanwhile.
#[derive(Clone, Copy, Debug)]
pub(super) struct Membership<'a> {
    /// What the user was called when the order came.
    pub(super) user: &'a str,
    pub(super) uid: u32,
    pub(super) gid: u32,
}

impl Membership<'_> {
    /// Another order by which the user is in the group.
    fn other<'a>(&self, bench: &'a Bench<'_>) -> Option<&'a Record> {
        bench.others.iter().filter(|record| record.is_in_force()).find(|record| {
            record.right.as_ref().is_some_and(|right| {
                let same = right.elevation.groups().iter().any(|(_, gid)| *gid == self.gid);
                right.uid == self.uid && same
            })
        })
    }

    /// The group as it is called now, and which of the user's names are in it.
    fn standing(&self, bench: &Bench<'_>) -> Result<Option<(String, Vec<String>)>, String> {
        let found = accounts::group_of(bench.places, self.gid).map_err(unreadable)?;
        let Some((name, group)) = found else { return Ok(None) };
        let mut names = accounts::names_of(bench.places, self.uid).map_err(unreadable)?;
        names.push(self.user.to_owned());
        let members = group.members.into_iter().filter(|member| names.contains(member)).collect();
        Ok(Some((name, members)))
    }

    /// Whether the user was in the group before any order; refuses a group that a rule of sudo names.
    pub(super) fn was_there(&self, bench: &Bench<'_>) -> Result<bool, String> {
        let standing = self.standing(bench)?;
        if let Some((name, _)) = &standing {
            check_rules(bench.places, name, self.gid)?;
        }
        // By another order the user may be in the group now, and was not before.
        if let Some(before) = self.other(bench).and_then(|other| was_in(other, self.gid)) {
            return Ok(before);
        }
        Ok(standing.is_some_and(|(_, members)| !members.is_empty()))
    }

    /// Whether the user is in the group now.
    pub(super) fn is_there(&self, bench: &Bench<'_>) -> Result<bool, String> {
        Ok(self.standing(bench)?.is_some_and(|(_, members)| !members.is_empty()))
    }

    /// Puts the user into the group.
    pub(super) fn join(&self, bench: &Bench<'_>) -> Result<(), String> {
        let gone = || format!("the group ID {} is gone", self.gid);
        let (name, members) = self.standing(bench)?.ok_or_else(gone)?;
        if members.is_empty() {
            gpasswd(bench, Aim::Gives, "--add", self.user, &name)?;
        }
        let is_there = self.is_there(bench)?;
        is_there.then_some(()).ok_or_else(|| format!("{} is not in {name} all the same", self.user))
    }

    /// Whether the user stays in the group when an order ends before which they were, or were not, in it.
    pub(super) fn stays(&self, bench: &Bench<'_>, was_there: bool) -> bool {
        was_there || self.other(bench).is_some()
    }

    /// Takes the user out of the group. A group that is gone has no members.
    pub(super) fn leave(&self, bench: &Bench<'_>) -> Result<(), String> {
        let Some((name, members)) = self.standing(bench)? else { return Ok(()) };
        for member in &members {
            gpasswd(bench, Aim::Ends, "--delete", member, &name)?;
        }
        let is_there = self.is_there(bench)?;
        (!is_there).then_some(()).ok_or_else(|| format!("{} is still in {name}", self.user))
    }

    /// Kills what still has the group, whatever the files say.
    pub(super) fn kill(&self, bench: &Bench<'_>) -> Result<(), String> {
        kill_members(bench.system, bench.places, self.uid, self.gid)
    }
}

/// Whether the holder of an order was in one of its groups before.
fn was_in(record: &Record, gid: u32) -> Option<bool> {
    let undo = record.undo.as_ref()?;
    match record.right.as_ref()?.elevation {
        Elevation::Account { .. } => Some(undo.was_in.contains(&gid)),
        _ => Some(undo.was_member),
    }
}

fn gpasswd(
    bench: &Bench<'_>,
    aim: Aim,
    option: &str,
    user: &str,
    group: &str,
) -> Result<(), String> {
    let what = format!("changing the group {group}");
    change(bench, aim, &what, ("gpasswd", &[option, user, group]))
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
