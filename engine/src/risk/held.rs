//! What of an entry a role holds.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use k8s_openapi::api::rbac::v1::PolicyRule;

use super::entry::Pattern;
use crate::rules::{
    ALL, any_with_subresource, groups, names, resource_in_words, resources, verb_in_words,
};
use crate::words::few;

/// A resource, and the names that a rule is limited to; no names means all.
type Object = (String, BTreeSet<String>);

/// Rights that a role holds and the catalogue names: verbs by resource.
///
/// A wildcard of the role appears as what it stands for in the entry: of a role that may do
/// anything to Secrets, `get, list, watch secrets` are held for the entry about reading them.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct HeldRules(BTreeMap<Object, BTreeSet<String>>);

impl HeldRules {
    /// Every verb on every resource of every group.
    pub(super) fn everything() -> Self {
        let object = (resource_in_words(ALL, ALL), BTreeSet::new());
        Self(BTreeMap::from([(object, BTreeSet::from([ALL.to_owned()]))]))
    }

    /// What of a pattern a rule holds, added to what is known.
    pub(super) fn add(&mut self, pattern: &Pattern, rule: &PolicyRule) {
        let has = |list: &[String], value: &str| list.iter().any(|own| own == ALL || own == value);
        let group = pattern.groups.iter().find(|group| has(groups(rule), group));
        let verbs: BTreeSet<String> = match pattern.verbs {
            [ALL] => rule.verbs.iter().cloned().collect(),
            verbs => verbs
                .iter()
                .filter(|verb| has(&rule.verbs, verb))
                .map(ToString::to_string)
                .collect(),
        };
        let (Some(group), false) = (group, verbs.is_empty()) else {
            return;
        };
        let names: BTreeSet<String> = names(rule).iter().cloned().collect();
        for resource in pattern.resources.iter().flat_map(|pattern| matching(pattern, rule)) {
            let object = (resource_in_words(group, &resource), names.clone());
            self.0.entry(object).or_default().extend(verbs.iter().cloned());
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The names that the rights are limited to; `None` if they hold for all.
    pub(super) fn names(&self) -> Option<BTreeSet<&str>> {
        let all = self.0.keys().map(|(_, names)| names);
        all.clone()
            .all(|names| !names.is_empty())
            .then(|| all.flatten().map(String::as_str).collect())
    }

    /// Whether a right is among them that holds for this name.
    pub(super) fn holds_for(&self, name: &str) -> bool {
        self.0.keys().any(|(_, names)| names.is_empty() || names.contains(name))
    }
}

/// The resources of a rule that a resource of a pattern stands for.
fn matching(pattern: &str, rule: &PolicyRule) -> Vec<String> {
    let matched = |own: &String| {
        if let Some(resource) = pattern.strip_suffix("/*") {
            let (owner, subresource) = own.split_once('/').unwrap_or((own, ""));
            let held = own == ALL || (!subresource.is_empty() && [ALL, resource].contains(&owner));
            return held.then(|| resource.to_owned());
        }
        let held =
            own == ALL || own == pattern || any_with_subresource(pattern).as_ref() == Some(own);
        held.then(|| pattern.to_owned())
    };
    resources(rule).iter().filter_map(matched).collect()
}

impl fmt::Display for HeldRules {
    /// Resources with the same verbs together, and of every list the first few: a role can name
    /// thousands of objects.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut by_verbs: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for ((resource, names), verbs) in &self.0 {
            let named = match names.len() {
                0 => String::new(),
                _ => format!(" named {}", few(names.iter().map(String::as_str), 3)),
            };
            let verbs = few(verbs.iter().map(|verb| verb_in_words(verb)), 5);
            by_verbs.entry(verbs).or_default().push(format!("{resource}{named}"));
        }
        let parts: Vec<String> = by_verbs
            .iter()
            .map(|(verbs, what)| format!("{verbs} {}", few(what.iter().map(String::as_str), 5)))
            .collect();
        f.write_str(&few(parts.iter().map(String::as_str), 3))
    }
}
