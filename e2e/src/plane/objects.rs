//! Objects that tests and benchmarks put into the cluster.

use anyhow::{Context as _, Result};
use kube::api::{ApiResource, DynamicObject, Patch, PatchParams};
use kube::core::GroupVersionKind;
use kube::{Api, Client, ResourceExt as _};
use lapse_crds::JitPolicy;
use serde_json::Value;

use super::net::{SOON, eventually};

/// The kinds that have no namespace, of those that are applied.
const CLUSTER_WIDE: [&str; 5] =
    ["Namespace", "ClusterRoleBinding", "ClusterRole", "JitPolicy", "Endpoint"];

/// Applies an object, in this namespace if its kind has one.
///
/// # Errors
/// If it is none, or the API server refuses it.
pub async fn apply(client: &Client, namespace: &str, object: Value) -> Result<()> {
    let mut object: DynamicObject = serde_json::from_value(object)?;
    let types = object.types.clone().context("it has no kind")?;
    let (group, version) = types.api_version.rsplit_once('/').unwrap_or(("", &types.api_version));
    let kind = GroupVersionKind::gvk(group, version, &types.kind);
    let resource = ApiResource::from_gvk(&kind);
    let api: Api<DynamicObject> = if CLUSTER_WIDE.contains(&types.kind.as_str()) {
        object.metadata.namespace = None;
        Api::all_with(client.clone(), &resource)
    } else {
        Api::namespaced_with(client.clone(), namespace, &resource)
    };
    let params = PatchParams::apply("e2e").force();
    api.patch(&object.name_any(), &params, &Patch::Apply(&object)).await?;
    Ok(())
}

/// Waits until a policy is reported on as it is.
///
/// # Errors
/// If it never is.
pub async fn policy_reported(client: &Client, name: &str) -> Result<()> {
    let policies: Api<JitPolicy> = Api::all(client.clone());
    eventually(&format!("policy {name} to be reported on"), SOON, async || {
        let policy = policies.get(name).await?;
        let observed = policy.status.and_then(|status| status.observed_generation);
        Ok((observed == policy.metadata.generation).then_some(()))
    })
    .await
}
