//! What is asked for.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use clap::{ArgGroup, Args};
use lapse_crds::{GrantDuration, RoleRule, Timestamp};

pub(super) const EXAMPLES: &str = "\
Examples:
  kubectl jit request edit -n shop --for 1h --reason 'Checkout fails for EU cards' --wait
  kubectl jit request view --cluster-wide --ticket INC0012345
  kubectl jit request --rules get,list:pods,pods/log --rules patch:deployments.apps:checkout -n shop
  kubectl jit request --endpoint web-1 --command '/usr/bin/systemctl restart nginx' --for 10m
  kubectl jit request edit -n shop --emergency --reason 'Nobody can pay'";

pub(super) const RUN_EXAMPLES: &str = "\
The exit status is the command's.

Examples:
  kubectl jit run edit -n shop --for 10m --reason 'Restart checkout' -- kubectl -n shop rollout restart deploy/checkout";

/// What is asked for, and why.
#[derive(Args, Clone, Debug, Default)]
pub(crate) struct Ask {
    #[command(flatten)]
    pub(crate) what: AskFor,
    /// How long, such as 45s, 30m or 1h30m. Default: the policy's
    #[arg(long = "for", value_name = "DURATION")]
    pub(crate) duration: Option<GrantDuration>,
    /// Why; approvers read it
    #[arg(long, value_name = "TEXT")]
    pub(crate) reason: Option<String>,
    /// The ticket that this is about
    #[arg(long, value_name = "TICKET")]
    pub(crate) ticket: Option<String>,
    /// The policy under which you request. Default: the one with the lowest priority number that offers it
    #[arg(long, value_name = "NAME")]
    pub(crate) policy: Option<String>,
    /// Break-glass: access at once, without approval, and a review by somebody else afterwards
    #[arg(long, conflicts_with = "at")]
    pub(crate) emergency: bool,
    /// When it is to start: a time such as 2026-11-21T22:00:00Z, or from now on, such as +2h. Default: at once
    #[arg(long, value_name = "TIME", value_parser = check_start)]
    pub(crate) at: Option<String>,
}

/// The right itself: a role, rules, or something on a host.
#[derive(Args, Clone, Debug, Default)]
#[command(group = ArgGroup::new("what").args(["role", "rules", "endpoint"]))]
#[command(group = ArgGroup::new("elevation").args(["admin", "commands", "group"]).requires("endpoint"))]
pub(crate) struct AskFor {
    /// The role, such as edit; role/NAME is a Role, clusterrole/NAME a ClusterRole
    #[arg(value_name = "ROLE")]
    pub(crate) role: Option<String>,
    /// Only these rules instead of a role: VERBS:RESOURCES, or VERBS:RESOURCES:NAMES; may be given several times
    #[arg(long, value_name = "RULE", value_parser = parse_rules)]
    pub(crate) rules: Vec<Rules>,
    /// A namespace where it is to hold; may be given several times. Default: that of the request
    #[arg(long = "target-namespace", value_name = "NAMESPACE", conflicts_with_all = ["cluster_wide", "endpoint"])]
    pub(crate) namespaces: Vec<String>,
    /// In the whole cluster
    #[arg(long, conflicts_with = "endpoint")]
    pub(crate) cluster_wide: bool,
    /// A host instead of the cluster, with one of --admin, --command and --group
    #[arg(long, value_name = "NAME", requires = "elevation", help_heading = "Hosts")]
    pub(crate) endpoint: Option<String>,
    /// sudo for everything
    #[arg(long, help_heading = "Hosts")]
    pub(crate) admin: bool,
    /// sudo for this command: an absolute path and exact arguments, in one word; may be given several times
    #[arg(long = "command", value_name = "COMMAND", help_heading = "Hosts")]
    pub(crate) commands: Vec<String>,
    /// Membership of this local group
    #[arg(long, value_name = "NAME", help_heading = "Hosts")]
    pub(crate) group: Option<String>,
    /// As this local user. Default: the one that you are there
    #[arg(long, value_name = "NAME", requires = "endpoint", help_heading = "Hosts")]
    pub(crate) local_user: Option<String>,
}

/// Rules of RBAC as people type them; resources of several API groups make a rule each.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Rules(pub(crate) Vec<RoleRule>);

