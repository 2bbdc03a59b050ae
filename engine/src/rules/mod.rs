//! The rules of roles as sets of rights.
//!
//! A rule of Kubernetes is a product: each of its verbs on each of its resources in each of its API
//! groups, by name or not. A *single right* is one point of it: one verb, one group, one resource,
//! one name (or all names). What follows compares rules by the single rights that they hold, with
//! the meaning that the API server's own check against escalation gives them
//! (<https://kubernetes.io/docs/reference/access-authn-authz/rbac/#privilege-escalation-prevention-and-bootstrapping>),
//! and never writes them all out: values that the same rules allow are looked at once.
//!
//! - [`covers`]: whether everything that is asked for is allowed.
//! - [`gained`]: what a role allows now and did not before.
//! - [`overlaps`]: whether two lists of rules have any single right in common.
//! - [`compact`]: the same rights in fewer rules, to keep with an approval.
//! - [`valid`]: what is wrong with a rule that a person wrote.

mod compact;
mod compare;
mod overlap;
mod right;
#[cfg(test)]
pub(crate) mod testing;
mod valid;
mod words;

use k8s_openapi::api::rbac::v1::PolicyRule;

pub use compact::compact;
pub use compare::{Gained, Uncovered, covers, gained};
pub use overlap::overlaps;
pub use right::Right;
pub(crate) use right::{resource_in_words, verb_in_words};
pub use valid::{InvalidRule, valid};
pub(crate) use words::in_words;

/// Means all values, in verbs, groups, resources and URLs.
pub(crate) const ALL: &str = "*";

/// A list of a rule; an absent list is an empty one.
fn list(values: Option<&Vec<String>>) -> &[String] {
    values.map_or(&[], Vec::as_slice)
}

pub(crate) fn groups(rule: &PolicyRule) -> &[String] {
    list(rule.api_groups.as_ref())
}

pub(crate) fn resources(rule: &PolicyRule) -> &[String] {
    list(rule.resources.as_ref())
}

/// The names that a rule is limited to; none means that it holds for all names.
pub(crate) fn names(rule: &PolicyRule) -> &[String] {
    list(rule.resource_names.as_ref())
}

fn urls(rule: &PolicyRule) -> &[String] {
    list(rule.non_resource_urls.as_ref())
}

/// The `*/subresource` that allows what this resource names, if it names a subresource.
pub(crate) fn any_with_subresource(resource: &str) -> Option<String> {
    resource.split_once('/').map(|(_, subresource)| format!("*/{subresource}"))
}

/// Whether a URL of a rule allows another, which may itself end in `*`.
fn url_allows(pattern: &str, url: &str) -> bool {
    let prefix = pattern.trim_end_matches('*');
    pattern == url || (prefix.len() < pattern.len() && url.starts_with(prefix))
}
