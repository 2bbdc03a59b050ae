//! The target of a request, with everything implied spelled out.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use k8s_openapi::api::rbac::v1::PolicyRule;
use lapse_crds::{EndpointTarget, KubernetesTarget, RoleKind, RoleRef, RoleRule, Target};

use crate::Read;
use crate::elevation::Elevation;
use crate::rules::{InvalidRule, covers, in_words, valid};
use crate::words::{few, shortened};

/// How many namespaces lists show; the others are counted.
const SHOWN_NAMESPACES: usize = 2;
/// How many characters lists show of what is asked for, and of where.
const SHOWN_CHARACTERS: usize = 40;

/// Where a privilege is held.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scope {
    /// In these namespaces; never empty.
    Namespaces(BTreeSet<String>),
    /// In the whole cluster.
    Cluster,
    /// On a host outside the cluster.
    Endpoint(EndpointPlace),
}

/// A host, and as whom.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EndpointPlace {
    /// The name of the Endpoint.
    pub name: String,
    /// Its UID, in a Grant.
    pub uid: Option<String>,
    /// The local user: in a request the one that it names, in a Grant the one who may.
    pub local_user: Option<String>,
}

impl fmt::Display for EndpointPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "on {}", self.name)?;
        self.local_user.as_ref().map_or(Ok(()), |user| write!(f, " as {user}"))
    }
}

impl Scope {
    /// Whether it reaches a namespace.
    #[must_use]
    pub fn covers(&self, namespace: &str) -> bool {
        match self {
            Self::Cluster => true,
            Self::Namespaces(names) => names.contains(namespace),
            Self::Endpoint(_) => false,
        }
    }

    /// The host, if it is one.
    #[must_use]
    pub fn endpoint(&self) -> Option<&EndpointPlace> {
        match self {
            Self::Endpoint(place) => Some(place),
            Self::Namespaces(_) | Self::Cluster => None,
        }
    }
}

/// What is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Privilege {
    /// An existing role.
    Role(RoleRef),
    /// Rules that the request spells out; never empty.
    Rules(Vec<RoleRule>),
    /// Something on a host.
    Elevation(Elevation),
}

/// A privilege and where it holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResolvedTarget {
    /// What.
    pub privilege: Privilege,
    /// Where.
    pub scope: Scope,
}

/// What is known of a namespace.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Namespace {
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Whether it is being deleted: it takes no new objects, and keeps those that it has until the last of its pods is
    /// gone.
    pub is_going: bool,
}

/// The namespaces of a target, as they were read.
pub type Namespaces = BTreeMap<String, Read<Namespace>>;

/// A place of a target, for one binding.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// The namespace of a RoleBinding; `None` for a ClusterRoleBinding.
    pub namespace: Option<String>,
}

impl Privilege {
    /// The role, if it is one that exists.
    #[must_use]
    pub fn role(&self) -> Option<&RoleRef> {
        match self {
            Self::Role(role) => Some(role),
            Self::Rules(_) | Self::Elevation(_) => None,
        }
    }

    /// The rules, if they are spelled out.
    #[must_use]
    pub fn rules(&self) -> Option<Vec<PolicyRule>> {
        match self {
            Self::Role(_) | Self::Elevation(_) => None,
            Self::Rules(rules) => Some(rules.iter().map(PolicyRule::from).collect()),
        }
    }
}

impl fmt::Display for Privilege {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Role(role) => write!(f, "{role}"),
            Self::Rules(rules) => f.write_str(&in_words(rules)),
            Self::Elevation(elevation) => write!(f, "{elevation}"),
        }
    }
}

impl ResolvedTarget {
    /// Spells a target out: without namespaces it means the namespace of its request. `None` if the
    /// target has no kind, which the schema refuses.
    #[must_use]
    pub fn resolve(target: &Target, request_namespace: &str) -> Option<Self> {
        let Target { kubernetes, endpoint } = target;
        if let Some(target) = endpoint {
            let EndpointTarget { name, uid, local_user, .. } = target.clone();
            let privilege = Privilege::Elevation(Elevation::of(target)?);
            let scope = Scope::Endpoint(EndpointPlace { name, uid, local_user });
            return Some(Self { privilege, scope });
        }
        let KubernetesTarget { role, rules, namespaces, cluster_wide } = kubernetes.as_ref()?;
        let privilege = match (role, rules.as_slice()) {
            (Some(role), []) => Privilege::Role(role.clone()),
            (None, [_, ..]) => Privilege::Rules(rules.clone()),
            _ => return None,
        };
        let scope = if *cluster_wide {
            Scope::Cluster
        } else if namespaces.is_empty() {
            Scope::Namespaces(BTreeSet::from([request_namespace.to_owned()]))
        } else {
            Scope::Namespaces(namespaces.iter().cloned().collect())
        };
        Some(Self { privilege, scope })
    }

