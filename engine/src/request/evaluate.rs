//! What policies and people say of a request, apart from what became of it.

use chrono::{DateTime, Utc};
use lapse_crds::{Candidate, GrantDuration, GrantSession, Identity, PolicyRef};

use super::Observed;
use crate::approval::{Basis, Progress, Statements, not_verified_yet, progress};
use crate::checks::{Context, Report, is_harmless};
use crate::duties::Duties;
use crate::lifetime::starts_at;
use crate::origin::Provenance;
use crate::peers::has_place;
use crate::policy::requested_duration;
use crate::policy::{Asked, Policies, RolesKnown, select};
use crate::schedule::Hours;
use crate::target::ResolvedTarget;
use crate::{Read, identity};

/// What policies and people say of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Evaluation {
    /// Who asks.
    pub requester: Identity,
    /// For what, spelled out.
    pub target: ResolvedTarget,
    /// When it was asked.
    pub requested_at: DateTime<Utc>,
    /// The policy that decides, if one does.
    pub policy: Option<Chosen>,
    /// The Deny policy that decides against it, if one does.
    pub denied_by: Option<PolicyRef>,
    /// When a Deny policy will be in force that matches it, if none is now.
    pub banned_from: Option<DateTime<Utc>>,
    /// The policies that do not decide.
    pub candidates: Vec<Candidate>,
    /// The outcomes of the checks.
    pub report: Report,
    /// What people said.
    pub statements: Statements,
}

/// What follows from the policy that decides.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chosen {
    /// The policy.
    pub policy: PolicyRef,
    /// Whether the policy is on trial, and gives nothing.
    pub is_audit: bool,
    /// Why nobody needs to approve, if nobody does.
    pub unasked: Option<Unasked>,
    /// How long after its start an emergency must be reviewed.
    pub review_within: Option<GrantDuration>,
    /// What the Grant says about its session.
    pub session: GrantSession,
    /// What the Grant gives: the target with all that the request left open.
    pub target: ResolvedTarget,
    /// The hours of the policy when the right would start; `None` is always open.
    pub hours: Option<Hours>,
    /// How far the approval is.
    pub progress: Progress,
    /// How long the right was asked for.
    pub requested: Option<GrantDuration>,
    /// When further approvers are asked, if it is not approved by then.
    pub escalates_at: Option<DateTime<Utc>>,
    /// When the request stops waiting for its approval.
    pub times_out_at: DateTime<Utc>,
}

/// Why nobody is asked for approval.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unasked {
    /// It is an emergency, to be reviewed afterwards.
    Emergency,
    /// The policy has no stages.
    SelfService,
    /// The policy approves what is short and harmless by itself.
    Automatic,
}

impl Unasked {
    /// The reason of the condition `Approved`.
    #[must_use]
    pub fn reason(self) -> &'static str {
        match self {
            Self::Emergency => "Emergency",
            Self::SelfService => "SelfService",
            Self::Automatic => "AutoApproved",
        }
    }

    /// In words.
    #[must_use]
    pub fn message(self) -> &'static str {
        match self {
            Self::Emergency => {
                "It is an emergency: it needs no approval, and somebody must review it."
            }
            Self::SelfService => "The policy requires no approval.",
            Self::Automatic => "The policy approves requests this short automatically.",
        }
    }
}

fn unasked(context: &Context<'_>) -> Option<Unasked> {
    let rules = context.policy.approval();
    if context.spec.emergency {
        return Some(Unasked::Emergency);
    }
    if rules.is_self_service() {
        return Some(Unasked::SelfService);
    }
    let asked = requested_duration(context.spec, context.policy);
    // More of what is held already is not short any more.
    let is_new = context.spec.extends.is_none();
    let is_short = rules.auto_approve.zip(asked).is_some_and(|(most, asked)| asked <= most);
    // Whatever the policy accepts: a role that lets its holder climb needs somebody's approval.
    (is_new && is_short && is_harmless(context)).then_some(Unasked::Automatic)
}

/// What cannot be read of the surroundings of a request, in words.
fn unread(observed: &Observed) -> Option<String> {
    for (name, namespace) in &observed.surroundings.namespaces {
        if let Read::Failed(why) = namespace {
            return Some(format!("Namespace {name} cannot be read: {why}."));
        }
    }
    if let Some(Read::Failed(why)) = &observed.surroundings.endpoint {
        return Some(format!("The Endpoint cannot be read: {why}."));
    }
    for (role, rules) in &observed.banned_roles {
        if let Read::Failed(why) = rules {
            return Some(format!("{role}, which a Deny policy names, cannot be read: {why}."));
        }
    }
    None
}

