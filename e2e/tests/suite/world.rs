//! A namespace of its own for each test, with people, a policy, and the words to tell a story.

use std::fmt::Debug;
use std::sync::Arc;

use anyhow::{Context as _, Result};
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::authorization::v1::{
    ResourceAttributes, SelfSubjectAccessReview, SelfSubjectAccessReviewSpec,
};
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{ListParams, Patch, PatchParams, PostParams};
use kube::{Api, Resource};
use lapse_crds::{
    AccessDecision, AccessRequest, AccessRequestStatus, Conditions as _, Grant, GrantPhase,
    RequestPhase,
};
use lapse_e2e::plane::{
    InstallOptions, Lapse, Plane, PlaneOptions, User, apply, eventually, policy_reported,
};
pub(crate) use lapse_e2e::plane::{SOON, until};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::rbac;

/// A test's own corner of the cluster.
pub(crate) struct World {
    pub(crate) lapse: Arc<Lapse>,
    /// The namespace that the people here work in, and the name of their policy.
    pub(crate) ns: String,
    pub(crate) admin: User,
    /// In the group of developers, who may ask.
    pub(crate) alice: User,
    /// In the group of managers, who approve.
    pub(crate) bob: User,
    /// A manager too.
    pub(crate) ben: User,
    /// In no group.
    pub(crate) mallory: User,
}

impl World {
    /// A corner of the control plane that the tests share.
    pub(crate) async fn shared(name: &str) -> Self {
        Self::within(Lapse::shared().await.unwrap(), name).await
    }

    /// A control plane of its own, for a test that breaks it.
    pub(crate) async fn own(name: &str, options: InstallOptions) -> Self {
        let lapse = Lapse::start(PlaneOptions::default(), options).await.unwrap();
        Self::within(Arc::new(lapse), name).await
    }

    async fn within(lapse: Arc<Lapse>, ns: &str) -> Self {
        let plane = lapse.plane();
        let person = async |name: &str, group: &str| {
            let group = format!("{ns}-{group}");
            plane.user(&format!("{name}-{ns}"), &[&group]).await.unwrap()
        };
        let world = Self {
            admin: plane.admin().await.unwrap(),
            alice: person("alice", "developers").await,
            bob: person("bob", "managers").await,
            ben: person("ben", "managers").await,
            mallory: plane.user(&format!("mallory-{ns}"), &[]).await.unwrap(),
            ns: ns.to_owned(),
            lapse: Arc::clone(&lapse),
        };
        world.settle().await;
        world
    }

