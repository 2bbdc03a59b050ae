//! The tables of the index, and what a change of one means for another.

use std::collections::BTreeSet;

use lapse_engine::grant::grant_name;
use lapse_engine::summary::GrantSummary;

use super::Change;
use super::decisions::{About, Decisions};
use super::grants::{Grants, KnownGrant};
use super::past::PastRead;
use super::policies::PolicyTable;
use super::requests::{KnownRequest, Requests};

/// The kinds that are indexed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Indexed {
    Policies,
    Requests,
    Grants,
    Decisions,
}

impl Indexed {
    pub(crate) const ALL: [Self; 4] =
        [Self::Policies, Self::Requests, Self::Grants, Self::Decisions];
}

#[derive(Default)]
pub(super) struct Tables {
    pub(super) policies: PolicyTable,
    pub(super) requests: Requests,
    pub(super) grants: Grants,
    pub(super) decisions: Decisions,
    /// The kinds of which everything is known that is live; of policies and decisions, everything that there is.
    pub(super) complete: BTreeSet<Indexed>,
    /// How far what is over has been read.
    pub(super) past: PastRead,
}

/// What the decisions about a request are still good for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum GoodFor {
    /// It waits: everything counts.
    Everything,
    /// It has its Grant: what ends the right, and the review, count.
    Ending,
    /// It is not known: it may come, for a while.
    Unknown,
    /// Nothing.
    Nothing,
}

impl Tables {
    pub(super) fn has_all(&self, kinds: &[Indexed]) -> bool {
        kinds.iter().all(|kind| self.complete.contains(kind))
    }

    /// Which list of what is live of a kind was begun last. What is over is told of by pages, and those of an earlier
    /// list say nothing.
    pub(super) fn round(&self, kind: Indexed) -> u64 {
        match kind {
            Indexed::Requests => self.requests.round(),
            Indexed::Grants => self.grants.round(),
            // All of these is live.
            Indexed::Policies | Indexed::Decisions => 0,
        }
    }

    pub(super) fn good_for(&self, about: &About) -> GoodFor {
        self.good_for_request(
            &about.namespace,
            &about.name,
            about.uid.as_deref().unwrap_or_default(),
        )
    }

    fn good_for_request(&self, namespace: &str, name: &str, uid: &str) -> GoodFor {
        let grant = self.grants.by_request(namespace, name, uid);
        self.good_beside(grant.as_deref(), uid)
    }

    fn good_beside(&self, grant: Option<&GrantSummary>, uid: &str) -> GoodFor {
        let request = self.requests.get(uid);
        let is_open = request.as_ref().is_some_and(|request| !request.is_settled);
        match grant {
            Some(grant) if is_open || !grant.is_settled() => GoodFor::Ending,
            None if is_open => GoodFor::Everything,
            None if request.is_none() && !self.requests.knows(uid) => GoodFor::Unknown,
            Some(_) | None => GoodFor::Nothing,
        }
    }

    pub(super) fn request_changed(&mut self, request: &KnownRequest, is_there: bool) {
        let KnownRequest { namespace, name, uid, .. } = request;
        let good_for = match self.good_for_request(namespace, name, uid) {
            // It is known, and over; nothing of it is kept to say so.
            GoodFor::Unknown => GoodFor::Nothing,
            other => other,
        };
        self.decisions.keep(uid, good_for);
        self.grants.has_request(&grant_name(namespace, name, uid), is_there);
    }

    /// What is gone, as no list names it.
    pub(super) fn are_gone(
        &mut self,
        requests: &[Change<KnownRequest>],
        grants: &[Change<KnownGrant>],
    ) {
        for known in requests.iter().filter_map(|change| change.before.as_ref()) {
            self.request_changed(known, false);
        }
        for change in grants {
            self.grant_changed(change);
        }
    }

    /// A Grant came, changed or went.
    pub(super) fn grant_changed(&mut self, change: &Change<KnownGrant>) {
        let Some(known) = change.after.as_ref().or(change.before.as_ref()) else { return };
        let Ok(grant) = &known.summary else { return };
        let uid = &grant.request.uid;
        let after = change.after.as_ref().map(|_| &**grant);
        let good_for = self.good_beside(after, uid);
        self.decisions.keep(uid, good_for);
        if after.is_none() {
            return;
        }
        // One that is over, and not read yet, is there.
        if self.past.has_all_of(Indexed::Requests) {
            let is_there = self.requests.knows(uid);
            self.grants.has_request(&grant.name, is_there);
        }
    }
}
