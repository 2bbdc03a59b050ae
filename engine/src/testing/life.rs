//! Fixtures of the lives of a request and of its grant: alice asks at 0 s, for an hour.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use lapse_crds::{
    AccessDecision, AccessDecisionSpec, AccessRequest, Grant, GrantPhase, GrantStatus, Identity,
    JitPolicy, PolicyEffect, PolicyRef, RequestTarget, ReviewOutcome, Separation, Verdict,
};

use super::{person, policy, request_spec, settings};
use crate::attest::{Attestation, AttestationError, Attested};
use crate::duties::Duties;
use crate::grant::{Content, LiveContent, LiveObject, ObjectSpec};
use crate::policy::{BannedRoles, Policies, PolicyOutline, PolicyState};
use crate::role::RoleRules;
use crate::rules::testing::rule;
use crate::session::StartedSeen;
use crate::summary::GrantSummary;
use crate::surroundings::Surroundings;
use crate::target::Namespace;
use crate::{Read, grant, request};

pub(crate) const REQUEST_UID: &str = "uid-1";
pub(crate) const GRANT_UID: &str = "grant-1";
/// When bob approved, and so when the right of the fixture starts; it lasts an hour.
pub(crate) const APPROVED_AT: i64 = 10;
pub(crate) const EXPIRES_AT: i64 = APPROVED_AT + 3600;

pub(crate) fn time(seconds: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(1_795_000_000 + seconds, 0).unwrap()
}

pub(crate) fn bob() -> Identity {
    person("bob", &["shop-managers"])
}

pub(crate) fn attestation(at: i64, nonce: &str) -> Attestation {
    Attestation {
        version: 1,
        key: "0123456789abcdef".into(),
        admitted_at: time(at).into(),
        nonce: nonce.into(),
        named: true,
        signature: String::new(),
    }
}

/// A cluster role with these verbs on pods; that of the fixture has `get`.
pub(crate) fn role(verbs: &str) -> RoleRules {
    RoleRules::of_cluster_role(vec![rule(verbs, "", "pods", "")])
}

/// A decision about the request of the fixture, upon its policy and role. The nonce follows from
/// what is said, by whom and when.
pub(crate) fn decision(verdict: Verdict, who: Identity, at: i64) -> Attested<AccessDecision> {
    let nonce = format!("{verdict} {} {at}", who.username);
    let spec = AccessDecisionSpec {
        request: RequestTarget { name: "fix-checkout".into(), uid: Some(REQUEST_UID.into()) },
        verdict,
        duration: None,
        outcome: None,
        comment: None,
        origin: None,
        decider: Some(who),
        policy: Some(reference(1)),
        rules_hash: Some(role("get").hash()),
        rules: role("get").to_keep(),
    };
    Attested { object: AccessDecision::new(&nonce, spec), attestation: Ok(attestation(at, &nonce)) }
}

pub(crate) fn unattested<K>(object: Attested<K>) -> Attested<K> {
    Attested { attestation: Err(AttestationError::Absent), ..object }
}

/// The same decision, made at this time and signed by a key that is not known.
pub(crate) fn of_unknown_key(said: Attested<AccessDecision>, at: i64) -> Attested<AccessDecision> {
    let mut object = said.object;
    object.metadata.creation_timestamp = serde_json::from_value(time(at).to_rfc3339().into()).ok();
    Attested { object, attestation: Err(AttestationError::UnknownKey("made-up".into())) }
}

/// When somebody deleted an object.
pub(crate) fn deleted_at() -> Time {
    serde_json::from_value(serde_json::json!("2026-11-18T12:00:00Z")).unwrap()
}

/// The policy of the fixture as it stood in this generation.
pub(crate) fn reference(generation: i64) -> PolicyRef {
    PolicyRef { name: "shop-debug".into(), uid: "uid-of-shop-debug".into(), generation }
}

pub(crate) fn state(policy: &JitPolicy) -> PolicyState {
    PolicyState::of(policy, &settings())
}

/// The policy of the fixture, and one over which the program panicked.
pub(crate) fn with_panicked(effect: Option<PolicyEffect>) -> Read<Policies> {
    let outline = PolicyOutline { effect, mode: None };
    let panicked = PolicyState::panicked("odd".into(), "uid-of-odd".into(), outline);
    Read::Found([state(&policy("shop-debug")), panicked].into())
}

/// Alice's request, not yet reported on, and nobody has said anything.
pub(crate) fn asked() -> request::Observed {
    let mut request = AccessRequest::new("fix-checkout", request_spec());
    request.metadata.namespace = Some("shop".into());
    request.metadata.uid = Some(REQUEST_UID.into());
    request.metadata.generation = Some(1);
    request::Observed {
        request: Attested { object: request, attestation: Ok(attestation(0, "request")) },
        policies: Read::Found([state(&policy("shop-debug"))].into()),
        decisions: Read::Found(vec![]),
        role: Read::Found(role("get")),
        accounts: Read::Found(vec![]),
        banned_roles: BannedRoles::new(),
        surroundings: surroundings(&["shop"]),
        grant: Read::Missing,
        peers: Read::Found(crate::peers::Peers::default()),
        engaging: Read::Found(vec![]),
        settings: settings(),
        obstacle: None,
    }
}

