//! What a decision looks at beside single objects, as the watches show it: policies, what people ask for and hold,
//! what was said about requests.
//!
//! It is synchronous: an event is applied, and a look-up answers at once. It keeps what decisions need and nothing
//! else, so that its memory is bounded for each object: of what is over a few words, of people's annotations,
//! labels and messages nothing. No look-up scans what is not asked for: its cost follows from what one person has
//! open and holds, not from history, from other people or from the number of policies.

mod counts;
mod decisions;
mod grants;
mod meanwhile;
mod newest;
mod past;
mod policies;
mod requests;
mod shown;
mod tables;

use std::collections::BTreeSet;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use kube::api::ObjectMeta;
use lapse_crds::{AccessDecision, Identity, JitPolicy};
use lapse_engine::attest::{Attested, KeySet};
use lapse_engine::identity::subject_of;
use lapse_engine::policy::{Policies, PolicyState};
use lapse_engine::retention::Retentions;
use lapse_engine::session::{is_held_by, may_be_disguised};
use lapse_engine::summary::GrantSummary;
use lapse_engine::{Read, Settings};
use tokio::sync::watch;

pub use self::counts::Unreadable;
pub use self::decisions::About;
use self::grants::Grants;
pub use self::grants::KnownGrant;
use self::newest::Newest;
pub(crate) use self::newest::Seen;
pub(crate) use self::past::Part;
pub use self::policies::KnownPolicy;
use self::requests::Requests;
pub use self::requests::{KnownRequest, PastRequest};
pub(crate) use self::tables::Indexed;
use self::tables::{GoodFor, Tables};
use crate::Stored;

/// What was known of an object before something was applied, and after.
#[derive(Clone, Debug)]
pub struct Change<T> {
    /// Before; `None` if nothing was.
    pub before: Option<T>,
    /// After; `None` if it is gone.
    pub after: Option<T>,
}

/// The index. A copy is the same index.
#[derive(Clone)]
pub struct Index(Arc<Shared>);

struct Shared {
    settings: Settings,
    keys: watch::Receiver<KeySet>,
    tables: RwLock<Tables>,
    newest: Newest,
    news: watch::Sender<()>,
}

/// Why nothing is known of an object over which the program panicked. It stands nevertheless.
const PANICKED: &str =
    "the program panicked over it, which is a mistake in the program; the log says where";

/// Why nothing can be said from the index.
const INCOMPLETE: &str = "not all that there is has been seen yet";

impl Index {
    /// An empty index. `keeps_past`: whether it keeps a word about each request that is over, for whoever deletes
    /// those.
    #[must_use]
    pub fn new(settings: Settings, keys: watch::Receiver<KeySet>, keeps_past: bool) -> Self {
        let (requests, grants) = (Requests::new(keeps_past), Grants::new(keeps_past));
        let tables = Tables { requests, grants, ..Tables::default() };
        let (news, _) = watch::channel(());
        Self(Arc::new(Shared {
            settings,
            keys,
            tables: RwLock::new(tables),
            newest: Newest::default(),
            news,
        }))
    }

    fn tables(&self) -> RwLockReadGuard<'_, Tables> {
        // Each change leaves the tables whole, so what panicked elsewhere is no reason to stop.
        self.0.tables.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Tables> {
        self.0.tables.write().unwrap_or_else(PoisonError::into_inner)
    }

    fn told<T>(&self, change: T) -> T {
        self.0.news.send_replace(());
        change
    }

    /// The highest version of anything that was seen. Whatever is written from now on has a higher one, unless the store
    /// is another.
    #[must_use]
    pub fn newest(&self) -> u64 {
        self.0.newest.version()
    }

    /// What was seen last, to be confirmed: the same until it is, as far as nothing newer of it was seen. `None` if all that
    /// was seen is in doubt.
    pub(crate) fn to_confirm(&self) -> Option<Seen> {
        self.0.newest.to_confirm()
    }

    /// What was to be confirmed is so.
    pub(crate) fn confirmed(&self) {
        self.0.newest.confirmed();
    }

    /// Whether nothing follows from what was seen.
    pub(crate) fn is_in_doubt(&self) -> bool {
        self.tables().complete.is_empty()
    }

    /// Tells of each change from now on.
    #[must_use]
    pub fn news(&self) -> watch::Receiver<()> {
        self.0.news.subscribe()
    }

