//! Who is within reach, and who climbs.

use std::sync::Arc;

use k8s_openapi::api::rbac::v1::Subject;
use rstest::rstest;

use super::built_in::{cluster_admin, edit, view};
use super::*;
use lapse_crds::EVERY_ACCOUNT;

use crate::rules::testing::rule;
use crate::testing::cluster_role;

fn account(namespace: &str, name: &str, roles: Vec<BoundRole>) -> ServiceAccount {
    let roles = roles.into_iter().map(Arc::new).collect();
    ServiceAccount { namespace: namespace.into(), name: name.into(), roles }
}

fn bound(name: &str, rules: &[PolicyRule], reach: &Reach) -> BoundRole {
    BoundRole::new(cluster_role(name), rules, reach)
}

fn reached(rules: &[PolicyRule], accounts: &[ServiceAccount]) -> WithinReach {
    within_reach(&risk_of(rules, &within("shop", "")), accounts)
}

fn of_shop() -> [ServiceAccount; 3] {
    [
        account("shop", "web", vec![]),
        account("shop", "default", vec![]),
        account("bank", "web", vec![]),
    ]
}

#[rstest]
#[case(rule("create", "", "pods", ""), &["default", "web"])]
#[case(rule("create", "batch", "jobs", ""), &["default", "web"])]
#[case(rule("create", "", "pods/exec", "some-pod"), &["default", "web"])]
#[case(rule("create", "", "secrets", ""), &["default", "web"])]
#[case(rule("create", "", "serviceaccounts/token", ""), &["default", "web"])]
#[case(rule("create", "", "serviceaccounts/token", "web"), &["web"])]
#[case(rule("impersonate", "", "serviceaccounts", "web"), &["web"])]
#[case(rule("get", "", "secrets", ""), &[])]
#[case(rule("create", "", "pods/portforward", ""), &[])]
#[case(rule("*", "*", "*", ""), &["default", "web"])]
fn reaches_the_accounts_of_the_target(#[case] rule: PolicyRule, #[case] expected: &[&str]) {
    let reached = reached(&[rule], &of_shop());
    let expected = expected.iter().map(|name| ("shop".to_owned(), (*name).to_owned()));
    assert_eq!(reached.accounts, expected.collect());
    assert_eq!(reached.climbers, []);
}

#[rstest]
#[case::anywhere(bound("cluster-admin", &cluster_admin(), &within("bank", "")), true)]
#[case::wide_in_the_cluster(bound("edit", &edit(), &Reach::Cluster), true)]
#[case::wide_in_a_protected_namespace(bound("edit", &edit(), &within("", "kube-system")), true)]
#[case::wide_in_a_namespace(bound("edit", &edit(), &within("shop", "")), false)]
#[case::harmless(bound("view", &view(), &Reach::Cluster), false)]
fn refuses_accounts_that_climb(#[case] role: BoundRole, #[case] climbs: bool) {
    let accounts = [account("shop", "web", vec![bound("view", &view(), &Reach::Cluster), role])];
    let reached = reached(&edit(), &accounts);
    assert_eq!(reached.climbers.len(), usize::from(climbs));
    assert_eq!(reached.refusal().is_some(), climbs);
}

#[test]
fn who_climbs_out_of_reach_does_not_matter() {
    let deployer = bound("cluster-admin", &cluster_admin(), &Reach::Cluster);
    let accounts = [account("bank", "deployer", vec![deployer])];
    assert_eq!(reached(&edit(), &accounts), WithinReach::default());
    assert_eq!(reached(&view(), &accounts).warning(), None);
    assert_eq!(reached(&view(), &accounts).brief(), None);
}

#[test]
fn says_who_is_within_reach_and_why_that_is_refused() {
    let deployer = || vec![bound("edit", &edit(), &Reach::Cluster)];
    let mut accounts = of_shop().to_vec();
    accounts.push(account("shop", "deployer", deployer()));
    let one = reached(&edit(), &accounts);
    insta::assert_snapshot!(one.refusal().unwrap(), @"With this role, its holder can act as service account shop/deployer, which holds ClusterRole edit in the whole cluster, and so can read secrets (get, list, watch secrets): list and watch show what is in them as well as get, tokens and passwords included. Request a role without permission to create workloads, run commands, get tokens or impersonate there, or request under a policy with allowEscalation.");
    insta::assert_snapshot!(one.warning().unwrap(), @"Its holder can act as the service accounts shop/deployer, shop/default, shop/web.");
    accounts.push(account("shop", "builder", deployer()));
    accounts.reverse();
    let two = reached(&edit(), &accounts);
    assert_eq!(two.climbers[0].name, "builder");
    assert!(two.refusal().unwrap().contains(" So do 1 more within reach."));
    insta::assert_snapshot!(two.brief().unwrap(), @"It can act as service accounts shop/builder, shop/deployer, shop/default, shop/web.");
}

