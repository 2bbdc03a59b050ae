//! Writes the finalizers of an object.

use std::fmt::Debug;

use kube::api::{ObjectMeta, Patch, PatchParams};
use kube::{Api, Client, Resource};
use lapse_cluster::{CallError, bounded};
use lapse_crds::GRANT_FINALIZER;
use serde::de::DeserializeOwned;
use serde_json::json;

/// The finalizers of others.
pub(crate) fn of_others(metadata: &ObjectMeta) -> impl Iterator<Item = &str> {
    let all = metadata.finalizers.iter().flatten();
    all.map(String::as_str).filter(|finalizer| *finalizer != GRANT_FINALIZER)
}

/// Has an object of the cluster carry these, and no others. One that is gone needs none.
pub(crate) async fn set<K>(
    client: &Client,
    what: String,
    seen: &ObjectMeta,
    finalizers: &[&str],
) -> Result<(), CallError>
where
    K: Resource<DynamicType = (), Scope = kube::core::ClusterResourceScope>
        + Clone
        + Debug
        + DeserializeOwned,
{
    let api: Api<K> = Api::all(client.clone());
    let name = seen.name.as_deref().unwrap_or_default();
    // With its version: a finalizer that somebody added in between is not lost.
    let patch = Patch::Merge(json!({"metadata": {
        "finalizers": finalizers,
        "resourceVersion": seen.resource_version,
    }}));
    let params = PatchParams::default();
    let patched = api.patch_metadata(name, &params, &patch);
    match bounded(what, patched).await {
        Err(error) if !error.is_not_found() => Err(error),
        _ => Ok(()),
    }
}
