//! What outlasts a right on a host: said while it is held, and when the host was compared with what it was before.

use lapse_crds::{ComparedGrant, Conditions as _, DriftFinding, DriftKind, GrantPhase, OrderState};
use rstest::rstest;
use serde_json::{Value, json};

use super::host::{active, agent, endpoint, says, step};
use crate::Read;
use crate::grant::{Observed, decide};
use crate::order::DriftReport;
use crate::summary::GrantSummary;
use crate::testing::life::{APPROVED_AT, EXPIRES_AT, time};

const DAY: i64 = 24 * 60 * 60;

fn finding(path: &str, reverted: bool) -> DriftFinding {
    DriftFinding {
        grants: vec![active().grant.metadata.name.unwrap()],
        kind: DriftKind::Sudoers,
        path: path.into(),
        change: "was added".into(),
        reverted,
        count: 1,
        at: time(APPROVED_AT + 3).into(),
    }
}

fn compared(found: u32, reverted: u32) -> Vec<ComparedGrant> {
    let grant = active().grant.metadata.name.unwrap();
    vec![ComparedGrant { grant, found, reverted, unseen: None }]
}

fn finds(observed: &mut Observed, report: DriftReport) {
    endpoint(observed).drift = Some(report.sign("u-1", &agent()).unwrap());
}

/// What the condition says, if there is one.
fn drifted(observed: &Observed) -> String {
    let status = observed.status();
    let drifted = status.conditions.condition("Drifted");
    drifted.map_or_else(String::new, |it| format!("{:?} {}: {}", it.status, it.reason, it.message))
}

/// Its time is up, and its agent says that it is gone.
fn ended(report: Option<DriftReport>) -> Observed {
    let mut observed = active();
    if let Some(report) = report {
        finds(&mut observed, report);
    }
    says(&mut observed, OrderState::Ended, None);
    assert_eq!(step(&mut observed, EXPIRES_AT).0, GrantPhase::Ended);
    observed
}

#[test]
fn what_is_found_while_it_is_held_is_said_at_once() {
    let mut observed = active();
    assert_eq!(drifted(&observed), "");
    let report = DriftReport {
        findings: vec![finding("/etc/sudoers.d/x", true), finding("/etc/cron.d/y", false)],
        ..DriftReport::default()
    };
    finds(&mut observed, report);
    step(&mut observed, APPROVED_AT + 4);
    insta::assert_snapshot!(drifted(&observed), @"True LeftBehind: Changes on Endpoint web-1 that would outlast it: 2, of which undone: 1; the first: /etc/sudoers.d/x was added.");
    assert_eq!(decide(&observed, time(APPROVED_AT + 5)).status, None, "it is said once");
    finds(
        &mut observed,
        DriftReport { findings: vec![finding("/x", true)], ..DriftReport::default() },
    );
    step(&mut observed, APPROVED_AT + 6);
    assert!(drifted(&observed).starts_with("True Reverted: "), "{}", drifted(&observed));
    // Whoever accepts it on the host takes nothing off the record.
    finds(&mut observed, DriftReport::default());
    step(&mut observed, APPROVED_AT + 7);
    assert!(drifted(&observed).starts_with("True Reverted: "), "{}", drifted(&observed));
}

/// A gateway carries what agents say, and could make something up.
#[test]
fn nobody_else_says_so() {
    let mut observed = active();
    let report = DriftReport { findings: vec![finding("/x", false)], ..DriftReport::default() };
    let forger = ed25519_dalek::SigningKey::from_bytes(&[6; 32]);
    endpoint(&mut observed).drift = Some(report.sign("u-1", &forger).unwrap());
    step(&mut observed, APPROVED_AT + 4);
    assert_eq!(drifted(&observed), "");
}

#[rstest]
#[case::clean(
    0,
    0,
    "False Clean: Endpoint web-1 was compared with what it was before: nothing is left."
)]
#[case::left(
    2,
    1,
    "True LeftBehind: Changes on Endpoint web-1 that would outlast it: 2, of which undone: 1; `lapse-agent drift show` lists them on the host."
)]
#[case::undone(
    2,
    2,
    "True Reverted: Changes on Endpoint web-1 that would outlast it: 2, of which undone: 2; `lapse-agent drift show` lists them on the host."
)]
fn a_host_is_compared_after_the_end(
    #[case] found: u32,
    #[case] reverted: u32,
    #[case] expected: &str,
) {
    let mut observed = ended(Some(DriftReport::default()));
    assert_eq!(
        drifted(&observed),
        "Unknown Comparing: The agent of Endpoint web-1 compares the host with what it was before."
    );
    let summary = GrantSummary::of(&observed.grant);
    assert_eq!((summary.comparing_on.as_deref(), summary.is_settled()), (Some("web-1"), false));
    let waiting = decide(&observed, time(EXPIRES_AT + 1));
    assert_eq!((waiting.status, waiting.wake_at), (None, Some(time(EXPIRES_AT + DAY))));
    let report = DriftReport { compared: compared(found, reverted), ..DriftReport::default() };
    finds(&mut observed, report);
    step(&mut observed, EXPIRES_AT + 5);
    assert_eq!(drifted(&observed), expected);
    assert!(GrantSummary::of(&observed.grant).is_settled());
}

