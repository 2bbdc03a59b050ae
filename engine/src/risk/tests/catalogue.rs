//! Each entry has a rule that triggers it and a near miss that does not.

use std::slice::from_ref;

use kube::Resource;
use lapse_crds::{AccessDecision, AccessRequest, Grant, JitPolicy};

use super::*;
use crate::risk::catalogue::{EVERYTHING, IMPERSONATING_ACCOUNTS};
use crate::rules::testing::{rule, url_rule};
use crate::target::Scope;
use crate::testing::settings;

/// Verbs, groups and resources.
type Parts = (&'static str, &'static str, &'static str);

/// For each entry, what triggers it alone, and what comes close and triggers nothing.
const CASES: &[(&str, &[Parts], &[Parts])] = &[
    (
        "write roles and bindings",
        &[
            ("create", "rbac.authorization.k8s.io", "rolebindings"),
            ("patch", "rbac.authorization.k8s.io", "clusterroles"),
            ("deletecollection", "*", "roles"),
        ],
        &[
            ("get list watch", "rbac.authorization.k8s.io", "*"),
            ("create", "example.com", "rolebindings"),
        ],
    ),
    (
        "escalate or bind roles",
        &[("escalate", "rbac.authorization.k8s.io", "roles"), ("bind", "*", "clusterroles")],
        &[("bind", "rbac.authorization.k8s.io", "rolebindings")],
    ),
    (
        "impersonate people and nodes",
        &[
            ("impersonate", "", "users"),
            ("impersonate", "", "groups"),
            ("impersonate", "authentication.k8s.io", "uids"),
            ("impersonate", "authentication.k8s.io", "userextras/scopes"),
            ("impersonate", "authentication.k8s.io", "*/scopes"),
            ("impersonate:user-info", "authentication.k8s.io", "users"),
            ("impersonate:arbitrary-node", "authentication.k8s.io", "nodes"),
        ],
        &[
            ("impersonate", "example.com", "users"),
            ("get", "authentication.k8s.io", "userextras/scopes"),
            ("impersonate-on:user-info:get", "", "pods"),
        ],
    ),
    (
        "approve certificates",
        &[
            ("update", "certificates.k8s.io", "certificatesigningrequests/approval"),
            ("patch", "certificates.k8s.io", "certificatesigningrequests/status"),
            ("approve", "certificates.k8s.io", "signers"),
            ("sign", "certificates.k8s.io", "signers"),
            ("create", "certificates.k8s.io", "certificatesigningrequests/nodeclient"),
            ("update", "certificates.k8s.io", "*/approval"),
        ],
        &[
            ("create get", "certificates.k8s.io", "certificatesigningrequests"),
            ("get", "certificates.k8s.io", "certificatesigningrequests/approval"),
        ],
    ),
    (
        "control admission",
        &[
            ("create", "admissionregistration.k8s.io", "validatingwebhookconfigurations"),
            ("patch", "admissionregistration.k8s.io", "mutatingwebhookconfigurations"),
            ("delete", "admissionregistration.k8s.io", "validatingadmissionpolicies"),
            ("delete", "admissionregistration.k8s.io", "validatingadmissionpolicybindings"),
            ("update", "admissionregistration.k8s.io", "mutatingadmissionpolicies"),
            ("update", "admissionregistration.k8s.io", "mutatingadmissionpolicybindings"),
        ],
        &[("get list watch", "admissionregistration.k8s.io", "*")],
    ),
    (
        "define APIs",
        &[
            ("patch", "apiextensions.k8s.io", "customresourcedefinitions"),
            ("create", "apiregistration.k8s.io", "apiservices"),
        ],
        &[("get", "apiextensions.k8s.io", "customresourcedefinitions")],
    ),
    (
        "reach the kubelets",
        &[
            ("get", "", "nodes/proxy"),
            ("create", "", "*/proxy nodes/proxy"),
            ("watch", "*", "nodes/proxy"),
        ],
        &[("get", "", "nodes nodes/metrics nodes/stats nodes/log")],
    ),
    (
        "write the objects of Lapse",
        &[
            ("create", "lapse.dev", "jitpolicies"),
            ("create", "lapse.dev", "accessdecisions"),
            ("patch", "lapse.dev", "grants/status"),
            ("approve", "lapse.dev", "jitpolicies"),
        ],
        &[
            ("get list watch", "lapse.dev", "*"),
            ("deny", "lapse.dev", "jitpolicies"),
            ("create", "", "endpoints"),
        ],
    ),
    (
        "write persistent volumes",
        &[("create", "", "persistentvolumes"), ("patch", "*", "persistentvolumes")],
        &[("create", "", "persistentvolumeclaims"), ("delete", "", "persistentvolumes")],
    ),
    (
        "relabel namespaces",
        &[
            ("patch", "", "namespaces"),
            ("update", "", "namespaces/status"),
            ("create", "", "namespaces"),
        ],
        &[("get delete", "", "namespaces")],
    ),
    (
        "change nodes",
        &[("patch", "", "nodes"), ("update", "", "nodes/status")],
        &[("get list delete", "", "nodes"), ("patch", "metrics.k8s.io", "nodes")],
    ),
    (
        "read secrets",
        &[("get", "", "secrets"), ("list", "*", "secrets"), ("watch", "", "*")],
        &[
            ("get list watch", "", "configmaps"),
            ("delete update", "", "secrets"),
            ("get", "example.com", "secrets"),
        ],
    ),
    (
        "get tokens through new secrets",
        &[("create", "", "secrets")],
        &[("update patch", "", "secrets"), ("create", "", "configmaps")],
    ),
    (
        "run workloads",
        &[
            ("create", "", "pods"),
            ("patch", "", "replicationcontrollers"),
            ("create", "apps", "deployments"),
            ("update", "apps", "daemonsets"),
            ("patch", "apps", "statefulsets"),
            ("create", "apps", "replicasets"),
            ("create", "batch", "jobs"),
            ("patch", "batch", "cronjobs"),
            ("create", "apps", "*"),
        ],
        &[
            ("delete get", "", "pods"),
            ("create", "", "pods/eviction podtemplates"),
            ("patch", "apps", "deployments/scale deployments/status"),
            ("create", "metrics.k8s.io", "pods"),
        ],
    ),
    (
        "run commands in pods",
        &[
            ("create", "", "pods/exec"),
            ("get", "", "pods/exec"),
            ("create", "", "pods/attach"),
            ("patch", "", "pods/ephemeralcontainers"),
            ("create", "", "*/exec"),
        ],
        &[("get", "", "pods pods/log pods/ephemeralcontainers"), ("delete", "", "pods/exec")],
    ),
    (
        "get tokens of service accounts",
        &[("create", "", "serviceaccounts/token"), ("create", "", "*/token")],
        &[("create", "", "serviceaccounts"), ("get", "", "serviceaccounts/token")],
    ),
    (
        "impersonate service accounts",
        &[
            ("impersonate", "", "serviceaccounts"),
            ("impersonate:serviceaccount", "authentication.k8s.io", "serviceaccounts"),
        ],
        &[("get", "", "serviceaccounts"), ("impersonate", "example.com", "serviceaccounts")],
    ),
    (
        "reach any port of pods",
        &[
            ("create", "", "pods/portforward"),
            ("get", "", "pods/proxy"),
            ("patch", "", "services/proxy"),
        ],
        &[("get", "", "pods services"), ("delete", "", "pods/portforward")],
    ),
];

fn all_titles(rules: &[PolicyRule]) -> Vec<&'static str> {
    titles(&risk_of(rules, &Reach::Cluster).refusals)
}