    /// What and where in few words, for lists: `edit in shop`, `get pods cluster-wide`.
    #[must_use]
    pub fn in_brief(&self) -> String {
        let what = match &self.privilege {
            Privilege::Role(RoleRef { kind: RoleKind::ClusterRole, name }) => name.clone(),
            other => other.to_string(),
        };
        let place = match &self.scope {
            Scope::Namespaces(names) => {
                format!("in {}", few(names.iter().map(String::as_str), SHOWN_NAMESPACES))
            }
            Scope::Cluster => "cluster-wide".to_owned(),
            Scope::Endpoint(place) => place.to_string(),
        };
        format!("{} {}", shortened(&what, SHOWN_CHARACTERS), shortened(&place, SHOWN_CHARACTERS))
    }

    /// The same target in the form of the API, as a Grant carries it.
    #[must_use]
    pub fn to_api(&self) -> Target {
        let (namespaces, cluster_wide) = match &self.scope {
            Scope::Namespaces(names) => (names.iter().cloned().collect(), false),
            Scope::Cluster => (Vec::new(), true),
            Scope::Endpoint(place) => return self.on(place),
        };
        let (role, rules) = match self.privilege.clone() {
            Privilege::Role(role) => (Some(role), Vec::new()),
            Privilege::Rules(rules) => (None, rules),
            Privilege::Elevation(_) => (None, Vec::new()),
        };
        Target {
            kubernetes: Some(KubernetesTarget { role, rules, namespaces, cluster_wide }),
            endpoint: None,
        }
    }

    fn on(&self, place: &EndpointPlace) -> Target {
        let EndpointPlace { name, uid, local_user } = place.clone();
        let mut target = EndpointTarget { name, uid, local_user, ..EndpointTarget::default() };
        if let Privilege::Elevation(elevation) = &self.privilege {
            elevation.put_into(&mut target);
        }
        Target { kubernetes: None, endpoint: Some(target) }
    }

    /// Whether all of another target lies within this one: the same role, or no rules beyond, in no other
    /// place. A role and rules are not compared.
    #[must_use]
    pub fn contains(&self, other: &Self) -> bool {
        let has_place = match (&self.scope, &other.scope) {
            (Scope::Endpoint(own), Scope::Endpoint(other)) => {
                // Who names no local user asks for the one that they are.
                let is_same = |other: &String| own.local_user.as_ref() == Some(other);
                own.name == other.name && other.local_user.as_ref().is_none_or(is_same)
            }
            (Scope::Endpoint(_), _)
            | (_, Scope::Endpoint(_))
            | (Scope::Namespaces(_), Scope::Cluster) => false,
            (Scope::Cluster, _) => true,
            (Scope::Namespaces(own), Scope::Namespaces(others)) => others.is_subset(own),
        };
        let has_privilege = match (self.privilege.rules(), other.privilege.rules()) {
            (Some(own), Some(others)) => covers(&own, &others).is_ok(),
            _ => match (&self.privilege, &other.privilege) {
                (Privilege::Elevation(own), Privilege::Elevation(other)) => own.contains(other),
                (own, other) => own == other,
            },
        };
        has_privilege && has_place
    }

    /// The namespaces of the target; none when it is the whole cluster, or a host.
    pub fn namespaces(&self) -> impl Iterator<Item = &str> {
        match &self.scope {
            Scope::Namespaces(names) => Some(names.iter().map(String::as_str)),
            Scope::Cluster | Scope::Endpoint(_) => None,
        }
        .into_iter()
        .flatten()
    }

    /// The same places one by one, with this role in place of what is asked for.
    #[must_use]
    pub fn each_with(&self, role: &RoleRef) -> Vec<Self> {
        let of = |scope| Self { privilege: Privilege::Role(role.clone()), scope };
        match (&self.scope, role.kind) {
            (Scope::Namespaces(names), RoleKind::Role) => names
                .iter()
                .map(|name| of(Scope::Namespaces(BTreeSet::from([name.clone()]))))
                .collect(),
            // A Role holds nowhere as a whole cluster.
            (Scope::Cluster | Scope::Endpoint(_), RoleKind::Role) => Vec::new(),
            (scope, RoleKind::ClusterRole) => vec![of(scope.clone())],
        }
    }

    /// The host and what is asked for there, if it is on one.
    #[must_use]
    pub fn on_endpoint(&self) -> Option<(&EndpointPlace, &Elevation)> {
        match (&self.scope, &self.privilege) {
            (Scope::Endpoint(place), Privilege::Elevation(elevation)) => Some((place, elevation)),
            _ => None,
        }
    }