#[test]
fn what_was_found_before_the_end_is_said_while_the_host_is_compared() {
    let report = DriftReport { findings: vec![finding("/x", true)], ..DriftReport::default() };
    let observed = ended(Some(report));
    insta::assert_snapshot!(drifted(&observed), @"Unknown Comparing: The agent of Endpoint web-1 compares the host with what it was before. Changes on Endpoint web-1 that would outlast it: 1, of which undone: 1; the first: /x was added.");
}

#[test]
fn what_could_not_be_looked_at_is_said() {
    let mut compared = compared(0, 0);
    compared[0].unseen = Some("files beyond the first 4096".into());
    let observed = ended(Some(DriftReport { compared, ..DriftReport::default() }));
    insta::assert_snapshot!(drifted(&observed), @"False Clean: Endpoint web-1 was compared with what it was before: nothing is left. Not looked at: files beyond the first 4096.");
}

type Change = fn(&mut Observed);

#[rstest]
#[case::its_day_is_over(|_: &mut Observed| (), EXPIRES_AT + DAY, true)]
#[case::its_day_is_not_over(|_: &mut Observed| (), EXPIRES_AT + DAY - 1, false)]
#[case::it_is_gone(|o: &mut Observed| o.surroundings.endpoint = Some(Read::Missing), EXPIRES_AT + 1, true)]
#[case::it_looks_for_nothing_any_more(|o: &mut Observed| endpoint(o).drift = None, EXPIRES_AT + 1, true)]
#[case::it_cannot_be_read(|o: &mut Observed| o.surroundings.endpoint = Some(Read::Failed("timeout".into())), EXPIRES_AT + 1, false)]
fn a_host_that_says_nothing_is_not_awaited_for_ever(
    #[case] change: Change,
    #[case] at: i64,
    #[case] is_given_up: bool,
) {
    let mut observed = ended(Some(DriftReport::default()));
    change(&mut observed);
    let plan = decide(&observed, time(at));
    assert_eq!(plan.wake_at.is_none(), is_given_up);
    step(&mut observed, at);
    let expected = "Unknown NotCompared: Endpoint web-1 was not compared with what it was before: its agent is gone, was \
                    replaced or removed, is of a release that does not do so, or has not done so within a day.";
    assert_eq!(drifted(&observed) == expected, is_given_up, "{}", drifted(&observed));
    assert_eq!(GrantSummary::of(&observed.grant).is_settled(), is_given_up);
}

/// Agents of earlier releases look for nothing, and nobody waits for them.
#[test]
fn an_agent_that_does_not_look_is_not_awaited() {
    let observed = ended(None);
    assert_eq!(drifted(&observed), "");
    assert!(GrantSummary::of(&observed.grant).is_settled());
}

/// Who is root by a group is awaited as who is root by sudo. An agent of a release that compares nothing after these says
/// nothing of them, and is given up after a day.
#[rstest]
#[case::of_root(json!({"group": "docker"}), true)]
#[case::of_others(json!({"group": "adm"}), false)]
#[case::of_an_account(json!({"account": {"action": "Raise", "groups": ["adm", "disk"]}}), true)]
#[case::no_group(json!({"account": {"action": "Enable"}}), false)]
fn a_group_that_is_equivalent_to_root_is_compared_after(
    #[case] what: Value,
    #[case] is_root: bool,
) {
    let mut target = json!({"name": "web-1", "uid": "u-1", "localUser": "al"});
    target.as_object_mut().unwrap().extend(what.as_object().unwrap().clone());
    let held = || {
        let mut observed = active();
        let target = serde_json::from_value(target.clone()).unwrap();
        observed.grant.spec.target.endpoint = Some(target);
        finds(&mut observed, DriftReport::default());
        says(&mut observed, OrderState::Ended, None);
        assert_eq!(step(&mut observed, EXPIRES_AT).0, GrantPhase::Ended);
        observed
    };
    let said = |observed: &Observed| drifted(observed).split(':').next().unwrap().to_owned();
    let mut observed = held();
    assert_eq!(said(&observed), if is_root { "Unknown Comparing" } else { "" });
    finds(&mut observed, DriftReport { compared: compared(0, 0), ..DriftReport::default() });
    step(&mut observed, EXPIRES_AT + 5);
    assert_eq!(said(&observed), if is_root { "False Clean" } else { "" });

    let mut observed = held();
    step(&mut observed, EXPIRES_AT + DAY);
    assert_eq!(said(&observed), if is_root { "Unknown NotCompared" } else { "" });
    assert!(GrantSummary::of(&observed.grant).is_settled());
}
