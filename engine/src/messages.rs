//! What is said of hosts, in one list that people can read.

use std::fmt::Write as _;

use ed25519_dalek::SigningKey;
use lapse_crds::{
    Admin, Command, EndpointTarget, EndpointTargets, LocalUser, OrderState, PolicyTarget, Subject,
    SubjectKind,
};

use crate::Read;
use crate::elevation::{Elevation, power_of};
use crate::endpoint::EndpointFacts;
use crate::grant::{self, decide};
use crate::order::{Receipt, TrustError, TrustStore, pin_of, sign_authorities, verify_receipt};
use crate::policy::{Policy, PolicyState};
use crate::testing::life::{asked, pending, time};
use crate::testing::{policy, settings};

fn key(seed: u8) -> SigningKey {
    SigningKey::from_bytes(&[seed; 32])
}

fn base64(key: &SigningKey) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.encode(key.verifying_key().as_bytes())
}

fn facts() -> EndpointFacts {
    let alice =
        Subject { kind: SubjectKind::User, name: "alice".into(), namespace: None, endpoint: None };
    EndpointFacts {
        uid: "u-1".into(),
        users: vec![LocalUser { subject: alice, local_user: "al".into(), authorized_keys: vec![] }],
        agent_key: Some(base64(&key(5))),
        ..EndpointFacts::default()
    }
}

fn on_host() -> EndpointTarget {
    EndpointTarget {
        name: "web-1".into(),
        uid: Some("u-1".into()),
        local_user: Some("al".into()),
        admin: Some(Admin {}),
        ..EndpointTarget::default()
    }
}

fn command(path: &str, pattern: Option<&str>) -> Command {
    let args_pattern = pattern.map(ToOwned::to_owned);
    Command { path: path.into(), args: vec![], args_pattern }
}

/// A right on a host, and what is known of the host.
fn held(endpoint: Read<EndpointFacts>) -> grant::Observed {
    let mut observed = pending();
    let mut offering = policy("shop-debug");
    let offered =
        EndpointTargets { all: true, admin: Some(Admin {}), ..EndpointTargets::default() };
    offering.spec.targets =
        vec![PolicyTarget { endpoint: Some(offered), ..PolicyTarget::default() }];
    observed.policies = Read::Found([crate::testing::life::state(&offering)].into());
    observed.grant.spec.target.kubernetes = None;
    observed.grant.spec.target.endpoint = Some(on_host());
    observed.objects = vec![];
    observed.surroundings.endpoint = Some(endpoint);
    observed
}

fn said_by_agent(state: OrderState, message: Option<&str>) -> EndpointFacts {
    let observed = pending();
    let receipt = Receipt {
        grant: observed.grant.metadata.name.unwrap(),
        request_uid: observed.grant.spec.request.uid,
        state,
        since: time(0).into(),
        message: message.map(ToOwned::to_owned),
        sequence: 1,
        ended_by_holder: false,
    };
    let orders = vec![receipt.sign("u-1", &key(5)).unwrap()];
    EndpointFacts { orders, ..facts() }
}

#[test]
fn of_rights_on_hosts() {
    let mut text = String::new();
    let other_user = EndpointFacts {
        users: vec![LocalUser { local_user: "bob".into(), ..facts().users[0].clone() }],
        ..facts()
    };
    for endpoint in [
        Read::Missing,
        Read::Failed("timeout".into()),
        Read::Found(facts()),
        Read::Found(EndpointFacts { is_going: true, ..facts() }),
        Read::Found(other_user),
        Read::Found(said_by_agent(OrderState::Ended, None)),
        Read::Found(said_by_agent(OrderState::Failed, None)),
        Read::Found(said_by_agent(OrderState::Failed, Some("there is no user al"))),
    ] {
        let status = decide(&held(endpoint), time(20)).status.unwrap_or_default();
        for condition in status.conditions {
            writeln!(
                text,
                "{} {:?} {}: {}",
                condition.r#type, condition.status, condition.reason, condition.message
            )
            .unwrap();
        }
    }
    let mut request = asked();
    request.surroundings.endpoint = Some(Read::Failed("timeout".into()));
    let status = crate::request::decide(&request, time(1)).status.unwrap();
    writeln!(text, "{}", status.conditions[0].message).unwrap();
    insta::assert_snapshot!(text);
}

