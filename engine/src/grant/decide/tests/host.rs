//! A right on a host: held when its agent says so, and over when it does.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use ed25519_dalek::SigningKey;
use lapse_crds::{
    Admin, AgentRequirement, ConditionStatus, Conditions as _, EndReason, EndpointTarget,
    EndpointTargets, GrantPhase, JitPolicy, LocalUser, LocalUsers, OrderState, PolicyTarget,
    Subject, SubjectKind, Target,
};
use rstest::rstest;

use crate::Read;
use crate::endpoint::EndpointFacts;
use crate::grant::{Observed, decide, drain};
use crate::order::Receipt;
use crate::testing::life::{APPROVED_AT, EXPIRES_AT, deleted_at, pending, state, time};
use crate::testing::{local, local_user, policy};

pub(super) fn agent() -> SigningKey {
    SigningKey::from_bytes(&[5; 32])
}

fn facts() -> EndpointFacts {
    let alice =
        Subject { kind: SubjectKind::User, name: "alice".into(), namespace: None, endpoint: None };
    EndpointFacts {
        uid: "u-1".into(),
        users: vec![LocalUser { subject: alice, local_user: "al".into(), authorized_keys: vec![] }],
        agent_key: Some(BASE64.encode(agent().verifying_key().as_bytes())),
        ..EndpointFacts::default()
    }
}

fn on_host() -> Observed {
    let mut observed = pending();
    let target = EndpointTarget {
        name: "web-1".into(),
        uid: Some("u-1".into()),
        local_user: Some("al".into()),
        admin: Some(Admin {}),
        ..EndpointTarget::default()
    };
    observed.grant.spec.target = Target { kubernetes: None, endpoint: Some(target) };
    observed.grant.spec.session = None;
    observed.objects = vec![];
    observed.surroundings.namespaces.clear();
    observed.surroundings.endpoint = Some(Read::Found(facts()));
    observed.policies = Read::Found([state(&offering())].into());
    observed
}

fn offering() -> JitPolicy {
    let mut policy = policy("shop-debug");
    let offered = EndpointTargets {
        names: vec!["web-1".into()],
        admin: Some(Admin {}),
        ..EndpointTargets::default()
    };
    policy.spec.targets = vec![PolicyTarget { endpoint: Some(offered), ..PolicyTarget::default() }];
    policy
}

pub(super) fn endpoint(observed: &mut Observed) -> &mut EndpointFacts {
    match &mut observed.surroundings.endpoint {
        Some(Read::Found(facts)) => facts,
        other => panic!("no endpoint: {other:?}"),
    }
}

pub(super) fn says(observed: &mut Observed, state: OrderState, message: Option<&str>) {
    says_as(observed, state, message, &agent());
}

fn says_as(observed: &mut Observed, state: OrderState, message: Option<&str>, key: &SigningKey) {
    says_of(observed, state, message, false, key);
}

fn says_of(
    observed: &mut Observed,
    state: OrderState,
    message: Option<&str>,
    ended_by_holder: bool,
    key: &SigningKey,
) {
    let receipt = Receipt {
        grant: observed.grant.metadata.name.clone().unwrap(),
        request_uid: observed.grant.spec.request.uid.clone(),
        state,
        since: time(APPROVED_AT + 1).into(),
        message: message.map(ToOwned::to_owned),
        sequence: 1,
        ended_by_holder,
    };
    endpoint(observed).orders = vec![receipt.sign("u-1", key).unwrap()];
}

/// Decides, and takes over what the status says; returns phase, reason, and what the condition `Ended` says.
pub(super) fn step(
    observed: &mut Observed,
    at: i64,
) -> (GrantPhase, Option<EndReason>, Option<String>) {
    let plan = decide(observed, time(at));
    assert_eq!(plan.actions, vec![]);
    if let Some(status) = plan.status {
        observed.grant.status = Some(status);
    }
    let status = observed.grant.status.clone().unwrap_or_default();
    let ended = status.conditions.condition("Ended");
    let ended = ended.map(|it| format!("{:?} {}", it.status, it.reason));
    (status.phase, status.end_reason, ended)
}