    /// The namespace, what its people may do by themselves, and a policy that asks for one manager.
    async fn settle(&self) {
        let ns = &self.ns;
        self.apply(json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": ns}}))
            .await;
        let of = |group: &str| rbac::group(&format!("{ns}-{group}"));
        for (name, who) in [
            ("developers", of("developers")),
            ("managers", of("managers")),
            ("mallory", rbac::user(&self.mallory.name)),
        ] {
            self.bind(&format!("{ns}-{name}"), "lapse:requester", &who).await;
        }
        self.bind_everywhere(&format!("{ns}-approve"), "lapse:approver", &of("managers")).await;
        self.policy(json!({})).await;
    }

    /// What a kubelet would see to after ten seconds: nobody waits for the lease of a controller that is dead.
    pub(crate) async fn free_the_lease(&self) {
        let leases: Api<Lease> = Api::namespaced(self.admin.client.clone(), "lapse-system");
        let free = Patch::Merge(json!({"spec": {"holderIdentity": ""}}));
        leases.patch("lapse-controller", &PatchParams::default(), &free).await.unwrap();
    }

    /// The number of the controller that holds the lease.
    pub(crate) async fn leader(&self) -> usize {
        let leases: Api<Lease> = Api::namespaced(self.admin.client.clone(), "lapse-system");
        let lease = leases.get("lapse-controller").await.unwrap();
        let holder = lease.spec.and_then(|spec| spec.holder_identity).unwrap();
        let mut all = self.lapse.controllers.iter();
        all.position(|replica| holder.contains(replica.process.name())).unwrap()
    }

    /// Applies an object as the administrator.
    pub(crate) async fn apply(&self, object: Value) {
        apply(&self.admin.client, &self.ns, object).await.unwrap();
    }

    /// The policy of this corner, with some fields of its spec replaced, and waits until it is ready.
    pub(crate) async fn policy(&self, changes: Value) {
        self.policy_named(&self.ns, changes).await;
    }

    pub(crate) async fn policy_named(&self, name: &str, changes: Value) {
        let ns = &self.ns;
        let managers = json!([{"kind": "Group", "name": format!("{ns}-managers")}]);
        let mut spec = json!({
            "requesters": [{"kind": "Group", "name": format!("{ns}-developers")}],
            "targets": [{"kubernetes": {
                "roles": [{"kind": "ClusterRole", "name": "edit"}, {"kind": "ClusterRole", "name": "view"}],
                "namespaces": {"names": [ns]},
            }}],
            "duration": {"default": "5m", "max": "1h"},
            "limits": {"openRequestsPerUser": 20, "activeGrantsPerUser": 20},
            "approval": {"stages": [{"name": "manager", "required": 1, "approvers": managers}]},
        });
        for (field, value) in changes.as_object().unwrap() {
            spec[field] = value.clone();
        }
        let kind = "JitPolicy";
        self.apply(json!({
            "apiVersion": "lapse.dev/v1alpha1", "kind": kind, "metadata": {"name": name}, "spec": spec,
        }))
        .await;
        policy_reported(&self.admin.client, name).await.unwrap();
    }

    /// Applies a policy with some fields of its spec replaced as a dry run, with kubectl.
    pub(crate) async fn dry_run(&self, changes: Value) -> Result<String> {
        let mut spec = json!({
            "requesters": [{"kind": "Group", "name": "developers"}],
            "targets": [{"kubernetes": {
                "roles": [{"kind": "ClusterRole", "name": "edit"}],
                "namespaces": {"names": [self.ns]},
            }}],
        });
        for (field, value) in changes.as_object().unwrap() {
            spec[field] = value.clone();
        }
        let policy = json!({
            "apiVersion": "lapse.dev/v1alpha1", "kind": "JitPolicy",
            "metadata": {"name": format!("{}-dry-run", self.ns)}, "spec": spec,
        });
        let args = ["apply", "--dry-run=server", "-f", "-"];
        self.kubectl(&self.admin, &args, Some(&policy.to_string())).await
    }

    /// Nobody needs to approve.
    pub(crate) async fn self_service(&self) {
        self.policy(json!({"approval": {"stages": []}})).await;
    }

    pub(crate) fn api<K>(&self, user: &User) -> Api<K>
    where
        K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>,
    {
        Api::namespaced(user.client.clone(), &self.ns)
    }

    pub(crate) fn grants(&self) -> Api<Grant> {
        Api::all(self.admin.client.clone())
    }

    /// A request as a person writes it, with some fields of its spec replaced.
    #[expect(clippy::needless_pass_by_value, reason = "callers write json!({…}) in place")]
    pub(crate) fn request(&self, name: &str, changes: Value) -> AccessRequest {
        let mut spec = json!({
            "policy": self.ns,
            "target": {"kubernetes": {"role": {"kind": "ClusterRole", "name": "edit"}}},
            "duration": "10m",
            "reason": "An end-to-end test asks",
        });
        for (field, value) in changes.as_object().unwrap() {
            spec[field] = value.clone();
        }
        typed(json!({
            "apiVersion": "lapse.dev/v1alpha1", "kind": "AccessRequest",
            "metadata": {"name": name, "namespace": self.ns}, "spec": spec,
        }))
    }

    /// alice asks.
    pub(crate) async fn ask(&self, name: &str, changes: Value) -> AccessRequest {
        let request = self.request(name, changes);
        self.api(&self.alice).create(&PostParams::default(), &request).await.unwrap()
    }

    /// Somebody decides; the error is what the API server answers.
    pub(crate) async fn decide(
        &self,
        who: &User,
        request: &str,
        spec: Value,
    ) -> Result<AccessDecision> {
        let mut decision = json!({
            "apiVersion": "lapse.dev/v1alpha1", "kind": "AccessDecision",
            "metadata": {"generateName": format!("{request}-"), "namespace": self.ns},
            "spec": {"request": {"name": request}},
        });
        for (field, value) in spec.as_object().unwrap() {
            decision["spec"][field] = value.clone();
        }
        let api: Api<AccessDecision> = self.api(who);
        Ok(api.create(&PostParams::default(), &typed(decision)).await?)
    }

    pub(crate) async fn approve(&self, who: &User, request: &str) -> Result<AccessDecision> {
        self.decide(who, request, json!({"verdict": "Approve"})).await
    }

    pub(crate) async fn status(&self, request: &str) -> AccessRequestStatus {
        let api: Api<AccessRequest> = self.api(&self.admin);
        api.get(request).await.unwrap().status.unwrap_or_default()
    }

    /// Waits for the phase of a request.
    pub(crate) async fn phase(&self, request: &str, phase: RequestPhase) -> AccessRequestStatus {
        let api: Api<AccessRequest> = self.api(&self.admin);
        let mut last = None;
        let found = eventually(&format!("request {request} to be {phase}"), SOON, async || {
            let status = api.get(request).await?.status;
            let reached = status.as_ref().is_some_and(|status| {
                // Of one that nobody has looked at yet the API server says `-1`.
                status.observed_generation >= Some(0) && status.phase == phase
            });
            last.clone_from(&status);
            Ok(status.filter(|_| reached))
        })
        .await;
        found.unwrap_or_else(|error| panic!("{error:#}; the last status was {last:#?}"))
    }

    /// Waits until the condition `Approved` of a request says what it waits for.
    pub(crate) async fn waits(&self, request: &str, words: &str) {
        let mut last = String::new();
        let what = format!("request {request} to wait for {words:?}");
        let found = eventually(&what, SOON, async || {
            let conditions = self.status(request).await.conditions;
            let approved = conditions.condition("Approved");
            last = approved.map(|approved| approved.message.clone()).unwrap_or_default();
            Ok(last.contains(words).then_some(()))
        })
        .await;
        found.unwrap_or_else(|error| panic!("{error:#}; it said {last:?}"));
    }

    /// The grant that a request records.
    pub(crate) async fn grant(&self, request: &str) -> Grant {
        let recorded = self.status(request).await.grant.context("no grant is recorded").unwrap();
        self.grants().get(&recorded.name).await.unwrap()
    }

    /// Waits until a grant has ended, verified.
    pub(crate) async fn ended(&self, grant: &str) -> Grant {
        let api = self.grants();
        eventually(&format!("grant {grant} to have ended"), SOON, async || {
            let grant = api.get(grant).await?;
            let phase = grant.status.as_ref().map(|status| status.phase);
            Ok((phase == Some(GrantPhase::Ended)).then_some(grant))
        })
        .await
        .unwrap()
    }

    /// Whether the API server says that somebody may.
    pub(crate) async fn may(&self, user: &User, verb: &str, resource: &str) -> bool {
        let reviews: Api<SelfSubjectAccessReview> = Api::all(user.client.clone());
        let (group, resource) = resource.split_once('/').unwrap_or(("", resource));
        let attributes = ResourceAttributes {
            namespace: Some(self.ns.clone()),
            group: Some(group.to_owned()),
            resource: Some(resource.to_owned()),
            verb: Some(verb.to_owned()),
            ..ResourceAttributes::default()
        };
        let spec = SelfSubjectAccessReviewSpec {
            resource_attributes: Some(attributes),
            ..SelfSubjectAccessReviewSpec::default()
        };
        let review = SelfSubjectAccessReview { spec, ..SelfSubjectAccessReview::default() };
        let answer = reviews.create(&PostParams::default(), &review).await.unwrap();
        answer.status.is_some_and(|status| status.allowed)
    }

    /// Whether somebody really can write here: the request itself, not what a review says of it.
    pub(crate) async fn can_write(&self, user: &User) -> bool {
        let api: Api<ConfigMap> = self.api(user);
        let map: ConfigMap = typed(json!({"metadata": {"generateName": "written-"}}));
        let written = api.create(&PostParams::default(), &map).await;
        let reviewed = self.may(user, "create", "configmaps").await;
        match written {
            Ok(_) => assert!(reviewed, "written, but the review says no"),
            Err(kube::Error::Api(status)) if status.code == 403 => {
                assert!(!reviewed, "refused, but the review says yes: {}", status.message);
            }
            Err(error) => panic!("{error}"),
        }
        reviewed
    }

    /// Waits until somebody can write here: the authorizer learns of a binding a moment after it was made.
    pub(crate) async fn let_in(&self, user: &User) {
        eventually(&format!("{} to be let in", user.name), SOON, async || {
            Ok(self.may(user, "create", "configmaps").await.then_some(()))
        })
        .await
        .unwrap();
        assert!(self.can_write(user).await);
    }

    /// Waits until somebody can no longer write here.
    pub(crate) async fn locked_out(&self, user: &User) {
        eventually(&format!("{} to be locked out", user.name), SOON, async || {
            Ok((!self.may(user, "create", "configmaps").await).then_some(()))
        })
        .await
        .unwrap();
        assert!(!self.can_write(user).await);
    }

    /// alice asks, bob says no.
    pub(crate) async fn denied(&self, name: &str) {
        self.ask(name, json!({})).await;
        self.decide(&self.bob, name, json!({"verdict": "Deny"})).await.unwrap();
        self.phase(name, RequestPhase::Denied).await;
    }

    /// alice asks, bob approves, she has it.
    pub(crate) async fn granted(&self, name: &str, changes: Value) -> AccessRequestStatus {
        self.ask(name, changes).await;
        self.approve(&self.bob, name).await.unwrap();
        let status = self.phase(name, RequestPhase::Active).await;
        self.let_in(&self.alice).await;
        status
    }

    /// The objects of RBAC in this namespace that carry Lapse's label.
    pub(crate) async fn bindings(&self) -> Vec<String> {
        let api: Api<k8s_openapi::api::rbac::v1::RoleBinding> = self.api(&self.admin);
        let ours = ListParams::default().labels("app.kubernetes.io/managed-by=lapse");
        api.list(&ours).await.unwrap().iter().map(kube::ResourceExt::name_any).collect()
    }

    /// Waits for an event about a request.
    pub(crate) async fn told(&self, request: &str, words: &str) {
        let about = format!("--for=areq/{request}");
        let events = ["events", "--namespace", &self.ns, &about];
        eventually(&format!("an event {words:?} about {request}"), SOON, async || {
            let told = self.kubectl(&self.admin, &events, None).await?;
            Ok(told.contains(words).then_some(()))
        })
        .await
        .unwrap();
    }

    /// Runs kubectl as somebody.
    pub(crate) async fn kubectl(
        &self,
        who: &User,
        args: &[&str],
        input: Option<&str>,
    ) -> Result<String> {
        let plane: &Plane = self.lapse.plane();
        plane.kubectl_with_input(who, args, input).await?.ok()
    }
}

pub(crate) fn typed<K: DeserializeOwned>(value: Value) -> K {
    serde_json::from_value(value).unwrap()
}

/// The text of an error, and that it contains what it must.
pub(crate) fn refused<T: Debug>(result: Result<T>, words: &str) {
    let error = format!("{:#}", result.unwrap_err());
    assert!(error.contains(words), "expected {words:?} in: {error}");
}
