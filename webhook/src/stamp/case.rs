//! What a decision is judged from, read live: everything in parallel that does not wait for another.

use chrono::{DateTime, Utc};
use k8s_openapi::api::authentication::v1::UserInfo;
use k8s_openapi::api::authorization::v1::{
    ResourceAttributes, SubjectAccessReview, SubjectAccessReviewSpec,
};
use kube::Api;
use kube::api::PostParams;
use lapse_cluster::{Freshness, Reader, bounded, clock};
use lapse_crds::{
    API_GROUP, AccessDecisionSpec, AccessRequest, Grant, Identity, PolicyRef, RecordedRules,
    Verdict, created_at,
};
use lapse_engine::Read;
use lapse_engine::approval::{Judgement, Statements, judge};
use lapse_engine::attest::Attested;
use lapse_engine::duties::Duties;
use lapse_engine::policy::{Asked, Policy, RolesKnown, select};
use lapse_engine::request::starts_at;
use lapse_engine::risk::{Reach, assess, within_reach};
use lapse_engine::role::RoleRules;
use lapse_engine::session::is_kept_from_approving;
use lapse_engine::target::ResolvedTarget;

use crate::admission::{Admission, caller};
use crate::answer::{NotAdmitted, known};

/// What a decision is judged from.
pub(super) struct Case {
    pub(super) request: AccessRequest,
    pub(super) requester: Identity,
    pub(super) requested_at: DateTime<Utc>,
    pub(super) target: ResolvedTarget,
    pub(super) policy: Result<Policy, String>,
    pub(super) statements: Statements,
    pub(super) duties: Duties,
    pub(super) role: Result<RoleRules, String>,
    /// What the role lets its holder do that whoever approves should know.
    pub(super) risk: Vec<String>,
    pub(super) may_approve: bool,
    /// The Grant by whose right the decider may approve, if it keeps from it.
    pub(super) kept_by: Option<String>,
    pub(super) may_deny: bool,
}

/// What a decision is about, as it is stamped into it.
pub(super) struct Upon<'a> {
    /// The UID of the request.
    pub(super) uid: &'a str,
    /// The policy.
    pub(super) policy: Option<&'a PolicyRef>,
    /// The hash of the rules of the role.
    pub(super) rules_hash: Option<String>,
    /// The rules themselves, where they are kept.
    pub(super) rules: Vec<RecordedRules>,
}

/// The policy that a decision is about, if it is known by name. A right that is held is taken back by
/// the approvers of the policy that gave it, whichever policy would decide today.
fn policy_name(verdict: Verdict, request: &AccessRequest) -> Option<&str> {
    let status = request.status.as_ref().filter(|status| status.grant.is_some());
    let gave = status.and_then(|status| status.policy.as_ref()).map(|policy| &*policy.name);
    match verdict {
        Verdict::Approve => request.spec.policy.as_deref(),
        Verdict::Deny | Verdict::End | Verdict::Review => gave.or(request.spec.policy.as_deref()),
    }
}

