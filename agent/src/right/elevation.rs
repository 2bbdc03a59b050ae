//! The kinds of right.

use std::fmt;

use lapse_crds::{AccountAction, Command, Program};
use lapse_engine::elevation::root_equal;
use serde::{Deserialize, Serialize};

/// What may be done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Elevation {
    /// sudo for everything.
    Admin,
    /// sudo for these.
    Commands(Vec<Command>),
    /// Membership of a group.
    Group {
        /// Its name.
        name: String,
        /// Its number, as it was when the order came: one that is made later under the name is another.
        gid: u32,
    },
    /// One program as root.
    Application {
        /// The name by which it is run.
        name: String,
        /// What it is.
        program: Program,
    },
    /// The local user itself.
    Account {
        /// What is done with it.
        action: AccountAction,
        /// The groups that it joins.
        groups: Vec<LocalGroup>,
        /// The keys with which one can log in as it, if it is provisioned.
        authorized_keys: Vec<String>,
    },
}

/// A local group.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LocalGroup {
    /// Its name.
    pub name: String,
    /// Its number, as it was when the order came: one that is made later under the name is another.
    pub gid: u32,
}

impl fmt::Display for Elevation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Admin => f.write_str("sudo"),
            Self::Commands(commands) if commands.len() == 1 => write!(f, "sudo {}", commands[0]),
            Self::Commands(commands) => write!(f, "sudo for {} commands", commands.len()),
            Self::Group { name, .. } => write!(f, "group {name}"),
            Self::Application { name, .. } => write!(f, "application {name}"),
            Self::Account { action, groups, .. } => {
                write!(f, "account {action}")?;
                let names: Vec<&str> = groups.iter().map(|group| group.name.as_str()).collect();
                if names.is_empty() { Ok(()) } else { write!(f, " with {}", names.join(", ")) }
            }
        }
    }
}

impl Elevation {
    /// Whether its holder acts as root, or may by a group that is equivalent to it: then what they change on the host may
    /// outlast it.
    #[must_use]
    pub fn gives_root(&self) -> bool {
        match self {
            Self::Admin | Self::Commands(_) | Self::Application { .. } => true,
            Self::Group { .. } | Self::Account { .. } => {
                self.groups().iter().any(|(name, _)| root_equal::of_group(name).is_some())
            }
        }
    }

    /// The commands that sudo is told of, if this is one of sudo. The inner `None` is every command.
    #[must_use]
    pub fn commands(&self) -> Option<Option<&[Command]>> {
        match self {
            Self::Admin => Some(None),
            Self::Commands(commands) => Some(Some(commands)),
            Self::Group { .. } | Self::Application { .. } | Self::Account { .. } => None,
        }
    }

    /// Whether it is about an account that Lapse makes.
    pub(super) fn is_made(&self) -> bool {
        matches!(self, Self::Account { action: AccountAction::Provision, .. })
    }

    /// The programs that are run by their paths under it.
    pub(super) fn programs(&self) -> Vec<&str> {
        match self {
            Self::Commands(commands) => commands.iter().map(|one| one.path.as_str()).collect(),
            Self::Application { program, .. } => vec![program.path.as_str()],
            Self::Admin | Self::Group { .. } | Self::Account { .. } => Vec::new(),
        }
    }

    /// The groups that are joined by it, each with its number.
    pub(crate) fn groups(&self) -> Vec<(&str, u32)> {
        match self {
            Self::Group { name, gid } => vec![(name.as_str(), *gid)],
            Self::Account { groups, .. } => {
                groups.iter().map(|group| (group.name.as_str(), group.gid)).collect()
            }
            Self::Admin | Self::Commands(_) | Self::Application { .. } => Vec::new(),
        }
    }
}
