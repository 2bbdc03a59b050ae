//! What lists show of a grant.

use lapse_crds::Verdict;

use crate::grant::{Observed, Obstacle, decide};
use crate::testing::life::{EXPIRES_AT, active, bob, decision, pending, time};

/// The columns: target, when it ends, and why it is not held.
fn shown(observed: &Observed) -> [Option<String>; 3] {
    let columns = observed.status().columns.unwrap();
    assert_eq!(columns.waiting_for, None);
    [columns.target, columns.expires, columns.reason]
}

fn cells(cells: [&str; 3]) -> [Option<String>; 3] {
    cells.map(|cell| (!cell.is_empty()).then(|| cell.to_owned()))
}

#[test]
fn the_end_that_came_stands_in_place_of_the_one_that_was_to_come() {
    let mut observed = active();
    assert_eq!(shown(&observed), cells(["edit in shop", "2026-11-18T12:06:50Z", ""]));
    assert_eq!(decide(&observed, time(13)).status, None, "steady state writes nothing");
    observed.says(decision(Verdict::Deny, bob(), 20));
    observed.report(&decide(&observed, time(21)));
    assert_eq!(shown(&observed), cells(["edit in shop", "", "Revoked"]), "it is being taken back");
    observed.step(21);
    observed.step(22);
    assert!(time(22) < time(EXPIRES_AT));
    assert_eq!(shown(&observed), cells(["edit in shop", "2026-11-18T11:07:02Z", "Revoked"]));
}

#[test]
fn what_was_never_given_has_no_end() {
    let mut observed = pending();
    observed.obstacle = Some(Obstacle { message: "forbidden".into(), lasting: true });
    for now in 20..25 {
        observed.step(now);
    }
    assert_eq!(shown(&observed), cells(["edit in shop", "", "NotGiven"]));
}

/// A status that an earlier release wrote is not written anew for what lists show.
#[test]
fn an_older_status_is_left_as_it_is() {
    let mut observed = active();
    observed.grant.status.as_mut().unwrap().columns = None;
    assert_eq!(decide(&observed, time(13)).status, None);
}
