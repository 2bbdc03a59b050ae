//! Objects are taken back by their UID.

use std::fmt::Debug;

use kube::Api;
use kube::api::{DeleteParams, Preconditions, PropagationPolicy};
use lapse_cluster::{CallError, bounded};
use serde::de::DeserializeOwned;

/// Deletes the object of this UID, and says whether it was there. That it is gone already is no error.
///
/// A conflict says that another stands under its name, if the API server says it; somebody's admission webhook may say so,
/// too, of what stands.
///
/// It has `grace_period_seconds` to stop, or as long as it asks for.
pub(super) async fn delete_by_uid<K>(
    api: &Api<K>,
    name: &str,
    uid: &str,
    grace_period_seconds: Option<u32>,
    what: String,
) -> Result<bool, CallError>
where
    K: Clone + DeserializeOwned + Debug,
{
    let params = DeleteParams {
        grace_period_seconds,
        preconditions: Some(Preconditions { uid: Some(uid.to_owned()), resource_version: None }),
        propagation_policy: Some(PropagationPolicy::Background),
        ..DeleteParams::default()
    };
    match bounded(format!("deleting {what}"), api.delete(name, &params)).await {
        Err(error) if error.is_not_found() => Ok(false),
        other => other.map(|_| true),
    }
}
