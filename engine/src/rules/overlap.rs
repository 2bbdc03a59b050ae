//! Whether two lists of rules have any single right in common.

use std::collections::HashSet;

use k8s_openapi::api::rbac::v1::PolicyRule;

use super::{ALL, any_with_subresource, groups, names, resources, url_allows, urls};

/// Whether any single right is in both, wildcards included: `*` and `pods` have `pods` in common.
///
/// Each rule is compared with each of the other list; the cost of a pair grows with the sum of
/// their lists (with the product for URLs).
#[must_use]
pub fn overlaps(one: &[PolicyRule], other: &[PolicyRule]) -> bool {
    let one: Vec<Values<'_>> = one.iter().map(Values::of).collect();
    one.iter().any(|one| other.iter().any(|other| one.overlaps(other)))
}

/// A rule whose values can be looked up.
struct Values<'a> {
    rule: &'a PolicyRule,
    verbs: HashSet<&'a str>,
    groups: HashSet<&'a str>,
    resources: HashSet<&'a str>,
    /// What follows the `/` of a resource.
    subresources: HashSet<&'a str>,
    names: HashSet<&'a str>,
}

impl<'a> Values<'a> {
    fn of(rule: &'a PolicyRule) -> Self {
        let subresource = |resource: &'a String| Some(resource.split_once('/')?.1);
        Self {
            rule,
            verbs: set(&rule.verbs),
            groups: set(groups(rule)),
            resources: set(resources(rule)),
            subresources: resources(rule).iter().filter_map(subresource).collect(),
            names: set(names(rule)),
        }
    }

    fn overlaps(&self, other: &PolicyRule) -> bool {
        let url = |url: &String| {
            let alike = |own: &String| url_allows(own, url) || url_allows(url, own);
            urls(self.rule).iter().any(alike)
        };
        // A rule that is limited to names allows no URLs.
        let unnamed = self.names.is_empty() && names(other).is_empty();
        shares(&self.verbs, &other.verbs)
            && ((shares(&self.groups, groups(other))
                && self.shares_resource(resources(other))
                && self.shares_name(names(other)))
                || (unnamed && urls(other).iter().any(url)))
    }

    fn shares_resource(&self, other: &[String]) -> bool {
        let of_any = |resource: &str| match resource.split_once('/') {
            Some((ALL, subresource)) => self.subresources.contains(subresource),
            _ => any_with_subresource(resource)
                .is_some_and(|of_any| self.resources.contains(of_any.as_str())),
        };
        shares(&self.resources, other) || other.iter().any(|resource| of_any(resource))
    }

    fn shares_name(&self, other: &[String]) -> bool {
        self.names.is_empty()
            || other.is_empty()
            || other.iter().any(|name| self.names.contains(name.as_str()))
    }
}

fn set(values: &[String]) -> HashSet<&str> {
    values.iter().map(String::as_str).collect()
}

fn shares(own: &HashSet<&str>, other: &[String]) -> bool {
    if own.contains(ALL) {
        return !other.is_empty();
    }
    other.iter().any(|value| own.contains(value.as_str()) || (value == ALL && !own.is_empty()))
}

#[cfg(test)]
mod tests {
    use std::slice::from_ref;

    use proptest::prelude::*;
    use rstest::rstest;

    use super::*;
    use crate::rules::covers;
    use crate::rules::testing::{allows, any_rules, points, rule, url_rule};

    #[rstest]
    #[case(rule("get", "", "pods", ""), rule("get", "", "pods", ""), true)]
    #[case(rule("get", "", "pods", ""), rule("list", "", "pods", ""), false)]
    #[case(rule("get", "", "pods", ""), rule("*", "", "pods", ""), true)]
    #[case(rule("get", "", "pods", ""), rule("get", "apps", "pods", ""), false)]
    #[case(rule("get", "", "pods", ""), rule("get", "*", "*", ""), true)]
    #[case(rule("get", "", "pods", ""), rule("get", "", "pods/log", ""), false)]
    #[case(rule("get", "", "pods", ""), rule("get", "", "*/log", ""), false)]
    #[case(rule("get", "", "pods/log", ""), rule("get", "", "*/log", ""), true)]
    #[case(rule("get", "", "*/status", ""), rule("get", "", "*/log", ""), false)]
    #[case(rule("get", "", "*/log", ""), rule("get", "", "*", ""), true)]
    #[case(rule("get", "", "pods", "a"), rule("get", "", "pods", "b"), false)]
    #[case(rule("get", "", "pods", "a"), rule("get", "", "pods", "a b"), true)]
    #[case(rule("get", "", "pods", "a"), rule("get", "", "pods", ""), true)]
    #[case(url_rule("get", "/api/*"), url_rule("get", "/api/v1"), true)]
    #[case(url_rule("get", "/api/*"), url_rule("get", "/api"), false)]
    #[case(url_rule("get", "/a*"), url_rule("get", "/api/*"), true)]
    #[case(url_rule("get", "/api"), url_rule("post", "/api"), false)]
    #[case(url_rule("get", "*"), rule("get", "*", "*", ""), false)]
    fn has_a_right_in_common(
        #[case] one: PolicyRule,
        #[case] other: PolicyRule,
        #[case] expected: bool,
    ) {
        assert_eq!(overlaps(from_ref(&one), from_ref(&other)), expected);
        assert_eq!(overlaps(&[other], &[one]), expected);
    }

    proptest! {
        #[test]
        fn agrees_with_brute_force(one in any_rules(), other in any_rules()) {
            let shared = points().any(|point| allows(&one, &point) && allows(&other, &point));
            prop_assert_eq!(overlaps(&one, &other), shared);
        }

        #[test]
        fn what_is_covered_overlaps(owner in any_rules(), asked in any_rules()) {
            if covers(&owner, &asked).is_ok() {
                prop_assert_eq!(overlaps(&owner, &asked), !asked.is_empty());
            }
        }
    }
}
