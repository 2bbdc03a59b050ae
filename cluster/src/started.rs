//! What was started under a grant.

use futures::future::try_join_all;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{EphemeralContainer, Pod};
use kube::api::{ListParams, ObjectMeta};
use kube::{Api, ResourceExt as _};
use lapse_crds::{GRANT_LABEL, GRANT_UID, GRANT_UID_VARIABLE, Grant};
use lapse_engine::Read;
use lapse_engine::session::{Started, StartedKind, place};
use lapse_engine::target::Scope;

use crate::{CallError, Reader, bounded, read};

impl Reader {
    /// What was started under a grant and is not being deleted, as of now.
    pub async fn started(&self, grant: &Grant) -> Read<Vec<Started>> {
        let namespaces: Vec<Option<String>> = match place(&grant.spec) {
            Some(Scope::Cluster) => vec![None],
            Some(Scope::Namespaces(names)) => names.into_iter().map(Some).collect(),
            None => return Read::Found(Vec::new()),
        };
        let looks = namespaces.iter().map(|namespace| self.started_in(grant, namespace.as_deref()));
        read(try_join_all(looks).await).map(|found| {
            let mut found: Vec<Started> = found.into_iter().flatten().collect();
            found.sort();
            found
        })
    }

    async fn started_in(
        &self,
        grant: &Grant,
        namespace: Option<&str>,
    ) -> Result<Vec<Started>, CallError> {
        let (jobs, pods): (Api<Job>, Api<Pod>) = match namespace {
            Some(name) => (
                Api::namespaced(self.client().clone(), name),
                Api::namespaced(self.client().clone(), name),
            ),
            None => (Api::all(self.client().clone()), Api::all(self.client().clone())),
        };
        let name = grant.name_any();
        let marked = ListParams::default().labels(&format!("{GRANT_LABEL}={name}"));
        let uid = grant.metadata.uid.as_deref();
        // An ephemeral container has no label that could be selected by, so every pod is looked at.
        let all = ListParams::default();
        let (jobs, pods) = tokio::try_join!(
            bounded(format!("listing the Jobs of Grant {name}"), jobs.list_metadata(&marked)),
            bounded(format!("listing the Pods of Grant {name}"), pods.list(&all)),
        )?;
        let jobs = jobs.items.iter().filter(|job| is_marked(&job.metadata, uid));
        let jobs = jobs.filter_map(|job| started(StartedKind::Job, &job.metadata));
        let is_started = |pod: &&Pod| is_marked(&pod.metadata, uid) || has_entered(pod, uid);
        let pods = pods.items.iter().filter(is_started);
        let pods = pods.filter_map(|pod| started(StartedKind::Pod, &pod.metadata));
        Ok(jobs.chain(pods).collect())
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

/// A workload that is not being deleted.
fn started(kind: StartedKind, metadata: &ObjectMeta) -> Option<Started> {
    if metadata.deletion_timestamp.is_some() {
        return None;
    }
    Some(Started {
        kind,
        namespace: metadata.namespace.clone()?,
        name: metadata.name.clone()?,
        uid: metadata.uid.clone()?,
    })
}
