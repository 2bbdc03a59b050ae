//! A rule of sudo, in a file of its own.

use std::fs;

use super::{Bench, Driver};
use crate::places::{Id, SUDO_LOGS};
use crate::probe::is_apart;
use crate::processes::kill_slice;
use crate::record::{Record, Undo};
use crate::right::Right;
use crate::sudo::{LOGIN_SERVICE, Log, Rule, SERVICE, judge};

pub(super) struct Sudo<'a> {
    pub(super) id: &'a Id,
    pub(super) grant: &'a str,
    pub(super) right: &'a Right,
}

impl Sudo<'_> {
    /// What sudo says of somebody, or of a command of theirs.
    fn listed(&self, bench: &Bench<'_>, command: &[&str]) -> Result<(bool, String), String> {
        let list = ["-l", "-n", "-U", &self.right.user, "--"];
        let end = if command.is_empty() { list.len() - 1 } else { list.len() };
        let arguments: Vec<&str> = list[..end].iter().chain(command).copied().collect();
        let ran = bench.system.run("sudo", &arguments).map_err(|error| error.to_string())?;
        let said = if ran.is_ok() { ran.stdout.clone() } else { ran.said() };
        Ok((ran.is_ok(), said))
    }

    /// Asks sudo whether it lets the user do what the order says: a rule that comes after ours may take it away.
    fn check_allowed(&self, bench: &Bench<'_>) -> Result<(), String> {
        let commands = self.right.elevation.commands().flatten();
        let exact = commands.into_iter().flatten().filter(|command| command.args_pattern.is_none());
        let mut asked: Vec<Vec<&str>> = exact
            .map(|command| {
                let arguments = command.args.iter().map(String::as_str);
                std::iter::once(command.path.as_str()).chain(arguments).collect()
            })
            .collect();
        if commands.is_none() {
            asked.push(vec!["/bin/true"]);
        }
        for command in asked {
            let (is_allowed, said) = self.listed(bench, &command)?;
            if !is_allowed {
                return Err(format!(
                    "sudo does not let {} run {} although the rule is there: does a rule of this host come after it, or does \
                     /etc/sudoers not include /etc/sudoers.d? ({said})",
                    self.right.user,
                    command.join(" "),
                ));
            }
        }
        Ok(())
    }

    /// Asks sudo by which services it opens the user's sessions: a setting that comes after ours may take away what ends
    /// what is started.
    fn check_contained(&self, bench: &Bench<'_>) -> Result<(), String> {
        let (_, said) = self.listed(bench, &[])?;
        if is_contained(&said) {
            return Ok(());
        }
        Err(format!(
            "a setting of sudo on this host (pam_service, pam_login_service or pam_session) comes after the rule, so that what \
             {} starts could not be ended. Remove it, or put it into a file that sorts before lapse-",
            self.right.user
        ))
    }
}

/// Whether the settings that sudo lists end with ours. Those of somebody else may come before.
fn is_contained(listed: &str) -> bool {
    let words = || listed.split([' ', ',', '\n', '\t']).filter(|word| !word.is_empty());
    let last = |name: &str| words().filter_map(|word| word.strip_prefix(name)).next_back();
    let is_off = words().any(|word| word == "!pam_session");
    !is_off
        && last("pam_service=") == Some(SERVICE)
        && last("pam_login_service=") == Some(LOGIN_SERVICE)
}

/// Until when the last of these rights with sudo lasts, as the script for a broken agent reads it.
fn until_of<'a>(records: impl Iterator<Item = &'a Record>) -> Option<i64> {
    let rights = records.filter(|record| record.is_in_force()).filter_map(|r| r.right.as_ref());
    let ends = rights.filter(|right| right.elevation.commands().is_some());
    ends.map(|right| right.expires_at.timestamp() + 1).max()
}

