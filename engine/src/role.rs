//! The rules of a role, as far as decisions depend on them.

use std::collections::BTreeMap;

use k8s_openapi::api::rbac::v1::PolicyRule;
use sha2::{Digest, Sha256};

/// The rules of the role that a request names. A `Role` stands in each namespace on its own, so there
/// is one list of rules for each; a `ClusterRole` has one, under the empty name.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RoleRules(BTreeMap<String, Vec<PolicyRule>>);

impl RoleRules {
    /// The rules of a cluster role, aggregation resolved by Kubernetes.
    #[must_use]
    pub fn of_cluster_role(rules: Vec<PolicyRule>) -> Self {
        Self(BTreeMap::from([(String::new(), rules)]))
    }

    /// The rules of the roles of this name in the namespaces of the target.
    #[must_use]
    pub fn of_roles(rules: impl IntoIterator<Item = (String, Vec<PolicyRule>)>) -> Self {
        Self(rules.into_iter().collect())
    }

    /// The lists of rules, each with the namespace of its `Role`; that of a cluster role is empty.
    pub fn lists(&self) -> impl Iterator<Item = (&str, &[PolicyRule])> {
        self.0.iter().map(|(namespace, rules)| (namespace.as_str(), rules.as_slice()))
    }

    /// A hash of the rules. Orders do not matter, content does: an approval holds for these rules.
    #[must_use]
    pub fn hash(&self) -> String {
        let mut digest = Sha256::new();
        for (namespace, rules) in &self.0 {
            let mut lines: Vec<String> = rules.iter().map(canonical_rule).collect();
            lines.sort();
            lines.dedup();
            digest.update(format!("{namespace}\n{}\n\n", lines.join("\n")));
        }
        format!("sha256:{}", hex(&digest.finalize()))
    }
}

/// One rule on one line, its lists sorted. Debug formatting quotes each entry, so that no entry can
/// look like two.
fn canonical_rule(rule: &PolicyRule) -> String {
    let PolicyRule { api_groups, non_resource_urls, resource_names, resources, verbs } = rule;
    let sorted = |list: &[String]| {
        let mut list = list.to_vec();
        list.sort();
        list.dedup();
        format!("{list:?}")
    };
    let optional = |list: &Option<Vec<String>>| sorted(list.as_deref().unwrap_or_default());
    [
        optional(api_groups),
        optional(resources),
        optional(resource_names),
        optional(non_resource_urls),
        sorted(verbs),
    ]
    .join(" ")
}

/// Bytes as lower-case hexadecimal digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(verbs: &[&str], resources: &[&str]) -> PolicyRule {
        let owned = |list: &[&str]| list.iter().map(ToString::to_string).collect::<Vec<_>>();
        PolicyRule {
            api_groups: Some(vec![String::new()]),
            resources: Some(owned(resources)),
            verbs: owned(verbs),
            ..PolicyRule::default()
        }
    }

    #[test]
    fn order_does_not_matter_and_content_does() {
        let hash = |rules: Vec<PolicyRule>| RoleRules::of_cluster_role(rules).hash();
        let a = rule(&["get", "list"], &["pods"]);
        let b = rule(&["list", "get"], &["pods"]);
        let c = rule(&["get"], &["secrets"]);
        assert_eq!(hash(vec![a.clone(), c.clone()]), hash(vec![c.clone(), b]));
        assert_ne!(hash(vec![a.clone()]), hash(vec![a, c]));
    }

    #[test]
    fn an_entry_cannot_look_like_two() {
        let hash = |verbs: &[&str]| RoleRules::of_cluster_role(vec![rule(verbs, &["pods"])]).hash();
        assert_ne!(hash(&["get", "list"]), hash(&[r#"get", "list"#]));
    }
}
