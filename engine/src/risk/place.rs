//! Where a role is held.

use std::collections::BTreeSet;
use std::fmt;

use crate::Settings;
use crate::target::Scope;

/// Where a role is bound, and which of it is protected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reach {
    /// In the whole cluster.
    Cluster,
    /// In namespaces.
    Namespaces {
        /// Those that are not protected.
        ordinary: BTreeSet<String>,
        /// The installation's own and the protected ones.
        protected: BTreeSet<String>,
    },
}

impl Reach {
    /// The reach of a target, by the settings of the installation.
    #[must_use]
    pub fn of(scope: &Scope, settings: &Settings) -> Self {
        match scope {
            Scope::Cluster => Self::Cluster,
            // What is held on a host reaches no part of the cluster.
            Scope::Endpoint(_) => {
                Self::Namespaces { ordinary: BTreeSet::new(), protected: BTreeSet::new() }
            }
            Scope::Namespaces(names) => {
                let is_protected = |name: &String| settings.protection_of(name).is_some();
                let (protected, ordinary) = names.iter().cloned().partition(is_protected);
                Self::Namespaces { ordinary, protected }
            }
        }
    }

    /// What of the reach lies in one namespace: a `Role` holds nowhere else, wherever it is bound.
    pub(super) fn within(&self, namespace: &str) -> Self {
        let only = |names: &BTreeSet<String>| names.get(namespace).cloned().into_iter().collect();
        match self {
            Self::Cluster => Self::Namespaces {
                ordinary: BTreeSet::from([namespace.to_owned()]),
                protected: BTreeSet::new(),
            },
            Self::Namespaces { ordinary, protected } => {
                Self::Namespaces { ordinary: only(ordinary), protected: only(protected) }
            }
        }
    }

    /// Everywhere that it reaches.
    pub(super) fn whole(&self) -> Place {
        match self {
            Self::Cluster => Place::Cluster,
            Self::Namespaces { ordinary, protected } => {
                Place::Namespaces(ordinary.union(protected).cloned().collect())
            }
        }
    }

    /// Where it reaches that one namespace's rights lead out of.
    pub(super) fn strict(&self) -> Place {
        match self {
            Self::Cluster => Place::Cluster,
            Self::Namespaces { protected, .. } => Place::Namespaces(protected.clone()),
        }
    }

    /// The ordinary namespaces that it reaches.
    pub(super) fn ordinary(&self) -> Place {
        match self {
            Self::Cluster => Place::Namespaces(BTreeSet::new()),
            Self::Namespaces { ordinary, .. } => Place::Namespaces(ordinary.clone()),
        }
    }
}

/// Where something is held.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// In the whole cluster.
    Cluster,
    /// In these namespaces.
    Namespaces(BTreeSet<String>),
}

impl Place {
    pub(super) fn is_nowhere(&self) -> bool {
        matches!(self, Self::Namespaces(names) if names.is_empty())
    }

    pub(super) fn includes(&self, namespace: &str) -> bool {
        match self {
            Self::Cluster => true,
            Self::Namespaces(names) => names.contains(namespace),
        }
    }

    /// Both together.
    pub(super) fn join(&mut self, other: &Self) {
        match (&mut *self, other) {
            (Self::Namespaces(names), Self::Namespaces(others)) => {
                names.extend(others.iter().cloned());
            }
            (Self::Cluster, _) | (_, Self::Cluster) => *self = Self::Cluster,
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cluster => f.write_str("the whole cluster"),
            Self::Namespaces(names) => {
                f.write_str(&names.iter().map(String::as_str).collect::<Vec<_>>().join(", "))
            }
        }
    }
}
