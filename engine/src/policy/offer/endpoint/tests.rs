use rstest::rstest;
use serde_json::{Value, json};

use super::*;

fn offer(what: &Value) -> EndpointOffer {
    let mut targets = json!({"names": ["web-1"]});
    targets.as_object_mut().unwrap().extend(what.as_object().unwrap().clone());
    EndpointOffer::of(&serde_json::from_value(targets).unwrap())
}

fn target(name: &str, what: &Value) -> ResolvedTarget {
    let mut target = json!({"name": name});
    target.as_object_mut().unwrap().extend(what.as_object().unwrap().clone());
    let target = json!({"endpoint": target});
    ResolvedTarget::resolve(&serde_json::from_value(target).unwrap(), "ops").unwrap()
}

fn applications(names: &[&str]) -> Value {
    let application = |name: &&str| json!({"name": name, "path": "/usr/bin/id"});
    json!({"applications": names.iter().map(application).collect::<Vec<_>>()})
}

fn accounts(action: &str, groups: &[&str]) -> Value {
    json!({"accounts": [{"action": action, "groups": groups}]})
}

fn account(action: &str, groups: &[&str]) -> Value {
    json!({"account": {"action": action, "groups": groups}})
}

#[rstest]
#[case::its_name(applications(&["dump", "load"]), json!({"application": "load"}), true)]
#[case::another_name(applications(&["dump"]), json!({"application": "load"}), false)]
#[case::all_groups(accounts("Raise", &["adm", "ops"]), account("Raise", &["ops", "adm"]), true)]
#[case::fewer_groups(accounts("Raise", &["adm", "ops"]), account("Raise", &["ops"]), true)]
#[case::more_groups(accounts("Raise", &["adm"]), account("Raise", &["adm", "ops"]), false)]
#[case::no_groups(accounts("Provision", &["adm"]), account("Provision", &[]), true)]
#[case::another_action(accounts("Provision", &["adm"]), account("Raise", &["adm"]), false)]
#[case::a_group_by_itself(accounts("Raise", &["adm"]), json!({"group": "adm"}), false)]
#[case::by_admin(json!({"admin": {}}), account("Enable", &[]), false)]
fn a_request_lies_within_one_entry(
    #[case] offered: Value,
    #[case] asked: Value,
    #[case] expected: bool,
) {
    assert_eq!(offer(&offered).contains(&target("web-1", &asked), None), expected);
    assert!(!offer(&offered).contains(&target("web-2", &asked), None));
}

/// As a Deny policy asks.
#[rstest]
#[case::its_name(applications(&["dump"]), json!({"application": "dump"}), true)]
#[case::whatever_program(applications(&["dump"]), json!({"application": "dump", "program": {"path": "/bin/sh"}}), true)]
#[case::another_name(applications(&["dump"]), json!({"application": "load"}), false)]
#[case::the_program_by_sudo(applications(&["dump"]), json!({"commands": [{"path": "/usr/bin/id"}]}), false)]
#[case::who_may_run_all(applications(&["dump"]), json!({"admin": {}}), true)]
#[case::who_may_be_anybody(accounts("Enable", &[]), json!({"admin": {}}), true)]
#[case::enabled(accounts("Enable", &[]), account("Enable", &[]), true)]
#[case::provisioned(accounts("Provision", &["docker"]), account("Provision", &["adm"]), true)]
#[case::provisioned_with_none(accounts("Provision", &["docker"]), account("Provision", &[]), true)]
#[case::one_group_of_two(accounts("Raise", &["docker", "disk"]), account("Raise", &["adm", "docker"]), true)]
#[case::no_group_in_common(accounts("Raise", &["docker"]), account("Raise", &["adm"]), false)]
#[case::another_action(accounts("Enable", &[]), account("Raise", &["adm"]), false)]
#[case::a_group_by_an_account(json!({"groups": ["docker"]}), account("Raise", &["adm", "docker"]), true)]
#[case::a_group_from_the_start(json!({"groups": ["docker"]}), account("Provision", &["docker"]), true)]
#[case::another_group(json!({"groups": ["docker"]}), account("Provision", &["adm"]), false)]
#[case::a_group_by_itself(accounts("Raise", &["docker"]), json!({"group": "docker"}), true)]
#[case::a_group_of_another_account(accounts("Provision", &["docker"]), json!({"group": "docker"}), false)]
#[case::admin_alone(json!({"admin": {}}), account("Enable", &[]), false)]
fn any_part_in_common_is_an_overlap(
    #[case] denied: Value,
    #[case] asked: Value,
    #[case] expected: bool,
) {
    assert_eq!(offer(&denied).overlaps(&target("web-1", &asked), None), expected);
    assert!(!offer(&denied).overlaps(&target("web-2", &asked), None));
}

#[rstest]
#[case(applications(&["dump", "load"]), applications(&["load"]), Some("application load on a host"))]
#[case(applications(&["dump"]), applications(&["load"]), None)]
#[case(accounts("Raise", &["adm", "ops"]), accounts("Raise", &["ops"]), Some("account Raise on a host"))]
#[case(accounts("Raise", &["adm"]), accounts("Raise", &["ops"]), None)]
#[case(accounts("Provision", &["adm"]), accounts("Provision", &["ops"]), Some("account Provision on a host"))]
#[case(accounts("Raise", &["adm"]), accounts("Enable", &[]), None)]
fn what_two_offer_is_told(
    #[case] one: Value,
    #[case] other: Value,
    #[case] expected: Option<&str>,
) {
    assert_eq!(offer(&one).shared(&offer(&other)).as_deref(), expected);
}

#[test]
fn what_is_offered_is_said() {
    let offered = offer(&json!({
        "groups": ["adm"],
        "applications": [{
            "name": "dump", "path": "/usr/bin/dump", "args": ["-f", "a b"],
            "env": [{"name": "LEVEL", "value": "0"}],
        }],
        "accounts": [{"action": "Enable"}, {"action": "Raise", "groups": ["adm", "ops"]}],
        "agent": {"minVersion": "0.3.0", "capabilities": ["Application"]},
    }));
    assert_eq!(
        offered.describe(),
        "group adm, application dump (LEVEL=0 /usr/bin/dump -f \"a b\"), account Enable, account Raise with adm, ops on \
         web-1 (agent 0.3.0 or later with Application)"
    );
}
