//! What is wrong with a rule that a person wrote.

use k8s_openapi::api::rbac::v1::PolicyRule;

use super::{ALL, groups, names, resources, urls};

/// What is wrong with a rule, naming its field.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field}{problem}")]
pub struct InvalidRule {
    /// The field, as a path from the top of the object.
    pub field: String,
    /// What is wrong with it and what to do, in words that follow the field.
    problem: String,
}

/// What is wrong with one value of a list, if anything is.
type ProblemOf = fn(&str) -> Option<&'static str>;

/// Checks a rule that a person wrote; `field` is where, such as `spec.target.kubernetes.rules[0]`,
/// and `namespaced` says that the rule holds in namespaces and not in the whole cluster.
///
/// Refuses what the API server refuses for a role
/// (<https://kubernetes.io/docs/reference/kubernetes-api/authorization-resources/role-v1/>), so that it
/// is told before anybody approves it; and what the API server takes but never matches, because its
/// author meant something else by it.
pub fn valid(rule: &PolicyRule, field: &str, namespaced: bool) -> Result<(), InvalidRule> {
    let wrong = |list: &str, problem: String| {
        Err(InvalidRule { field: format!("{field}.{list}"), problem })
    };
    if rule.verbs.is_empty() {
        return wrong("verbs", " is empty; name at least one verb".to_owned());
    }
    if urls(rule).is_empty() {
        if groups(rule).is_empty() {
            let problem = " is empty; name at least one group (\"\" is the core group)".to_owned();
            return wrong("apiGroups", problem);
        }
        if resources(rule).is_empty() {
            return wrong("resources", " is empty; name at least one resource".to_owned());
        }
    } else if namespaced {
        let problem =
            " apply to the whole cluster only; request clusterWide, or remove them".to_owned();
        return wrong("nonResourceURLs", problem);
    } else if !(groups(rule).is_empty() && resources(rule).is_empty() && names(rule).is_empty()) {
        let problem = " cannot stand beside apiGroups, resources or resourceNames; make two rules";
        return wrong("nonResourceURLs", problem.to_owned());
    }
    let values: [(&str, &[String], ProblemOf); 5] = [
        ("verbs", &rule.verbs, wrong_word),
        ("apiGroups", groups(rule), wrong_group),
        ("resources", resources(rule), wrong_resource),
        ("resourceNames", names(rule), wrong_name),
        ("nonResourceURLs", urls(rule), wrong_url),
    ];
    for (list, values, problem_of) in values {
        for (index, value) in values.iter().enumerate() {
            if let Some(problem) = problem_of(value) {
                return wrong(&format!("{list}[{index}]"), format!(": {value:?} {problem}"));
            }
        }
    }
    Ok(())
}

fn wrong_word(value: &str) -> Option<&'static str> {
    match value {
        "" => Some("matches nothing; remove it"),
        _ => wrong_group(value),
    }
}

/// The core group is the empty string, so that is right for a group and wrong elsewhere.
fn wrong_group(value: &str) -> Option<&'static str> {
    (value != ALL && value.contains('*')).then_some(
        "matches nothing, because * stands alone here; spell out what is meant, or use *",
    )
}

fn wrong_resource(value: &str) -> Option<&'static str> {
    match value.split_once('/') {
        Some(("", _) | (_, "")) => Some("matches nothing; write resource/subresource"),
        Some((resource, subresource)) if subresource.contains('*') => Some(if resource == ALL {
            "matches nothing; write * for every resource and subresource"
        } else {
            "matches nothing; name the subresources one by one"
        }),
        Some((ALL, _)) => None,
        _ => wrong_word(value),
    }
}

/// In RBAC the empty name matches requests that carry none, such as a list of all objects: a rule
/// that looks limited would not be.
fn wrong_name(value: &str) -> Option<&'static str> {
    match value {
        "" => Some("would match requests for all names; leave resourceNames out to mean that"),
        _ if value.contains('*') => Some(
            "matches nothing, because names have no wildcards; name each, or leave resourceNames out",
        ),
        _ => None,
    }
}

