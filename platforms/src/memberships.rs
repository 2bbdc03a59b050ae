//! Membership of local groups, the administrators among them, on whichever of these platforms.

use crate::driver::Driver;
use crate::host::Bench;
use crate::order::{Named, Right, Undo};

/// What a platform knows of its groups. All are known by what they are known by whatever they are called.
pub(crate) trait Groups {
    /// Whether a user is in a group itself; `None` if there is no such group.
    ///
    /// # Errors
    /// In words, as all of these.
    fn is_in(&self, user: &Named, group: &Named) -> Result<Option<bool>, String>;

    /// Puts a user into a group.
    ///
    /// # Errors
    /// In words, as all of these.
    fn join(&self, user: &Named, group: &Named) -> Result<(), String>;

    /// Takes a user out of a group.
    ///
    /// # Errors
    /// In words, as all of these.
    fn leave(&self, user: &Named, group: &Named) -> Result<(), String>;

    /// Logs a user off and ends all that runs as it.
    ///
    /// # Errors
    /// In words, as all of these.
    fn end_all_of(&self, user: &Named) -> Result<(), String>;
}

/// A user in a group.
pub(crate) struct Membership<'a> {
    pub(crate) host: &'a dyn Groups,
    pub(crate) user: &'a Named,
    pub(crate) group: &'a Named,
}

impl Membership<'_> {
    /// Whether the user is in the group now. One that is gone has no members.
    pub(crate) fn is_there(&self) -> Result<bool, String> {
        Ok(self.host.is_in(self.user, self.group)?.unwrap_or_default())
    }

    /// Whether the user was in the group before any order.
    fn was_there(&self, bench: &Bench<'_>) -> Result<bool, String> {
        // By another order the user may be in it now, and was not before.
        let by_another =
            bench.others.iter().find_map(|other| other.membership(&self.user.id, &self.group.id));
        if let Some(before) = by_another {
            return Ok(before);
        }
        let gone = || format!("there is no local group {} on this host any more", self.group.name);
        self.host.is_in(self.user, self.group)?.ok_or_else(gone)
    }

    /// Whether the user stays in the group when an order ends before which they were, or were not, in it.
    fn stays(&self, bench: &Bench<'_>, was_there: bool) -> bool {
        let mut others = bench.others.iter();
        was_there || others.any(|other| other.membership(&self.user.id, &self.group.id).is_some())
    }

    pub(crate) fn join(&self) -> Result<(), String> {
        if !self.is_there()? {
            self.host.join(self.user, self.group)?;
        }
        let (user, group) = (&self.user.name, &self.group.name);
        let is_there = self.is_there()?;
        is_there.then_some(()).ok_or_else(|| format!("{user} is not in {group} all the same"))
    }

    pub(crate) fn leave(&self) -> Result<(), String> {
        if self.is_there()? {
            self.host.leave(self.user, self.group)?;
        }
        let (user, group) = (&self.user.name, &self.group.name);
        let is_there = self.is_there()?;
        (!is_there).then_some(()).ok_or_else(|| format!("{user} is still in {group}"))
    }
}

/// Takes a user out of each of these, whatever becomes of the others.
pub(crate) fn leave_all<'a>(all: impl Iterator<Item = Membership<'a>>) -> Result<(), String> {
    let problems: Vec<String> = all.filter_map(|membership| membership.leave().err()).collect();
    if problems.is_empty() { Ok(()) } else { Err(problems.join("; ")) }
}

/// Memberships of a user who is there already.
pub(crate) struct Memberships<'a> {
    pub(crate) host: Box<dyn Groups + 'a>,
    pub(crate) right: &'a Right,
    pub(crate) groups: &'a [Named],
}

impl Memberships<'_> {
    fn all(&self) -> impl Iterator<Item = Membership<'_>> {
        let (host, user) = (&*self.host, &self.right.user);
        self.groups.iter().map(move |group| Membership { host, user, group })
    }

    /// Those that end with this order.
    fn to_go(&self, bench: &Bench<'_>, undo: &Undo) -> impl Iterator<Item = Membership<'_>> {
        self.all().filter(|one| !one.stays(bench, undo.was_in.contains(&one.group.id)))
    }
}

impl<'bench> Driver<Bench<'bench>, Undo> for Memberships<'_> {
    fn prepare(&self, bench: &Bench<'bench>) -> Result<Undo, String> {
        let mut was_in = Vec::new();
        for membership in self.all() {
            if membership.was_there(bench)? {
                was_in.push(membership.group.id.clone());
            }
        }
        Ok(Undo { was_in, ..Undo::default() })
    }

    fn apply(&self, _: &Bench<'bench>, _: &Undo) -> Result<(), String> {
        self.all().try_for_each(|membership| membership.join())
    }

    fn observe(&self, _: &Bench<'bench>, _: &Undo) -> Result<bool, String> {
        for membership in self.all() {
            if !membership.is_there()? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// What somebody else took away meanwhile is not given back: that nobody has approved.
    fn revert(&self, bench: &Bench<'bench>, undo: Option<&Undo>) -> Result<(), String> {
        undo.map_or(Ok(()), |undo| leave_all(self.to_go(bench, undo)))
    }

    /// What a process may do was decided when it started, or its user logged in: nobody takes the group from it.
    fn stop(&self, bench: &Bench<'bench>, undo: Option<&Undo>) -> Result<(), String> {
        let ends = undo.is_some_and(|undo| self.to_go(bench, undo).next().is_some());
        if ends { self.host.end_all_of(&self.right.user) } else { Ok(()) }
    }
}