/// Evaluates an attested request. An error is in words, and means that it cannot be told yet.
pub fn evaluate(
    observed: &Observed,
    requested_at: DateTime<Utc>,
    requester: &Identity,
    target: &ResolvedTarget,
    now: DateTime<Utc>,
) -> Result<Evaluation, String> {
    let request = &observed.request.object;
    let none = Policies::default();
    let policies = match &observed.policies {
        Read::Found(policies) => policies,
        Read::Missing => &none,
        Read::Failed(why) => return Err(format!("The policies cannot be read: {why}")),
    };
    let decisions = match &observed.decisions {
        Read::Found(decisions) => decisions.as_slice(),
        Read::Missing => &[],
        Read::Failed(why) => return Err(format!("The decisions cannot be read: {why}")),
    };
    let uid = request.metadata.uid.as_deref().unwrap_or_default();
    let statements = Statements::about(uid, decisions);
    // Who certainly said no needs nobody else's word.
    let is_over = statements.denial().is_some() || statements.end(requester).is_some();
    if !is_over && let Some(why) = not_verified_yet(uid, decisions, now) {
        return Err(why);
    }
    if !is_over && let Some(why) = policies.failure() {
        return Err(why);
    }
    if let Some(why) = unread(observed) {
        return Err(why);
    }
    // A ban is about the time at which the right would be held: a freeze that is over by then denies
    // nothing, and one that has come by then does.
    let start = starts_at(&request.spec, now);
    let provenance =
        Provenance::of(request, requester, requested_at, observed.surroundings.origin.as_ref());
    let asked = Asked {
        policy: request.spec.policy.as_deref(),
        requester,
        provenance: &provenance,
        target,
        emergency: request.spec.emergency,
        known: &observed.surroundings,
        roles: RolesKnown { asked: &observed.role, banned: &observed.banned_roles },
        at: start,
    };
    let selection = select(policies, asked);
    let (report, policy) = match selection.policy {
        Err(why) => (Report::without_policy(&why), None),
        Ok(policy) => {
            let duties = Duties::apart_from(policy.name(), policies, &observed.engaging);
            let context = Context {
                name: request.metadata.name.as_deref().unwrap_or_default(),
                namespace: request.metadata.namespace.as_deref().unwrap_or_default(),
                uid,
                requested_at,
                has_place: has_place(request),
                peers: &observed.peers,
                duties: &duties,
                now,
                spec: &request.spec,
                requester,
                provenance: &provenance,
                target,
                policy,
                policies,
                role: &observed.role,
                accounts: &observed.accounts,
                known: &observed.surroundings,
                settings: &observed.settings,
            };
            let report = Report::run(&context);
            let role = observed.role.found();
            let basis = Basis { policy, requester, requested_at, role, duties: &duties };
            let rules = policy.emergency().filter(|_| request.spec.emergency);
            let hours = policy.schedule().filter(|_| !request.spec.emergency);
            let chosen = Chosen {
                policy: policy.reference().clone(),
                is_audit: policy.is_audit(),
                unasked: unasked(&context),
                hours: hours.map(|schedule| schedule.at(context.starts_at())),
                review_within: rules.map(|rules| rules.within),
                session: policy.session(),
                target: context.settled(),
                progress: progress(&basis, &statements, now),
                requested: requested_duration(&request.spec, policy),
                escalates_at: policy.approval().escalates_at(requested_at),
                times_out_at: policy.approval().times_out_at(requested_at),
            };
            (report, Some(chosen))
        }
    };
    Ok(Evaluation {
        requester: requester.clone(),
        target: target.clone(),
        requested_at,
        policy,
        denied_by: selection.denied_by.cloned(),
        banned_from: selection.banned_from,
        candidates: selection.candidates,
        report,
        statements,
    })
}

impl Evaluation {
    /// This moment, or that at which a Deny policy comes into force, if that is earlier.
    #[must_use]
    pub fn or_ban(&self, moment: DateTime<Utc>) -> DateTime<Utc> {
        self.banned_from.map_or(moment, |from| from.min(moment))
    }
}

/// When the right was approved and for how long, if it was.
impl Chosen {
    /// The moment that completed the approval; of a request that needs none, the moment it was made.
    #[must_use]
    pub fn approved_at(&self, requested_at: DateTime<Utc>) -> Option<DateTime<Utc>> {
        if self.unasked.is_some() { Some(requested_at) } else { self.progress.completed_at }
    }

    /// When the request must be looked at again while it waits for its approval: when others are asked,
    /// when the hours of the policy end, and when it times out.
    #[must_use]
    pub fn wakes_at(&self, now: DateTime<Utc>) -> DateTime<Utc> {
        let moments = [self.escalates_at, self.closes_at(), Some(self.times_out_at)];
        let next = moments.into_iter().flatten().filter(|at| *at > now).min();
        next.unwrap_or(self.times_out_at)
    }

    /// Whose approval counts, by user name; nobody's if nobody needs to approve.
    #[must_use]
    pub fn approved_by(&self) -> Vec<String> {
        let stages = self.progress.stages.iter().filter(|_| self.unasked.is_none());
        let mut names: Vec<String> = stages.flat_map(|stage| stage.approved_by.clone()).collect();
        names.sort_unstable();
        names
    }

    /// When the hours of the policy end in which the right would start.
    #[must_use]
    pub fn closes_at(&self) -> Option<DateTime<Utc>> {
        match self.hours {
            Some(Hours::Open { until }) => Some(until),
            Some(Hours::Closed { .. }) | None => None,
        }
    }

    /// How long the right is given: the shortest that was approved. Who sets no duration approves
    /// what was asked for, and no later approval makes that longer.
    #[must_use]
    pub fn duration(&self) -> Option<GrantDuration> {
        // Nobody is asked in an emergency, so nobody sets anything either.
        if self.unasked == Some(Unasked::Emergency) {
            return self.requested;
        }
        let as_asked = self.requested.filter(|_| self.progress.as_asked);
        [self.progress.duration, as_asked].into_iter().flatten().min().or(self.requested)
    }
}

/// The subject of the right of a requester, who passed the check of the same rule.
pub(super) fn subject(requester: &Identity) -> Option<lapse_crds::Subject> {
    identity::subject_of(requester)
}
