//! Roles of Kubernetes and rules, and where.

use std::collections::BTreeMap;

use k8s_openapi::api::rbac::v1::PolicyRule;
use lapse_crds::{KubernetesTargets, LabelSelector, NamespaceSet, RoleRef, RoleRule};

use super::labels::{describe, selects};
use crate::role::RoleRules;
use crate::rules::{Uncovered, covers, in_words, overlaps};
use crate::target::{Namespaces, Privilege, ResolvedTarget, Scope};
use crate::{Read, Settings};

/// Roles and rules, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::policy) struct KubernetesOffer {
    roles: Vec<RoleRef>,
    rules: Vec<RoleRule>,
    namespaces: NamespaceSet,
    cluster_wide: bool,
    allow_escalation: bool,
}

impl KubernetesOffer {
    pub(super) fn of(targets: &KubernetesTargets) -> Self {
        // Destructured without `..`: a field that is added to the API must be compiled here.
        let KubernetesTargets { roles, rules, namespaces, cluster_wide, allow_escalation } =
            targets.clone();
        let namespaces = namespaces.unwrap_or_default();
        Self { roles, rules, namespaces, cluster_wide, allow_escalation }
    }

    /// The roles that are named.
    pub(super) fn roles(&self) -> &[RoleRef] {
        &self.roles
    }

    fn rules(&self) -> Vec<PolicyRule> {
        self.rules.iter().map(PolicyRule::from).collect()
    }

    /// Whether roles that let their holder climb are accepted here.
    pub(super) fn allows_escalation(&self) -> bool {
        self.allow_escalation
    }

    /// Whether a protected namespace is offered: by its name and with escalation alone, and the
    /// installation's own never.
    pub(super) fn offers_protected(&self, namespace: &str, settings: &Settings) -> bool {
        self.allow_escalation
            && !settings.is_own(namespace)
            && self.namespaces.names.iter().any(|name| name == namespace)
    }

    /// Whether the whole target lies within the entry.
    pub(super) fn contains(
        &self,
        target: &ResolvedTarget,
        known: &Namespaces,
        settings: &Settings,
    ) -> bool {
        self.reaches(target, known, settings)
            && match &target.privilege {
                Privilege::Role(role) => self.roles.contains(role),
                Privilege::Rules(asked) => self.exceeds(asked).is_none(),
                Privilege::Elevation(_) => false,
            }
    }

    /// Whether the entry offers anything everywhere that the target is for.
    fn reaches(&self, target: &ResolvedTarget, known: &Namespaces, settings: &Settings) -> bool {
        let offers = |name: &String| match settings.protection_of(name) {
            Some(_) => self.offers_protected(name, settings),
            None => self.has_namespace(name, known),
        };
        match &target.scope {
            Scope::Cluster => self.cluster_wide,
            Scope::Namespaces(asked) => asked.iter().all(offers),
            Scope::Endpoint(_) => false,
        }
    }

    /// Why rules do not lie within those of the entry, if they do not.
    fn exceeds(&self, asked: &[RoleRule]) -> Option<Uncovered> {
        let asked: Vec<PolicyRule> = asked.iter().map(PolicyRule::from).collect();
        covers(&self.rules(), &asked).err()
    }

    /// What is missing for the entry to contain rules that are asked for where it offers some.
    pub(super) fn shortfall(
        &self,
        target: &ResolvedTarget,
        known: &Namespaces,
        settings: &Settings,
    ) -> Option<Uncovered> {
        let Privilege::Rules(asked) = &target.privilege else { return None };
        let is_near = !self.rules.is_empty() && self.reaches(target, known, settings);
        if is_near { self.exceeds(asked) } else { None }
    }

