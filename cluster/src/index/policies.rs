//! The policies, compiled once for each change.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use chrono::TimeDelta;
use kube::Resource as _;
use lapse_crds::{ConditionStatus, Conditions as _, JitPolicy, PolicyEffect, PolicyMode, RoleRef};
use lapse_engine::Settings;
use lapse_engine::policy::{Policies, PolicyOutline, PolicyState, named_roles};
use lapse_engine::retention::{Retentions, retention_of};
use serde::Deserialize;
use tracing::error;

use super::Change;
use crate::Stored;
use crate::process::caught;

/// What is known of a policy.
#[derive(Clone, Debug, PartialEq)]
pub struct KnownPolicy {
    /// What it says.
    pub state: PolicyState,
    /// Which of its generations that is; absent if the API server did not say.
    pub generation: Option<i64>,
    /// Whether somebody deleted it.
    pub is_deleted: bool,
    /// Why it cannot be decoded, if it cannot.
    pub unreadable: Option<String>,
    /// Whether its condition `Ready` holds, as it was last reported.
    pub ready: ConditionStatus,
    /// The roles that it names, each with the namespaces where a `Role` is looked for.
    roles: BTreeMap<RoleRef, Vec<String>>,
    /// How long what it decided is kept when it is over; `None` if that is not known.
    retention: Option<TimeDelta>,
}

impl KnownPolicy {
    pub(super) fn of(stored: &Stored<JitPolicy>, settings: &Settings) -> Self {
        caught("JitPolicy", || Self::read(stored, settings))
            .unwrap_or_else(|| Self::panicked(stored))
    }

    /// One over which the program panicked: it stands, and what it forbids is not known.
    pub(super) fn panicked(stored: &Stored<JitPolicy>) -> Self {
        #[derive(Default, Deserialize)]
        #[serde(default)]
        struct Lean {
            spec: LeanSpec,
        }
        #[derive(Default, Deserialize)]
        #[serde(default)]
        struct LeanSpec {
            effect: PolicyEffect,
            mode: PolicyMode,
        }
        let metadata = stored.meta();
        let text = |field: &Option<String>| field.clone().unwrap_or_default();
        error!(policy = text(&metadata.name), "reading a JitPolicy panicked");
        let lean = stored.read::<Lean>().ok().map(|lean| lean.spec);
        let outline = PolicyOutline {
            effect: lean.as_ref().map(|spec| spec.effect),
            mode: lean.as_ref().map(|spec| spec.mode),
        };
        let state = PolicyState::panicked(text(&metadata.name), text(&metadata.uid), outline);
        Self {
            unreadable: state.defect.as_ref().map(|defect| defect.message.clone()),
            state,
            generation: metadata.generation,
            is_deleted: metadata.deletion_timestamp.is_some(),
            ready: ConditionStatus::False,
            roles: BTreeMap::new(),
            retention: None,
        }
    }

    fn read(stored: &Stored<JitPolicy>, settings: &Settings) -> Self {
        let metadata = stored.meta();
        let text = |field: &Option<String>| field.clone().unwrap_or_default();
        let (generation, is_deleted) = (metadata.generation, metadata.deletion_timestamp.is_some());
        match stored.object() {
            Ok(policy) => Self {
                state: PolicyState::of(&policy, settings),
                generation,
                is_deleted,
                unreadable: None,
                ready: readiness(&policy),
                roles: named_roles(&policy.spec),
                retention: Some(retention_of(&policy.spec)),
            },
            Err(why) => Self {
                state: PolicyState::unreadable(text(&metadata.name), text(&metadata.uid), &why),
                generation,
                is_deleted,
                unreadable: Some(why),
                ready: ConditionStatus::False,
                roles: BTreeMap::new(),
                retention: None,
            },
        }
    }

    /// Whether it is what is known of this very generation.
    pub(super) fn is_of(&self, stored: &Stored<JitPolicy>) -> bool {
        let metadata = stored.meta();
        self.generation.is_some()
            && self.generation == metadata.generation
            && Some(&self.state.uid) == metadata.uid.as_ref()
            && self.unreadable.is_none()
    }

