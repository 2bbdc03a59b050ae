//! How much of what was given was used, and what would have been enough.

use k8s_openapi::api::rbac::v1::PolicyRule;
use lapse_crds::{Grant, RoleRule};
use lapse_engine::rules::{Right, compact, covers};
use serde::Serialize;

use super::audit::Done;
use crate::rules::in_words;

/// How much of what was given was used.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Usage {
    /// How many requests of the API server it allowed.
    pub(super) calls: u64,
    /// How many rules it had; absent if the Grant does not have them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) granted: Option<usize>,
    /// How many of them were used.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) used: Option<usize>,
    /// Those that were not used, in words.
    pub(super) unused: Vec<String>,
    /// The rules of a role that would have been enough.
    pub(super) smaller_role: Vec<RoleRule>,
}

impl Usage {
    pub(super) fn of(grant: &Grant, done: &Done) -> Self {
        let needed: Vec<PolicyRule> = done.rights.iter().map(needs).collect();
        let smaller_role = compact(&needed).into_iter().map(RoleRule::from).collect();
        let rules = granted(grant);
        let is_used = |rule: &&RoleRule| {
            let rule = [PolicyRule::from(*rule)];
            needed.iter().any(|need| covers(&rule, std::slice::from_ref(need)).is_ok())
        };
        let used = rules.iter().filter(is_used).count();
        let unused = rules.iter().filter(|rule| !is_used(rule)).map(in_words).collect();
        let known = |count| (!rules.is_empty()).then_some(count);
        Self {
            calls: done.calls,
            granted: known(rules.len()),
            used: known(used),
            unused,
            smaller_role,
        }
    }
}

/// The rules of a Grant: those that the request spelled out, or those of the role as it was approved.
fn granted(grant: &Grant) -> Vec<RoleRule> {
    let spelled = grant.spec.target.kubernetes.iter().flat_map(|target| &target.rules);
    let recorded = grant.spec.rules.iter().flat_map(|list| &list.rules);
    let mut rules: Vec<RoleRule> = Vec::new();
    for rule in spelled.chain(recorded) {
        if !rules.contains(rule) {
            rules.push(rule.clone());
        }
    }
    rules
}

/// The rule that allows this and nothing else.
fn needs(right: &Right) -> PolicyRule {
    match right {
        Right::Resource { verb, group, resource, name } => PolicyRule {
            api_groups: Some(vec![group.clone()]),
            resources: Some(vec![resource.clone()]),
            resource_names: name.clone().map(|name| vec![name]),
            verbs: vec![verb.clone()],
            ..PolicyRule::default()
        },
        Right::Url { verb, path } => PolicyRule {
            non_resource_urls: Some(vec![path.clone()]),
            verbs: vec![verb.clone()],
            ..PolicyRule::default()
        },
    }
}

#[cfg(test)]
pub(super) mod tests {
    use serde_json::json;

    use super::*;

    pub(in super::super) fn grant(rules: &serde_json::Value) -> Grant {
        serde_json::from_value(json!({
            "apiVersion": "lapse.dev/v1alpha1", "kind": "Grant", "metadata": {"name": "fix-0a"},
            "spec": {
                "request": {"namespace": "shop", "name": "fix", "uid": "u"},
                "policy": {"name": "shop", "uid": "p", "generation": 1},
                "subject": {"kind": "User", "name": "alice"},
                "target": {"kubernetes": {"role": {"kind": "ClusterRole", "name": "edit"}, "namespaces": ["shop"]}},
                "startsAt": "2026-01-01T00:00:00.000000Z", "expiresAt": "2026-01-01T01:00:00.000000Z",
                "rulesHash": "sha256:0", "rules": rules,
            },
        }))
        .unwrap()
    }

    fn right(verb: &str, resource: &str) -> Right {
        let (group, resource) = resource.split_once('/').unwrap_or(("", resource));
        let text = str::to_owned;
        Right::Resource {
            verb: text(verb),
            group: text(group),
            resource: text(resource),
            name: None,
        }
    }

    #[test]
    fn a_smaller_role_allows_what_was_done() {
        let rules = json!([{"rules": [
            {"apiGroups": ["", "apps"], "resources": ["*"], "verbs": ["get", "list", "watch"]},
            {"apiGroups": ["apps"], "resources": ["deployments"], "verbs": ["delete", "patch"]},
            {"apiGroups": [""], "resources": ["secrets"], "verbs": ["*"]},
        ]}]);
        let rights =
            [right("get", "pods"), right("list", "pods"), right("patch", "apps/deployments")];
        let done = Done { calls: 9, rights: rights.into_iter().collect() };
        let usage = Usage::of(&grant(&rules), &done);
        insta::assert_snapshot!(serde_json::to_string_pretty(&usage).unwrap());
    }

    #[test]
    fn without_rules_nothing_is_said_of_them() {
        let usage = Usage::of(&grant(&json!([])), &Done::default());
        assert_eq!((usage.granted, usage.used, usage.calls), (None, None, 0));
        assert!(usage.smaller_role.is_empty() && usage.unused.is_empty());
    }
}
