//! A request: who asks.

use chrono::{DateTime, Datelike as _, TimeDelta, Utc};
use lapse_cluster::clock;
use lapse_crds::{AccessRequestSpec, Timestamp};
use lapse_engine::target::check_rules;

use super::draft::{Draft, nonce};
use crate::admission::{Admission, caller};
use crate::answer::{Admitted, NotAdmitted};
use crate::asked::{Kind, Request};
use crate::keys::Keys;
use crate::size::check_size;

/// Stamps and signs a request.
pub(crate) fn request(admission: &Admission, request: &Request) -> Result<Admitted, NotAdmitted> {
    check_size(Kind::AccessRequest, request)?;
    stamp(request, &*admission.keys()?, clock::now(), nonce()?)
}

/// How far in the past a start may lie: clocks differ, and typing takes time.
const TOLERANCE: TimeDelta = TimeDelta::minutes(1);

/// The last year that has four digits, as RFC 3339 wants it. A right may last one year.
const LAST_YEAR: i32 = 9999;

/// A start in the past is a mistake. One that became the past while the request waited is not: the right
/// then starts with its approval.
fn check_start(spec: &AccessRequestSpec, now: DateTime<Utc>) -> Result<(), NotAdmitted> {
    match spec.start_time {
        Some(start) if start.time() < now - TOLERANCE => Err(NotAdmitted::Invalid(format!(
            "spec.startTime is {start}, which is in the past (it is {}); leave it out to start at once",
            Timestamp::new(now)
        ))),
        Some(start) if start.time().year() >= LAST_YEAR => Err(NotAdmitted::Invalid(format!(
            "spec.startTime is {start}, and a right from then on may end in a year that nobody can write; \
             ask for an earlier start"
        ))),
        _ => Ok(()),
    }
}

pub(super) fn stamp(
    request: &Request,
    keys: &Keys,
    now: DateTime<Utc>,
    nonce: [u8; 16],
) -> Result<Admitted, NotAdmitted> {
    let Some(mut draft) = Draft::of(request) else {
        return Ok(Admitted { done: "left to the schema", ..Admitted::default() });
    };
    draft.set_identity("requester", &caller(&request.user_info)?)?;
    let (patch, done) = match draft.spec::<AccessRequestSpec>() {
        Some(spec) => {
            check_start(&spec, now)?;
            check_rules(&spec.target).map_err(|error| NotAdmitted::Invalid(error.to_string()))?;
            (draft.sign(keys, now, nonce)?, "stamped")
        }
        None => (draft.unsigned(), "left to the schema"),
    };
    Ok(Admitted { patch: Some(patch), warnings: Vec::new(), done, ..Admitted::default() })
}

#[cfg(test)]
mod tests;
