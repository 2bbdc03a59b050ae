//! What a policy says of hosts: whether it means something there.

use lapse_crds::{Application, EndpointTargets};
use semver::Version;

use super::{PolicyError, PolicyErrorReason};
use crate::elevation::environment::runs_other_code;
use crate::pattern::Pattern;

/// Checks that an entry means something on some host: by one that does not, nothing could be given or denied.
pub(super) fn check_endpoints(field: &str, targets: &EndpointTargets) -> Result<(), PolicyError> {
    let EndpointTargets {
        names,
        selector,
        all,
        admin,
        commands,
        groups,
        applications,
        accounts,
        agent,
        allow_escalation: _,
        local_users: _,
    } = targets;
    let offers_nothing = admin.is_none()
        && commands.is_empty()
        && groups.is_empty()
        && applications.is_empty()
        && accounts.is_empty();
    let lacking = if offers_nothing {
        // `admin:` without a value is a null, which the API server drops before anybody sees it.
        "does not say what may be done: set admin: {} (sudo for everything), commands, groups, applications or accounts; \
         an admin without a value counts as left out"
    } else if names.is_empty() && selector.is_none() && !all {
        "names no host: set names, selector or all"
    } else {
        check_commands(field, targets)?;
        if let Some(least) = agent.as_ref().and_then(|agent| agent.min_version.as_ref()) {
            check_version(&format!("{field}.agent.minVersion"), least)?;
        }
        let mut applications = applications.iter().enumerate();
        return applications.try_for_each(|(position, application)| {
            check_environment(&format!("{field}.applications[{position}]"), application)
        });
    };
    Err(PolicyError::new(PolicyErrorReason::InvalidRule, format!("{field} {lacking}")))
}

fn check_version(field: &str, least: &str) -> Result<(), PolicyError> {
    Version::parse(least).map(drop).map_err(|why| {
        let message = format!(
            "{field} is {least}, which is no version of Semantic Versioning ({why}); write one such as 0.3.0"
        );
        PolicyError::new(PolicyErrorReason::InvalidRule, message)
    })
}

/// Checks that the environment of an application leaves it the program that it says it is.
fn check_environment(field: &str, application: &Application) -> Result<(), PolicyError> {
    let loads =
        |(position, name): (usize, &str)| Some((position, name.to_owned(), runs_other_code(name)?));
    let names = application.env.iter().map(|variable| variable.name.as_str());
    match names.enumerate().find_map(loads) {
        None => Ok(()),
        Some((position, name, how)) => Err(PolicyError::new(
            PolicyErrorReason::InvalidRule,
            format!("{field}.env[{position}].name: {name} {how}; leave it out"),
        )),
    }
}

/// Checks the expressions of commands: they must compile, and be anchored at both ends.
fn check_commands(field: &str, targets: &EndpointTargets) -> Result<(), PolicyError> {
    targets.commands.iter().enumerate().try_for_each(|(position, command)| {
        let Some(source) = &command.args_pattern else { return Ok(()) };
        let field = format!("{field}.commands[{position}].argsPattern");
        let compiled = match not_portable(source) {
            Some(what) => Err(format!(
                "{field}: {what} means something else to sudo, which reads POSIX expressions; write it out, such as \
                 [0-9] for a digit"
            )),
            None => Pattern::compile(&field, source).map(drop),
        };
        compiled.map_err(|why| PolicyError::new(PolicyErrorReason::InvalidPattern, why))
    })
}

/// What of an expression has another meaning as a POSIX extended expression, or to `sudo`, if anything: what is approved
/// must be what is given. Of `^a|b$` each half is anchored at one end alone there, and would match anything around it.
pub(super) fn not_portable(source: &str) -> Option<String> {
    let inner = source.strip_prefix('^').and_then(|rest| rest.strip_suffix('$')).unwrap_or(source);
    let characters: Vec<char> = inner.chars().collect();
    let (mut depth, mut in_class, mut index) = (0_i32, false, 0);
    while let Some(&first) = characters.get(index) {
        let second = characters.get(index + 1).copied().unwrap_or_default();
        let is_lazy = "*+?}(".contains(first) && second == '?';
        match first {
            '\\' if in_class || second.is_ascii_alphanumeric() || "<>`'".contains(second) => {
                return Some(format!("\\{second}"));
            }
            '\\' => index += 1,
            '[' if in_class => return Some("[ within [ ]".to_owned()),
            '[' => {
                in_class = true;
                // A bracket that comes first is one of the characters.
                index += usize::from(second == '^');
                index += usize::from(characters.get(index + 1) == Some(&']'));
            }
            ']' => in_class = false,
            _ if in_class => {}
            '(' if is_lazy => return Some("(?".to_owned()),
            '(' => depth += 1,
            ')' => depth -= 1,
            '|' if depth == 0 => return Some("| outside of ( )".to_owned()),
            '^' | '$' => return Some(format!("{first} within the expression")),
            _ if is_lazy => return Some(format!("{first}?")),
            _ => {}
        }
        index += 1;
    }
    None
}
