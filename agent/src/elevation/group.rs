//! Membership of a local group.

use super::files::keep_reserve;
use super::membership::Membership;
use super::{Bench, Driver};
use crate::record::Undo;
use crate::right::Right;

pub(super) struct Group<'a> {
    pub(super) right: &'a Right,
    pub(super) gid: u32,
}

impl Group<'_> {
    fn membership(&self) -> Membership<'_> {
        Membership { user: &self.right.user, uid: self.right.uid, gid: self.gid }
    }

    /// Whether the user stays in the group when this order ends.
    fn stays(&self, bench: &Bench<'_>, undo: Option<&Undo>) -> bool {
        undo.is_none_or(|undo| self.membership().stays(bench, undo.was_member))
    }
}

impl<'bench> Driver<Bench<'bench>, Undo> for Group<'_> {
    fn prepare(&self, bench: &Bench<'bench>) -> Result<Undo, String> {
        let was_member = self.membership().was_there(bench)?;
        Ok(Undo { was_member, ..Undo::default() })
    }

    fn apply(&self, bench: &Bench<'bench>, _: &Undo) -> Result<(), String> {
        keep_reserve(bench)?;
        self.membership().join(bench)
    }

    fn observe(&self, bench: &Bench<'bench>, _: &Undo) -> Result<bool, String> {
        self.membership().is_there(bench)
    }

    fn revert(&self, bench: &Bench<'bench>, undo: Option<&Undo>) -> Result<(), String> {
        if self.stays(bench, undo) { Ok(()) } else { self.membership().leave(bench) }
    }

    fn stop(&self, bench: &Bench<'bench>, undo: Option<&Undo>) -> Result<(), String> {
        if self.stays(bench, undo) { Ok(()) } else { self.membership().kill(bench) }
    }
}
