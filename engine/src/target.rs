//! The target of a request, with everything implied spelled out.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use lapse_crds::{BindingKind, KubernetesTarget, RoleRef, Target};

use crate::Read;

/// Where a role is bound.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scope {
    /// In these namespaces; never empty.
    Namespaces(BTreeSet<String>),
    /// In the whole cluster.
    Cluster,
}

/// A role and where it is bound.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResolvedTarget {
    /// The role.
    pub role: RoleRef,
    /// Where.
    pub scope: Scope,
}

/// What is known of a namespace.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Namespace {
    /// Its labels.
    pub labels: BTreeMap<String, String>,
}

/// The namespaces of a target, as they were read. One that is being deleted counts as missing.
pub type Namespaces = BTreeMap<String, Read<Namespace>>;

/// A place for one binding of a target.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// The namespace of a RoleBinding; `None` for a ClusterRoleBinding.
    pub namespace: Option<String>,
}

impl Place {
    /// The kind of the binding.
    #[must_use]
    pub fn kind(&self) -> BindingKind {
        match self.namespace {
            Some(_) => BindingKind::RoleBinding,
            None => BindingKind::ClusterRoleBinding,
        }
    }
}

impl ResolvedTarget {
    /// Spells a target out: without namespaces it means the namespace of its request. `None` if the
    /// target has no kind, which the schema refuses.
    #[must_use]
    pub fn resolve(target: &Target, request_namespace: &str) -> Option<Self> {
        let KubernetesTarget { role, namespaces, cluster_wide } = target.kubernetes.as_ref()?;
        let scope = if *cluster_wide {
            Scope::Cluster
        } else if namespaces.is_empty() {
            Scope::Namespaces(BTreeSet::from([request_namespace.to_owned()]))
        } else {
            Scope::Namespaces(namespaces.iter().cloned().collect())
        };
        Some(Self { role: role.clone(), scope })
    }

    /// The same target in the form of the API, as a Grant carries it.
    #[must_use]
    pub fn to_api(&self) -> Target {
        let (namespaces, cluster_wide) = match &self.scope {
            Scope::Namespaces(names) => (names.iter().cloned().collect(), false),
            Scope::Cluster => (Vec::new(), true),
        };
        let role = self.role.clone();
        Target { kubernetes: Some(KubernetesTarget { role, namespaces, cluster_wide }) }
    }

    /// The namespaces of the target; none when it is the whole cluster.
    pub fn namespaces(&self) -> impl Iterator<Item = &str> {
        match &self.scope {
            Scope::Namespaces(names) => Some(names.iter().map(String::as_str)),
            Scope::Cluster => None,
        }
        .into_iter()
        .flatten()
    }

    /// Where bindings must stand for the target to be held.
    #[must_use]
    pub fn places(&self) -> Vec<Place> {
        match &self.scope {
            Scope::Namespaces(names) => {
                names.iter().map(|name| Place { namespace: Some(name.clone()) }).collect()
            }
            Scope::Cluster => vec![Place { namespace: None }],
        }
    }
}

impl fmt::Display for ResolvedTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.scope {
            Scope::Namespaces(names) => {
                let names = names.iter().map(String::as_str).collect::<Vec<_>>().join(", ");
                write!(f, "{} in {names}", self.role)
            }
            Scope::Cluster => write!(f, "{} in the whole cluster", self.role),
        }
    }
}
