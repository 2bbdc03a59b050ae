//! What is over: how far it has been read, and what is known of it.
//!
//! What is live is listed first, and from then on the watches show everything that happens, to what is over as well. What
//! was over before is read page by page, beside. Until it has been, whatever depends on it says so; what one person is
//! asked about can be read before the rest.

use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;

use kube::Resource as _;
use lapse_crds::{AccessRequest, Grant, Identity, Subject};
use lapse_engine::Read;
use lapse_engine::identity::subject_of;
use lapse_engine::peers::Peers;
use lapse_engine::summary::GrantSummary;

use super::grants::{self, KnownGrant};
use super::requests::{self, KnownRequest, PastRequest};
use super::shown::Gone;
use super::tables::{Indexed, Tables};
use super::{Change, INCOMPLETE, Index};
use crate::{Stored, clock};

/// Why nothing can be said that depends on what is over.
const UNREAD: &str = "not all that is over has been read yet";

/// A part of what is over, which is read before the rest for somebody who asks.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Part {
    /// The Grants that somebody held.
    GrantsOf(Subject),
    /// What somebody asked for in a namespace.
    RequestsOf {
        /// The namespace.
        namespace: String,
        /// The user name.
        requester: String,
    },
}

impl Part {
    fn kind(&self) -> Indexed {
        match self {
            Self::GrantsOf(_) => Indexed::Grants,
            Self::RequestsOf { .. } => Indexed::Requests,
        }
    }
}

/// The kinds some of which is over.
const KINDS: [Indexed; 2] = [Indexed::Grants, Indexed::Requests];

/// How far what is over has been read.
#[derive(Default)]
pub(super) struct PastRead {
    /// The kinds of which what is live is being listed. A page that was read before that list says nothing.
    listing: BTreeSet<Indexed>,
    /// The kinds of which all of it has been read.
    whole: BTreeSet<Indexed>,
    parts: HashSet<Part>,
}

impl PastRead {
    /// What is live is listed anew: what happened meanwhile to what is over is not known.
    pub(super) fn begin(&mut self, kind: Indexed) {
        self.listing.insert(kind);
        self.whole.remove(&kind);
        self.parts.retain(|part| part.kind() != kind);
    }

    /// What is live has been listed.
    pub(super) fn listed(&mut self, kind: Indexed) {
        self.listing.remove(&kind);
    }

    pub(super) fn has_all_of(&self, kind: Indexed) -> bool {
        self.whole.contains(&kind)
    }

    fn has(&self, part: &Part) -> bool {
        self.whole.contains(&part.kind()) || self.parts.contains(part)
    }

    fn has_all(&self) -> bool {
        KINDS.iter().all(|kind| self.whole.contains(kind))
    }
}

impl Tables {
    /// Whether what is live of a kind has been listed, so that pages of what is over can be read.
    fn is_listed(&self, kind: Indexed) -> bool {
        self.complete.contains(&kind) && !self.past.listing.contains(&kind)
    }

    /// Whether a page says anything that was read after this list of what is live. It does until all pages have been read:
    /// what went after that is not remembered.
    fn says_something(&self, kind: Indexed, list: u64) -> bool {
        self.round(kind) == list && !self.past.has_all_of(kind)
    }
}

/// What bears on what else a person may have.
fn parts_of(who: &Subject, requester: &Identity, extends: Option<(&str, &str)>) -> Vec<Part> {
    let rivals = extends.map(|(namespace, _)| Part::RequestsOf {
        namespace: namespace.to_owned(),
        requester: requester.username.clone(),
    });
    [Part::GrantsOf(who.clone())].into_iter().chain(rivals).collect()
}

impl Index {
    /// Whether every Grant is known that there is, over or not.
    #[must_use]
    pub fn knows_all_grants(&self) -> bool {
        let tables = self.tables();
        tables.has_all(&[Indexed::Grants]) && tables.past.has_all_of(Indexed::Grants)
    }

    /// Whether everything that is over is known.
    #[must_use]
    pub fn knows_past(&self) -> bool {
        let tables = self.tables();
        tables.has_all(&KINDS) && tables.past.has_all()
    }

    /// What else a person asks for and holds, as far as it bears on a request.
    #[must_use]
    pub fn peers(&self, requester: &Identity, extends: Option<(&str, &str)>) -> Read<Peers> {
        let Some(subject) = subject_of(requester) else { return Read::Found(Peers::default()) };
        let tables = self.tables();
        if !tables.has_all(&KINDS) {
            return Read::Failed(INCOMPLETE.to_owned());
        }
        let parts = parts_of(&subject, requester, extends);
        if !parts.iter().all(|part| tables.past.has(part)) {
            return Read::Failed(UNREAD.to_owned());
        }
        let requests = tables.requests.peers(&requester.username, extends);
        let since = clock::now() - chrono::TimeDelta::hours(25);
        let mut grants = tables.grants.of_person(&subject, since);
        // Whether what has extended another was given is told by its Grant, however old.
        let known: BTreeSet<&str> = grants.iter().map(|grant| &*grant.name).collect();
        let more: Vec<Arc<GrantSummary>> = requests
            .iter()
            .filter_map(|request| tables.grants.of_request(request))
            .filter(|grant| !known.contains(&*grant.name))
            .collect();
        drop(known);
        grants.extend(more);
        Read::Found(Peers { requests, grants })
    }

