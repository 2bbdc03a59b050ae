//! What is to be done about a grant when Lapse is uninstalled: nothing would end it any more.

use chrono::{DateTime, Utc};
use lapse_crds::{EndReason, GrantPhase};

use super::decide::{changed, deletions, end, expiry, has_finalizer, request_knows};
use super::reasons::why_ended;
use super::{Action, Observed, Plan, decide, stopping};
use crate::Read;
use crate::lifetime::awaits_review;

/// Decides what is to be done about a grant before Lapse goes. Every right ends. A Grant stays as a record, but for one
/// that was deleted; the finalizer goes, which nobody would take off any more. An emergency that awaits its
/// review keeps it: uninstalling pays no debt.
#[must_use]
pub fn drain(observed: &Observed, now: DateTime<Utc>) -> Plan {
    let phase = observed.grant.status.as_ref().map(|status| status.phase).unwrap_or_default();
    match phase {
        GrantPhase::Pending | GrantPhase::Active => {
            let uninstalled =
                || (Some(EndReason::Uninstalled), "Lapse was uninstalled.".to_owned());
            end(observed, why_ended(observed, now).unwrap_or_else(uninstalled), now)
        }
        GrantPhase::Ending => match unheard(observed, now) {
            Some(observed) => decide(&observed, now),
            None => decide(observed, now),
        },
        GrantPhase::Ended => {
            let mut actions = deletions(observed);
            let mut status = observed.grant.status.clone().unwrap_or_default();
            let stop = stopping::outlook(observed, &mut status, now);
            actions.extend(stop.actions);
            let leaves = has_finalizer(&observed.grant) && awaits_review(&observed.grant).is_none();
            // One that goes unseen would be given again, if Lapse is not taken away in the end.
            let is_known =
                observed.grant.metadata.deletion_timestamp.is_none() || request_knows(observed);
            if actions.is_empty() && leaves && is_known {
                actions.push(Action::RemoveFinalizer);
            }
            Plan {
                actions,
                status: changed(&observed.grant, status),
                report_always: false,
                warning: None,
                wake_at: None,
            }
        }
    }
}

/// A right on a host whose time is up is over there, whether its agent has said so or not, and soon nobody is left who would
/// hear it: as if its Endpoint were gone. `None` for any other.
fn unheard(observed: &Observed, now: DateTime<Utc>) -> Option<Observed> {
    let is_over = now >= expiry(&observed.grant);
    (observed.grant.spec.target.endpoint.is_some() && is_over).then(|| {
        let mut observed = observed.clone();
        observed.surroundings.endpoint = Some(Read::Missing);
        observed
    })
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;
    use crate::testing::life::{EXPIRES_AT, active, deleted_at, intact, time};

    /// Until nothing is left to do, as the program does it: what is to be said first, then what is to be done.
    fn drained(mut observed: Observed, now: i64) -> (Observed, Vec<Action>) {
        let mut done = Vec::new();
        for _ in 0..5 {
            let plan = drain(&observed, time(now));
            if let Some(status) = plan.status {
                if status.phase == GrantPhase::Ended {
                    // Its request is told before the next look.
                    observed.request = Read::Missing;
                }
                observed.grant.status = Some(status);
            }
            for action in plan.actions {
                match &action {
                    Action::Delete { object, .. } => {
                        let place = observed.objects.iter_mut().find(|(known, _)| known == object);
                        place.unwrap().1 = Read::Missing;
                    }
                    Action::RemoveFinalizer => observed.grant.metadata.finalizers = None,
                    Action::Create(_) | Action::Stop { .. } => unreachable!("{action:?}"),
                }
                done.push(action);
            }
        }
        (observed, done)
    }

    #[rstest]
    #[case::in_time(100, false, EndReason::Uninstalled)]
    #[case::expired(EXPIRES_AT, false, EndReason::Expired)]
    #[case::deleted(100, true, EndReason::GrantDeleted)]
    fn a_right_that_is_held_ends(
        #[case] now: i64,
        #[case] deleted: bool,
        #[case] expected: EndReason,
    ) {
        let mut observed = active();
        observed.grant.metadata.deletion_timestamp = deleted.then(deleted_at);
        let standing = observed.objects.iter().filter(|(_, live)| live.found().is_some()).count();
        assert!(standing > 0);
        let (observed, done) = drained(observed, now);
        let status = observed.grant.status.as_ref().unwrap();
        assert_eq!((status.phase, status.end_reason), (GrantPhase::Ended, Some(expected)));
        assert_eq!(done.len(), standing + 1);
        assert_eq!(done.last(), Some(&Action::RemoveFinalizer));
        assert_eq!(drain(&observed, time(now)).actions, [], "nothing is done twice");
    }

    /// Somebody deleted it, and the controller crashed before its request was told: if Lapse stays after all, the request
    /// would be approved, with nothing given.
    #[test]
    fn one_that_goes_waits_for_its_request() {
        let (mut observed, _) = drained(active(), 100);
        observed.grant.metadata.finalizers = Some(vec![lapse_crds::GRANT_FINALIZER.to_owned()]);
        observed.grant.metadata.deletion_timestamp = Some(deleted_at());
        let mut leaves = |request| {
            observed.request = request;
            drain(&observed, time(100)).actions == [Action::RemoveFinalizer]
        };
        let request = active().request;
        assert!(!leaves(Read::Failed("timeout".to_owned())));
        assert!(!leaves(request), "it still says that the right is held");
        assert!(leaves(Read::Missing));
    }

    /// Nothing is said to be gone that could not be looked at.
    #[test]
    fn what_cannot_be_read_is_not_let_go() {
        let mut observed = active();
        for (_, live) in &mut observed.objects {
            *live = Read::Failed("timeout".to_owned());
        }
        let (observed, done) = drained(observed, 100);
        assert_eq!(observed.grant.status.unwrap().phase, GrantPhase::Ending);
        assert_eq!(done, []);
    }

    #[test]
    fn an_emergency_stays_until_it_is_reviewed() {
        let mut observed = active();
        observed.grant.spec.emergency = true;
        observed.grant.spec.review_by = Some(time(EXPIRES_AT).into());
        let (mut observed, done) = drained(observed, 100);
        let status = observed.grant.status.as_mut().unwrap();
        assert_eq!(status.phase, GrantPhase::Ended);
        assert!(!done.contains(&Action::RemoveFinalizer));
        let review = status.review.as_mut().unwrap();
        review.reviewed_by = Some("bob".to_owned());
        assert_eq!(drain(&observed, time(100)).actions, [Action::RemoveFinalizer]);
    }

    /// One that came back after the end goes before the Grant is let go.
    #[test]
    fn what_came_back_goes() {
        let (mut observed, _) = drained(active(), 100);
        observed.grant.metadata.finalizers = Some(vec![lapse_crds::GRANT_FINALIZER.to_owned()]);
        observed.objects[0].1 = Read::Found(intact(&observed.objects[0].0, "restored"));
        let (_, done) = drained(observed, 100);
        assert!(matches!(&done[..], [Action::Delete { .. }, Action::RemoveFinalizer]), "{done:?}");
    }
}
