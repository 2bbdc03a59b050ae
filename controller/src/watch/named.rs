//! What targets name, and who holds what: namespaces, roles, bindings and service accounts. Their metadata
//! alone is watched; what they say is read live.

use std::fmt::Debug;

use k8s_openapi::api::core::v1::{Namespace, ServiceAccount};
use kube::api::PartialObjectMeta;
use kube::runtime::watcher::Event;
use kube::{Api, Resource, ResourceExt as _};
use lapse_cluster::watch;
use lapse_crds::{RbacKind, RoleKind, RoleRef};
use serde::de::DeserializeOwned;

use super::{Watches, is_ours};

/// What an event shows of an object.
#[derive(Clone, Copy)]
pub(super) enum Change {
    Stands,
    Gone,
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
        self.metadata::<Namespace>("Namespaces", |namespace, _| {
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
        self.metadata::<K>(what, |role, change| {
            self.rights_changed(own(kind), &role.metadata, change);
            let (name, namespace) = (role.name_any(), role.namespace());
            let role = RoleRef { kind, name: name.clone() };
            let naming = self.touched.index.policies_naming(&role, namespace.as_deref());
            for policy in &naming {
                self.touched.policy(policy);
            }
            self.touched.targets_that(|target| {
                let is_there = |place: &str| target.namespaces().any(|within| within == place);
                let role = target.privilege.role();
                role.is_some_and(|role| role.kind == kind && role.name == name)
                    && namespace.as_deref().is_none_or(is_there)
            });
        })
        .await;
    }

    /// Who can run workloads beside a service account can act as it does.
    pub(super) async fn accounts(&self) {
        self.metadata::<ServiceAccount>("ServiceAccounts", |_, _| self.reader.forget_accounts())
            .await;
    }

    /// Watches objects by their metadata.
    pub(super) async fn metadata<K>(
        &self,
        what: &'static str,
        touches: impl Fn(&PartialObjectMeta<K>, Change),
    ) where
        K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + Sync + 'static,
    {
        let events = || {
            let api: Api<PartialObjectMeta<K>> = Api::all(self.client.clone());
            watch::events(api, watch::config())
        };
        self.follow(what, events)
            .run(
                |event| match event {
                    Event::Apply(object) => touches(&object, Change::Stands),
                    Event::Delete(object) => touches(&object, Change::Gone),
                    // It cannot tell what it missed.
                    Event::InitDone => {
                        self.reader.forget_accounts();
                        self.touched.everything();
                    }
                    // One of Lapse's may have come while nobody looked.
                    Event::InitApply(object) if is_ours(&object.metadata) => {
                        touches(&object, Change::Stands);
                    }
                    Event::Init | Event::InitApply(_) => {}
                },
                |_| {},
            )
            .await;
    }
}
