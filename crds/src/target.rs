//! For what: the right that a request asks for and a grant gives.

use std::fmt;

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{EndpointTarget, RoleRule, schema};

/// The kinds of role.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
pub enum RoleKind {
    /// A role of the whole cluster, which can be bound in a namespace or cluster-wide.
    ClusterRole,
    /// A role of one namespace.
    Role,
}

impl fmt::Display for RoleKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::ClusterRole => "ClusterRole",
            Self::Role => "Role",
        })
    }
}

/// An existing role of Kubernetes' RBAC.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub struct RoleRef {
    /// ClusterRole or Role.
    pub kind: RoleKind,
    /// The name of the role.
    #[schemars(schema_with = "schema::rbac_name")]
    pub name: String,
}

impl fmt::Display for RoleRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.kind, self.name)
    }
}

/// What is requested: exactly one kind of target.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[x_kube(
    validation = Rule::new("has(self.kubernetes) != has(self.endpoint)")
        .message("a target has exactly one kind; set kubernetes or endpoint")
)]
pub struct Target {
    /// An existing role of Kubernetes, or rules, and where they apply.
    ///
    /// For example, `{role: {kind: ClusterRole, name: edit}, namespaces: [shop]}` requests what the role `edit` allows,
    /// only in the namespace `shop`; without `namespaces` it is the namespace of the request, and with
    /// `clusterWide: true` the whole cluster. With `rules` instead of `role` it requests only these rules. JitPolicies
    /// say who may request what, and where.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kubernetes: Option<KubernetesTarget>,
    /// A host outside the cluster, and what may be done there.
    ///
    /// For example, `{name: web-1, group: adm}` requests membership of the local group `adm`,
    /// `{name: web-1, commands: [{path: /usr/bin/systemctl, args: [restart, nginx]}]}` to run only that command as
    /// root, `{name: web-1, application: restart-web}` the application of that name, and
    /// `{name: web-1, account: {action: Enable}}` that the own local user is enabled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<EndpointTarget>,
}

/// A role of Kubernetes, or rules, and where they apply.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("!(has(self.clusterWide) && self.clusterWide && has(self.namespaces) && size(self.namespaces) > 0)")
        .message("clusterWide and namespaces exclude one another: request the whole cluster, or namespaces"),
    validation = Rule::new("has(self.role) != (has(self.rules) && size(self.rules) > 0)")
        .message("set exactly one of role (an existing role) and rules (just these rules)"),
    validation = Rule::new("!(has(self.clusterWide) && self.clusterWide && has(self.role) && self.role.kind == 'Role')")
        .message("a Role belongs to one namespace and cannot be bound cluster-wide; name a ClusterRole")
)]
pub struct KubernetesTarget {
    /// The role to bind. It must exist, and a policy must offer it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<RoleRef>,
    /// The rules to grant, instead of a whole role: they must lie within the rules that a policy offers. Lapse creates
    /// a role with exactly these rules, and deletes it at the end.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    pub rules: Vec<RoleRule>,
    /// The namespaces in which the role or the rules apply. Absent: the namespace of the request.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::namespace_names")]
    pub namespaces: Vec<String>,
    /// Whether the role or the rules apply in the whole cluster, with a ClusterRoleBinding. Absent: no.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub cluster_wide: bool,
}

/// A policy as it was at one moment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PolicyRef {
    /// The name of the JitPolicy.
    #[schemars(schema_with = "schema::object_name")]
    pub name: String,
    /// Its UID.
    #[schemars(schema_with = "schema::uid")]
    pub uid: String,
    /// The generation of its spec.
    pub generation: i64,
}
