//! Fixtures of the tests: the shop, its policy, and alice who wants to mend it.

pub(crate) mod life;
pub(crate) mod tell;

use chrono::{DateTime, Utc};
use lapse_crds::{
    AccessRequestSpec, Approval, DurationBounds, Emergency, EmergencyReview, EndpointUser,
    Identity, JitPolicy, JitPolicySpec, KubernetesTarget, KubernetesTargets, NamespaceSet,
    PolicyEffect, PolicyMode, PolicyTarget, ReasonRule, RoleKind, RoleRef, Stage, Subject,
    SubjectKind, Target,
};

use crate::checks::{CheckResult, Context};
use crate::duties::Duties;
use crate::origin::Provenance;
use crate::peers::Peers;
use crate::policy::{Policy, PolicyState};
use crate::risk::ServiceAccount;
use crate::role::RoleRules;
use crate::rules::testing::rule;
use crate::surroundings::Surroundings;
use crate::target::ResolvedTarget;
use crate::{ControllerSettings, InstallationBounds, Read, Settings};

pub(crate) fn settings() -> Settings {
    Settings {
        namespace: "lapse-system".into(),
        bindable_roles: vec![cluster_role("view"), cluster_role("edit")],
        grantable_rules: vec![rule("get list patch", "", "configmaps pods", "").into()],
        allow_cluster_wide: true,
        protected_namespaces: vec!["kube-*".into()],
        duration: InstallationBounds { min: "5m".parse().unwrap(), max: "24h".parse().unwrap() },
        controller: ControllerSettings {
            service_account: "lapse-controller".into(),
            ends_workloads: true,
        },
        has_gateway: false,
        host_requests: Some("shop".into()),
    }
}

pub(crate) fn cluster_role(name: &str) -> RoleRef {
    RoleRef { kind: RoleKind::ClusterRole, name: name.into() }
}

fn subject(kind: SubjectKind, name: &str) -> Subject {
    Subject { kind, name: name.into(), namespace: None, endpoint: None }
}

pub(crate) fn user(name: &str) -> Subject {
    subject(SubjectKind::User, name)
}

pub(crate) fn group(name: &str) -> Subject {
    subject(SubjectKind::Group, name)
}

pub(crate) fn service_account(namespace: &str, name: &str) -> Subject {
    Subject { namespace: Some(namespace.into()), ..subject(SubjectKind::ServiceAccount, name) }
}

/// A local user of a host, as a policy names them.
pub(crate) fn local_user(name: &str, endpoint: Option<&str>) -> Subject {
    let endpoint = endpoint.map(str::to_owned);
    Subject { endpoint, ..subject(SubjectKind::EndpointUser, name) }
}

/// A local user of a host who asked there, by the name that the stamp gives them.
pub(crate) fn local(endpoint: &str, local_user: &str, username: &str) -> Identity {
    let who = EndpointUser { endpoint: endpoint.into(), local_user: local_user.into() };
    Identity { endpoint_user: Some(who), ..person(username, &[]) }
}

pub(crate) fn person(name: &str, groups: &[&str]) -> Identity {
    Identity {
        username: name.into(),
        groups: groups.iter().map(ToString::to_string).collect(),
        ..Identity::default()
    }
}

pub(crate) fn stage(name: &str, required: u32, approvers: Vec<Subject>) -> Stage {
    Stage { name: name.into(), required, approvers }
}

