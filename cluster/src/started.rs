//! What was started under a grant, and the pods that were entered.

use std::collections::BTreeSet;

use chrono::TimeDelta;
use futures::future::{BoxFuture, join, try_join_all};
use futures::{FutureExt as _, StreamExt as _, stream};
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
    Started, StartedKind, StartedSeen, ends_started, entered_to_end, is_entered, place,
};
use lapse_engine::target::Scope;

use crate::{CallError, Reader, bounded, clock, next_page};

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
/// How many lists are made at once for one grant.
const AT_ONCE: usize = 8;
/// How long after the end of a right nothing more is stored that was started under it.
const SETTLED: TimeDelta = TimeDelta::seconds(10);

/// What was found, and what could not be looked at.
#[derive(Default)]
struct Found {
    there: Vec<Started>,
    failures: Vec<String>,
}

impl Found {
    fn add(&mut self, (there, failure): (Vec<Started>, Option<CallError>)) {
        self.there.extend(there);
        self.failures.extend(failure.map(|error| error.to_string()));
    }
}

impl Reader {
    /// What is to go at the end of a grant and is not gone, as of now. What was started is found by its label, page by page;
    /// the pods in which an ephemeral container was started are found by a list of all pods of each namespace of the grant,
    /// once where there are none; of what was entered, each pod is looked at. A list that fails keeps no other.
    pub async fn started(&self, grant: &Grant) -> StartedSeen {
        let (mut found, entered) =
            join(self.started_and_marked(grant).boxed(), self.entered(grant).boxed()).await;
        match entered {
            Ok(entered) => found.there.extend(entered),
            Err(error) => found.failures.push(error.to_string()),
        }
        let Found { mut there, failures } = found;
        there.sort();
        there.dedup_by(|a, b| a.uid == b.uid);
        StartedSeen { there, unseen: (!failures.is_empty()).then(|| failures.join("; ")) }
    }