    /// Whether any part of the target lies within the entry. The whole cluster overlaps with every
    /// namespace, and rules overlap with a role that contains any of them.
    pub(super) fn overlaps(
        &self,
        target: &ResolvedTarget,
        known: &Namespaces,
        roles: RolesKnown<'_>,
    ) -> bool {
        let NamespaceSet { names, selector, all } = &self.namespaces;
        let place = match &target.scope {
            Scope::Cluster => self.cluster_wide || *all || selector.is_some() || !names.is_empty(),
            Scope::Endpoint(_) => false,
            Scope::Namespaces(asked) => {
                self.cluster_wide || asked.iter().any(|name| self.has_namespace(name, known))
            }
        };
        let shares = |role: &Read<RoleRules>, rules: &[PolicyRule]| {
            role.found().is_some_and(|role| role.overlap(rules))
        };
        place
            && match &target.privilege {
                Privilege::Elevation(_) => false,
                Privilege::Role(role) => {
                    self.roles.contains(role) || shares(roles.asked, &self.rules())
                }
                Privilege::Rules(asked) => {
                    let asked: Vec<PolicyRule> = asked.iter().map(PolicyRule::from).collect();
                    let named = |role: &RoleRef| roles.banned.get(role);
                    overlaps(&self.rules(), &asked)
                        || self.roles.iter().filter_map(named).any(|role| shares(role, &asked))
                }
            }
    }

    /// What both offer, in words, if they offer a role or rules in places that overlap, as far as their
    /// text says: which namespaces carry which labels, and what roles contain, is not known here.
    pub(super) fn shared(&self, other: &Self) -> Option<String> {
        let anywhere = |offer: &Self| {
            let NamespaceSet { names, selector, all } = &offer.namespaces;
            offer.cluster_wide || *all || selector.is_some() || !names.is_empty()
        };
        let everywhere = |offer: &Self| offer.cluster_wide || offer.namespaces.all;
        let in_common = || {
            let (ours, theirs) = (&self.namespaces, &other.namespaces);
            ours.names.iter().any(|name| theirs.names.contains(name))
                || (ours.selector.is_some() && ours.selector == theirs.selector)
        };
        let overlap = (everywhere(self) && anywhere(other))
            || (everywhere(other) && anywhere(self))
            || in_common();
        let role = self.roles.iter().find(|role| other.roles.contains(role));
        let rules = || overlaps(&self.rules(), &other.rules()).then(|| "rules".to_owned());
        role.map(ToString::to_string).or_else(rules).filter(|_| overlap)
    }

    fn has_namespace(&self, name: &String, known: &Namespaces) -> bool {
        let NamespaceSet { names, selector, all } = &self.namespaces;
        let is_selected = |selector: &LabelSelector| match known.get(name) {
            Some(Read::Found(namespace)) => {
                selects(selector, |key| namespace.labels.get(key).map(String::as_str))
            }
            _ => false,
        };
        *all || names.contains(name) || selector.as_ref().is_some_and(is_selected)
    }

    pub(super) fn describe(&self) -> String {
        let mut what: Vec<String> = self.roles.iter().map(ToString::to_string).collect();
        if !self.rules.is_empty() {
            what.push(format!("rules ({})", in_words(&self.rules)));
        }
        let NamespaceSet { names, selector, all } = &self.namespaces;
        let mut places = if *all { vec!["all namespaces".to_owned()] } else { names.clone() };
        places.extend(
            selector.iter().map(|selector| format!("namespaces with {}", describe(selector))),
        );
        if self.cluster_wide {
            places.push("the whole cluster".to_owned());
        }
        format!("{} in {}", what.join(", "), places.join(", "))
    }
}

/// The rules of the roles that Deny policies name, which rules that a request spells out are compared with.
pub type BannedRoles = BTreeMap<RoleRef, Read<RoleRules>>;

/// The rules of the roles that bear on whether a Deny policy matches. What could not be read matches
/// nothing: whoever gives a right makes sure that all was read.
#[derive(Clone, Copy, Debug)]
pub struct RolesKnown<'a> {
    /// Those of the role that is asked for.
    pub asked: &'a Read<RoleRules>,
    /// Those of the roles that Deny policies name.
    pub banned: &'a BannedRoles,
}

#[cfg(test)]
mod tests;
