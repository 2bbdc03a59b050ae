//! Watches what bears on requests, grants and policies, and queues whatever an event touches.
//!
//! What to do is decided from live reads; the caches here only say which objects there are. A watch
//! that starts anew queues everything that it bears on, because it cannot tell what it missed.

mod duties;
mod follow;
mod named;
mod policies;
mod touched;

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::Arc;

use futures::Stream;
use k8s_openapi::api::rbac::v1::{ClusterRole, ClusterRoleBinding, Role, RoleBinding};
use kube::api::ObjectMeta;
use kube::core::DeserializeGuard;
use kube::runtime::WatchStreamExt as _;
use kube::runtime::reflector::{self, ObjectRef, Store};
use kube::runtime::watcher::{self, Event};
use kube::{Api, Client, Resource, ResourceExt as _};
use lapse_cluster::Reader;
use lapse_crds::{
    AccessDecision, AccessRequest, GRANT_LABEL, GRANT_UID, Grant, JitPolicy, MANAGED_BY,
    MANAGED_BY_LAPSE, RbacKind, RoleKind, SubjectKind,
};
use lapse_engine::grant::{grant_name, has_ended};
use serde::de::DeserializeOwned;

pub(crate) use self::follow::FirstLists;
use self::follow::{FIRST_LIST, Follow};
use self::named::Change;
use crate::queue::{Sender, reference};
use crate::revision::Restarts;
use crate::revoke::{Deadlines, ObjectMarks, Orphans};

/// An object, or what is wrong with it: one that cannot be decoded stops no watch.
pub(crate) type Guarded<K> = DeserializeGuard<K>;

/// Which objects there are.
#[derive(Clone)]
pub(crate) struct Caches {
    pub(crate) requests: Store<Guarded<AccessRequest>>,
    pub(crate) grants: Store<Guarded<Grant>>,
    pub(crate) policies: Store<Guarded<JitPolicy>>,
}

/// Where to queue what an event touches.
#[derive(Clone)]
pub(crate) struct Queues {
    pub(crate) requests: Sender<Guarded<AccessRequest>>,
    pub(crate) grants: Sender<Guarded<Grant>>,
    pub(crate) policies: Sender<Guarded<JitPolicy>>,
}

/// The ends of the reflectors that the watches write to.
pub(crate) struct Writers {
    requests: reflector::store::Writer<Guarded<AccessRequest>>,
    grants: reflector::store::Writer<Guarded<Grant>>,
    policies: reflector::store::Writer<Guarded<JitPolicy>>,
}

pub(crate) fn caches() -> (Caches, Writers) {
    let (requests, requests_writer) = reflector::store();
    let (grants, grants_writer) = reflector::store();
    let (policies, policies_writer) = reflector::store();
    let writers =
        Writers { requests: requests_writer, grants: grants_writer, policies: policies_writer };
    (Caches { requests, grants, policies }, writers)
}

impl Queues {
    fn send<K: Resource<DynamicType = ()>>(sender: &Sender<K>, object: ObjectRef<K>) {
        // A closed queue means that the process is stopping.
        let _ = sender.unbounded_send(object);
    }

    pub(crate) fn grant(&self, name: &str) {
        Self::send(&self.grants, ObjectRef::new(name));
    }

    fn request(&self, namespace: &str, name: &str) {
        Self::send(&self.requests, ObjectRef::new(name).within(namespace));
    }

    fn policy(&self, name: &str) {
        Self::send(&self.policies, ObjectRef::new(name));
    }

    /// Everything.
    pub(crate) fn everything(&self, caches: &Caches) {
        for request in caches.requests.state() {
            Self::send(&self.requests, reference(&*request));
        }
        for grant in caches.grants.state() {
            Self::send(&self.grants, reference(&*grant));
        }
        for policy in caches.policies.state() {
            Self::send(&self.policies, reference(&*policy));
        }
    }
}

/// Watches everything until it is dropped.
pub(crate) struct Watches {
    pub(crate) client: Client,
    pub(crate) reader: Reader,
    pub(crate) caches: Caches,
    pub(crate) queues: Queues,
    pub(crate) deadlines: Deadlines,
    pub(crate) orphans: Orphans,
    pub(crate) restarts: Restarts,
    pub(crate) first_lists: FirstLists,
}

/// How many watches [`Watches::run`] runs.
pub(crate) const WATCHES: usize = 10;

