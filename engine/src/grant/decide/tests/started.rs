use lapse_crds::{
    Conditions as _, EnteredPod, GrantDuration, GrantPhase, OpenStreams, StartedWorkloads,
    StreamKind,
};

use crate::grant::{Action, Observed, decide};
use crate::lifetime::is_stopping;
use crate::session::{Started, StartedKind, StartedSeen};
use crate::summary::GrantSummary;
use crate::testing::life::{APPROVED_AT, EXPIRES_AT, marked, pending_by, time};
use crate::testing::tell;

fn held(started: Option<StartedWorkloads>) -> Observed {
    let mut grant = marked();
    grant.spec.session.as_mut().unwrap().started_workloads = started;
    let mut observed = pending_by(grant, &["shop"]);
    observed.bind();
    observed.step(APPROVED_AT + 2);
    observed
}

/// The right is gone.
fn ended() -> Observed {
    let mut observed = held(Some(StartedWorkloads::Delete));
    observed.step(EXPIRES_AT);
    observed.step(EXPIRES_AT);
    assert_eq!(observed.status().phase, GrantPhase::Ended);
    observed
}

fn pod(name: &str, grace_s: u32) -> Started {
    Started {
        kind: StartedKind::Pod,
        namespace: "shop".into(),
        name: name.into(),
        uid: format!("uid-of-{name}"),
        grace_s: Some(grace_s),
        goes_by: None,
    }
}

fn deployment(name: &str) -> Started {
    Started { kind: StartedKind::Deployment, grace_s: None, ..pod(name, 0) }
}

fn found(started: &[Started]) -> StartedSeen {
    StartedSeen { there: started.to_vec(), unseen: None }
}

fn stopped(observed: &Observed) -> String {
    let stopped = observed.status().conditions.condition("Stopped").cloned().unwrap();
    format!("{:?} {}: {}", stopped.status, stopped.reason, stopped.message)
}

