//! The review that an emergency needs: a debt that the Grant keeps until somebody else has paid it,
//! whatever becomes of the right, its request and its policy.

use chrono::{DateTime, Utc};
use lapse_crds::{
    ConditionStatus, Conditions as _, Grant, GrantStatus, ReviewOutcome, ReviewStatus, Timestamp,
};

use super::decide::{condition, uid};
use super::warnings::LATEST;
use super::{Observed, Warning};
use crate::Read;
use crate::approval::Statements;
use crate::identity::holder;
use crate::notice::Notice;

/// The condition that says whether an emergency was reviewed.
pub(crate) const REVIEWED: &str = "Reviewed";
const OVERDUE: &str = "Overdue";

/// What is to be told of a review, and when there is something new.
#[derive(Default)]
pub(super) struct ReviewOutlook {
    pub(super) warning: Option<Warning>,
    pub(super) next_at: Option<DateTime<Utc>>,
}

/// Takes down in the status where the review stands: what a reviewer said, or by when somebody must.
pub(super) fn note(
    observed: &Observed,
    status: &mut GrantStatus,
    now: DateTime<Utc>,
) -> ReviewOutlook {
    let grant = &observed.grant;
    let Some(due_by) = grant.spec.review_by else { return ReviewOutlook::default() };
    let known = status.review.take();
    let mut review = known.unwrap_or(ReviewStatus { due_by, reviewed_by: None, outcome: None });
    // What was taken down once stays: a review is no longer looked for.
    if review.reviewed_by.is_some() {
        status.review = Some(review);
        return ReviewOutlook::default();
    }
    let set = |status: &mut GrantStatus, value, reason: &str, message| {
        condition(status, grant, REVIEWED, value, reason, message, now);
    };
    if let Some((who, outcome, comment)) = said(observed) {
        let message = format!("{who} found it {}{comment}.", in_words(outcome));
        set(status, ConditionStatus::True, &outcome.to_string(), message);
        review.reviewed_by = Some(who);
        review.outcome = Some(outcome);
        status.review = Some(review);
        return ReviewOutlook::default();
    }
    let was_overdue =
        status.conditions.condition(REVIEWED).is_some_and(|known| known.reason == OVERDUE);
    let due_at = review.due_by.time();
    status.review = Some(review);
    let (who, policy) = (holder(grant), &grant.spec.policy.name);
    let stays = match grant.metadata.deletion_timestamp {
        Some(_) => " The Grant was deleted, and is removed when it is reviewed.",
        None => "",
    };
    if now < due_at {
        let message =
            format!("A reviewer of JitPolicy {policy} must review it by {due_by}.{stays}");
        set(status, ConditionStatus::False, "Pending", message);
        return ReviewOutlook { warning: None, next_at: Some(due_at) };
    }
    let message = format!(
        "A reviewer of JitPolicy {policy} should have reviewed it by {due_by}. Until one does, {who} gets no other \
         emergency access.{stays}"
    );
    set(status, ConditionStatus::False, OVERDUE, message);
    let is_news = !was_overdue || now < due_at + LATEST;
    ReviewOutlook { warning: is_news.then(|| overdue(grant, due_by)), next_at: None }
}

/// The first review by anybody but the holder of the right. Whether they may review was judged at
/// admission, before it was signed.
fn said(observed: &Observed) -> Option<(String, ReviewOutcome, String)> {
    let Read::Found(decisions) = &observed.decisions else { return None };
    let statements = Statements::about(&observed.grant.spec.request.uid, decisions);
    let (review, outcome) = statements.review(&holder(&observed.grant))?;
    let comment = review.comment.as_deref().map(|comment| format!(": {comment}"));
    Some((review.decider.username.clone(), outcome, comment.unwrap_or_default()))
}

fn in_words(outcome: ReviewOutcome) -> &'static str {
    match outcome {
        ReviewOutcome::Justified => "justified",
        ReviewOutcome::Unjustified => "unjustified",
    }
}

fn overdue(grant: &Grant, due_by: Timestamp) -> Warning {
    let message = format!(
        "This emergency of {} should have been reviewed by {due_by}, and was not; a reviewer of JitPolicy {} must \
         review it.",
        holder(grant),
        grant.spec.policy.name
    );
    let notice = Notice { warning: true, reason: "ReviewOverdue".to_owned(), message };
    Warning { event: format!("{}.review-overdue", uid(grant)), notice }
}
