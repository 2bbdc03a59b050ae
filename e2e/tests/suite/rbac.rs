//! Roles and bindings, as people write them.

use k8s_openapi::api::authorization::v1::SubjectAccessReview;
use k8s_openapi::api::rbac::v1::ClusterRole;
use kube::Api;
use kube::api::PostParams;
use lapse_e2e::plane::{User, eventually};
use lapse_engine::session::marks_of;
use serde_json::{Value, json};

use crate::world::{SOON, World, typed};

const GROUP: &str = "rbac.authorization.k8s.io";

/// A ClusterRole, as a binding names it.
pub(crate) fn cluster_role(name: &str) -> Value {
    json!({"apiGroup": GROUP, "kind": "ClusterRole", "name": name})
}

/// A person, as a binding names them.
pub(crate) fn user(name: &str) -> Value {
    json!({"apiGroup": GROUP, "kind": "User", "name": name})
}

/// A group, as a binding names it.
pub(crate) fn group(name: &str) -> Value {
    json!({"apiGroup": GROUP, "kind": "Group", "name": name})
}

/// A service account, as a binding names it.
pub(crate) fn account(namespace: &str, name: &str) -> Value {
    json!({"kind": "ServiceAccount", "name": name, "namespace": namespace})
}

/// A binding of this kind, to what [`cluster_role`] and the like name.
pub(crate) fn binding(kind: &str, name: &str, role: &Value, subject: &Value) -> Value {
    json!({
        "apiVersion": format!("{GROUP}/v1"), "kind": kind, "metadata": {"name": name},
        "roleRef": role, "subjects": [subject],
    })
}

/// Somebody, as a review of access asks about them.
fn asked(subject: &Value) -> Value {
    let name = &subject["name"];
    match (subject["kind"].as_str(), subject["namespace"].as_str(), name.as_str()) {
        (Some("Group"), ..) => json!({"groups": [name]}),
        (_, Some(namespace), Some(name)) => {
            json!({"user": format!("system:serviceaccount:{namespace}:{name}")})
        }
        _ => json!({"user": name}),
    }
}

impl World {
    /// A ClusterRole with these rules.
    pub(crate) async fn cluster_role(&self, name: &str, rules: Value) {
        self.apply(json!({
            "apiVersion": format!("{GROUP}/v1"), "kind": "ClusterRole",
            "metadata": {"name": name}, "rules": rules,
        }))
        .await;
    }

    /// Somebody holds a ClusterRole in this namespace, by a right that is not Lapse's.
    pub(crate) async fn bind(&self, name: &str, role: &str, subject: &Value) {
        self.apply(binding("RoleBinding", name, &cluster_role(role), subject)).await;
        self.knows(role, subject, Some(&self.ns)).await;
    }

    /// Somebody holds a ClusterRole in the whole cluster, by a right that is not Lapse's.
    pub(crate) async fn bind_everywhere(&self, name: &str, role: &str, subject: &Value) {
        self.apply(binding("ClusterRoleBinding", name, &cluster_role(role), subject)).await;
        self.knows(role, subject, None).await;
    }

    /// Somebody may do anything, by a right that is not Lapse's.
    pub(crate) async fn standing_admin(&self, name: &str, subject: &Value) {
        let name = format!("{}-standing-{name}", self.ns);
        self.bind_everywhere(&name, "cluster-admin", subject).await;
    }

    /// Waits until the authorizer knows of a binding, which it learns of a moment after it was made: until its subject may
    /// do the first thing that the role allows.
    async fn knows(&self, role: &str, subject: &Value, namespace: Option<&str>) {
        let roles: Api<ClusterRole> = Api::all(self.admin.client.clone());
        let allowed = roles.get_opt(role).await.unwrap().and_then(|role| role.rules);
        let first = allowed.unwrap_or_default().into_iter().find_map(|rule| {
            let resource = rule.resources?.into_iter().next()?;
            let (resource, subresource) =
                resource.split_once('/').unwrap_or((resource.as_str(), ""));
            Some(json!({
                "verb": rule.verbs.first()?, "group": rule.api_groups?.first()?,
                "resource": resource, "subresource": subresource, "namespace": namespace,
                "name": rule.resource_names.and_then(|names| names.into_iter().next()),
            }))
        });
        if let Some(first) = first {
            self.authorized(std::slice::from_ref(subject), &first, true).await;
        }
    }

    /// Waits until all of these may do something, or not all may any more.
    pub(crate) async fn authorized(&self, subjects: &[Value], what: &Value, is_allowed: bool) {
        let reviews: Api<SubjectAccessReview> = Api::all(self.admin.client.clone());
        let words = if is_allowed { "may" } else { "may not" };
        let know = format!("the API server to know that {subjects:?} {words} {what}");
        eventually(&know, SOON, async || {
            let mut all = true;
            for subject in subjects {
                let mut spec = asked(subject);
                spec["resourceAttributes"] = what.clone();
                let review: SubjectAccessReview = typed(json!({"metadata": {}, "spec": spec}));
                let answer = reviews.create(&PostParams::default(), &review).await?;
                all &= answer.status.is_some_and(|status| status.allowed);
            }
            Ok((all == is_allowed).then_some(()))
        })
        .await
        .unwrap();
    }

    /// Waits until the API server knows that somebody holds a right, or none any more. The guard goes by that, and of who
    /// may do anything without a right nothing else shows it.
    pub(crate) async fn marked(&self, user: &User, is_marked: bool) {
        let home = "lapse-system";
        let record = json!({
            "verb": "record", "group": "lapse.dev", "resource": "sessions", "namespace": home,
        });
        let marks: Vec<Value> =
            marks_of(&user.name, home).iter().map(|mark| self::user(mark)).collect();
        self.authorized(&marks, &record, is_marked).await;
    }
}
