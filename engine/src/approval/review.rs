//! Whether a person may review an emergency, judged when the review is submitted.

use lapse_crds::{Grant, Identity, ReviewOutcome, Timestamp};

use super::judge::refuse;
use super::{Refusal, Statements};
use crate::identity;
use crate::identity::holder;
use crate::lifetime::was_never_given;
use crate::policy::{Policy, describe};
use crate::target::ResolvedTarget;

/// What a review is judged from. It goes by the Grant, because the request may have been deleted.
#[derive(Clone, Copy, Debug)]
pub struct Review<'a> {
    /// What the reviewer found.
    pub outcome: ReviewOutcome,
    /// Who reviews.
    pub decider: &'a Identity,
    /// The Grant that was given, as it is stored.
    pub grant: &'a Grant,
    /// The policy that gave it, as it is now, if it is there and can be used.
    pub policy: Option<&'a Policy>,
    /// What people said before.
    pub statements: &'a Statements,
    /// Whether the decider holds the verb `review` on the policy. It counts only when the policy does
    /// not say who reviews.
    pub may_review: bool,
}

/// Judges a review. The text of an acceptance tells the person what was just reviewed.
pub fn judge_review(case: &Review<'_>) -> Result<String, Refusal> {
    let Review { outcome, decider, grant, statements, .. } = case;
    let (who, holder) = (&decider.username, holder(grant));
    let name = &grant.spec.request.name;
    if grant.spec.review_by.is_none() {
        return refuse(format!(
            "request {name} was not an emergency; only emergencies are reviewed"
        ));
    }
    if was_never_given(grant) {
        return refuse(format!("request {name} was never granted; there is nothing to review"));
    }
    if let Some((by, found)) = earlier(grant, statements, &holder) {
        return refuse(format!("request {name} was already reviewed by {by}, as {found}"));
    }
    if *who == holder {
        return refuse(format!(
            "{who} created request {name}; nobody may review their own emergency"
        ));
    }
    may_review(case)?;
    let target = ResolvedTarget::resolve(&grant.spec.target, &grant.spec.request.namespace);
    Ok(format!(
        "reviewed as {outcome}: {holder} held {} in an emergency from {} to {} (request UID {})",
        target.map(|target| target.to_string()).unwrap_or_default(),
        grant.spec.starts_at,
        ended_at(grant),
        grant.spec.request.uid
    ))
}

/// The review that counts already: one that is recorded, or one that was made a moment ago.
fn earlier(
    grant: &Grant,
    statements: &Statements,
    holder: &str,
) -> Option<(String, ReviewOutcome)> {
    let review = grant.status.as_ref().and_then(|status| status.review.as_ref());
    let recorded = review.and_then(|review| Some((review.reviewed_by.clone()?, review.outcome?)));
    recorded.or_else(|| {
        let (said, outcome) = statements.review(holder)?;
        Some((said.decider.username.clone(), outcome))
    })
}

fn ended_at(grant: &Grant) -> Timestamp {
    let status = grant.status.as_ref();
    status.and_then(|status| status.ended_at).unwrap_or(grant.spec.expires_at)
}

/// Reviewers are those whom the policy names now. When it names none any more, whoever holds the verb
/// `review` on it: otherwise nobody could, and the emergency would stay overdue for ever.
fn may_review(case: &Review<'_>) -> Result<(), Refusal> {
    let (who, name) = (&case.decider.username, &case.grant.spec.policy.name);
    let rules = case.policy.and_then(|policy| Some((policy, policy.emergency()?)));
    let Some((policy, rules)) = rules else {
        if case.may_review {
            return Ok(());
        }
        return refuse(format!(
            "JitPolicy {name} no longer says who reviews its emergencies: it was deleted, is not ready, or has no \
             spec.emergency; fix it, or ask somebody who holds the verb review on jitpolicies/{name}, which {who} does \
             not"
        ));
    };
    if !identity::matches_any(case.decider, &rules.reviewers) {
        return refuse(format!(
            "{who} is not a reviewer of JitPolicy {name}; its reviewers are {}",
            describe(&rules.reviewers)
        ));
    }
    if !policy.approval().impersonation && case.decider.credential_id.is_none() {
        return refuse(format!(
            "JitPolicy {name} accepts no review without a credential ID, which impersonation (--as) does not have; \
             review with your own credentials"
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests;
