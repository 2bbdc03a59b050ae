//! What a policy is about: roles of Kubernetes and where, or hosts and what may be done on them.

use std::collections::BTreeMap;

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Admin, Command, RoleRef, RoleRule, schema};

/// What a policy is about: exactly one kind of target.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[x_kube(
    validation = Rule::new("(has(self.kubernetes) ? 1 : 0) + (has(self.endpoint) ? 1 : 0) + (has(self.all) && self.all ? 1 : 0) == 1")
        .message("a target has exactly one kind; set kubernetes or endpoint, or, with effect Deny, all")
)]
pub struct PolicyTarget {
    /// Everything, of every kind. With effect Deny alone.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub all: bool,
    /// Existing roles of Kubernetes, in namespaces or cluster-wide.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kubernetes: Option<KubernetesTargets>,
    /// Hosts outside the cluster, and what may be done on them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<EndpointTargets>,
}

/// Hosts, and the elevations that may be asked for on them. A request may ask for any one of these on any one of
/// the hosts.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("!(has(self.all) && self.all && (has(self.selector) || has(self.names) && size(self.names) > 0))")
        .message("all excludes names and selector: name or select endpoints, or take all of them")
)]
pub struct EndpointTargets {
    /// These Endpoints, by name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::object_names")]
    pub names: Vec<String>,
    /// Those whose labels match, as they are labelled at the time. Whoever may label Endpoints decides what this
    /// means.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub selector: Option<LabelSelector>,
    /// Every Endpoint.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub all: bool,
    /// Whether `sudo` for everything may be asked for. Who has it can undo anything on that host, the end of the
    /// right included: such a right is ended by what its holder left standing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub admin: Option<Admin>,
    /// The commands that may be asked for; a request names some of them. Empty: none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub commands: Vec<Command>,
    /// The local groups that may be asked for. Empty: none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::local_names")]
    pub groups: Vec<String>,
    /// Whether commands and groups that make their holder root may be asked for: shells, interpreters, editors, package
    /// managers and the like, whatever their arguments are; groups such as `docker` or `disk`. Such a right is `admin` under
    /// another name. `admin` itself needs no more than to be offered.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub allow_escalation: bool,
    /// Who is which local user. `Mapped`, the default: as the Endpoint says in `spec.users`. `SameName`: besides, who
    /// is not listed there is the local user of their own user name, where that can be one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub local_users: Option<LocalUsers>,
}

/// Who is which local user of a host.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum LocalUsers {
    /// As the Endpoint says.
    #[default]
    Mapped,
    /// As the Endpoint says, and else the user of the same name.
    SameName,
}

/// Roles of Kubernetes that may be asked for, and where. A request may ask for any one of the roles
/// in any of the namespaces.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct KubernetesTargets {
    /// The roles that may be asked for. The installation must allow the controller to bind them
    /// (`controller.bindableRoles` of the chart). Empty: none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub roles: Vec<RoleRef>,
    /// Rules within which a request may spell out its own, in place of a whole role. The installation must
    /// let the controller hand them out (`controller.grantableRules` of the chart). With effect Deny: what
    /// no role that is asked for may contain. Empty: none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub rules: Vec<RoleRule>,
    /// The namespaces in which they may be asked for. Absent: in none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespaces: Option<NamespaceSet>,
    /// Whether a role may be asked for in the whole cluster, which gives it in every namespace, those
    /// of the system included.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub cluster_wide: bool,
    /// Whether roles that let their holder climb further may be asked for: roles that can write roles
    /// or bindings, impersonate, or change admission, and, cluster-wide or in a protected namespace,
    /// also those that read secrets or run workloads. Such a right is not one right for a time, it is
    /// every right for as long as its holder likes; the session guard and the audit log are what is
    /// left. With it, protected namespaces that are named are offered, too.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub allow_escalation: bool,
}

/// A set of namespaces: those by name and those by label. Empty: none.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[x_kube(
    validation = Rule::new("!(has(self.all) && self.all && (has(self.selector) || has(self.names) && size(self.names) > 0))")
        .message("all excludes names and selector: name or select namespaces, or take all of them")
)]
pub struct NamespaceSet {
    /// These namespaces, by name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::namespace_names")]
    pub names: Vec<String>,
    /// Those whose labels match, as they are labelled at the time. The protected ones are never
    /// selected. Whoever may label namespaces decides what this means.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub selector: Option<LabelSelector>,
    /// Every namespace but the protected ones.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub all: bool,
}

/// A selector of labels, as everywhere in Kubernetes, but that an empty one selects nothing and is
/// refused. All requirements must hold.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("has(self.matchLabels) && size(self.matchLabels) > 0 || has(self.matchExpressions) && size(self.matchExpressions) > 0")
        .message("an empty selector selects nothing; set matchLabels or matchExpressions")
)]
pub struct LabelSelector {
    /// These labels with these values.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 32))]
    pub match_labels: BTreeMap<String, LabelValue>,
    /// Requirements on single labels.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    pub match_expressions: Vec<LabelRequirement>,
}

/// The value of a label.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct LabelValue(#[schemars(length(max = 63))] pub String);

/// A requirement on one label.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[x_kube(
    validation = Rule::new("self.operator in ['In', 'NotIn'] ? (has(self.values) && size(self.values) > 0) : !(has(self.values) && size(self.values) > 0)")
        .message("In and NotIn need values, Exists and DoesNotExist take none")
)]
pub struct LabelRequirement {
    /// The key of the label.
    #[schemars(length(min = 1, max = 317))]
    pub key: String,
    /// How the values are compared.
    pub operator: LabelOperator,
    /// The values, with `In` and `NotIn`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    pub values: Vec<LabelValue>,
}

/// How a label is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum LabelOperator {
    /// The label has one of the values.
    In,
    /// The label has none of the values, or does not exist.
    NotIn,
    /// The label exists.
    Exists,
    /// The label does not exist.
    DoesNotExist,
}