/// Namespaces that exist.
pub(crate) fn surroundings(namespaces: &[&str]) -> Surroundings {
    let found = |name: &&str| ((*name).to_owned(), Read::Found(Namespace::default()));
    let namespaces = namespaces.iter().map(found).collect();
    Surroundings { namespaces, ..Surroundings::default() }
}

/// The same, and bob has approved it.
pub(crate) fn approved() -> request::Observed {
    let mut observed = asked();
    observed.says(decision(Verdict::Approve, bob(), APPROVED_AT));
    observed
}

impl request::Observed {
    pub(crate) fn says(&mut self, decision: Attested<AccessDecision>) {
        let Read::Found(decisions) = &mut self.decisions else {
            panic!("the decisions of the fixture cannot be read");
        };
        decisions.push(decision);
    }

    /// The policy changes into this one, a generation later.
    pub(crate) fn policy_becomes(&mut self, change: impl FnOnce(&mut JitPolicy)) {
        let mut changed = policy("shop-debug");
        changed.metadata.generation = Some(2);
        change(&mut changed);
        self.policies = Read::Found([state(&changed)].into());
    }

    /// Decides, and takes the status over as the API server would.
    pub(crate) fn step(&mut self, now: i64) -> request::Plan {
        let plan = request::decide(self, time(now));
        if let Some(status) = &plan.status {
            self.request.object.status = Some(status.clone());
        }
        plan
    }
}

/// The Grant of the approved request, as the API server stored it. Its holder is not marked.
pub(crate) fn written() -> Grant {
    let mut grant = marked();
    grant.spec.session = None;
    grant
}

/// The same, and its holder is marked.
pub(crate) fn marked() -> Grant {
    let plan = request::decide(&approved(), time(APPROVED_AT + 1));
    let mut grant = *plan.create.unwrap();
    grant.metadata.uid = Some(GRANT_UID.into());
    grant.metadata.generation = Some(1);
    grant
}

/// Grants in few words.
pub(crate) fn summaries(grants: &[Grant]) -> Vec<Arc<GrantSummary>> {
    grants.iter().map(|grant| Arc::new(GrantSummary::of(grant))).collect()
}

/// `shop-debug` is kept apart from a policy by which one person holds a right that another approved.
pub(crate) fn duties(holder: &str, approver: &str) -> Duties {
    let mut other = policy("shop-payments");
    other.spec.separation_of_duties = vec![Separation { policy: "shop-debug".into() }];
    let mut grant = written();
    grant.spec.policy.name = "shop-payments".into();
    grant.spec.subject.name = holder.into();
    grant.spec.approved_by = vec![approver.into()];
    let policies = [state(&policy("shop-debug")), state(&other)];
    Duties::apart_from("shop-debug", &policies.into(), &Read::Found(summaries(&[grant])))
}

/// The object as the controller makes it for the grant of the fixture.
pub(crate) fn intact(object: &ObjectSpec, uid: &str) -> LiveObject {
    live(object, uid, GRANT_UID)
}

/// The object as the controller makes it for a grant.
pub(crate) fn live(object: &ObjectSpec, uid: &str, grant_uid: &str) -> LiveObject {
    let content = match object.content.clone() {
        Content::Role { rules } => LiveContent::Role { rules, aggregates: false },
        Content::Marker { role, subjects } => LiveContent::Binding {
            role: (role.kind.to_string(), role.name),
            subjects: subjects
                .into_iter()
                .map(|s| (format!("{:?}", s.kind), s.namespace, s.name))
                .collect(),
        },
        Content::Binding { role, subject } => LiveContent::Binding {
            role: (role.kind.to_string(), role.name),
            subjects: vec![("User".into(), None, subject.name)],
        },
    };
    LiveObject { uid: uid.into(), content, grant_uid: Some(grant_uid.into()) }
}

impl LiveObject {
    /// The role that a binding of the fixture binds.
    pub(crate) fn role(&mut self) -> &mut (String, String) {
        match &mut self.content {
            LiveContent::Binding { role, .. } => role,
            LiveContent::Role { .. } => panic!("a role binds no role"),
        }
    }

    /// The subjects of a binding of the fixture.
    pub(crate) fn subjects(&mut self) -> &mut Vec<(String, Option<String>, String)> {
        match &mut self.content {
            LiveContent::Binding { subjects, .. } => subjects,
            LiveContent::Role { .. } => panic!("a role has no subjects"),
        }
    }
}