    /// Whether everything is known that is live.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.tables().complete.len() == Indexed::ALL.len()
    }

    /// Whether every Grant is known that is not over.
    #[must_use]
    pub fn knows_live_grants(&self) -> bool {
        self.tables().has_all(&[Indexed::Grants])
    }

    /// Waits until all requests and Grants are known that are not over.
    pub(crate) async fn knows_requests_and_grants(&self) {
        let mut news = self.news();
        let wanted = [Indexed::Requests, Indexed::Grants];
        // Its sender is in `self`, so the channel cannot close meanwhile.
        while !self.tables().has_all(&wanted) && news.changed().await.is_ok() {}
    }

    /// The settings of the installation.
    #[must_use]
    pub fn settings(&self) -> &Settings {
        &self.0.settings
    }

    /// All policies.
    #[must_use]
    pub fn policies(&self) -> Read<Policies> {
        self.complete(Indexed::Policies, |tables| tables.policies.compiled())
    }

    /// The policy of this name, as far as it is kept.
    #[must_use]
    pub fn policy(&self, name: &str) -> Option<Arc<KnownPolicy>> {
        self.tables().policies.get(name)
    }

    /// A policy as it was read, compiled: what is known of its generation is used again.
    #[must_use]
    pub fn compile(&self, stored: &Stored<JitPolicy>) -> PolicyState {
        let known = stored_name(stored).and_then(|name| self.policy(&name));
        match known.filter(|known| known.is_of(stored)) {
            Some(known) => known.state.clone(),
            None => KnownPolicy::of(stored, &self.0.settings).state,
        }
    }

    /// How long each policy keeps what is over.
    #[must_use]
    pub fn retentions(&self) -> Read<Retentions> {
        self.complete(Indexed::Policies, |tables| tables.policies.retentions())
    }

    /// The request of this UID, if it is not over.
    #[must_use]
    pub fn request(&self, uid: &str) -> Option<KnownRequest> {
        self.tables().requests.get(uid)
    }

    /// The request of this name, if it is not over.
    #[must_use]
    pub fn request_named(&self, namespace: &str, name: &str) -> Option<KnownRequest> {
        self.tables().requests.named(namespace, name)
    }

    /// What was said about a request, as far as it still bears on anything.
    #[must_use]
    pub fn decisions(&self, request_uid: &str) -> Read<Vec<Attested<AccessDecision>>> {
        let keys = self.0.keys.borrow();
        let known = self.complete(Indexed::Decisions, |tables| {
            let decisions = &tables.decisions;
            (decisions.not_known(request_uid), decisions.about(request_uid, &keys))
        });
        match known {
            Read::Found((None, decisions)) => Read::Found(decisions),
            Read::Found((Some(why), _)) | Read::Failed(why) => Read::Failed(why),
            Read::Missing => Read::Missing,
        }
    }

    /// What is known of what was said about a request, whether or not all is known. It is good for finding what ends a right,
    /// and for nothing else.
    #[must_use]
    pub fn decisions_known(&self, request_uid: &str) -> Vec<Attested<AccessDecision>> {
        self.tables().decisions.about(request_uid, &self.0.keys.borrow())
    }

    /// Whether a decision about a request is known.
    #[must_use]
    pub fn has_decision(&self, request_uid: &str, metadata: &ObjectMeta) -> bool {
        self.tables().decisions.has(request_uid, metadata)
    }

    /// The names of the Grants that are not over and are held on an Endpoint, as far as they are seen.
    #[must_use]
    pub fn live_on(&self, endpoint: &str) -> Vec<Arc<str>> {
        self.tables().grants.live_on(endpoint)
    }

    /// The names of the Grants that are over, and after whose end the host of an Endpoint is still to be compared with what
    /// it was before, as far as they are seen.
    #[must_use]
    pub fn comparing_on(&self, endpoint: &str) -> Vec<Arc<str>> {
        self.tables().grants.comparing_on(endpoint)
    }

    /// The live Grants by these policies. One that cannot be decoded is a failure: nobody knows who holds it.
    #[must_use]
    pub fn live_by(&self, policies: &BTreeSet<String>) -> Read<Vec<Arc<GrantSummary>>> {
        if policies.is_empty() {
            return Read::Found(Vec::new());
        }
        let found = self.complete(Indexed::Grants, |tables| tables.grants.live_by(policies));
        match found {
            Read::Found(found) => match found {
                Ok(grants) => Read::Found(grants),
                Err(why) => Read::Failed(why),
            },
            Read::Missing => Read::Missing,
            Read::Failed(why) => Read::Failed(why),
        }
    }

    /// The Grants of a caller that are not over, and, if the caller may be somebody in disguise, those of
    /// whoever that may be.
    #[must_use]
    pub fn held(&self, caller: &Identity) -> Read<Vec<Arc<GrantSummary>>> {
        self.complete(Indexed::Grants, |tables| {
            let grants = &tables.grants;
            let candidates = match subject_of(caller) {
                _ if may_be_disguised(caller) => grants.live(),
                Some(subject) => grants.live_of(&subject),
                None => Vec::new(),
            };
            candidates.into_iter().filter(|grant| is_held_by(grant, caller)).collect()
        })
    }

    /// What is known of the Grant of this name.
    #[must_use]
    pub fn grant(&self, name: &str) -> Option<KnownGrant> {
        self.tables().grants.get(name)
    }

    /// The Grants of emergencies of the requests that have, or had, this name.
    #[must_use]
    pub fn emergencies_of(&self, namespace: &str, name: &str) -> Read<Vec<Arc<GrantSummary>>> {
        self.complete(Indexed::Grants, |tables| tables.grants.emergencies_of(namespace, name))
    }

    /// Every Grant that is not over.
    #[must_use]
    pub fn live_grants(&self) -> Vec<Arc<GrantSummary>> {
        self.tables().grants.live()
    }

    /// The names of all Grants to which something may still happen, the undecodable among them.
    #[must_use]
    pub fn open_grants(&self) -> Vec<String> {
        self.tables().grants.open()
    }

    /// The requests to which something may still happen.
    #[must_use]
    pub fn open_requests(&self) -> Vec<KnownRequest> {
        self.tables().requests.open()
    }

    /// The requests that have no right yet, and may get one. There may be many that have theirs, of which nothing is copied.
    #[must_use]
    pub fn waiting_requests(&self) -> Vec<KnownRequest> {
        self.tables().requests.waiting()
    }

    /// Those of them that extend the right of the request of this name.
    #[must_use]
    pub fn extending(&self, namespace: &str, name: &str) -> Vec<KnownRequest> {
        self.tables().requests.extending(namespace, name)
    }

    /// The names of all policies.
    #[must_use]
    pub fn policy_names(&self) -> Vec<String> {
        self.tables().policies.names()
    }

    /// The policies that name a role in one of these places.
    #[must_use]
    pub fn policies_naming(
        &self,
        role: &lapse_crds::RoleRef,
        namespace: Option<&str>,
    ) -> Vec<String> {
        self.tables().policies.naming(role, namespace)
    }

    /// Whether a Deny policy names a role, wherever it looks for it.
    #[must_use]
    pub fn is_banned(&self, role: &lapse_crds::RoleRef) -> bool {
        self.tables().policies.is_banned(role)
    }

    /// Whether a service account may hold a right: one does, or that is not known.
    #[must_use]
    pub fn may_account_hold(&self) -> bool {
        let tables = self.tables();
        !tables.has_all(&[Indexed::Grants]) || tables.grants.may_account_hold()
    }

    /// How many rights by the policy of this UID are held.
    #[must_use]
    pub fn count_active(&self, policy: &str, policy_uid: &str) -> usize {
        self.tables().grants.count_active(policy, policy_uid)
    }

    fn complete<T>(&self, kind: Indexed, look: impl FnOnce(&Tables) -> T) -> Read<T> {
        let tables = self.tables();
        if tables.complete.contains(&kind) {
            Read::Found(look(&tables))
        } else {
            Read::Failed(INCOMPLETE.to_owned())
        }
    }
}

/// The version of an object; 0 if it has none that can be compared.
#[must_use]
pub fn version(metadata: &ObjectMeta) -> u64 {
    metadata.resource_version.as_ref().and_then(|version| version.parse().ok()).unwrap_or(0)
}

fn is_newer(version: u64, than: u64) -> bool {
    version == 0 || version > than
}

fn stored_name<K: kube::Resource<DynamicType = ()>>(stored: &Stored<K>) -> Option<String> {
    kube::Resource::meta(stored).name.clone()
}

#[cfg(test)]
mod tests;
#[cfg(test)]
pub(crate) use tests::{all_is_listed, settings as testing_settings};
