//! Rules of roles: `{"one": [rule…], "other": [rule…]}`.

use k8s_openapi::api::rbac::v1::PolicyRule;
use lapse_engine::rules::{Uncovered, compact, covers, gained, overlaps, valid};
use serde::Deserialize;

#[derive(Deserialize)]
struct Two {
    one: Vec<PolicyRule>,
    other: Vec<PolicyRule>,
}

/// Too large to say is neither yes nor no.
fn covered(owner: &[PolicyRule], asked: &[PolicyRule]) -> Option<bool> {
    match covers(owner, asked) {
        Ok(()) => Some(true),
        Err(Uncovered::TooLarge) => None,
        Err(_) => Some(false),
    }
}

fn check(bytes: &[u8]) {
    let Ok(Two { one, other }) = serde_json::from_slice(bytes) else { return };
    for namespaced in [true, false] {
        for rule in &one {
            if let Err(error) = valid(rule, "rules[0]", namespaced) {
                assert!(error.to_string().starts_with("rules[0]."), "{error}");
            }
        }
    }
    for rules in [&one, &other] {
        assert_ne!(covered(rules, rules), Some(false), "a role covers itself");
        let short = compact(rules);
        assert_eq!(compact(&short), short, "what is compact stays as it is");
        assert_ne!(covered(rules, &short), Some(false), "compact adds nothing");
        assert_ne!(covered(&short, rules), Some(false), "compact leaves nothing out");
    }
    assert_eq!(overlaps(&one, &other), overlaps(&other, &one));
    let both: Vec<_> = one.iter().chain(&other).cloned().collect();
    assert_ne!(covered(&both, &one), Some(false), "more rules cover more");
    let more = gained(&one, &both);
    if let Some(covered) = covered(&one, &both) {
        assert_eq!(more.is_empty(), covered, "gained is what is not covered");
    }
    assert!(gained(&both, &one).total == 0);
}

#[test]
fn rules() {
    lapse_fuzz::fuzz!("rules", check);
}
