use std::collections::BTreeSet;

use lapse_crds::RoleRef;
use lapse_engine::{ControllerSettings, InstallationBounds};

use super::*;

fn settings() -> Settings {
    Settings {
        namespace: "lapse-system".into(),
        bindable_roles: Vec::new(),
        grantable_rules: Vec::new(),
        allow_cluster_wide: false,
        protected_namespaces: Vec::new(),
        duration: InstallationBounds { min: "5m".parse().unwrap(), max: "24h".parse().unwrap() },
        controller: ControllerSettings {
            service_account: "lapse-controller".into(),
            ends_workloads: false,
        },
        has_gateway: false,
        host_requests: None,
    }
}

fn has(settings: &Settings, verb: &str, resource: &str) -> bool {
    let all = accesses(Component::Controller, settings);
    all.iter().any(|(access, _)| access.verb == verb && access.resource == resource)
}

#[test]
fn each_right_stands_once() {
    let role = |kind| RoleRef { kind, name: "edit".into() };
    let bindable_roles = vec![role(RoleKind::ClusterRole), role(RoleKind::Role)];
    let settings = Settings { bindable_roles, allow_cluster_wide: true, ..settings() };
    for component in Component::ALL {
        let all = accesses(component, &settings);
        let different: BTreeSet<_> = all.iter().map(|(access, _)| access).collect();
        assert_eq!(different.len(), all.len(), "{component:?}");
    }
}

#[test]
fn settings_say_what_else_is_needed() {
    let none = settings();
    assert!(!has(&none, "bind", "clusterroles"), "no names must not mean all names");
    assert!(!has(&none, "create", "clusterrolebindings") && !has(&none, "create", "roles"));
    let wide = Settings { allow_cluster_wide: true, ..settings() };
    assert!(has(&wide, "create", "clusterrolebindings") && !has(&wide, "create", "clusterroles"));
    let grantable_rules = vec![lapse_crds::RoleRule::default()];
    let rules = Settings { grantable_rules: grantable_rules.clone(), ..settings() };
    assert!(has(&rules, "create", "roles") && !has(&rules, "create", "clusterroles"));
    let both = Settings { grantable_rules, ..wide };
    assert!(has(&both, "create", "clusterroles"));
}

#[test]
fn requests_of_hosts_are_carried_to_one_namespace_and_only_if_that_is_wanted() {
    let of_gateway = |settings: &Settings| -> Vec<String> {
        let all = accesses(Component::Gateway, settings).into_iter();
        let created = all.filter(|(access, _)| access.verb == "create");
        created.map(|(access, _)| access.to_string()).collect()
    };
    let without = Settings { has_gateway: true, ..settings() };
    assert_eq!(of_gateway(&without), [""; 0]);
    let with = Settings { host_requests: Some("ops".into()), ..without };
    assert_eq!(
        of_gateway(&with),
        ["create accessrequests.lapse.dev in ops", "create accessdecisions.lapse.dev in ops"]
    );
    assert_eq!(of_gateway(&Settings { has_gateway: false, ..with }), [""; 0]);
}

#[test]
fn what_is_confined_does_not_allow_what_is_not() {
    let everywhere = Access {
        namespace: None,
        group: String::new(),
        resource: "secrets".into(),
        verb: "get".into(),
        name: None,
    };
    let here = Access { namespace: Some("lapse-system".into()), ..everywhere.clone() };
    let one = Access { name: Some("keys".into()), ..here.clone() };
    assert!(everywhere.allows(&here) && here.allows(&one) && one.allows(&one));
    assert!(!here.allows(&everywhere) && !one.allows(&here));
    let other = Access { resource: "secrets/status".into(), ..one.clone() };
    assert!(!everywhere.allows(&other));
    assert_eq!(one.to_string(), "get secrets named keys in lapse-system");
    assert_eq!(
        Access { group: "x.io".into(), ..everywhere }.to_string(),
        "get secrets.x.io everywhere"
    );
}

#[test]
fn a_row_says_what_where_and_why() {
    let needs = needs(Component::Controller);
    let bind = needs.iter().find(|need| need.verbs == ["bind"]).unwrap();
    insta::assert_snapshot!(bind.row(), @"| bind on `clusterroles` of `rbac.authorization.k8s.io` (ClusterRoles of `controller.bindableRoles`) | the cluster | to give roles that it does not hold itself |");
    insta::assert_snapshot!(needs.last().unwrap().row(), @"| list, watch on `configmaps` named `lapse-attestation-keys` | its own namespace | the public keys by which it knows what the webhook has signed |");
}
