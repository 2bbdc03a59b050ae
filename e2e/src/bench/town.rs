//! A control plane with Lapse, a namespace, its people and their policy.

use std::time::Duration;

use anyhow::{Context as _, Result};
use futures::{StreamExt as _, TryStreamExt as _, stream};
use k8s_openapi::api::core::v1::Namespace;
use k8s_openapi::api::rbac::v1::{ClusterRoleBinding, RoleBinding};
use kube::api::{ListParams, PostParams};
use kube::{Api, Client};
use lapse_crds::{AccessDecision, AccessRequest, JitPolicy, RequestPhase};
use serde_json::{Value, json};

use super::seen::{Moment, Seen};
use super::setting::Setting;
use crate::plane::{InstallOptions, Lapse, PlaneOptions, SOON, User, eventually, policy_reported};

/// Where people ask.
pub(super) const NAMESPACE: &str = "bench";
/// What they ask under.
pub(super) const POLICY: &str = "bench";
/// How many people ask.
pub(super) const PEOPLE: usize = 40;
/// How many calls are made at once, by people and by the bare client alike.
pub(super) const AT_ONCE: usize = 32;
/// How long one thing alone may take.
pub(super) const LIMIT: Duration = Duration::from_mins(1);
/// How long people take at least between what they see and what they do. The API server makes consistent
/// lists wait that follow each other within 100 ms, which nobody who reads a request first would meet.
const PAUSE: Duration = Duration::from_millis(300);
/// How long nothing may happen before what is missing counts as never.
pub(super) const PATIENCE: Duration = Duration::from_mins(1);

/// What cases are measured in.
pub(super) struct Town {
    pub(super) lapse: Lapse,
    pub(super) admin: User,
    /// Those who ask.
    pub(super) people: Vec<User>,
    /// Who approves.
    pub(super) boss: User,
    pub(super) bindings: Seen,
    pub(super) requests: Seen,
    pub(super) maps: Seen,
}

impl Town {
    /// A town with one controller and one webhook.
    pub(super) async fn found(setting: &Setting) -> Result<Self> {
        Self::with(setting, InstallOptions::default(), false).await
    }

    /// A town with a gateway for hosts.
    pub(super) async fn found_with_gateway(setting: &Setting) -> Result<Self> {
        let gateway = InstallOptions { gateways: 1, ..InstallOptions::default() };
        Self::with(setting, gateway, false).await
    }

    /// A town for gigabytes of objects.
    pub(super) async fn found_for_much(setting: &Setting) -> Result<Self> {
        Self::with(setting, InstallOptions::default(), true).await
    }

    /// A town with two controllers.
    pub(super) async fn found_with_two(setting: &Setting) -> Result<Self> {
        let two = InstallOptions { controllers: 2, ..InstallOptions::default() };
        Self::with(setting, two, false).await
    }

    /// A town with three controllers, and what can fail between them and the API server.
    pub(super) async fn found_with_faults(setting: &Setting) -> Result<Self> {
        let three =
            InstallOptions { controllers: 3, behind_proxy: true, ..InstallOptions::default() };
        Self::with(setting, three, false).await
    }

    async fn with(setting: &Setting, install: InstallOptions, thrifty: bool) -> Result<Self> {
        let folder = setting.folder.clone();
        let plane = PlaneOptions { folder, thrifty, ..PlaneOptions::default() };
        let install = InstallOptions { programs: setting.programs.clone(), ..install };
        let lapse = Lapse::start(plane, install).await?;
        let plane = lapse.plane();
        let admin = plane.admin().await?;
        let mut people = Vec::new();
        for index in 0..PEOPLE {
            people.push(plane.user(&person(index), &["askers"]).await?);
        }
        let boss = plane.user("boss", &["approvers"]).await?;
        settle(&admin.client).await?;
        let client = || admin.client.clone();
        let bindings = Seen::bindings(client(), NAMESPACE).await?;
        let requests = Seen::requests(client(), NAMESPACE).await?;
        let maps = Seen::maps(client(), NAMESPACE).await?;
        let town = Self { lapse, admin, people, boss, bindings, requests, maps };
        // Warms connections and caches.
        town.given("warm-up", "1h").await?;
        town.decide("warm-up", &json!({"verdict": "Deny"})).await?;
        town.requests.in_state("warm-up", "Ended", LIMIT).await?;
        Ok(town)
    }

    /// Somebody asks.
    pub(super) async fn ask(&self, index: usize, name: &str, duration: &str) -> Result<()> {
        let target = json!({"kubernetes": {"role": {"kind": "ClusterRole", "name": "edit"}}});
        self.ask_for(index, name, duration, POLICY, &target).await
    }

