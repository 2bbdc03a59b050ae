//! A request that has its grant follows it.

use chrono::{DateTime, Utc};
use lapse_crds::{
    AccessRequest, Condition, ConditionStatus, Conditions as _, EndReason, Grant, GrantPhase,
    GrantRef, GrantStatus, RequestPhase, ReviewOutcome,
};

use super::decide::{APPROVED, EVALUATED, GRANTED, evaluation, nothing};
use super::evaluate::Unasked;
use super::report::Writer;
use super::{Observed, Plan};
use crate::Read;
use crate::grant::{ACTIVE, NOT_GIVEN, REVIEWED};
use crate::identity::holder;
use crate::lifetime::{self, is_settled};
use crate::notice::Notice;
use crate::target::ResolvedTarget;

/// The condition of a request whose right is gone.
pub(super) const ENDED: &str = "Ended";

/// The Grant of the request's name exists.
pub(super) fn found(observed: &Observed, grant: &Grant, now: DateTime<Utc>) -> Plan {
    let request = &observed.request.object;
    let writer = Writer::new(request, now);
    if request.metadata.uid.as_ref() != Some(&grant.spec.request.uid) {
        let name = grant.metadata.name.as_deref().unwrap_or_default();
        let message = format!("The name is taken: Grant {name} belongs to another request.");
        return failed(writer, &message);
    }
    let status = grant.status.clone().unwrap_or_default();
    let mut writer = evaluated(observed, writer, now);
    // The policy may have changed since: what counts is the one that the right was given under.
    writer.status.policy = Some(grant.spec.policy.clone());
    writer.status.grant = Some(GrantRef {
        name: grant.metadata.name.clone().unwrap_or_default(),
        uid: grant.metadata.uid.clone().unwrap_or_default(),
    });
    writer.status.starts_at = Some(grant.spec.starts_at);
    writer.status.expires_at = Some(grant.spec.expires_at);
    let (writer, news) = reviewed(writer, &status);
    let plan = given(writer, grant, &status, request);
    Plan { notice: plan.notice.or(news), ..plan }
}

/// What became of the right.
fn given(writer: Writer<'_>, grant: &Grant, status: &GrantStatus, request: &AccessRequest) -> Plan {
    let mut writer = writer;
    match status.phase {
        GrantPhase::Pending => pending(writer, &status.conditions),
        GrantPhase::Active => held(writer, grant),
        GrantPhase::Ending => ending(writer, &status.conditions, request, status.end_reason),
        GrantPhase::Ended => {
            writer.status.ended_at = status.ended_at;
            match status.end_reason {
                Some(reason) => {
                    let message = cause(&status.conditions);
                    ended(writer, reason, &message)
                }
                None => failed(writer, &cause(&status.conditions)),
            }
        }
    }
}

fn held(writer: Writer<'_>, grant: &Grant) -> Plan {
    let message = format!("Access is held until {}.", grant.spec.expires_at);
    let plan = granted(writer, &message).becomes(RequestPhase::Active, "Granted", &message, None);
    let Some(review_by) = grant.spec.review_by else { return plan };
    // Without approval: whoever watches events is to see it as it happens.
    let notice = plan.notice.map(|_| Notice {
        warning: true,
        reason: "EmergencyGranted".to_owned(),
        message: format!(
            "{} has {} until {}, in an emergency and without approval; it must be reviewed by {review_by}.",
            holder(grant),
            describe(grant),
            grant.spec.expires_at
        ),
    });
    Plan { notice, ..plan }
}

fn describe(grant: &Grant) -> String {
    let target = ResolvedTarget::resolve(&grant.spec.target, &grant.spec.request.namespace);
    target.map(|target| target.to_string()).unwrap_or_default()
}

/// A request that is final changes no more, but for the review of an emergency.
pub(super) fn over(observed: &Observed, now: DateTime<Utc>) -> Plan {
    let request = &observed.request.object;
    let status = request.status.as_ref();
    let recorded = status.and_then(|status| status.grant.as_ref().map(|grant| &grant.uid));
    match &observed.grant {
        Read::Found(grant) if !is_settled(request) && grant.metadata.uid.as_ref() == recorded => {
            let status = grant.status.clone().unwrap_or_default();
            let (writer, notice) = reviewed(Writer::new(request, now), &status);
            let phase = writer.status.phase;
            Plan { notice, ..writer.stands(phase, None) }
        }
        _ => nothing(None),
    }
}

/// Says where the review stands, as the Grant does; and tells people once that it was reviewed.
fn reviewed<'a>(mut writer: Writer<'a>, grant: &GrantStatus) -> (Writer<'a>, Option<Notice>) {
    let known = writer.status.review.take();
    writer.status.review.clone_from(&grant.review);
    let Some(condition) = grant.conditions.condition(REVIEWED) else { return (writer, None) };
    let Condition { status, reason, message, .. } = condition;
    let writer = writer.condition(REVIEWED, *status, reason, message);
    let was_reviewed = known.is_some_and(|review| review.outcome.is_some());
    let outcome = grant.review.as_ref().and_then(|review| review.outcome);
    let news = outcome.filter(|_| !was_reviewed).map(|outcome| Notice {
        warning: outcome == ReviewOutcome::Unjustified,
        reason: REVIEWED.to_owned(),
        message: message.clone(),
    });
    (writer, news)
}

