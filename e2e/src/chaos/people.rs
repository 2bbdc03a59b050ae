//! Those who ask, approve, end, switch and delete.

use std::time::Duration;

use anyhow::{Context as _, Result};
use k8s_openapi::api::authorization::v1::{
    ResourceAttributes, SelfSubjectAccessReview, SelfSubjectAccessReviewSpec,
};
use k8s_openapi::api::rbac::v1::RoleBinding;
use kube::api::{DeleteParams, ListParams, Patch, PatchParams, PostParams};
use kube::{Api, Client, ResourceExt as _};
use lapse_crds::{AccessDecision, AccessRequest, Grant, JitPolicy, OBJECT_PREFIX};
use serde_json::{Value, json};

use super::history::{FORBIDDING, NAMESPACE, SWITCHES_OFF, SWITCHES_ON};
use super::settled::Standing;
use super::step::{Act, Manager, Policy};
use crate::plane::install::NAMESPACE as HOME;
use crate::plane::{Plane, User, apply, policy_reported};

/// How long people wait for an answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// The people.
pub(super) struct People {
    admin: User,
    alice: User,
    bob: User,
    ben: User,
    switches_off: User,
    switches_on: User,
}

impl People {
    /// The namespace, the people and their policies.
    pub(super) async fn settle(plane: &Plane) -> Result<Self> {
        let masters = ["system:masters"];
        let people = Self {
            admin: plane.admin().await?,
            alice: plane.user("alice", &["askers"]).await?,
            bob: plane.user("bob", &["managers"]).await?,
            ben: plane.user("ben", &["managers"]).await?,
            switches_off: plane.user(SWITCHES_OFF, &masters).await?,
            switches_on: plane.user(SWITCHES_ON, &masters).await?,
        };
        let admin = &people.admin.client;
        let group = "rbac.authorization.k8s.io";
        let binding = |kind: &str, name: &str, role: &str, who: &str| {
            json!({
                "apiVersion": format!("{group}/v1"), "kind": kind, "metadata": {"name": name},
                "roleRef": {"apiGroup": group, "kind": "ClusterRole", "name": role},
                "subjects": [{"apiGroup": group, "kind": "Group", "name": who}],
            })
        };
        for object in [
            json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}}),
            binding("RoleBinding", "ask", "lapse:requester", "askers"),
            binding("ClusterRoleBinding", "chaos-approve", "lapse:approver", "managers"),
        ] {
            apply(admin, NAMESPACE, object).await?;
        }
        for policy in Policy::ALL {
            apply(admin, NAMESPACE, policy_object(policy)).await?;
            policy_reported(admin, policy.name()).await?;
        }
        Ok(people)
    }

    /// Somebody does something; `number` makes what they make unique.
    ///
    /// # Errors
    /// If that was refused, or not answered in time.
    pub(super) async fn does(&self, act: Act, number: usize) -> Result<()> {
        let done = tokio::time::timeout(PATIENCE, self.tries(act, number)).await;
        done.context("no answer")?
    }

    async fn tries(&self, act: Act, number: usize) -> Result<()> {
        let admin = &self.admin.client;
        match act {
            Act::Ask { request, policy, seconds } => {
                self.ask(request, policy, seconds, Value::Null).await
            }
            Act::Extend { request, of, policy, seconds } => {
                self.ask(request, policy, seconds, json!(name(of))).await
            }
            Act::Approve { request, by } => {
                let who = match by {
                    Manager::Bob => &self.bob,
                    Manager::Ben => &self.ben,
                };
                decide(who, request, "Approve", number).await
            }
            Act::Deny { request } => decide(&self.bob, request, "Deny", number).await,
            Act::End { request } => decide(&self.alice, request, "End", number).await,
            Act::DeleteRequest { request } => {
                let requests: Api<AccessRequest> = Api::namespaced(admin.clone(), NAMESPACE);
                requests.delete(&name(request), &DeleteParams::default()).await?;
                Ok(())
            }
            Act::DeleteGrant { request } => {
                let grants: Api<Grant> = Api::all(admin.clone());
                grants.delete(&self.grant_of(request).await?, &DeleteParams::default()).await?;
                Ok(())
            }
            Act::DeleteBinding { request } => self.unbind(request, NAMESPACE).await,
            Act::DeleteMarker { request } => self.unbind(request, HOME).await,
            Act::SwitchOff(policy) => switch(&self.switches_off, policy, "Disabled").await,
            Act::SwitchOn(policy) => switch(&self.switches_on, policy, "Enforce").await,
            Act::Forbid => {
                let policies: Api<JitPolicy> = Api::all(admin.clone());
                let everybody = json!([{"kind": "Group", "name": "askers"}]);
                let policy = json!({
                    "metadata": {"name": FORBIDDING},
                    "spec": {"effect": "Deny", "requesters": everybody, "targets": [{"all": true}]},
                });
                policies.create(&PostParams::default(), &serde_json::from_value(policy)?).await?;
                Ok(())
            }
            Act::Permit => {
                let policies: Api<JitPolicy> = Api::all(admin.clone());
                policies.delete(FORBIDDING, &DeleteParams::default()).await?;
                Ok(())
            }
        }
    }

    async fn ask(&self, request: u32, policy: Policy, seconds: u64, extends: Value) -> Result<()> {
        let requests: Api<AccessRequest> = Api::namespaced(self.alice.client.clone(), NAMESPACE);
        let mut object = json!({
            "apiVersion": "lapse.dev/v1alpha1", "kind": "AccessRequest",
            "metadata": {"name": name(request), "namespace": NAMESPACE},
            "spec": {
                "policy": policy.name(),
                "target": {"kubernetes": {"role": {"kind": "ClusterRole", "name": "edit"}}},
                "duration": format!("{seconds}s"),
                "reason": "Whatever happens",
            },
        });
        if !extends.is_null() {
            object["spec"]["extends"] = extends;
        }
        requests.create(&PostParams::default(), &serde_json::from_value(object)?).await?;
        Ok(())
    }

    async fn grant_of(&self, request: u32) -> Result<String> {
        let grants: Api<Grant> = Api::all(self.admin.client.clone());
        let all = grants.list(&ListParams::default()).await?;
        let grant = all.into_iter().find(|grant| grant.spec.request.name == name(request));
        Ok(grant.context("it has no Grant")?.name_any())
    }

    async fn unbind(&self, request: u32, namespace: &str) -> Result<()> {
        let bindings: Api<RoleBinding> = Api::namespaced(self.admin.client.clone(), namespace);
        let name = format!("{OBJECT_PREFIX}{}", self.grant_of(request).await?);
        bindings.delete(&name, &DeleteParams::default()).await?;
        Ok(())
    }

    /// What stands now.
    pub(super) async fn standing(&self) -> Result<Standing> {
        let client = || self.admin.client.clone();
        let all = ListParams::default();
        let ours = ListParams::default().labels("app.kubernetes.io/managed-by=lapse");
        let requests: Api<AccessRequest> = Api::namespaced(client(), NAMESPACE);
        let decisions: Api<AccessDecision> = Api::namespaced(client(), NAMESPACE);
        let (grants, policies): (Api<Grant>, Api<JitPolicy>) =
            (Api::all(client()), Api::all(client()));
        let bindings: Api<RoleBinding> = Api::namespaced(client(), NAMESPACE);
        let markers: Api<RoleBinding> = Api::namespaced(client(), HOME);
        let mut markers = markers.list(&ours).await?.items;
        // The chart's own bindings carry other names.
        markers.retain(|marker| marker.name_any().starts_with(OBJECT_PREFIX));
        Ok(Standing {
            requests: requests.list(&all).await?.items,
            decisions: decisions.list(&all).await?.items,
            grants: grants.list(&all).await?.items,
            policies: policies.list(&all).await?.items,
            bindings: bindings.list(&ours).await?.items,
            markers,
            is_allowed: may(&self.alice.client).await?,
        })
    }

    /// For watching what stands.
    pub(super) fn watcher(&self) -> Client {
        self.admin.client.clone()
    }
}

