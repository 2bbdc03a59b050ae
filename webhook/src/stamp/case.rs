//! What a decision is judged from, read live: everything in parallel that does not wait for another.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use k8s_openapi::api::authentication::v1::UserInfo;
use lapse_cluster::{Occasion, Reader, clock};
use lapse_crds::{AccessDecisionSpec, AccessRequest, Identity, PolicyRef, RecordedRules, Verdict};
use lapse_engine::Read;
use lapse_engine::approval::{Judgement, Statements, judge};
use lapse_engine::duties::{Duties, bearing_on};
use lapse_engine::elevation::{power_of, runs};
use lapse_engine::lifetime::starts_at;
use lapse_engine::origin::Provenance;
use lapse_engine::policy::{Asked, Policy, RolesKnown, select};
use lapse_engine::risk::{Reach, assess, goes_on, within_reach};
use lapse_engine::role::RoleRules;
use lapse_engine::session::is_kept_from_approving;
use lapse_engine::summary::GrantSummary;
use lapse_engine::surroundings::Surroundings;
use lapse_engine::target::{Privilege, ResolvedTarget, Scope};

use super::alone::Alone;
use super::around::{Around, policy_name};
use super::opened::{Opened, REQUEST_NAME, check_name};
use crate::admission::{Admission, caller};
use crate::answer::{NotAdmitted, known};
use crate::news::Patience;

/// What a decision is judged from.
pub(super) struct Case {
    pub(super) request: AccessRequest,
    pub(super) requester: Identity,
    pub(super) requested_at: DateTime<Utc>,
    pub(super) target: ResolvedTarget,
    /// The target with what the policy says that it is.
    pub(super) given: ResolvedTarget,
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
    /// Reads what a Deny or an End is judged from, whatever else cannot be read.
    pub(super) async fn read_alone(
        admission: &Admission,
        namespace: &str,
        decision: &AccessDecisionSpec,
        decider: &UserInfo,
    ) -> Result<Self, NotAdmitted> {
        let name = &decision.request.name;
        check_name(REQUEST_NAME, name)?;
        let index = admission.reader().index();
        let verdict = decision.verdict;
        let known = index.request_named(namespace, name).and_then(|known| known.object);
        let (opened, early) = tokio::join!(Opened::read(admission, namespace, decision), async {
            match &known {
                Some(known) => Some(Alone::read(admission, known, verdict, decider).await),
                None => None,
            }
        });
        let opened = opened?;
        // Of a request that was decided meanwhile the policy is another.
        let is_of = |alone: &Alone| alone.is_of(admission, &opened.request, verdict);
        let alone = match early.filter(is_of) {
            Some(alone) => alone,
            None => Alone::read(admission, &opened.request, verdict, decider).await,
        };
        let uid = opened.request.metadata.uid.clone().unwrap_or_default();
        admission.said().is_shown(index, &uid).await;
        let decisions = index.decisions(&uid);
        let decisions = decisions.found().map(Vec::as_slice).unwrap_or_default();
        let Opened { request, requester, target, requested_at } = opened;
        Ok(Self {
            statements: Statements::about(&uid, decisions),
            duties: Duties::default(),
            requested_at,
            request,
            requester,
            given: target.clone(),
            target,
            policy: alone.policy,
            role: Err("no role is looked at to say no".to_owned()),
            may_approve: false,
            kept_by: None,
            holds_what_is_not_seen: false,
            may_deny: verdict == Verdict::Deny && alone.may.unwrap_or(false),
        })
    }

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
        let (opened, early) = tokio::join!(Opened::read(admission, namespace, decision), async {
            match &known {
                Some(known) => Some(Around::read(admission, known, verdict, decider).await),
                None => None,
            }
        });
        let opened = opened?;
        let uid = opened.request.metadata.uid.clone().unwrap_or_default();
        let is_it = known.is_some_and(|known| known.metadata.uid.as_ref() == Some(&uid));
        let around = match early.filter(|_| is_it) {
            Some(around) => around,
            None => Around::read(admission, &opened.request, verdict, decider).await,
        };
        admission.said().is_shown(reader.index(), &uid).await;
        let mut case = Self::of(admission, decider, verdict, opened, &around).await?;
        // What was refused for the lack of something may have come by now.
        let mut patience = Patience::of(reader.index(), Occasion::Judge);
        while case.may_lack_something(verdict) && patience.outlasts().await {
            let Self { request, requester, target, requested_at, .. } = case;
            let opened = Opened { request, requester, target, requested_at };
            case = Self::of(admission, decider, verdict, opened, &around).await?;
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
        opened: Opened,
        around: &Around,
    ) -> Result<Self, NotAdmitted> {
        let Opened { request, requester, target, requested_at } = opened;
        let (reader, index) = (admission.reader(), admission.reader().index());
        let uid = request.metadata.uid.clone().unwrap_or_default();
        let mut around = around.clone();
        let decisions = match index.decisions(&uid) {
            // Saying no must be possible whatever is not known.
            Read::Failed(_) if verdict != Verdict::Approve => Vec::new(),
            decisions => known(decisions)?.unwrap_or_default(),
        };
        let from = around.surroundings.origin.as_ref();
        let provenance = Provenance::of(&request, &requester, requested_at, from);
        let (policies, policy) = loop {
            let policies = around.policies(reader, verdict)?;
            let asked = Asked {
                policy: policy_name(verdict, &request),
                requester: &requester,
                provenance: &provenance,
                target: &target,
                emergency: request.spec.emergency,
                known: &around.surroundings,
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
            for namespace in around.surroundings.namespaces.values() {
                known(namespace.clone())?;
            }
            let Surroundings { namespaces: _, endpoint, origin } = &around.surroundings;
            for endpoint in [endpoint, origin].into_iter().flatten() {
                known(endpoint.clone())?;
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
        let settled = |policy: &Policy| policy.settled(&target, &requester, &around.surroundings);
        let given = policy.as_ref().map_or_else(|_| target.clone(), settled);
        Ok(Self {
            statements: Statements::about(&uid, &decisions),
            duties,
            requested_at,
            request,
            requester,
            target,
            given,
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
        if let Privilege::Elevation(elevation) = &self.given.privilege {
            return Ok(runs(elevation).into_iter().chain(power_of(elevation)).collect());
        }
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