impl Case {
    /// Reads it.
    pub(super) async fn read(
        admission: &Admission,
        namespace: &str,
        decision: &AccessDecisionSpec,
        decider: &UserInfo,
    ) -> Result<Self, NotAdmitted> {
        let name = &decision.request.name;
        check_name("spec.request.name", name)?;
        let reader = admission.reader();
        let attested = attested(admission, namespace, name).await?;
        let uid = attested.object.metadata.uid.clone().unwrap_or_default();
        check_uid(decision, namespace, &uid)?;
        // Taking a right back must work when the key that signed the request is gone.
        let requested_at = match attested.attestation {
            Ok(attestation) => attestation.admitted_at.time(),
            Err(_) if decision.verdict != Verdict::Approve => {
                created_at(&attested.object.metadata).unwrap_or_default()
            }
            Err(error) => {
                let message = format!(
                    "request {name} cannot be decided: {error}. Delete it and make it again"
                );
                return Err(NotAdmitted::Invalid(message));
            }
        };
        let request = attested.object;
        let target = ResolvedTarget::resolve(&request.spec.target, namespace);
        let (Some(requester), Some(target)) = (request.spec.requester.clone(), target) else {
            let message = format!("request {name} names no requester or no target");
            return Err(NotAdmitted::Invalid(message));
        };
        let named = policy_name(decision.verdict, &request);
        let (decisions, policies, role, namespaces, guarded) = tokio::join!(
            reader.decisions(namespace, name, Freshness::Now),
            reader.policies(named, Freshness::Now),
            reader.role(&target),
            reader.namespaces(&target),
            guarded(reader, decision.verdict, decider),
        );
        let policies = known(policies)?.unwrap_or_default();
        let decisions = known(decisions)?.unwrap_or_default();
        let banned_roles = reader.banned_roles(&policies, &target).await;
        // Saying no must be possible whatever cannot be read.
        if decision.verdict == Verdict::Approve {
            for namespace in namespaces.values() {
                known(namespace.clone())?;
            }
            for rules in banned_roles.values() {
                known(rules.clone())?;
            }
        }
        let asked = Asked {
            policy: named,
            requester: &requester,
            target: &target,
            emergency: request.spec.emergency,
            namespaces: &namespaces,
            roles: RolesKnown { asked: &role, banned: &banned_roles },
            at: starts_at(&request.spec, clock::now()),
        };
        let policy = select(&policies, asked).policy.cloned();
        let risk = match decision.verdict {
            Verdict::Approve => risk(reader, &target, &role).await?,
            Verdict::Deny | Verdict::End | Verdict::Review => Vec::new(),
        };
        let duties = match (&policy, decision.verdict) {
            (Ok(policy), Verdict::Approve) => {
                let named = Some(policy.name());
                let engaging = reader.engaging(&policies, named, Freshness::Now).await;
                known(engaging.clone())?;
                Duties::apart_from(policy.name(), &policies, &engaging)
            }
            // Saying no must be possible whatever else somebody does.
            _ => Duties::default(),
        };
        let role = match role {
            Read::Found(role) => Ok(role),
            Read::Missing => Err(format!("there is no {}", target.privilege)),
            Read::Failed(why) => Err(why),
        };
        let (may_approve, may_deny) = match decision.verdict {
            Verdict::Approve => {
                (may(admission, decider, "approve", &request, &policy).await?, false)
            }
            Verdict::Deny => (false, may(admission, decider, "deny", &request, &policy).await?),
            Verdict::End | Verdict::Review => (false, false),
        };
        let kept_by = match (&policy, decision.verdict) {
            (Ok(policy), Verdict::Approve) => kept_by(reader, known(guarded)?, policy).await?,
            _ => None,
        };
        Ok(Self {
            statements: Statements::about(&uid, &decisions),
            duties,
            requested_at,
            request,
            requester,
            target,
            policy,
            role,
            risk,
            may_approve,
            kept_by,
            may_deny,
        })
    }

    /// What is decided upon. The rules themselves are kept with an approval alone.
    pub(super) fn upon(&self, verdict: Verdict) -> Upon<'_> {
        let role = self.role.as_ref().ok();
        let kept = role.filter(|_| verdict == Verdict::Approve).map(RoleRules::to_keep);
        Upon {
            uid: self.request.metadata.uid.as_deref().unwrap_or_default(),
            policy: self.policy.as_ref().ok().map(Policy::reference),
            rules_hash: role.map(RoleRules::hash),
            rules: kept.unwrap_or_default(),
        }
    }

    /// Judges a decision with its stamps; what it did, in words.
    pub(super) fn judge(
        &self,
        decision: &AccessDecisionSpec,
        names_uid: bool,
        decider: &Identity,
        now: DateTime<Utc>,
    ) -> Result<String, NotAdmitted> {
        let judgement = Judgement {
            decision,
            decider,
            request: &self.request,
            requester: &self.requester,
            requested_at: self.requested_at,
            target: &self.target,
            policy: &self.policy,
            statements: &self.statements,
            duties: &self.duties,
            role: &self.role,
            names_uid,
            may_approve: self.may_approve,
            kept_by: self.kept_by.as_deref(),
            may_deny: self.may_deny,
            now,
        };
        judge(&judgement).map_err(|refusal| NotAdmitted::Forbidden(refusal.to_string()))
    }
}

/// What the role lets its holder do, and as whom they could act, in words for whoever approves.
async fn risk(
    reader: &Reader,
    target: &ResolvedTarget,
    role: &Read<RoleRules>,
) -> Result<Vec<String>, NotAdmitted> {
    let Read::Found(rules) = role else { return Ok(Vec::new()) };
    let reach = Reach::of(&target.scope, reader.settings());
    let risk = assess(rules.lists(), &reach).accepted();
    let accounts = known(reader.accounts(target, role).await)?.unwrap_or_default();
    Ok(risk.brief().into_iter().chain(within_reach(&risk, &accounts).brief()).collect())
}

/// What whoever approves holds.
async fn guarded(reader: &Reader, verdict: Verdict, decider: &UserInfo) -> Read<Vec<Grant>> {
    match (verdict, caller(decider)) {
        (Verdict::Approve, Ok(decider)) => reader.held(&decider, Freshness::Now).await,
        (Verdict::Approve, Err(error)) => Read::Failed(error.to_string()),
        _ => Read::Missing,
    }
}

