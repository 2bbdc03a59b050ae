//! Rules of RBAC, as a request spells them out and as an approval keeps them.

use k8s_openapi::api::rbac::v1::PolicyRule;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::schema;

/// An RBAC rule of Kubernetes: each of its verbs on each of its resources in each of its API groups.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RoleRule {
    /// The API groups of the resources; the core group is the empty string.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::rule_values")]
    pub api_groups: Vec<String>,
    /// The resources, such as `pods` or `pods/log`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::rule_values")]
    pub resources: Vec<String>,
    /// The names of objects to which the rule is limited. Absent (an exception, as in RBAC: elsewhere absent means
    /// nothing): all names.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::rule_values")]
    pub resource_names: Vec<String>,
    /// Paths that are not resources, such as `/healthz`. Only in the whole cluster.
    #[serde(default, rename = "nonResourceURLs", skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::rule_values")]
    pub non_resource_urls: Vec<String>,
    /// The verbs that are allowed, such as `get`.
    #[schemars(schema_with = "schema::rule_values")]
    pub verbs: Vec<String>,
}

/// The rules of a role as they were at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RecordedRules {
    /// The namespace of a `Role`; absent for a ClusterRole.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::namespace_name")]
    pub namespace: Option<String>,
    /// What it allowed, in its shortest form.
    #[schemars(length(max = 256))]
    pub rules: Vec<RoleRule>,
}

impl From<&RoleRule> for PolicyRule {
    fn from(rule: &RoleRule) -> Self {
        let RoleRule { api_groups, resources, resource_names, non_resource_urls, verbs } =
            rule.clone();
        let list = |values: Vec<String>| (!values.is_empty()).then_some(values);
        Self {
            api_groups: list(api_groups),
            resources: list(resources),
            resource_names: list(resource_names),
            non_resource_urls: list(non_resource_urls),
            verbs,
        }
    }
}

impl From<PolicyRule> for RoleRule {
    fn from(rule: PolicyRule) -> Self {
        let PolicyRule { api_groups, resources, resource_names, non_resource_urls, verbs } = rule;
        Self {
            api_groups: api_groups.unwrap_or_default(),
            resources: resources.unwrap_or_default(),
            resource_names: resource_names.unwrap_or_default(),
            non_resource_urls: non_resource_urls.unwrap_or_default(),
            verbs,
        }
    }
}
