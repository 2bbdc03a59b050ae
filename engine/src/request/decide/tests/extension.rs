//! More time for what is held already: a request of its own, which is approved like any other.

use std::sync::Arc;

use lapse_crds::{AccessRequest, AutoApprove, RequestPhase};
use rstest::rstest;

use crate::Read;
use crate::attest::Attested;
use crate::peers::Peers;
use crate::request::Observed;
use crate::testing::life::{EXPIRES_AT, active, approved, asked, attestation};
use crate::testing::{request_spec, tell};

/// Alice holds a right by another request, made before, and extends it.
fn extending(mut observed: Observed) -> Observed {
    let mut earlier = AccessRequest::new("earlier", request_spec());
    earlier.metadata.namespace = Some("shop".into());
    earlier.metadata.uid = Some("uid-0".into());
    let mut held = active().grant;
    held.spec.request.name = "earlier".into();
    held.spec.request.uid = "uid-0".into();
    let requests =
        vec![Attested { object: earlier, attestation: Ok(attestation(-100, "earlier")) }];
    observed.peers = Read::Found(Peers::of(&requests, &[held]));
    observed.request.object.spec.extends = Some("earlier".into());
    observed
}

#[test]
fn it_is_a_right_of_its_own_once_it_is_approved() {
    let mut waiting = extending(asked());
    assert_eq!(waiting.step(5).status.unwrap().phase, RequestPhase::Pending);
    let grant = extending(approved()).step(20).create.unwrap();
    assert_eq!(grant.spec.request.name, "fix-checkout");
    assert_eq!(
        grant.spec.expires_at.time(),
        grant.spec.starts_at.time() + chrono::TimeDelta::hours(1)
    );
}

/// What is short needs nobody; more of what is held already is not short any more.
#[rstest]
#[case(false, true)]
#[case(true, false)]
fn it_is_never_approved_by_itself(#[case] extends: bool, #[case] is_given: bool) {
    let mut observed = if extends { extending(asked()) } else { asked() };
    observed.policy_becomes(|policy| {
        let max_duration = "1h".parse().unwrap();
        policy.spec.approval.as_mut().unwrap().auto_approve = Some(AutoApprove { max_duration });
    });
    assert_eq!(observed.step(5).create.is_some(), is_given);
}

#[test]
fn where_nobody_is_asked_nobody_is_asked_for_more() {
    let mut observed = extending(asked());
    observed.policy_becomes(|policy| policy.spec.approval = None);
    assert!(observed.step(5).create.is_some());
}

#[test]
fn when_what_it_extends_is_over_it_is_denied() {
    let mut observed = extending(asked());
    observed.step(5);
    insta::assert_snapshot!(tell::request(&observed.step(EXPIRES_AT)), @r"
    Denied
    Evaluated=False ChecksFailed: Request earlier is not active, so there is nothing to extend; leave spec.extends out.
    Approved=False ChecksFailed: Request earlier is not active, so there is nothing to extend; leave spec.extends out.
    event Warning ChecksFailed: Request earlier is not active, so there is nothing to extend; leave spec.extends out.
    ");
}

#[test]
fn an_extension_of_what_was_given_without_approval_is_approved_like_any_other() {
    let mut observed = extending(approved());
    let Read::Found(peers) = &mut observed.peers else { unreachable!() };
    for grant in &mut peers.grants {
        let grant = Arc::make_mut(grant);
        grant.review_by = Some(grant.expires_at);
        grant.is_emergency = true;
    }
    let grant = observed.step(20).create.unwrap();
    assert!(!grant.spec.emergency);
}