pub(super) fn active() -> Observed {
    let mut observed = on_host();
    says(&mut observed, OrderState::Active, None);
    assert_eq!(step(&mut observed, APPROVED_AT + 2).0, GrantPhase::Active);
    observed
}

/// Somebody who belongs to nobody of the cluster, and asked there.
#[test]
fn who_belongs_to_nobody_keeps_it_until_they_belong_to_somebody() {
    let mut observed = active();
    observed.grant.spec.subject = local_user("al", Some("web-1"));
    observed.grant.spec.username = Some("lapse:endpoint:web-1:al".into());
    let who = local("web-1", "al", "lapse:endpoint:web-1:al");
    let Read::Found(request) = &mut observed.request else { panic!("there is a request") };
    request.spec.requester = Some(who);
    let mut policy = offering();
    policy.spec.requesters = vec![local_user("al", Some("web-1"))];
    observed.policies = Read::Found([state(&policy)].into());
    endpoint(&mut observed).users.clear();
    assert_eq!(step(&mut observed, APPROVED_AT + 3).0, GrantPhase::Active);
    endpoint(&mut observed).users = facts().users;
    let (phase, reason, _) = step(&mut observed, APPROVED_AT + 4);
    assert_eq!((phase, reason), (GrantPhase::Ending, Some(EndReason::RequesterNotAllowed)));
    let status = observed.grant.status.unwrap();
    let ended = status.conditions.condition("Ended").unwrap();
    assert!(
        ended
            .message
            .contains("On Endpoint web-1, al belongs to somebody else by spec.users since."),
        "{ended:?}"
    );
}

#[test]
fn it_is_held_when_its_agent_says_so() {
    let mut observed = on_host();
    assert_eq!(step(&mut observed, APPROVED_AT + 1).0, GrantPhase::Pending);
    let status = observed.grant.status.clone().unwrap();
    let waiting = status.conditions.condition("Active").unwrap();
    assert_eq!(waiting.status, ConditionStatus::False);
    insta::assert_snapshot!(waiting.message, @"It waits for the agent of the Endpoint to carry it out, which it does when it is connected.");
    says(&mut observed, OrderState::Received, None);
    assert_eq!(step(&mut observed, APPROVED_AT + 1).0, GrantPhase::Pending);
    says(&mut observed, OrderState::Active, None);
    assert_eq!(step(&mut observed, APPROVED_AT + 2).0, GrantPhase::Active);
}

/// A gateway carries receipts, and could make some up.
#[test]
fn nobody_else_says_so() {
    let mut observed = on_host();
    says_as(&mut observed, OrderState::Active, None, &SigningKey::from_bytes(&[6; 32]));
    assert_eq!(step(&mut observed, APPROVED_AT + 2).0, GrantPhase::Pending);
    let mut observed = active();
    says_as(&mut observed, OrderState::Ended, None, &SigningKey::from_bytes(&[6; 32]));
    let (phase, _, ended) = step(&mut observed, EXPIRES_AT);
    assert_eq!((phase, ended.as_deref()), (GrantPhase::Ending, Some("False Unverified")));
}

#[test]
fn it_is_over_when_its_agent_has_verified_that() {
    let mut observed = active();
    let open = (GrantPhase::Ending, Some(EndReason::Expired), Some("False Unverified".to_owned()));
    assert_eq!(step(&mut observed, EXPIRES_AT), open);
    // Who cannot be reached, or cannot be read, says nothing.
    observed.surroundings.endpoint = Some(Read::Failed("timeout".into()));
    assert_eq!(step(&mut observed, EXPIRES_AT + 100), open);
    observed.surroundings.endpoint = Some(Read::Found(facts()));
    says(&mut observed, OrderState::Ending, Some("a process does not end"));
    assert_eq!(step(&mut observed, EXPIRES_AT + 200), open);
    says(&mut observed, OrderState::Ended, None);
    let over = (GrantPhase::Ended, Some(EndReason::Expired), Some("True Verified".to_owned()));
    assert_eq!(step(&mut observed, EXPIRES_AT + 300), over);
}

