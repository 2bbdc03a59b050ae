//! Counts who holds privileges that do not lapse, for a metric.
//!
//! The holder of the lease alone does this, every few minutes: it lists the cluster roles and all bindings, page by page,
//! and keeps of them the names of privileged roles and of who is bound to them. Nothing else waits for it.

use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::rbac::v1::{ClusterRole, ClusterRoleBinding, RoleBinding};
use kube::api::ListParams;
use kube::{Api, Client, Resource, ResourceExt as _};
use lapse_cluster::{CallError, bounded, next_page};
use lapse_crds::{MANAGED_BY, MANAGED_BY_LAPSE};
use lapse_engine::standing::{PrivilegedRoles, StandingSubjects};
use serde::de::DeserializeOwned;
use tokio::time::Instant;
use tracing::warn;

use crate::config::StandingOptions;
use crate::context::Context;

/// How many objects are listed at once.
const PAGE: u32 = 500;
/// How soon a new holder of the lease counts, and a former one no longer says what it has counted.
const LOOK: Duration = Duration::from_secs(10);

/// Counts again and again, until it is dropped.
pub(crate) async fn counting(context: Arc<Context>, options: StandingOptions) {
    let (client, leadership, metrics) = (context.client(), &context.leadership, &context.metrics);
    let Some(every) = options.every() else { return std::future::pending().await };
    let mut due = Instant::now();
    loop {
        if !leadership.is_held() {
            metrics.standing.forget();
            due = Instant::now();
        } else if Instant::now() >= due {
            match count(&client, &options.privileged_roles).await {
                Ok(standing) => metrics.standing.set(&standing),
                Err(error) => warn!(%error, "who holds standing privileges is not known"),
            }
            due = Instant::now() + every;
        }
        tokio::time::sleep(LOOK).await;
    }
}

async fn count(client: &Client, named: &[String]) -> Result<StandingSubjects, CallError> {
    let mut privileged = PrivilegedRoles::named(named.iter().cloned());
    pages::<ClusterRole>(client, |role| {
        privileged.look_at(&role.name_any(), role.rules.as_deref().unwrap_or_default());
    })
    .await?;
    let mut standing = StandingSubjects::default();
    pages::<ClusterRoleBinding>(client, |binding| {
        let subjects = binding.subjects.as_deref().unwrap_or_default();
        standing.bound(&privileged, None, &binding.role_ref, subjects);
    })
    .await?;
    pages::<RoleBinding>(client, |binding| {
        let subjects = binding.subjects.as_deref().unwrap_or_default();
        let namespace = binding.metadata.namespace.as_deref();
        standing.bound(&privileged, namespace, &binding.role_ref, subjects);
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