/// The grant as it was written, without a binding yet.
pub(crate) fn pending() -> grant::Observed {
    pending_in(&["shop"])
}

/// The same, for these namespaces.
pub(crate) fn pending_in(namespaces: &[&str]) -> grant::Observed {
    pending_by(written(), namespaces)
}

/// The same, by this grant.
pub(crate) fn pending_by(mut grant: Grant, namespaces: &[&str]) -> grant::Observed {
    let asked = approved();
    let target = grant.spec.target.kubernetes.as_mut().unwrap();
    target.namespaces = namespaces.iter().map(ToString::to_string).collect();
    let objects = ObjectSpec::all_of(&grant, "lapse-system").into_iter();
    grant::Observed {
        objects: objects.map(|object| (object, Read::Missing)).collect(),
        grant,
        request: Read::Found(asked.request.object),
        decisions: asked.decisions,
        policies: Read::Found([state(&policy("shop-debug"))].into()),
        own_policy: Read::Failed("all policies are known".into()),
        role: asked.role,
        banned_roles: BannedRoles::new(),
        surroundings: surroundings(namespaces),
        started: None,
        obstacle: None,
    }
}

/// The grant while the right is held.
pub(crate) fn active() -> grant::Observed {
    active_in(&["shop"])
}

/// The same, in these namespaces.
pub(crate) fn active_in(namespaces: &[&str]) -> grant::Observed {
    let mut observed = pending_in(namespaces);
    observed.bind();
    observed.step(APPROVED_AT + 2);
    let phase = observed.grant.status.as_ref().map(|status| status.phase);
    assert_eq!(phase, Some(GrantPhase::Active));
    observed
}

/// By when the emergency of the fixture must be reviewed.
pub(crate) const REVIEW_BY: i64 = EXPIRES_AT + 1000;

/// The same, given in an emergency.
pub(crate) fn active_emergency() -> grant::Observed {
    let mut observed = pending();
    observed.grant.spec.emergency = true;
    observed.grant.spec.review_by = Some(time(REVIEW_BY).into());
    observed.bind();
    observed.step(APPROVED_AT + 2);
    observed
}

pub(crate) fn carol() -> Identity {
    person("carol", &["security"])
}

/// A review of the request of the fixture.
pub(crate) fn review(outcome: ReviewOutcome, who: Identity, at: i64) -> Attested<AccessDecision> {
    let mut review = decision(Verdict::Review, who, at);
    review.object.spec.outcome = Some(outcome);
    review
}

impl grant::Observed {
    /// Every binding stands.
    pub(crate) fn bind(&mut self) {
        for (index, (binding, live)) in self.objects.iter_mut().enumerate() {
            *live = Read::Found(intact(binding, &format!("binding-{index}")));
        }
    }

    pub(crate) fn says(&mut self, decision: Attested<AccessDecision>) {
        let Read::Found(decisions) = &mut self.decisions else {
            panic!("the decisions of the fixture cannot be read");
        };
        decisions.push(decision);
    }

    pub(crate) fn status(&self) -> GrantStatus {
        self.grant.status.clone().unwrap_or_default()
    }

    /// The request has recorded a phase that is final.
    pub(crate) fn request_is_over(&mut self) {
        let Read::Found(request) = &mut self.request else {
            panic!("the request of the fixture cannot be read");
        };
        request.status.get_or_insert_default().phase = lapse_crds::RequestPhase::Ended;
    }

    /// Decides, and takes the status over and does what is to be done, as the API server would.
    pub(crate) fn step(&mut self, now: i64) -> grant::Plan {
        let plan = grant::decide(self, time(now));
        if plan.actions.is_empty() || plan.report_always {
            self.report(&plan);
        }
        for action in &plan.actions {
            self.apply(action);
        }
        plan
    }

    /// Takes over the status that a plan wants written.
    pub(crate) fn report(&mut self, plan: &grant::Plan) {
        if let Some(status) = &plan.status {
            self.grant.status = Some(status.clone());
        }
    }

    fn apply(&mut self, action: &grant::Action) {
        match action {
            grant::Action::Create(created) => {
                for (index, (binding, live)) in self.objects.iter_mut().enumerate() {
                    if binding == created {
                        *live = Read::Found(intact(binding, &format!("binding-{index}")));
                    }
                }
            }
            grant::Action::Delete { uid, .. } => {
                for (_, live) in &mut self.objects {
                    if live.found().is_some_and(|live| live.uid == *uid) {
                        *live = Read::Missing;
                    }
                }
            }
            grant::Action::Stop { started: stopped, .. } => {
                // It goes: when it is gone, a test says.
                if let Some(StartedSeen { there, .. }) = &mut self.started {
                    for started in there.iter_mut().filter(|started| *started == stopped) {
                        started.goes_by = Some(time(0));
                    }
                }
            }
            grant::Action::RemoveFinalizer => self.grant.metadata.finalizers = None,
        }
    }
}
