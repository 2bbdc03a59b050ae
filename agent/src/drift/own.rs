//! What Lapse itself has put on a host, as what it remembers says: none of it is a change by anybody else. Pure.

use std::collections::{BTreeMap, BTreeSet};

use lapse_crds::{AccountAction, DriftKind};

use super::critical::{RULES, SHADOW, UNITS, UNITS_OF_BOOT};
use super::deviation::{Deviation, Repair};
use super::entry::{Content, Entries, Entry};
use super::name::last;
use crate::journal::Records;
use crate::places::Id;
use crate::record::{Record, Stage, Undo};
use crate::right::{Elevation, Right};
use crate::timers;

/// What rights do to accounts: who is in which group by one that is in force, and which accounts are made or enabled for a
/// time.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Members {
    groups: BTreeMap<u32, BTreeMap<String, bool>>,
    accounts: BTreeSet<String>,
    /// The accounts that are there by a right in force alone, with their numbers.
    made: BTreeMap<String, u32>,
    /// Those that a right in force has enabled.
    enabled: BTreeSet<String>,
}

impl Members {
    /// Whether a right put somebody into a group.
    pub(super) fn has(&self, gid: u32, user: &str) -> bool {
        self.groups.get(&gid).is_some_and(|users| users.contains_key(user))
    }

    /// Those who are in a group by a right alone.
    pub(super) fn to_go(&self, gid: u32) -> Vec<String> {
        let users = self.groups.get(&gid).into_iter().flatten();
        users.filter(|(_, was_member)| !**was_member).map(|(user, _)| user.clone()).collect()
    }

    /// Whether Lapse makes, enables or removes this account, or did so for a right that is over and remembered.
    pub(super) fn owns(&self, name: &str) -> bool {
        self.accounts.contains(name)
    }

    /// The accounts that are there by a right in force alone, with their numbers.
    pub(super) fn made(&self) -> impl Iterator<Item = (&str, u32)> {
        self.made.iter().map(|(name, uid)| (name.as_str(), *uid))
    }

    /// Whether a line of a file with accounts is there, or is as it is, by a right in force alone.
    pub(super) fn has_written(&self, path: &str, name: &str) -> bool {
        self.made.contains_key(name) || (path == SHADOW && self.enabled.contains(name))
    }

    fn join(&mut self, gid: u32, user: &str, was_member: bool) {
        self.groups.entry(gid).or_default().insert(user.to_owned(), was_member);
    }

    /// Takes in what a right in force does.
    fn add(&mut self, right: &Right, undo: Option<&Undo>) {
        match &right.elevation {
            Elevation::Group { gid, .. } => {
                self.join(*gid, &right.user, undo.is_some_and(|undo| undo.was_member));
            }
            Elevation::Account { action, groups, .. } => {
                for group in groups {
                    let was_member = undo.is_some_and(|undo| undo.was_in.contains(&group.gid));
                    self.join(group.gid, &right.user, was_member);
                }
                let user = right.user.clone();
                match action {
                    AccountAction::Provision => _ = self.made.insert(user, right.uid),
                    AccountAction::Enable => _ = self.enabled.insert(user),
                    AccountAction::Raise => {}
                }
            }
            Elevation::Admin | Elevation::Commands(_) | Elevation::Application { .. } => {}
        }
    }
}

/// The account that a right is about, if it is made or enabled by it.
fn account_of(record: &Record) -> Option<String> {
    let right = record.right.as_ref().filter(|_| record.undo.is_some())?;
    match &right.elevation {
        Elevation::Account { action: AccountAction::Enable | AccountAction::Provision, .. } => {
            Some(right.user.clone())
        }
        _ => None,
    }
}

/// What Lapse has put there.
#[derive(Clone, Debug, Default)]
pub(super) struct Own {
    /// The orders of which something may be there, and those that cannot be read, of which nobody knows.
    known: BTreeMap<Id, Option<Record>>,
    /// Who is in which group.
    pub(super) members: Members,
}

