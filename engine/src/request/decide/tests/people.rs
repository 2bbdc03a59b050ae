//! Requests that people make on a host, without credentials of the cluster: the host vouches for who they are there.

use std::collections::BTreeSet;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use ed25519_dalek::SigningKey;
use lapse_crds::{
    Capability, EndpointTargets, Identity, JitPolicy, LocalUser, PolicyEffect, PolicyTarget,
    RequestPhase, Subject, Verdict, Workstations,
};
use rstest::rstest;
use serde_json::json;

use crate::Read;
use crate::endpoint::EndpointFacts;
use crate::order::Host;
use crate::origin::{digest_of, sign};
use crate::request::Observed;
use crate::testing::life::{APPROVED_AT, asked, bob, decision, state, time};
use crate::testing::{group, local, local_user, person, policy, user};

fn key() -> SigningKey {
    SigningKey::from_bytes(&[5; 32])
}

/// The host: al is alice's there, and bo is nobody's.
fn host() -> EndpointFacts {
    EndpointFacts {
        uid: "u-1".into(),
        users: vec![LocalUser {
            subject: user("alice"),
            local_user: "al".into(),
            authorized_keys: vec![],
        }],
        agent_key: Some(BASE64.encode(key().verifying_key().as_bytes())),
        capabilities: Some(BTreeSet::from([Capability::Group])),
        ..EndpointFacts::default()
    }
}

fn offering(requesters: Vec<Subject>) -> JitPolicy {
    let mut policy = policy("shop-debug");
    policy.spec.requesters = requesters;
    let names = vec!["ws-1".to_owned()];
    policy.spec.workstations = Some(Workstations { names: names.clone(), selector: None });
    let groups = vec!["adm".to_owned()];
    let offered = EndpointTargets { names, groups, ..EndpointTargets::default() };
    policy.spec.targets = vec![PolicyTarget { endpoint: Some(offered), ..PolicyTarget::default() }];
    policy
}

/// What a local user of the host asks for there, as it is stamped, under these policies.
fn asked_there(local_user: &str, username: &str, policies: &[JitPolicy]) -> Observed {
    let mut observed = asked();
    let spec = &mut observed.request.object.spec;
    let target = json!({"endpoint": {"name": "ws-1", "localUser": local_user, "group": "adm"}});
    spec.target = serde_json::from_value(target).unwrap();
    let digest = digest_of("shop", "fix-checkout", spec).unwrap();
    let of = Host { name: "ws-1".into(), uid: "u-1".into() };
    spec.origin = Some(sign(&of, local_user, &digest, time(0), &key()).unwrap());
    spec.requester = Some(local("ws-1", local_user, username));
    observed.policies = Read::Found(policies.iter().map(state).collect());
    observed.surroundings.namespaces.clear();
    observed.surroundings.endpoint = Some(Read::Found(host()));
    observed.surroundings.origin = Some(Read::Found(host()));
    observed
}

fn everybody() -> JitPolicy {
    offering(vec![local_user("", None)])
}

fn approved_by(mut observed: Observed, who: Identity) -> Observed {
    observed.says(decision(Verdict::Approve, who, APPROVED_AT));
    observed
}

fn refusal(mut observed: Observed) -> String {
    let plan = observed.step(1);
    let status = plan.status.unwrap();
    assert_eq!((plan.create, status.phase), (None, RequestPhase::Denied));
    let failed =
        status.checks.iter().filter(|check| check.outcome == lapse_crds::CheckOutcome::Fail);
    let failed: Vec<&str> = failed.map(|check| check.message.as_str()).collect();
    failed.join("\n")
}

#[rstest]
#[case::of_alice("al", "alice", user("alice"))]
#[case::of_nobody("bo", "lapse:endpoint:ws-1:bo", local_user("bo", Some("ws-1")))]
fn what_is_asked_on_a_host_is_granted_to_who_asked_there(
    #[case] asks: &str,
    #[case] username: &str,
    #[case] holder: Subject,
) {
    let mut observed = approved_by(asked_there(asks, username, &[everybody()]), bob());
    let grant = observed.step(20).create.unwrap();
    assert_eq!((grant.spec.subject, grant.spec.username.as_deref()), (holder, Some(username)));
    let endpoint = grant.spec.target.endpoint.unwrap();
    assert_eq!((endpoint.name.as_str(), endpoint.local_user.as_deref()), ("ws-1", Some(asks)));
}

#[test]
fn a_policy_for_users_and_groups_is_for_nobody_who_shows_no_credential() {
    let policy = offering(vec![user("alice"), user("al"), group("system:authenticated")]);
    insta::assert_snapshot!(refusal(asked_there("al", "alice", &[policy])), @"alice (local user al of Endpoint ws-1) is not among the requesters of JitPolicy shop-debug (user alice, user al, group system:authenticated); request under another policy, or ask its owner to add you.");
}

