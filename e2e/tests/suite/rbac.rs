//! Roles and bindings, as people write them.

use k8s_openapi::api::authorization::v1::SubjectAccessReview;
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

    /// Somebody may do anything, by a right that is not Lapse's.
    pub(crate) async fn standing_admin(&self, name: &str, subject: &Value) {
        let name = format!("{}-standing-{name}", self.ns);
        self.bind_everywhere(&name, "cluster-admin", subject).await;
        let who = subject["name"].as_str().unwrap();
        let user = match subject["namespace"].as_str() {
            Some(namespace) => format!("system:serviceaccount:{namespace}:{who}"),
            None => who.to_owned(),
        };
        let anything = json!({"verb": "*", "group": "*", "resource": "*"});
        self.authorized(&[user], &anything, true).await;
    }

    /// Waits until all of these users may do something, or not all may any more: the authorizer learns of a binding a
    /// moment after it was made or went.
    pub(crate) async fn authorized(&self, users: &[String], what: &Value, is_allowed: bool) {
        let reviews: Api<SubjectAccessReview> = Api::all(self.admin.client.clone());
        let words = if is_allowed { "may" } else { "may not" };
        eventually(
            &format!("the API server to know that {users:?} {words} {what}"),
            SOON,
            async || {
                let mut all = true;
                for user in users {
                    let spec = json!({"user": user, "resourceAttributes": what});
                    let asked: SubjectAccessReview = typed(json!({"metadata": {}, "spec": spec}));
                    let answer = reviews.create(&PostParams::default(), &asked).await?;
                    all &= answer.status.is_some_and(|status| status.allowed);
                }
                Ok((all == is_allowed).then_some(()))
            },
        )
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
        self.authorized(&marks_of(&user.name, home), &record, is_marked).await;
    }
}
