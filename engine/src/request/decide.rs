//! What is to be done about a request.

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};
use kube::api::ObjectMeta;
use lapse_crds::{
    ConditionStatus, ENDPOINT_LABEL, GRANT_FINALIZER, Grant, GrantSession, GrantSpec, RequestPhase,
    RequestRef,
};

use super::evaluate::{Chosen, Evaluation, evaluate, subject};
use super::report::Writer;
use super::{Observed, Plan, follow};
use crate::Read;
use crate::grant::grant_name;
use crate::identity::describe;
use crate::lifetime::starts_at;
use crate::outside::{LOOKUP_FAILED, REFUSED};
use crate::risk::impersonated;
use crate::session::{of_cluster, of_host};
use crate::target::{EndpointPlace, ResolvedTarget};

pub(super) const EVALUATED: &str = "Evaluated";
pub(super) const APPROVED: &str = "Approved";
pub(super) const GRANTED: &str = "Granted";
/// The reason of what a check refuses.
pub(super) const CHECKS_FAILED: &str = "ChecksFailed";

/// How soon what could not be looked up is looked up again.
const RETRY: TimeDelta = TimeDelta::seconds(5);

/// Decides what is to be done about a request.
#[must_use]
pub fn decide(observed: &Observed, now: DateTime<Utc>) -> Plan {
    let request = &observed.request.object;
    let status = request.status.as_ref();
    if status.is_some_and(|status| status.phase.is_terminal()) {
        return follow::over(observed, now);
    }
    let recorded = status.and_then(|status| status.grant.as_ref());
    match (&observed.grant, recorded) {
        // Whether a grant exists must be known: a request is granted once.
        (Read::Failed(_), Some(_)) => nothing(Some(now + RETRY)),
        (Read::Failed(why), None) => {
            let message = format!("The Grant cannot be read: {why}");
            unknown(Writer::new(request, now), LOOKUP_FAILED, &message, now)
        }
        // A Grant of the same name with another UID is not the one that the request had.
        (Read::Found(grant), Some(recorded))
            if grant.metadata.uid.as_deref() != Some(&recorded.uid) =>
        {
            follow::lost(request, recorded, now)
        }
        (Read::Found(grant), _) => follow::found(observed, grant, now),
        (Read::Missing, Some(recorded)) => follow::lost(request, recorded, now),
        (Read::Missing, None) => consider(observed, now),
    }
}

pub(super) fn nothing(wake_at: Option<DateTime<Utc>>) -> Plan {
    Plan { create: None, status: None, notice: None, wake_at }
}

/// What policies and people say of the request as it stands; `Err` is the plan if that cannot be told.
pub(super) fn evaluation(observed: &Observed, now: DateTime<Utc>) -> Result<Evaluation, Box<Plan>> {
    let request = &observed.request.object;
    let writer = || Writer::new(request, now);
    let unattested = |message: String| {
        let writer = writer().condition(EVALUATED, ConditionStatus::False, "NotAttested", &message);
        Box::new(writer.becomes(RequestPhase::Denied, "NotAttested", &message, None))
    };
    let attestation = match &observed.request.attestation {
        Ok(attestation) => attestation,
        Err(error) if error.may_pass() => {
            let message = format!("The request cannot be verified yet: {error}.");
            return Err(Box::new(unknown(writer(), "KeyNotPublished", &message, now)));
        }
        Err(error) => {
            return Err(unattested(format!(
                "The request is not accepted: {error}. Delete it and create it again."
            )));
        }
    };
    let namespace = request.metadata.namespace.as_deref().unwrap_or_default();
    let target = ResolvedTarget::resolve(&request.spec.target, namespace);
    let (Some(requester), Some(target)) = (&request.spec.requester, target) else {
        return Err(unattested(
            "The request names no requester or no target. Delete it and create it again."
                .to_owned(),
        ));
    };
    evaluate(observed, attestation.admitted_at.time(), requester, &target, now)
        .map_err(|why| Box::new(unknown(writer(), LOOKUP_FAILED, &why, now)))
}

fn unknown(writer: Writer<'_>, reason: &str, message: &str, now: DateTime<Utc>) -> Plan {
    writer
        .condition(EVALUATED, ConditionStatus::Unknown, reason, message)
        .stands(RequestPhase::Pending, Some(now + RETRY))
}