fn wrong_url(value: &str) -> Option<&'static str> {
    let path = value.strip_suffix('*').unwrap_or(value);
    if value == ALL {
        None
    } else if !path.starts_with('/') {
        Some("is not a path; begin with /, or use * for all")
    } else if path.contains('*') {
        Some("matches nothing, because * stands at the end only")
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;
    use crate::rules::testing::{rule, url_rule};

    const FIELD: &str = "spec.target.kubernetes.rules[0]";

    fn both() -> PolicyRule {
        PolicyRule { non_resource_urls: Some(vec!["/api".into()]), ..rule("get", "", "pods", "") }
    }

    #[rstest]
    #[case(rule("get list", "", "pods pods/log", "web"))]
    #[case(rule("*", "*", "*", ""))]
    #[case(rule("patch", "apps", "*/scale", ""))]
    #[case(url_rule("get", "/healthz /api/* *"))]
    fn takes_what_matches_something(#[case] rule: PolicyRule) {
        assert_eq!(valid(&rule, FIELD, false), Ok(()));
    }

    #[rstest]
    #[case(rule("", "", "pods", ""), ".verbs is empty; name at least one verb")]
    #[case(PolicyRule { api_groups: None, ..rule("get", "", "pods", "") }, ".apiGroups is empty; name at least one group (\"\" is the core group)")]
    #[case(rule("get", "", "", ""), ".resources is empty; name at least one resource")]
    #[case(
        both(),
        ".nonResourceURLs cannot stand beside apiGroups, resources or resourceNames; make two rules"
    )]
    #[case(PolicyRule { verbs: vec![String::new()], ..rule("get", "", "pods", "") }, ".verbs[0]: \"\" matches nothing; remove it")]
    #[case(
        rule("get g*", "", "pods", ""),
        ".verbs[1]: \"g*\" matches nothing, because * stands alone here; spell out what is meant, or use *"
    )]
    #[case(
        rule("get", "*.io", "pods", ""),
        ".apiGroups[0]: \"*.io\" matches nothing, because * stands alone here; spell out what is meant, or use *"
    )]
    #[case(
        rule("get", "", "pod*", ""),
        ".resources[0]: \"pod*\" matches nothing, because * stands alone here; spell out what is meant, or use *"
    )]
    #[case(
        rule("get", "", "pods/*", ""),
        ".resources[0]: \"pods/*\" matches nothing; name the subresources one by one"
    )]
    #[case(
        rule("get", "", "*/*", ""),
        ".resources[0]: \"*/*\" matches nothing; write * for every resource and subresource"
    )]
    #[case(
        rule("get", "", "pods/", ""),
        ".resources[0]: \"pods/\" matches nothing; write resource/subresource"
    )]
    #[case(
        rule("get", "", "pods", "web-*"),
        ".resourceNames[0]: \"web-*\" matches nothing, because names have no wildcards; name each, or leave resourceNames out"
    )]
    #[case(PolicyRule { resource_names: Some(vec![String::new()]), ..rule("get", "", "pods", "") }, ".resourceNames[0]: \"\" would match requests for all names; leave resourceNames out to mean that")]
    #[case(
        url_rule("get", "healthz"),
        ".nonResourceURLs[0]: \"healthz\" is not a path; begin with /, or use * for all"
    )]
    #[case(
        url_rule("get", "/a*/b"),
        ".nonResourceURLs[0]: \"/a*/b\" matches nothing, because * stands at the end only"
    )]
    fn says_what_is_wrong_and_where(#[case] rule: PolicyRule, #[case] expected: &str) {
        let error = valid(&rule, FIELD, false).unwrap_err();
        assert_eq!(error.to_string(), format!("{FIELD}{expected}"));
    }

    #[test]
    fn urls_hold_in_the_whole_cluster_only() {
        let error = valid(&url_rule("get", "/metrics"), FIELD, true).unwrap_err();
        insta::assert_snapshot!(error, @"spec.target.kubernetes.rules[0].nonResourceURLs apply to the whole cluster only; request clusterWide, or remove them");
    }
}