impl Own {
    /// All of it.
    pub(super) fn of(Records { read, broken }: &Records) -> Self {
        let in_force = read.iter().filter(|(_, record)| record.is_in_force());
        let known = in_force.map(|(id, record)| (id.clone(), Some(record.clone())));
        let known: BTreeMap<_, _> =
            known.chain(broken.keys().map(|id| (id.clone(), None))).collect();
        let mut members = Members::default();
        for record in known.values().flatten() {
            if let Some(right) = &record.right {
                members.add(right, record.undo.as_ref());
            }
        }
        members.accounts = read.values().filter_map(account_of).collect();
        Self { known, members }
    }

    /// What is not as Lapse has put it; nothing for what is no file of Lapse's. Which files there are is said by all of them.
    pub(super) fn compare(&self, now: &Entries) -> Vec<Deviation> {
        let there = now.iter().filter_map(|(path, entry)| self.compare_one(path, entry));
        let mut found: Vec<Deviation> = there.collect();
        for (id, record) in &self.known {
            let is_active = record.as_ref().is_some_and(|record| record.stage == Stage::Active);
            let missing = timer_paths(id).into_iter().find(|path| !now.contains_key(path));
            if let Some(path) = missing.filter(|_| is_active) {
                found.push(of_timer(path, "was removed", id));
            }
        }
        found
    }

    fn compare_one(&self, path: &str, entry: &Entry) -> Option<Deviation> {
        let part = part_of(path)?;
        let taken = |kind, change: &str| Deviation {
            kind,
            path: path.to_owned(),
            change: change.to_owned(),
            is_guarded: true,
            repair: Repair::Take,
        };
        let Some(known) = self.known.get(&part.id) else {
            let kind = if part.is_rule { DriftKind::Sudoers } else { DriftKind::Agent };
            return Some(taken(kind, "was added"));
        };
        let record = known.as_ref().filter(|_| !part.is_temporary)?;
        if part.is_rule {
            let expected = record.undo.as_ref().and_then(|undo| undo.rule.as_deref());
            let is_same =
                matches!(&entry.content, Content::Text(text) if Some(&**text) == expected);
            // What is not what was approved goes, and the right with it.
            return (!is_same).then(|| taken(DriftKind::Sudoers, "was changed"));
        }
        let right = record.right.as_ref().filter(|_| record.stage == Stage::Active)?;
        let calendar = timers::calendar_text(&part.id, &record.grant, right.expires_at);
        let is_calendar = path == timer_paths(&part.id)[0];
        let is_same = match &entry.content {
            Content::Text(text) => !is_calendar || *text == calendar,
            Content::Link(_) => !is_calendar,
            _ => false,
        };
        (!is_same).then(|| of_timer(path.to_owned(), "was changed", &part.id))
    }
}

fn of_timer(path: String, change: &str, id: &Id) -> Deviation {
    let (change, repair) = (change.to_owned(), Repair::Arm(id.clone()));
    Deviation { kind: DriftKind::Agent, path, change, is_guarded: true, repair }
}

/// Where the timers of a right lie.
fn timer_paths(id: &Id) -> [String; 3] {
    let [calendar, counting] = timers::names(id);
    [
        format!("{UNITS}/{calendar}"),
        format!("{UNITS}/timers.target.wants/{calendar}"),
        format!("{UNITS_OF_BOOT}/{counting}"),
    ]
}

/// Part of what an order puts on a host.
struct Part {
    id: Id,
    is_rule: bool,
    /// Whether it lies beside its place until it is written.
    is_temporary: bool,
}

fn part_of(path: &str) -> Option<Part> {
    let name = last(path);
    let beside = name.strip_prefix('.').and_then(|name| name.strip_suffix('~'));
    let (name, is_temporary) = beside.map_or((name, false), |name| (name, true));
    let is_rule = path.starts_with(&format!("{RULES}/"));
    let id = if is_rule {
        Id::read(name.strip_prefix("lapse-")?)
    } else if path.starts_with(UNITS) || path.starts_with(UNITS_OF_BOOT) {
        timers::whose(name)
    } else {
        None
    };
    Some(Part { id: id?, is_rule, is_temporary })
}

/// Whether something is part of what an order puts on a host.
pub(super) fn is_own(path: &str) -> bool {
    part_of(path).is_some()
}

#[cfg(test)]
mod tests;
