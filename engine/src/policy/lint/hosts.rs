//! What is allowed in a policy about hosts and yet unwise.

use std::cmp::Ordering;

use lapse_crds::{AccountTargets, Application, Command, EndpointTargets, JitPolicySpec};
use semver::Version;

use super::is_deny;
use crate::elevation::in_words;
use crate::elevation::root_equal::{RootEqual, of_group, of_program};

/// The release of which this is a part, and with which its agents come.
const RELEASE: &str = env!("CARGO_PKG_VERSION");

/// What stands for other text in a shell, and in a rule of sudo that is written by hand.
const WILDCARDS: [char; 3] = ['*', '?', '['];

pub(super) fn hosts(spec: &JitPolicySpec) -> Vec<String> {
    let targets = spec.targets.iter().enumerate();
    let targets = targets.filter_map(|(index, target)| Some((index, target.endpoint.as_ref()?)));
    let of_target = |(index, targets): (usize, &EndpointTargets)| {
        let field = format!("spec.targets[{index}].endpoint");
        let climbing = (!is_deny(spec)).then(|| climbing(&field, targets)).flatten();
        let told = [climbing, wildcard(&field, targets), not_released(&field, targets)];
        told.into_iter().flatten().collect::<Vec<_>>()
    };
    targets.flat_map(of_target).collect()
}

/// What of it makes its holder root under another name: accepted, or refused in each request.
fn climbing(field: &str, targets: &EndpointTargets) -> Option<String> {
    if targets.allow_escalation {
        return Some(format!(
            "{field}.allowEscalation: whoever holds a shell, an editor or a group such as docker is root on that host; \
             reserve it for break-glass"
        ));
    }
    let of_command = |command: &Command| Some((command.path.clone(), of_program(&command.path)?));
    let of_group = |group: &String| Some((format!("group {group}"), of_group(group)?));
    let of_application = |one: &Application| {
        Some((format!("application {} ({})", one.name, one.path), of_program(&one.path)?))
    };
    let of_account = |one: &AccountTargets| {
        let (_, known) = one.groups.iter().find_map(of_group)?;
        Some((in_words(one.action, &one.groups), known))
    };
    let mut commands = targets.commands.iter();
    let (what, RootEqual { title, .. }) = (commands.find_map(of_command))
        .or_else(|| targets.groups.iter().find_map(of_group))
        .or_else(|| targets.applications.iter().find_map(of_application))
        .or_else(|| targets.accounts.iter().find_map(of_account))?;
    let what: String = what.chars().take(80).collect();
    Some(format!(
        "{field} offers {what}, {title}: every request for it is denied without allowEscalation; offer less, or accept \
         it"
    ))
}

/// A wildcard in exact arguments means no more than itself.
fn wildcard(field: &str, targets: &EndpointTargets) -> Option<String> {
    let has_wildcard = |argument: &String| argument.contains(WILDCARDS);
    let place = |(index, command): (usize, &Command)| {
        Some((index, command.args.iter().position(has_wildcard)?))
    };
    if let Some((command, argument)) = targets.commands.iter().enumerate().find_map(place) {
        return Some(format!(
            "{field}.commands[{command}].args[{argument}] has a wildcard, which is taken literally; write argsPattern \
             to allow more than one"
        ));
    }
    let place = |(index, one): (usize, &Application)| {
        Some((index, one.args.iter().position(has_wildcard)?))
    };
    let (application, argument) = targets.applications.iter().enumerate().find_map(place)?;
    Some(format!(
        "{field}.applications[{application}].args[{argument}] has a wildcard, which is taken literally: no shell reads \
         it; write out what is meant"
    ))
}

/// A requirement that no agent meets that comes with this release.
fn not_released(field: &str, targets: &EndpointTargets) -> Option<String> {
    let least = targets.agent.as_ref()?.min_version.as_ref()?;
    let (wanted, own) = (Version::parse(least).ok()?, Version::parse(RELEASE).ok()?);
    (wanted.cmp_precedence(&own) == Ordering::Greater).then(|| {
        format!(
            "{field}.agent.minVersion is {least}, newer than this release of Lapse, {RELEASE}: no agent that comes with it \
             is granted anything by this entry"
        )
    })
}

#[cfg(test)]
mod tests {
    use lapse_crds::{PolicyEffect, PolicyTarget};
    use rstest::rstest;
    use serde_json::{Value, json};

    use super::*;
    use crate::testing::policy;

    fn command(path: &str, args: &[&str]) -> Command {
        let args = args.iter().map(ToString::to_string).collect();
        Command { path: path.into(), args, args_pattern: None }
    }

    fn offer(commands: Vec<Command>, groups: &[&str], allow_escalation: bool) -> EndpointTargets {
        let groups = groups.iter().map(ToString::to_string).collect();
        EndpointTargets {
            all: true,
            commands,
            groups,
            allow_escalation,
            ..EndpointTargets::default()
        }
    }

