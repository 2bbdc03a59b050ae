//! Hosts, and what may be done there.

use lapse_crds::{
    AccountAction, AccountTarget, AccountTargets, AgentRequirement, Application, Command,
    EndpointTargets, LabelSelector, LocalUsers, Program,
};

use super::labels::{describe, selects};
use super::requirement;
use crate::Read;
use crate::elevation::{Elevation, are_within, in_words};
use crate::endpoint::EndpointFacts;
use crate::pattern::Pattern;
use crate::target::{EndpointPlace, ResolvedTarget};
use crate::words::few;

/// How many applications are named where another one was asked for; the others are counted.
const SHOWN_APPLICATIONS: usize = 8;

/// Hosts, and what may be done there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::policy) struct EndpointOffer {
    names: Vec<String>,
    selector: Option<LabelSelector>,
    all: bool,
    admin: bool,
    commands: Vec<OfferedCommand>,
    groups: Vec<String>,
    applications: Vec<Application>,
    accounts: Vec<AccountTargets>,
    agent: Option<AgentRequirement>,
    allow_escalation: bool,
    local_users: LocalUsers,
}

/// A command that is offered, with its expression as it compiles.
#[derive(Clone, Debug, PartialEq, Eq)]
struct OfferedCommand {
    command: Command,
    pattern: Option<Pattern>,
}

impl OfferedCommand {
    fn of(command: &Command) -> Self {
        let source = command.args_pattern.as_deref();
        // What does not compile matches nothing; that it does not is said where the policy is compiled.
        let pattern = source.and_then(|source| Pattern::compile("argsPattern", source).ok());
        Self { command: command.clone(), pattern }
    }

    /// Whether this command lies within it: the same, or exact arguments that its expression matches.
    fn covers(&self, asked: &Command) -> bool {
        let is_exact = asked.args_pattern.is_none();
        let matches = |pattern: &Pattern| pattern.is_match(&asked.args.join(" "));
        *asked == self.command
            || (asked.path == self.command.path
                && is_exact
                && self.pattern.as_ref().is_some_and(matches))
    }

    /// Whether both may be the same command. What expressions have in common is not told: one program is enough.
    fn overlaps(&self, asked: &Command) -> bool {
        let has_pattern = self.pattern.is_some() || asked.args_pattern.is_some();
        asked.path == self.command.path && (has_pattern || asked.args == self.command.args)
    }
}

/// Whether an entry for accounts has a part in common with what is done with one. To be enabled or provisioned is one by
/// itself; to be raised is no more than the groups.
fn have_in_common(entry: &AccountTargets, action: AccountAction, groups: &[String]) -> bool {
    entry.action == action
        && (action != AccountAction::Raise || entry.groups.iter().any(|one| groups.contains(one)))
}

