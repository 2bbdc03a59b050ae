//! Who holds privileges that do not lapse: lists the cluster roles and all bindings, page by page, and keeps of them
//! the names of privileged roles and of who is bound to them.

use std::fmt::Debug;

use k8s_openapi::api::rbac::v1::{ClusterRole, ClusterRoleBinding, RoleBinding};
use kube::api::ListParams;
use kube::{Api, Client, Resource, ResourceExt as _};
use lapse_crds::{MANAGED_BY, MANAGED_BY_LAPSE};
use lapse_engine::standing::{PrivilegedRoles, StandingBinding, StandingSubjects};
use serde::de::DeserializeOwned;

use crate::call::{CallError, bounded, next_page};

/// How many objects are listed at once.
const PAGE: u32 = 500;

/// Lists them. `named` are the cluster roles that count as privileged besides those that allow everything.
pub async fn standing_subjects(
    client: &Client,
    named: &[String],
) -> Result<StandingSubjects, CallError> {
    let mut privileged = PrivilegedRoles::named(named.iter().cloned());
    pages::<ClusterRole>(client, |role| {
        privileged.look_at(&role.name_any(), role.rules.as_deref().unwrap_or_default());
    })
    .await?;
    let mut standing = StandingSubjects::default();
    pages::<ClusterRoleBinding>(client, |binding| {
        let subjects = binding.subjects.as_deref().unwrap_or_default();
        let (name, role) = (&*binding.name_any(), &binding.role_ref);
        standing.bound(&privileged, StandingBinding { namespace: None, name, role, subjects });
    })
    .await?;
    pages::<RoleBinding>(client, |binding| {
        let subjects = binding.subjects.as_deref().unwrap_or_default();
        let namespace = binding.metadata.namespace.as_deref();
        let (name, role) = (&*binding.name_any(), &binding.role_ref);
        standing.bound(&privileged, StandingBinding { namespace, name, role, subjects });
    })
    .await?;
    Ok(standing)
}

/// Calls `each` for every object of a kind that is not Lapse's.
async fn pages<K>(client: &Client, mut each: impl FnMut(&K)) -> Result<(), CallError>
where
    K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned,
{
    let api: Api<K> = Api::all(client.clone());
    let others = format!("{MANAGED_BY}!={MANAGED_BY_LAPSE}");
    let mut params = ListParams::default().labels(&others).limit(PAGE);
    loop {
        let what = format!("listing {}s", K::kind(&()));
        let page = bounded(what, api.list(&params)).await?;
        page.items.iter().for_each(&mut each);
        match next_page(params, &page.metadata) {
            Some(next) => params = next,
            None => return Ok(()),
        }
    }
}