/// A dead watch is noticed after its timeout; `kube` sets none of its own that would do.
fn config() -> watcher::Config {
    watcher::Config::default().timeout(50)
}

fn guarded<K>(
    client: &Client,
) -> impl Stream<Item = watcher::Result<Event<Guarded<K>>>> + Send + 'static
where
    K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + Sync + 'static,
{
    let api: Api<Guarded<K>> = Api::all(client.clone());
    kube::runtime::watcher(api, config())
        // Who manages which field is of no use here and takes most of the memory.
        .modify(|object| object.managed_fields_mut().clear())
        .default_backoff()
}

/// The object that an event shows, if it is about one.
fn shown<K>(event: &Event<K>) -> Option<&K> {
    match event {
        Event::Apply(object) | Event::InitApply(object) | Event::Delete(object) => Some(object),
        Event::Init | Event::InitDone => None,
    }
}

/// The object of an event that is about one.
fn object<K>(event: Event<K>) -> Option<K> {
    match event {
        Event::Apply(object) | Event::InitApply(object) | Event::Delete(object) => Some(object),
        Event::Init | Event::InitDone => None,
    }
}

impl Watches {
    fn follow<S>(&self, what: &'static str, events: S) -> Follow<S> {
        let (restarts, first_lists) = (self.restarts.clone(), self.first_lists.clone());
        Follow { what, events, restarts, patience: FIRST_LIST, first_lists }
    }

    pub(crate) async fn run(self, writers: Writers) {
        let watches = Arc::new(self);
        tokio::join!(
            watches.requests(writers.requests),
            watches.grants(writers.grants),
            watches.policies(writers.policies),
            watches.decisions(),
            watches.bindings::<RoleBinding>("RoleBindings", RbacKind::RoleBinding),
            watches.bindings::<ClusterRoleBinding>(
                "ClusterRoleBindings",
                RbacKind::ClusterRoleBinding
            ),
            watches.namespaces(),
            watches.roles::<Role>("Roles", RoleKind::Role),
            watches.roles::<ClusterRole>("ClusterRoles", RoleKind::ClusterRole),
            watches.accounts(),
        );
    }

    async fn requests(&self, mut writer: reflector::store::Writer<Guarded<AccessRequest>>) {
        self.follow("AccessRequests", || guarded::<AccessRequest>(&self.client))
            .run(|event| {
                writer.apply_watcher_event(&event);
                let is_restart = matches!(event, Event::InitDone);
                if let Some(request) = object(event) {
                    self.reader.saw_request(request.meta());
                    let namespace = request.namespace().unwrap_or_default();
                    let uid = request.uid().unwrap_or_default();
                    self.queues.grant(&grant_name(&namespace, &request.name_any(), &uid));
                    Queues::send(&self.queues.requests, reference(&request));
                } else if is_restart {
                    self.queues.everything(&self.caches);
                }
            })
            .await;
    }

    async fn grants(&self, mut writer: reflector::store::Writer<Guarded<Grant>>) {
        self.follow("Grants", || guarded::<Grant>(&self.client))
            .run(|event| {
                writer.apply_watcher_event(&event);
                if let Some(grant) = shown(&event) {
                    self.reader.saw_grant(grant.meta());
                    if holds_as_account(grant) {
                        self.reader.forget_accounts();
                    }
                }
                self.grant_event(event);
            })
            .await;
    }

    fn grant_event(&self, event: Event<Guarded<Grant>>) {
        match event {
            Event::InitDone => self.queues.everything(&self.caches),
            Event::Init => {}
            Event::Delete(grant) => {
                self.deadlines.forget(&grant.name_any());
                self.grant_touches(&grant);
                self.grant_engages(&grant);
            }
            Event::Apply(grant) | Event::InitApply(grant) => {
                if let DeserializeGuard(Ok(decoded)) = &grant {
                    self.set_deadline(decoded);
                    // It was just written, or is over.
                    if decoded.status.is_none() || has_ended(decoded) {
                        self.grant_engages(&grant);
                    }
                }
                Queues::send(&self.queues.grants, reference(&grant));
                self.grant_touches(&grant);
            }
        }
    }

    fn set_deadline(&self, grant: &Grant) {
        if has_ended(grant) {
            self.deadlines.forget(&grant.name_any());
        } else {
            self.deadlines.set(&grant.name_any(), grant.spec.expires_at.time());
        }
    }

