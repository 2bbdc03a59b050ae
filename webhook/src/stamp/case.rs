//! What a decision is judged from, read live: everything in parallel that does not wait for another.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use k8s_openapi::api::authentication::v1::UserInfo;
use lapse_cluster::{Occasion, Reader, clock};
use lapse_crds::{
    AccessDecisionSpec, AccessRequest, Identity, PolicyRef, RecordedRules, Verdict, created_at,
};
use lapse_engine::Read;
use lapse_engine::approval::{Judgement, Statements, judge};
use lapse_engine::attest::Attested;
use lapse_engine::duties::{Duties, bearing_on};
use lapse_engine::lifetime::starts_at;
use lapse_engine::policy::{Asked, Policy, RolesKnown, select};
use lapse_engine::risk::{Reach, assess, goes_on, within_reach};
use lapse_engine::role::RoleRules;
use lapse_engine::session::is_kept_from_approving;
use lapse_engine::summary::GrantSummary;
use lapse_engine::target::{ResolvedTarget, Scope};

use super::around::{Around, policy_name};
use crate::admission::{Admission, caller};
use crate::answer::{NotAdmitted, known};
use crate::news::Patience;

/// The fields that say what a decision is about.
pub(super) const REQUEST_NAME: &str = "spec.request.name";
pub(super) const REQUEST_UID: &str = "spec.request.uid";

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
    pub(super) may_approve: bool,
    /// The Grant by whose right the decider may approve, if it keeps from it.
    pub(super) kept_by: Option<String>,
    /// Whether the decider holds a right of which the index does not say which.
    pub(super) holds_what_is_not_seen: bool,
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

impl Case {
    /// Reads it: what is cheap, all at once. What a role lets its holder do, which is told to whoever approves, is read
    /// once the approval stands.
    pub(super) async fn read(
        admission: &Admission,
        namespace: &str,
        decision: &AccessDecisionSpec,
        decider: &UserInfo,
    ) -> Result<Self, NotAdmitted> {
        let name = &decision.request.name;
        check_name(REQUEST_NAME, name)?;
        let reader = admission.reader();
        let verdict = decision.verdict;
        // What to look at follows from the spec, which never changes: if it is known, nothing waits for the request.
        let known = reader.index().request_named(namespace, name).and_then(|k| k.object);
        let (attested, early) = tokio::join!(attested(admission, namespace, name), async {
            match &known {
                Some(known) => Some(Around::read(admission, known, verdict, decider).await),
                None => None,
            }
        });
        let attested = attested?;
        let uid = attested.object.metadata.uid.clone().unwrap_or_default();
        check_uid(decision, namespace, &uid)?;
        let is_it = known.is_some_and(|known| known.metadata.uid.as_ref() == Some(&uid));
        // Taking a right back must work when the key that signed the request is gone.
        let requested_at = match attested.attestation {
            Ok(attestation) => attestation.admitted_at.time(),
            Err(_) if verdict != Verdict::Approve => {
                created_at(&attested.object.metadata).unwrap_or_default()
            }
            Err(error) => {
                let message = format!(
                    "request {name} cannot be decided: {error}. Delete it and make it again"
                );
                return Err(NotAdmitted::invalid(REQUEST_NAME, message));
            }
        };
        let request = attested.object;
        let target = ResolvedTarget::resolve(&request.spec.target, namespace);
        let (Some(requester), Some(target)) = (request.spec.requester.clone(), target) else {
            let message = format!(
                "request {name} names no requester or no target, so nothing can be decided. Delete it and make it again"
            );
            return Err(NotAdmitted::invalid(REQUEST_NAME, message));
        };
        let around = match early.filter(|_| is_it) {
            Some(around) => around,
            None => Around::read(admission, &request, verdict, decider).await,
        };
        admission.said().is_shown(reader.index(), &uid).await;
        let mut case =
            Self::of(admission, decider, verdict, request, requester, target, &around).await?;
        case.requested_at = requested_at;
        // What was refused for the lack of something may have come by now.
        let mut patience = Patience::of(reader.index(), Occasion::Judge);
        while case.may_lack_something(verdict) && patience.outlasts().await {
            let Self { request, requester, target, .. } = case;
            case =
                Self::of(admission, decider, verdict, request, requester, target, &around).await?;
            case.requested_at = requested_at;
        }
        // By that right they may be allowed to approve, and kept from it.
        if case.holds_what_is_not_seen {
            let who = decider.username.as_deref().unwrap_or_default();
            return Err(NotAdmitted::of_a_holder_not_seen(who));
        }
        Ok(case)
    }