#[test]
fn of_elevations() {
    let mut text = String::new();
    for elevation in [
        Elevation::Admin,
        Elevation::Group("docker".into()),
        Elevation::Commands(vec![command("/usr/bin/env", None)]),
    ] {
        writeln!(text, "{elevation}: {}", power_of(&elevation).unwrap()).unwrap();
    }
    let mut offering = policy("web");
    let offer = |groups: &[&str], admin: bool, pattern: Option<&str>| EndpointTargets {
        all: true,
        groups: groups.iter().map(ToString::to_string).collect(),
        admin: admin.then_some(Admin {}),
        commands: vec![command("/usr/bin/systemctl", pattern)],
        ..EndpointTargets::default()
    };
    let set = |policy: &mut lapse_crds::JitPolicy, offer| {
        policy.spec.targets =
            vec![PolicyTarget { endpoint: Some(offer), ..PolicyTarget::default() }];
    };
    set(&mut offering, offer(&["adm"], false, None));
    let compiled = Policy::compile(&offering, &settings()).unwrap();
    let known = crate::surroundings::Surroundings {
        endpoint: Some(Read::Found(facts())),
        ..Default::default()
    };
    for wish in [
        on_host(),
        EndpointTarget { admin: None, group: Some("sudo".into()), ..on_host() },
        EndpointTarget { admin: None, commands: vec![command("/bin/id", None)], ..on_host() },
    ] {
        let target = lapse_crds::Target { kubernetes: None, endpoint: Some(wish) };
        let target = crate::target::ResolvedTarget::resolve(&target, "ops").unwrap();
        writeln!(text, "{target}: {}", compiled.shortfall(&target, &known).unwrap()).unwrap();
    }
    for pattern in [r"^\d$", "^(?i)a$", "^a+?$"] {
        let mut refused = offering.clone();
        set(&mut refused, offer(&[], false, Some(pattern)));
        let state = PolicyState::of(&refused, &settings());
        writeln!(text, "{}", state.compiled.unwrap_err()).unwrap();
    }
    for (groups, admin) in [(&["adm"][..], true), (&["adm"], false), (&[], false)] {
        let mut one = offering.clone();
        set(&mut one, offer(groups, admin, None));
        let other = PolicyState::of(&one, &settings());
        one.metadata.name = Some("other".into());
        let this = PolicyState::of(&one, &settings());
        for warning in crate::policy::lint_among(&this, &[other].into()) {
            writeln!(text, "{warning}").unwrap();
        }
    }
    insta::assert_snapshot!(text);
}

#[test]
fn of_trust_and_receipts() {
    let mut text = String::new();
    let published = crate::order::PublishedTrust {
        key: base64(&key(1)),
        valid_from: time(0).into(),
        successions: vec![],
        authorities: sign_authorities(&key(1), "authority".into(), time(0)).unwrap(),
    };
    let pin = pin_of(&key(1).verifying_key());
    let mut say = |error: TrustError| writeln!(text, "{error}").unwrap();
    say(TrustStore::pinned(&published, &pin_of(&key(2).verifying_key())).unwrap_err());
    let with = |change: fn(&mut crate::order::PublishedTrust)| {
        let mut changed = published.clone();
        change(&mut changed);
        changed
    };
    say(TrustStore::pinned(&with(|p| p.key = "AA".into()), &pin).unwrap_err());
    say(TrustStore::pinned(&with(|p| p.authorities.certificates = "x".into()), &pin).unwrap_err());
    say(TrustStore::pinned(&with(|p| p.authorities.signature = "x".into()), &pin).unwrap_err());
    let mut store = TrustStore::pinned(&published, &pin).unwrap();
    say(store.follow(&with(|p| p.key = base64(&key(2)))).unwrap_err());
    let receipt = said_by_agent(OrderState::Active, None).orders.remove(0);
    for (public, signature) in [
        (base64(&key(6)), receipt.signature.clone()),
        ("AA".into(), receipt.signature.clone()),
        (base64(&key(5)), "x".into()),
    ] {
        let changed = lapse_crds::OrderStatus { signature, ..receipt.clone() };
        writeln!(text, "{}", verify_receipt(&public, "u-1", &changed).unwrap_err()).unwrap();
    }
    insta::assert_snapshot!(text);
}