    /// Somebody asks for something else, under another policy.
    pub(super) async fn ask_for(
        &self,
        index: usize,
        name: &str,
        duration: &str,
        policy: &str,
        target: &Value,
    ) -> Result<()> {
        let person = self.people.get(index % PEOPLE).context("there are no people")?;
        let requests: Api<AccessRequest> = Api::namespaced(person.client.clone(), NAMESPACE);
        let request = serde_json::from_value(json!({
            "apiVersion": "lapse.dev/v1alpha1", "kind": "AccessRequest",
            "metadata": {"name": name, "namespace": NAMESPACE},
            "spec": {
                "policy": policy,
                "target": target,
                "duration": duration,
                "reason": "How long does it take?",
            },
        }))?;
        let created = requests.create(&PostParams::default(), &request).await;
        created.with_context(|| format!("asking for {name}"))?;
        Ok(())
    }

    /// Many ask, and wait for their approval.
    pub(super) async fn ask_all(&self, names: &[String], duration: &str) -> Result<()> {
        let asking = names.iter().enumerate().map(|(index, name)| self.ask(index, name, duration));
        stream::iter(asking).buffer_unordered(AT_ONCE).try_collect::<()>().await?;
        let pending = RequestPhase::Pending.to_string();
        let found = self.requests.all_in(names, &pending, PATIENCE).await;
        let missing = found.iter().filter(|found| found.is_none()).count();
        anyhow::ensure!(missing == 0, "{missing} requests never waited for their approval");
        Ok(())
    }

    /// The approver decides; returns when the call was sent and when it was answered.
    pub(super) async fn decide(&self, request: &str, says: &Value) -> Result<(Moment, Moment)> {
        decide(&self.boss, request, says).await
    }

    /// The approver approves.
    pub(super) async fn approve(&self, request: &str) -> Result<(Moment, Moment)> {
        self.decide(request, &json!({"verdict": "Approve"})).await
    }

    /// Somebody asks, and waits until it is seen that they may wait for approval.
    pub(super) async fn pending(&self, name: &str, duration: &str) -> Result<()> {
        self.ask(0, name, duration).await?;
        self.requests.in_state(name, &RequestPhase::Pending.to_string(), LIMIT).await?;
        Ok(())
    }

    /// Lets as much time pass as people do.
    pub(super) async fn pause(&self) {
        tokio::time::sleep(PAUSE).await;
    }

    /// A right is asked for, approved and held; returns when the approver's call was sent, and when it was
    /// answered.
    pub(super) async fn given(&self, name: &str, duration: &str) -> Result<(Moment, Moment)> {
        self.pending(name, duration).await?;
        let called = self.approve(name).await?;
        self.bindings.there(name, LIMIT).await?;
        Ok(called)
    }

    /// When a right ends by its own time.
    pub(super) async fn expires_at(&self, name: &str) -> Result<chrono::DateTime<chrono::Utc>> {
        let requests: Api<AccessRequest> = Api::namespaced(self.admin.client.clone(), NAMESPACE);
        eventually(&format!("{name} to say when it ends"), SOON, async || {
            let status = requests.get(name).await?.status;
            Ok(status.and_then(|status| status.expires_at).map(lapse_crds::Timestamp::time))
        })
        .await
    }

    /// Waits until nothing more is written about rights that are over.
    pub(super) async fn quiet(&self) -> Result<()> {
        let policies: Api<JitPolicy> = Api::all(self.admin.client.clone());
        eventually("the last report on the policy", SOON, async || {
            let status = policies.get(POLICY).await?.status;
            Ok(status.filter(|status| status.active_grants == 0).map(|_| ()))
        })
        .await
    }

    /// Stops the programs, does something that they are not to see half of, and starts them again.
    pub(super) async fn asleep<T>(&self, work: impl Future<Output = Result<T>>) -> Result<T> {
        self.lapse.components().for_each(|component| component.process.kill());
        let done = work.await?;
        for component in self.lapse.components() {
            component.process.start()?;
        }
        for component in self.lapse.components() {
            component.ready().await?;
        }
        Ok(done)
    }

    /// Why a right has ended, in the words of its request.
    pub(super) async fn why_ended(&self, name: &str) -> Result<String> {
        let requests: Api<AccessRequest> = Api::namespaced(self.admin.client.clone(), NAMESPACE);
        let status = requests.get(name).await?.status.unwrap_or_default();
        let messages: Vec<&str> =
            status.conditions.iter().map(|condition| condition.message.as_str()).collect();
        Ok(format!("{name} is {}: {}", status.phase, messages.join(" ")))
    }