impl<'bench> Driver<Bench<'bench>, Undo> for Sudo<'_> {
    fn prepare(&self, bench: &Bench<'bench>) -> Result<Undo, String> {
        let commands = self.right.elevation.commands().flatten();
        let log = format!("{SUDO_LOGS}/{}", self.id);
        // Elsewhere it would fill what others need.
        let log = is_apart(bench.places).then_some(log.as_str());
        let Right { uid, expires_at, records_children: children, .. } = *self.right;
        let log = log.map(|path| Log { path, children });
        let rule = Rule { uid, expires_at, commands, log };
        let rule = rule.text((bench.dialect)()?).map_err(|error| error.to_string())?;
        // The name of the file is ours, and follows from the order: what is there is of this order.
        let rule = format!("# The Grant {} of Lapse. lapse-agent removes it.\n{rule}", self.grant);
        Ok(Undo { rule: Some(rule), ..Undo::default() })
    }

    fn apply(&self, bench: &Bench<'bench>, undo: &Undo) -> Result<(), String> {
        let text = undo.rule.as_deref().ok_or("no rule was written down")?;
        let failed = |what: &str, error: &dyn std::fmt::Display| format!("{what}: {error}");
        let ran = judge(bench.system, bench.places, text);
        let ran = ran.map_err(|error| failed("checking the rule of sudo", &error))?;
        if !ran.is_ok() {
            return Err(format!(
                "sudo would not understand the rule of this order: {}",
                ran.said()
            ));
        }
        let own = self.right.expires_at.timestamp() + 1;
        let until = until_of(bench.others.iter()).map_or(own, |others| others.max(own));
        (bench.system.replace(&bench.places.until(), format!("{until}\n").as_bytes(), 0o600))
            .map_err(|error| failed("writing until when access lasts", &error))?;
        let path = bench.places.rule(self.id);
        (bench.system.replace(&path, text.as_bytes(), 0o440))
            .map_err(|error| failed(&format!("writing {}", path.display()), &error))?;
        self.check_allowed(bench)?;
        self.check_contained(bench)
    }

    fn observe(&self, bench: &Bench<'bench>, undo: &Undo) -> Result<bool, String> {
        let path = bench.places.rule(self.id);
        match fs::read_to_string(&path) {
            Ok(found) => Ok(Some(found) == undo.rule),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(format!("reading {}: {error}", path.display())),
        }
    }

    fn revert(&self, bench: &Bench<'bench>, _: Option<&Undo>) -> Result<(), String> {
        let path = bench.places.rule(self.id);
        let removed = bench.system.remove(&path);
        removed.map_err(|error| format!("removing {}: {error}", path.display()))?;
        // After this no sudo that has looked at its rules before may open a session, whatever else its user still holds.
        let now = bench.clock.read().map_err(|error| error.to_string())?;
        let mark = bench.places.last_end(self.right.uid);
        let written = bench.system.replace(&mark, now.boottime_ms.to_string().as_bytes(), 0o600);
        written.map_err(|error| format!("writing {}: {error}", mark.display()))
    }

    fn stop(&self, bench: &Bench<'bench>, _: Option<&Undo>) -> Result<(), String> {
        kill_slice(bench.system, bench.places, self.id)
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    const OURS: &str = "Matching Defaults entries for alice on web-1:\n    env_reset, use_pty, \
                        pam_service=lapse-sudo, pam_login_service=lapse-sudo-i, pam_session\n\nUser alice may run";

    #[rstest]
    #[case::ours(OURS.to_owned(), true)]
    #[case::theirs_before(OURS.replace("env_reset", "pam_service=other"), true)]
    #[case::theirs_after(OURS.replace("pam_session", "pam_session, pam_service=sudo"), false)]
    #[case::login(OURS.replace("lapse-sudo-i", "sudo-i"), false)]
    #[case::off(OURS.replace("pam_session", "!pam_session"), false)]
    #[case::off_for_root(format!("{OURS}\nRunas and Command-specific defaults for alice:\n    Defaults>root !pam_session"), false)]
    #[case::nothing(String::new(), false)]
    fn what_takes_the_end_away_is_seen(#[case] listed: String, #[case] expected: bool) {
        assert_eq!(is_contained(&listed), expected);
    }
}