#[test]
fn every_entry_has_a_case() {
    let cases: Vec<&str> = CASES.iter().map(|(title, ..)| *title).collect();
    let entries: Vec<&str> = CATALOGUE.iter().map(|entry| entry.title).collect();
    assert_eq!(cases, entries);
}

#[test]
fn entries_match_what_they_are_about_and_nothing_near() {
    for (title, hits, misses) in CASES {
        for (verbs, groups, resources) in *hits {
            let rule = rule(verbs, groups, resources, "");
            assert!(all_titles(from_ref(&rule)).contains(title), "{title}: {rule:?}");
        }
        for (verbs, groups, resources) in *misses {
            let rule = rule(verbs, groups, resources, "");
            let found = all_titles(from_ref(&rule));
            assert!(!found.contains(title), "{title}: {rule:?}");
        }
    }
}

#[test]
fn severities_are_kept_in_an_ordinary_namespace() {
    for (title, hits, _) in CASES {
        let (verbs, groups, resources) = hits[0];
        let risk = risk_of(&[rule(verbs, groups, resources, "")], &within("shop", ""));
        let wide = CATALOGUE
            .iter()
            .any(|entry| entry.title == *title && entry.severity == Severity::EscalatingWide);
        assert_eq!(titles(&risk.warnings).contains(title), wide, "{title}");
        assert_eq!(titles(&risk.refusals).contains(title), !wide, "{title}");
    }
}

