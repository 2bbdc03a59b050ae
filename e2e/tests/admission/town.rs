//! A namespace with people, a policy and what they may do.

use std::fmt::Debug;
use std::sync::Arc;

use k8s_openapi::api::authorization::v1::SelfSubjectAccessReview;
use kube::api::{DynamicObject, Patch, PatchParams, PostParams};
use kube::core::NamespaceResourceScope;
use kube::{Api, Client, Resource};
use lapse_cluster::{Stored, read_keys};
use lapse_crds::{AccessDecision, AccessRequest};
pub(crate) use lapse_e2e::plane::SOON;
use lapse_e2e::plane::install::NAMESPACE;
use lapse_e2e::plane::{Answer, InstallOptions, Lapse, Plane, PlaneOptions, User, eventually};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio::sync::OnceCell;

static SHARED: OnceCell<Arc<Lapse>> = OnceCell::const_new();

/// A namespace of its own for a test, and a policy of the same name: alice may ask for `edit`, bob
/// approves, olga is named as an approver and may not approve, mallory may decide nothing.
pub(crate) struct Town {
    pub(crate) lapse: Arc<Lapse>,
    pub(crate) name: &'static str,
    pub(crate) admin: User,
    pub(crate) alice: User,
    pub(crate) bob: User,
    pub(crate) olga: User,
    pub(crate) mallory: User,
}

pub(crate) fn two_webhooks() -> InstallOptions {
    InstallOptions { controllers: 0, webhooks: 2, ..InstallOptions::default() }
}

impl Town {
    /// On the control plane that tests share.
    pub(crate) async fn shared(name: &'static str) -> Self {
        let start = async || {
            let plane = Plane::shared().await?;
            Lapse::install(plane, two_webhooks()).await.map(Arc::new)
        };
        let lapse = SHARED.get_or_try_init(start).await.unwrap().clone();
        Self::found(lapse, name).await
    }

    /// On a control plane of its own, to break things.
    pub(crate) async fn own(name: &'static str) -> Self {
        let lapse = Lapse::start(PlaneOptions::default(), two_webhooks()).await.unwrap();
        Self::found(Arc::new(lapse), name).await
    }

