//! The same rights in fewer rules.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::rbac::v1::PolicyRule;

use super::{ALL, groups, names, resources, url_allows, urls};

/// The lists of a rule, sorted.
type Lists = [BTreeSet<String>; 5];

const GROUPS: usize = 0;
const RESOURCES: usize = 1;
const NAMES: usize = 2;
const URLS: usize = 3;
const VERBS: usize = 4;

/// The same rights in fewer rules: lists sorted and without what a wildcard beside it allows, rules
/// that differ in one list only made one. The order of the rules and within them does not matter,
/// and the result of a result is itself.
///
/// An approval keeps this of the role that was approved, so that [`super::gained`] can tell later
/// whether the role has grown. The cost is that of sorting the rules.
#[must_use]
pub fn compact(rules: &[PolicyRule]) -> Vec<PolicyRule> {
    let mut all: BTreeSet<Lists> = rules.iter().flat_map(lists).collect();
    loop {
        let before = all.len();
        for side in [VERBS, NAMES, RESOURCES, GROUPS, URLS] {
            all = merge(all, side);
        }
        // Each round makes rules fewer or is the last.
        if all.len() == before {
            return all.into_iter().map(to_rule).collect();
        }
    }
}

/// A rule as its lists; none if it allows nothing. A rule on both resources and URLs, which the API
/// server refuses, becomes two, so that neither half is lost.
fn lists(rule: &PolicyRule) -> Vec<Lists> {
    let sorted = |values: &[String]| values.iter().cloned().collect::<BTreeSet<String>>();
    let of_resources = [
        plain(sorted(groups(rule))),
        plain_resources(sorted(resources(rule))),
        sorted(names(rule)),
        BTreeSet::new(),
        plain(sorted(&rule.verbs)),
    ];
    let of_urls = [
        BTreeSet::new(),
        BTreeSet::new(),
        BTreeSet::new(),
        plain_urls(&sorted(urls(rule))),
        plain(sorted(&rule.verbs)),
    ];
    let has = |lists: &Lists, sides: &[usize]| sides.iter().all(|side| !lists[*side].is_empty());
    let mut both = Vec::new();
    if has(&of_resources, &[GROUPS, RESOURCES, VERBS]) {
        both.push(of_resources);
    }
    // Names do not limit URLs: with names, no URL is allowed.
    if has(&of_urls, &[URLS, VERBS]) && names(rule).is_empty() {
        both.push(of_urls);
    }
    both
}

fn plain(values: BTreeSet<String>) -> BTreeSet<String> {
    if values.contains(ALL) { BTreeSet::from([ALL.to_owned()]) } else { values }
}

fn plain_resources(values: BTreeSet<String>) -> BTreeSet<String> {
    let values = plain(values);
    let needed = |value: &&String| {
        let of_any = super::any_with_subresource(value);
        of_any.is_none_or(|of_any| **value == of_any || !values.contains(&of_any))
    };
    values.iter().filter(needed).cloned().collect()
}

fn plain_urls(values: &BTreeSet<String>) -> BTreeSet<String> {
    let needed =
        |value: &&String| !values.iter().any(|other| other != *value && url_allows(other, value));
    values.iter().filter(needed).cloned().collect()
}

/// Makes rules one that differ in this list only. An empty list stays alone: no names means all
/// names, and resources and URLs do not mix.
fn merge(all: BTreeSet<Lists>, side: usize) -> BTreeSet<Lists> {
    let mut merged: BTreeMap<(bool, Lists), BTreeSet<String>> = BTreeMap::new();
    for mut lists in all {
        let values = std::mem::take(&mut lists[side]);
        merged.entry((values.is_empty(), lists)).or_default().extend(values);
    }
    let restore = |((_, mut lists), values): ((bool, Lists), BTreeSet<String>)| {
        lists[side] = match side {
            RESOURCES => plain_resources(values),
            URLS => plain_urls(&values),
            NAMES => values,
            _ => plain(values),
        };
        lists
    };
    merged.into_iter().map(restore).collect()
}

fn to_rule([groups, resources, names, urls, verbs]: Lists) -> PolicyRule {
    let optional = |values: BTreeSet<String>| {
        (!values.is_empty()).then(|| values.into_iter().collect::<Vec<String>>())
    };
    PolicyRule {
        api_groups: optional(groups),
        resources: optional(resources),
        resource_names: optional(names),
        non_resource_urls: optional(urls),
        verbs: verbs.into_iter().collect(),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::rules::testing::{any_rules, rule, url_rule};
    use crate::rules::{covers, gained};

    #[test]
    fn rules_that_differ_in_one_list_become_one() {
        let rules = [
            rule("list get", "", "pods", ""),
            rule("get list", "", "services", ""),
            rule("get", "", "secrets", "db"),
            rule("get", "", "secrets", "tls"),
            rule("watch", "", "pods services", ""),
            url_rule("get", "/healthz /health*"),
        ];
        let expected = [
            url_rule("get", "/health*"),
            rule("get list watch", "", "pods services", ""),
            rule("get", "", "secrets", "db tls"),
        ];
        assert_eq!(compact(&rules), expected);
    }

    #[test]
    fn all_names_are_not_mixed_with_some() {
        let rules = [rule("get", "", "secrets", "db"), rule("get", "", "secrets", "")];
        assert_eq!(gained(&[], &compact(&rules[..1])).to_string(), "get secrets named db");
        assert!(gained(&rules, &compact(&rules)).is_empty());
    }

    proptest! {
        #[test]
        fn the_rights_are_the_same(rules in any_rules()) {
            let compacted = compact(&rules);
            prop_assert_eq!(covers(&compacted, &rules), Ok(()));
            prop_assert_eq!(covers(&rules, &compacted), Ok(()));
            prop_assert!(compacted.len() <= rules.len());
        }

        #[test]
        fn orders_do_not_matter(rules in any_rules()) {
            let mut turned: Vec<PolicyRule> = rules.iter().rev().cloned().collect();
            for rule in &mut turned {
                rule.verbs.reverse();
            }
            prop_assert_eq!(compact(&rules), compact(&turned));
        }

        #[test]
        fn the_result_of_a_result_is_itself(rules in any_rules()) {
            let compacted = compact(&rules);
            prop_assert_eq!(compact(&compacted), compacted);
        }
    }
}