/// A request without a grant: is it allowed, is it approved?
fn consider(observed: &Observed, now: DateTime<Utc>) -> Plan {
    let request = &observed.request.object;
    if request.metadata.deletion_timestamp.is_some() {
        return nothing(None);
    }
    let evaluation = match evaluation(observed, now) {
        Ok(evaluation) => evaluation,
        Err(plan) => return *plan,
    };
    let writer = Writer::new(request, now).evaluation(&evaluation);
    if let Some(plan) = said_no(request, &evaluation, now) {
        return plan;
    }
    if let Some(trial) = evaluation.policy.as_ref().filter(|chosen| chosen.is_audit) {
        return on_trial(&evaluation, trial, writer);
    }
    if let Some(why) = evaluation.report.refusal() {
        let reason = if evaluation.denied_by.is_some() { "DeniedByPolicy" } else { CHECKS_FAILED };
        return writer
            .condition(EVALUATED, ConditionStatus::False, reason, &why)
            .condition(APPROVED, ConditionStatus::False, reason, &why)
            .becomes(RequestPhase::Denied, reason, &why, None);
    }
    if let Some(why) = evaluation.report.unknown() {
        return unknown(writer, LOOKUP_FAILED, &why, now);
    }
    let writer =
        writer.condition(EVALUATED, ConditionStatus::True, "ChecksPassed", "Every check passed.");
    // A report without refusal names a policy.
    match &evaluation.policy {
        Some(chosen) => approval(observed, &evaluation, chosen, writer, now),
        None => nothing(None),
    }
}

/// Deny and End come before everything else.
fn said_no(
    request: &lapse_crds::AccessRequest,
    evaluation: &Evaluation,
    now: DateTime<Utc>,
) -> Option<Plan> {
    let writer = Writer::new(request, now).evaluation(evaluation);
    if let Some(denial) = evaluation.statements.denial() {
        let comment = denial.comment.as_deref().map(|c| format!(": {c}")).unwrap_or_default();
        let message = format!("Denied by {}{comment}", denial.decider.username);
        let writer = writer.by(&denial.decider.username).condition(
            APPROVED,
            ConditionStatus::False,
            "Denied",
            &message,
        );
        return Some(writer.becomes(RequestPhase::Denied, "Denied", &message, None));
    }
    let end = evaluation.statements.end(&evaluation.requester)?;
    let message = format!("Withdrawn by {}.", describe(&end.decider));
    let writer = writer.condition(APPROVED, ConditionStatus::False, "Withdrawn", &message);
    Some(writer.becomes(RequestPhase::Withdrawn, "Withdrawn", &message, None))
}

fn approval(
    observed: &Observed,
    evaluation: &Evaluation,
    chosen: &Chosen,
    writer: Writer<'_>,
    now: DateTime<Utc>,
) -> Plan {
    let timed_out = |writer: Writer<'_>, message: &str| {
        writer.condition(APPROVED, ConditionStatus::False, "TimedOut", message).becomes(
            RequestPhase::TimedOut,
            "TimedOut",
            message,
            None,
        )
    };
    let Some(approved_at) = chosen.approved_at(evaluation.requested_at) else {
        let void = chosen.progress.void.as_deref().map(|v| format!(" {v}")).unwrap_or_default();
        let waiting = format!("It waits for {}.{void}", chosen.progress.waiting_for);
        let writer = writer.unscheduled();
        if now >= chosen.times_out_at {
            let message =
                format!("Nobody answered in time. {waiting} Request again if you still need it.");
            return timed_out(writer, &message);
        }
        return writer
            .condition(APPROVED, ConditionStatus::False, "Waiting", &waiting)
            .waits(chosen, Some(evaluation.or_ban(chosen.wakes_at(now))));
    };
    let (reason, message) = match chosen.unasked {
        Some(unasked) => (unasked.reason(), unasked.message()),
        None => ("Complete", "Everybody who must approve has approved."),
    };
    let starts_at = starts_at(&observed.request.object.spec, approved_at.min(now));
    let Some(grant) = grant(observed, evaluation, chosen, starts_at) else {
        return nothing(None);
    };
    if now < starts_at {
        let waiting = format!("It starts at {}.", grant.spec.starts_at);
        let mut writer = writer
            .condition(APPROVED, ConditionStatus::True, reason, message)
            .condition(GRANTED, ConditionStatus::False, "Scheduled", &waiting);
        writer.status.starts_at = Some(grant.spec.starts_at);
        writer.status.expires_at = Some(grant.spec.expires_at);
        let wake_at = Some(evaluation.or_ban(starts_at));
        return writer.becomes(RequestPhase::Scheduled, "Scheduled", &waiting, wake_at);
    }
    if now >= grant.spec.expires_at.time() {
        let message = format!(
            "It was approved, but it expired at {} before access could be granted. Request again if you still need it.",
            grant.spec.expires_at
        );
        return timed_out(writer, &message);
    }
    let (short, obstacle) = match &observed.obstacle {
        Some(obstacle) => (REFUSED, obstacle.as_str()),
        None => ("Pending", "The grant is being created."),
    };
    let plan = writer
        .condition(APPROVED, ConditionStatus::True, reason, message)
        .condition(GRANTED, ConditionStatus::False, short, obstacle)
        .stands(RequestPhase::Pending, Some(grant.spec.expires_at.time()));
    Plan { create: Some(Box::new(grant)), ..plan }
}

