//! The roles that a policy names, as they stand in the cluster: which of them are missing, and which a
//! policy offers that its requests will be refused.

use std::collections::BTreeSet;

use k8s_openapi::api::rbac::v1::PolicyRule;
use lapse_crds::{JitPolicySpec, KubernetesTargets, PolicyEffect, RoleRef};

use crate::risk::{Reach, Risk, assess};
use crate::target::{Namespaces, Scope};
use crate::words::few;
use crate::{Read, Settings};

/// A role that a policy names, as it was read.
#[derive(Clone, Debug, PartialEq)]
pub struct NamedRole {
    /// The role.
    pub role: RoleRef,
    /// Where a `Role` was looked for: in each namespace that is offered by name.
    pub namespace: Option<String>,
    /// Its rules.
    pub rules: Read<Vec<PolicyRule>>,
}

impl NamedRole {
    /// That the role does not exist, in words, if it certainly does not. A policy may come before its
    /// roles.
    #[must_use]
    pub fn absence(&self) -> Option<String> {
        let absence = || {
            format!("there is no {}: requests for it are denied until it exists", self.in_place())
        };
        self.rules.is_missing().then(absence)
    }

    /// The role, and where it was looked for.
    fn in_place(&self) -> String {
        let Self { role, namespace, .. } = self;
        match namespace {
            Some(namespace) => format!("{role} in namespace {namespace}"),
            None => role.to_string(),
        }
    }

    fn list(&self) -> Option<(&str, &[PolicyRule])> {
        let namespace = self.namespace.as_deref().unwrap_or_default();
        Some((namespace, self.rules.found()?))
    }

    /// Whether nobody knows if it exists.
    #[must_use]
    pub fn is_unknown(&self) -> bool {
        matches!(self.rules, Read::Failed(_))
    }
}

/// A role that the controller may not bind and that does not exist either: most likely another was meant.
#[must_use]
pub fn misspelled(roles: &[NamedRole], settings: &Settings) -> Option<String> {
    let is_bindable = |role: &RoleRef| settings.bindable_roles.contains(role);
    let named = roles.iter().find(|named| !is_bindable(&named.role) && named.rules.is_missing())?;
    let offered: Vec<String> = settings.bindable_roles.iter().map(ToString::to_string).collect();
    let offered = few(offered.iter().map(String::as_str), 5);
    Some(format!(
        "there is no {}: correct its name; Lapse can grant {offered} here",
        named.in_place()
    ))
}

/// Warnings about the namespaces that a policy names: those that do not exist.
#[must_use]
pub fn lint_namespaces(known: &Namespaces) -> Vec<String> {
    let missing: Vec<&str> = known
        .iter()
        .filter(|(_, namespace)| namespace.is_missing())
        .map(|(name, _)| name.as_str())
        .collect();
    match missing.len() {
        0 => Vec::new(),
        1 => vec![format!(
            "there is no namespace {}: nothing is granted there until it exists",
            missing[0]
        )],
        _ => {
            let names = few(missing.into_iter(), 5);
            vec![format!(
                "there are no namespaces {names}: nothing is granted there until they exist"
            )]
        }
    }
}

