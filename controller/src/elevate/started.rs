//! What was started under a grant is stopped.

use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::Pod;
use kube::{Api, Client};
use lapse_cluster::CallError;
use lapse_engine::session::{Started, StartedKind};

use super::delete_by_uid::delete_by_uid;

/// How long a pod has to stop, in seconds: Kubernetes' own default, and not what the pod asks for, which
/// may be a year.
const GRACE: u32 = 30;

/// Deletes a workload. That it is gone already, or that another has its name, is no error.
pub(crate) async fn stop(client: &Client, started: &Started) -> Result<(), CallError> {
    let Started { kind, namespace, name, uid } = started;
    let (client, what) = (client.clone(), started.to_string());
    match kind {
        StartedKind::Job => {
            delete_by_uid(&Api::<Job>::namespaced(client, namespace), name, uid, None, what).await
        }
        StartedKind::Pod => {
            delete_by_uid(&Api::<Pod>::namespaced(client, namespace), name, uid, Some(GRACE), what)
                .await
        }
    }
}