#[test]
fn what_the_agent_cannot_do_was_never_given() {
    let mut observed = on_host();
    says(&mut observed, OrderState::Failed, Some("user al is not local"));
    let (phase, reason, _) = step(&mut observed, APPROVED_AT + 1);
    assert_eq!((phase, reason), (GrantPhase::Ended, None));
    let status = observed.grant.status.unwrap();
    insta::assert_snapshot!(status.conditions.condition("Ended").unwrap().message, @"The agent could not grant it: user al is not local");
}

type Change = fn(&mut Observed);

#[rstest]
#[case::deleted(|o: &mut Observed| o.surroundings.endpoint = Some(Read::Missing), EndReason::TargetDeleted)]
#[case::made_anew(|o: &mut Observed| endpoint(o).uid = "u-2".into(), EndReason::TargetDeleted)]
#[case::going(|o: &mut Observed| endpoint(o).is_going = true, EndReason::TargetDeleted)]
#[case::another_user(|o: &mut Observed| endpoint(o).users[0].local_user = "bob".into(), EndReason::RequesterNotAllowed)]
#[case::given_to_another(|o: &mut Observed| endpoint(o).users[0].subject.name = "bob".into(), EndReason::RequesterNotAllowed)]
#[case::taken_off(|o: &mut Observed| endpoint(o).users.clear(), EndReason::RequesterNotAllowed)]
#[case::gone_there(|o: &mut Observed| says(o, OrderState::Ended, Some("somebody removed its rule")), EndReason::BindingDeleted)]
#[case::grant_deleted(|o: &mut Observed| o.grant.metadata.deletion_timestamp = Some(deleted_at()), EndReason::GrantDeleted)]
fn what_ends_it(#[case] change: Change, #[case] expected: EndReason) {
    let mut observed = active();
    change(&mut observed);
    let (phase, reason, _) = step(&mut observed, APPROVED_AT + 5);
    assert_eq!(reason, Some(expected));
    let is_said = expected == EndReason::BindingDeleted;
    assert_eq!(phase, if is_said { GrantPhase::Ended } else { GrantPhase::Ending });
}

/// By the agent's word, and by nobody else's; also where something of it is still there.
#[test]
fn its_holder_ends_it_on_the_host() {
    let mut observed = active();
    let why = Some("ended on the host by al");
    says_of(&mut observed, OrderState::Ending, why, true, &SigningKey::from_bytes(&[6; 32]));
    assert_eq!(step(&mut observed, APPROVED_AT + 4).0, GrantPhase::Active, "another key");
    says_of(&mut observed, OrderState::Ending, why, true, &agent());
    let by_holder = Some(EndReason::EndedByRequester);
    let open = (GrantPhase::Ending, by_holder, Some("False Unverified".to_owned()));
    assert_eq!(step(&mut observed, APPROVED_AT + 5), open);
    says_of(&mut observed, OrderState::Ended, why, true, &agent());
    let over = (GrantPhase::Ended, by_holder, Some("True Verified".to_owned()));
    assert_eq!(step(&mut observed, APPROVED_AT + 6), over);
    let status = observed.grant.status.unwrap();
    insta::assert_snapshot!(status.conditions.condition("Ended").unwrap().message, @"Ended early on Endpoint web-1 by its local user al.");
}

/// It was ended before the cluster had heard that it was held.
#[test]
fn its_holder_ends_it_at_once() {
    let mut observed = on_host();
    says_of(&mut observed, OrderState::Ended, None, true, &agent());
    let (phase, reason, _) = step(&mut observed, APPROVED_AT + 1);
    assert_eq!((phase, reason), (GrantPhase::Ended, Some(EndReason::EndedByRequester)));
}

