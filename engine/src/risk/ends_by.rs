//! By when nothing works any more that was issued or opened under a right.
//!
//! When the right is gone is one thing. An open watch, a token or a pod outlives it, and nothing of Kubernetes says which
//! there are. So this is known only of rules that allow nothing of the kind, and only where the request spelled them out:
//! a role that has a name can gain rules while it is held.

use chrono::{DateTime, TimeDelta, Utc};
use lapse_crds::{Grant, RoleRule};

/// A request that had begun is cut by the API server after this: its `--request-timeout`, unless it is told otherwise
/// (<https://kubernetes.io/docs/reference/command-line-tools-reference/kube-apiserver/>).
const IN_FLIGHT: TimeDelta = TimeDelta::minutes(1);

/// What leaves nothing behind, of any resource that holds no credentials.
const PASSING: [&str; 4] = ["get", "list", "delete", "deletecollection"];
/// What leaves data behind, and gives nothing to whoever wrote it, of what is nothing else than data.
const WRITING: [&str; 3] = ["create", "update", "patch"];

/// By when nothing works any more of what was issued or opened under a grant that ended then; `None` where that cannot be
/// known.
#[must_use]
pub fn rights_end_by(grant: &Grant, ended_at: DateTime<Utc>) -> Option<DateTime<Utc>> {
    let rules = &grant.spec.target.kubernetes.as_ref()?.rules;
    let leave_nothing = !rules.is_empty() && rules.iter().all(leaves_nothing);
    leave_nothing.then(|| ended_at + IN_FLIGHT)
}

fn leaves_nothing(rule: &RoleRule) -> bool {
    let is_plain = |resource: &str| match resource.split_once('/') {
        // A log can be followed, a proxy left open.
        Some((_, part)) => ["scale", "status"].contains(&part),
        None => resource != "secrets" && resource != "*",
    };
    let is_data = |resource: &str| resource == "configmaps" || resource.ends_with("/scale");
    let writes = rule.verbs.iter().any(|verb| WRITING.contains(&&**verb));
    let all_known =
        rule.verbs.iter().all(|verb| PASSING.contains(&&**verb) || WRITING.contains(&&**verb));
    rule.non_resource_urls.is_empty()
        && all_known
        && rule.resources.iter().all(|r| is_plain(r) && (!writes || is_data(r)))
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;
    use crate::testing::life::{marked, time};

    fn ends_by(rules: &[(&str, &str)]) -> bool {
        let list = |text: &str| text.split(' ').map(str::to_owned).collect();
        let mut grant = marked();
        let rules = rules.iter().map(|(verbs, resources)| RoleRule {
            api_groups: vec![String::new()],
            resources: list(resources),
            resource_names: Vec::new(),
            non_resource_urls: Vec::new(),
            verbs: list(verbs),
        });
        grant.spec.target.kubernetes.as_mut().unwrap().rules = rules.collect();
        let by = rights_end_by(&grant, time(100));
        assert!(by.is_none_or(|by| by == time(160)));
        by.is_some()
    }

    #[rstest]
    #[case::reads("get list", "pods services", true)]
    #[case::deletes("delete deletecollection", "pods", true)]
    #[case::writes_data("create update patch get", "configmaps deployments/scale", true)]
    #[case::watches("get watch", "pods", false)]
    #[case::reads_tokens("get", "secrets", false)]
    #[case::makes_tokens("create", "serviceaccounts/token", false)]
    #[case::goes_into_pods("get", "pods/exec", false)]
    #[case::follows("get", "pods/log", false)]
    #[case::proxies("get", "services/proxy", false)]
    #[case::starts("create", "pods", false)]
    #[case::changes_what_runs("patch", "deployments", false)]
    #[case::impersonates("impersonate", "serviceaccounts", false)]
    #[case::everything("*", "configmaps", false)]
    #[case::of_everything("get", "*", false)]
    fn what_can_be_known(#[case] verbs: &str, #[case] resources: &str, #[case] expected: bool) {
        assert_eq!(ends_by(&[(verbs, resources)]), expected);
        assert_eq!(ends_by(&[("get", "pods"), (verbs, resources)]), expected);
    }

    #[test]
    fn a_role_with_a_name_may_have_gained_rules() {
        assert_eq!(rights_end_by(&marked(), time(100)), None);
    }

    #[test]
    fn a_path_may_be_anything() {
        let mut grant = marked();
        let rule = RoleRule {
            api_groups: Vec::new(),
            resources: Vec::new(),
            resource_names: Vec::new(),
            non_resource_urls: vec!["/metrics".into()],
            verbs: vec!["get".into()],
        };
        grant.spec.target.kubernetes.as_mut().unwrap().rules = vec![rule];
        assert_eq!(rights_end_by(&grant, time(100)), None);
    }
}