    /// Where bindings must stand for the target to be held. Nowhere for a host: its agent holds it.
    #[must_use]
    pub fn places(&self) -> Vec<Place> {
        match &self.scope {
            Scope::Namespaces(names) => {
                names.iter().map(|name| Place { namespace: Some(name.clone()) }).collect()
            }
            Scope::Cluster => vec![Place { namespace: None }],
            Scope::Endpoint(_) => Vec::new(),
        }
    }
}

/// Checks the rules that a target spells out: each must mean something where it is asked for.
pub fn check_rules(target: &Target) -> Result<(), InvalidRule> {
    let Some(KubernetesTarget { rules, cluster_wide, .. }) = &target.kubernetes else {
        return Ok(());
    };
    rules.iter().enumerate().try_for_each(|(index, rule)| {
        let field = format!("spec.target.kubernetes.rules[{index}]");
        valid(&PolicyRule::from(rule), &field, !cluster_wide)
    })
}

impl fmt::Display for ResolvedTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.scope {
            Scope::Namespaces(names) => {
                let names = names.iter().map(String::as_str).collect::<Vec<_>>().join(", ");
                write!(f, "{} in {names}", self.privilege)
            }
            Scope::Cluster => write!(f, "{} in the whole cluster", self.privilege),
            Scope::Endpoint(place) => write!(f, "{} {place}", self.privilege),
        }
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::json;

    use super::*;

    fn target(target: &serde_json::Value) -> ResolvedTarget {
        let target = serde_json::from_value(json!({"kubernetes": target})).unwrap();
        ResolvedTarget::resolve(&target, "shop").unwrap()
    }

    fn role(name: &str, namespaces: &[&str]) -> serde_json::Value {
        json!({"role": {"kind": "ClusterRole", "name": name}, "namespaces": namespaces})
    }

    fn rules(verbs: &[&str]) -> serde_json::Value {
        json!({"rules": [{"apiGroups": [""], "resources": ["pods"], "verbs": verbs}]})
    }

    #[rstest]
    #[case::the_same(role("edit", &[]), role("edit", &["shop"]), true)]
    #[case::one_of_two(role("edit", &["shop", "bank"]), role("edit", &["bank"]), true)]
    #[case::one_more(role("edit", &["shop"]), role("edit", &["shop", "bank"]), false)]
    #[case::another_role(role("edit", &[]), role("view", &[]), false)]
    #[case::fewer_rules(rules(&["get", "list"]), rules(&["get"]), true)]
    #[case::more_rules(rules(&["get"]), rules(&["get", "list"]), false)]
    #[case::rules_of_a_role(role("edit", &[]), rules(&["get"]), false)]
    #[case::a_role_for_rules(rules(&["*"]), role("view", &[]), false)]
    fn contains_what_lies_within(
        #[case] own: serde_json::Value,
        #[case] other: serde_json::Value,
        #[case] expected: bool,
    ) {
        assert_eq!(target(&own).contains(&target(&other)), expected);
    }

    #[rstest]
    #[case::the_namespace_of_the_request(role("edit", &[]), "edit in shop")]
    #[case::of_one_namespace(json!({"role": {"kind": "Role", "name": "deployer"}}), "Role deployer in shop")]
    #[case::several(role("edit", &["d", "b", "c", "a"]), "edit in a, b and 2 more")]
    #[case::rules(rules(&["get", "list"]), "get, list pods in shop")]
    #[case::long(
        role(&"r".repeat(253), &[&"n".repeat(63)]),
        &format!("{}… in {}…", "r".repeat(39), "n".repeat(36)),
    )]
    #[case::everywhere(
        json!({"role": {"kind": "ClusterRole", "name": "edit"}, "clusterWide": true}),
        "edit cluster-wide",
    )]
    fn lists_say_what_and_where(#[case] of: serde_json::Value, #[case] expected: &str) {
        assert_eq!(target(&of).in_brief(), expected);
    }

    #[test]
    fn lists_say_as_whom_on_a_host() {
        let endpoint = json!({"name": "web-1", "localUser": "al", "admin": {}});
        let on_host = serde_json::from_value(json!({"endpoint": endpoint})).unwrap();
        let target = ResolvedTarget::resolve(&on_host, "shop").unwrap();
        assert_eq!(target.in_brief(), format!("{} on web-1 as al", target.privilege));
    }

    #[test]
    fn the_whole_cluster_contains_each_namespace() {
        let mut whole = role("edit", &[]);
        whole["clusterWide"] = json!(true);
        let (whole, shop) = (target(&whole), target(&role("edit", &["shop"])));
        assert!(whole.contains(&shop) && whole.contains(&whole) && !shop.contains(&whole));
    }
}