    /// Puts it together with what the index has now.
    async fn of(
        admission: &Admission,
        decider: &UserInfo,
        verdict: Verdict,
        request: AccessRequest,
        requester: Identity,
        target: ResolvedTarget,
        around: &Around,
    ) -> Result<Self, NotAdmitted> {
        let (reader, index) = (admission.reader(), admission.reader().index());
        let uid = request.metadata.uid.clone().unwrap_or_default();
        let mut around = around.clone();
        let decisions = match index.decisions(&uid) {
            // Saying no must be possible whatever is not known.
            Read::Failed(_) if verdict != Verdict::Approve => Vec::new(),
            decisions => known(decisions)?.unwrap_or_default(),
        };
        let (policies, policy) = loop {
            let policies = around.policies(reader, verdict)?;
            let asked = Asked {
                policy: policy_name(verdict, &request),
                requester: &requester,
                target: &target,
                emergency: request.spec.emergency,
                namespaces: &around.namespaces,
                roles: RolesKnown { asked: &around.role, banned: &around.banned_roles },
                at: starts_at(&request.spec, clock::now()),
            };
            let policy = select(&policies, asked).policy.cloned();
            // The policy that decides is looked at as it is now, and so is what the caller may do to it.
            match policy.as_ref().map(Policy::name) {
                Ok(chosen) if around.policy.as_ref().is_none_or(|(name, _)| name != chosen) => {
                    let chosen = chosen.to_owned();
                    around.look_at(admission, &chosen, verdict, decider).await;
                }
                Ok(_) | Err(_) => break (policies, policy),
            }
        };
        // Saying no must be possible whatever cannot be read.
        if verdict == Verdict::Approve {
            for namespace in around.namespaces.values() {
                known(namespace.clone())?;
            }
            for rules in around.banned_roles.values() {
                known(rules.clone())?;
            }
        }
        let duties = match (&policy, verdict) {
            (Ok(policy), Verdict::Approve) => {
                let engaging = index.live_by(&bearing_on(&policies, Some(policy.name())));
                known(engaging.clone())?;
                Duties::apart_from(policy.name(), &policies, &engaging)
            }
            // Saying no must be possible whatever else somebody does.
            _ => Duties::default(),
        };
        let mut holds_what_is_not_seen = false;
        let kept_by = match (&policy, verdict) {
            (Ok(policy), Verdict::Approve) => {
                let held = known(index.held(&caller(decider)?))?.unwrap_or_default();
                let holds_a_right = around.holds_a_right.clone().map_err(NotAdmitted::Failed)?;
                holds_what_is_not_seen = held.is_empty() && holds_a_right;
                kept_by(reader, held, policy).await?
            }
            _ => None,
        };
        let may = match verdict {
            Verdict::Approve | Verdict::Deny => around.may.clone().unwrap_or(Ok(false)),
            Verdict::End | Verdict::Review => Ok(false),
        };
        let may = may.map_err(NotAdmitted::Failed)?;
        let role = match around.role {
            Read::Found(role) => Ok(role),
            Read::Missing => Err(format!("there is no {}", target.privilege)),
            Read::Failed(why) => Err(why),
        };
        Ok(Self {
            statements: Statements::about(&uid, &decisions),
            duties,
            requested_at: DateTime::default(),
            request,
            requester,
            target,
            policy,
            role,
            may_approve: verdict == Verdict::Approve && may,
            kept_by,
            holds_what_is_not_seen,
            may_deny: verdict == Verdict::Deny && may,
        })
    }

