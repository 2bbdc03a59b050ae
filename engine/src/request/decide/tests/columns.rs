//! What lists show of a request.

use lapse_crds::{EndReason, GrantPhase, RequestPhase, Verdict};

use crate::Read;
use crate::request::Observed;
use crate::testing::life::{
    EXPIRES_AT, active, approved, asked, bob, decision, pending, time, written,
};
use crate::testing::{stage, user};

/// The columns: target, who it waits for, when it ends, and why it stands there.
fn shown(observed: &Observed) -> [Option<String>; 4] {
    let status = observed.request.object.status.clone().unwrap();
    let columns = status.columns.unwrap();
    [columns.target, columns.waiting_for, columns.expires, columns.reason]
}

fn cells(cells: [&str; 4]) -> [Option<String>; 4] {
    cells.map(|cell| (!cell.is_empty()).then(|| cell.to_owned()))
}

/// What is asked for in a corner where its life is followed to the end.
const EDIT: &str = "edit in shop";

#[test]
fn who_is_waited_for_is_said_in_few_words() {
    let mut observed = asked();
    observed.step(1);
    assert_eq!(shown(&observed), cells([EDIT, "group shop-managers", "", ""]));
    assert_eq!(observed.step(2).status, None, "steady state writes nothing");

    observed.policy_becomes(|p| {
        let stages = &mut p.spec.approval.as_mut().unwrap().stages;
        *stages = vec![stage("owner", 1, vec![user("otto")])];
    });
    observed.step(3);
    assert_eq!(shown(&observed), cells([EDIT, "user otto", "", ""]));
    observed.policy_becomes(|p| {
        let stages = &mut p.spec.approval.as_mut().unwrap().stages;
        *stages = vec![stage("owners", 2, vec![user("otto"), user("olga"), user("oscar")])];
    });
    observed.step(4);
    assert_eq!(shown(&observed), cells([EDIT, "2 of user otto, user olga, user…", "", ""]));
}

#[test]
fn what_is_not_looked_at_again_stays_as_it_was_said() {
    let mut observed = asked();
    observed.step(1);
    observed.role = Read::Failed("503".into());
    observed.step(2);
    let expected = cells([EDIT, "group shop-managers", "", "LookupFailed"]);
    assert_eq!(shown(&observed), expected);
    // The text of the failure is not among what is shown.
    observed.role = Read::Failed("timed out".into());
    observed.step(3);
    assert_eq!(shown(&observed), expected);
}

#[test]
fn why_it_was_denied_stands_beside_it() {
    let mut observed = asked();
    observed.says(decision(Verdict::Deny, bob(), 5));
    observed.step(6);
    assert_eq!(shown(&observed), cells([EDIT, "", "", "by bob"]));

    let mut observed = asked();
    observed.policy_becomes(|p| p.spec.duration.get_or_insert_default().max = "45m".parse().ok());
    observed.step(6);
    assert_eq!(shown(&observed), cells([EDIT, "", "", "Duration"]));
    let mut observed = asked();
    observed.policy_becomes(|p| {
        p.spec.requesters = vec![user("carol")];
        p.spec.duration.get_or_insert_default().max = "45m".parse().ok();
    });
    observed.step(6);
    assert_eq!(shown(&observed), cells([EDIT, "", "", "Requester and 1 more"]));

    let mut observed = asked();
    observed.step(1);
    observed.step(86_400);
    assert_eq!(observed.request.object.status.clone().unwrap().phase, RequestPhase::TimedOut);
    assert_eq!(shown(&observed), cells([EDIT, "", "", ""]), "the phase says why");
}

#[test]
fn no_time_that_lies_ahead_stands_beside_an_end() {
    let mut observed = Observed { grant: Read::Found(active().grant), ..approved() };
    observed.step(13);
    let expires = "2026-11-18T12:06:50Z";
    assert_eq!(shown(&observed), cells([EDIT, "", expires, ""]));

    let mut grant = active().grant;
    let status = grant.status.get_or_insert_default();
    status.phase = GrantPhase::Ending;
    status.end_reason = Some(EndReason::Revoked);
    observed.grant = Read::Found(grant.clone());
    observed.step(20);
    assert_eq!(shown(&observed), cells([EDIT, "", expires, "Unverified"]));

    let status = grant.status.get_or_insert_default();
    status.phase = GrantPhase::Ended;
    status.ended_at = Some(time(23).into());
    observed.grant = Read::Found(grant);
    observed.step(24);
    assert!(time(24) < time(EXPIRES_AT));
    assert_eq!(shown(&observed), cells([EDIT, "", "2026-11-18T11:07:03Z", "Revoked"]));
}

#[test]
fn what_is_approved_and_cannot_be_given_yet_says_so() {
    let mut blocked = pending();
    blocked.obstacle = Some(crate::grant::Obstacle {
        message: "creating RoleBinding: 503".into(),
        lasting: false,
    });
    let plan = crate::grant::decide(&blocked, time(12));
    blocked.report(&plan);
    assert_ne!(blocked.grant.status, written().status);
    let mut observed = Observed { grant: Read::Found(blocked.grant), ..approved() };
    observed.step(13);
    assert_eq!(shown(&observed), cells([EDIT, "", "", "not granted yet"]));
}
