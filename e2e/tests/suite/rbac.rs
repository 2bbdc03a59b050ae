//! Roles and bindings, as people write them.

use k8s_openapi::api::authorization::v1::SubjectAccessReview;
use kube::Api;
use kube::api::PostParams;
use lapse_e2e::plane::eventually;
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
    }

    /// Somebody holds a ClusterRole in the whole cluster, by a right that is not Lapse's.
    pub(crate) async fn bind_everywhere(&self, name: &str, role: &str, subject: &Value) {
        self.apply(binding("ClusterRoleBinding", name, &cluster_role(role), subject)).await;
    }

    /// Somebody may do anything, by a right that is not Lapse's. The authorizer learns of a binding a moment after it
    /// was made, so that is waited for.
    pub(crate) async fn standing_admin(&self, name: &str, subject: &Value) {
        let name = format!("{}-standing-{name}", self.ns);
        self.bind_everywhere(&name, "cluster-admin", subject).await;
        let who = subject["name"].as_str().unwrap();
        let user = match subject["namespace"].as_str() {
            Some(namespace) => format!("system:serviceaccount:{namespace}:{who}"),
            None => who.to_owned(),
        };
        let anything = json!({"verb": "*", "group": "*", "resource": "*"});
        let asked: SubjectAccessReview =
            typed(json!({"metadata": {}, "spec": {"user": user, "resourceAttributes": anything}}));
        let reviews: Api<SubjectAccessReview> = Api::all(self.admin.client.clone());
        eventually(&format!("{user} to be let do anything"), SOON, async || {
            let answer = reviews.create(&PostParams::default(), &asked).await?;
            Ok(answer.status.is_some_and(|status| status.allowed).then_some(()))
        })
        .await
        .unwrap();
    }
}
