//! An account that is in more groups for a time, and then in those in which it was.

use crate::elevation::files::keep_reserve;
use crate::elevation::membership::Membership;
use crate::elevation::{Bench, Driver};
use crate::record::Undo;
use crate::right::{LocalGroup, Right};

pub(in crate::elevation) struct Raise<'a> {
    pub(in crate::elevation) right: &'a Right,
    pub(in crate::elevation) groups: &'a [LocalGroup],
}

/// The memberships of a user in some groups.
pub(super) fn memberships<'a>(
    (user, uid): (&'a str, u32),
    groups: &'a [LocalGroup],
) -> impl Iterator<Item = Membership<'a>> {
    groups.iter().map(move |group| Membership { user, uid, gid: group.gid })
}

/// Does something with each, whatever becomes of the others.
pub(super) fn with_each<'a>(
    memberships: impl Iterator<Item = Membership<'a>>,
    work: impl Fn(&Membership<'a>) -> Result<(), String>,
) -> Result<(), String> {
    let problems: Vec<String> =
        memberships.filter_map(|membership| work(&membership).err()).collect();
    if problems.is_empty() { Ok(()) } else { Err(problems.join("; ")) }
}

impl Raise<'_> {
    fn all(&self) -> impl Iterator<Item = Membership<'_>> {
        memberships((&self.right.user, self.right.uid), self.groups)
    }

    /// Those that end with this order.
    fn to_go(
        &self,
        bench: &Bench<'_>,
        undo: Option<&Undo>,
    ) -> impl Iterator<Item = Membership<'_>> {
        self.all().filter(move |membership| {
            undo.is_some_and(|undo| !membership.stays(bench, undo.was_in.contains(&membership.gid)))
        })
    }
}

impl<'bench> Driver<Bench<'bench>, Undo> for Raise<'_> {
    fn prepare(&self, bench: &Bench<'bench>) -> Result<Undo, String> {
        let mut was_in = Vec::new();
        for membership in self.all() {
            if membership.was_there(bench)? {
                was_in.push(membership.gid);
            }
        }
        Ok(Undo { was_in, ..Undo::default() })
    }

    fn apply(&self, bench: &Bench<'bench>, _: &Undo) -> Result<(), String> {
        keep_reserve(bench)?;
        self.all().try_for_each(|membership| membership.join(bench))
    }

    fn observe(&self, bench: &Bench<'bench>, _: &Undo) -> Result<bool, String> {
        for membership in self.all() {
            if !membership.is_there(bench)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// What somebody else took away meanwhile is not given back: that nobody has approved.
    fn revert(&self, bench: &Bench<'bench>, undo: Option<&Undo>) -> Result<(), String> {
        with_each(self.to_go(bench, undo), |membership| membership.leave(bench))
    }

    fn stop(&self, bench: &Bench<'bench>, undo: Option<&Undo>) -> Result<(), String> {
        with_each(self.to_go(bench, undo), |membership| membership.kill(bench))
    }
}
