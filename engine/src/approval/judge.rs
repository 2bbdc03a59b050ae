//! Whether a person may say what a decision says, judged when it is submitted.

use chrono::{DateTime, Utc};
use lapse_crds::{AccessDecisionSpec, AccessRequest, GrantDuration, Identity, Timestamp, Verdict};

use super::{Basis, Statement, Statements, progress};
use crate::duties::Duties;
use crate::identity::{describe as describe_person, may_be_same};
use crate::policy::requested_duration;
use crate::policy::{Policy, describe};
use crate::role::RoleRules;
use crate::target::ResolvedTarget;

/// What a decision is judged from: everything as it is stored, nothing from the status but phases
/// that are final.
#[derive(Clone, Copy, Debug)]
pub struct Judgement<'a> {
    /// What the decision says, with its stamps.
    pub decision: &'a AccessDecisionSpec,
    /// Who says it.
    pub decider: &'a Identity,
    /// The request, with its UID.
    pub request: &'a AccessRequest,
    /// Who asked, as was attested.
    pub requester: &'a Identity,
    /// When the request was admitted.
    pub requested_at: DateTime<Utc>,
    /// What was asked for.
    pub target: &'a ResolvedTarget,
    /// The policy that decides, or why none does.
    pub policy: &'a Result<Policy, String>,
    /// What people said before.
    pub statements: &'a Statements,
    /// Who is engaged in the policies that are kept apart from the one that decides.
    pub duties: &'a Duties,
    /// The rules of the role, or why there are none.
    pub role: &'a Result<RoleRules, String>,
    /// Whether the decision came with the UID of the request, rather than being stamped with it.
    pub names_uid: bool,
    /// Whether the decider holds the verb `approve` on the policy.
    pub may_approve: bool,
    /// The Grant whose right allows the decider to approve, if there is one that keeps from it.
    pub kept_by: Option<&'a str>,
    /// Whether the decider holds the verb `deny` on the policy.
    pub may_deny: bool,
    /// The time.
    pub now: DateTime<Utc>,
}