    /// Whether what is not seen yet may let through what is refused: a policy, or the end of a right that keeps from
    /// approving. What single objects say is as of now.
    fn may_lack_something(&self, verdict: Verdict) -> bool {
        verdict == Verdict::Approve
            && (self.policy.is_err()
                || self.kept_by.is_some()
                || self.holds_what_is_not_seen
                || !self.duties.apart().is_empty())
            && self.request.spec.requester.is_some()
    }

    /// What the role lets its holder do, as whom they could act, and what of it goes on after the end, in words for
    /// whoever approves.
    pub(super) async fn risk(&self, reader: &Reader) -> Result<Vec<String>, NotAdmitted> {
        let Ok(rules) = &self.role else { return Ok(Vec::new()) };
        let reach = Reach::of(&self.target.scope, reader.settings());
        let risk = assess(rules.lists(), &reach).accepted();
        let role = Read::Found(rules.clone());
        let accounts = known(reader.accounts(&self.target, &role).await)?.unwrap_or_default();
        let acting = within_reach(&risk, &accounts).brief();
        let session = self.policy.as_ref().ok().map(Policy::session);
        let goes_on = goes_on(rules, session.as_ref());
        Ok(risk.brief().into_iter().chain(acting).chain(goes_on).collect())
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
        judge(&judgement).map_err(|refusal| NotAdmitted::judged(refusal.to_string()))
    }
}

/// The one of these Grants by which approving requests of a policy is allowed, if its holder is kept from
/// that.
async fn kept_by(
    reader: &Reader,
    held: Vec<Arc<GrantSummary>>,
    policy: &Policy,
) -> Result<Option<String>, NotAdmitted> {
    for grant in held {
        let Some(target) = grant.live.as_ref().and_then(|live| live.target.as_ref()) else {
            continue;
        };
        // Policies belong to no namespace: a right within one allows nothing of them.
        if target.scope != Scope::Cluster {
            continue;
        }
        let role = known(reader.role(target).await)?;
        if role.is_some_and(|role| is_kept_from_approving(&grant, &role, policy.name())) {
            return Ok(Some(grant.name.to_string()));
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
        let message = format!(
            "there is no AccessRequest {name} in namespace {namespace}; see `kubectl get areq -n \
             {namespace}`"
        );
        NotAdmitted::invalid(REQUEST_NAME, message)
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
        Some(named) if named != actual => {
            let message = format!(
                "spec.request.uid is {named}, but request {name} has the UID {actual}: it was deleted \
                 and made again. Look at it with `kubectl get areq {name} -n {namespace} -o yaml`, then \
                 decide upon it anew"
            );
            Err(NotAdmitted::invalid(REQUEST_UID, message))
        }
        _ => Ok(()),
    }
}

/// Refuses what is no name: it becomes part of a URL, and of a selector.
pub(crate) fn check_name(field: &str, name: &str) -> Result<(), NotAdmitted> {
    if is_object_name(name) {
        return Ok(());
    }
    let message = format!(
        "{field} is {name:?}, which is not the name of an object: lower case letters, digits, - and ., a letter or \
         digit at both ends of each part"
    );
    Err(NotAdmitted::invalid(field, message))
}

/// Whether this is a name that the API server gives to objects (RFC 1123 subdomain).
pub(super) fn is_object_name(name: &str) -> bool {
    let alphanumeric = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let label = |label: &str| {
        label.bytes().next().is_some_and(alphanumeric)
            && label.bytes().next_back().is_some_and(alphanumeric)
            && label.bytes().all(|byte| alphanumeric(byte) || byte == b'-')
    };
    name.len() <= 253 && name.split('.').all(label)
}
