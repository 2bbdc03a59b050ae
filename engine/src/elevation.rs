//! What may be done on a host, and what that amounts to.

pub mod environment;
pub mod root_equal;

use std::collections::BTreeSet;
use std::{fmt, slice};

use lapse_crds::{
    AccountAction, AccountTarget, Admin, Capability, Command, EndpointTarget, Program,
};

use self::root_equal::{RootEqual, of_group, of_program};
use crate::words::shortened;

/// How many characters are shown of what an agent runs.
const SHOWN_CHARACTERS: usize = 512;

/// What may be done on an endpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Elevation {
    /// `sudo` for everything.
    Admin,
    /// `sudo` for just these; never empty.
    Commands(Vec<Command>),
    /// Membership of a local group.
    Group(String),
    /// One program as root, run by the agent.
    Application {
        /// The name by which it is offered.
        name: String,
        /// Which program it is, as a policy says: in a Grant always. What a request says of it counts for nothing.
        program: Option<Program>,
    },
    /// The local user itself, for a time. Its keys are those of the Endpoint in a Grant; what a request says of them
    /// counts for nothing.
    Account(AccountTarget),
}

impl Elevation {
    /// The one elevation of a target; `None` if there is not exactly one, which the schema refuses.
    #[must_use]
    pub fn of(target: &EndpointTarget) -> Option<Self> {
        // Destructured without `..`: an elevation that is added to the API must be known here.
        let EndpointTarget {
            name: _,
            local_user: _,
            uid: _,
            admin,
            commands,
            group,
            application,
            program,
            account,
        } = target.clone();
        let all = [
            admin.map(|Admin {}| Self::Admin),
            (!commands.is_empty()).then_some(Self::Commands(commands)),
            group.map(Self::Group),
            application.map(|name| Self::Application { name, program }),
            account.map(Self::Account),
        ];
        let mut all = all.into_iter().flatten();
        let one = all.next()?;
        all.next().is_none().then_some(one)
    }

    /// Writes it into a target that has none.
    pub fn put_into(&self, target: &mut EndpointTarget) {
        match self.clone() {
            Self::Admin => target.admin = Some(Admin {}),
            Self::Commands(commands) => target.commands = commands,
            Self::Group(group) => target.group = Some(group),
            Self::Application { name, program } => {
                target.application = Some(name);
                target.program = program;
            }
            Self::Account(account) => target.account = Some(account),
        }
    }

    /// What an agent must be able to do for it.
    #[must_use]
    pub fn needs(&self) -> BTreeSet<Capability> {
        match self {
            Self::Admin => BTreeSet::from([Capability::Admin]),
            Self::Group(_) => BTreeSet::from([Capability::Group]),
            Self::Application { .. } => BTreeSet::from([Capability::Application]),
            Self::Account(_) => BTreeSet::from([Capability::Account]),
            Self::Commands(commands) => {
                let patterns = commands.iter().any(|command| command.args_pattern.is_some());
                let patterns = patterns.then_some(Capability::CommandPatterns);
                [Capability::Commands].into_iter().chain(patterns).collect()
            }
        }
    }

    /// The local groups that its holder joins by it.
    #[must_use]
    pub fn groups(&self) -> &[String] {
        match self {
            Self::Group(group) => slice::from_ref(group),
            Self::Account(account) => &account.groups,
            Self::Admin | Self::Commands(_) | Self::Application { .. } => &[],
        }
    }

    /// Whether its holder acts as root, or may by a group that is equivalent to it: then what they change on the host may
    /// outlast it.
    #[must_use]
    pub fn gives_root(&self) -> bool {
        match self {
            Self::Admin | Self::Commands(_) | Self::Application { .. } => true,
            Self::Group(_) | Self::Account(_) => {
                self.groups().iter().any(|group| of_group(group).is_some())
            }
        }
    }

    /// Whether its holder calls sudo: then what they do can be recorded.
    #[must_use]
    pub fn is_sudo(&self) -> bool {
        match self {
            Self::Admin | Self::Commands(_) => true,
            Self::Group(_) | Self::Application { .. } | Self::Account(_) => false,
        }
    }

    /// Whether all of another lies within this one. Those of different kinds are not compared: who may run everything as
    /// root has no need of the rest. An application is known by its name, whatever program it was.
    #[must_use]
    pub fn contains(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Commands(own), Self::Commands(asked)) => {
                asked.iter().all(|command| own.contains(command))
            }
            (Self::Application { name: own, .. }, Self::Application { name: asked, .. }) => {
                own == asked
            }
            (Self::Account(own), Self::Account(asked)) => {
                own.action == asked.action && are_within(&asked.groups, &own.groups)
            }
            _ => self == other,
        }
    }
}

/// Whether all of these groups are among those.
pub(crate) fn are_within(groups: &[String], all: &[String]) -> bool {
    groups.iter().all(|group| all.contains(group))
}

impl fmt::Display for Elevation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Admin => f.write_str("admin"),
            Self::Commands(commands) => {
                let all: Vec<String> = commands.iter().map(ToString::to_string).collect();
                write!(f, "sudo {}", all.join(", "))
            }
            Self::Group(group) => write!(f, "group {group}"),
            Self::Application { name, .. } => write!(f, "application {name}"),
            Self::Account(account) => f.write_str(&in_words(account.action, &account.groups)),
        }
    }
}

/// What is done with an account, and with which groups: `account Raise with adm, docker`.
pub(crate) fn in_words(action: AccountAction, groups: &[String]) -> String {
    match groups {
        [] => format!("account {action}"),
        groups => format!("account {action} with {}", groups.join(", ")),
    }
}

/// What an agent runs for an elevation, in words; `None` if that is up to its holder.
#[must_use]
pub fn runs(elevation: &Elevation) -> Option<String> {
    match elevation {
        Elevation::Application { program, .. } => {
            let program = shortened(&program.as_ref()?.to_string(), SHOWN_CHARACTERS);
            Some(format!("The agent runs {program} as root"))
        }
        Elevation::Admin | Elevation::Commands(_) | Elevation::Group(_) | Elevation::Account(_) => {
            None
        }
    }
}

/// What the holder of an elevation can do beyond what its name says, in words for an approver; `None` if nothing is known.
#[must_use]
pub fn power_of(elevation: &Elevation) -> Option<String> {
    match elevation {
        Elevation::Admin => Some(
            "A root shell can undo anything on its own host, the end of this access included: what its holder leaves \
             behind outlives it"
                .to_owned(),
        ),
        Elevation::Group(_)
        | Elevation::Commands(_)
        | Elevation::Application { .. }
        | Elevation::Account(_) => climbs_by(elevation),
    }
}

/// Why the holder of an elevation is root under another name; `None` if nothing is known, and for `admin`, which says so.
#[must_use]
pub fn climbs_by(elevation: &Elevation) -> Option<String> {
    let known_program = |path: &String| Some((path.clone(), of_program(path)?));
    let known_group = |group: &String| Some((format!("group {group}"), of_group(group)?));
    let (what, RootEqual { title, how, .. }) = match elevation {
        Elevation::Admin => return None,
        Elevation::Commands(commands) => {
            commands.iter().find_map(|command| known_program(&command.path))?
        }
        Elevation::Application { program, .. } => known_program(&program.as_ref()?.path)?,
        Elevation::Group(_) | Elevation::Account(_) => {
            elevation.groups().iter().find_map(known_group)?
        }
    };
    Some(format!("Equivalent to admin: {what} is {title}, and {how}"))
}

#[cfg(test)]
mod tests;
