//! The cluster, and the people in it: alice repairs the shop, for ten minutes at most and without asking anybody.

use std::sync::Arc;

use k8s_openapi::api::core::v1::Pod;
use kube::api::ListParams;
use kube::{Api, ResourceExt as _};
use lapse_crds::{AccessRequest, Grant, GrantPhase, RequestPhase};
use lapse_e2e::node::{Cluster, SHELL};
use lapse_e2e::plane::install::NAMESPACE;
use lapse_e2e::plane::{Answer, SOON, User, eventually};
use serde_json::{Value, json};
use tokio::sync::{Mutex, MutexGuard};

static TURN: Mutex<()> = Mutex::const_new(());

pub(crate) const SHOP: &str = "shop";

/// A cluster that nobody else changes meanwhile.
pub(crate) struct Town {
    pub(crate) cluster: Arc<Cluster>,
    pub(crate) admin: User,
    pub(crate) alice: User,
    _turn: MutexGuard<'static, ()>,
}

impl Town {
    /// Waits for this test's turn. Lapse is then installed, with the chart's default values.
    pub(crate) async fn take() -> Self {
        let turn = TURN.lock().await;
        let cluster = Cluster::shared().await.unwrap();
        let admin = cluster.plane().admin().await.unwrap();
        let alice = cluster.plane().user("alice", &["shop-developers"]).await.unwrap();
        let town = Self { cluster, admin, alice, _turn: turn };
        town.cluster.install(&[]).await.unwrap();
        town
    }

