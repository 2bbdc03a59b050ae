//! What the watches show, what was read or written beside them, and what is in doubt.

use std::sync::Arc;

use kube::{Resource as _, ResourceExt as _};
use lapse_crds::{AccessDecision, AccessRequest, Grant, JitPolicy};
use lapse_engine::attest::Attested;

use super::decisions::{self, About, Decisions};
use super::grants::{self, KnownGrant};
use super::past::PastRead;
use super::policies::{KnownPolicy, PolicyTable};
use super::requests::{self, KnownRequest, PastRequest};
use super::tables::Indexed;
use super::{Change, Index};
use crate::process::caught;
use crate::{Stored, clock};

/// What is gone, as a list does not name it; or over, if that was a list of what is live.
#[derive(Debug, Default)]
pub(crate) struct Gone {
    pub(crate) policies: Vec<Change<Arc<KnownPolicy>>>,
    /// Those that were kept whole.
    pub(crate) requests: Vec<Change<KnownRequest>>,
    pub(crate) grants: Vec<Change<KnownGrant>>,
}

impl Index {
    /// A policy that stands.
    pub(crate) fn apply_policy(&self, stored: &Stored<JitPolicy>) -> Change<Arc<KnownPolicy>> {
        self.0.newest.saw(Indexed::Policies, stored.meta(), false);
        let known = Arc::new(KnownPolicy::of(stored, &self.0.settings));
        let change = self.write().policies.apply(known);
        self.told(change)
    }

    /// A policy as it was read for a sweep, `None` if it is gone. What was known of it before the read must be so still: what
    /// the watch has shown since is newer. `None` if it has shown anything, or all of this.
    #[must_use]
    pub fn catch_up_policy(
        &self,
        name: &str,
        known: Option<&Arc<KnownPolicy>>,
        stored: Option<&Stored<JitPolicy>>,
    ) -> Option<Change<Arc<KnownPolicy>>> {
        let stands = stored.map(|stored| Arc::new(KnownPolicy::of(stored, &self.0.settings)));
        let mut tables = self.write();
        let is_as_known = match (tables.policies.get(name), known) {
            (Some(now), Some(known)) => Arc::ptr_eq(&now, known),
            (None, None) => stands.is_some(),
            _ => false,
        };
        if !is_as_known || known.zip(stands.as_ref()).is_some_and(|(k, s)| k.says_the_same(s)) {
            return None;
        }
        let change = match stands {
            Some(stands) => tables.policies.apply(stands),
            None => tables.policies.delete(name),
        };
        drop(tables);
        Some(self.told(change))
    }

    /// A policy that is gone.
    pub(crate) fn delete_policy(&self, stored: &Stored<JitPolicy>) -> Change<Arc<KnownPolicy>> {
        self.0.newest.saw(Indexed::Policies, stored.meta(), true);
        let change = self.write().policies.delete(&stored.name_any());
        self.told(change)
    }

    /// A request that stands: `None` if a newer state of it is known.
    pub(crate) fn apply_request(
        &self,
        stored: &Stored<AccessRequest>,
    ) -> Option<Change<KnownRequest>> {
        self.0.newest.saw(Indexed::Requests, stored.meta(), false);
        self.put_request(requests::Decoded::of(stored, &self.0.keys.borrow()))
    }

    /// A request that this process has written: what it decides next goes by that.
    #[must_use]
    pub fn wrote_request(&self, request: Attested<AccessRequest>) -> Option<Change<KnownRequest>> {
        self.0.newest.saw(Indexed::Requests, &request.object.metadata, false);
        self.put_request(requests::Decoded::of_object(request, true))
    }

    fn put_request(&self, known: requests::Decoded) -> Option<Change<KnownRequest>> {
        let mut tables = self.write();
        let change = tables.requests.apply(known)?;
        if let Some(after) = &change.after {
            tables.request_changed(after, true);
        }
        drop(tables);
        Some(self.told(change))
    }

    /// A request that is gone.
    pub(crate) fn delete_request(&self, stored: &Stored<AccessRequest>) -> Change<KnownRequest> {
        self.0.newest.saw(Indexed::Requests, stored.meta(), true);
        let mut tables = self.write();
        let change = tables.requests.delete(stored);
        if let Some(before) = &change.before {
            tables.request_changed(before, false);
        }
        drop(tables);
        self.told(change)
    }

    /// A request that a live read does not find.
    pub fn request_gone(&self, uid: &str) {
        let mut tables = self.write();
        if let Some(before) = tables.requests.gone(uid) {
            tables.request_changed(&before, false);
        }
        drop(tables);
        self.told(());
    }

    /// A request that is over, of which a live read finds nothing.
    pub fn past_request_gone(&self, past: &PastRequest) {
        self.write().requests.past_gone(past);
    }

    /// A Grant that stands: `None` if a newer state of it is known.
    #[expect(clippy::must_use_candidate, reason = "whoever feeds an index need not listen")]
    pub fn apply_grant(&self, stored: &Stored<Grant>) -> Option<Change<KnownGrant>> {
        self.0.newest.saw(Indexed::Grants, stored.meta(), false);
        self.put_grant(grants::decode(stored))
    }

