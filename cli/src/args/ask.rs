//! What is asked for.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{ArgGroup, Args};
use lapse_crds::{AccountAction, GrantDuration, RoleRule, Timestamp};

pub(super) const EXAMPLES: &str = "\
Examples:
  kubectl jit request edit -n shop --for 1h --reason 'Checkout fails for EU cards' --wait
  kubectl jit request view --cluster-wide --ticket INC0012345
  kubectl jit request --rules get,list:pods,pods/log --rules patch:deployments.apps:checkout -n shop
  kubectl jit request --endpoint web-1 --command '/usr/bin/systemctl restart nginx' --for 10m
  kubectl jit request --endpoint web-1 --application restart-web
  kubectl jit request --endpoint web-1 --account raise --group adm --group ops
  kubectl jit request --endpoint-selector role=web --account provision --batch outage-17
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
    /// Have the agent of this host prove that you request here, which policies with workstations require
    #[arg(long)]
    pub(crate) from_host: bool,
}

/// The right itself: a role, rules, or something on a host.
#[derive(Args, Clone, Debug, Default)]
#[command(group = ArgGroup::new("what").args(["role", "rules", "endpoint", "endpoint_selector"]))]
#[command(group = ArgGroup::new("host").args(["endpoint", "endpoint_selector"]))]
#[command(group = ArgGroup::new("elevation").args(["admin", "commands", "groups", "application", "account"]).multiple(true).requires("host"))]
pub(crate) struct AskFor {
    /// The role, such as edit; role/NAME is a Role, clusterrole/NAME a ClusterRole
    #[arg(value_name = "ROLE")]
    pub(crate) role: Option<String>,
    /// Only these rules instead of a role: VERBS:RESOURCES, or VERBS:RESOURCES:NAMES; may be given several times
    #[arg(long, value_name = "RULE", value_parser = parse_rules)]
    pub(crate) rules: Vec<Rules>,
    /// A namespace where it is to hold; may be given several times. Default: that of the request
    #[arg(long = "target-namespace", value_name = "NAMESPACE", conflicts_with_all = ["cluster_wide", "host"])]
    pub(crate) namespaces: Vec<String>,
    /// In the whole cluster
    #[arg(long, conflicts_with = "host")]
    pub(crate) cluster_wide: bool,
    /// A host instead of the cluster, with one of --admin, --command, --group, --application and --account; `request` takes
    /// several, separated by commas, and makes a request for each
    #[arg(
        long,
        value_name = "NAME",
        value_delimiter = ',',
        requires = "elevation",
        help_heading = "Hosts"
    )]
    pub(crate) endpoint: Vec<String>,
    /// All hosts whose Endpoints have these labels; a request for each
    #[arg(long, value_name = "SELECTOR", requires = "elevation", help_heading = "Hosts")]
    pub(crate) endpoint_selector: Option<String>,
    /// sudo for everything
    #[arg(long, conflicts_with_all = ["commands", "groups", "application", "account"], help_heading = "Hosts")]
    pub(crate) admin: bool,
    /// sudo for this command: an absolute path and exact arguments, in one word; may be given several times
    #[arg(long = "command", value_name = "COMMAND", conflicts_with_all = ["groups", "application", "account"], help_heading = "Hosts")]
    pub(crate) commands: Vec<String>,
    /// Membership of this local group; with --account, a group that the account joins, and may be given several times
    #[arg(
        long = "group",
        value_name = "NAME",
        conflicts_with = "application",
        help_heading = "Hosts"
    )]
    pub(crate) groups: Vec<String>,
    /// One program as root, run by the agent: the application of this name
    #[arg(long, value_name = "NAME", conflicts_with = "account", help_heading = "Hosts")]
    pub(crate) application: Option<String>,
    /// Your own local user there: enabled if it is disabled, created if it does not exist, or in more groups
    #[arg(long, value_name = "ACTION", value_parser = account(), ignore_case = true, help_heading = "Hosts")]
    pub(crate) account: Option<AccountAction>,
    /// As this local user. Default: the one that you are there
    #[arg(long, value_name = "NAME", requires = "host", help_heading = "Hosts")]
    pub(crate) local_user: Option<String>,
}

impl AskFor {
    /// Whether it is about hosts, and how many of them is not known to be one.
    pub(crate) fn is_for_several(&self) -> bool {
        self.endpoint.len() > 1 || self.endpoint_selector.is_some()
    }

    /// The same, on one host.
    pub(crate) fn on(&self, host: &str) -> Self {
        Self { endpoint: vec![host.to_owned()], endpoint_selector: None, ..self.clone() }
    }
}

/// What is done with a local account, as people write it.
fn account() -> impl TypedValueParser<Value = AccountAction> {
    PossibleValuesParser::new(["enable", "provision", "raise"]).map(|text| {
        match text.to_ascii_lowercase().as_str() {
            "enable" => AccountAction::Enable,
            "provision" => AccountAction::Provision,
            _ => AccountAction::Raise,
        }
    })
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
    use clap::Parser as _;
    use clap::error::ErrorKind;
    use rstest::rstest;

    use super::*;
    use crate::args::{Cli, Command};

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

    fn asked(line: &str) -> Result<Cli, clap::Error> {
        let begin = ["kubectl-jit", "request", "--endpoint", "web-1"];
        Cli::try_parse_from(begin.into_iter().chain(line.split(' ')))
    }

    #[rstest]
    #[case("--admin --group adm")]
    #[case("--admin --application dump")]
    #[case("--command /usr/bin/id --account enable")]
    #[case("--application dump --account enable")]
    #[case("--application dump --group adm")]
    fn one_thing_is_asked_for_on_a_host(#[case] line: &str) {
        assert_eq!(asked(line).unwrap_err().kind(), ErrorKind::ArgumentConflict);
    }

    #[rstest]
    #[case("--account enable", AccountAction::Enable, &[])]
    #[case("--account Provision --group adm", AccountAction::Provision, &["adm"])]
    #[case("--account raise --group adm --group ops", AccountAction::Raise, &["adm", "ops"])]
    fn an_account_is_asked_for_with_its_groups(
        #[case] line: &str,
        #[case] action: AccountAction,
        #[case] groups: &[&str],
    ) {
        let Command::Request { ask, .. } = asked(line).unwrap().command else {
            panic!("no request")
        };
        assert_eq!(ask.what.account, Some(action));
        assert_eq!(ask.what.groups, words(groups));
    }

    #[rstest]
    #[case("+2h", "1970-01-01T02:00:00.000000Z")]
    #[case("2026-11-21T23:00:00+01:00", "2026-11-21T22:00:00.000000Z")]
    fn starts_are_times_or_from_now_on(#[case] text: &str, #[case] start: &str) {
        assert_eq!(parse_start(text, DateTime::UNIX_EPOCH).unwrap().to_string(), start);
    }
}
