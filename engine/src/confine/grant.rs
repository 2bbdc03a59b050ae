//! Whether a Grant follows from its request.

use chrono::{DateTime, Utc};
use lapse_crds::{Grant, GrantSpec};

use super::{SKEW, Unconfirmed, difference, obstacle};
use crate::Read;
use crate::request::{Observed, Plan, decide};

/// Whether this very Grant would be written for the request, as it is observed, at this time.
///
/// The moment of an approval comes from the clock of a webhook, and a right never starts after the moment at
/// which the controller writes it: where that clock is behind, the controller's own moment is in the Grant.
/// A start that was asked for may have come by the controller's clock and not by this one. So the Grant is
/// judged at its own start, too, if that is within [`SKEW`]. Nobody gains by that: what starts earlier
/// ends earlier.
///
/// # Errors
/// If another Grant would be written or none, and why; or if that is not known.
pub fn grant(
    mut observed: Observed,
    written: &Grant,
    now: DateTime<Utc>,
) -> Result<(), Unconfirmed> {
    if let Some(why) = observed.grant.failure() {
        return Err(Unconfirmed::Unknown(why));
    }
    // If one of this name stands already, the API server says so. It is judged nevertheless: it may be gone
    // by the time that this one is stored.
    observed.grant = Read::Missing;
    let plan = decide(&observed, now);
    if is_written(&plan, written) {
        return Ok(());
    }
    let start = written.spec.starts_at.time();
    if (now - start).abs() <= SKEW && is_written(&decide(&observed, start), written) {
        return Ok(());
    }
    if let Some(why) = observed.first_failure(now) {
        return Err(Unconfirmed::Unknown(why));
    }
    let differs = |expected: &Grant| {
        format!("{} is not what was approved", differing(expected, written).join(", "))
    };
    let why = plan.create.as_deref().map_or_else(|| why_none(&plan, &observed), differs);
    Err(Unconfirmed::Refused(why))
}

fn is_written(plan: &Plan, written: &Grant) -> bool {
    plan.create.as_deref().is_some_and(|expected| differing(expected, written).is_empty())
}

/// The fields in which a Grant is not what would be written.
fn differing(expected: &Grant, written: &Grant) -> Vec<&'static str> {
    // Without `..`: a new field must be compared, too.
    let GrantSpec {
        request,
        policy,
        subject,
        username,
        target,
        starts_at,
        expires_at,
        emergency,
        review_by,
        approved_by,
        ticket,
        rules_hash,
        rules,
        session,
    } = &expected.spec;
    let of = &written.spec;
    let fields = [
        ("spec.request", request == &of.request),
        ("spec.policy", policy == &of.policy),
        ("spec.subject", subject == &of.subject),
        ("spec.username", username == &of.username),
        ("spec.target", target == &of.target),
        ("spec.startsAt", starts_at == &of.starts_at),
        ("spec.expiresAt", expires_at == &of.expires_at),
        ("spec.emergency", emergency == &of.emergency),
        ("spec.reviewBy", review_by == &of.review_by),
        ("spec.approvedBy", approved_by == &of.approved_by),
        ("spec.ticket", ticket == &of.ticket),
        ("spec.rulesHash", rules_hash == &of.rules_hash),
        ("spec.rules", rules == &of.rules),
        ("spec.session", session == &of.session),
    ];
    let in_spec = fields.into_iter().filter(|(_, is_same)| !is_same).map(|(field, _)| field);
    in_spec.chain(difference(&expected.metadata, &written.metadata)).collect()
}

/// Why no Grant would be written, in words.
fn why_none(plan: &Plan, observed: &Observed) -> String {
    let status = plan.status.as_ref().or(observed.request.object.status.as_ref());
    let why = status.and_then(|status| obstacle(&status.conditions)).unwrap_or_default();
    let phase = status.map(|status| status.phase).unwrap_or_default();
    format!("the request is {phase}, and nothing may be granted for it. {why}")
        .trim_end()
        .to_owned()
}
