//! A corner of the cluster with people: alice may ask for rights on one Endpoint, bob approves.

use std::fs;
use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::{Context as _, Result};
use chrono::{DateTime, Utc};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::Api;
use kube::api::PostParams;
use lapse_crds::{
    AccessDecision, AccessRequest, AccessRequestStatus, ConditionStatus, Conditions as _, Endpoint,
    Grant, GrantPhase, RequestPhase,
};
use lapse_e2e::plane::install::NAMESPACE;
use lapse_e2e::plane::{
    Answer, InstallOptions, Lapse, PlaneOptions, SOON, User, apply, eventually, policy_reported,
};
use lapse_engine::activity::STREAM;
use lapse_engine::endpoint::hash_of_token;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio::sync::OnceCell;

/// The namespace of what people request on hosts, as the chart has it.
pub(crate) const CARRIED_TO: &str = "default";
pub(crate) const TOKEN: &str = "0f3a-a-token-with-enough-randomness-in-it";

/// How long a right lasts whose end a test waits for. Its time begins with the approval: a slow machine must have given it, and
/// done with it what the test does before the end.
pub(crate) const SHORT: &str = "30s";

static LAPSE: OnceCell<Arc<Lapse>> = OnceCell::const_new();

async fn lapse() -> Arc<Lapse> {
    let start = async || {
        let set = vec!["gateway.requests.enabled=true".to_owned()];
        let options = InstallOptions { gateways: 1, set, ..InstallOptions::default() };
        Lapse::start(PlaneOptions::default(), options).await.map(Arc::new)
    };
    LAPSE.get_or_try_init(start).await.unwrap().clone()
}

/// What belongs to one Endpoint, by whose name its people are called, too.
pub(crate) struct Corner {
    lapse: Arc<Lapse>,
    pub(crate) admin: User,
    pub(crate) alice: User,
    pub(crate) bob: User,
    pub(crate) name: String,
}

impl Corner {
    /// With a policy by which alice may be given anything on the Endpoint.
    pub(crate) async fn new(name: &str) -> Self {
        Self::of(lapse().await, name).await
    }

    /// The same, of another installation than that which the tests share.
    pub(crate) async fn of(lapse: Arc<Lapse>, name: &str) -> Self {
        let plane = lapse.plane();
        let group = |of: &str| format!("{name}-{of}");
        let alice = plane.user(&group("alice"), &[&group("people")]).await.unwrap();
        let bob = plane.user(&group("bob"), &[&group("owners")]).await.unwrap();
        let admin = plane.admin().await.unwrap();
        let corner = Self { admin, alice, bob, name: name.to_owned(), lapse: Arc::clone(&lapse) };
        corner.settle().await;
        corner
    }

    /// Where the gateway serves, on this machine.
    pub(crate) fn gateway(&self) -> SocketAddr {
        self.lapse.gateways[0].served.unwrap()
    }

