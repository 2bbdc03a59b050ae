//! All policies of a cluster, found by what a decision asks for: its cost follows from the policies that are
//! for one person, and not from how many there are.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use lapse_crds::{Identity, PolicyMode, RoleRef, Subject, SubjectKind};

use super::{Ban, Policy, PolicyState, Rule};
use crate::identity;
use crate::target::{Privilege, ResolvedTarget};

/// The policies of a cluster. A copy shares what it was copied from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Policies(Arc<Tables>);

#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Tables {
    by_name: BTreeMap<String, Arc<PolicyState>>,
    /// The policies that can be used, allow and deny alike, by whom they are for.
    by_requester: HashMap<Subject, BTreeSet<String>>,
    on_trial: BTreeSet<String>,
    /// Those that may forbid what is not known.
    may_ban: BTreeSet<String>,
    /// Which name which others as kept apart, both ways.
    apart: BTreeMap<String, BTreeSet<String>>,
    /// Those that could be asked for, if they were for everybody: all but those that deny.
    askable: usize,
}

impl Policies {
    /// The policy of this name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&PolicyState> {
        self.0.by_name.get(name).map(|state| &**state)
    }

    /// Whether any names this group, among those who may ask or approve, or who may not ask.
    #[must_use]
    pub fn names_group(&self, name: &str) -> bool {
        let group = Subject {
            kind: SubjectKind::Group,
            name: name.to_owned(),
            namespace: None,
            endpoint: None,
        };
        let approves = |policy: &Policy| {
            policy.approval().stages.iter().any(|stage| stage.approvers.contains(&group))
        };
        self.0.by_requester.contains_key(&group)
            || self.iter().filter_map(PolicyState::policy).any(approves)
    }

    /// All of them, by name.
    pub fn iter(&self) -> impl Iterator<Item = &PolicyState> {
        self.0.by_name.values().map(|state| &**state)
    }

    /// Adds a policy, in place of the one that had its name.
    pub fn insert(&mut self, state: PolicyState) {
        self.remove(&state.name);
        Arc::make_mut(&mut self.0).insert(state);
    }

    /// Removes the policy of this name.
    pub fn remove(&mut self, name: &str) {
        if self.0.by_name.contains_key(name) {
            Arc::make_mut(&mut self.0).remove(name);
        }
    }

    /// The policies that are for this person and can be used, by name.
    pub(super) fn of(&self, who: &Identity) -> BTreeMap<&str, &PolicyState> {
        let subjects = identity::subjects_of(who);
        let names = subjects.filter_map(|subject| self.0.by_requester.get(&subject)).flatten();
        names
            .filter_map(|name| self.0.by_name.get_key_value(name))
            .map(|(n, s)| (&**n, &**s))
            .collect()
    }

    /// The bans that are for this person, or may be, in force or on trial, by name.
    pub(super) fn bans_of(&self, who: &Identity) -> impl Iterator<Item = (&PolicyState, &Ban)> {
        // Whose groups are not all known is looked for by every policy.
        let own = if identity::are_groups_known(who) {
            self.of(who).into_values().collect::<Vec<_>>()
        } else {
            self.iter().filter(|state| state.mode != PolicyMode::Disabled).collect()
        };
        let bans = own.into_iter().filter_map(|state| match &state.compiled {
            Ok(Rule::Deny(ban)) => Some((state, &**ban)),
            _ => None,
        });
        bans.filter(|(_, ban)| ban.is_for(who))
    }

    /// The groups that Deny policies name, once each, by name.
    pub(crate) fn banned_groups(&self) -> BTreeSet<&str> {
        let bans = self.iter().filter_map(|state| match &state.compiled {
            Ok(Rule::Deny(ban)) => Some(ban.requesters()),
            _ => None,
        });
        let groups = bans.flatten().filter(|subject| subject.kind == SubjectKind::Group);
        groups.map(|subject| &*subject.name).collect()
    }

    /// Why it is not known what is forbidden, if it is not: nothing is given meanwhile.
    pub(crate) fn failure(&self) -> Option<String> {
        let name = self.0.may_ban.first()?;
        let defect = self.get(name).and_then(|state| state.defect.as_ref());
        defect.map(|defect| defect.message.clone())
    }

    /// Those on trial, by name.
    pub(super) fn on_trial(&self) -> &BTreeSet<String> {
        &self.0.on_trial
    }

    /// How many could be asked for, were they for everybody.
    pub(super) fn askable(&self) -> usize {
        self.0.askable
    }

    /// The policies that are kept apart from one: those that it names, and those that name it. A policy apart from
    /// itself is a mistake that its compilation tells.
    #[must_use]
    pub fn apart_from(&self, name: &str) -> BTreeSet<String> {
        let apart = self.0.apart.get(name).cloned().unwrap_or_default();
        apart.into_iter().filter(|other| other != name).collect()
    }

    /// Every policy that is kept apart from any other.
    #[must_use]
    pub fn all_apart(&self) -> BTreeSet<String> {
        let is_apart =
            |(name, others): &(&String, &BTreeSet<String>)| others.iter().any(|o| o != *name);
        self.0.apart.iter().filter(is_apart).map(|(name, _)| name.clone()).collect()
    }

    /// The roles whose rules must be known to tell which Deny policies match a target of this person: those that
    /// these name, when the request spells out rules.
    #[must_use]
    pub fn banned_roles(&self, who: &Identity, target: &ResolvedTarget) -> BTreeSet<&RoleRef> {
        match target.privilege {
            Privilege::Role(_) | Privilege::Elevation(_) => BTreeSet::new(),
            Privilege::Rules(_) => self.bans_of(who).flat_map(|(_, ban)| ban.roles()).collect(),
        }
    }

    /// The policy of this name, if it allows anything and is usable.
    #[must_use]
    pub fn policy(&self, name: &str) -> Option<&Policy> {
        self.get(name).and_then(PolicyState::policy)
    }
}