impl<'a> Judgement<'a> {
    fn basis(&self, policy: &'a Policy) -> Basis<'a> {
        Basis {
            policy,
            requester: self.requester,
            requested_at: self.requested_at,
            role: self.role.as_ref().ok(),
            duties: self.duties,
        }
    }
}

/// Why a decision is refused, in words for who submitted it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Refusal(String);

pub(super) fn refuse<T>(message: String) -> Result<T, Refusal> {
    Err(Refusal(message))
}

/// Judges a decision. The text of an acceptance tells the person what was just decided.
pub fn judge(case: &Judgement<'_>) -> Result<String, Refusal> {
    let name = case.request.metadata.name.as_deref().unwrap_or_default();
    still_open(case, name)?;
    match case.decision.verdict {
        Verdict::Approve => approve(case, name),
        Verdict::Deny => deny(case, name),
        Verdict::End => end(case, name),
        // By then the request may be gone: see `judge_review`.
        Verdict::Review => {
            refuse(format!("request {name} has no Grant, so there is no emergency to review"))
        }
    }
}

/// A request that is over takes no more decisions.
fn still_open(case: &Judgement<'_>, name: &str) -> Result<(), Refusal> {
    let phase = case.request.status.as_ref().map(|status| status.phase).unwrap_or_default();
    if phase.is_terminal() {
        return refuse(format!("request {name} is already {phase}; nothing is left to decide"));
    }
    let status = case.request.status.as_ref();
    if case.decision.verdict == Verdict::Approve
        && status.is_some_and(|status| status.grant.is_some())
    {
        return refuse(format!("request {name} is already approved"));
    }
    if let Some(denial) = case.statements.denial() {
        let who = &denial.decider.username;
        return refuse(format!("request {name} was already denied by {who}"));
    }
    if case.statements.end(case.requester).is_some() {
        return refuse(format!("request {name} was already ended by its requester"));
    }
    Ok(())
}

fn approve(case: &Judgement<'_>, name: &str) -> Result<String, Refusal> {
    let who = &case.decider.username;
    let policy = match case.policy {
        Ok(policy) => policy,
        Err(why) => return refuse(format!("request {name} cannot be approved: {why}")),
    };
    let rules = policy.approval();
    let basis = case.basis(policy);
    if policy.is_audit() {
        return refuse(format!(
            "request {name} cannot be approved: JitPolicy {} is in audit mode, and grants nothing",
            policy.name()
        ));
    }
    if case.request.spec.emergency {
        return refuse(format!(
            "request {name} is an emergency, and needs no approval; review it afterwards with verdict \
             Review"
        ));
    }
    if rules.is_self_service() {
        return refuse(format!(
            "request {name} needs no approval: JitPolicy {} is self-service",
            policy.name()
        ));
    }
    if *who == case.requester.username && !rules.self_approval {
        return refuse(format!(
            "{who} created request {name}; nobody may approve their own request"
        ));
    }
    if may_be_same(case.decider, case.requester) && !rules.self_approval {
        return refuse(format!(
            "request {name} was created by {}, who may be {who}; nobody may approve their own request",
            describe_person(case.requester)
        ));
    }
    if !basis.may_approve(case.decider, case.now) {
        return refuse(format!("{who} is not an approver of {}", describe_approvers(case, policy)));
    }
    if !case.may_approve {
        return refuse(format!(
            "{who} is named as an approver but lacks the verb approve on jitpolicies/{}; ask an administrator to bind \
             the role lapse:approver with a ClusterRoleBinding (policies are cluster-scoped)",
            policy.name()
        ));
    }
    if let Some(grant) = case.kept_by {
        return refuse(format!(
            "{who} holds Grant {grant}, which also allows approving; until it ends, {who} cannot approve anything. End \
             it first, or let somebody else approve"
        ));
    }
    if let Err(why) = basis.is_free(case.decider) {
        return refuse(format!("{why}; approve when it has ended, or let somebody else approve"));
    }
    if !basis.accepts_credential(case.decider) {
        return refuse(format!(
            "JitPolicy {} accepts no approval without a credential ID, which impersonation (--as) does not have; \
             approve with your own credentials",
            policy.name()
        ));
    }
    if rules.require_uid && !case.names_uid {
        return refuse(format!(
            "JitPolicy {} requires an approval to name the UID of the request; read request {name}, then set \
             spec.request.uid to {}",
            policy.name(),
            case.request.metadata.uid.as_deref().unwrap_or_default()
        ));
    }
    if case.now >= rules.times_out_at(case.requested_at) {
        return refuse(format!(
            "request {name} waited longer than {} and has timed out; it must be created again",
            rules.timeout
        ));
    }
    if let Err(why) = case.role {
        return refuse(format!("request {name} cannot be approved: {why}"));
    }
    let still = adds_something(case, &basis, name)?;
    let asked = requested_duration(&case.request.spec, policy);
    let duration = case.decision.duration.or(asked);
    let approved = summary(case, "approved", duration);
    Ok(match still {
        Some(waiting_for) => format!("{approved}; it still waits for {waiting_for}"),
        None => approved,
    })
}

/// Who may approve now, and who later, in words.
fn describe_approvers(case: &Judgement<'_>, policy: &Policy) -> String {
    let rules = policy.approval();
    let mut approvers: Vec<String> =
        rules.stages.iter().map(|stage| describe(&stage.approvers)).collect();
    let escalation = rules.describe_escalation().zip(rules.escalates_at(case.requested_at));
    if let Some((who, at)) = escalation {
        let from = if case.now < at {
            format!(" (if nobody has answered by {})", Timestamp::from(at))
        } else {
            String::new()
        };
        approvers.push(format!("{who}{from}"));
    }
    format!("JitPolicy {}; its approvers are {}", policy.name(), approvers.join("; "))
}

/// Refuses an approval that would change nothing: a second one of the same person, or one for stages
/// that are complete or not open yet; and one whose duration the policy does not allow. For whom the request waits
/// afterwards, if for anybody.
fn adds_something(
    case: &Judgement<'_>,
    basis: &Basis<'_>,
    name: &str,
) -> Result<Option<String>, Refusal> {
    let who = &case.decider.username;
    let policy = basis.policy;
    let statement = Statement {
        decider: case.decider.clone(),
        verdict: Verdict::Approve,
        duration: case.decision.duration,
        outcome: None,
        comment: None,
        policy: Some(policy.reference().clone()),
        rules_hash: case.role.as_ref().ok().map(RoleRules::hash),
        // The hash alone: nothing has changed since this moment.
        rules: Vec::new(),
        at: case.now,
    };
    if !basis.is_within_bounds(&statement) {
        let bounds = policy.duration();
        let given = statement.duration.map(|given| given.to_string()).unwrap_or_default();
        return refuse(format!(
            "spec.duration is {given}, and JitPolicy {} allows {}..{}; set it within these bounds, or leave it out",
            policy.name(),
            bounds.min,
            bounds.max
        ));
    }
    let before = progress(basis, case.statements, case.now);
    if before.completed_at.is_some() {
        return refuse(format!("request {name} is already approved"));
    }
    let counted = |progress: &super::Progress| -> usize {
        progress.stages.iter().map(|stage| stage.approved_by.len()).sum()
    };
    if before.stages.iter().any(|stage| stage.approved_by.contains(who)) {
        return refuse(format!(
            "{who} has already approved request {name}; it waits for {}",
            before.waiting_for
        ));
    }
    let after = progress(basis, &case.statements.with(statement), case.now);
    if counted(&after) == counted(&before) {
        return refuse(format!(
            "an approval by {who} adds nothing to request {name}; it waits for {}",
            before.waiting_for
        ));
    }
    Ok(after.completed_at.is_none().then_some(after.waiting_for))
}

fn deny(case: &Judgement<'_>, name: &str) -> Result<String, Refusal> {
    let who = &case.decider.username;
    let is_approver =
        case.policy.as_ref().is_ok_and(|policy| case.basis(policy).may_deny(case.decider));
    if is_approver || case.may_deny {
        return Ok(summary(case, "denied", None));
    }
    let policy = match case.policy {
        Ok(policy) => format!(" of JitPolicy {}", policy.name()),
        Err(_) => String::new(),
    };
    let own = if *who == case.requester.username {
        "; to withdraw your own request, submit a decision with verdict End"
    } else {
        ""
    };
    refuse(format!(
        "{who} may not deny request {name}: only an approver{policy}, or a holder of the verb deny on it, may do that; \
         ask one of them{own}"
    ))
}

fn end(case: &Judgement<'_>, name: &str) -> Result<String, Refusal> {
    let who = &case.decider.username;
    if *who == case.requester.username {
        return Ok(summary(case, "ended", None));
    }
    refuse(format!(
        "only its requester, {}, may end request {name}; an approver revokes it with verdict Deny",
        case.requester.username
    ))
}

fn summary(case: &Judgement<'_>, done: &str, duration: Option<GrantDuration>) -> String {
    let duration = duration.map(|duration| format!(" for {duration}")).unwrap_or_default();
    let whose = if case.decider.username == case.requester.username {
        "your own".to_owned()
    } else {
        format!("{}'s", describe_person(case.requester))
    };
    format!(
        "you {done} {whose} request for {}{duration} (request UID {})",
        case.target,
        case.request.metadata.uid.as_deref().unwrap_or_default()
    )
}

#[cfg(test)]
mod tests;