    /// Whether it says the same as another state of it.
    #[must_use]
    pub fn says_the_same(&self, other: &Self) -> bool {
        self.generation.is_some()
            && self.generation == other.generation
            && self.state.uid == other.state.uid
            && self.is_deleted == other.is_deleted
            && self.unreadable == other.unreadable
    }
}

fn readiness(policy: &JitPolicy) -> ConditionStatus {
    let status = policy.status.as_ref();
    let condition = status.and_then(|status| status.conditions.condition("Ready"));
    condition.map_or(ConditionStatus::Unknown, |condition| condition.status)
}

impl Change<Arc<KnownPolicy>> {
    /// Whether it says anything else than before: its status changes, too.
    #[must_use]
    pub fn is_news(&self) -> bool {
        let both = self.before.as_ref().zip(self.after.as_ref());
        !both.is_some_and(|(before, after)| before.says_the_same(after))
    }
}

#[derive(Default)]
pub(super) struct PolicyTable {
    by_name: BTreeMap<String, Arc<KnownPolicy>>,
    compiled: Policies,
    /// By a role that they name.
    naming: BTreeMap<RoleRef, BTreeSet<String>>,
    named: Option<BTreeSet<String>>,
}

impl PolicyTable {
    pub(super) fn apply(&mut self, known: Arc<KnownPolicy>) -> Change<Arc<KnownPolicy>> {
        let name = known.state.name.clone();
        if let Some(named) = &mut self.named {
            named.insert(name.clone());
        }
        let before = self.remove(&name);
        self.compiled.insert(known.state.clone());
        for role in known.roles.keys() {
            self.naming.entry(role.clone()).or_default().insert(name.clone());
        }
        self.by_name.insert(name, known.clone());
        Change { before, after: Some(known) }
    }

    pub(super) fn delete(&mut self, name: &str) -> Change<Arc<KnownPolicy>> {
        let before = self.remove(name);
        self.compiled.remove(name);
        Change { before, after: None }
    }

    fn remove(&mut self, name: &str) -> Option<Arc<KnownPolicy>> {
        let known = self.by_name.remove(name)?;
        for role in known.roles.keys() {
            if let Some(naming) = self.naming.get_mut(role) {
                naming.remove(name);
                if naming.is_empty() {
                    self.naming.remove(role);
                }
            }
        }
        Some(known)
    }

    pub(super) fn begin(&mut self) {
        self.named = Some(BTreeSet::new());
    }

    /// Returns what is gone.
    pub(super) fn done(&mut self) -> Vec<Change<Arc<KnownPolicy>>> {
        let Some(named) = self.named.take() else { return Vec::new() };
        let gone = self.by_name.keys().filter(|name| !named.contains(*name));
        let gone: Vec<String> = gone.cloned().collect();
        gone.iter().map(|name| self.delete(name)).collect()
    }

    pub(super) fn compiled(&self) -> Policies {
        self.compiled.clone()
    }

    pub(super) fn get(&self, name: &str) -> Option<Arc<KnownPolicy>> {
        self.by_name.get(name).cloned()
    }

    pub(super) fn names(&self) -> Vec<String> {
        self.by_name.keys().cloned().collect()
    }

    pub(super) fn all(&self) -> impl Iterator<Item = &KnownPolicy> {
        self.by_name.values().map(Arc::as_ref)
    }

    pub(super) fn naming(&self, role: &RoleRef, namespace: Option<&str>) -> Vec<String> {
        let names = self.naming.get(role).into_iter().flatten();
        let is_looked_for = |name: &&String| {
            let places = self.by_name.get(*name).and_then(|known| known.roles.get(role));
            places.is_some_and(|places| {
                namespace.is_none_or(|within| places.iter().any(|place| place == within))
            })
        };
        names.filter(is_looked_for).cloned().collect()
    }

    pub(super) fn is_banned(&self, role: &RoleRef) -> bool {
        let mut naming = self.naming.get(role).into_iter().flatten();
        naming.any(|name| self.by_name.get(name).is_some_and(|known| known.state.denies()))
    }

    pub(super) fn retentions(&self) -> Retentions {
        let of = |known: &Arc<KnownPolicy>| (known.state.uid.clone(), known.retention);
        self.by_name.values().map(of).collect()
    }
}