impl Tables {
    fn insert(&mut self, state: PolicyState) {
        let name = &state.name;
        for subject in requesters(&state) {
            self.by_requester.entry(subject.clone()).or_default().insert(name.clone());
        }
        if state.mode == PolicyMode::Audit {
            self.on_trial.insert(name.clone());
        }
        if state.may_ban {
            self.may_ban.insert(name.clone());
        }
        self.askable += usize::from(state.is_askable());
        let separates = !state.apart.is_empty();
        self.by_name.insert(name.clone(), Arc::new(state));
        if separates {
            self.separate();
        }
    }

    fn remove(&mut self, name: &str) {
        let Some(state) = self.by_name.remove(name) else { return };
        for subject in requesters(&state) {
            if let Some(names) = self.by_requester.get_mut(subject) {
                names.remove(name);
                if names.is_empty() {
                    self.by_requester.remove(subject);
                }
            }
        }
        self.on_trial.remove(name);
        self.may_ban.remove(name);
        self.askable -= usize::from(state.is_askable());
        if !state.apart.is_empty() {
            self.separate();
        }
    }

    /// Few policies are kept apart, and policies change seldom.
    fn separate(&mut self) {
        let mut apart: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for state in self.by_name.values() {
            for other in &state.apart {
                apart.entry(state.name.clone()).or_default().insert(other.clone());
                apart.entry(other.clone()).or_default().insert(state.name.clone());
            }
        }
        self.apart = apart;
    }
}

/// Whom a policy is for, if it can be used and is not switched off.
fn requesters(state: &PolicyState) -> &[Subject] {
    match &state.compiled {
        _ if state.mode == PolicyMode::Disabled => &[],
        Ok(Rule::Allow(policy)) => &policy.requesters,
        Ok(Rule::Deny(ban)) => ban.requesters(),
        Err(_) => &[],
    }
}

impl FromIterator<PolicyState> for Policies {
    fn from_iter<I: IntoIterator<Item = PolicyState>>(states: I) -> Self {
        let mut policies = Self::default();
        policies.extend(states);
        policies
    }
}

impl Extend<PolicyState> for Policies {
    fn extend<I: IntoIterator<Item = PolicyState>>(&mut self, states: I) {
        for state in states {
            self.insert(state);
        }
    }
}

impl<const N: usize> From<[PolicyState; N]> for Policies {
    fn from(states: [PolicyState; N]) -> Self {
        states.into_iter().collect()
    }
}

impl From<Vec<PolicyState>> for Policies {
    fn from(states: Vec<PolicyState>) -> Self {
        states.into_iter().collect()
    }
}