/// The name of a request.
fn name(request: u32) -> String {
    format!("fix-{request}")
}

/// The name of a decision says what it says: the audit log has no more of it.
async fn decide(who: &User, request: u32, verdict: &str, number: usize) -> Result<()> {
    let decisions: Api<AccessDecision> = Api::namespaced(who.client.clone(), NAMESPACE);
    let request = name(request);
    let decision = json!({
        "apiVersion": "lapse.dev/v1alpha1", "kind": "AccessDecision",
        "metadata": {
            "name": format!("{request}.{}.{number}", verdict.to_lowercase()), "namespace": NAMESPACE,
        },
        "spec": {"request": {"name": request}, "verdict": verdict},
    });
    decisions.create(&PostParams::default(), &serde_json::from_value(decision)?).await?;
    Ok(())
}

async fn switch(who: &User, policy: Policy, mode: &str) -> Result<()> {
    let policies: Api<JitPolicy> = Api::all(who.client.clone());
    let patch = Patch::Merge(json!({"spec": {"mode": mode}}));
    policies.patch(policy.name(), &PatchParams::default(), &patch).await?;
    Ok(())
}

/// Whether the API server lets somebody write here.
async fn may(client: &Client) -> Result<bool> {
    let reviews: Api<SelfSubjectAccessReview> = Api::all(client.clone());
    let attributes = ResourceAttributes {
        namespace: Some(NAMESPACE.to_owned()),
        resource: Some("configmaps".to_owned()),
        verb: Some("create".to_owned()),
        ..ResourceAttributes::default()
    };
    let spec = SelfSubjectAccessReviewSpec {
        resource_attributes: Some(attributes),
        ..SelfSubjectAccessReviewSpec::default()
    };
    let review = SelfSubjectAccessReview { spec, ..SelfSubjectAccessReview::default() };
    let answer = reviews.create(&PostParams::default(), &review).await?;
    Ok(answer.status.is_some_and(|status| status.allowed))
}

fn policy_object(policy: Policy) -> Value {
    let managers = json!([{"kind": "Group", "name": "managers"}]);
    json!({
        "apiVersion": "lapse.dev/v1alpha1", "kind": "JitPolicy", "metadata": {"name": policy.name()},
        "spec": {
            "mode": "Enforce",
            "requesters": [{"kind": "Group", "name": "askers"}],
            "targets": [{"kubernetes": {
                "roles": [{"kind": "ClusterRole", "name": "edit"}],
                "namespaces": {"names": [NAMESPACE]},
            }}],
            "duration": {"default": "5m", "max": "8h"},
            "limits": {"openRequestsPerUser": 1000, "activeGrantsPerUser": 1000},
            "approval": {"stages": [
                {"name": "managers", "required": policy.required(), "approvers": managers},
            ]},
        },
    })
}
