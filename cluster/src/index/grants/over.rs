//! The Grants that were over before what is live was listed, as their pages show them.

use std::collections::BTreeSet;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use lapse_crds::Subject;

use super::{Change, Grants, KnownGrant};

impl Grants {
    /// One as its page shows it. Returns what is to be told: what differs from what was known, and what something may
    /// still happen to, whoever has looked at it before. What is live is the watch's to show.
    pub(in super::super) fn apply_over(
        &mut self,
        known: KnownGrant,
        now: DateTime<Utc>,
    ) -> Option<Change<KnownGrant>> {
        if known.live().is_some() || self.meanwhile.has(&known.name) {
            return None;
        }
        let name = known.name.clone();
        if let Some(change) = self.apply(known, now) {
            return Some(change);
        }
        let open = self.get(&name).filter(|known| known.is_over() && known.is_open())?;
        Some(Change { before: Some(open.clone()), after: Some(open) })
    }

    /// One that was read before its page, for somebody who asks. As nobody is told, it changes nothing of what is known.
    /// Whether it was applied.
    pub(in super::super) fn apply_early(&mut self, known: KnownGrant, now: DateTime<Utc>) -> bool {
        let is_known = self
            .by_name
            .get(&known.name)
            .is_some_and(|(other, seen)| !other.is_over() || *seen == self.round);
        if !known.is_over() || is_known || self.meanwhile.has(&known.name) {
            return false;
        }
        self.apply(known, now).is_some()
    }

    /// All pages have been read. Returns what none of them named, and nothing has shown since.
    pub(in super::super) fn done_over(&mut self) -> Vec<Change<KnownGrant>> {
        self.meanwhile.end();
        self.remove_unnamed(|_| true)
    }

    /// What a person held was read before the rest: what that did not name is gone.
    pub(in super::super) fn done_early(&mut self, who: &Subject) {
        let Some(of_person) = self.by_person.get(who) else { return };
        let recent = of_person.recent.iter().map(|(_, name)| name);
        let names: BTreeSet<Arc<str>> = of_person.owing.iter().chain(recent).cloned().collect();
        let is_gone = |name: &&Arc<str>| {
            let known = self.by_name.get(*name);
            known.is_some_and(|(known, seen)| known.is_over() && *seen < self.round)
        };
        let gone: Vec<Arc<str>> = names.iter().filter(is_gone).cloned().collect();
        for name in &gone {
            self.remove(name);
        }
    }
}
