//! What targets name, and who holds what: namespaces, roles, bindings and service accounts. Their metadata
//! alone is watched; what they say is read live.

use std::fmt::Debug;

use k8s_openapi::api::core::v1::{Namespace, ServiceAccount};
use kube::api::PartialObjectMeta;
use kube::runtime::watcher::Event;
use kube::{Api, Resource, ResourceExt as _};
use lapse_cluster::process::caught;
use lapse_cluster::watch;
use lapse_crds::{Endpoint, RbacKind, RoleKind, RoleRef};
use lapse_engine::target::Privilege;
use serde::de::DeserializeOwned;
use tracing::error;

use super::{Watches, is_ours};

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

    /// Watches objects by their metadata.
    pub(super) async fn metadata<K>(
        &self,
        what: &'static str,
        touches: impl Fn(&PartialObjectMeta<K>, Change),
    ) where
        K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + Sync + 'static,
    {
        self.metadata_and_lists(what, touches, |_| {}).await;
    }

    /// The same, and says when all of them are listed anew.
    pub(super) async fn metadata_and_lists<K>(
        &self,
        what: &'static str,
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
        self.follow(what, events)
            .run(
                |event| match event {
                    Event::Apply(object) => touches(&object, Change::Stands),
                    Event::Delete(object) => touches(&object, Change::Gone),
                    // It cannot tell what it missed.
                    Event::InitDone => {
                        lists(List::Ends);
                        self.reader.forget_accounts();
                        self.touched.everything();
                    }
                    // One of Lapse's may have come while nobody looked.
                    Event::InitApply(object) if is_ours(&object.metadata) => {
                        touches(&object, Change::Stands);
                    }
                    Event::Init => lists(List::Begins),
                    Event::InitApply(_) => {}
                },
                |_| {},
            )
            .await;
    }
}