    /// What is unwise in a policy with this entry for hosts.
    fn told(entry: &Value) -> Vec<String> {
        let mut targets = json!({"all": true});
        targets.as_object_mut().unwrap().extend(entry.as_object().unwrap().clone());
        let mut spec = policy("p").spec;
        spec.targets = serde_json::from_value(json!([{"endpoint": targets}])).unwrap();
        hosts(&spec)
    }

    #[rstest]
    #[case::fine(json!({"applications": [{"name": "restart-web", "path": "/usr/bin/systemctl"}], "accounts": [{"action": "Raise", "groups": ["adm"]}], "agent": {"minVersion": "0.0.1"}}), None)]
    #[case::an_application(json!({"applications": [{"name": "debug", "path": "/bin/bash"}]}), Some("spec.targets[0].endpoint offers application debug (/bin/bash), a shell: every request for it is denied without allowEscalation; offer less, or accept it"))]
    #[case::accepted(json!({"applications": [{"name": "debug", "path": "/bin/bash"}], "allowEscalation": true}), Some("spec.targets[0].endpoint.allowEscalation: whoever holds a shell, an editor or a group such as docker is root on that host; reserve it for break-glass"))]
    #[case::an_account(json!({"accounts": [{"action": "Enable"}, {"action": "Raise", "groups": ["docker"]}]}), Some("spec.targets[0].endpoint offers account Raise with docker, a group that runs containers or virtual machines: every request for it is denied without allowEscalation; offer less, or accept it"))]
    #[case::a_wildcard(json!({"applications": [{"name": "dump", "path": "/usr/bin/dump", "args": ["-0", "/srv/*"]}]}), Some("spec.targets[0].endpoint.applications[0].args[1] has a wildcard, which is taken literally: no shell reads it; write out what is meant"))]
    fn what_is_unwise_in_applications_and_accounts(
        #[case] entry: Value,
        #[case] expected: Option<&str>,
    ) {
        let expected: Vec<&str> = expected.into_iter().collect();
        assert_eq!(told(&entry), expected);
        assert!(expected.iter().all(|warning| warning.len() <= 256));
    }

    #[test]
    fn an_agent_that_does_not_exist_yet_is_told() {
        let entry = json!({"admin": {}, "agent": {"minVersion": "9999.0.0"}});
        let expected = format!(
            "spec.targets[0].endpoint.agent.minVersion is 9999.0.0, newer than this release of Lapse, {RELEASE}: no agent \
             that comes with it is granted anything by this entry"
        );
        assert_eq!(told(&entry), [expected]);
    }

    #[rstest]
    #[case::fine(offer(vec![command("/usr/bin/systemctl", &["restart", "nginx"])], &["adm"], false), None)]
    #[case::a_shell(offer(vec![command("/bin/bash", &[])], &[], false), Some("spec.targets[0].endpoint offers /bin/bash, a shell: every request for it is denied"))]
    #[case::a_group(offer(vec![], &["adm", "docker"], false), Some("offers group docker, a group that runs containers"))]
    #[case::accepted(offer(vec![], &["docker"], true), Some("spec.targets[0].endpoint.allowEscalation: whoever holds"))]
    #[case::a_wildcard(offer(vec![command("/usr/bin/cat", &["-n", "/var/log/*"])], &[], false), Some("spec.targets[0].endpoint.commands[0].args[1] has a wildcard"))]
    fn what_is_unwise_on_hosts(#[case] offer: EndpointTargets, #[case] expected: Option<&str>) {
        let mut spec = policy("p").spec;
        spec.targets = vec![PolicyTarget { endpoint: Some(offer), ..PolicyTarget::default() }];
        let warnings = hosts(&spec);
        assert_eq!(warnings.len(), usize::from(expected.is_some()), "{warnings:?}");
        for warning in warnings {
            assert!(warning.contains(expected.unwrap()) && warning.len() <= 256, "{warning}");
        }
    }

    #[test]
    fn messages() {
        let mut spec = policy("p").spec;
        let offers = [
            offer(vec![command("/bin/bash", &["*"])], &[], false),
            offer(vec![], &["docker"], false),
            offer(vec![], &["docker"], true),
        ];
        let target = |offer| PolicyTarget { endpoint: Some(offer), ..PolicyTarget::default() };
        spec.targets = offers.map(target).into();
        insta::assert_snapshot!(hosts(&spec).join("\n"));
    }

    #[test]
    fn what_is_denied_may_be_anything() {
        let mut spec = policy("p").spec;
        let offer = offer(vec![command("/bin/bash", &[])], &[], false);
        spec.targets = vec![PolicyTarget { endpoint: Some(offer), ..PolicyTarget::default() }];
        spec.effect = PolicyEffect::Deny;
        assert_eq!(hosts(&spec), Vec::<String>::new());
    }
}