/// First the right goes, and that is said. Then somebody looks for what was started, that is stopped, and when it is
/// gone that is said, too.
#[test]
fn what_was_started_goes_after_the_right() {
    let mut observed = held(Some(StartedWorkloads::Delete));
    let plan = observed.step(EXPIRES_AT);
    assert_eq!(plan.actions.len(), 2, "the right and its mark");
    insta::assert_snapshot!(tell::grant(&observed.step(EXPIRES_AT)), @r"
    Ended
    because Expired
    Active=False Expired: It expired at 2026-11-18T12:06:50.000000Z.
    Ended=True Verified: It expired at 2026-11-18T12:06:50.000000Z.
    Stopped=False Stopping: What was started under it is being stopped.
    looks again at 3610 s
    ");
    assert!(!GrantSummary::of(&observed.grant).is_settled());
    observed.started = Some(found(&[deployment("web"), pod("slow", 31_536_000), pod("quick", 1)]));
    insta::assert_snapshot!(tell::grant(&observed.step(EXPIRES_AT)), @r"
    stop Deployment shop/web
    stop Pod shop/slow within 10 s
    stop Pod shop/quick within 1 s
    (nothing new)
    looks again at 3611 s
    ");
    insta::assert_snapshot!(tell::grant(&observed.step(EXPIRES_AT + 8)), @r"
    (nothing new)
    looks again at 3620 s
    ");
    observed.started = Some(found(&[]));
    insta::assert_snapshot!(tell::grant(&observed.step(EXPIRES_AT + 10)), @r"
    Ended
    because Expired
    Active=False Expired: It expired at 2026-11-18T12:06:50.000000Z.
    Ended=True Verified: It expired at 2026-11-18T12:06:50.000000Z.
    Stopped=True Verified: What was started or entered under it is gone.
    ");
    assert!(GrantSummary::of(&observed.grant).is_settled());
}

#[test]
fn a_pod_has_as_long_to_stop_as_its_policy_says() {
    let mut observed = ended();
    let longest = GrantDuration::from_seconds(60);
    observed.grant.spec.session.as_mut().unwrap().max_grace_period = longest;
    for (asked, given) in [(3600, 60), (45, 45), (0, 1)] {
        observed.started = Some(found(&[pod("p", asked)]));
        let plan = observed.step(EXPIRES_AT + 1);
        let [Action::Stop { grace_seconds, .. }] = &plan.actions[..] else { panic!("{plan:?}") };
        assert_eq!(*grace_seconds, Some(given), "{asked}");
    }
}

/// Whoever deletes their own pod, with a year to stop, goes on using it.
#[test]
fn what_takes_too_long_to_go_is_deleted_again() {
    let mut observed = ended();
    let going = Started { goes_by: Some(time(EXPIRES_AT + 3600)), ..pod("p", 3600) };
    observed.started = Some(found(&[going]));
    assert_eq!(observed.step(EXPIRES_AT + 1).actions.len(), 1);
    let going = Started { goes_by: Some(time(EXPIRES_AT + 10)), ..pod("p", 3600) };
    observed.started = Some(found(&[going]));
    assert_eq!(observed.step(EXPIRES_AT + 1).actions.len(), 0);
}

#[test]
fn what_could_not_be_looked_for_is_looked_for_again() {
    let mut observed = ended();
    let unseen = StartedSeen { unseen: Some("timeout".into()), ..StartedSeen::default() };
    for read in [None, Some(unseen)] {
        observed.started = read;
        for now in [EXPIRES_AT + 1, EXPIRES_AT + 60, EXPIRES_AT + 3600] {
            let plan = observed.step(now);
            assert!(is_stopping(&observed.grant), "{now}");
            assert!(plan.actions.is_empty() && plan.status.is_none() && plan.wake_at.is_some());
        }
    }
}

#[test]
fn what_does_not_go_is_said_and_left_after_ten_minutes() {
    let mut observed = ended();
    observed.started = Some(found(&[pod("p", 5)]));
    observed.step(EXPIRES_AT + 1);
    observed.step(EXPIRES_AT + 599);
    assert!(is_stopping(&observed.grant));
    let plan = observed.step(EXPIRES_AT + 600);
    assert_eq!(plan.wake_at, None);
    insta::assert_snapshot!(stopped(&observed), @"False StillThere: It was deleted, and is still there: Pod shop/p. Check whether the node responds, and whether a finalizer holds it. Lapse no longer looks for it.");
    // What could not be deleted is never left.
    let mut observed = ended();
    observed.started = Some(found(&[pod("p", 5)]));
    let plan = crate::grant::decide(&observed, time(EXPIRES_AT + 6000));
    assert_eq!(plan.actions.len(), 1);
    assert!(plan.wake_at.is_some());
}

#[test]
fn nobody_looks_where_it_is_to_be_kept() {
    for kept in [None, Some(StartedWorkloads::Keep)] {
        let mut observed = held(kept);
        observed.step(EXPIRES_AT);
        let plan = observed.step(EXPIRES_AT + 1);
        assert_eq!(observed.status().phase, GrantPhase::Ended);
        assert!(observed.status().conditions.condition("Stopped").is_none());
        assert_eq!(plan.wake_at, None);
    }
}

fn entered(tracked: bool) -> EnteredPod {
    EnteredPod {
        namespace: "shop".into(),
        pod: "web".into(),
        username: "alice".into(),
        streams: vec![StreamKind::Exec],
        first_at: time(20).into(),
        last_at: time(20).into(),
        tracked,
    }
}

/// What is told at the end of a right under which pods were entered; nothing if nothing is to go for that.
fn told(started: Option<StartedWorkloads>, streams: OpenStreams, tracked: bool) -> Option<String> {
    let mut observed = held(started);
    observed.grant.spec.session.as_mut().unwrap().open_streams = Some(streams);
    observed.grant.status.as_mut().unwrap().entered = vec![entered(tracked)];
    observed.step(EXPIRES_AT);
    observed.step(EXPIRES_AT);
    let entered = observed.status().entered;
    assert_eq!(entered.len(), 1, "the record stays");
    is_stopping(&observed.grant).then(|| stopped(&observed))
}

#[test]
fn pods_that_were_entered_go_where_the_policy_says_so() {
    let delete = Some(StartedWorkloads::Delete);
    let all = [
        told(None, OpenStreams::DeletePods, true),
        told(delete, OpenStreams::DeletePods, true),
        told(delete, OpenStreams::Keep, true),
    ];
    insta::assert_snapshot!(all.map(Option::unwrap).join("\n"), @r"
    False Stopping: The pods that were entered under it are being stopped.
    False Stopping: What was started under it, and the pods that were entered, are being stopped.
    False Stopping: What was started under it is being stopped.
    ");
    assert_eq!(told(None, OpenStreams::Keep, true), None);
    assert_eq!(told(None, OpenStreams::DeletePods, false), None, "the namespace did not opt in");
}

/// A kind that cannot be listed keeps no other from being stopped.
#[test]
fn what_is_seen_is_stopped_whatever_is_not() {
    let mut observed = ended();
    let unseen = Some("listing the Jobs: timeout".to_owned());
    observed.started = Some(StartedSeen { there: vec![pod("p", 5)], unseen: unseen.clone() });
    assert_eq!(decide(&observed, time(EXPIRES_AT + 1)).actions.len(), 1);
    observed.started = Some(StartedSeen { there: vec![], unseen });
    let plan = decide(&observed, time(EXPIRES_AT + 3600));
    assert_eq!((plan.status, plan.wake_at.is_some()), (None, true), "it may be there still");
}
