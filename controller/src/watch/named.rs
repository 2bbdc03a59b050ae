//! What targets name, and who holds what: namespaces, roles, bindings and service accounts. Their metadata
//! alone is watched; what they say is read live.

use std::fmt::Debug;

use k8s_openapi::api::core::v1::{Namespace, ServiceAccount};
use kube::api::PartialObjectMeta;
use kube::core::PartialObjectMetaExt;
use kube::runtime::watcher::Event;
use kube::{Api, Resource, ResourceExt as _};
use lapse_cluster::process::caught;
use lapse_cluster::watch;
use lapse_crds::{Endpoint, RbacKind, RoleKind, RoleRef};
use lapse_engine::target::Privilege;
use serde::de::DeserializeOwned;
use tracing::error;

use super::seen::Seen;
use super::{Watches, is_ours};

/// How many objects that changed while nobody saw it are looked at by their names; more of them bear on any right.
const MOST_BY_NAME: usize = 100;

/// What an event shows of an object.
#[derive(Clone, Copy)]
pub(super) enum Change {
    Stands,
    Gone,
}

/// Where a list of all objects stands.
#[derive(Clone, Copy)]
pub(super) enum List {
    Begins,
    Ends,
}

/// The kind of the roles that Lapse makes.
fn own(kind: RoleKind) -> RbacKind {
    match kind {
        RoleKind::Role => RbacKind::Role,
        RoleKind::ClusterRole => RbacKind::ClusterRole,
    }
}

impl Watches {
    /// The labels of a namespace say which policies offer it.
    pub(super) async fn namespaces(&self) {
        self.by_name::<Namespace>("Namespaces", |namespace, _| {
            let name = namespace.name_any();
            self.touched.targets_that(|target| target.namespaces().any(|within| within == name));
        })
        .await;
    }