    /// Follows nothing any more.
    pub(super) fn look_away(&self) {
        for seen in [&self.bindings, &self.requests, &self.maps] {
            seen.stop();
        }
    }

    /// Follows everything anew, from what there is now.
    pub(super) async fn look_anew(&mut self) -> Result<()> {
        let client = || self.admin.client.clone();
        self.bindings = Seen::bindings(client(), NAMESPACE).await?;
        self.requests = Seen::requests(client(), NAMESPACE).await?;
        self.maps = Seen::maps(client(), NAMESPACE).await?;
        Ok(())
    }

    /// How many bindings of Lapse stand in the namespace.
    pub(super) async fn live(&self) -> Result<usize> {
        let bindings: Api<RoleBinding> = Api::namespaced(self.admin.client.clone(), NAMESPACE);
        let ours = ListParams::default().labels("app.kubernetes.io/managed-by=lapse");
        Ok(bindings.list_metadata(&ours).await?.items.len())
    }
}

/// Somebody decides; returns when the call was sent and when it was answered.
pub(super) async fn decide(who: &User, request: &str, says: &Value) -> Result<(Moment, Moment)> {
    let decisions: Api<AccessDecision> = Api::namespaced(who.client.clone(), NAMESPACE);
    let mut decision = json!({
        "apiVersion": "lapse.dev/v1alpha1", "kind": "AccessDecision",
        "metadata": {"generateName": format!("{request}-"), "namespace": NAMESPACE},
        "spec": says,
    });
    decision["spec"]["request"] = json!({"name": request});
    let decision = serde_json::from_value(decision)?;
    let sent = Moment::now();
    let created = decisions.create(&PostParams::default(), &decision).await;
    let answered = Moment::now();
    created.with_context(|| format!("deciding about {request}"))?;
    Ok((sent, answered))
}

/// The name of somebody who asks. All are equally long, and of nothing but letters and digits, so that what
/// Lapse names after them has it as it is.
pub(super) fn person(index: usize) -> String {
    format!("asker{index:04}")
}

/// Names for so many objects, all equally long.
pub(super) fn names(prefix: &str, count: usize) -> Vec<String> {
    (0..count).map(|index| format!("{prefix}-{index:05}")).collect()
}

async fn settle(admin: &Client) -> Result<()> {
    let post = PostParams::default();
    let namespaces: Api<Namespace> = Api::all(admin.clone());
    let namespace = serde_json::from_value(json!({"metadata": {"name": NAMESPACE}}))?;
    namespaces.create(&post, &namespace).await?;
    let binding = |name: &str, role: &str, group: &str| {
        json!({
            "metadata": {"name": name, "namespace": NAMESPACE},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role},
            "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "Group", "name": group}],
        })
    };
    let local: Api<RoleBinding> = Api::namespaced(admin.clone(), NAMESPACE);
    let ask = serde_json::from_value(binding("ask", "lapse:requester", "askers"))?;
    local.create(&post, &ask).await?;
    let global: Api<ClusterRoleBinding> = Api::all(admin.clone());
    let mut approve = binding("bench-approve", "lapse:approver", "approvers");
    if let Some(metadata) = approve["metadata"].as_object_mut() {
        metadata.remove("namespace");
    }
    global.create(&post, &serde_json::from_value(approve)?).await?;
    policy(admin, POLICY).await
}

/// A policy by which the people of the town may have much; waits until it is reported on.
pub(super) async fn policy(admin: &Client, name: &str) -> Result<()> {
    let policies: Api<JitPolicy> = Api::all(admin.clone());
    let policy = serde_json::from_value(json!({
        "apiVersion": "lapse.dev/v1alpha1", "kind": "JitPolicy", "metadata": {"name": name},
        "spec": {
            "requesters": [{"kind": "Group", "name": "askers"}],
            "targets": [{"kubernetes": {
                "roles": [{"kind": "ClusterRole", "name": "edit"}],
                "namespaces": {"names": [NAMESPACE]},
            }}],
            "duration": {"default": "5m", "max": "8h"},
            "limits": {"openRequestsPerUser": 1000, "activeGrantsPerUser": 1000},
            "approval": {"stages": [
                {"name": "boss", "required": 1, "approvers": [{"kind": "Group", "name": "approvers"}]},
            ]},
        },
    }))?;
    policies.create(&PostParams::default(), &policy).await?;
    policy_reported(admin, name).await
}