    /// What is still to be read of a person to know what else they ask for and hold. Nothing, while not even what is live is
    /// known.
    pub(crate) fn unread_of(
        &self,
        requester: &Identity,
        extends: Option<(&str, &str)>,
    ) -> Vec<Part> {
        let Some(subject) = subject_of(requester) else { return Vec::new() };
        let parts = parts_of(&subject, requester, extends).into_iter();
        parts.filter(|part| self.list_before(part).is_some()).collect()
    }

    /// The list of what is live after which a part is to be read; `None` if it has been, or if that list is not done.
    pub(crate) fn list_before(&self, part: &Part) -> Option<u64> {
        let tables = self.tables();
        let is_unread = tables.is_listed(part.kind()) && !tables.past.has(part);
        is_unread.then(|| tables.round(part.kind()))
    }

    /// A Grant of such a part. Nobody is told of it before it is among all that is over.
    pub(crate) fn apply_early_grant(&self, list: u64, stored: &Stored<Grant>) {
        self.0.newest.saw(Indexed::Grants, stored.meta(), false);
        let known = grants::decode(stored);
        let mut tables = self.write();
        if tables.says_something(Indexed::Grants, list) {
            tables.grants.apply_early(known, clock::now());
        }
    }

    /// A request of such a part.
    pub(crate) fn apply_early_request(&self, list: u64, stored: &Stored<AccessRequest>) {
        self.0.newest.saw(Indexed::Requests, stored.meta(), false);
        let decoded = requests::Decoded::of(stored, &self.0.keys.borrow());
        let mut tables = self.write();
        if tables.says_something(Indexed::Requests, list)
            && let Some(known) = tables.requests.apply_early(decoded)
        {
            tables.request_changed(&known, true);
        }
    }

    /// A part has been read.
    pub(crate) fn done_early(&self, part: Part, list: u64) {
        let mut tables = self.write();
        if !tables.says_something(part.kind(), list) {
            return;
        }
        match &part {
            Part::GrantsOf(who) => tables.grants.done_early(who),
            Part::RequestsOf { namespace, requester } => {
                tables.requests.done_early(namespace, requester);
            }
        }
        tables.past.parts.insert(part);
        drop(tables);
        self.told(());
    }

    /// The next kind of which what is over is to be read, and the list of what is live before it. The Grants come first:
    /// more depends on them.
    pub(crate) fn unread(&self) -> Option<(Indexed, u64)> {
        let tables = self.tables();
        let is_unread = |kind: &Indexed| tables.is_listed(*kind) && !tables.past.has_all_of(*kind);
        KINDS.into_iter().find(is_unread).map(|kind| (kind, tables.round(kind)))
    }

    /// Whether pages that are read after this list of what is live still say anything.
    pub(crate) fn is_last_list(&self, kind: Indexed, list: u64) -> bool {
        let tables = self.tables();
        tables.is_listed(kind) && tables.says_something(kind, list)
    }

    /// A Grant as its page shows it. `None` if there is nothing to tell.
    pub(crate) fn apply_over_grant(
        &self,
        list: u64,
        stored: &Stored<Grant>,
    ) -> Option<Change<KnownGrant>> {
        self.0.newest.saw(Indexed::Grants, stored.meta(), false);
        let known = grants::decode(stored);
        let mut tables = self.write();
        if !tables.says_something(Indexed::Grants, list) {
            return None;
        }
        let change = tables.grants.apply_over(known, clock::now())?;
        tables.grant_changed(&change);
        drop(tables);
        Some(self.told(change))
    }

    /// A request as its page shows it. `None` if there is nothing to tell.
    pub(crate) fn apply_over_request(
        &self,
        list: u64,
        stored: &Stored<AccessRequest>,
    ) -> Option<Change<KnownRequest>> {
        self.0.newest.saw(Indexed::Requests, stored.meta(), false);
        let decoded = requests::Decoded::of(stored, &self.0.keys.borrow());
        let mut tables = self.write();
        if !tables.says_something(Indexed::Requests, list) {
            return None;
        }
        let change = tables.requests.apply_over(decoded)?;
        if let Some(after) = &change.after {
            tables.request_changed(after, true);
        }
        drop(tables);
        Some(self.told(change))
    }

    /// All pages of a kind have been read. Returns what none of them named.
    pub(crate) fn done_over(&self, kind: Indexed, list: u64) -> Gone {
        let mut gone = Gone::default();
        let mut tables = self.write();
        if !tables.says_something(kind, list) {
            return gone;
        }
        match kind {
            Indexed::Requests => gone.requests = tables.requests.done_over(),
            Indexed::Grants => gone.grants = tables.grants.done_over(),
            Indexed::Policies | Indexed::Decisions => {}
        }
        tables.are_gone(&gone.requests, &gone.grants);
        tables.past.whole.insert(kind);
        if tables.past.has_all() {
            let Tables { requests, grants, .. } = &mut *tables;
            grants.compare(|uid| requests.knows(uid));
        }
        drop(tables);
        self.told(gone)
    }

    /// Whether the request of this UID is there, over or not. One that is over and has not been read yet is not known.
    #[must_use]
    pub fn has_request(&self, uid: &str) -> bool {
        self.tables().requests.knows(uid)
    }

    /// The requests that are over, the first that was first, at most so many by each policy, and how long each is
    /// kept.
    #[must_use]
    pub fn past_requests(&self, most: usize) -> Vec<PastRequest> {
        self.tables().requests.past(most)
    }

    /// The Grants that are over, whose request is gone, at most so many by each policy.
    #[must_use]
    pub fn past_grants(&self, most: usize) -> Vec<Arc<GrantSummary>> {
        self.tables().grants.orphans(most)
    }
}
