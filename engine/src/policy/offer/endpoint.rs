//! Hosts, and what may be done there.

use lapse_crds::{Command, EndpointTargets, LabelSelector, LocalUsers};

use super::labels::{describe, selects};
use crate::Read;
use crate::elevation::Elevation;
use crate::endpoint::EndpointFacts;
use crate::pattern::Pattern;
use crate::target::{EndpointPlace, ResolvedTarget};

/// Hosts, and what may be done there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::policy) struct EndpointOffer {
    names: Vec<String>,
    selector: Option<LabelSelector>,
    all: bool,
    admin: bool,
    commands: Vec<OfferedCommand>,
    groups: Vec<String>,
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
        }
    }

    /// Whether any part of the target lies within the entry. `sudo` for everything overlaps with each command, and with
    /// each group: who is root can be in any.
    pub(super) fn overlaps(
        &self,
        target: &ResolvedTarget,
        known: Option<&Read<EndpointFacts>>,
    ) -> bool {
        let Some((place, asked)) = target.on_endpoint() else { return false };
        let does = match asked {
            Elevation::Admin => self.admin || !self.commands.is_empty() || !self.groups.is_empty(),
            Elevation::Group(group) => self.groups.contains(group),
            Elevation::Commands(commands) => commands
                .iter()
                .any(|asked| self.commands.iter().any(|offered| offered.overlaps(asked))),
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
        admin
            .or_else(|| group.map(|group| format!("group {group} on a host")))
            .or_else(|| command.map(|command| format!("{} on a host", command.path)))
            .filter(|_| overlap)
    }

    pub(super) fn describe(&self) -> String {
        let mut what: Vec<String> = self.admin.then(|| "admin".to_owned()).into_iter().collect();
        what.extend(self.commands.iter().map(|offered| format!("sudo {}", offered.command)));
        what.extend(self.groups.iter().map(|group| format!("group {group}")));
        let what = if what.is_empty() { "nothing".to_owned() } else { what.join(", ") };
        let mut places =
            if self.all { vec!["all endpoints".to_owned()] } else { self.names.clone() };
        let selected = self.selector.iter().map(|s| format!("endpoints with {}", describe(s)));
        places.extend(selected);
        let places = if places.is_empty() { "no endpoint".to_owned() } else { places.join(", ") };
        format!("{what} on {places}")
    }
}
