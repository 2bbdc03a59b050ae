//! Local groups of Windows, by their SIDs: their names are in the language of the host.

use super::calls::{CallError, Calls};
use super::processes::end_all_of;
use super::sid::Sid;
use crate::memberships::Groups;
use crate::order::Named;

/// What something is known by.
pub(super) fn sid_of(named: &Named) -> Result<Sid, String> {
    Sid::read(&named.id)
        .ok_or_else(|| format!("{} is known by {:?}, which is no SID", named.name, named.id))
}

pub(super) struct LocalGroups<'a>(pub(super) &'a dyn Calls);

impl Groups for LocalGroups<'_> {
    fn is_in(&self, user: &Named, group: &Named) -> Result<Option<bool>, String> {
        let name = &group.name;
        let words = |error: CallError| format!("reading the members of {name}: {error}");
        let (user, members) = (sid_of(user)?, self.0.members(&sid_of(group)?).map_err(words)?);
        Ok(members.map(|members| members.contains(&user)))
    }

    fn join(&self, user: &Named, group: &Named) -> Result<(), String> {
        let joined = self.0.join(&sid_of(group)?, &sid_of(user)?);
        joined.map_err(|error| format!("changing the group {}: {error}", group.name))
    }

    fn leave(&self, user: &Named, group: &Named) -> Result<(), String> {
        let left = self.0.leave(&sid_of(group)?, &sid_of(user)?);
        left.map_err(|error| format!("changing the group {}: {error}", group.name))
    }

    fn end_all_of(&self, user: &Named) -> Result<(), String> {
        end_all_of(self.0, &sid_of(user)?)
    }
}
