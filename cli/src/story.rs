//! A request in words: for lists, for one who waits, and as a history.

mod history;
mod sheet;

use chrono::{DateTime, Utc};
use kube::ResourceExt as _;
use lapse_crds::{AccessRequest, AccessRequestStatus, RequestPhase, created_at};
use lapse_engine::identity::describe;
use lapse_engine::target::ResolvedTarget;

pub(crate) use self::history::history;
pub(crate) use self::sheet::{drift, remarks, sheet};
use crate::countdown::{relative, span};
use crate::output::{phase_of, plain};

/// What is asked for, and where: `edit in shop`.
pub(crate) fn target(request: &AccessRequest) -> String {
    let namespace = request.namespace().unwrap_or_default();
    let resolved = ResolvedTarget::resolve(&request.spec.target, &namespace);
    plain(&resolved.map_or_else(|| "nothing".to_owned(), |target| target.in_brief()))
}

/// Who asks.
pub(crate) fn requester(request: &AccessRequest) -> String {
    let who = request.spec.requester.as_ref().map(describe);
    plain(who.as_deref().unwrap_or("?"))
}

/// How old a request is.
pub(crate) fn age(request: &AccessRequest, now: DateTime<Utc>) -> String {
    created_at(&request.metadata).map_or_else(String::new, |at| span(now - at))
}

/// Who is still to approve, or why it stands where it stands.
pub(crate) fn waiting_for(request: &AccessRequest) -> String {
    let Some(status) = &request.status else { return "the controller".to_owned() };
    let approval = status.approval.as_ref().and_then(|approval| approval.waiting_for.as_deref());
    match status.phase {
        RequestPhase::Pending | RequestPhase::Scheduled => plain(approval.unwrap_or_default()),
        _ => String::new(),
    }
}

/// How much time is left, until it starts, or since it is over.
pub(crate) fn time_left(request: &AccessRequest, now: DateTime<Utc>) -> String {
    let Some(status) = &request.status else { return String::new() };
    let AccessRequestStatus { phase, starts_at, expires_at, ended_at, .. } = status;
    match (phase, starts_at, expires_at, ended_at) {
        (RequestPhase::Active, _, Some(end), _) if now < end.time() => {
            format!("{} left", span(end.time() - now))
        }
        (RequestPhase::Active, _, Some(_), _) => "ending".to_owned(),
        (RequestPhase::Scheduled, Some(start), ..) => relative(start.time(), now),
        (_, _, _, Some(ended)) => relative(ended.time(), now),
        _ => String::new(),
    }
}

/// Why a request got nothing, or is over: what the controller says of it.
pub(crate) fn why(request: &AccessRequest) -> Option<String> {
    let status = request.status.as_ref()?;
    // What was given and is over is told by its end; what was not, by the first thing that stood in its way.
    let order = match status.phase {
        RequestPhase::Ended => ["Ended", "Granted", "Approved", "Evaluated"],
        _ => ["Evaluated", "Approved", "Granted", "Ended"],
    };
    let told = |name: &&str| {
        let condition = status.conditions.iter().find(|condition| condition.r#type == **name)?;
        let is_the_end = *name == "Ended";
        let says = (condition.status == lapse_crds::ConditionStatus::True) == is_the_end;
        (says && !condition.message.is_empty()).then(|| plain(&condition.message))
    };
    order.iter().find_map(told)
}

/// One line about where a request stands, for who waits.
pub(crate) fn line(request: &AccessRequest, now: DateTime<Utc>) -> String {
    let name = request.name_any();
    let status = request.status.as_ref();
    let phase = phase_of(request);
    let more = match phase {
        RequestPhase::Pending => match waiting_for(request) {
            who if who.is_empty() => why(request).unwrap_or_default(),
            who => format!("waiting for {who}"),
        },
        RequestPhase::Active => {
            let end = status.and_then(|status| status.expires_at);
            end.map_or_else(String::new, |end| {
                format!("until {}", crate::countdown::moment(end.time(), now))
            })
        }
        RequestPhase::Scheduled => format!("starts {}", time_left(request, now)),
        _ => why(request).unwrap_or_default(),
    };
    let end = status.and_then(|status| status.end_reason).map(|reason| format!(" ({reason:?})"));
    let stands = format!("{name}: {phase}{}", end.unwrap_or_default());
    if more.is_empty() { stands } else { format!("{stands}: {more}") }
}