#[test]
fn many_accounts_are_counted() {
    let accounts: Vec<ServiceAccount> =
        (0..40).map(|n| account("shop", &format!("a-service-account-{n:02}"), vec![])).collect();
    let reached = reached(&edit(), &accounts);
    insta::assert_snapshot!(reached.warning().unwrap(), @"Its holder can act as the service accounts shop/a-service-account-00, shop/a-service-account-01, shop/a-service-account-02, shop/a-service-account-03, shop/a-service-account-04, shop/a-service-account-05, shop/a-service-account-06, shop/a-service-account-07, shop/a-service-account-08, shop/a-service-account-09 and 30 more.");
    let brief = reached.brief().unwrap();
    assert!(brief.chars().count() <= 256 && brief.ends_with("more."), "{brief}");
}

#[test]
fn a_name_that_is_longer_than_a_warning_is_cut() {
    let account = account("shop", &"a".repeat(253), vec![]);
    let brief = reached(&edit(), &[account]).brief().unwrap();
    assert!(brief.chars().count() == 256 && brief.ends_with('…'), "{brief}");
}

#[rstest]
#[case("ServiceAccount", "web", Some("shop"), None, true)]
#[case("ServiceAccount", "web", None, Some("shop"), true)]
#[case("ServiceAccount", "web", Some(""), Some("shop"), true)]
#[case("ServiceAccount", "web", Some("bank"), Some("shop"), false)]
#[case("ServiceAccount", "web", None, None, false)]
#[case("ServiceAccount", "api", Some("shop"), None, false)]
#[case("User", "system:serviceaccount:shop:web", None, None, true)]
#[case("User", "web", None, None, false)]
#[case("Group", "system:serviceaccounts", None, None, true)]
#[case("Group", "system:serviceaccounts:shop", None, None, true)]
#[case("Group", "system:serviceaccounts:bank", None, None, false)]
#[case("Group", "system:authenticated", None, None, true)]
#[case("Group", "system:masters", None, None, false)]
fn bindings_hold_for_an_account(
    #[case] kind: &str,
    #[case] name: &str,
    #[case] namespace: Option<&str>,
    #[case] binding_namespace: Option<&str>,
    #[case] expected: bool,
) {
    let subject = Subject {
        kind: kind.into(),
        name: name.into(),
        namespace: namespace.map(ToOwned::to_owned),
        api_group: None,
    };
    assert_eq!(is_bound(&subject, binding_namespace, ("shop", "web")), expected);
    // Somebody who is no account, and groups in which none is.
    let is_of_none = kind != "ServiceAccount" && ["web", "system:masters"].contains(&name);
    assert_eq!(may_be_bound(&subject), !is_of_none);
}

#[rstest]
#[case::everything(cluster_admin(), &["*"])]
#[case::the_built_in_edit(edit(), &["*"])]
#[case::the_built_in_view(view(), &[])]
#[case::two(vec![rule("impersonate", "", "serviceaccounts", "web bot")], &["bot", "web"])]
#[case::constrained(vec![rule("impersonate:serviceaccount", "authentication.k8s.io", "serviceaccounts", "web")], &["web"])]
#[case::one_and_all(
    vec![rule("impersonate", "", "serviceaccounts", "web"), rule("impersonate", "", "serviceaccounts", "")],
    &["*"]
)]
#[case::people(vec![rule("impersonate", "", "users", "")], &[])]
#[case::its_token_shows(vec![rule("create", "", "serviceaccounts/token", "")], &[])]
#[case::its_workloads_show(vec![rule("create", "", "pods", "")], &[])]
fn whom_a_role_lets_its_holder_impersonate(
    #[case] rules: Vec<PolicyRule>,
    #[case] expected: &[&str],
) {
    assert_eq!(impersonated([("", &*rules)]), expected);
}

#[test]
fn of_many_names_a_grant_says_that_they_are_all() {
    let names: Vec<String> = (0..17).map(|number| format!("bot-{number}")).collect();
    let rules = [rule("impersonate", "", "serviceaccounts", &names.join(" "))];
    assert_eq!(impersonated([("", &rules[..])]), [EVERY_ACCOUNT]);
}