/// A policy on trial says what would have happened, and declines.
fn on_trial(evaluation: &Evaluation, trial: &Chosen, writer: Writer<'_>) -> Plan {
    let would = match (evaluation.report.refusal(), evaluation.report.unknown()) {
        (Some(why), _) => format!("would have been denied: {why}"),
        (None, Some(why)) => format!("could not be judged: {why}"),
        (None, None) => {
            let duration = trial.duration().map(|duration| format!(" for {duration}"));
            let duration = duration.unwrap_or_default();
            if trial.unasked.is_some() {
                format!("would have been granted{duration} without approval.")
            } else {
                let waiting = &trial.progress.waiting_for;
                format!("would have been granted{duration} once approved by {waiting}.")
            }
        }
    };
    let message = format!("JitPolicy {} is in audit mode: the request {would}", trial.policy.name);
    writer
        .condition(EVALUATED, ConditionStatus::False, "AuditMode", &message)
        .condition(APPROVED, ConditionStatus::False, "AuditMode", &message)
        .becomes(RequestPhase::Denied, "AuditMode", &message, None)
}

/// The value of the label by which the gateway finds the orders: a label has 63 bytes, a name 253.
fn endpoint_label(name: &str) -> String {
    let cut: String = name.chars().take(63).collect();
    cut.trim_end_matches(|c: char| !c.is_ascii_alphanumeric()).to_owned()
}

/// The Grant of an approved request.
fn grant(
    observed: &Observed,
    evaluation: &Evaluation,
    chosen: &Chosen,
    starts_at: DateTime<Utc>,
) -> Option<Grant> {
    let metadata = &observed.request.object.metadata;
    let request = RequestRef {
        namespace: metadata.namespace.clone()?,
        name: metadata.name.clone()?,
        uid: metadata.uid.clone()?,
    };
    let name = grant_name(&request.namespace, &request.name, &request.uid);
    let role = observed.role.found()?;
    let expires_at = starts_at + chosen.duration()?.delta();
    let endpoint = chosen.target.scope.endpoint();
    let spec = GrantSpec {
        request,
        policy: chosen.policy.clone(),
        subject: subject(&evaluation.requester)?,
        username: Some(evaluation.requester.username.clone()),
        target: chosen.target.to_api(),
        starts_at: starts_at.into(),
        // Access can be held only within the hours of the policy.
        expires_at: chosen.closes_at().map_or(expires_at, |at| at.min(expires_at)).into(),
        emergency: observed.request.object.spec.emergency,
        review_by: chosen.review_within.map(|within| (starts_at + within.delta()).into()),
        approved_by: chosen.approved_by(),
        ticket: observed.request.object.spec.ticket.clone(),
        rules_hash: role.hash(),
        rules: role.to_keep(),
        session: if endpoint.is_some() {
            let facts = observed.surroundings.endpoint.as_ref();
            of_host(&chosen.session, &chosen.target.privilege, facts)
        } else {
            let impersonates = impersonated(role.lists());
            Some(GrantSession { impersonates, ..of_cluster(&chosen.session) })
        },
    };
    let label = |place: &EndpointPlace| {
        BTreeMap::from([(ENDPOINT_LABEL.to_owned(), endpoint_label(&place.name))])
    };
    let metadata = ObjectMeta {
        name: Some(name),
        finalizers: Some(vec![GRANT_FINALIZER.to_owned()]),
        labels: endpoint.map(label),
        ..ObjectMeta::default()
    };
    Some(Grant { metadata, spec, status: None })
}

#[cfg(test)]
mod tests;