/// alice is alice there, and on no line of the Endpoint.
#[test]
fn a_user_of_the_same_name_stays_theirs_while_the_policy_says_so() {
    let by_name = |by: LocalUsers| {
        let mut observed = on_host();
        endpoint(&mut observed).users.clear();
        let spec = &mut observed.grant.spec;
        spec.username = Some("alice".into());
        spec.target.endpoint.as_mut().unwrap().local_user = Some("alice".into());
        let mut policy = offering();
        policy.spec.targets[0].endpoint.as_mut().unwrap().local_users = Some(by);
        observed.policies = Read::Found([state(&policy)].into());
        says(&mut observed, OrderState::Active, None);
        observed
    };
    let mut held = by_name(LocalUsers::SameName);
    assert_eq!(step(&mut held, APPROVED_AT + 2).0, GrantPhase::Active);
    endpoint(&mut held).users = facts().users;
    endpoint(&mut held).users[0].subject.name = "bob".into();
    assert_eq!(step(&mut held, APPROVED_AT + 3).0, GrantPhase::Active, "al is somebody else");
    endpoint(&mut held).users[0].local_user = "alice".into();
    let ended = (GrantPhase::Ending, Some(EndReason::RequesterNotAllowed));
    let (phase, reason, _) = step(&mut held, APPROVED_AT + 4);
    assert_eq!((phase, reason), ended, "the name is given to somebody else");
    let mut mapped = by_name(LocalUsers::Mapped);
    let (phase, reason, _) = step(&mut mapped, APPROVED_AT + 2);
    assert_eq!((phase, reason), ended, "nobody says so");
}

/// The entry by which it was given does not give it to such an agent any more, and the one that would says `Mapped`.
#[test]
fn an_agent_that_became_older_ends_nothing() {
    let mut policy = offering();
    let mut newer = policy.spec.targets[0].clone();
    let entry = newer.endpoint.as_mut().unwrap();
    entry.local_users = Some(LocalUsers::SameName);
    let min_version = Some("0.3.0".to_owned());
    entry.agent = Some(AgentRequirement { min_version, capabilities: vec![] });
    policy.spec.targets.insert(0, newer);
    let mut observed = on_host();
    observed.policies = Read::Found([state(&policy)].into());
    observed.grant.spec.username = Some("alice".into());
    observed.grant.spec.target.endpoint.as_mut().unwrap().local_user = Some("alice".into());
    endpoint(&mut observed).users.clear();
    says(&mut observed, OrderState::Active, None);
    for version in ["0.3.0", "0.2.0"] {
        endpoint(&mut observed).agent_version = Some(version.into());
        assert_eq!(step(&mut observed, APPROVED_AT + 2).0, GrantPhase::Active, "{version}");
    }
}

/// Whoever uninstalls Lapse waits for no host that is lost.
#[test]
fn when_lapse_goes_a_right_is_over_with_its_time() {
    let mut observed = active();
    let mut drained = |at: i64| {
        let plan = drain(&observed, time(at));
        observed.grant.status = plan.status.or(observed.grant.status.take());
        observed.grant.status.as_ref().unwrap().phase
    };
    assert_eq!(drained(APPROVED_AT + 3), GrantPhase::Ending);
    assert_eq!(drained(EXPIRES_AT - 1), GrantPhase::Ending);
    assert_eq!(drained(EXPIRES_AT), GrantPhase::Ended);
    let status = observed.grant.status.unwrap();
    assert_eq!(status.end_reason, Some(EndReason::Uninstalled));
    assert_eq!(status.conditions.condition("Ended").unwrap().reason, "Unverified");
}

/// A look-up that failed ends nothing.
#[test]
fn what_cannot_be_read_ends_nothing() {
    let mut observed = active();
    observed.surroundings.endpoint = Some(Read::Failed("timeout".into()));
    assert_eq!(step(&mut observed, APPROVED_AT + 5).0, GrantPhase::Active);
}

/// Nobody can say any more what stands on a host whose Endpoint is gone; its own end is certain there.
#[test]
fn without_its_endpoint_it_is_over_when_its_time_is() {
    let mut observed = active();
    observed.surroundings.endpoint = Some(Read::Missing);
    let open =
        (GrantPhase::Ending, Some(EndReason::TargetDeleted), Some("False Unverified".to_owned()));
    assert_eq!(step(&mut observed, APPROVED_AT + 5), open);
    assert_eq!(decide(&observed, time(APPROVED_AT + 6)).wake_at, Some(time(EXPIRES_AT)));
    let over =
        (GrantPhase::Ended, Some(EndReason::TargetDeleted), Some("True Unverified".to_owned()));
    assert_eq!(step(&mut observed, EXPIRES_AT), over);
}
