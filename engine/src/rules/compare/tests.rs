//! Every wildcard against every other, and the laws.

use std::slice::from_ref;

use proptest::prelude::*;
use rstest::rstest;

use super::*;
use crate::rules::testing::{allows, any_rules, points, rule, url_rule};

/// Values of one list, and which of them each allows.
const RESOURCES: [(&str, &[&str]); 6] = [
    ("*", &["*", "pods", "pods/log", "*/log", "nodes", "nodes/log"]),
    ("pods", &["pods"]),
    ("pods/log", &["pods/log"]),
    ("*/log", &["*/log", "pods/log", "nodes/log"]),
    ("nodes", &["nodes"]),
    ("nodes/log", &["nodes/log"]),
];
const URLS: [(&str, &[&str]); 6] = [
    ("*", &["*", "/*", "/api", "/api/*", "/api/v1", "/ap*"]),
    ("/*", &["/*", "/api", "/api/*", "/api/v1", "/ap*"]),
    ("/api", &["/api"]),
    ("/api/*", &["/api/*", "/api/v1"]),
    ("/api/v1", &["/api/v1"]),
    ("/ap*", &["/ap*", "/api", "/api/*", "/api/v1"]),
];
const WORDS: [(&str, &[&str]); 3] =
    [("*", &["*", "get", "list"]), ("get", &["get"]), ("list", &["list"])];

#[rstest]
#[case::verbs(&WORDS, |value: &str| rule(value, "", "pods", ""))]
#[case::groups(&WORDS, |value: &str| rule("get", value, "pods", ""))]
#[case::resources(&RESOURCES, |value: &str| rule("get", "", value, ""))]
#[case::urls(&URLS, |value: &str| url_rule("get", value))]
#[case::url_verbs(&WORDS, |value: &str| url_rule(value, "/api"))]
fn wildcards_allow_what_they_stand_for(
    #[case] table: &[(&str, &[&str])],
    #[case] make: fn(&str) -> PolicyRule,
) {
    for (owner, allowed) in table {
        for (asked, _) in table {
            let result = covers(&[make(owner)], &[make(asked)]);
            assert_eq!(result.is_ok(), allowed.contains(asked), "{owner} covers {asked}");
        }
    }
}

#[rstest]
#[case("", "", true)]
#[case("", "a", true)]
#[case("a", "", false)]
#[case("a b", "a", true)]
#[case("a", "a b", false)]
#[case("*", "a", false)]
fn names_limit_a_rule(#[case] owner: &str, #[case] asked: &str, #[case] expected: bool) {
    let named = |names| [rule("get", "", "secrets", names)];
    assert_eq!(covers(&named(owner), &named(asked)).is_ok(), expected);
}

#[test]
fn several_rules_may_cover_one() {
    let owner = [rule("get", "", "pods nodes", ""), rule("list", "", "pods", "")];
    assert_eq!(covers(&owner, &[rule("get list", "", "pods", "")]), Ok(()));
    let error = covers(&owner, &[rule("get list", "", "pods nodes", "")]).unwrap_err();
    insta::assert_snapshot!(error, @"list nodes is not among what is allowed");
}

#[test]
fn a_rule_with_names_allows_no_url() {
    let mut owner = url_rule("get", "*");
    owner.resource_names = Some(vec!["a".into()]);
    assert!(covers(&[owner], &[url_rule("get", "/api")]).is_err());
}

#[rstest]
#[case(vec![], "nothing")]
#[case(vec![rule("get", "", "secrets", "")], "get secrets")]
#[case(vec![rule("get", "", "secrets", "db tls")], "get secrets named db and get secrets named tls")]
#[case(vec![rule("get list create delete", "", "pods", "")], "create pods and delete pods")]
#[case(
    vec![rule("create delete patch", "apps", "deployments statefulsets", "")],
    "create deployments.apps, delete deployments.apps, patch deployments.apps and 3 more"
)]
#[case(vec![rule("get", "", "secrets", ""), rule("get", "", "secrets", "")], "get secrets")]
#[case(vec![rule("get", "", "pods/log pods/log", ""), url_rule("get", "/metrics")], "get pods/log and get URL /metrics")]
fn says_what_a_role_has_gained(#[case] after: Vec<PolicyRule>, #[case] expected: &str) {
    let before = [rule("get list", "", "pods", "")];
    assert_eq!(gained(&before, &after).to_string(), expected);
}

