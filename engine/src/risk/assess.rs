//! From the rules of a role to its risk.

use k8s_openapi::api::rbac::v1::PolicyRule;

use super::catalogue::{CATALOGUE, EVERYTHING};
use super::{Entry, Finding, HeldRules, Place, Reach, Risk, Severity};
use crate::rules::{ALL, groups, names, resources};

/// The risk of a role that is bound in `reach`.
///
/// `lists` are its rules as [`crate::role::RoleRules`] keeps them: under the empty name those that hold
/// in the whole reach, under the name of a namespace those of the `Role` that stands there.
///
/// The cost is the size of the rules times that of the catalogue.
pub fn assess<'a>(
    lists: impl IntoIterator<Item = (&'a str, &'a [PolicyRule])>,
    reach: &Reach,
) -> Risk {
    let mut risk = Risk::default();
    for (namespace, rules) in lists {
        let reach = if namespace.is_empty() { reach.clone() } else { reach.within(namespace) };
        for (entry, held) in matches(rules) {
            let (refused, warned) = match entry.severity {
                Severity::Escalating => (reach.whole(), None),
                Severity::EscalatingWide => (reach.strict(), Some(reach.ordinary())),
            };
            note(&mut risk.refusals, entry, &held, &refused);
            if let Some(warned) = warned {
                note(&mut risk.warnings, entry, &held, &warned);
            }
        }
    }
    for findings in [&mut risk.refusals, &mut risk.warnings] {
        findings.sort_by_key(|finding| rank(finding.entry));
    }
    risk
}

/// The entries that the rules match, with what they hold of each.
fn matches(rules: &[PolicyRule]) -> Vec<(&'static Entry, HeldRules)> {
    if rules.iter().any(is_everything) {
        return vec![(&EVERYTHING, HeldRules::everything())];
    }
    let held = CATALOGUE.iter().map(|entry| (entry, held_of(entry, rules)));
    held.filter(|(_, held)| !held.is_empty()).collect()
}

/// What of an entry the rules hold.
pub(super) fn held_of(entry: &Entry, rules: &[PolicyRule]) -> HeldRules {
    let mut held = HeldRules::default();
    for (rule, pattern) in
        rules.iter().flat_map(|rule| entry.patterns.iter().map(move |p| (rule, p)))
    {
        held.add(pattern, rule);
    }
    held
}

fn is_everything(rule: &PolicyRule) -> bool {
    let all = |list: &[String]| list.iter().any(|value| value == ALL);
    all(&rule.verbs) && all(groups(rule)) && all(resources(rule)) && names(rule).is_empty()
}

/// The same rights in another place are the same finding.
fn note(findings: &mut Vec<Finding>, entry: &'static Entry, held: &HeldRules, place: &Place) {
    if place.is_nowhere() {
        return;
    }
    let same = |finding: &&mut Finding| finding.entry.title == entry.title && finding.held == *held;
    match findings.iter_mut().find(same) {
        Some(finding) => finding.place.join(place),
        None => findings.push(Finding { entry, held: held.clone(), place: place.clone() }),
    }
}

/// The place of an entry in the catalogue; what is everything comes first.
fn rank(entry: &Entry) -> Option<usize> {
    CATALOGUE.iter().position(|other| other.title == entry.title)
}