    /// A Grant that this process has written: what it decides next goes by that.
    #[must_use]
    pub fn wrote_grant(&self, grant: &Grant) -> Option<Change<KnownGrant>> {
        self.0.newest.saw(Indexed::Grants, &grant.metadata, false);
        self.put_grant(KnownGrant::of(grant))
    }

    fn put_grant(&self, known: KnownGrant) -> Option<Change<KnownGrant>> {
        let mut tables = self.write();
        let change = tables.grants.apply(known, clock::now())?;
        tables.grant_changed(&change);
        drop(tables);
        Some(self.told(change))
    }

    /// A Grant that is gone, as the watch shows it.
    pub(crate) fn delete_grant(&self, stored: &Stored<Grant>) -> Change<KnownGrant> {
        self.0.newest.saw(Indexed::Grants, stored.meta(), true);
        self.grant_gone(&stored.name_any())
    }

    /// A Grant that a live read does not find.
    #[must_use]
    pub fn grant_gone(&self, name: &str) -> Change<KnownGrant> {
        let mut tables = self.write();
        let change = tables.grants.delete(name);
        tables.grant_changed(&change);
        drop(tables);
        self.told(change)
    }

    /// A decision that stands.
    #[expect(clippy::must_use_candidate, reason = "whoever feeds an index need not listen")]
    pub fn apply_decision(&self, stored: &Stored<AccessDecision>) -> Option<About> {
        self.0.newest.saw(Indexed::Decisions, stored.meta(), false);
        let mut keys = self.0.keys.clone();
        let decoded = {
            let keys = keys.borrow_and_update();
            caught("AccessDecision", || decisions::Decoded::of(stored, &keys))
        };
        let Some(decoded) = decoded else {
            return self.told(self.write().decisions.panicked(stored));
        };
        let decoded = decoded?;
        let about = decoded.about.clone();
        let mut tables = self.write();
        let good_for = tables.good_for(&about);
        let waits = !tables.has_all(&[Indexed::Requests, Indexed::Grants]);
        tables.decisions.apply(decoded, good_for, clock::now(), waits);
        drop(tables);
        // What was verified with keys that have changed meanwhile was not among what was verified again.
        if keys.has_changed().unwrap_or_default() {
            self.verify_again();
        }
        Some(self.told(about))
    }

    /// A decision that is gone.
    pub(crate) fn delete_decision(&self, stored: &Stored<AccessDecision>) -> Option<About> {
        self.0.newest.saw(Indexed::Decisions, stored.meta(), true);
        let about = self.write().decisions.delete(stored);
        self.told(about)
    }

    /// A list of everything of a kind begins, of requests and Grants of what is live: what it does not name is gone when it
    /// is done. What happened meanwhile to what is over is not known.
    pub(crate) fn begin(&self, kind: Indexed) {
        let mut tables = self.write();
        tables.past.begin(kind);
        match kind {
            Indexed::Policies => tables.policies.begin(),
            Indexed::Requests => tables.requests.begin(),
            Indexed::Grants => tables.grants.begin(),
            Indexed::Decisions => tables.decisions.begin(),
        }
    }

    /// The list is done. Returns what it did not name: a request or a Grant may be over.
    pub(crate) fn done(&self, kind: Indexed) -> Gone {
        let mut tables = self.write();
        let mut gone = Gone::default();
        match kind {
            Indexed::Policies => gone.policies = tables.policies.done(),
            Indexed::Requests => gone.requests = tables.requests.done(),
            Indexed::Grants => gone.grants = tables.grants.done(),
            Indexed::Decisions => tables.decisions.done(),
        }
        tables.are_gone(&gone.requests, &gone.grants);
        tables.complete.insert(kind);
        tables.past.listed(kind);
        drop(tables);
        self.told(gone)
    }

    /// What is known of a kind may be out of date, and for how long nobody knows: nothing follows from it until all is
    /// listed again.
    pub(crate) fn lost(&self, kind: Indexed) {
        self.write().complete.remove(&kind);
    }

    /// What is known of all kinds may never have been: the revision of the cluster ran backwards. Each kind is
    /// forgotten when its watch has ended.
    pub fn doubt(&self) {
        let mut tables = self.write();
        tables.complete.clear();
        tables.past = PastRead::default();
        drop(tables);
        self.0.newest.forget();
        self.told(());
    }

    /// Forgets what is known of a kind, its versions above all: those that come may be lower.
    pub(crate) fn forget(&self, kind: Indexed) {
        let mut tables = self.write();
        tables.complete.remove(&kind);
        tables.past.begin(kind);
        match kind {
            Indexed::Policies => tables.policies = PolicyTable::default(),
            Indexed::Requests => tables.requests = tables.requests.emptied(),
            Indexed::Grants => tables.grants = tables.grants.emptied(),
            Indexed::Decisions => tables.decisions = Decisions::default(),
        }
        drop(tables);
        self.told(());
    }

    /// The keys have changed: what could not be verified may be now.
    pub fn verify_again(&self) {
        let keys = self.0.keys.borrow().clone();
        let mut tables = self.write();
        tables.requests.verify_again(&keys);
        tables.decisions.verify_again(&keys);
        drop(tables);
        self.told(());
    }
}
