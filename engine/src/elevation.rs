//! What may be done on a host, and what that amounts to.

pub mod root_equal;

use std::collections::BTreeSet;
use std::fmt;

use lapse_crds::{Capability, Command, EndpointTarget};

use self::root_equal::{RootEqual, of_group, of_program};

/// What may be done on an endpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Elevation {
    /// `sudo` for everything.
    Admin,
    /// `sudo` for just these; never empty.
    Commands(Vec<Command>),
    /// Membership of a local group.
    Group(String),
}

impl Elevation {
    /// The one elevation of a target; `None` if there is not exactly one, which the schema refuses.
    #[must_use]
    pub fn of(target: &EndpointTarget) -> Option<Self> {
        match (&target.admin, target.commands.as_slice(), &target.group) {
            (Some(_), [], None) => Some(Self::Admin),
            (None, [_, ..], None) => Some(Self::Commands(target.commands.clone())),
            (None, [], Some(group)) => Some(Self::Group(group.clone())),
            _ => None,
        }
    }

    /// What an agent must be able to do for it.
    #[must_use]
    pub fn needs(&self) -> BTreeSet<Capability> {
        match self {
            Self::Admin => BTreeSet::from([Capability::Admin]),
            Self::Group(_) => BTreeSet::from([Capability::Group]),
            Self::Commands(commands) => {
                let patterns = commands.iter().any(|command| command.args_pattern.is_some());
                let patterns = patterns.then_some(Capability::CommandPatterns);
                [Capability::Commands].into_iter().chain(patterns).collect()
            }
        }
    }

    /// Whether all of another lies within this one. Groups and commands are not compared: who may run everything as
    /// root has no need of either.
    #[must_use]
    pub fn contains(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Commands(own), Self::Commands(asked)) => {
                asked.iter().all(|command| own.contains(command))
            }
            _ => self == other,
        }
    }
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
        Elevation::Group(_) | Elevation::Commands(_) => climbs_by(elevation),
    }
}

/// Why the holder of an elevation is root under another name; `None` if nothing is known, and for `admin`, which says so.
#[must_use]
pub fn climbs_by(elevation: &Elevation) -> Option<String> {
    let (what, RootEqual { title, how, .. }) = match elevation {
        Elevation::Admin => return None,
        Elevation::Group(group) => (format!("group {group}"), of_group(group)?),
        Elevation::Commands(commands) => {
            let known =
                |command: &Command| Some((command.path.clone(), of_program(&command.path)?));
            commands.iter().find_map(known)?
        }
    };
    Some(format!("Equivalent to admin: {what} is {title}, and {how}"))
}