/// The one of these Grants by which approving requests of a policy is allowed, if its holder is kept from
/// that.
async fn kept_by(
    reader: &Reader,
    held: Option<Vec<Grant>>,
    policy: &Policy,
) -> Result<Option<String>, NotAdmitted> {
    for grant in held.into_iter().flatten() {
        let of = &grant.spec.request.namespace;
        let Some(target) = ResolvedTarget::resolve(&grant.spec.target, of) else { continue };
        let role = known(reader.role(&target).await)?;
        if role.is_some_and(|role| is_kept_from_approving(&grant, &role, policy.name())) {
            return Ok(grant.metadata.name);
        }
    }
    Ok(None)
}

/// The request. If its signature is by a key that this replica does not know yet, the keys are read
/// again: another replica may have made one a moment ago.
async fn attested(
    admission: &Admission,
    namespace: &str,
    name: &str,
) -> Result<Attested<AccessRequest>, NotAdmitted> {
    let missing = || {
        NotAdmitted::Invalid(format!(
            "there is no AccessRequest {name} in namespace {namespace}; see `kubectl get areq -n \
             {namespace}`"
        ))
    };
    let read = async || admission.reader().request(namespace, name).await;
    let first = known(read().await)?.ok_or_else(missing)?;
    match &first.attestation {
        Err(error) if error.may_pass() => {
            admission.refresh_keys().await?;
            known(read().await)?.ok_or_else(missing)
        }
        _ => Ok(first),
    }
}

/// An approval holds for what its author saw: one that names another UID was meant for a request of
/// the same name that is gone.
fn check_uid(
    decision: &AccessDecisionSpec,
    namespace: &str,
    actual: &str,
) -> Result<(), NotAdmitted> {
    let name = &decision.request.name;
    match decision.request.uid.as_deref() {
        Some(named) if named != actual => Err(NotAdmitted::Invalid(format!(
            "spec.request.uid is {named}, but request {name} has the UID {actual}: it was deleted \
             and made again. Look at it with `kubectl get areq {name} -n {namespace} -o yaml`, then \
             decide upon it anew"
        ))),
        _ => Ok(()),
    }
}

/// Whether the caller holds a verb on the policy of a request: on the one that decides; if none does,
/// on the one that the request named or was decided by, for denying outlasts a broken policy.
async fn may(
    admission: &Admission,
    caller: &UserInfo,
    verb: &str,
    request: &AccessRequest,
    policy: &Result<Policy, String>,
) -> Result<bool, NotAdmitted> {
    let recorded = request.status.as_ref().and_then(|status| status.policy.as_ref());
    let name = match policy {
        Ok(policy) => Some(policy.name()),
        Err(_) => request.spec.policy.as_deref().or(recorded.map(|policy| &*policy.name)),
    };
    holds_verb(admission, caller, verb, name).await
}

/// Whether the caller holds a verb on the policy of this name; without one, on every policy.
pub(super) async fn holds_verb(
    admission: &Admission,
    caller: &UserInfo,
    verb: &str,
    policy: Option<&str>,
) -> Result<bool, NotAdmitted> {
    let attributes = ResourceAttributes {
        group: Some(API_GROUP.to_owned()),
        resource: Some("jitpolicies".to_owned()),
        name: policy.map(ToOwned::to_owned),
        verb: Some(verb.to_owned()),
        ..ResourceAttributes::default()
    };
    let UserInfo { extra, groups, uid, username } = caller.clone();
    let review = SubjectAccessReview {
        spec: SubjectAccessReviewSpec {
            resource_attributes: Some(attributes),
            extra,
            groups,
            uid,
            user: username,
            ..SubjectAccessReviewSpec::default()
        },
        ..SubjectAccessReview::default()
    };
    let reviews: Api<SubjectAccessReview> = Api::all(admission.reader().client().clone());
    let what = format!("asking whether the caller may {verb}");
    let answer = bounded(what, reviews.create(&PostParams::default(), &review)).await;
    let answer = answer.map_err(|error| NotAdmitted::Failed(error.to_string()))?;
    Ok(answer.status.is_some_and(|status| status.allowed && status.denied != Some(true)))
}

/// Refuses what is no name: it becomes part of a URL, and of a selector.
pub(crate) fn check_name(field: &str, name: &str) -> Result<(), NotAdmitted> {
    if is_object_name(name) {
        return Ok(());
    }
    let message = format!("{field}: {name:?} is not the name of an object");
    Err(NotAdmitted::Invalid(message))
}

/// Whether this is a name that the API server gives to objects (RFC 1123 subdomain).
fn is_object_name(name: &str) -> bool {
    let alphanumeric = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let label = |label: &str| {
        label.bytes().next().is_some_and(alphanumeric)
            && label.bytes().next_back().is_some_and(alphanumeric)
            && label.bytes().all(|byte| alphanumeric(byte) || byte == b'-')
    };
    name.len() <= 253 && name.split('.').all(label)
}