    async fn settle(&self) {
        let name = &self.name;
        self.apply(json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}))
            .await;
        for (kind, of, role) in [
            ("RoleBinding", "people", "lapse:requester"),
            ("ClusterRoleBinding", "owners", "lapse:approver"),
        ] {
            let group = "rbac.authorization.k8s.io";
            self.apply(json!({
                "apiVersion": "rbac.authorization.k8s.io/v1", "kind": kind,
                "metadata": {"name": format!("{name}-{of}")},
                "roleRef": {"apiGroup": group, "kind": "ClusterRole", "name": role},
                "subjects": [{"apiGroup": group, "kind": "Group", "name": format!("{name}-{of}")}],
            }))
            .await;
        }
        self.endpoint("alice").await;
        self.policy(json!({
            "names": [name], "admin": {}, "groups": ["ops", "nowhere"],
            "commands": [
                {"path": "/usr/bin/id", "args": ["-u"]},
                {"path": "/usr/bin/head", "argsPattern": "^-n [0-9]+ /etc/shadow$"},
                {"path": "/home/alice/tool"},
                {"path": "/usr/bin/nothing-here"},
            ],
        }))
        .await;
    }

    /// The Endpoint, on which alice is this local user.
    pub(crate) async fn endpoint(&self, local_user: &str) {
        let users = json!([{"subject": {"kind": "User", "name": self.alice.name}, "localUser": local_user}]);
        let enrolment =
            json!({"tokenHash": hash_of_token(TOKEN), "expiresAt": "2036-01-01T00:00:00Z"});
        self.apply(json!({
            "apiVersion": "lapse.dev/v1alpha1", "kind": "Endpoint", "metadata": {"name": self.name},
            "spec": {"platform": "Linux", "users": users, "enrolment": enrolment,
                "owners": [{"kind": "User", "name": self.bob.name}]},
        }))
        .await;
    }

    async fn policy(&self, endpoint: Value) {
        self.policy_named(&self.name, endpoint, json!({})).await;
    }

    /// A policy by which alice may be given this, and that says this of what happens while she holds it.
    pub(crate) async fn policy_named(&self, policy: &str, endpoint: Value, session: Value) {
        let name = &self.name;
        let owners = json!([{"kind": "Group", "name": format!("{name}-owners")}]);
        self.apply(json!({
            "apiVersion": "lapse.dev/v1alpha1", "kind": "JitPolicy", "metadata": {"name": policy},
            "spec": {
                "requesters": [{"kind": "Group", "name": format!("{name}-people")}],
                "targets": [{"endpoint": endpoint}],
                "duration": {"default": "5m", "max": "1h"},
                "limits": {"openRequestsPerUser": 20, "activeGrantsPerUser": 20},
                "approval": {"stages": [{"name": "owner", "required": 1, "approvers": owners}]},
                "session": session,
            },
        }))
        .await;
        policy_reported(&self.admin.client, policy).await.unwrap();
    }

    /// A policy by which whoever is a local user of the Endpoint may be given this there.
    pub(crate) async fn for_local_users(&self, mut endpoint: Value) {
        let name = &self.name;
        endpoint["names"] = json!([name]);
        let policy = format!("{name}-local");
        let owners = json!([{"kind": "Group", "name": format!("{name}-owners")}]);
        self.apply(json!({
            "apiVersion": "lapse.dev/v1alpha1", "kind": "JitPolicy", "metadata": {"name": policy},
            "spec": {
                "requesters": [{"kind": "EndpointUser", "endpoint": name}],
                "targets": [{"endpoint": endpoint}],
                "duration": {"default": "5m", "max": "1h"},
                "approval": {"stages": [{"name": "owner", "required": 1, "approvers": owners}]},
            },
        }))
        .await;
        policy_reported(&self.admin.client, &policy).await.unwrap();
    }

    /// What was requested on the host itself.
    pub(crate) fn carried(&self) -> Api<AccessRequest> {
        Api::namespaced(self.admin.client.clone(), CARRIED_TO)
    }

    /// What the gateway has exported of what was done on this host: each entry as it stands there.
    pub(crate) fn exported(&self) -> Vec<Value> {
        let log = fs::read(&self.lapse.gateways[0].process.spec().log).unwrap();
        let log = String::from_utf8_lossy(&log).into_owned();
        let lines = log.lines().filter(|line| line.contains(STREAM));
        let entries = lines.filter_map(|line| serde_json::from_str::<Value>(line).ok());
        entries.filter(|entry| entry["endpoint"] == self.name.as_str()).collect()
    }

    /// By what hosts know this installation.
    pub(crate) async fn pin(&self) -> String {
        let maps: Api<ConfigMap> = Api::namespaced(self.admin.client.clone(), NAMESPACE);
        let map = maps.get("lapse-endpoint-trust").await.unwrap();
        map.data.unwrap().remove("pin").unwrap()
    }

    pub(crate) fn endpoints(&self) -> Api<Endpoint> {
        Api::all(self.admin.client.clone())
    }

    /// Waits until its condition `Ready` is this.
    pub(crate) async fn ready(&self, expected: ConditionStatus) -> Result<()> {
        let mut last = None;
        let what = format!("{} to be Ready={expected:?}", self.name);
        let found = eventually(&what, SOON, async || {
            let status = self.endpoints().get(&self.name).await?.status.unwrap_or_default();
            let ready = status.conditions.condition("Ready").map(|ready| ready.status);
            last = Some(status);
            Ok((ready == Some(expected)).then_some(()))
        });
        found.await.with_context(|| format!("{last:#?}"))
    }

    /// Runs `kubectl jit` with these words as somebody, for the namespace of the corner.
    pub(crate) async fn jit(&self, who: &User, line: &str) -> Answer {
        let place = ["--namespace", self.name.as_str()];
        let args: Vec<&str> = place.into_iter().chain(line.split(' ')).collect();
        self.lapse.plane().jit(who, &args).await.unwrap()
    }

    pub(crate) async fn apply(&self, object: Value) {
        apply(&self.admin.client, &self.name, object).await.unwrap();
    }

    pub(crate) fn requests(&self, who: &User) -> Api<AccessRequest> {
        Api::namespaced(who.client.clone(), &self.name)
    }

    pub(crate) fn grants(&self) -> Api<Grant> {
        Api::all(self.admin.client.clone())
    }

    /// alice asks.
    pub(crate) async fn ask(&self, request: &str, what: &Value, duration: &str) {
        self.ask_by(&self.name, request, what, duration).await;
    }

    /// Asks by this policy.
    pub(crate) async fn ask_by(&self, policy: &str, request: &str, what: &Value, duration: &str) {
        let mut endpoint = json!({"name": self.name});
        endpoint.as_object_mut().unwrap().extend(what.as_object().unwrap().clone());
        let request = typed(json!({
            "apiVersion": "lapse.dev/v1alpha1", "kind": "AccessRequest",
            "metadata": {"name": request, "namespace": self.name},
            "spec": {"policy": policy, "target": {"endpoint": endpoint},
                "duration": duration, "reason": "A test on a host"},
        }));
        self.requests(&self.alice).create(&PostParams::default(), &request).await.unwrap();
    }

    pub(crate) async fn decide(&self, who: &User, request: &str, verdict: &str) -> Result<()> {
        self.decide_in(&self.name, who, request, verdict).await
    }

    /// Decides on a request of this namespace.
    pub(crate) async fn decide_in(
        &self,
        namespace: &str,
        who: &User,
        request: &str,
        verdict: &str,
    ) -> Result<()> {
        let decision: AccessDecision = typed(json!({
            "apiVersion": "lapse.dev/v1alpha1", "kind": "AccessDecision",
            "metadata": {"generateName": format!("{request}-"), "namespace": namespace},
            "spec": {"request": {"name": request}, "verdict": verdict},
        }));
        let api: Api<AccessDecision> = Api::namespaced(who.client.clone(), namespace);
        api.create(&PostParams::default(), &decision).await?;
        Ok(())
    }

    /// Waits for the phase of a request.
    pub(crate) async fn phase(
        &self,
        request: &str,
        phase: RequestPhase,
    ) -> Result<AccessRequestStatus> {
        let mut last = None;
        let what = format!("request {request} to be {phase}");
        let found = eventually(&what, SOON, async || {
            let status = self.requests(&self.admin).get(request).await?.status.unwrap_or_default();
            last = Some(status.clone());
            Ok((status.phase == phase).then_some(status))
        });
        found.await.with_context(|| format!("{last:#?}"))
    }

    /// alice asks, bob approves, she has it. Returns the name of the Grant, and its end.
    pub(crate) async fn given(
        &self,
        request: &str,
        what: &Value,
        duration: &str,
    ) -> Result<(String, DateTime<Utc>)> {
        self.ask(request, what, duration).await;
        self.decide(&self.bob, request, "Approve").await?;
        let status = self.phase(request, RequestPhase::Active).await?;
        let name = status.grant.context("no Grant is named")?.name;
        let grant = self.grants().get(&name).await?;
        Ok((name, grant.spec.expires_at.time()))
    }

    /// Waits until a grant has ended, verified by the agent.
    pub(crate) async fn ended(&self, grant: &str) -> Result<Grant> {
        let mut last = None;
        let what = format!("{grant} to have ended");
        let found = eventually(&what, SOON, async || {
            let grant = self.grants().get(grant).await?;
            let phase = grant.status.as_ref().map(|status| status.phase);
            last.clone_from(&grant.status);
            Ok((phase == Some(GrantPhase::Ended)).then_some(grant))
        });
        found.await.with_context(|| format!("{last:#?}"))
    }
}

fn typed<K: DeserializeOwned>(value: Value) -> K {
    serde_json::from_value(value).unwrap()
}
