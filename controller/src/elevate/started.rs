//! What was started under a grant is stopped.

use kube::api::DynamicObject;
use kube::{Api, Client};
use lapse_cluster::{CallError, resource_of};
use lapse_engine::session::Started;

use super::delete_by_uid::delete_by_uid;

/// Deletes a workload, and what it made. That it is gone already, or that another has its name, is no error.
pub(crate) async fn stop(
    client: &Client,
    started: &Started,
    grace_seconds: Option<u32>,
) -> Result<(), CallError> {
    let Started { kind, namespace, name, uid, .. } = started;
    let api: Api<DynamicObject> =
        Api::namespaced_with(client.clone(), namespace, &resource_of(*kind));
    match delete_by_uid(&api, name, uid, grace_seconds, started.to_string()).await {
        // What stands nevertheless is found by the next look.
        Err(error) if !error.is_conflict() => Err(error),
        _ => Ok(()),
    }
}
