//! What targets name: namespaces and roles. Their metadata alone is watched; what they say is read live.

use std::fmt::Debug;

use k8s_openapi::api::core::v1::Namespace;
use kube::api::PartialObjectMeta;
use kube::core::DeserializeGuard;
use kube::runtime::WatchStreamExt as _;
use kube::runtime::watcher::Event;
use kube::{Api, Resource, ResourceExt as _};
use lapse_crds::{RoleKind, Target};
use lapse_engine::target::ResolvedTarget;
use serde::de::DeserializeOwned;

use super::{Watches, config};

impl Watches {
    /// The labels of a namespace say which policies offer it.
    pub(super) async fn namespaces(&self) {
        self.metadata::<Namespace>("Namespaces", |namespace| {
            let name = namespace.name_any();
            self.touches(|target| target.namespaces().any(|within| within == name));
        })
        .await;
    }

    /// An approval holds for what a role allowed.
    pub(super) async fn roles<K>(&self, what: &'static str, kind: RoleKind)
    where
        K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + Sync + 'static,
    {
        self.metadata::<K>(what, |role| {
            let (name, namespace) = (role.name_any(), role.namespace());
            self.touches(|target| {
                let is_there = |place: &str| target.namespaces().any(|within| within == place);
                target.role.kind == kind
                    && target.role.name == name
                    && namespace.as_deref().is_none_or(is_there)
            });
        })
        .await;
    }

    /// Watches objects by their metadata.
    async fn metadata<K>(&self, what: &'static str, touches: impl Fn(&PartialObjectMeta<K>))
    where
        K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + Sync + 'static,
    {
        let events = || {
            let api: Api<PartialObjectMeta<K>> = Api::all(self.client.clone());
            kube::runtime::watcher(api, config()).default_backoff()
        };
        self.follow(what, events)
            .run(|event| match event {
                Event::Apply(object) | Event::Delete(object) => touches(&object),
                Event::InitDone => self.queues.everything(&self.caches),
                Event::Init | Event::InitApply(_) => {}
            })
            .await;
    }

    /// Queues the grants and requests whose target an event bears on.
    fn touches(&self, bears_on: impl Fn(&ResolvedTarget) -> bool) {
        let is_touched = |target: &Target, namespace: &str| {
            ResolvedTarget::resolve(target, namespace).is_some_and(|target| bears_on(&target))
        };
        for grant in self.caches.grants.state() {
            if let DeserializeGuard(Ok(grant)) = &*grant
                && is_touched(&grant.spec.target, &grant.spec.request.namespace)
            {
                self.queues.grant(&grant.name_any());
            }
        }
        for request in self.caches.requests.state() {
            if let DeserializeGuard(Ok(request)) = &*request
                && is_touched(&request.spec.target, &request.namespace().unwrap_or_default())
            {
                self.queues.request(&request.namespace().unwrap_or_default(), &request.name_any());
            }
        }
    }
}
