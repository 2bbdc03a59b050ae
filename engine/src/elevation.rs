//! What may be done on a host, and what that amounts to.

use std::collections::BTreeSet;
use std::fmt;

use lapse_crds::{Capability, Command, EndpointTarget};

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
            "A root shell can undo anything on its own host, the end of this right included: what its holder leaves \
             behind outlives it"
                .to_owned(),
        ),
        Elevation::Group(group) => makes_root(group)
            .then(|| format!("Members of the group {group} can make themselves root, and stay it")),
        Elevation::Commands(commands) => {
            let command = commands.iter().find(|command| runs_anything(&command.path))?;
            Some(format!("{} can start anything as root, which is as good as admin", command.path))
        }
    }
}

/// Programs that start others, or write any file, as their arguments or their user say.
const RUN_ANYTHING: [&str; 38] = [
    "ansible", "apt", "apt-get", "awk", "bash", "busybox", "cp", "crontab", "dash", "dd", "docker",
    "dpkg", "ed", "emacs", "env", "find", "gdb", "git", "ksh", "less", "man", "more", "mount",
    "mv", "nano", "nsenter", "perl", "python3", "rpm", "rsync", "ruby", "sed", "sh", "su", "tar",
    "vi", "vim", "zsh",
];

/// Whether a program is known to start anything that its user likes.
#[must_use]
pub fn runs_anything(path: &str) -> bool {
    path.rsplit('/').next().is_some_and(|name| RUN_ANYTHING.contains(&name))
}

/// The local groups that are known to make their members root, each by a way of its own.
const ROOT_GROUPS: [&str; 11] = [
    "root",
    "sudo",
    "wheel",
    "admin",
    "docker",
    "lxd",
    "libvirt",
    "disk",
    "shadow",
    "kvm",
    "incus-admin",
];

/// Whether membership of a group is as good as being root.
#[must_use]
pub fn makes_root(group: &str) -> bool {
    ROOT_GROUPS.contains(&group)
}
