use lapse_crds::{GrantPhase, StartedWorkloads};

use crate::Read;
use crate::grant::Observed;
use crate::session::{Started, StartedKind};
use crate::testing::life::{APPROVED_AT, EXPIRES_AT, marked, pending_by};
use crate::testing::tell;

fn held(started: Option<StartedWorkloads>) -> Observed {
    let mut grant = marked();
    grant.spec.session.as_mut().unwrap().started_workloads = started;
    let mut observed = pending_by(grant, &["shop"]);
    observed.bind();
    observed.step(APPROVED_AT + 2);
    observed
}

fn pod(name: &str) -> Started {
    Started {
        kind: StartedKind::Pod,
        namespace: "shop".into(),
        name: name.into(),
        uid: format!("uid-of-{name}"),
    }
}

/// First the right goes, then somebody looks for what was started, then that goes, and only then it is over.
#[test]
fn what_was_started_goes_after_the_right() {
    let mut observed = held(Some(StartedWorkloads::Delete));
    let plan = observed.step(EXPIRES_AT);
    assert_eq!(plan.actions.len(), 2, "the right and its mark");
    insta::assert_snapshot!(tell::grant(&observed.step(EXPIRES_AT)), @r"
    Ending
    because Expired
    Active=False Expired: Its time was up at 2026-11-18T12:06:50.000000Z.
    Ended=False Unverified: Its time was up at 2026-11-18T12:06:50.000000Z.
    looks again at 3610 s
    ");
    observed.started = Some(Read::Found(vec![pod("a"), pod("b")]));
    insta::assert_snapshot!(tell::grant(&observed.step(EXPIRES_AT)), @r"
    stop Pod shop/a
    stop Pod shop/b
    (nothing new)
    looks again at 3611 s
    ");
    insta::assert_snapshot!(tell::grant(&observed.step(EXPIRES_AT + 1)), @r"
    Ended
    because Expired
    Active=False Expired: Its time was up at 2026-11-18T12:06:50.000000Z.
    Ended=True Verified: Its time was up at 2026-11-18T12:06:50.000000Z.
    ");
}

#[test]
fn what_could_not_be_looked_for_keeps_the_grant_from_its_end() {
    let mut observed = held(Some(StartedWorkloads::Delete));
    observed.step(EXPIRES_AT);
    observed.started = Some(Read::Failed("timeout".into()));
    for now in [EXPIRES_AT + 1, EXPIRES_AT + 60] {
        let plan = observed.step(now);
        assert_eq!(observed.status().phase, GrantPhase::Ending);
        assert!(plan.actions.is_empty() && plan.wake_at.is_some());
    }
}

#[test]
fn nobody_looks_where_it_is_to_be_kept() {
    for kept in [None, Some(StartedWorkloads::Keep)] {
        let mut observed = held(kept);
        observed.step(EXPIRES_AT);
        observed.step(EXPIRES_AT + 1);
        assert_eq!(observed.status().phase, GrantPhase::Ended);
    }
}