    fn grant_touches(&self, grant: &Guarded<Grant>) {
        // One that was just written has nothing to tell yet.
        if let DeserializeGuard(Ok(grant)) = grant
            && (grant.status.is_some() || grant.metadata.deletion_timestamp.is_some())
        {
            let of = &grant.spec.request;
            self.queues.request(&of.namespace, &of.name);
            self.queues.policy(&grant.spec.policy.name);
            if has_ended(grant) {
                self.extensions_of(&of.namespace, &of.name);
            }
        }
    }

    async fn decisions(&self) {
        self.follow("AccessDecisions", || guarded::<AccessDecision>(&self.client))
            .run(|event| {
                let is_restart = matches!(event, Event::InitDone);
                if let Some(DeserializeGuard(Ok(decision))) = object(event) {
                    self.reader.saw_decision(&decision.metadata);
                    let namespace = decision.namespace().unwrap_or_default();
                    let about = &decision.spec.request;
                    self.queues.request(&namespace, &about.name);
                    if let Some(uid) = &about.uid {
                        self.queues.grant(&grant_name(&namespace, &about.name, uid));
                    }
                } else if is_restart {
                    self.queues.everything(&self.caches);
                }
            })
            .await;
    }

    /// All bindings, for what service accounts hold by those of others.
    async fn bindings<K>(&self, what: &'static str, kind: RbacKind)
    where
        K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + Sync + 'static,
    {
        self.metadata::<K>(what, |binding, change| {
            self.rights_changed(kind, &binding.metadata, change);
        })
        .await;
    }

    /// An object of RBAC came, changed or went.
    fn rights_changed(&self, kind: RbacKind, object: &ObjectMeta, change: Change) {
        if !is_ours(object) || self.is_for_account(object) {
            self.reader.forget_accounts();
        }
        match change {
            _ if !is_ours(object) => {}
            Change::Gone => self.object_gone(object),
            Change::Stands => self.object_stands(kind, object),
        }
    }

    /// Whether an object of Lapse's is for a service account, by its Grant. One whose Grant has not been seen
    /// counts when that is.
    fn is_for_account(&self, object: &ObjectMeta) -> bool {
        let grant = grant_of(object).and_then(|name| self.caches.grants.get(&ObjectRef::new(name)));
        grant.is_some_and(|grant| holds_as_account(&grant))
    }

    /// The grant of an object that is gone looks at it.
    fn object_gone(&self, object: &ObjectMeta) {
        if let Some(grant) = grant_of(object) {
            self.queues.grant(grant);
        }
    }

    /// An object with a live grant is the grant's affair; one without has none to live for.
    fn object_stands(&self, kind: RbacKind, object: &ObjectMeta) {
        let known = grant_of(object).filter(|name| {
            let grant = self.caches.grants.get(&ObjectRef::new(name));
            let uid = object.annotations.as_ref().and_then(|all| all.get(GRANT_UID));
            grant.is_some_and(|grant| {
                uid.is_some() && grant.uid().as_ref() == uid && is_live(&grant)
            })
        });
        match known {
            Some(name) => self.queues.grant(name),
            None => self.orphans.suspect(ObjectMarks::of(kind, object)),
        }
    }
}

/// Whether a service account holds the right; of what cannot be decoded that is not known.
fn holds_as_account(grant: &Guarded<Grant>) -> bool {
    match grant {
        DeserializeGuard(Ok(grant)) => grant.spec.subject.kind == SubjectKind::ServiceAccount,
        DeserializeGuard(Err(_)) => true,
    }
}

fn is_live(grant: &Guarded<Grant>) -> bool {
    match grant {
        DeserializeGuard(Ok(grant)) => !has_ended(grant),
        // What cannot be decoded is not known to have ended; the sweep goes by its bindings.
        DeserializeGuard(Err(_)) => true,
    }
}

fn is_ours(object: &ObjectMeta) -> bool {
    let label = object.labels.as_ref().and_then(|all| all.get(MANAGED_BY));
    label.is_some_and(|value| value == MANAGED_BY_LAPSE)
}

fn grant_of(object: &ObjectMeta) -> Option<&str> {
    let labels: Option<&BTreeMap<String, String>> = object.labels.as_ref();
    labels?.get(GRANT_LABEL).map(String::as_str)
}
