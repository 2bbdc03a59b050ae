//! Watches what bears on requests, grants and policies, and queues whatever an event touches.
//!
//! What decisions look at is fed to the index; a watch that starts anew queues everything, because it cannot tell
//! what it missed.

mod listener;
mod named;
mod objects;
mod seen;

use std::sync::Arc;

use k8s_openapi::api::rbac::v1::{ClusterRole, ClusterRoleBinding, Role, RoleBinding};
use kube::Client;
use kube::api::ObjectMeta;
use lapse_cluster::Reader;
use lapse_cluster::watch::{FIRST_LIST, Feed, FirstLists, Follow, Restarts};
use lapse_crds::{MANAGED_BY, MANAGED_BY_LAPSE, RbacKind, RoleKind};

use crate::revoke::Orphans;
use crate::touched::Touched;

/// Watches everything until it is dropped.
pub(crate) struct Watches {
    pub(crate) client: Client,
    pub(crate) reader: Reader,
    pub(crate) touched: Touched,
    pub(crate) orphans: Orphans,
    pub(crate) restarts: Restarts,
    pub(crate) first_lists: FirstLists,
}

/// How many watches [`Watches::run`] runs.
pub(crate) const WATCHES: usize = Feed::WATCHES + 7;

impl Watches {
    fn follow<S>(&self, what: &'static str, events: S) -> Follow<S> {
        let (restarts, first_lists) = (self.restarts.clone(), self.first_lists.clone());
        Follow { what, events, restarts, patience: FIRST_LIST, first_lists }
    }

    pub(crate) async fn run(self: Arc<Self>) {
        let feed = Feed {
            client: self.client.clone(),
            index: self.touched.index.clone(),
            restarts: self.restarts.clone(),
            first_lists: self.first_lists.clone(),
        };
        tokio::join!(
            feed.run(&*self),
            self.bindings::<RoleBinding>("RoleBindings", RbacKind::RoleBinding),
            self.bindings::<ClusterRoleBinding>(
                "ClusterRoleBindings",
                RbacKind::ClusterRoleBinding
            ),
            self.namespaces(),
            self.roles::<Role>("Roles", RoleKind::Role),
            self.roles::<ClusterRole>("ClusterRoles", RoleKind::ClusterRole),
            self.accounts(),
            self.endpoints(),
        );
    }
}

fn is_ours(object: &ObjectMeta) -> bool {
    let label = object.labels.as_ref().and_then(|all| all.get(MANAGED_BY));
    label.is_some_and(|value| value == MANAGED_BY_LAPSE)
}
