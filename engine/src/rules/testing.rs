//! Rules of the tests, and what Kubernetes allows by them, one request at a time.

use k8s_openapi::api::rbac::v1::PolicyRule;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::subsequence;

/// A rule on resources; each list is written with spaces between its values, and the core group as
/// nothing at all, or as `core` beside others.
pub(crate) fn rule(verbs: &str, groups: &str, resources: &str, names: &str) -> PolicyRule {
    let groups = if groups.is_empty() { "core" } else { groups };
    let group = |group: &str| if group == "core" { String::new() } else { group.to_owned() };
    PolicyRule {
        api_groups: Some(groups.split_whitespace().map(group).collect()),
        resources: Some(split(resources)),
        resource_names: Some(split(names)).filter(|names| !names.is_empty()),
        verbs: split(verbs),
        non_resource_urls: None,
    }
}

pub(crate) fn url_rule(verbs: &str, urls: &str) -> PolicyRule {
    PolicyRule {
        verbs: split(verbs),
        non_resource_urls: Some(split(urls)),
        ..PolicyRule::default()
    }
}

fn split(values: &str) -> Vec<String> {
    values.split_whitespace().map(ToOwned::to_owned).collect()
}

/// Up to three rules over a few values, with every form of wildcard.
pub(crate) fn any_rules() -> impl Strategy<Value = Vec<PolicyRule>> {
    let some = |values: &[&str], least: usize| {
        let values: Vec<String> = values.iter().map(ToString::to_string).collect();
        subsequence(values, least..=2)
    };
    let verbs = || some(&["get", "create", "*"], 1);
    let of_resources = (
        verbs(),
        some(&["", "apps", "*"], 1),
        some(&["pods", "pods/log", "nodes", "nodes/log", "*/log", "*"], 1),
        some(&["a", "b"], 0),
    )
        .prop_map(|(verbs, groups, resources, names)| PolicyRule {
            verbs,
            api_groups: Some(groups),
            resources: Some(resources),
            resource_names: Some(names),
            non_resource_urls: None,
        });
    let of_urls = (verbs(), some(&["/api", "/api/*", "/a*", "/healthz", "*"], 1)).prop_map(
        |(verbs, urls)| PolicyRule {
            verbs,
            non_resource_urls: Some(urls),
            ..PolicyRule::default()
        },
    );
    vec(prop_oneof![4 => of_resources, 1 => of_urls], 0..=3)
}

/// A request, as Kubernetes authorizes it.
#[derive(Debug)]
pub(crate) enum Point {
    Resource { verb: &'static str, group: &'static str, resource: &'static str, name: &'static str },
    Url { verb: &'static str, path: &'static str },
}

/// Every request over the values of [`any_rules`], and over one more that no rule names: what only
/// a wildcard allows shows there.
pub(crate) fn points() -> impl Iterator<Item = Point> {
    let verbs = ["get", "create", "other"];
    let of_resources = verbs.into_iter().flat_map(|verb| {
        ["", "apps", "other"].into_iter().flat_map(move |group| {
            ["pods", "pods/log", "nodes", "nodes/log", "other", "other/log"].into_iter().flat_map(
                move |resource| {
                    ["a", "b", "other"].into_iter().map(move |name| Point::Resource {
                        verb,
                        group,
                        resource,
                        name,
                    })
                },
            )
        })
    });
    let of_urls = verbs.into_iter().flat_map(|verb| {
        ["/api", "/api/other", "/another", "/healthz", "other"]
            .into_iter()
            .map(move |path| Point::Url { verb, path })
    });
    of_resources.chain(of_urls)
}

/// Whether any of the rules allows a request, by the definition of each wildcard
/// (<https://kubernetes.io/docs/reference/access-authn-authz/rbac/#referring-to-resources>).
pub(crate) fn allows(rules: &[PolicyRule], point: &Point) -> bool {
    rules.iter().any(|rule| {
        let has = |list: &Option<Vec<String>>, value: &str| {
            list.iter().flatten().any(|own| own == "*" || own == value)
        };
        let verb_allowed = |verb: &str| rule.verbs.iter().any(|own| own == "*" || own == verb);
        match point {
            Point::Resource { verb, group, resource, name } => {
                let of_any = resource.split_once('/').map(|(_, sub)| format!("*/{sub}"));
                let names = rule.resource_names.as_deref().unwrap_or_default();
                verb_allowed(verb)
                    && has(&rule.api_groups, group)
                    && (has(&rule.resources, resource)
                        || of_any.is_some_and(|of_any| has(&rule.resources, &of_any)))
                    && (names.is_empty() || names.iter().any(|own| own == name))
            }
            Point::Url { verb, path } => {
                let url_allowed = |own: &String| match own.strip_suffix('*') {
                    Some(prefix) => path.starts_with(prefix),
                    None => own == path,
                };
                verb_allowed(verb) && rule.non_resource_urls.iter().flatten().any(url_allowed)
            }
        }
    })
}