/// Warnings about the roles of a policy, in words that a warning has room for: the first place where each
/// is missing, what is offered that every request for will be refused, and what is powerful.
#[must_use]
pub fn lint_roles(spec: &JitPolicySpec, roles: &[NamedRole], settings: &Settings) -> Vec<String> {
    let mut missing = BTreeSet::new();
    let absent = roles.iter().filter_map(|named| Some((&named.role, named.absence()?)));
    let mut warnings: Vec<String> =
        absent.filter(|(role, _)| missing.insert(*role)).map(|(_, absence)| absence).collect();
    if spec.effect == PolicyEffect::Deny {
        return warnings;
    }
    for (index, target) in spec.targets.iter().enumerate() {
        let Some(targets) = &target.kubernetes else { continue };
        let field = format!("spec.targets[{index}].kubernetes");
        let offers = targets.roles.iter().map(|role| {
            let is_it = |named: &&NamedRole| named.role == *role;
            (role.to_string(), roles.iter().filter(is_it).filter_map(NamedRole::list).collect())
        });
        let spelled_out: Vec<PolicyRule> = targets.rules.iter().map(PolicyRule::from).collect();
        let all_rules = ("the whole of its rules".to_owned(), vec![("", spelled_out.as_slice())]);
        let offers: Vec<(String, Lists<'_>)> = offers.chain([all_rules]).collect();
        for (what, lists) in &offers {
            for reach in reaches(targets, settings) {
                let risk = assess(lists.iter().copied(), &reach);
                let risk = if targets.allow_escalation { risk.accepted() } else { risk };
                warnings.extend(in_brief(&field, what, &risk));
            }
        }
    }
    warnings
}

/// Rules, by the namespace that they hold in; none is everywhere that the policy offers.
type Lists<'a> = Vec<(&'a str, &'a [PolicyRule])>;

fn in_brief(field: &str, what: &str, risk: &Risk) -> Option<String> {
    if risk.escalates() {
        risk.refusals_in_brief(|place| {
            format!("{field}: every request for {what} in {place} is denied without allowEscalation: it can ")
        })
    } else {
        risk.warnings_in_brief(|place| format!("{what} is powerful: in {place} it can "))
    }
}

/// What is offered without being named.
const SELECTED: &str = "the namespaces that are selected";

/// Where the roles of an entry can be asked for: the namespaces, and the cluster.
fn reaches(targets: &KubernetesTargets, settings: &Settings) -> Vec<Reach> {
    let mut places: BTreeSet<String> =
        targets.namespaces.iter().flat_map(|set| &set.names).cloned().collect();
    if targets.namespaces.iter().any(|set| set.all || set.selector.is_some()) {
        places.insert(SELECTED.to_owned());
    }
    let namespaces = (!places.is_empty()).then_some(Scope::Namespaces(places));
    let cluster = targets.cluster_wide.then_some(Scope::Cluster);
    namespaces.into_iter().chain(cluster).map(|scope| Reach::of(&scope, settings)).collect()
}

#[cfg(test)]
mod tests {
    use lapse_crds::{LabelSelector, NamespaceSet, RoleKind};
    use rstest::rstest;

    use super::*;
    use crate::testing::{cluster_role, policy, settings};

    fn rule(group: &str, resource: &str, verb: &str) -> PolicyRule {
        PolicyRule {
            api_groups: Some(vec![group.to_owned()]),
            resources: Some(vec![resource.to_owned()]),
            verbs: vec![verb.to_owned()],
            ..PolicyRule::default()
        }
    }

    fn named(role: RoleRef, namespace: Option<&str>, rules: Read<Vec<PolicyRule>>) -> NamedRole {
        NamedRole { role, namespace: namespace.map(ToOwned::to_owned), rules }
    }

    /// What is said of `edit`, offered in the shop, when it has these rules.
    fn said(rule: PolicyRule, change: fn(&mut KubernetesTargets)) -> String {
        let mut spec = policy("p").spec;
        let targets = spec.targets[0].kubernetes.as_mut().unwrap();
        targets.roles = vec![cluster_role("edit")];
        targets.namespaces.as_mut().unwrap().names = vec!["shop".into()];
        change(targets);
        let roles = [named(cluster_role("edit"), None, Read::Found(vec![rule]))];
        lint_roles(&spec, &roles, &settings()).join("\n")
    }

    fn climbs() -> PolicyRule {
        rule("rbac.authorization.k8s.io", "rolebindings", "create")
    }

    fn reads_secrets() -> PolicyRule {
        rule("", "secrets", "get")
    }

    #[test]
    fn says_what_is_offered_in_vain_and_what_is_powerful() {
        insta::assert_snapshot!(said(climbs(), |_| {}), @"spec.targets[0].kubernetes: every request for ClusterRole edit in shop is denied without allowEscalation: it can write roles and bindings.");
        insta::assert_snapshot!(said(climbs(), |targets| targets.allow_escalation = true), @"ClusterRole edit is powerful: in shop it can write roles and bindings.");
        insta::assert_snapshot!(said(reads_secrets(), |targets| targets.cluster_wide = true), @r"
        ClusterRole edit is powerful: in shop it can read secrets.
        spec.targets[0].kubernetes: every request for ClusterRole edit in the whole cluster is denied without allowEscalation: it can read secrets.
        ");
        let selected = |targets: &mut KubernetesTargets| {
            let selector = Some(LabelSelector::default());
            targets.namespaces = Some(NamespaceSet { selector, ..NamespaceSet::default() });
        };
        insta::assert_snapshot!(said(reads_secrets(), selected), @"ClusterRole edit is powerful: in the namespaces that are selected it can read secrets.");
        assert_eq!(said(rule("", "pods", "get"), |_| {}), "");
        let spelled_out = |targets: &mut KubernetesTargets| {
            targets.roles.clear();
            targets.rules = vec![climbs().into()];
        };
        insta::assert_snapshot!(said(reads_secrets(), spelled_out), @"spec.targets[0].kubernetes: every request for the whole of its rules in shop is denied without allowEscalation: it can write roles and bindings.");
    }

    #[test]
    fn what_a_deny_policy_names_is_nobodys() {
        let mut spec = policy("p").spec;
        spec.effect = PolicyEffect::Deny;
        let roles = [named(cluster_role("edit"), None, Read::Found(vec![climbs()]))];
        assert_eq!(lint_roles(&spec, &roles, &settings()), [""; 0]);
    }

    #[rstest]
    #[case::there(Read::Found(vec![]), false)]
    #[case::gone(Read::Missing, true)]
    #[case::not_known(Read::Failed("timeout".into()), false)]
    fn a_role_is_missing_when_it_certainly_is(
        #[case] rules: Read<Vec<PolicyRule>>,
        #[case] is_missing: bool,
    ) {
        let mend = RoleRef { kind: RoleKind::Role, name: "mend".into() };
        let roles: Vec<NamedRole> = ["shop", "shop-staging"]
            .map(|namespace| named(mend.clone(), Some(namespace), rules.clone()))
            .into();
        let told = lint_roles(&policy("p").spec, &roles, &settings());
        let expected =
            "there is no Role mend in namespace shop: requests for it are denied until it exists";
        assert_eq!(told, if is_missing { vec![expected] } else { vec![] });
    }
}
