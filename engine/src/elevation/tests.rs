use rstest::rstest;
use serde_json::{Value, json};

use super::*;

fn elevation(what: &Value) -> Option<Elevation> {
    let mut target = json!({"name": "web-1"});
    target.as_object_mut().unwrap().extend(what.as_object().unwrap().clone());
    Elevation::of(&serde_json::from_value(target).unwrap())
}

fn account(action: &str, groups: &[&str]) -> Value {
    json!({"account": {"action": action, "groups": groups}})
}

fn application(name: &str, path: &str) -> Value {
    json!({"application": name, "program": {"path": path}})
}

fn commands(paths: &[&str]) -> Value {
    json!({"commands": paths.iter().map(|path| json!({"path": path})).collect::<Vec<_>>()})
}

#[rstest]
#[case::admin(json!({"admin": {}}), "admin")]
#[case::commands(commands(&["/usr/bin/id", "/usr/bin/w"]), "sudo /usr/bin/id, /usr/bin/w")]
#[case::group(json!({"group": "adm"}), "group adm")]
#[case::application(json!({"application": "dump"}), "application dump")]
#[case::its_program(application("dump", "/usr/bin/dump"), "application dump")]
#[case::enable(account("Enable", &[]), "account Enable")]
#[case::provision(account("Provision", &["adm"]), "account Provision with adm")]
#[case::raise(account("Raise", &["adm", "docker"]), "account Raise with adm, docker")]
fn each_is_one_of_the_api_and_back(#[case] what: Value, #[case] said: &str) {
    let elevation = elevation(&what).unwrap();
    assert_eq!(elevation.to_string(), said);
    let mut target = EndpointTarget::default();
    elevation.put_into(&mut target);
    assert_eq!(Elevation::of(&target), Some(elevation));
}

#[rstest]
#[case::nothing(json!({}))]
#[case::two(json!({"admin": {}, "group": "adm"}))]
#[case::an_application_beside(json!({"application": "dump", "group": "adm"}))]
#[case::an_account_beside(json!({"application": "dump", "account": {"action": "Enable"}}))]
#[case::a_program_alone(json!({"program": {"path": "/usr/bin/id"}}))]
fn anything_else_is_none(#[case] what: Value) {
    assert_eq!(elevation(&what), None);
}

#[rstest]
#[case::admin(json!({"admin": {}}), &[Capability::Admin])]
#[case::commands(commands(&["/usr/bin/id"]), &[Capability::Commands])]
#[case::expressions(json!({"commands": [{"path": "/usr/bin/id", "argsPattern": "^a$"}]}), &[Capability::Commands, Capability::CommandPatterns])]
#[case::group(json!({"group": "adm"}), &[Capability::Group])]
#[case::application(json!({"application": "dump"}), &[Capability::Application])]
#[case::account(account("Raise", &["adm"]), &[Capability::Account])]
fn each_needs_an_agent_that_can(#[case] what: Value, #[case] needs: &[Capability]) {
    assert_eq!(elevation(&what).unwrap().needs(), needs.iter().copied().collect());
}

#[rstest]
#[case::admin(json!({"admin": {}}), true)]
#[case::commands(commands(&["/usr/bin/id"]), true)]
#[case::application(json!({"application": "dump"}), true)]
#[case::a_group(json!({"group": "adm"}), false)]
#[case::a_group_of_root(json!({"group": "docker"}), true)]
#[case::raised(account("Raise", &["adm"]), false)]
#[case::raised_to_root(account("Raise", &["adm", "disk"]), true)]
#[case::provisioned(account("Provision", &[]), false)]
#[case::provisioned_as_root(account("Provision", &["lxd"]), true)]
#[case::as_it_was_before(account("Enable", &[]), false)]
fn who_may_act_as_root_is_known(#[case] what: Value, #[case] expected: bool) {
    assert_eq!(elevation(&what).unwrap().gives_root(), expected);
}

#[rstest]
#[case::the_same(application("dump", "/usr/bin/dump"), json!({"application": "dump"}), true)]
#[case::another_program_of_the_name(
    application("dump", "/usr/bin/dump"),
    application("dump", "/bin/sh"),
    true
)]
#[case::another_name(
    application("dump", "/usr/bin/dump"),
    application("dmup", "/usr/bin/dump"),
    false
)]
#[case::all_of_it(account("Raise", &["adm", "ops"]), account("Raise", &["ops", "adm"]), true)]
#[case::a_part(account("Raise", &["adm", "ops"]), account("Raise", &["ops"]), true)]
#[case::one_more(account("Raise", &["adm"]), account("Raise", &["adm", "ops"]), false)]
#[case::another_action(account("Raise", &["adm"]), account("Provision", &["adm"]), false)]
#[case::enabled(account("Enable", &[]), account("Enable", &[]), true)]
#[case::a_group_of_an_account(account("Raise", &["adm"]), json!({"group": "adm"}), false)]
#[case::by_admin(json!({"admin": {}}), account("Enable", &[]), false)]
fn contains_what_lies_within(#[case] own: Value, #[case] other: Value, #[case] expected: bool) {
    let [own, other] = [own, other].map(|what| elevation(&what).unwrap());
    assert_eq!(own.contains(&other), expected);
}

#[test]
fn what_an_agent_runs_is_said() {
    let program = json!({"path": "/usr/bin/dump", "args": ["a".repeat(255), "b".repeat(255), "c"]});
    let long = elevation(&json!({"application": "dump", "program": program})).unwrap();
    let said = runs(&long).unwrap();
    assert!(said.starts_with("The agent runs /usr/bin/dump aaa"), "{said}");
    assert!(said.ends_with("bb… as root") && said.chars().count() < 600, "{said}");
    assert_eq!(runs(&elevation(&json!({"application": "dump"})).unwrap()), None);
    assert_eq!(runs(&elevation(&commands(&["/usr/bin/id"])).unwrap()), None);
}

#[rstest]
#[case::a_shell(application("debug", "/bin/bash"), Some("/bin/bash is a shell"))]
#[case::a_program(application("dump", "/opt/dump/bin/dump"), None)]
#[case::not_known_yet(json!({"application": "bash"}), None)]
#[case::a_group(account("Raise", &["adm", "docker"]), Some("group docker is a group that runs containers"))]
#[case::a_group_from_the_start(account("Provision", &["sudo"]), Some("group sudo is a group of administrators"))]
#[case::harmless_groups(account("Raise", &["adm"]), None)]
#[case::no_groups(account("Enable", &[]), None)]
fn what_makes_its_holder_root_is_known(#[case] what: Value, #[case] expected: Option<&str>) {
    let elevation = elevation(&what).unwrap();
    let why = climbs_by(&elevation);
    assert_eq!(why.is_some(), expected.is_some(), "{why:?}");
    if let (Some(why), Some(expected)) = (&why, expected) {
        assert!(why.starts_with(&format!("Equivalent to admin: {expected}")), "{why}");
    }
    assert_eq!(power_of(&elevation), why);
}