#[test]
fn losing_rules_is_no_gain() {
    let before = [rule("*", "*", "*", "")];
    assert!(gained(&before, &[rule("get", "", "secrets", "")]).is_empty());
    assert!(gained(&before, &[]).is_empty());
}

/// Owner rules that each leave out one value of every list: no two values are allowed by the same
/// rules, which is the worst there is.
fn hostile(values: usize) -> (Vec<PolicyRule>, PolicyRule) {
    let all = |without: usize| {
        let others = (0..values).filter(|value| *value != without);
        others.map(|value| format!("v{value}")).collect::<Vec<_>>().join(" ")
    };
    let side = |without| rule(&all(without), &all(without), &all(without), &all(without));
    ((0..values).map(side).collect(), side(values))
}

#[test]
fn rules_that_are_made_to_be_slow_are_refused() {
    let (owner, asked) = hostile(64);
    let refused = covers(&owner, from_ref(&asked)).unwrap_err();
    assert_eq!(refused, Uncovered::TooLarge);
    insta::assert_snapshot!(refused, @"the rules are too large to be compared; write fewer, or with fewer values each");
    let gained = gained(&owner, &[asked]);
    assert!(!gained.is_empty());
    insta::assert_snapshot!(gained, @"perhaps something: the rules are too large to be compared");
}

#[test]
fn long_lists_are_no_trouble() {
    let values = |prefix: &str| {
        (0..64).map(|value| format!("{prefix}{value}")).collect::<Vec<_>>().join(" ")
    };
    let wide = rule(&values("v"), &values("g"), &values("r"), &values("n"));
    assert_eq!(covers(from_ref(&wide), from_ref(&wide)), Ok(()));
    assert_eq!(gained(&[], &[wide]).total, 64 * 64 * 64 * 64);
}

proptest! {
    #[test]
    fn agrees_with_brute_force(owner in any_rules(), asked in any_rules()) {
        let all = points().all(|point| !allows(&asked, &point) || allows(&owner, &point));
        prop_assert_eq!(covers(&owner, &asked).is_ok(), all);
    }

    #[test]
    fn rules_cover_themselves(rules in any_rules()) {
        prop_assert_eq!(covers(&rules, &rules), Ok(()));
    }

    #[test]
    fn more_rules_never_cover_less(a in any_rules(), b in any_rules(), c in any_rules()) {
        let more = [a.clone(), b].concat();
        if covers(&a, &c).is_ok() {
            prop_assert_eq!(covers(&more, &c), Ok(()));
        }
    }

    #[test]
    fn covering_is_transitive(a in any_rules(), b in any_rules(), c in any_rules()) {
        if covers(&a, &b).is_ok() && covers(&b, &c).is_ok() {
            prop_assert_eq!(covers(&a, &c), Ok(()));
        }
    }

    #[test]
    fn nothing_is_gained_exactly_when_covered(before in any_rules(), after in any_rules()) {
        let gained = gained(&before, &after);
        prop_assert_eq!(gained.is_empty(), covers(&before, &after).is_ok());
        prop_assert_eq!(gained.listed.is_empty(), gained.is_empty());
    }

    /// Whoever is given exactly what is said to be missing lacks it no longer.
    #[test]
    fn what_is_missing_is_asked_for_and_not_held(owner in any_rules(), asked in any_rules()) {
        if let Err(Uncovered::Missing(right)) = covers(&owner, &asked) {
            let single = match right {
                Right::Resource { verb, group, resource, name } => {
                    rule(&verb, &group, &resource, &name.unwrap_or_default())
                }
                Right::Url { verb, path } => url_rule(&verb, &path),
            };
            let single = [single];
            prop_assert!(covers(&owner, &single).is_err());
            prop_assert_eq!(covers(&asked, &single), Ok(()));
        }
    }
}
