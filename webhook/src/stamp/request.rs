//! A request: who asks.

use std::time::Duration;

use chrono::{DateTime, Datelike as _, TimeDelta, Utc};
use kube::api::ObjectMeta;
use lapse_cluster::clock;
use lapse_crds::{AccessRequest, AccessRequestSpec, Identity, Timestamp};
use lapse_engine::request::Foreseen;
use lapse_engine::role::RoleRules;
use lapse_engine::target::check_rules;
use lapse_engine::{Read, clipped};
use tokio::time::timeout;
use tracing::Instrument as _;

use super::carried::{self, is_carried};
use super::draft::{Draft, nonce};
use super::opened::is_object_name;
use super::origin::{Claim, verify};
use super::{allows, offers};
use crate::admission::Admission;
use crate::answer::{Admitted, NotAdmitted};
use crate::asked::{Kind, Request};
use crate::keys::Keys;
use crate::size::check_size;

/// How long to look for what will become of a request: it is only told.
const FORESIGHT: Duration = Duration::from_secs(1);

/// How many namespaces are looked at for that.
const NAMESPACES: usize = 16;

/// Whether it costs little to look, and only at names of objects: the schema has not seen this request yet.
fn is_foreseeable(spec: &AccessRequestSpec) -> bool {
    if let Some(target) = &spec.target.endpoint {
        return is_object_name(&target.name);
    }
    let Some(target) = &spec.target.kubernetes else { return false };
    let is_segment = |name: &str| {
        !name.is_empty() && !name.contains(['/', '%', '?', '#']) && !name.starts_with('.')
    };
    target.namespaces.len() <= NAMESPACES
        && target.namespaces.iter().all(|name| is_object_name(name))
        && target.role.as_ref().is_none_or(|role| is_segment(&role.name))
}

/// Stamps and signs a request, and tells who makes one that will get nothing.
pub(crate) async fn request(
    admission: &Admission,
    request: &Request,
) -> Result<Admitted, NotAdmitted> {
    check_size(Kind::AccessRequest, request)?;
    if offers::is_asked(request)? {
        return offers::answer(admission, request);
    }
    let asks_what_it_allows = allows::is_asked(request)?;
    let claim = Claim::read(admission, request).await?;
    let now = clock::now();
    let settings = admission.reader().settings();
    let (requester, left_out) = if is_carried(settings, request) {
        (carried::requester(settings, request, claim.as_ref())?, None)
    } else {
        admission.stamp_of(&request.user_info)?
    };
    let keys = admission.keys()?;
    let (mut admitted, spec) = stamp(request, &requester, claim.as_ref(), &keys, now, nonce()?)?;
    let seen = match spec {
        Some(spec) => foreseen(admission, request, spec, now).await,
        None => None,
    };
    if let Some((foreseen, role)) = seen.as_ref().filter(|_| asks_what_it_allows) {
        allows::answer(&mut admitted, foreseen, role)?;
    }
    // Who only tries is told more: what is stored says it in its status.
    let is_told =
        |foreseen: &Foreseen| request.dry_run || matches!(foreseen, Foreseen::Denied { .. });
    let foreseen = seen.map(|(foreseen, _)| foreseen).filter(is_told);
    let warning = foreseen.map(|foreseen| clipped(&foreseen.to_string()));
    Ok(Admitted { warnings: warning.into_iter().chain(left_out).collect(), ..admitted })
}

/// What will become of a request, as far as that can be told within a moment; and the rules of its role.
async fn foreseen(
    admission: &Admission,
    request: &Request,
    spec: AccessRequestSpec,
    now: DateTime<Utc>,
) -> Option<(Foreseen, Read<RoleRules>)> {
    if !is_foreseeable(&spec) {
        return None;
    }
    let metadata = request.object.as_ref()?.metadata.clone();
    let metadata = ObjectMeta { namespace: request.namespace.clone(), ..metadata };
    let made = AccessRequest { metadata, spec, status: None };
    // A task of its own: reads that others share are not given up half way.
    let reader = admission.reader().clone();
    let looking = tokio::spawn(async move { reader.observe_new(made).await }.in_current_span());
    let observed = timeout(FORESIGHT, looking).await.ok()?.ok()?;
    let foreseen = lapse_engine::request::foreseen(&observed, now)?;
    Some((foreseen, observed.role))
}

/// How far in the past a start may lie: clocks differ, and typing takes time.
const TOLERANCE: TimeDelta = TimeDelta::minutes(1);

/// The last year that has four digits, as RFC 3339 wants it. A right may last one year.
const LAST_YEAR: i32 = 9999;

/// A start in the past is a mistake. One that became the past while the request waited is not: the right
/// then starts with its approval.
fn check_start(spec: &AccessRequestSpec, now: DateTime<Utc>) -> Result<(), NotAdmitted> {
    match spec.start_time {
        Some(start) if start.time() < now - TOLERANCE => {
            Err(NotAdmitted::invalid_as_told(format!(
                "spec.startTime is {start}, which is in the past (it is {}); leave it out to start at once",
                Timestamp::new(now)
            )))
        }
        Some(start) if start.time().year() >= LAST_YEAR => {
            Err(NotAdmitted::invalid_as_told(format!(
                "spec.startTime is {start}, and access from then on could end in a year that cannot be written; \
                 request an earlier start"
            )))
        }
        _ => Ok(()),
    }
}

/// A request with its stamp, and what it asks for, if that can be read.
pub(super) fn stamp(
    request: &Request,
    requester: &Identity,
    claim: Option<&Claim>,
    keys: &Keys,
    now: DateTime<Utc>,
    nonce: [u8; 16],
) -> Result<(Admitted, Option<AccessRequestSpec>), NotAdmitted> {
    let Some(mut draft) = Draft::of(request) else {
        return Ok((Admitted { done: "left to the schema", ..Admitted::default() }, None));
    };
    draft.set_identity("requester", requester)?;
    let spec = draft.spec::<AccessRequestSpec>();
    let (patch, done) = match &spec {
        Some(spec) => {
            check_start(spec, now)?;
            check_rules(&spec.target)
                .map_err(|error| NotAdmitted::invalid_as_told(error.to_string()))?;
            verify(request, spec, claim, requester, now)?;
            (draft.sign(keys, now, nonce)?, "stamped")
        }
        None => (draft.unsigned(), "left to the schema"),
    };
    Ok((Admitted { patch: Some(patch), done, ..Admitted::default() }, spec))
}

#[cfg(test)]
mod tests;
