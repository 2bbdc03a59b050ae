//! What was started under a grant is stopped.

use std::fmt::Debug;

use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::apps::v1::{DaemonSet, Deployment, ReplicaSet, StatefulSet};
use k8s_openapi::api::batch::v1::{CronJob, Job};
use k8s_openapi::api::core::v1::{Pod, ReplicationController};
use kube::{Api, Client, Resource};
use lapse_cluster::CallError;
use lapse_engine::session::{Started, StartedKind};
use serde::de::DeserializeOwned;

use super::delete_by_uid::delete_by_uid;

/// Deletes a workload, and what it made. That it is gone already, or that another has its name, is no error.
pub(crate) async fn stop(
    client: &Client,
    started: &Started,
    grace_seconds: Option<i64>,
) -> Result<(), CallError> {
    match started.kind {
        StartedKind::CronJob => delete::<CronJob>(client, started, grace_seconds).await,
        StartedKind::Deployment => delete::<Deployment>(client, started, grace_seconds).await,
        StartedKind::StatefulSet => delete::<StatefulSet>(client, started, grace_seconds).await,
        StartedKind::DaemonSet => delete::<DaemonSet>(client, started, grace_seconds).await,
        StartedKind::ReplicaSet => delete::<ReplicaSet>(client, started, grace_seconds).await,
        StartedKind::ReplicationController => {
            delete::<ReplicationController>(client, started, grace_seconds).await
        }
        StartedKind::Job => delete::<Job>(client, started, grace_seconds).await,
        StartedKind::Pod => delete::<Pod>(client, started, grace_seconds).await,
    }
}

async fn delete<K>(
    client: &Client,
    started: &Started,
    grace_seconds: Option<i64>,
) -> Result<(), CallError>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
        + Clone
        + DeserializeOwned
        + Debug,
{
    let api: Api<K> = Api::namespaced(client.clone(), &started.namespace);
    delete_by_uid(&api, &started.name, &started.uid, grace_seconds, started.to_string()).await
}
