use rstest::rstest;
use serde_json::{Value, json};

use super::hosts::not_portable;
use super::*;
use crate::testing::{policy, settings};

fn error_of(change: impl FnOnce(&mut JitPolicySpec)) -> Option<PolicyErrorReason> {
    let mut policy = policy("shop-debug");
    change(&mut policy.spec);
    Policy::compile(&policy, &settings()).err().map(|error| error.reason)
}

#[rstest]
#[case("^status [a-z]+$", None)]
#[case("^(restart|reload) nginx$", None)]
#[case(r"^a\.b$", None)]
#[case("^[^]x]+$", None)]
#[case("^a|b$", Some("| outside of ( )"))]
#[case("^a$, /bin/sh ^.*$", Some("$ within the expression"))]
#[case(r"^\d+$", Some(r"\d"))]
#[case("^a+?$", Some("+?"))]
#[case("^(?i)a$", Some("(?"))]
#[case("^[[:digit:]]$", Some("[ within [ ]"))]
#[case(r"^[\d]$", Some(r"\d"))]
fn expressions_mean_the_same_to_sudo(#[case] source: &str, #[case] expected: Option<&str>) {
    assert_eq!(not_portable(source).as_deref(), expected);
}

#[test]
fn the_fixture_compiles() {
    assert_eq!(error_of(|_| {}), None);
}

#[rstest]
#[case("1m", "30m", "8h", Some(PolicyErrorReason::DurationOutOfBounds))]
#[case("5m", "30m", "25h", Some(PolicyErrorReason::DurationOutOfBounds))]
#[case("5m", "9h", "8h", Some(PolicyErrorReason::DurationOutOfBounds))]
#[case("8h", "8h", "5m", Some(PolicyErrorReason::DurationOutOfBounds))]
#[case("5m", "5m", "24h", None)]
fn keeps_durations_in_bounds(
    #[case] min: &str,
    #[case] default: &str,
    #[case] max: &str,
    #[case] expected: Option<PolicyErrorReason>,
) {
    let error = error_of(|spec| {
        spec.duration = Some(lapse_crds::DurationBounds {
            min: min.parse().ok(),
            default: default.parse().ok(),
            max: max.parse().ok(),
        });
    });
    assert_eq!(error, expected);
}

#[test]
fn absent_bounds_are_the_installations() {
    let mut policy = policy("p");
    policy.spec.duration = None;
    let bounds = Policy::compile(&policy, &settings()).unwrap().duration();
    let InstallationBounds { min, max } = settings().duration;
    assert_eq!(bounds, Bounds { min, default: None, max });
}

#[test]
fn a_policy_is_not_kept_apart_from_itself() {
    let mut policy = policy("shop-debug");
    let apart = |name: &str| Separation { policy: name.into() };
    policy.spec.separation_of_duties = vec![apart("other"), apart("shop-debug")];
    let error = Policy::compile(&policy, &settings()).unwrap_err();
    insta::assert_snapshot!(error, @"spec.separationOfDuties[1].policy is shop-debug, the policy itself; name another, and limit how much one person holds under this one with spec.limits");
    policy.spec.separation_of_duties.pop();
    assert!(Policy::compile(&policy, &settings()).is_ok());
}

#[test]
fn granted_time_is_counted_from_grants_that_are_kept() {
    let kept = |retention: &str| {
        error_of(|spec| {
            spec.retention = retention.parse().ok();
            let granted_time_per_day = "4h".parse().ok();
            spec.limits = Some(lapse_crds::Limits { granted_time_per_day, ..Default::default() });
        })
    };
    assert_eq!(kept("23h59m"), Some(PolicyErrorReason::DurationOutOfBounds));
    assert_eq!(kept("24h"), None);
}

#[test]
fn names_the_value_that_would_make_a_role_bindable() {
    let mut policy = policy("p");
    policy.spec.targets[0].kubernetes.as_mut().unwrap().roles[0].name = "cluster-admin".into();
    let error = Policy::compile(&policy, &settings()).unwrap_err();
    assert_eq!(error.reason, PolicyErrorReason::RoleNotBindable);
    insta::assert_snapshot!(error, @"spec.targets[0].kubernetes.roles: the controller may not bind ClusterRole cluster-admin; remove it, or add {kind: ClusterRole, name: cluster-admin} to the chart's value controller.bindableRoles");
}

#[rstest]
#[case("lapse-system")]
#[case("kube-system")]
fn refuses_protected_namespaces(#[case] namespace: &str) {
    let error = error_of(|spec| {
        let target = spec.targets[0].kubernetes.as_mut().unwrap();
        target.namespaces.as_mut().unwrap().names.push(namespace.to_owned());
    });
    assert_eq!(error, Some(PolicyErrorReason::ProtectedNamespace));
}

use crate::InstallationBounds;

fn on_hosts(entry: &Value) -> Result<Policy, PolicyError> {
    let mut policy = policy("p");
    let mut targets = json!({"all": true});
    targets.as_object_mut().unwrap().extend(entry.as_object().unwrap().clone());
    policy.spec.targets = serde_json::from_value(json!([{"endpoint": targets}])).unwrap();
    Policy::compile(&policy, &settings())
}

#[rstest]
#[case::harmless(&["LANG", "HOME"], None)]
#[case::loader(&["LANG", "LD_PRELOAD"], Some("spec.targets[0].endpoint.applications[0].env[1].name: LD_PRELOAD has the dynamic loader load other code, or look for it elsewhere; leave it out"))]
#[case::path(&["PATH"], Some("spec.targets[0].endpoint.applications[0].env[0].name: PATH says where programs are looked for that are started by name; leave it out"))]
fn an_environment_loads_no_other_code(#[case] names: &[&str], #[case] expected: Option<&str>) {
    let env: Vec<Value> = names.iter().map(|name| json!({"name": name, "value": "x"})).collect();
    let application = json!({"name": "dump", "path": "/usr/bin/dump", "env": env});
    let error = on_hosts(&json!({"applications": [application]})).err();
    assert_eq!(error.as_ref().map(|error| error.message.as_str()), expected);
    assert!(error.is_none_or(|error| error.reason == PolicyErrorReason::InvalidRule));
}

#[rstest]
#[case("0.3.0", None)]
#[case("0.3.0-rc.1", None)]
#[case(
    "0.03.0",
    Some(
        "spec.targets[0].endpoint.agent.minVersion is 0.03.0, which is no version of Semantic Versioning (invalid leading zero in minor version number); write one such as 0.3.0"
    )
)]
fn a_version_can_be_compared(#[case] least: &str, #[case] expected: Option<&str>) {
    let compiled = on_hosts(&json!({"admin": {}, "agent": {"minVersion": least}}));
    assert_eq!(compiled.err().map(|error| error.message).as_deref(), expected);
}

#[rstest]
#[case::an_application(json!({"applications": [{"name": "dump", "path": "/usr/bin/dump"}]}), true)]
#[case::an_account(json!({"accounts": [{"action": "Enable"}]}), true)]
#[case::a_requirement_alone(json!({"agent": {"minVersion": "0.3.0"}}), false)]
fn an_entry_offers_something(#[case] entry: Value, #[case] expected: bool) {
    assert_eq!(on_hosts(&entry).is_ok(), expected);
}
