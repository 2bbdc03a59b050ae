//! The rules of a role, as far as decisions depend on them.

use std::collections::BTreeMap;

use k8s_openapi::api::rbac::v1::PolicyRule;
use lapse_crds::{RecordedRules, RoleRule};
use sha2::{Digest, Sha256};

use crate::rules::{compact, gained, overlaps};
use crate::target::ResolvedTarget;

/// The most bytes of JSON that are kept of the rules of a role: a decision and a Grant carry them, and
/// those of `admin` take 5 KiB.
const MOST_KEPT: usize = 16 * 1024;

/// What was kept of the rules of a role with an approval, or with a Grant.
#[derive(Clone, Copy, Debug)]
pub struct Kept<'a> {
    /// Their hash.
    pub hash: Option<&'a str>,
    /// The rules; empty if they were too large to be kept.
    pub rules: &'a [RecordedRules],
}

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

    /// The rules that a request spells out: those of the role that is made of them.
    #[must_use]
    pub fn spelled_out(target: &ResolvedTarget) -> Option<Self> {
        target.privilege.rules().map(Self::of_cluster_role)
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

    /// Takes over the rules of other places.
    pub fn join(&mut self, other: Self) {
        self.0.extend(other.0);
    }

    /// Whether any right is both in these rules and in those.
    #[must_use]
    pub fn overlap(&self, rules: &[PolicyRule]) -> bool {
        self.0.values().any(|own| overlaps(own, rules))
    }

    /// The rules as an approval keeps them; empty if they take too much room, or more than the schema has.
    #[must_use]
    pub fn to_keep(&self) -> Vec<RecordedRules> {
        let kept: Vec<RecordedRules> = self.0.iter().map(recorded).collect();
        let fits = |list: &Vec<String>| {
            list.len() <= 512 && list.iter().all(|value| value.chars().count() <= 512)
        };
        let rule_fits = |rule: &RoleRule| {
            let RoleRule { api_groups, resources, resource_names, non_resource_urls, verbs } = rule;
            [api_groups, resources, resource_names, non_resource_urls, verbs].into_iter().all(fits)
        };
        let list_fits =
            |list: &RecordedRules| list.rules.len() <= 256 && list.rules.iter().all(rule_fits);
        let size = serde_json::to_string(&kept).map_or(usize::MAX, |text| text.len());
        let is_small = kept.len() <= 64 && size <= MOST_KEPT && kept.iter().all(list_fits);
        if is_small { kept } else { Vec::new() }
    }

    /// Whether the role allows what it did not allow then, in words that follow "the role"; `None` if it
    /// does not. It may have lost rules.
    #[must_use]
    pub fn widened_since(&self, kept: Kept<'_>) -> Option<String> {
        if kept.hash == Some(&*self.hash()) {
            return None;
        }
        if kept.rules.is_empty() {
            let why = "has changed since the approval, and is too large to tell whether it has gained rules";
            return Some(why.to_owned());
        }
        self.lists().find_map(|(namespace, rules)| {
            let of_role =
                |list: &&RecordedRules| list.namespace.as_deref().unwrap_or_default() == namespace;
            let then = kept.rules.iter().filter(of_role).flat_map(|list| &list.rules);
            let then: Vec<PolicyRule> = then.map(PolicyRule::from).collect();
            let gained = gained(&then, rules);
            let place =
                if namespace.is_empty() { String::new() } else { format!(" in {namespace}") };
            (!gained.is_empty()).then(|| format!("has gained {gained}{place} since the approval"))
        })
    }
}

fn recorded((namespace, rules): (&String, &Vec<PolicyRule>)) -> RecordedRules {
    RecordedRules {
        namespace: Some(namespace.clone()).filter(|namespace| !namespace.is_empty()),
        rules: compact(rules).into_iter().map(RoleRule::from).collect(),
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
    fn what_is_lost_is_no_gain() {
        let pods = rule(&["get", "list"], &["pods"]);
        let secrets = rule(&["get"], &["secrets"]);
        let then = RoleRules::of_cluster_role(vec![pods.clone()]);
        let widened = |now: Vec<PolicyRule>| {
            let (hash, rules) = (then.hash(), then.to_keep());
            RoleRules::of_cluster_role(now).widened_since(Kept { hash: Some(&hash), rules: &rules })
        };
        assert_eq!(widened(vec![pods.clone()]), None);
        assert_eq!(widened(vec![rule(&["get"], &["pods"])]), None);
        assert_eq!(widened(vec![]), None);
        insta::assert_snapshot!(widened(vec![pods, secrets]).unwrap(), @"has gained get secrets since the approval");
    }

    #[test]
    fn a_role_counts_in_each_namespace() {
        let pods = rule(&["get"], &["pods"]);
        let of = |namespaces: &[&str]| {
            RoleRules::of_roles(
                namespaces.iter().map(|name| ((*name).to_owned(), vec![pods.clone()])),
            )
        };
        let then = of(&["shop"]);
        let kept = then.to_keep();
        let since = Kept { hash: Some("other"), rules: &kept };
        assert_eq!(then.widened_since(since), None);
        insta::assert_snapshot!(of(&["bank", "shop"]).widened_since(since).unwrap(), @"has gained get pods in bank since the approval");
    }

    #[test]
    fn what_is_too_large_to_keep_may_not_change() {
        let names: Vec<String> = (0..400).map(|n| format!("{n}{}", "x".repeat(50))).collect();
        let large = PolicyRule { resource_names: Some(names), ..rule(&["get"], &["secrets"]) };
        let then = RoleRules::of_cluster_role(vec![large]);
        assert_eq!(then.to_keep(), []);
        let hash = then.hash();
        let since = Kept { hash: Some(&hash), rules: &[] };
        assert_eq!(then.widened_since(since), None);
        assert!(RoleRules::default().widened_since(since).is_some());
    }

    #[test]
    fn an_entry_cannot_look_like_two() {
        let hash = |verbs: &[&str]| RoleRules::of_cluster_role(vec![rule(verbs, &["pods"])]).hash();
        assert_ne!(hash(&["get", "list"]), hash(&[r#"get", "list"#]));
    }
}