impl EndpointOffer {
    pub(super) fn of(targets: &EndpointTargets) -> Self {
        // Destructured without `..`: a field that is added to the API must be compiled here.
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
            allow_escalation,
            local_users,
        } = targets.clone();
        Self {
            names,
            selector,
            all,
            admin: admin.is_some(),
            commands: commands.iter().map(OfferedCommand::of).collect(),
            groups,
            applications,
            accounts,
            agent,
            allow_escalation,
            local_users: local_users.unwrap_or_default(),
        }
    }

    pub(super) fn allows_escalation(&self) -> bool {
        self.allow_escalation
    }

    pub(super) fn local_users(&self) -> LocalUsers {
        self.local_users
    }

    /// The application of this name.
    pub(super) fn application(&self, name: &str) -> Option<&Application> {
        self.applications.iter().find(|application| application.name == name)
    }

    /// How the agent of the host falls short of what is required of it, as far as it is known.
    pub(super) fn unmet(&self, known: Option<&Read<EndpointFacts>>) -> Option<String> {
        let required = self.agent.as_ref()?;
        requirement::unmet(required, known?.found()?)
    }

    pub(super) fn contains(
        &self,
        target: &ResolvedTarget,
        known: Option<&Read<EndpointFacts>>,
    ) -> bool {
        let Some((place, asked)) = target.on_endpoint() else { return false };
        self.has(place, known) && self.exceeds(asked).is_none()
    }

    /// What is asked for beyond what is offered on this host, in words.
    pub(super) fn shortfall(
        &self,
        target: &ResolvedTarget,
        known: Option<&Read<EndpointFacts>>,
    ) -> Option<String> {
        let (place, asked) = target.on_endpoint()?;
        if self.has(place, known) { self.exceeds(asked) } else { None }
    }

    fn exceeds(&self, asked: &Elevation) -> Option<String> {
        match asked {
            Elevation::Admin if self.admin => None,
            Elevation::Admin => Some("sudo for everything is not offered there".to_owned()),
            Elevation::Group(group) if self.groups.contains(group) => None,
            Elevation::Group(group) => Some(format!("group {group} is not offered there")),
            Elevation::Commands(commands) => {
                let beyond = |asked: &&Command| !self.commands.iter().any(|c| c.covers(asked));
                let beyond = commands.iter().find(beyond)?;
                Some(format!("the command {beyond} is not among those that are offered there"))
            }
            Elevation::Application { name, .. } => match self.application(name) {
                Some(_) => None,
                None if self.applications.is_empty() => {
                    Some("no application is offered there".to_owned())
                }
                None => {
                    let offered = self.applications.iter().map(|one| one.name.as_str());
                    let offered = few(offered, SHOWN_APPLICATIONS);
                    Some(format!(
                        "application {name} is not offered there; those that are: {offered}"
                    ))
                }
            },
            Elevation::Account(asked) => self.exceeds_accounts(asked),
        }
    }

    /// What is asked of an account beyond each entry for accounts: as far as the nearest one tells.
    fn exceeds_accounts(&self, asked: &AccountTarget) -> Option<String> {
        let AccountTarget { action, groups, authorized_keys: _ } = asked;
        let same = || self.accounts.iter().filter(|offered| offered.action == *action);
        if same().any(|offered| are_within(groups, &offered.groups)) {
            return None;
        }
        let beyond = |offered: &AccountTargets| -> Vec<String> {
            groups.iter().filter(|group| !offered.groups.contains(group)).cloned().collect()
        };
        let Some(beyond) = same().map(beyond).min_by_key(Vec::len) else {
            return Some(format!("account {action} is not offered there"));
        };
        Some(format!("account {action} is not offered with {} there", beyond.join(", ")))
    }

    /// Whether somebody may not join this group by an entry that denies: neither for a time by itself, nor by an account
    /// that is raised.
    fn forbids_group(&self, group: &String) -> bool {
        let raises = |entry: &AccountTargets| {
            entry.action == AccountAction::Raise && entry.groups.contains(group)
        };
        self.groups.contains(group) || self.accounts.iter().any(raises)
    }

    /// Whether anything at all may be done.
    fn offers_anything(&self) -> bool {
        self.admin
            || !(self.commands.is_empty()
                && self.groups.is_empty()
                && self.applications.is_empty()
                && self.accounts.is_empty())
    }

    /// Whether any part of the target lies within the entry. `sudo` for everything overlaps with all there is: who is root
    /// can run anything and be in any group. Applications are compared by name. To join a group is the same in each way,
    /// and an account that is enabled or provisioned is, whatever its groups are.
    pub(super) fn overlaps(
        &self,
        target: &ResolvedTarget,
        known: Option<&Read<EndpointFacts>>,
    ) -> bool {
        let Some((place, asked)) = target.on_endpoint() else { return false };
        let does = match asked {
            Elevation::Admin => self.offers_anything(),
            Elevation::Commands(commands) => commands
                .iter()
                .any(|asked| self.commands.iter().any(|offered| offered.overlaps(asked))),
            Elevation::Application { name, .. } => self.application(name).is_some(),
            Elevation::Group(group) => self.forbids_group(group),
            Elevation::Account(account) => {
                let is_same =
                    |entry: &AccountTargets| have_in_common(entry, account.action, &account.groups);
                self.accounts.iter().any(is_same)
                    || account.groups.iter().any(|group| self.forbids_group(group))
            }
        };
        does && self.has(place, known)
    }

    fn has(&self, place: &EndpointPlace, known: Option<&Read<EndpointFacts>>) -> bool {
        let is_selected = |selector: &LabelSelector| match known {
            Some(Read::Found(facts)) => {
                selects(selector, |key| facts.labels.get(key).map(String::as_str))
            }
            _ => false,
        };
        self.all
            || self.names.contains(&place.name)
            || self.selector.as_ref().is_some_and(is_selected)
    }

    /// What both offer, in words, if they offer it on the same hosts, as far as their text says.
    pub(super) fn shared(&self, other: &Self) -> Option<String> {
        let anywhere =
            |offer: &Self| offer.all || offer.selector.is_some() || !offer.names.is_empty();
        let overlap = (self.all && anywhere(other))
            || (other.all && anywhere(self))
            || self.names.iter().any(|name| other.names.contains(name))
            || (self.selector.is_some() && self.selector == other.selector);
        let admin = (self.admin && other.admin).then(|| "admin on a host".to_owned());
        let group = self.groups.iter().find(|group| other.groups.contains(group));
        let command = self.commands.iter().map(|offered| &offered.command);
        let command = command
            .into_iter()
            .find(|command| other.commands.iter().any(|offered| offered.overlaps(command)));
        let mut applications = self.applications.iter().map(|application| &application.name);
        let application = applications.find(|name| other.application(name).is_some());
        let is_shared = |one: &&AccountTargets| {
            other.accounts.iter().any(|other| have_in_common(one, other.action, &other.groups))
        };
        let account = self.accounts.iter().find(is_shared);
        admin
            .or_else(|| group.map(|group| format!("group {group} on a host")))
            .or_else(|| command.map(|command| format!("{} on a host", command.path)))
            .or_else(|| application.map(|name| format!("application {name} on a host")))
            .or_else(|| account.map(|account| format!("account {} on a host", account.action)))
            .filter(|_| overlap)
    }

    pub(super) fn describe(&self) -> String {
        let mut what: Vec<String> = self.admin.then(|| "admin".to_owned()).into_iter().collect();
        what.extend(self.commands.iter().map(|offered| format!("sudo {}", offered.command)));
        what.extend(self.groups.iter().map(|group| format!("group {group}")));
        let application =
            |one: &Application| format!("application {} ({})", one.name, Program::from(one));
        what.extend(self.applications.iter().map(application));
        what.extend(self.accounts.iter().map(|one| in_words(one.action, &one.groups)));
        let what = if what.is_empty() { "nothing".to_owned() } else { what.join(", ") };
        let mut places =
            if self.all { vec!["all endpoints".to_owned()] } else { self.names.clone() };
        let selected = self.selector.iter().map(|s| format!("endpoints with {}", describe(s)));
        places.extend(selected);
        let places = if places.is_empty() { "no endpoint".to_owned() } else { places.join(", ") };
        let agent =
            self.agent.as_ref().map(|required| format!(" ({})", requirement::describe(required)));
        format!("{what} on {places}{}", agent.unwrap_or_default())
    }
}

#[cfg(test)]
mod tests;