/// `get,list:pods,deployments.apps`, with names after another colon.
fn parse_rules(text: &str) -> Result<Rules, String> {
    let list = |part: Option<&str>| -> Vec<String> {
        let words = part.unwrap_or_default().split(',').map(str::trim);
        words.filter(|word| !word.is_empty()).map(ToOwned::to_owned).collect()
    };
    let mut parts = text.splitn(3, ':');
    let (verbs, resources, names) = (list(parts.next()), list(parts.next()), parts.next());
    let resource_names = list(names);
    if verbs.is_empty() || resources.is_empty() || (names.is_some() && resource_names.is_empty()) {
        return Err(
            "write VERBS:RESOURCES or VERBS:RESOURCES:NAMES, each separated by commas, such as \
                    get,list:pods,deployments.apps or patch:deployments.apps:checkout"
                .to_owned(),
        );
    }
    let mut by_group = BTreeMap::<String, Vec<String>>::new();
    for (resource, group) in resources.iter().map(|name| group_of(name)) {
        by_group.entry(group).or_default().push(resource);
    }
    let rule = |(group, resources)| RoleRule {
        api_groups: vec![group],
        resources,
        resource_names: resource_names.clone(),
        verbs: verbs.clone(),
        ..RoleRule::default()
    };
    Ok(Rules(by_group.into_iter().map(rule).collect()))
}

/// `deployments.apps/scale` is the resource `deployments/scale` of the group `apps`, as kubectl writes it.
fn group_of(name: &str) -> (String, String) {
    let (resource, subresource) = name.split_once('/').unwrap_or((name, ""));
    let (resource, group) = resource.split_once('.').unwrap_or((resource, ""));
    let whole = match subresource {
        "" => resource.to_owned(),
        _ => format!("{resource}/{subresource}"),
    };
    (whole, group.to_owned())
}

pub(super) fn check_start(text: &str) -> Result<String, String> {
    parse_start(text, DateTime::UNIX_EPOCH).map(|_| text.to_owned())
}

/// A start: a time in RFC 3339, or a `+` and a duration from now on.
pub(crate) fn parse_start(text: &str, now: DateTime<Utc>) -> Result<Timestamp, String> {
    if let Some(later) = text.strip_prefix('+') {
        let later: GrantDuration =
            later.parse().map_err(|error: lapse_crds::DurationError| error.to_string())?;
        return Ok(Timestamp::new(now + later.delta()));
    }
    DateTime::parse_from_rfc3339(text).map(|time| Timestamp::new(time.with_timezone(&Utc))).map_err(
        |_| {
            "write a time as 2026-11-21T22:00:00Z or 2026-11-21T23:00:00+01:00, or a duration from now on as +2h"
                .to_owned()
        },
    )
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    fn words(text: &[&str]) -> Vec<String> {
        text.iter().map(ToString::to_string).collect()
    }

    #[rstest]
    #[case("get:pods", &["get"], "", &["pods"], &[])]
    #[case("get,list:pods,pods/log", &["get", "list"], "", &["pods", "pods/log"], &[])]
    #[case("patch:deployments.apps/scale:checkout", &["patch"], "apps", &["deployments/scale"], &["checkout"])]
    #[case("get:roles.rbac.authorization.k8s.io", &["get"], "rbac.authorization.k8s.io", &["roles"], &[])]
    #[case("get:roles.rbac.authorization.k8s.io:lapse:x", &["get"], "rbac.authorization.k8s.io", &["roles"], &["lapse:x"])]
    fn rules_are_written_as_kubectl_writes_resources(
        #[case] text: &str,
        #[case] verbs: &[&str],
        #[case] group: &str,
        #[case] resources: &[&str],
        #[case] names: &[&str],
    ) {
        let Rules(rules) = parse_rules(text).unwrap();
        let [rule] = rules.as_slice() else { panic!("{rules:?}") };
        assert_eq!(rule.verbs, words(verbs));
        assert_eq!(rule.api_groups, words(&[group]));
        assert_eq!(rule.resources, words(resources));
        assert_eq!(rule.resource_names, words(names));
    }

    #[rstest]
    #[case("")]
    #[case("get")]
    #[case(":pods")]
    #[case("get:")]
    #[case("get:pods:")]
    fn rules_that_say_too_little_are_refused(#[case] text: &str) {
        assert!(parse_rules(text).is_err());
    }

    #[test]
    fn each_group_has_a_rule_of_its_own() {
        let Rules(rules) = parse_rules("get:pods,deployments.apps").unwrap();
        let pairs: Vec<_> =
            rules.iter().map(|rule| (&*rule.api_groups[0], &*rule.resources[0])).collect();
        assert_eq!(pairs, [("", "pods"), ("apps", "deployments")]);
    }

    #[rstest]
    #[case("+2h", "1970-01-01T02:00:00.000000Z")]
    #[case("2026-11-21T23:00:00+01:00", "2026-11-21T22:00:00.000000Z")]
    fn starts_are_times_or_from_now_on(#[case] text: &str, #[case] start: &str) {
        assert_eq!(parse_start(text, DateTime::UNIX_EPOCH).unwrap().to_string(), start);
    }
}
