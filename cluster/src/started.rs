//! What was started under a grant, and the pods that were entered.

use std::collections::BTreeSet;

use futures::future::try_join_all;
use k8s_openapi::api::apps::v1::{DaemonSet, Deployment, ReplicaSet, StatefulSet};
use k8s_openapi::api::batch::v1::{CronJob, Job};
use k8s_openapi::api::core::v1::{ContainerState, EphemeralContainer, Pod, ReplicationController};
use kube::api::{ApiResource, DynamicObject, ListParams, ObjectList, ObjectMeta};
use kube::{Api, ResourceExt as _};
use lapse_crds::{
    EnteredPod, GRANT_LABEL, GRANT_UID, GRANT_UID_VARIABLE, Grant, TRACK_WORKLOADS, created_at,
    goes_by,
};
use lapse_engine::Read;
use lapse_engine::session::{
    Started, StartedKind, ends_started, entered_to_end, is_entered, place,
};
use lapse_engine::target::Scope;

use crate::{CallError, Reader, bounded, next_page, read};

/// How the API server knows a kind of workload.
#[must_use]
pub fn resource_of(kind: StartedKind) -> ApiResource {
    match kind {
        StartedKind::CronJob => ApiResource::erase::<CronJob>(&()),
        StartedKind::Deployment => ApiResource::erase::<Deployment>(&()),
        StartedKind::StatefulSet => ApiResource::erase::<StatefulSet>(&()),
        StartedKind::DaemonSet => ApiResource::erase::<DaemonSet>(&()),
        StartedKind::ReplicaSet => ApiResource::erase::<ReplicaSet>(&()),
        StartedKind::ReplicationController => ApiResource::erase::<ReplicationController>(&()),
        StartedKind::Job => ApiResource::erase::<Job>(&()),
        StartedKind::Pod => ApiResource::erase::<Pod>(&()),
    }
}

/// How many objects are listed at once.
const PAGE: u32 = 200;

impl Reader {
    /// What is to go at the end of a grant and is not gone, as of now. Of what was started it costs a list of the pods of
    /// each namespace of the grant, page by page, and of whatever else carries its label; of what was entered, a look at
    /// each pod.
    pub async fn started(&self, grant: &Grant) -> Read<Vec<Started>> {
        let looks = async {
            let (mut found, entered) =
                tokio::try_join!(self.started_and_marked(grant), self.entered(grant),)?;
            found.extend(entered);
            found.sort();
            found.dedup_by(|a, b| a.uid == b.uid);
            Ok(found)
        };
        read(looks.await)
    }

    async fn started_and_marked(&self, grant: &Grant) -> Result<Vec<Started>, CallError> {
        let scope = place(&grant.spec).filter(|_| ends_started(&grant.spec));
        let namespaces: Vec<Option<String>> = match scope {
            Some(Scope::Cluster) => vec![None],
            Some(Scope::Namespaces(names)) => names.into_iter().map(Some).collect(),
            Some(Scope::Endpoint(_)) | None => return Ok(Vec::new()),
        };
        let looks = namespaces.iter().map(|namespace| {
            Look { reader: self, grant, namespace: namespace.as_deref() }.everything()
        });
        Ok(try_join_all(looks).await?.into_iter().flatten().collect())
    }

    /// The pods that were entered, are to go and still run, in namespaces that opt in still. Whatever has made another of
    /// the name since is left alone.
    async fn entered(&self, grant: &Grant) -> Result<Vec<Started>, CallError> {
        let pods: Vec<&EnteredPod> = entered_to_end(grant).collect();
        let names: BTreeSet<&str> = pods.iter().map(|entered| &*entered.namespace).collect();
        let namespaces = self.namespaces_of(names.into_iter()).await;
        let is_tracked = |entered: &&EnteredPod| {
            let known = namespaces.get(&entered.namespace).and_then(Read::found);
            // What is not known is not left alone.
            known.is_none_or(|known| {
                known.labels.get(TRACK_WORKLOADS).is_some_and(|said| said == "true")
            })
        };
        let looks = pods.into_iter().filter(is_tracked).map(|entered| async move {
            let api: Api<Pod> = Api::namespaced(self.client().clone(), &entered.namespace);
            // To list is what it may.
            let params = ListParams::default().fields(&format!("metadata.name={}", entered.pod));
            let listed = bounded(format!("looking for Pod {entered}"), api.list(&params)).await?;
            let is_it = |pod: &&Pod| {
                let made = created_at(&pod.metadata);
                !is_over(pod) && made.is_none_or(|made| is_entered(grant, entered, made))
            };
            Ok(listed.items.iter().find(is_it).and_then(started_pod))
        });
        Ok(try_join_all(looks).await?.into_iter().flatten().collect())
    }
}

/// A look for what was started in one namespace, or in all.
#[derive(Clone, Copy)]
struct Look<'a> {
    reader: &'a Reader,
    grant: &'a Grant,
    namespace: Option<&'a str>,
}