    /// The shop, with a deployment that serves, and the policy for its repair.
    pub(crate) async fn shop(&self) {
        let shop = json!({"apiVersion": "v1", "kind": "List", "items": [
            {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": SHOP}},
            checkout(),
            {
                "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding",
                "metadata": {"name": "developers-ask", "namespace": SHOP},
                "roleRef": {
                    "apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "lapse:requester",
                },
                "subjects": [
                    {"apiGroup": "rbac.authorization.k8s.io", "kind": "Group", "name": "shop-developers"},
                ],
            },
        ]});
        self.apply(&self.admin, &shop).await.unwrap();
        self.repair("10m").await.unwrap();
        let wait = ["wait", "deployment/checkout", "--for=condition=Available", "--timeout=2m"];
        self.kubectl(&self.admin, &wait).await.ok().unwrap();
        let wait = ["wait", "jitpolicy/shop-repair", "--for=condition=Ready", "--timeout=2m"];
        self.kubectl(&self.admin, &wait).await.ok().unwrap();
    }

    /// The policy by which the shop is repaired, for this long at most.
    pub(crate) async fn repair(&self, longest: &str) -> anyhow::Result<String> {
        self.repair_with(longest, &json!({})).await
    }

    /// The same, with more in its spec.
    pub(crate) async fn repair_with(&self, longest: &str, more: &Value) -> anyhow::Result<String> {
        let mut policy = json!({
            "apiVersion": "lapse.dev/v1alpha1", "kind": "JitPolicy", "metadata": {"name": "shop-repair"},
            "spec": {
                "requesters": [{"kind": "Group", "name": "shop-developers"}],
                "targets": [{"kubernetes": {
                    "roles": [{"kind": "ClusterRole", "name": "edit"}], "namespaces": {"names": [SHOP]},
                }}],
                "duration": {"default": "10m", "max": longest},
            },
        });
        for (field, value) in more.as_object().into_iter().flatten() {
            policy["spec"][field] = value.clone();
        }
        self.apply(&self.admin, &policy).await
    }

    /// alice asks, and has the right.
    pub(crate) async fn granted(&self, request: &str) -> Grant {
        self.granted_for(request, "10m").await
    }

    /// The same, for so long.
    pub(crate) async fn granted_for(&self, request: &str, duration: &str) -> Grant {
        let asked = json!({
            "apiVersion": "lapse.dev/v1alpha1", "kind": "AccessRequest",
            "metadata": {"name": request, "namespace": SHOP},
            "spec": {
                "target": {"kubernetes": {"role": {"kind": "ClusterRole", "name": "edit"}}},
                "reason": "Checkout is broken", "duration": duration,
            },
        });
        self.apply(&self.alice, &asked).await.unwrap();
        let requests: Api<AccessRequest> = Api::namespaced(self.admin.client.clone(), SHOP);
        let grant = eventually(&format!("request {request} to be active"), SOON, async || {
            let status = requests.get(request).await?.status.unwrap_or_default();
            Ok(status.grant.filter(|_| status.phase == RequestPhase::Active))
        })
        .await
        .unwrap();
        // The authorizer learns of a binding a moment after it was made.
        let look = async || Ok(self.may_exec().await.then_some(()));
        let let_in = eventually("alice to be let in", SOON, look).await;
        assert!(let_in.is_ok(), "{let_in:?}: {:?}", self.exec().await);
        self.grant(&grant.name).await
    }

    /// alice gives the right back, and it is verified to be gone.
    pub(crate) async fn end(&self, request: &str, grant: &Grant) {
        let done = json!({
            "apiVersion": "lapse.dev/v1alpha1", "kind": "AccessDecision",
            "metadata": {"name": format!("{request}-done"), "namespace": SHOP},
            "spec": {"request": {"name": request}, "verdict": "End"},
        });
        self.apply(&self.alice, &done).await.unwrap();
        self.ended(grant).await;
    }

    /// The right is verified to be gone.
    pub(crate) async fn ended(&self, grant: &Grant) {
        let name = grant.name_any();
        eventually(&format!("grant {name} to have ended"), SOON, async || {
            let status = self.grant(&name).await.status.unwrap();
            Ok((status.phase == GrantPhase::Ended).then_some(()))
        })
        .await
        .unwrap();
        self.kept_out().await;
    }

    /// Waits until alice is kept out. The authorizer learns of it a moment later, and a pod that goes meanwhile says something
    /// else.
    pub(crate) async fn kept_out(&self) {
        let look = async || Ok(is_forbidden(&self.exec().await).then_some(()));
        eventually("alice to be kept out", SOON, look).await.unwrap();
    }

    /// Waits until alice is let in, who is never told that she may not.
    pub(crate) async fn still_let_in(&self) {
        eventually("alice to be let in still", SOON, async || {
            let answer = self.exec().await;
            assert!(!is_forbidden(&answer), "{answer:?}");
            Ok(answer.success().then_some(()))
        })
        .await
        .unwrap();
    }

    pub(crate) async fn grant(&self, name: &str) -> Grant {
        let grants: Api<Grant> = Api::all(self.admin.client.clone());
        grants.get(name).await.unwrap()
    }

    /// Whether alice can really run something in a pod of the shop.
    pub(crate) async fn may_exec(&self) -> bool {
        let answer = self.exec().await;
        assert!(answer.success() || is_forbidden(&answer), "{answer:?}");
        answer.success()
    }

    /// What alice is told who runs something there.
    async fn exec(&self) -> Answer {
        let answer =
            self.kubectl(&self.alice, &["exec", "deployment/checkout", "--", "id", "-u"]).await;
        assert!(!answer.success() || answer.stdout.trim() == "65534", "{answer:?}");
        answer
    }

    /// The pods of a program that run and are to stay.
    pub(crate) async fn pods(&self, component: &str) -> Vec<Pod> {
        let pods: Api<Pod> = Api::namespaced(self.admin.client.clone(), NAMESPACE);
        let label = format!("app.kubernetes.io/component={component}");
        let found = pods.list(&ListParams::default().labels(&label)).await.unwrap();
        found.into_iter().filter(|pod| pod.metadata.deletion_timestamp.is_none()).collect()
    }

    /// Runs kubectl as somebody, in the shop.
    pub(crate) async fn kubectl(&self, who: &User, args: &[&str]) -> Answer {
        let args = [&["--namespace", SHOP], args].concat();
        self.cluster.plane().kubectl(who, &args).await.unwrap()
    }

    pub(crate) async fn apply(&self, who: &User, object: &Value) -> anyhow::Result<String> {
        let (plane, object) = (self.cluster.plane(), object.to_string());
        let apply = ["apply", "--filename", "-"];
        plane.kubectl_with_input(who, &apply, Some(&object)).await?.ok()
    }

    pub(crate) async fn helm(&self, args: &[&str]) -> Answer {
        let args = [args, &["--namespace", NAMESPACE]].concat();
        self.cluster.plane().helm(&args).await.unwrap()
    }
}

fn is_forbidden(answer: &Answer) -> bool {
    !answer.success() && answer.stderr.contains("Forbidden")
}

/// It writes a line a second to its log, and answers on a port.
fn checkout() -> Value {
    let script =
        "while :; do echo up | nc -l -p 8080 >/dev/null; done & while :; do date; sleep 1; done";
    let container = json!({"name": "checkout", "image": SHELL, "command": ["sh", "-c", script]});
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {"name": "checkout", "namespace": SHOP},
        "spec": {
            "selector": {"matchLabels": {"app": "checkout"}},
            "template": {
                "metadata": {"labels": {"app": "checkout"}},
                "spec": {"terminationGracePeriodSeconds": 1, "containers": [container]},
            },
        },
    })
}
