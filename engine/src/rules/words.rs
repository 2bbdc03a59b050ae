//! Rules in words.

use lapse_crds::RoleRule;

use super::{ALL, resource_in_words, verb_in_words};
use crate::words::few;

/// How many rules are told; the others are counted.
const TOLD: usize = 3;
/// How many values of a list are told.
const VALUES: usize = 5;

/// What rules allow, in words: `get, list configmaps; get pods/log`.
pub(crate) fn in_words(rules: &[RoleRule]) -> String {
    let told: Vec<String> = rules.iter().take(TOLD).map(rule_in_words).collect();
    let told = told.join("; ");
    match rules.len().saturating_sub(TOLD) {
        0 => told,
        1 => format!("{told}; and 1 more rule"),
        more => format!("{told}; and {more} more rules"),
    }
}

fn rule_in_words(rule: &RoleRule) -> String {
    let RoleRule { api_groups, resources, resource_names, non_resource_urls, verbs } = rule;
    let verbs = few(verbs.iter().map(|verb| verb_in_words(verb)), VALUES);
    let of_group = |group: &String| {
        let resources = resources.iter().map(|resource| resource_in_words(group, resource));
        resources.collect::<Vec<String>>()
    };
    let mut what: Vec<String> = api_groups.iter().flat_map(of_group).collect();
    what.extend(non_resource_urls.iter().map(|url| match url.as_str() {
        ALL => "any URL".to_owned(),
        _ => format!("URL {url}"),
    }));
    let what = few(what.iter().map(String::as_str), VALUES);
    let names = match resource_names.as_slice() {
        [] => String::new(),
        names => format!(" named {}", few(names.iter().map(String::as_str), VALUES)),
    };
    format!("{verbs} {what}{names}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::testing::{rule, url_rule};

    #[test]
    fn the_first_are_told_and_the_others_counted() {
        let rules: Vec<RoleRule> = [
            rule("get patch", "", "configmaps", "coredns"),
            rule("get", "apps", "deployments deployments/scale", ""),
            url_rule("get", "/healthz"),
            rule("*", "*", "*", ""),
        ]
        .map(RoleRule::from)
        .to_vec();
        insta::assert_snapshot!(in_words(&rules[..3]), @"get, patch configmaps named coredns; get deployments.apps, deployments.apps/scale; get URL /healthz");
        insta::assert_snapshot!(in_words(&rules), @"get, patch configmaps named coredns; get deployments.apps, deployments.apps/scale; get URL /healthz; and 1 more rule");
        let five = [&rules[..], &rules[..1]].concat();
        insta::assert_snapshot!(in_words(&five), @"get, patch configmaps named coredns; get deployments.apps, deployments.apps/scale; get URL /healthz; and 2 more rules");
        insta::assert_snapshot!(in_words(&rules[3..]), @"any verb on any resource of any group");
    }
}