impl Look<'_> {
    async fn everything(self) -> Result<Vec<Started>, CallError> {
        let makers = try_join_all(StartedKind::MAKERS.map(|kind| self.marked(kind)));
        let (makers, pods) = tokio::try_join!(makers, self.pods())?;
        Ok(makers.into_iter().flatten().chain(pods).collect())
    }

    /// What carries the mark of the grant and is not being deleted: what is makes nothing more.
    async fn marked(self, kind: StartedKind) -> Result<Vec<Started>, CallError> {
        let (name, uid) = (self.grant.name_any(), self.grant.metadata.uid.as_deref());
        let (client, resource) = (self.reader.client().clone(), resource_of(kind));
        let api: Api<DynamicObject> = match self.namespace {
            Some(name) => Api::namespaced_with(client, name, &resource),
            None => Api::all_with(client, &resource),
        };
        let params = ListParams::default().labels(&format!("{GRANT_LABEL}={name}")).limit(PAGE);
        let mut found = Vec::new();
        let mut next = Some(params);
        while let Some(params) = next.take() {
            let what = format!("listing the {kind:?}s of Grant {name}");
            let page = bounded(what, api.list_metadata(&params)).await?;
            let all = page.items.iter().map(|object| &object.metadata);
            let marked = all.filter(|metadata| is_marked(metadata, uid));
            let stands = marked.filter(|metadata| metadata.deletion_timestamp.is_none());
            found.extend(stands.filter_map(|metadata| started(kind, metadata)));
            next = next_page(params, &page.metadata);
        }
        Ok(found)
    }

    /// An ephemeral container has no label that could be selected by, so every pod is looked at.
    async fn pods(self) -> Result<Vec<Started>, CallError> {
        let (name, uid) = (self.grant.name_any(), self.grant.metadata.uid.as_deref());
        let client = self.reader.client().clone();
        let api: Api<Pod> = match self.namespace {
            Some(name) => Api::namespaced(client, name),
            None => Api::all(client),
        };
        let mut found = Vec::new();
        let mut next = Some(ListParams::default().limit(PAGE));
        while let Some(params) = next.take() {
            let what = format!("listing the Pods of Grant {name}");
            let page: ObjectList<Pod> = bounded(what, api.list(&params)).await?;
            let is_started = |pod: &&Pod| is_marked(&pod.metadata, uid) || has_entered(pod, uid);
            let pods = page.items.iter().filter(is_started).filter(|pod| !has_stopped(pod));
            found.extend(pods.filter_map(started_pod));
            next = next_page(params, &page.metadata);
        }
        Ok(found)
    }
}

fn is_marked(metadata: &ObjectMeta, uid: Option<&str>) -> bool {
    let annotation = metadata.annotations.as_ref().and_then(|all| all.get(GRANT_UID));
    uid.is_some() && annotation.map(String::as_str) == uid
}

/// Whether an ephemeral container was put into a pod under the grant.
fn has_entered(pod: &Pod, uid: Option<&str>) -> bool {
    let containers = pod.spec.iter().flat_map(|spec| spec.ephemeral_containers.iter().flatten());
    let of_grant = |container: &EphemeralContainer| {
        let variables = container.env.iter().flatten();
        let mut uids = variables.filter(|variable| variable.name == GRANT_UID_VARIABLE);
        uids.any(|variable| uid.is_some() && variable.value.as_deref() == uid)
    };
    containers.into_iter().any(of_grant)
}

/// Whether a pod that is being deleted has stopped: a finalizer of somebody's can keep the object for ever.
fn has_stopped(pod: &Pod) -> bool {
    pod.metadata.deletion_timestamp.is_some() && is_over(pod)
}

/// Whether nothing in a pod runs any more.
fn is_over(pod: &Pod) -> bool {
    let Some(status) = &pod.status else { return false };
    let containers = [
        &status.container_statuses,
        &status.init_container_statuses,
        &status.ephemeral_container_statuses,
    ];
    let mut containers = containers.into_iter().flatten().flatten();
    let runs = |state: Option<&ContainerState>| state.is_some_and(|state| state.running.is_some());
    matches!(status.phase.as_deref(), Some("Succeeded" | "Failed"))
        && !containers.any(|container| runs(container.state.as_ref()))
}

fn started_pod(pod: &Pod) -> Option<Started> {
    /// What Kubernetes itself gives a pod that does not say.
    const DEFAULT_GRACE_S: u32 = 30;
    let said = pod.spec.as_ref().and_then(|spec| spec.termination_grace_period_seconds);
    Some(Started {
        grace_s: Some(said.map_or(DEFAULT_GRACE_S, seconds)),
        goes_by: goes_by(&pod.metadata),
        ..started(StartedKind::Pod, &pod.metadata)?
    })
}

/// A number of seconds; less than none is none.
fn seconds(said: i64) -> u32 {
    u32::try_from(said.max(0)).unwrap_or(u32::MAX)
}

fn started(kind: StartedKind, metadata: &ObjectMeta) -> Option<Started> {
    Some(Started {
        kind,
        namespace: metadata.namespace.clone()?,
        name: metadata.name.clone()?,
        uid: metadata.uid.clone()?,
        grace_s: None,
        goes_by: None,
    })
}