#[test]
fn every_entry_gives_a_reason_that_goes_on_and_a_public_source() {
    for entry in CATALOGUE.iter().chain([&EVERYTHING]) {
        assert!(!entry.reason.ends_with('.'), "{}", entry.title);
        let Source { page, address, section, anchor } = entry.source;
        assert!(address.starts_with("https://kubernetes.io/docs/") && address.ends_with('/'));
        assert!(!page.is_empty() && section.is_empty() == anchor.is_empty(), "{}", entry.title);
    }
}

#[test]
fn wildcards_hold_every_entry_of_their_group() {
    let core = all_titles(&[rule("*", "", "*", "")]);
    assert!(core.contains(&"read secrets") && core.contains(&"reach the kubelets"), "{core:?}");
    assert!(!core.contains(&"define APIs"), "{core:?}");
    assert_eq!(all_titles(&[rule("*", "*", "*", "one")]).len(), CATALOGUE.len());
    assert_eq!(all_titles(&[url_rule("*", "*")]), Vec::<&str>::new());
}

/// A kind that is added to the API must be added to the catalogue.
#[test]
fn every_kind_of_lapse_counts() {
    let kinds = [
        JitPolicy::plural(&()),
        AccessRequest::plural(&()),
        AccessDecision::plural(&()),
        Grant::plural(&()),
    ];
    for kind in kinds {
        let found = all_titles(&[rule("create", "lapse.dev", &kind, "")]);
        assert_eq!(found, ["write the objects of Lapse"], "{kind}");
    }
}

#[test]
fn names_are_told() {
    let risk = risk_of(&[rule("get", "", "secrets", "tls db")], &within("shop bank", ""));
    insta::assert_snapshot!(risk.warning().unwrap(), @"This role is powerful. In bank, shop it can read secrets (get secrets named db, tls): list and watch show what is in them as well as get, tokens and passwords included.");
}

#[test]
fn a_role_of_each_namespace_counts_where_it_stands() {
    let (secrets, pods) = ([rule("get", "", "secrets", "")], [rule("create", "", "pods", "")]);
    let lists = [("shop", &secrets[..]), ("bank", &pods[..]), ("kube-system", &secrets[..])];
    let risk = assess(lists, &within("shop bank", "kube-system"));
    let told = |findings: &[Finding]| {
        let line = |finding: &Finding| format!("{} in {}", finding.held, finding.place);
        findings.iter().map(line).collect::<Vec<_>>()
    };
    assert_eq!(told(&risk.refusals), ["get secrets in kube-system"]);
    assert_eq!(told(&risk.warnings), ["get secrets in shop", "create pods in bank"]);
    let again = assess([("shop", &secrets[..]), ("bank", &secrets[..])], &within("shop bank", ""));
    assert_eq!(told(&again.warnings), ["get secrets in bank, shop"]);
}

