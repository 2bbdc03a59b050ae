//! Whether a decision may go.

use chrono::{DateTime, Utc};
use lapse_crds::{AccessDecision, AccessRequest, Grant};

use super::{SKEW, Unconfirmed};
use crate::Read;
use crate::retention::{Observed, Record, Retentions, decide, is_about, is_orphan, kept_until};

/// Whether a decision is due to be deleted at this time: what it is about is over, and its retention has
/// passed. A Deny that could be deleted before would be none.
///
/// `request` is what stands under the name that the decision is about, `grant` the Grant that the request has
/// or had.
///
/// # Errors
/// If it is not due; or if that is not known.
pub fn decision(
    decision: &AccessDecision,
    request: &Read<AccessRequest>,
    grant: &Read<Grant>,
    retentions: Retentions,
    now: DateTime<Utc>,
) -> Result<(), Unconfirmed> {
    if let Some(why) = request.failure().or_else(|| grant.failure()) {
        return Err(Unconfirmed::Unknown(why));
    }
    let now = now + SKEW;
    let uid = |request: &AccessRequest| request.metadata.uid.clone().unwrap_or_default();
    let own = request.found().filter(|request| is_about(decision, &uid(request)));
    let is_old = kept_until(decision, &retentions).is_some_and(|until| now >= until);
    let observed = Observed {
        requests: own.into_iter().map(Ok).collect(),
        grants: grant.found().into_iter().map(Ok).collect(),
        retentions,
    };
    let with_record = decide(&observed, now).due.iter().any(|record| match record {
        Record::Request(..) => true,
        Record::Grant(_) => own.is_none(),
    });
    if with_record || (is_old && is_orphan(decision, request, grant.found())) {
        return Ok(());
    }
    let why = "what it decides about is not over, or is to be kept for longer".to_owned();
    Err(Unconfirmed::Refused(why))
}