/// Whoever is forbidden something must not get it by asking where nobody knows who they are.
#[rstest]
#[case::a_group("al", "alice", group("contractors"), true)]
#[case::who_they_are("al", "alice", user("alice"), true)]
#[case::who_is_called_the_same("bo", "lapse:endpoint:ws-1:bo", user("bo"), true)]
#[case::local_users("bo", "lapse:endpoint:ws-1:bo", local_user("", None), true)]
#[case::somebody_else("al", "alice", user("bob"), false)]
#[case::another_local_user("al", "alice", local_user("bo", None), false)]
#[case::of_another_host("al", "alice", local_user("al", Some("ws-2")), false)]
fn who_may_be_banned_is(
    #[case] asks: &str,
    #[case] username: &str,
    #[case] banned: Subject,
    #[case] is_banned: bool,
) {
    let mut ban = policy("no-way");
    ban.spec.effect = PolicyEffect::Deny;
    ban.spec.requesters = vec![banned];
    ban.spec.targets = vec![PolicyTarget { all: true, ..PolicyTarget::default() }];
    let mut observed = asked_there(asks, username, &[everybody(), ban]);
    let phase = observed.step(1).status.unwrap().phase;
    assert_eq!(phase == RequestPhase::Denied, is_banned, "{phase}");
}

#[test]
fn that_groups_are_not_known_is_told() {
    let mut ban = policy("no-contractors");
    ban.spec.effect = PolicyEffect::Deny;
    ban.spec.requesters = vec![group("contractors")];
    ban.spec.targets = vec![PolicyTarget { all: true, ..PolicyTarget::default() }];
    let observed = asked_there("al", "alice", &[everybody(), ban]);
    insta::assert_snapshot!(refusal(observed), @"JitPolicy no-contractors denies it. It is for group contractors, and whether local user al of Endpoint ws-1 is among these is not known on a host. Request with your own credentials (kubectl jit request). Ask its owner.");
}

#[rstest]
#[case::alice("al", "alice", "alice")]
#[case::who_is_called_the_same("al", "alice", "al")]
#[case::of_nobody("bo", "lapse:endpoint:ws-1:bo", "bo")]
fn nobody_approves_what_may_be_their_own(
    #[case] asks: &str,
    #[case] username: &str,
    #[case] approver: &str,
) {
    let approver = person(approver, &["shop-managers"]);
    let mut observed = approved_by(asked_there(asks, username, &[everybody()]), approver);
    let plan = observed.step(20);
    assert_eq!(plan.create, None);
    assert_eq!(plan.status.unwrap().phase, RequestPhase::Pending);
}

/// Nobody did that with alice's credentials.
#[test]
fn who_withdraws_on_a_host_is_told_as_that() {
    let mut observed = asked_there("al", "alice", &[everybody()]);
    observed.says(decision(Verdict::End, local("ws-1", "al", "alice"), APPROVED_AT));
    let status = observed.step(20).status.unwrap();
    assert_eq!(status.phase, RequestPhase::Withdrawn);
    let said = "Withdrawn by alice (local user al of Endpoint ws-1).";
    assert!(status.conditions.iter().any(|c| c.message == said), "{:?}", status.conditions);
}

/// It is looked at again before anything is given.
#[rstest]
#[case::given_to_another(|host: &mut EndpointFacts| host.users[0].subject = user("bob"))]
#[case::given_away(|host: &mut EndpointFacts| host.users.clear())]
#[case::enrolled_again(|host: &mut EndpointFacts| host.agent_key = Some(BASE64.encode([6; 32])))]
#[case::made_anew(|host: &mut EndpointFacts| host.uid = "u-2".into())]
fn who_is_somebody_else_there_by_now_gets_nothing(#[case] change: fn(&mut EndpointFacts)) {
    let mut observed = asked_there("al", "alice", &[everybody()]);
    assert_eq!(observed.step(1).status.unwrap().phase, RequestPhase::Pending);
    let mut changed = host();
    change(&mut changed);
    observed.surroundings.endpoint = Some(Read::Found(changed.clone()));
    observed.surroundings.origin = Some(Read::Found(changed));
    let plan = approved_by(observed, bob()).step(20);
    assert_eq!(plan.create, None);
    assert_eq!(plan.status.unwrap().phase, RequestPhase::Denied);
}

/// A stamp alone, as somebody could write it who has the signing key and no host.
#[test]
fn without_the_host_nobody_has_asked() {
    let mut observed = asked_there("al", "alice", &[everybody()]);
    observed.request.object.spec.origin = None;
    let said = refusal(observed);
    assert!(
        said.contains("It is not proven that alice requests this: nothing proves who requests."),
        "{said}"
    );
}