/// Developers of the shop may edit or view it for up to 8 hours when a manager approves.
pub(crate) fn policy(name: &str) -> JitPolicy {
    let spec = JitPolicySpec {
        description: None,
        mode: PolicyMode::Enforce,
        effect: PolicyEffect::Allow,
        priority: 100,
        requesters: vec![group("shop-developers")],
        targets: vec![PolicyTarget {
            kubernetes: Some(KubernetesTargets {
                roles: vec![cluster_role("edit"), cluster_role("view")],
                namespaces: Some(NamespaceSet {
                    names: vec!["shop".into(), "shop-staging".into()],
                    ..NamespaceSet::default()
                }),
                ..KubernetesTargets::default()
            }),
            ..PolicyTarget::default()
        }],
        workstations: None,
        duration: Some(DurationBounds {
            min: "5m".parse().ok(),
            default: "30m".parse().ok(),
            max: "8h".parse().ok(),
        }),
        reason: Some(ReasonRule { required: true, min_length: Some(10) }),
        ticket: None,
        schedule: None,
        limits: None,
        separation_of_duties: vec![],
        conditions: vec![],
        on_role_widened: None,
        approval: Some(Approval {
            stages: vec![stage("manager", 1, vec![group("shop-managers")])],
            ..Approval::default()
        }),
        emergency: None,
        session: None,
        retention: None,
    };
    let mut policy = JitPolicy::new(name, spec);
    policy.metadata.uid = Some(format!("uid-of-{name}"));
    policy.metadata.generation = Some(1);
    policy
}

/// Break-glass for an hour, which security reviews within a day, one at a time.
pub(crate) fn emergency() -> Emergency {
    Emergency {
        max_duration: "1h".parse().unwrap(),
        max_unreviewed: None,
        review: EmergencyReview {
            within: "24h".parse().unwrap(),
            reviewers: vec![group("security")],
        },
    }
}

pub(crate) fn request_spec() -> AccessRequestSpec {
    AccessRequestSpec {
        policy: Some("shop-debug".into()),
        target: Target {
            kubernetes: Some(KubernetesTarget {
                role: Some(cluster_role("edit")),
                rules: vec![],
                namespaces: vec![],
                cluster_wide: false,
            }),
            endpoint: None,
        },
        duration: "1h".parse().ok(),
        start_time: None,
        ticket: None,
        reason: Some("Checkout fails for EU cards".into()),
        emergency: false,
        extends: None,
        origin: None,
        requester: Some(person("alice", &["shop-developers"])),
    }
}

pub(crate) fn edit_in(namespaces: &[&str]) -> ResolvedTarget {
    let mut target = request_spec().target;
    target.kubernetes.as_mut().unwrap().namespaces =
        namespaces.iter().map(ToString::to_string).collect();
    ResolvedTarget::resolve(&target, "shop").unwrap()
}

/// What one check looks at; a test changes the part that it is about.
pub(crate) struct Fixture {
    pub(crate) spec: AccessRequestSpec,
    pub(crate) requester: Identity,
    pub(crate) provenance: Provenance,
    pub(crate) target: ResolvedTarget,
    pub(crate) policy: JitPolicy,
    pub(crate) role: Read<RoleRules>,
    pub(crate) accounts: Read<Vec<ServiceAccount>>,
    pub(crate) surroundings: Surroundings,
    pub(crate) now: DateTime<Utc>,
    pub(crate) peers: Read<Peers>,
    pub(crate) duties: Duties,
    pub(crate) has_place: bool,
}

impl Default for Fixture {
    fn default() -> Self {
        Self {
            spec: request_spec(),
            requester: person("alice", &["shop-developers"]),
            provenance: Provenance::Unsaid,
            target: edit_in(&["shop"]),
            policy: policy("shop-debug"),
            role: Read::Found(RoleRules::default()),
            accounts: Read::Found(vec![]),
            surroundings: life::surroundings(&["shop"]),
            now: life::time(0),
            peers: Read::Found(Peers::default()),
            duties: Duties::default(),
            has_place: false,
        }
    }
}

impl Fixture {
    pub(crate) fn outcome(&self, check: fn(&Context<'_>) -> CheckResult) -> CheckResult {
        let settings = settings();
        check(&Context {
            name: "fix-checkout",
            namespace: "shop",
            uid: life::REQUEST_UID,
            requested_at: life::time(0),
            has_place: self.has_place,
            peers: &self.peers,
            duties: &self.duties,
            now: self.now,
            spec: &self.spec,
            requester: &self.requester,
            provenance: &self.provenance,
            target: &self.target,
            policy: &Policy::compile(&self.policy, &settings).unwrap(),
            policies: &[PolicyState::of(&self.policy, &settings)].into(),
            role: &self.role,
            accounts: &self.accounts,
            known: &self.surroundings,
            settings: &settings,
        })
    }
}