#[test]
fn the_reach_of_a_target_knows_what_is_protected() {
    let scope = Scope::Namespaces(names("shop kube-system lapse-system"));
    assert_eq!(Reach::of(&scope, &settings()), within("shop", "kube-system lapse-system"));
    assert_eq!(Reach::of(&Scope::Cluster, &settings()), Reach::Cluster);
}

#[test]
fn sources_can_be_followed() {
    let source = |title| CATALOGUE.iter().find(|entry| entry.title == title).unwrap().source;
    insta::assert_snapshot!(source("read secrets"), @"Role Based Access Control Good Practices: Listing secrets (https://kubernetes.io/docs/concepts/security/rbac-good-practices/#listing-secrets)");
    insta::assert_snapshot!(source("impersonate people and nodes"), @"User Impersonation (https://kubernetes.io/docs/reference/access-authn-authz/user-impersonation/)");
}

/// A role can hold thousands of names; what is told of it must fit into a status.
#[test]
fn long_roles_are_told_in_short() {
    let many: Vec<String> = (0..3000).map(|n| format!("name-{n:04}")).collect();
    let mut rules: Vec<PolicyRule> =
        many.iter().map(|name| rule("get", "", "secrets", name)).collect();
    rules.push(rule(&many.join(" "), "", "nodes/proxy", &many.join(" ")));
    rules.push(rule(&many.join(" "), "", "services/proxy", ""));
    let risk = risk_of(&rules, &Reach::Cluster);
    insta::assert_snapshot!(risk.refusal().unwrap(), @"This role allows privilege escalation. In the whole cluster it can reach the kubelets (name-0000, name-0001, name-0002, name-0003, name-0004 and 2995 more nodes/proxy named name-0000, name-0001, name-0002 and 2997 more): the kubelet runs commands in every pod of its node, past admission and the audit log, and get is enough; read secrets (get secrets named name-0000, secrets named name-0001, secrets named name-0002, secrets named name-0003, secrets named name-0004 and 2995 more): list and watch show what is in them as well as get, tokens and passwords included; reach any port of pods (name-0000, name-0001, name-0002, name-0003, name-0004 and 2995 more services/proxy): what is forwarded comes from the node or the API server, past network policies, to ports that ask for no password. Request a role without these permissions, or request under a policy with allowEscalation.");
}

#[test]
fn a_short_text_fits_into_a_warning() {
    let many: Vec<String> = (0..64).map(|n| format!("a-namespace-with-a-long-name-{n}")).collect();
    let core = [rule("*", "*", "*", "one")];
    for reach in [Reach::Cluster, within(&many.join(" "), ""), within(&many[..2].join(" "), "")] {
        let brief = risk_of(&core, &reach).brief().unwrap();
        assert!(brief.chars().count() <= 256, "{brief}");
    }
    insta::assert_snapshot!(risk_of(&core, &within(&many.join(" "), "")).brief().unwrap(), @"In 64 namespaces, this role can write roles and bindings, escalate or bind roles, impersonate people and nodes, approve certificates, control admission, define APIs, reach the kubelets, write the objects of Lapse, write persistent volumes and 9 more.");
}

/// What approvers and requesters read of each entry, and where it comes from.
#[test]
fn every_entry_says_why_and_who_says_so() {
    let entries = CATALOGUE.iter().chain([&EVERYTHING, &IMPERSONATING_ACCOUNTS]);
    let lines = entries.map(|entry| {
        let Entry { title, severity, reason, source, .. } = entry;
        format!("{severity:?}: can {title}: {reason}\n  {source}")
    });
    insta::assert_snapshot!(lines.collect::<Vec<_>>().join("\n"));
}