/// The right is about to be given. The Grant says something about that only when it meets an
/// obstacle; otherwise the status is written once, when the right is held.
fn pending(writer: Writer<'_>, conditions: &[Condition]) -> Plan {
    let Some(obstacle) = conditions.iter().find(|c| c.r#type == ACTIVE) else {
        return Plan { create: None, status: None, notice: None, wake_at: None };
    };
    writer
        .condition(GRANTED, ConditionStatus::False, &obstacle.reason, &obstacle.message)
        .stands(RequestPhase::Pending, None)
}

/// The right is being taken back and could not be verified to be gone: that is said at once.
fn ending(
    writer: Writer<'_>,
    conditions: &[Condition],
    request: &AccessRequest,
    reason: Option<EndReason>,
) -> Plan {
    let endpoint = request.spec.target.endpoint.as_ref().map(|endpoint| endpoint.name.as_str());
    let message = taken_back(endpoint, &cause(conditions));
    let phase = request.status.as_ref().map(|status| status.phase).unwrap_or_default();
    let short = reason.map_or_else(|| NOT_GIVEN.to_owned(), |reason| reason.to_string());
    writer
        .condition(GRANTED, ConditionStatus::False, &short, &message)
        .condition(ENDED, ConditionStatus::False, "Unverified", &message)
        .stands(phase, None)
}

/// What is said while a right is being taken back. On a host that takes until the host is heard of.
fn taken_back(endpoint: Option<&str>, cause: &str) -> String {
    let on_host = endpoint.map(|name| {
        format!(
            "The host of Endpoint {name} has not confirmed yet that access is gone; there it ends when it expires, at \
             the latest. "
        )
    });
    format!("Access is being revoked. {}{cause}", on_host.unwrap_or_default())
}

/// The Grant that the status records is gone: the right is, too, and it is never given again.
pub(super) fn lost(request: &AccessRequest, recorded: &GrantRef, now: DateTime<Utc>) -> Plan {
    let mut writer = Writer::new(request, now);
    writer.status.ended_at = writer.status.ended_at.or(Some(now.into()));
    let message = format!("Grant {} was deleted.", recorded.name);
    ended(writer, EndReason::GrantDeleted, &message)
}

/// Whether the status of a request shows its evaluation, and that it was approved: once its Grant stands, nothing else
/// is asked then but what became of that.
#[must_use]
pub fn shows_evaluation(request: &AccessRequest) -> bool {
    let conditions = request.status.as_ref().map(|status| &status.conditions);
    // A look-up that failed in between leaves the one approved and the other unknown.
    conditions.is_some_and(|conditions| {
        [EVALUATED, APPROVED].into_iter().all(|r#type| {
            let condition = conditions.condition(r#type);
            condition.is_some_and(|condition| condition.status == ConditionStatus::True)
        })
    })
}

/// Makes sure that the status shows the evaluation, also when the grant came before the first report.
fn evaluated<'a>(observed: &Observed, writer: Writer<'a>, now: DateTime<Utc>) -> Writer<'a> {
    if shows_evaluation(&observed.request.object) {
        return writer;
    }
    let reason = match evaluation(observed, now) {
        Ok(evaluation) => {
            let unasked = evaluation.policy.as_ref().and_then(|chosen| chosen.unasked);
            let writer = writer.evaluation(&evaluation);
            return approved(writer, unasked.map_or("Complete", Unasked::reason));
        }
        Err(_) => "Complete",
    };
    approved(writer, reason)
}

fn approved<'a>(writer: Writer<'a>, reason: &str) -> Writer<'a> {
    writer
        .condition(EVALUATED, ConditionStatus::True, "ChecksPassed", "Every check passed.")
        .condition(APPROVED, ConditionStatus::True, reason, "Access can be granted.")
}

fn granted<'a>(writer: Writer<'a>, message: &str) -> Writer<'a> {
    writer.condition(GRANTED, ConditionStatus::True, "Given", message)
}

fn ended(writer: Writer<'_>, reason: EndReason, message: &str) -> Plan {
    let mut writer = writer;
    writer.status.end_reason = Some(reason);
    let short = reason.to_string();
    writer
        .condition(GRANTED, ConditionStatus::False, &short, message)
        .condition(ENDED, ConditionStatus::True, &short, message)
        .becomes(RequestPhase::Ended, &short, message, None)
}

fn failed(writer: Writer<'_>, message: &str) -> Plan {
    writer.condition(GRANTED, ConditionStatus::False, NOT_GIVEN, message).becomes(
        RequestPhase::Failed,
        NOT_GIVEN,
        message,
        None,
    )
}

/// Why the right ended, in words, as the Grant keeps it.
fn cause(conditions: &[Condition]) -> String {
    let ended = conditions.iter().find(|condition| condition.r#type == lifetime::ENDED);
    ended.map(|condition| condition.message.clone()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn on_a_host_it_is_said_who_has_not_been_heard_of() {
        assert_eq!(
            taken_back(Some("web-1"), "Denied by bob."),
            "Access is being revoked. The host of Endpoint web-1 has not confirmed yet that access is gone; there it \
             ends when it expires, at the latest. Denied by bob."
        );
        let in_cluster = taken_back(None, "Denied by bob.");
        assert_eq!(in_cluster, "Access is being revoked. Denied by bob.");
    }
}
