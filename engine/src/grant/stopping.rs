//! What was started under a grant is stopped once its right is gone, if its policy says so.
//!
//! That the right is gone is one thing, that what was started is gone another: the first is the condition `Ended`, the
//! second `Stopped`. A pod takes its time to stop, and one on a node that is lost may never say that it has.

use chrono::{DateTime, TimeDelta, Utc};
use lapse_crds::{ConditionStatus, Grant, GrantStatus, Timestamp};

use super::Observed;
use super::decide::{Action, condition};
use crate::lifetime::{STOPPED, STOPPING, is_stopping};
use crate::session::{Started, StartedSeen, ends_started, ends_streams, longest_grace_s};
use crate::words::few;

/// For how long after its end something that is being deleted is looked for.
const LOOKED_FOR: TimeDelta = TimeDelta::minutes(10);
/// The most workloads that are stopped at a look.
const MOST_AT_ONCE: usize = 200;
/// The most that a message names.
const MOST_NAMED: usize = 5;

/// What is to be stopped, and when to look again.
#[derive(Default)]
pub(super) struct StopOutlook {
    pub(super) actions: Vec<Action>,
    pub(super) next_at: Option<DateTime<Utc>>,
}

/// Takes down in the status of a grant whose right is gone that what was started is to go, too. When to look for that,
/// if anybody is to.
pub(super) fn begin(
    grant: &Grant,
    status: &mut GrantStatus,
    now: DateTime<Utc>,
) -> Option<DateTime<Utc>> {
    // What was entered until now counts: more is refused from here on.
    let entered = ends_streams(grant.spec.session.as_ref())
        && status.entered.iter().any(|entered| entered.tracked);
    let message = match (ends_started(&grant.spec), entered) {
        (false, false) => return None,
        (true, false) => "What was started under it is being stopped.",
        (false, true) => "The pods that were entered under it are being stopped.",
        (true, true) => {
            "What was started under it, and the pods that were entered, are being stopped."
        }
    };
    let message = message.to_owned();
    condition(status, grant, STOPPED, ConditionStatus::False, STOPPING, message, now);
    Some(now)
}

/// What of what was started is to be stopped now. What cannot be stopped is tried again for ever.
pub(super) fn outlook(
    observed: &Observed,
    status: &mut GrantStatus,
    now: DateTime<Utc>,
) -> StopOutlook {
    let grant = &observed.grant;
    if !is_stopping(grant) {
        return StopOutlook::default();
    }
    let ended_at = status.ended_at.map_or(now, Timestamp::time);
    let soon = StopOutlook { actions: Vec::new(), next_at: Some(now + pause(now - ended_at)) };
    let Some(StartedSeen { there, unseen }) = &observed.started else {
        return StopOutlook { next_at: Some(now), ..soon };
    };
    let is_all = unseen.is_none();
    if there.is_empty() && is_all {
        let message = "What was started or entered under it is gone.".to_owned();
        condition(status, grant, STOPPED, ConditionStatus::True, "Verified", message, now);
        return StopOutlook::default();
    }
    let longest_s = longest_grace_s(grant.spec.session.as_ref());
    let lasts = there.iter().filter(|started| started.lasts(now, longest_s)).take(MOST_AT_ONCE);
    let actions: Vec<Action> = lasts.map(|started| stop(started, longest_s)).collect();
    // What could not be looked at keeps nothing else from being stopped, and nobody from looking again.
    if actions.is_empty() && is_all && now >= ended_at + LOOKED_FOR {
        let names: Vec<String> = there.iter().map(ToString::to_string).collect();
        let names = few(names.iter().map(String::as_str), MOST_NAMED);
        let message = format!(
            "It was deleted, and is still there: {names}. Check whether the node responds, and whether a finalizer \
             holds it. Lapse no longer looks for it."
        );
        condition(status, grant, STOPPED, ConditionStatus::False, "StillThere", message, now);
        return StopOutlook::default();
    }
    StopOutlook { actions, ..soon }
}

fn stop(started: &Started, longest_s: u32) -> Action {
    // None at all would have the pod forgotten before it is gone.
    let grace_seconds = started.grace_s.map(|own| own.clamp(1, longest_s));
    Action::Stop { started: started.clone(), grace_seconds }
}

/// How long to wait until what is going is looked for again: the longer it takes, the longer.
fn pause(since: TimeDelta) -> TimeDelta {
    (since / 4).clamp(TimeDelta::seconds(1), TimeDelta::minutes(1))
}