    async fn found(lapse: Arc<Lapse>, name: &'static str) -> Self {
        let plane = lapse.plane().clone();
        let person = async |who: &str, groups: &[&str]| plane.user(who, groups).await.unwrap();
        let town = Self {
            name,
            admin: plane.admin().await.unwrap(),
            alice: person("alice", &["shop-developers"]).await,
            bob: person("bob", &["shop-managers"]).await,
            olga: person("olga", &[]).await,
            mallory: person("mallory", &[]).await,
            lapse,
        };
        let bind = |binding: &str, role: &str, who: &str| {
            json!({
                "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding",
                "metadata": {"name": binding, "namespace": name},
                "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role},
                "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": who}],
            })
        };
        // The verb `approve` is on a policy, which has no namespace.
        let approver = json!({
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding",
            "metadata": {"name": format!("bob-approves-{name}")},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "lapse:approver"},
            "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "bob"}],
        });
        let items = [
            json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}),
            bind("alice-asks", "lapse:requester", "alice"),
            bind("olga-decides", "lapse:requester", "olga"),
            bind("mallory-decides", "lapse:requester", "mallory"),
            approver,
            town.policy(&json!({})),
        ];
        let list = json!({"apiVersion": "v1", "kind": "List", "items": items});
        town.kubectl(&town.admin, &["create", "--save-config", "-f", "-"], &list)
            .await
            .ok()
            .unwrap();
        let create = |resource: &str| json!({"verb": "create", "group": "lapse.dev", "resource": resource, "namespace": name});
        town.authorized(&town.alice, &create("accessrequests")).await;
        for who in [&town.bob, &town.olga, &town.mallory] {
            town.authorized(who, &create("accessdecisions")).await;
        }
        town
    }

    /// Waits until somebody may do this: the authorizer learns of a binding a moment after it was made.
    pub(crate) async fn authorized(&self, who: &User, what: &Value) {
        let reviews: Api<SelfSubjectAccessReview> = Api::all(who.client.clone());
        let asked = json!({"metadata": {}, "spec": {"resourceAttributes": what}});
        let asked: SelfSubjectAccessReview = serde_json::from_value(asked).unwrap();
        eventually(&format!("{} to be let {what}", who.name), SOON, async || {
            let answer = reviews.create(&PostParams::default(), &asked).await?;
            Ok(answer.status.is_some_and(|status| status.allowed).then_some(()))
        })
        .await
        .unwrap();
    }

    /// The policy, with this merged over its spec.
    pub(crate) fn policy(&self, change: &Value) -> Value {
        let edit = json!({"kind": "ClusterRole", "name": "edit"});
        let mut spec = json!({
            "requesters": [{"kind": "Group", "name": "shop-developers"}],
            "targets": [{"kubernetes": {"roles": [edit], "namespaces": {"names": [self.name]}}}],
            "duration": {"min": "5m", "default": "30m", "max": "8h"},
            "approval": {"stages": [{"name": "manager", "required": 1, "approvers": [
                {"kind": "Group", "name": "shop-managers"}, {"kind": "User", "name": "olga"},
            ]}]},
        });
        merge(&mut spec, change);
        json!({
            "apiVersion": "lapse.dev/v1alpha1", "kind": "JitPolicy",
            "metadata": {"name": self.name}, "spec": spec,
        })
    }

    /// What alice asks for, with this merged over its spec.
    pub(crate) fn request(&self, name: &str, change: &Value) -> Value {
        let mut spec = json!({
            "policy": self.name,
            "target": {"kubernetes": {"role": {"kind": "ClusterRole", "name": "edit"}}},
            "duration": "1h",
            "reason": "Checkout fails for EU cards",
        });
        merge(&mut spec, change);
        json!({
            "apiVersion": "lapse.dev/v1alpha1", "kind": "AccessRequest",
            "metadata": {"name": name, "namespace": self.name}, "spec": spec,
        })
    }

    /// A decision about a request, with this merged over its spec.
    pub(crate) fn decision(&self, request: &str, change: &Value) -> Value {
        let mut spec = json!({"request": {"name": request}, "verdict": "Approve"});
        merge(&mut spec, change);
        json!({
            "apiVersion": "lapse.dev/v1alpha1", "kind": "AccessDecision",
            "metadata": {"generateName": format!("{request}-"), "namespace": self.name},
            "spec": spec,
        })
    }

    pub(crate) fn api<K>(&self, who: &User) -> Api<K>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope>,
    {
        Api::namespaced(who.client.clone(), self.name)
    }

    /// Creates a request as alice.
    pub(crate) async fn ask(&self, name: &str) -> AccessRequest {
        self.create(&self.alice, &self.request(name, &json!({}))).await.unwrap()
    }

    /// Creates a decision.
    pub(crate) async fn decide(
        &self,
        who: &User,
        request: &str,
        change: Value,
    ) -> Result<AccessDecision, String> {
        self.create(who, &self.decision(request, &change)).await
    }

    /// Creates anything in the namespace; the API server's message if it is refused.
    pub(crate) async fn create<K>(&self, who: &User, object: &Value) -> Result<K, String>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
            + Clone
            + Debug
            + Serialize
            + DeserializeOwned,
    {
        let resource = kube::api::ApiResource::erase::<K>(&());
        let api: Api<DynamicObject> =
            Api::namespaced_with(who.client.clone(), self.name, &resource);
        // Sent as it is: typed, what is not a valid object could not be sent at all.
        let object: DynamicObject = serde_json::from_value(object.clone()).unwrap();
        let created = api.create(&PostParams::default(), &object).await.map_err(message)?;
        Ok(serde_json::from_value(serde_json::to_value(created).unwrap()).unwrap())
    }

    /// Runs kubectl with an object on its standard input.
    pub(crate) async fn kubectl(&self, who: &User, args: &[&str], object: &Value) -> Answer {
        let text = object.to_string();
        self.lapse.plane().kubectl_with_input(who, args, Some(&text)).await.unwrap()
    }

    /// Whether the attestation of a stored object verifies with the published keys.
    pub(crate) async fn attested<K>(&self, name: &str) -> Result<(), String>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
            + Clone
            + Debug
            + DeserializeOwned,
    {
        let keys = read_keys(&self.admin.client, NAMESPACE).await.unwrap();
        let stored = self.api::<Stored<K>>(&self.admin).get(name).await.unwrap();
        let attested = stored.attest(&keys).unwrap();
        attested.attestation.map(drop).map_err(|error| error.to_string())
    }
}

/// The message of the API server.
pub(crate) fn message(error: kube::Error) -> String {
    match error {
        kube::Error::Api(status) => status.message,
        other => other.to_string(),
    }
}

/// Patches an object of the cluster by JSON merge patch.
pub(crate) async fn patch_cluster<K>(client: &Client, name: &str, patch: Value) -> Result<K, String>
where
    K: Resource<DynamicType = (), Scope = kube::core::ClusterResourceScope>
        + Clone
        + Debug
        + DeserializeOwned,
{
    let api: Api<K> = Api::all(client.clone());
    api.patch(name, &PatchParams::default(), &Patch::Merge(patch)).await.map_err(message)
}

/// RFC 7396, as far as tests need it.
fn merge(into: &mut Value, change: &Value) {
    for (field, value) in change.as_object().into_iter().flatten() {
        match value {
            Value::Null => drop(into.as_object_mut().unwrap().remove(field)),
            value => into[field] = value.clone(),
        }
    }
}
