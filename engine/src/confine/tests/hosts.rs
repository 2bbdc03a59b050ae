//! Grants of applications and accounts: what the policy and the Endpoint say stands in them, whatever the request says.

use lapse_crds::{AccessRequest, EndpointTarget, JitPolicy, LocalUser, Program};
use serde_json::{Value, json};

use super::*;
use crate::endpoint::EndpointFacts;
use crate::role::RoleRules;
use crate::surroundings::Surroundings;

const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAA alice";

fn offering() -> JitPolicy {
    let entry = json!({
        "all": true,
        "applications": [{
            "name": "dump", "path": "/usr/bin/dump", "package": "dump", "args": ["-0"],
            "env": [{"name": "LEVEL", "value": "0"}],
        }],
        "accounts": [{"action": "Provision", "groups": ["adm", "ops"]}, {"action": "Enable"}],
    });
    let mut offering = policy("shop-debug");
    offering.spec.approval = None;
    offering.spec.targets = serde_json::from_value(json!([{"endpoint": entry}])).unwrap();
    offering
}

fn facts() -> EndpointFacts {
    use lapse_crds::Capability::{Account, Application};
    let al = LocalUser {
        subject: user("alice"),
        local_user: "al".into(),
        authorized_keys: vec![KEY.into()],
    };
    EndpointFacts {
        uid: "u-1".into(),
        users: vec![al],
        agent_key: Some("key".into()),
        capabilities: Some([Application, Account].into()),
        ..EndpointFacts::default()
    }
}

/// Alice asks for something on a host, which nobody needs to approve.
fn asking(what: &Value) -> Observed {
    let mut target = json!({"name": "web-1"});
    target.as_object_mut().unwrap().extend(what.as_object().unwrap().clone());
    let mut observed = asked();
    let request: &mut AccessRequest = &mut observed.request.object;
    request.spec.target = serde_json::from_value(json!({"endpoint": target})).unwrap();
    observed.policies = Read::Found([life::state(&offering())].into());
    observed.role = Read::Found(RoleRules::default());
    let endpoint = Some(Read::Found(facts()));
    observed.surroundings = Surroundings { endpoint, ..Surroundings::default() };
    observed
}

fn application() -> Value {
    json!({"application": "dump"})
}

fn account() -> Value {
    json!({"account": {"action": "Provision", "groups": ["adm"]}})
}

fn given(what: &Value) -> Value {
    let grant = sent(&asking(what), 1);
    serde_json::to_value(grant.spec.target.endpoint.unwrap()).unwrap()
}

#[rstest]
#[case::as_it_should(application())]
#[case::with_a_program_of_its_own(json!({"application": "dump", "program": {"path": "/bin/sh", "args": ["-c", "id"]}}))]
fn the_program_is_the_one_of_the_policy(#[case] what: Value) {
    let program = json!({
        "path": "/usr/bin/dump", "package": "dump", "args": ["-0"],
        "env": [{"name": "LEVEL", "value": "0"}],
    });
    let expected = json!({
        "name": "web-1", "uid": "u-1", "localUser": "al", "application": "dump", "program": program,
    });
    assert_eq!(given(&what), expected);
}

#[rstest]
#[case::as_it_should(account(), &[KEY])]
#[case::with_keys_of_its_own(json!({"account": {"action": "Provision", "groups": ["adm"], "authorizedKeys": ["ssh-rsa AAAA mallory"]}}), &[KEY])]
#[case::of_an_account_that_exists(json!({"account": {"action": "Enable", "authorizedKeys": ["ssh-rsa AAAA mallory"]}}), &[])]
fn the_keys_are_those_of_the_endpoint(#[case] what: Value, #[case] keys: &[&str]) {
    let target: EndpointTarget = serde_json::from_value(given(&what)).unwrap();
    assert_eq!((target.uid.as_deref(), target.local_user.as_deref()), (Some("u-1"), Some("al")));
    assert_eq!(target.account.unwrap().authorized_keys, keys);
}

type Change = fn(&mut EndpointTarget);

fn program(target: &mut EndpointTarget) -> &mut Program {
    target.program.as_mut().unwrap()
}

fn keys(target: &mut EndpointTarget) -> &mut Vec<String> {
    &mut target.account.as_mut().unwrap().authorized_keys
}

#[rstest]
#[case::another_program(application(), |target: &mut EndpointTarget| program(target).path = "/bin/sh".into())]
#[case::other_arguments(application(), |target: &mut EndpointTarget| program(target).args.push("x".into()))]
#[case::another_environment(application(), |target: &mut EndpointTarget| program(target).env.clear())]
#[case::of_any_package(application(), |target: &mut EndpointTarget| program(target).package = None)]
#[case::of_no_program(application(), |target: &mut EndpointTarget| target.program = None)]
#[case::under_another_name(application(), |target: &mut EndpointTarget| target.application = Some("load".into()))]
#[case::with_one_key_more(account(), |target: &mut EndpointTarget| keys(target).push("ssh-rsa AAAA mallory".into()))]
#[case::with_another_key(account(), |target: &mut EndpointTarget| keys(target)[0] = "ssh-rsa AAAA mallory".into())]
#[case::without_a_key(account(), |target: &mut EndpointTarget| keys(target).clear())]
#[case::with_another_group(account(), |target: &mut EndpointTarget| target.account.as_mut().unwrap().groups.push("ops".into()))]
#[case::as_another(account(), |target: &mut EndpointTarget| target.local_user = Some("bo".into()))]
fn what_the_engine_did_not_resolve_is_refused(#[case] what: Value, #[case] change: Change) {
    let observed = asking(&what);
    let mut grant = sent(&observed, 1);
    super::super::grant(observed.clone(), &grant, time(2)).unwrap();
    change(grant.spec.target.endpoint.as_mut().unwrap());
    let why = refusal(super::super::grant(observed, &grant, time(2)));
    assert_eq!(why, "spec.target is not what was approved");
}

/// The controller cannot hand a request's own words on.
#[test]
fn what_the_request_says_itself_is_refused() {
    let program = json!({"path": "/bin/sh"});
    let observed = asking(&json!({"application": "dump", "program": program}));
    let mut grant = sent(&observed, 1);
    let target = grant.spec.target.endpoint.as_mut().unwrap();
    target.program = Some(serde_json::from_value(program).unwrap());
    let why = refusal(super::super::grant(observed, &grant, time(2)));
    assert_eq!(why, "spec.target is not what was approved");
}

/// What the policy says by now is what counts.
#[test]
fn a_program_that_was_replaced_meanwhile_is_refused() {
    let mut observed = asking(&application());
    let grant = sent(&observed, 1);
    let mut changed = offering();
    let offered = changed.spec.targets[0].endpoint.as_mut().unwrap();
    offered.applications[0].path = "/usr/sbin/dump".into();
    observed.policies = Read::Found([life::state(&changed)].into());
    let why = refusal(super::super::grant(observed, &grant, time(2)));
    assert_eq!(why, "spec.target is not what was approved");
}