    async fn started_and_marked(&self, grant: &Grant) -> Found {
        let scope = place(&grant.spec).filter(|_| ends_started(&grant.spec));
        let namespaces: Vec<Option<String>> = match scope {
            Some(Scope::Cluster) => vec![None],
            Some(Scope::Namespaces(names)) => names.into_iter().map(Some).collect(),
            Some(Scope::Endpoint(_)) | None => return Found::default(),
        };
        let looks: Vec<BoxFuture<'_, _>> = namespaces
            .iter()
            .flat_map(|namespace| {
                let look = Look { reader: self, grant, namespace: namespace.as_deref() };
                let makers = StartedKind::MAKERS.map(|kind| look.marked(kind).boxed());
                makers.into_iter().chain([look.pods().boxed(), look.debugged().boxed()])
            })
            .collect();
        let mut found = Found::default();
        let mut looks = stream::iter(looks).buffer_unordered(AT_ONCE);
        while let Some(one) = looks.next().await {
            found.add(one);
        }
        found
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
    fn api(self, resource: &ApiResource) -> Api<DynamicObject> {
        let client = self.reader.client().clone();
        match self.namespace {
            Some(name) => Api::namespaced_with(client, name, resource),
            None => Api::all_with(client, resource),
        }
    }

    fn api_of_pods(self) -> Api<Pod> {
        let client = self.reader.client().clone();
        match self.namespace {
            Some(name) => Api::namespaced(client, name),
            None => Api::all(client),
        }
    }

    fn of_grant(self) -> ListParams {
        ListParams::default()
            .labels(&format!("{GRANT_LABEL}={}", self.grant.name_any()))
            .limit(PAGE)
    }

    fn uid(&self) -> Option<&str> {
        self.grant.metadata.uid.as_deref()
    }

    /// What carries the mark of the grant and is not being deleted: what is makes nothing more.
    async fn marked(self, kind: StartedKind) -> (Vec<Started>, Option<CallError>) {
        let api = self.api(&resource_of(kind));
        let mut found = Vec::new();
        let mut next = Some(self.of_grant());
        while let Some(params) = next.take() {
            let what = format!("listing the {kind:?}s of Grant {}", self.grant.name_any());
            let page = match bounded(what, api.list_metadata(&params)).await {
                Ok(page) => page,
                Err(error) => return (found, Some(error)),
            };
            let all = page.items.iter().map(|object| &object.metadata);
            let marked = all.filter(|metadata| is_marked(metadata, self.uid()));
            let stands = marked.filter(|metadata| metadata.deletion_timestamp.is_none());
            found.extend(stands.filter_map(|metadata| started(kind, metadata)));
            next = next_page(params, &page.metadata);
        }
        (found, None)
    }

    /// The pods that carry the mark. How long they ask to have, and whether they have stopped, is not in their metadata.
    async fn pods(self) -> (Vec<Started>, Option<CallError>) {
        let is_own = |pod: &Pod| is_marked(&pod.metadata, self.uid());
        let (found, _, failure) = self.list_pods(self.of_grant(), is_own).await;
        (found, failure)
    }

    /// The pods in which an ephemeral container was started: that has no label that could be selected by, so every pod is
    /// looked at.
    async fn debugged(self) -> (Vec<Started>, Option<CallError>) {
        let uid = self.uid().unwrap_or_default().to_owned();
        let key = (uid, self.namespace.map(ToOwned::to_owned));
        let undebugged = self.reader.undebugged();
        if undebugged.has(&key) {
            return (Vec::new(), None);
        }
        let has_any = |pod: &Pod| has_entered(pod, self.uid());
        let all = ListParams::default().limit(PAGE);
        let (found, count, failure) = self.list_pods(all, has_any).await;
        let ended_at = self.grant.status.as_ref().and_then(|status| status.ended_at);
        // What was let through in the last moment may be stored a moment later.
        let is_settled = ended_at.is_some_and(|at| clock::now() >= at.time() + SETTLED);
        if count == 0 && failure.is_none() && is_settled {
            undebugged.note(key);
        }
        (found, failure)
    }

    /// Those that have not stopped, how many there are, and what kept from seeing more.
    async fn list_pods(
        self,
        params: ListParams,
        is_it: impl Fn(&Pod) -> bool,
    ) -> (Vec<Started>, usize, Option<CallError>) {
        let api = self.api_of_pods();
        let (mut found, mut count) = (Vec::new(), 0);
        let mut next = Some(params);
        while let Some(params) = next.take() {
            let what = format!("listing the Pods of Grant {}", self.grant.name_any());
            let page: ObjectList<Pod> = match bounded(what, api.list(&params)).await {
                Ok(page) => page,
                Err(error) => return (found, count, Some(error)),
            };
            for pod in page.items.iter().filter(|pod| is_it(pod)) {
                count += 1;
                found.extend(started_pod(pod).filter(|_| !has_stopped(pod)));
            }
            next = next_page(params, &page.metadata);
        }
        (found, count, None)
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

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use http::{Request, Response};
    use kube::Client;
    use kube::client::Body;
    use lapse_engine::attest::KeySet;
    use serde_json::{Value, json};
    use tokio::sync::watch;

    use super::*;
    use crate::index::{Index, testing_settings};

    fn grant() -> Grant {
        serde_json::from_value(json!({
            "apiVersion": "lapse.dev/v1alpha1", "kind": "Grant",
            "metadata": {"name": "g", "uid": "g-1"},
            "spec": {
                "request": {"namespace": "shop", "name": "fix", "uid": "r-1"},
                "policy": {"name": "p", "uid": "p", "generation": 1},
                "subject": {"kind": "User", "name": "alice"},
                "target": {"kubernetes": {"role": {"kind": "ClusterRole", "name": "edit"}}},
                "startsAt": "2026-01-01T00:00:00Z", "expiresAt": "2026-01-01T01:00:00Z", "rulesHash": "x",
                "session": {"guard": "Enforce", "startedWorkloads": "Delete"},
            },
            "status": {"phase": "Ended", "endedAt": "2026-01-01T01:00:00Z"},
        }))
        .unwrap()
    }

    fn object(name: &str) -> Value {
        json!({"metadata": {
            "name": name, "namespace": "shop", "uid": name, "annotations": {GRANT_UID: "g-1"},
        }})
    }

    /// One kind that cannot be listed keeps no other, and pods without a label are listed once where there are none.
    #[tokio::test]
    async fn a_list_that_fails_keeps_no_other_and_all_pods_are_listed_once() {
        let all_pods = Arc::new(AtomicUsize::new(0));
        let count = all_pods.clone();
        let service = tower::service_fn(move |request: Request<Body>| {
            let count = count.clone();
            async move {
                let (path, query) =
                    (request.uri().path(), request.uri().query().unwrap_or_default());
                let is_selected = query.contains("labelSelector=lapse.dev%2Fgrant%3Dg");
                let items = match path.rsplit('/').next().unwrap() {
                    "jobs" => None,
                    "pods" if !is_selected => {
                        count.fetch_add(1, Ordering::Relaxed);
                        Some(vec![])
                    }
                    "pods" => Some(vec![object("pod")]),
                    "deployments" => Some(vec![object("web")]),
                    _ => Some(vec![]),
                };
                let code = if items.is_some() { 200 } else { 500 };
                let body = items.map_or_else(
                    || json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": 500, "reason": "InternalError", "message": "etcd"}),
                    |items| json!({"kind": "List", "apiVersion": "v1", "metadata": {}, "items": items}),
                );
                let answer = Response::builder().status(code);
                Ok::<_, std::convert::Infallible>(
                    answer.body(Body::from(body.to_string().into_bytes())).unwrap(),
                )
            }
        });
        let (_, keys) = watch::channel(KeySet::default());
        let index = Index::new(testing_settings(), keys.clone(), true);
        let reader = Reader::new(Client::new(service, "default"), index, keys);
        for _ in 0..3 {
            let StartedSeen { there, unseen } = reader.started(&grant()).await;
            let names: Vec<String> = there.iter().map(ToString::to_string).collect();
            assert_eq!(names, ["Deployment shop/web", "Pod shop/pod"]);
            assert!(unseen.unwrap().contains("listing the Jobs"));
        }
        assert_eq!(all_pods.load(Ordering::Relaxed), 1);
    }
}
