//! The objects of RBAC that give a right: where they stand, as they are sent, and as they are found.

use std::collections::BTreeMap;

use k8s_openapi::api::rbac::v1::{
    AggregationRule, ClusterRole, ClusterRoleBinding, PolicyRule, Role, RoleBinding, RoleRef,
    Subject,
};
use kube::api::{ApiResource, DynamicObject, ObjectMeta};
use kube::{Api, Client};
use lapse_crds::{
    EMERGENCY, EXPIRES_AT, GRANT_LABEL, GRANT_UID, Grant, MANAGED_BY, MANAGED_BY_LAPSE, RBAC_GROUP,
    REQUEST_UID, RbacKind, RoleRule, SubjectKind, TICKET,
};
use lapse_engine::Read;
use lapse_engine::grant::{Content, LiveContent, LiveObject, ObjectSpec};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::reader::read;
use crate::{CALL_LIMIT, bounded_read};

/// Where an object stands, by its kind.
pub struct ObjectPlace<'a> {
    /// Its kind.
    pub kind: RbacKind,
    /// Its namespace, if its kind has one.
    pub namespace: Option<&'a str>,
    /// Its name.
    pub name: &'a str,
}

impl<'a> ObjectPlace<'a> {
    /// Where an object of a grant stands.
    #[must_use]
    pub fn of(object: &'a ObjectSpec) -> Self {
        let namespace = object.place.namespace.as_deref();
        Self { kind: object.kind(), namespace, name: &object.name }
    }

    fn resource(&self) -> ApiResource {
        match self.kind {
            RbacKind::RoleBinding => ApiResource::erase::<RoleBinding>(&()),
            RbacKind::ClusterRoleBinding => ApiResource::erase::<ClusterRoleBinding>(&()),
            RbacKind::Role => ApiResource::erase::<Role>(&()),
            RbacKind::ClusterRole => ApiResource::erase::<ClusterRole>(&()),
        }
    }

    /// The API of its kind, in its namespace.
    #[must_use]
    pub fn api(&self, client: &Client) -> Api<DynamicObject> {
        let (client, resource) = (client.clone(), self.resource());
        match self.namespace {
            Some(namespace) => Api::namespaced_with(client, namespace, &resource),
            None => Api::all_with(client, &resource),
        }
    }
}

/// An object as it is sent to the API server.
#[must_use]
pub fn manifest(grant: &Grant, object: &ObjectSpec) -> DynamicObject {
    DynamicObject {
        metadata: metadata(grant, object),
        data: data(&object.content),
        ..DynamicObject::new(&object.name, &ObjectPlace::of(object).resource())
    }
}

fn data(content: &Content) -> Value {
    match content {
        Content::Role { rules } => {
            let rules: Vec<PolicyRule> = rules.iter().map(PolicyRule::from).collect();
            json!({ "rules": rules })
        }
        Content::Binding { role, subject } => binding(role, std::slice::from_ref(subject)),
        Content::Marker { role, subjects } => binding(role, subjects),
    }
}

fn binding(role: &lapse_crds::RoleRef, subjects: &[lapse_crds::Subject]) -> Value {
    let (kind, name) = (role.kind.to_string(), role.name.clone());
    let role_ref = RoleRef { api_group: RBAC_GROUP.to_owned(), kind, name };
    let subjects: Vec<Subject> = subjects.iter().map(subject).collect();
    json!({ "roleRef": role_ref, "subjects": subjects })
}

fn metadata(grant: &Grant, object: &ObjectSpec) -> ObjectMeta {
    let text = |pairs: [(&str, String); 2]| -> BTreeMap<String, String> {
        pairs.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()
    };
    let name = grant.metadata.name.clone().unwrap_or_default();
    let uid = grant.metadata.uid.clone().unwrap_or_default();
    let labels = text([(MANAGED_BY, MANAGED_BY_LAPSE.to_owned()), (GRANT_LABEL, name)]);
    let mut annotations = text([(GRANT_UID, uid), (REQUEST_UID, grant.spec.request.uid.clone())]);
    annotations.insert(EXPIRES_AT.to_owned(), grant.spec.expires_at.to_string());
    if grant.spec.emergency {
        annotations.insert(EMERGENCY.to_owned(), "true".to_owned());
    }
    if let Some(ticket) = &grant.spec.ticket {
        annotations.insert(TICKET.to_owned(), ticket.clone());
    }
    ObjectMeta {
        name: Some(object.name.clone()),
        namespace: object.place.namespace.clone(),
        labels: Some(labels),
        annotations: Some(annotations),
        ..ObjectMeta::default()
    }
}

fn subject(subject: &lapse_crds::Subject) -> Subject {
    // A service account has no API group (`k8s.io/api/rbac/v1`, type Subject).
    let is_account = subject.kind == SubjectKind::ServiceAccount;
    Subject {
        api_group: (!is_account).then(|| RBAC_GROUP.to_owned()),
        kind: format!("{:?}", subject.kind),
        name: subject.name.clone(),
        namespace: subject.namespace.clone(),
    }
}

/// Looks at what stands in the place of an object.
pub async fn look(client: &Client, object: &ObjectSpec) -> Read<LiveObject> {
    let place = ObjectPlace::of(object);
    let what = format!("reading {}", object.describe());
    let api = place.api(client);
    let found = bounded_read(CALL_LIMIT, what, || api.get(place.name)).await;
    match read(found) {
        Read::Found(found) => match live(&object.content, found) {
            Ok(live) => Read::Found(live),
            Err(error) => Read::Failed(format!("{} cannot be decoded: {error}", object.describe())),
        },
        Read::Missing => Read::Missing,
        Read::Failed(why) => Read::Failed(why),
    }
}

/// What a role or a binding says.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Said {
    rules: Option<Vec<PolicyRule>>,
    aggregation_rule: Option<AggregationRule>,
    role_ref: Option<RoleRef>,
    subjects: Option<Vec<Subject>>,
}

/// What an object says in the place of one of this content.
///
/// # Errors
/// If it says nothing of the kind.
pub fn live(expected: &Content, found: DynamicObject) -> serde_json::Result<LiveObject> {
    let DynamicObject { metadata, data, .. } = found;
    let said: Said = serde_json::from_value(data)?;
    let content = match expected {
        Content::Role { .. } => LiveContent::Role {
            rules: said.rules.unwrap_or_default().into_iter().map(RoleRule::from).collect(),
            aggregates: said.aggregation_rule.is_some(),
        },
        Content::Binding { .. } | Content::Marker { .. } => {
            let role = said.role_ref.unwrap_or_default();
            let subjects = said.subjects.unwrap_or_default().into_iter();
            LiveContent::Binding {
                role: (role.kind, role.name),
                subjects: subjects.map(|s| (s.kind, s.namespace, s.name)).collect(),
            }
        }
    };
    Ok(LiveObject {
        uid: metadata.uid.unwrap_or_default(),
        content,
        grant_uid: metadata.annotations.and_then(|all| all.get(GRANT_UID).cloned()),
    })
}
