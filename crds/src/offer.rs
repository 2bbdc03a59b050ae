//! What a policy is about: roles of Kubernetes and where, or hosts and what may be done on them.

use std::collections::BTreeMap;

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{AccountTargets, Admin, Application, Capability, Command, RoleRef, RoleRule, schema};

/// What a policy offers, or denies: exactly one kind of target.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[x_kube(
    validation = Rule::new("(has(self.kubernetes) ? 1 : 0) + (has(self.endpoint) ? 1 : 0) + (has(self.all) && self.all ? 1 : 0) == 1")
        .message("a target has exactly one kind; set kubernetes or endpoint, or, with effect Deny, all")
)]
pub struct PolicyTarget {
    /// Everything, of every kind. Only with effect Deny.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub all: bool,
    /// Roles of Kubernetes, or rules, in namespaces or cluster-wide.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kubernetes: Option<KubernetesTargets>,
    /// Hosts outside the cluster, and what may be done on them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<EndpointTargets>,
}

/// Hosts, and what may be requested on them. A request may name any one of these on any one of the hosts.
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
    /// Endpoints whose current labels match. Whoever may label Endpoints decides which these are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub selector: Option<LabelSelector>,
    /// Every Endpoint. Absent: no.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub all: bool,
    /// If set (`{}`), `sudo` for everything may be requested. Absent: no. A holder can undo anything on that host,
    /// including what ends the access: its end relies on what the holder has left in place.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub admin: Option<Admin>,
    /// The commands that may be requested; a request names some of them. Empty: none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub commands: Vec<Command>,
    /// The local groups that may be requested. Empty: none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::local_names")]
    pub groups: Vec<String>,
    /// The applications that may be requested, each by its name: one program that the agent itself runs as root, with
    /// fixed arguments. Of two entries of this policy that have one of the same name, the first that applies decides.
    /// With effect Deny, the name alone counts. Empty: none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = 32),
        extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"])
    )]
    pub applications: Vec<Application>,
    /// What may be requested of the requester's own local account: that it is enabled, created, or in more groups, for
    /// a time. Empty: nothing.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub accounts: Vec<AccountTargets>,
    /// What the agent of a host must be for anything to be granted there by this entry. Other entries and policies are
    /// not affected. Absent: any agent that can do what is requested.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent: Option<AgentRequirement>,
    /// Whether commands, applications and groups that make their holder root may be requested: shells, interpreters,
    /// editors, package managers and the like, whatever their arguments are, and groups such as `docker` or `disk`.
    /// They are equivalent to `admin`, which does not need this field. Absent: no.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub allow_escalation: bool,
    /// Which local user belongs to whom. `Mapped`: as the Endpoint says in `spec.users`. `SameName`: in addition,
    /// whoever is not listed there is the local user of the same name, if the user name can be one. Absent: Mapped.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub local_users: Option<LocalUsers>,
}

/// What the agent of a host must be. It is checked when a request is decided, and again when access starts; access that
/// is active is not ended when an older agent is installed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("has(self.minVersion) || has(self.capabilities) && size(self.capabilities) > 0")
        .message("agent requires nothing: set minVersion, capabilities or both, or leave agent out")
)]
pub struct AgentRequirement {
    /// The oldest release of the agent, such as `0.3.0`; a release candidate is older than its release. What an agent
    /// reports that is no version counts as older. Absent: any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::release")]
    pub min_version: Option<String>,
    /// What the agent must have found that it can do on its host, such as `RuleCarriesEnd`; `status.report` of the
    /// Endpoint lists it. Absent: nothing.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32), extend("x-kubernetes-list-type" = "set"))]
    pub capabilities: Vec<Capability>,
}

/// Which local user belongs to whom. `Mapped`: as the Endpoint says in `spec.users`. `SameName`: in addition, whoever
/// is not listed there is the local user of the same name, if the user name can be one. Absent: Mapped.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum LocalUsers {
    /// As the Endpoint says.
    #[default]
    Mapped,
    /// As the Endpoint says, and otherwise the local user of the same name.
    SameName,
}

/// Roles of Kubernetes, or rules, that may be requested, and where. A request names one of the `roles`, or rules that
/// lie within the `rules`, in any of the namespaces.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct KubernetesTargets {
    /// The roles that may be requested. The installation must allow the controller to bind them (the chart's value
    /// `controller.bindableRoles`). Empty: none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub roles: Vec<RoleRef>,
    /// Rules within which a request may spell out its own, instead of a whole role. The installation must allow the
    /// controller to grant them (the chart's value `controller.grantableRules`). With effect Deny: no requested role
    /// may contain any of them. Empty: none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub rules: Vec<RoleRule>,
    /// The namespaces in which they may be requested. Absent: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespaces: Option<NamespaceSet>,
    /// Whether a role or rules may be requested for the whole cluster, which grants them in every namespace, system
    /// namespaces included. Absent: no.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub cluster_wide: bool,
    /// Whether roles that allow privilege escalation may be requested: roles that can write roles or bindings,
    /// impersonate, or change admission, and, cluster-wide or in a protected namespace, also those that can read
    /// Secrets or run workloads. A holder of such a role can grant themselves everything, for as long as they like;
    /// only the session guard and the audit log are left. It also offers protected namespaces that are named. Absent:
    /// no.
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
    /// Namespaces whose current labels match. Protected namespaces are never selected. Whoever may label namespaces
    /// decides which these are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub selector: Option<LabelSelector>,
    /// Every namespace except the protected ones. Absent: no.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub all: bool,
}

/// A label selector, as everywhere in Kubernetes, except that an empty one selects nothing and is refused. All
/// requirements must be met.
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
