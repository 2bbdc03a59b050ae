//! What is allowed in a policy about hosts and yet unwise.

use lapse_crds::{Command, EndpointTargets, JitPolicySpec};

use super::is_deny;
use crate::elevation::root_equal::{RootEqual, of_group, of_program};

/// What stands for other text in a shell, and in a rule of sudo that is written by hand.
const WILDCARDS: [char; 3] = ['*', '?', '['];

pub(super) fn hosts(spec: &JitPolicySpec) -> Vec<String> {
    let targets = spec.targets.iter().enumerate();
    let targets = targets.filter_map(|(index, target)| Some((index, target.endpoint.as_ref()?)));
    let of_target = |(index, targets): (usize, &EndpointTargets)| {
        let field = format!("spec.targets[{index}].endpoint");
        let climbing = (!is_deny(spec)).then(|| climbing(&field, targets)).flatten();
        climbing.into_iter().chain(wildcard(&field, targets)).collect::<Vec<_>>()
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
    let commands = targets.commands.iter().find_map(of_command);
    let (what, RootEqual { title, .. }) =
        commands.or_else(|| targets.groups.iter().find_map(of_group))?;
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
    let (command, argument) = targets.commands.iter().enumerate().find_map(place)?;
    Some(format!(
        "{field}.commands[{command}].args[{argument}] has a wildcard, which is taken literally; write argsPattern to \
         allow more than one"
    ))
}

#[cfg(test)]
mod tests {
    use lapse_crds::{PolicyEffect, PolicyTarget};
    use rstest::rstest;

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