    /// An approval holds for what a role allowed, and a policy is ready when its roles exist. The roles that
    /// Lapse made are among them.
    pub(super) async fn roles<K>(&self, what: &'static str, kind: RoleKind)
    where
        K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + Sync + 'static,
    {
        self.by_name::<K>(what, |role, change| {
            self.rights_changed(own(kind), &role.metadata, change);
            let (name, namespace) = (role.name_any(), role.namespace());
            let role = RoleRef { kind, name };
            let naming = self.touched.index.policies_naming(&role, namespace.as_deref());
            for policy in &naming {
                self.touched.policy(policy);
            }
            let is_banned = self.touched.index.is_banned(&role);
            self.touched.targets_that(|target| {
                let is_there = |place: &str| target.namespaces().any(|within| within == place);
                let is_touched = match &target.privilege {
                    Privilege::Role(given) => *given == role,
                    // A ban on a role is one on its rules, whoever spells them out.
                    Privilege::Rules(_) => is_banned,
                    Privilege::Elevation(_) => false,
                };
                is_touched && namespace.as_deref().is_none_or(is_there)
            });
        })
        .await;
    }

    /// What an agent says of the rights on its host, and whether its Endpoint goes. Requests that wait are looked at when
    /// they are approved, and when their time comes: a thousand agents that connect touch none of them.
    pub(super) async fn endpoints(&self) {
        self.metadata::<Endpoint>("Endpoints", |endpoint, change| {
            self.touched.endpoint(&endpoint.metadata, matches!(change, Change::Stands));
        })
        .await;
    }

    /// Who can run workloads beside a service account can act as it does.
    pub(super) async fn accounts(&self) {
        self.metadata::<ServiceAccount>("ServiceAccounts", |_, _| self.reader.forget_accounts())
            .await;
    }

    /// Watches objects by their metadata, of which few change, and one that does may end a right: what changed while the watch
    /// was down does so no later for that.
    async fn by_name<K>(&self, what: &'static str, touches: impl Fn(&PartialObjectMeta<K>, Change))
    where
        K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + Sync + 'static,
    {
        self.metadata_and_lists(what, Some(Seen::default()), touches, |_| {}).await;
    }

    /// Watches objects by their metadata.
    async fn metadata<K>(&self, what: &'static str, touches: impl Fn(&PartialObjectMeta<K>, Change))
    where
        K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + Sync + 'static,
    {
        self.metadata_and_lists(what, None, touches, |_| {}).await;
    }

    /// The same, and says when all of them are listed anew. `seen`: where what was shown is kept, if it is.
    pub(super) async fn metadata_and_lists<K>(
        &self,
        what: &'static str,
        mut seen: Option<Seen>,
        touches: impl Fn(&PartialObjectMeta<K>, Change),
        lists: impl Fn(List),
    ) where
        K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + Sync + 'static,
    {
        // One over which that panics stops no list. What it touches is among everything.
        let touches = |object: &PartialObjectMeta<K>, change| {
            if caught("watch", || touches(object, change)).is_none() {
                error!(what, name = object.name_any(), "an object made a watch panic");
                self.reader.forget_accounts();
                caught("watch", || self.touched.everything());
            }
        };
        let events = || {
            let api: Api<PartialObjectMeta<K>> = Api::all(self.client.clone());
            watch::events(api, watch::config())
        };
        let mut news = Vec::new();
        self.follow(what, events)
            .run(
                |event| match event {
                    Event::Apply(object) => {
                        if let Some(seen) = &mut seen {
                            seen.stands(&object.metadata);
                        }
                        touches(&object, Change::Stands);
                    }
                    Event::Delete(object) => {
                        if let Some(seen) = &mut seen {
                            seen.gone(&object.metadata);
                        }
                        touches(&object, Change::Gone);
                    }
                    Event::Init => {
                        news.clear();
                        if let Some(seen) = &mut seen {
                            seen.begins();
                        }
                        lists(List::Begins);
                    }
                    Event::InitApply(object) => {
                        let metadata = &object.metadata;
                        let is_news = seen.as_mut().is_some_and(|seen| seen.lists(metadata));
                        // One of Lapse's may have come while nobody looked.
                        if is_ours(metadata) {
                            touches(&object, Change::Stands);
                        } else if is_news {
                            news.push((object, Change::Stands));
                        }
                    }
                    Event::InitDone => {
                        lists(List::Ends);
                        self.reader.forget_accounts();
                        let gone = seen.as_mut().map(Seen::ends).unwrap_or_default().into_iter();
                        let gone = gone.map(PartialObjectMetaExt::into_response_partial::<K>);
                        news.extend(gone.map(|object| (object, Change::Gone)));
                        let changed = std::mem::take(&mut news);
                        if changed.len() <= MOST_BY_NAME {
                            for (object, change) in &changed {
                                touches(object, *change);
                            }
                        } else {
                            self.touched.grants_that(|_| true);
                        }
                        // Of what else was missed it cannot tell.
                        self.touched.everything();
                    }
                },
                |_| {},
            )
            .await;
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::sync::{Arc, Mutex};
    use std::time::Duration;

    use k8s_openapi::api::rbac::v1::ClusterRole;
    use lapse_cluster::Reader;
    use lapse_cluster::watch::{FirstLists, Revision};
    use lapse_engine::attest::KeySet;
    use serde_json::{Value, json};
    use tokio::sync::watch;

    use super::*;
    use crate::fake::{api_server, held, touched};
    use crate::queue::{Item, Lane};
    use crate::revoke::Orphans;

    /// An API server whose first watch finds that what it would tell is not kept any more. Then these stand.
    fn watches(then: Vec<Value>) -> Watches {
        let watched = Arc::new(Mutex::new(HashSet::new()));
        let client = api_server(move |request| {
            let (watched, then) = (watched.clone(), then.clone());
            async move {
                let path = request.uri().path().to_owned();
                let is_watch = request.uri().query().unwrap_or_default().contains("watch=");
                let is_first = is_watch && watched.lock().unwrap().insert(path.clone());
                if is_watch && !is_first {
                    std::future::pending::<()>().await;
                }
                let expired = json!({"type": "ERROR", "object": {
                    "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
                    "message": "too old resource version", "reason": "Expired", "code": 410,
                }});
                let is_after = watched.lock().unwrap().contains(&path);
                let before = ["edit", "view"].map(|name| role(name, "1")).to_vec();
                let items = if is_after { then } else { before };
                let list = json!({
                    "kind": "PartialObjectMetadataList", "apiVersion": "meta.k8s.io/v1",
                    "metadata": {"resourceVersion": "7"}, "items": items,
                });
                (200, if is_first { expired } else { list })
            }
        });
        let (touched, (_, keys)) = (touched(), watch::channel(KeySet::default()));
        drop(touched.index.wrote_grant(&held("fix", "2999-01-01T00:00:00Z")));
        Watches {
            client: client.clone(),
            reader: Reader::new(client, touched.index.clone(), keys),
            touched,
            orphans: Orphans::new().0,
            restarts: Revision::new(|| ()).1,
            first_lists: FirstLists::new(1),
        }
    }

    fn role(name: &str, version: &str) -> Value {
        json!({"metadata": {"name": name, "resourceVersion": version}})
    }

    /// In which lane the right to edit is looked at, once all was listed again.
    async fn looked_at(then: Vec<Value>) -> Option<Lane> {
        let watches = watches(then);
        let running = watches.roles::<ClusterRole>("ClusterRoles", RoleKind::ClusterRole);
        let _ = tokio::time::timeout(Duration::from_secs(10), running).await;
        let waiting = watches.touched.queue.waiting();
        let fix = Item::Grant("fix".to_owned());
        waiting.into_iter().find_map(|(item, lane)| (item == fix).then_some(lane))
    }

    /// The role may have gained rules, and thousands of rights are looked at for having been listed.
    #[tokio::test(start_paused = true)]
    async fn what_changed_while_a_watch_was_down_waits_behind_nothing_that_did_not() {
        let others = || vec![role("edit", "1"), role("view", "8")];
        assert_eq!(looked_at(others()).await, Some(Lane::Follow), "nothing of it changed");
        let changed = vec![role("edit", "9"), role("view", "1")];
        assert_eq!(looked_at(changed).await, Some(Lane::Held));
        assert_eq!(looked_at(vec![role("view", "1")]).await, Some(Lane::Held), "it is gone");
        let many = others().into_iter();
        let many = many.chain((0..=MOST_BY_NAME).map(|number| role(&format!("r-{number}"), "9")));
        assert_eq!(looked_at(many.collect()).await, Some(Lane::Held), "any may have");
    }
}
