//! Requests under a policy that wants to be asked from its workstations.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use ed25519_dalek::SigningKey;
use lapse_crds::{LocalUser, RequestPhase, Workstations};
use rstest::rstest;

use crate::Read;
use crate::endpoint::EndpointFacts;
use crate::grant;
use crate::order::Host;
use crate::origin::{digest_of, sign};
use crate::request::Observed;
use crate::testing::life::{active, approved, asked, state, time};
use crate::testing::{policy, tell, user};

fn key(seed: u8) -> SigningKey {
    SigningKey::from_bytes(&[seed; 32])
}

fn workstation() -> EndpointFacts {
    EndpointFacts {
        uid: "u-1".into(),
        users: vec![LocalUser {
            subject: user("alice"),
            local_user: "al".into(),
            authorized_keys: vec![],
        }],
        agent_key: Some(BASE64.encode(key(5).verifying_key().as_bytes())),
        ..EndpointFacts::default()
    }
}

fn wants_workstations(policy: &mut lapse_crds::JitPolicy) {
    policy.metadata.generation = Some(1);
    policy.spec.workstations =
        Some(Workstations { names: vec!["ws-1".into()], ..Workstations::default() });
}

/// The same request, made by alice on her workstation.
fn from_there(mut observed: Observed) -> Observed {
    observed.policy_becomes(wants_workstations);
    let spec = &mut observed.request.object.spec;
    let digest = digest_of("shop", "fix-checkout", spec).unwrap();
    let host = Host { name: "ws-1".into(), uid: "u-1".into() };
    spec.origin = Some(sign(&host, "al", &digest, time(0), &key(5)).unwrap());
    observed.surroundings.origin = Some(Read::Found(workstation()));
    observed
}

#[test]
fn what_is_asked_from_a_workstation_is_granted() {
    assert!(from_there(approved()).step(20).create.is_some());
    let mut elsewhere = approved();
    elsewhere.policy_becomes(wants_workstations);
    insta::assert_snapshot!(tell::request(&elsewhere.step(20)), @r"
    Denied
    Evaluated=False ChecksFailed: JitPolicy shop-debug accepts requests only from the workstations ws-1; request from one of them with `kubectl jit request --from-host`.
    Approved=False ChecksFailed: JitPolicy shop-debug accepts requests only from the workstations ws-1; request from one of them with `kubectl jit request --from-host`.
    event Warning ChecksFailed: JitPolicy shop-debug accepts requests only from the workstations ws-1; request from one of them with `kubectl jit request --from-host`.
    ");
}

/// It passed when it was made, and is looked at again before anything is given.
#[rstest]
#[case::deleted(Read::Missing, RequestPhase::Denied)]
#[case::made_anew(Read::Found(EndpointFacts { uid: "u-2".into(), ..workstation() }), RequestPhase::Denied)]
#[case::enrolled_again(Read::Found(EndpointFacts { agent_key: Some(BASE64.encode(key(6).verifying_key().as_bytes())), ..workstation() }), RequestPhase::Denied)]
#[case::twice(Read::Found(EndpointFacts { is_twice: true, ..workstation() }), RequestPhase::Denied)]
#[case::not_hers_any_more(Read::Found(EndpointFacts { users: vec![], ..workstation() }), RequestPhase::Denied)]
#[case::not_read(Read::Failed("timeout".into()), RequestPhase::Pending)]
fn a_workstation_that_is_none_any_more_gets_nothing(
    #[case] endpoint: Read<EndpointFacts>,
    #[case] expected: RequestPhase,
) {
    let mut observed = from_there(asked());
    assert_eq!(observed.step(1).status.unwrap().phase, RequestPhase::Pending);
    observed.decisions = approved().decisions;
    observed.surroundings.origin = Some(endpoint);
    let plan = observed.step(20);
    assert_eq!(plan.create, None);
    assert_eq!(plan.status.unwrap().phase, expected);
}

/// Who holds a right is not to lose it because a machine is replaced.
#[test]
fn a_right_that_is_held_goes_on_without_its_workstation() {
    let mut held = active();
    let mut other = policy("shop-debug");
    wants_workstations(&mut other);
    held.policies = Read::Found([state(&other)].into());
    held.surroundings.origin = Some(Read::Missing);
    let plan = grant::decide(&held, time(60));
    assert_eq!((plan.actions, plan.status), (vec![], None));
}

/// Of a request that names a host the policies that want none know nothing.
#[test]
fn where_it_was_made_bears_on_no_other_policy() {
    let mut observed = from_there(approved());
    observed.policies = approved().policies;
    observed.surroundings.origin = Some(Read::Missing);
    assert!(observed.step(20).create.is_some());
}
