//! What is not on a host as it was before somebody was given a right. Pure.

use std::collections::BTreeSet;

use super::accounts::{self, Accounts};
use super::critical::{ACCOUNTS, AT_JOBS, PROGRAM, SPOOL};
use super::deviation::{Deviation, Repair};
use super::entry::{Content, Entries, Entry};
use super::own::{Own, is_own};
use crate::unfollowed::Owner;

/// Somebody who holds a right: what they may change of themselves is theirs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Holder {
    /// What they are called.
    pub(super) name: String,
    /// Their number.
    pub(super) uid: u32,
    /// Their home, if they have one.
    pub(super) home: Option<String>,
}

impl Holder {
    /// Whether something lies in their home.
    pub(super) fn has_at_home(&self, path: &str) -> bool {
        self.home.as_deref().is_some_and(|home| {
            path.strip_prefix(home).is_some_and(|inside| inside.starts_with('/'))
        })
    }
}

/// What is compared.
pub(super) struct Comparison<'a> {
    /// What there was.
    pub(super) before: &'a Entries,
    /// What there is, as far as it was looked at.
    pub(super) now: &'a Entries,
    /// What Lapse has put there.
    pub(super) own: &'a Own,
    /// Who holds rights, and whom Lapse has made for a time.
    pub(super) holders: &'a [Holder],
    /// Whether all was looked at, or what the guard looks after alone.
    pub(super) is_all: bool,
}

impl Comparison<'_> {
    /// What is not as it was.
    pub(super) fn deviations(&self) -> Vec<Deviation> {
        let mut found = self.own.compare(self.now);
        let names: BTreeSet<String> =
            self.holders.iter().map(|holder| holder.name.clone()).collect();
        let is_read = |path: &&str| {
            self.before.get(*path).is_none_or(is_text) && self.now.get(*path).is_none_or(is_text)
        };
        if ACCOUNTS.iter().all(is_read) {
            found.extend(accounts::compare(&Accounts {
                before: self.before,
                now: self.now,
                members: &self.own.members,
                holders: &names,
            }));
        }
        let paths: BTreeSet<&String> = self.before.keys().chain(self.now.keys()).collect();
        let others = paths.into_iter().filter(|path| !is_own(path));
        found.extend(others.filter_map(|path| self.compare_one(path)));
        found.retain(|deviation| self.is_all || deviation.is_guarded);
        found
    }

    fn compare_one(&self, path: &str) -> Option<Deviation> {
        let (before, now) = (self.before.get(path), self.now.get(path));
        let is_guarded = |entry: &Entry| entry.is_guarded;
        // What was not looked at is not gone.
        if now.is_none() && !self.is_all && !before.is_some_and(is_guarded) {
            return None;
        }
        if now.or(before).is_some_and(|entry| self.is_of_holder(path, entry)) {
            return None;
        }
        let of = |entry: &Entry, change: String, repair| {
            let (kind, is_guarded) = (entry.kind, entry.is_guarded);
            Some(Deviation { kind, path: path.to_owned(), change, is_guarded, repair })
        };
        match (before, now) {
            (None, None) => None,
            // What lies in it is told by itself.
            (None, Some(now)) if now.content == Content::Folder => None,
            (None, Some(now)) => of(now, "was added".to_owned(), Repair::Take),
            // A job that is done is gone.
            (Some(_), None) if AT_JOBS.iter().any(|jobs| path.starts_with(jobs)) => None,
            (Some(before), None) => of(before, "was removed".to_owned(), put(path, before)),
            (Some(before), Some(now)) if before.is_like(now) => None,
            (Some(before), Some(now)) if has_same_content(path, before, now) => {
                if before.is_permitted_like(now) {
                    return None;
                }
                let repair = match before.access_list {
                    None => Repair::Permit(before.owner),
                    Some(_) => Repair::Nothing("it had a list of who else may, which is not kept"),
                };
                of(before, permitted(before, now), repair)
            }
            (Some(before), Some(_)) => of(before, "was changed".to_owned(), put(path, before)),
        }
    }

    /// Whether a file is what its owner may change without any right: their own keys and jobs.
    fn is_of_holder(&self, path: &str, entry: &Entry) -> bool {
        self.holders.iter().any(|holder| {
            let is_job = path.starts_with(SPOOL)
                && (path.ends_with(&format!("/{}", holder.name)) || entry.owner.uid == holder.uid);
            holder.uid != 0 && (holder.has_at_home(path) || is_job)
        })
    }
}

fn is_text(entry: &Entry) -> bool {
    matches!(entry.content, Content::Text(_))
}

/// Whether two have the same content, or one that is compared by itself.
fn has_same_content(path: &str, before: &Entry, now: &Entry) -> bool {
    before.has_content_of(now) || (ACCOUNTS.contains(&path) && is_text(before) && is_text(now))
}

/// What puts back what was there.
fn put(path: &str, before: &Entry) -> Repair {
    match &before.content {
        Content::Stamp(_) if path == PROGRAM => Repair::Program(before.owner),
        Content::Stamp(_) => Repair::Nothing("its content was not kept: install its package again"),
        Content::Folder => Repair::Nothing("it is no folder any more"),
        Content::Other => Repair::Nothing("it is no file"),
        Content::Text(_) | Content::Bytes(_) | Content::Link(_) => Repair::Put(before.clone()),
    }
}

/// How it may be used by others than before, in words.
fn permitted(before: &Entry, now: &Entry) -> String {
    let Owner { mode, uid, gid } = now.owner;
    let mode = (before.owner.mode != mode).then(|| format!("the mode {mode:04o}"));
    let uid = (before.owner.uid != uid).then(|| format!("the owner {uid}"));
    let gid = (before.owner.gid != gid).then(|| format!("the group {gid}"));
    let list =
        (before.access_list != now.access_list).then(|| "another list of who else may".to_owned());
    let all: Vec<String> = [mode, uid, gid, list].into_iter().flatten().collect();
    format!("was given {}", all.join(", "))
}

#[cfg(test)]
mod tests;
