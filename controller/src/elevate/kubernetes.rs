//! Rights of Kubernetes: role bindings, made with POST and taken back by UID.

use std::collections::BTreeMap;

use k8s_openapi::api::rbac::v1::{ClusterRoleBinding, RoleBinding, RoleRef, Subject};
use kube::api::{DeleteParams, ObjectMeta, PostParams, Preconditions, PropagationPolicy};
use kube::{Api, Client};
use lapse_cluster::{CallError, bounded, read};
use lapse_crds::{
    BindingKind, EXPIRES_AT, GRANT_LABEL, GRANT_UID, Grant, MANAGED_BY, MANAGED_BY_LAPSE,
    REQUEST_UID, SubjectKind, TICKET,
};
use lapse_engine::Read;
use lapse_engine::grant::{BindingSpec, LiveBinding};

const RBAC: &str = "rbac.authorization.k8s.io";

/// Creates a binding. A name that is taken is an error: nothing that exists is ever adopted.
pub(crate) async fn create(
    client: &Client,
    grant: &Grant,
    binding: &BindingSpec,
) -> Result<(), CallError> {
    let metadata = metadata(grant, binding);
    let role_ref = RoleRef {
        api_group: RBAC.to_owned(),
        kind: binding.role.kind.to_string(),
        name: binding.role.name.clone(),
    };
    let subjects = Some(vec![subject(&binding.subject)]);
    let post = PostParams::default();
    let what = format!("creating {}", binding.describe());
    if let Some(namespace) = &binding.place.namespace {
        let api: Api<RoleBinding> = Api::namespaced(client.clone(), namespace);
        let binding = RoleBinding { metadata, role_ref, subjects };
        bounded(what, api.create(&post, &binding)).await.map(|_| ())
    } else {
        let api: Api<ClusterRoleBinding> = Api::all(client.clone());
        let binding = ClusterRoleBinding { metadata, role_ref, subjects };
        bounded(what, api.create(&post, &binding)).await.map(|_| ())
    }
}

fn metadata(grant: &Grant, binding: &BindingSpec) -> ObjectMeta {
    let text = |pairs: [(&str, String); 2]| -> BTreeMap<String, String> {
        pairs.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()
    };
    let name = grant.metadata.name.clone().unwrap_or_default();
    let uid = grant.metadata.uid.clone().unwrap_or_default();
    let labels = text([(MANAGED_BY, MANAGED_BY_LAPSE.to_owned()), (GRANT_LABEL, name)]);
    let mut annotations = text([(GRANT_UID, uid), (REQUEST_UID, grant.spec.request.uid.clone())]);
    annotations.insert(EXPIRES_AT.to_owned(), grant.spec.expires_at.to_string());
    if let Some(ticket) = &grant.spec.ticket {
        annotations.insert(TICKET.to_owned(), ticket.clone());
    }
    ObjectMeta {
        name: Some(binding.name.clone()),
        namespace: binding.place.namespace.clone(),
        labels: Some(labels),
        annotations: Some(annotations),
        ..ObjectMeta::default()
    }
}

fn subject(subject: &lapse_crds::Subject) -> Subject {
    // A service account has no API group (`k8s.io/api/rbac/v1`, type Subject).
    let is_account = subject.kind == SubjectKind::ServiceAccount;
    Subject {
        api_group: (!is_account).then(|| RBAC.to_owned()),
        kind: format!("{:?}", subject.kind),
        name: subject.name.clone(),
        namespace: subject.namespace.clone(),
    }
}

/// Where a binding stands, by its kind.
pub(crate) struct BindingPlace<'a> {
    pub(crate) kind: BindingKind,
    pub(crate) namespace: Option<&'a str>,
    pub(crate) name: &'a str,
}

/// Deletes the binding of this UID. That it is gone already, or that another stands under its name,
/// is no error: a live read tells.
pub(crate) async fn delete(
    client: &Client,
    place: &BindingPlace<'_>,
    uid: &str,
) -> Result<(), CallError> {
    let params = DeleteParams {
        preconditions: Some(Preconditions { uid: Some(uid.to_owned()), resource_version: None }),
        propagation_policy: Some(PropagationPolicy::Background),
        ..DeleteParams::default()
    };
    let what = format!("deleting {:?} {}", place.kind, place.name);
    let deleted = if let (BindingKind::RoleBinding, Some(namespace)) = (place.kind, place.namespace)
    {
        let api: Api<RoleBinding> = Api::namespaced(client.clone(), namespace);
        bounded(what, api.delete(place.name, &params)).await.map(|_| ())
    } else {
        let api: Api<ClusterRoleBinding> = Api::all(client.clone());
        bounded(what, api.delete(place.name, &params)).await.map(|_| ())
    };
    match deleted {
        Err(error) if error.is_not_found() || error.is_conflict() => Ok(()),
        other => other,
    }
}

/// Looks at what stands in the place of a binding.
pub(crate) async fn look(client: &Client, binding: &BindingSpec) -> Read<LiveBinding> {
    let what = format!("reading {}", binding.describe());
    let live = if let Some(namespace) = &binding.place.namespace {
        let api: Api<RoleBinding> = Api::namespaced(client.clone(), namespace);
        let found = bounded(what, api.get(&binding.name)).await;
        found.map(|live| live_binding(live.metadata, live.role_ref, live.subjects))
    } else {
        let api: Api<ClusterRoleBinding> = Api::all(client.clone());
        let found = bounded(what, api.get(&binding.name)).await;
        found.map(|live| live_binding(live.metadata, live.role_ref, live.subjects))
    };
    read(live)
}

fn live_binding(
    metadata: ObjectMeta,
    role: RoleRef,
    subjects: Option<Vec<Subject>>,
) -> LiveBinding {
    let subjects = subjects.unwrap_or_default().into_iter();
    LiveBinding {
        uid: metadata.uid.unwrap_or_default(),
        role: (role.kind, role.name),
        subjects: subjects.map(|s| (s.kind, s.namespace, s.name)).collect(),
        grant_uid: metadata.annotations.and_then(|all| all.get(GRANT_UID).cloned()),
    }
}
