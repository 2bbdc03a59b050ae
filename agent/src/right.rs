//! What an order gives, in the terms of the host.

use std::ffi::OsString;
use std::fmt;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Component, Path};

use chrono::{DateTime, TimeDelta, Utc};
use lapse_crds::{
    AccountAction, AccountTarget, Command, GrantSession, Guard, LastingChanges, LocalSessions,
    Program, Recording,
};
use lapse_engine::elevation::root_equal;
use lapse_engine::order::VerifiedOrder;
use serde::{Deserialize, Serialize};

use crate::accounts::{self, User};
use crate::clock::Reading;
use crate::places::Places;

/// How far the clock of a host may be behind that of the cluster. What it is behind is taken off a right.
const BEHIND: TimeDelta = TimeDelta::seconds(60);
/// How old an order may be. What has ended is remembered for as long, so that none is carried out twice.
pub const OLDEST: TimeDelta = TimeDelta::days(7);

/// The user ID of an account that is not made yet: the one that nobody has (setuid(2) takes it for none).
pub const UNMADE: u32 = u32::MAX;

/// What may be done on the host, by whom.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Right {
    /// The local user.
    pub user: String,
    /// Their number, as it was when the order came. Of an account that Lapse makes: the one that it is given, and before that
    /// [`UNMADE`].
    pub uid: u32,
    /// From when on.
    pub starts_at: DateTime<Utc>,
    /// Until when, by the clock of the host.
    pub expires_at: DateTime<Utc>,
    /// What.
    pub elevation: Elevation,
    /// Whether the user is logged off when it ends.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub log_off: bool,
    /// What is done about changes that would outlast it, if its holder may act as root.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub containment: Option<Containment>,
    /// Whether what is started with sudo is recorded, too.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub records_children: bool,
}

/// What is done about changes that would outlast a right by which somebody may act as root.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Containment {
    /// While it is held: about those that make somebody root.
    pub guard: Guard,
    /// At its end: whether all that can be undone is.
    pub reverts: bool,
}

impl Containment {
    /// What an order says. One of a release that knew none of this guards nothing.
    fn of(session: Option<&GrantSession>) -> Self {
        let guard = session.map_or(Guard::Off, |session| session.guard);
        let changes = session.and_then(|session| session.changes);
        Self { guard, reverts: changes == Some(LastingChanges::Revert) }
    }
}

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
    fn is_made(&self) -> bool {
        matches!(self, Self::Account { action: AccountAction::Provision, .. })
    }

    /// The programs that are run by their paths under it.
    fn programs(&self) -> Vec<&str> {
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

/// Why an order gives nothing on this host. Shown on the request.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RightError {
    /// Its time is up.
    #[error("it had expired when it arrived")]
    Over,
    /// It is older than what is remembered.
    #[error("it was signed more than {} days ago; request again", OLDEST.num_days())]
    Old,
    /// The clock is wrong.
    #[error(
        "the clock of this host is {0} s behind that of the cluster: set it (timedatectl), then request again"
    )]
    Behind(i64),
    /// No such user.
    #[error(
        "there is no local user {0} on this host (/etc/passwd): create it, or correct spec.users of the Endpoint"
    )]
    NoUser(String),
    /// Root.
    #[error("the local user {0} has the user ID 0, and may do everything already")]
    Root(String),
    /// Another user.
    #[error(
        "the local user {user} is no longer the one with the user ID {uid} that it was when the order arrived"
    )]
    OtherUser {
        /// The user.
        user: String,
        /// Their number.
        uid: u32,
    },
    /// No such group.
    #[error("there is no local group {0} on this host (/etc/group)")]
    NoGroup(String),
    /// Always a member.
    #[error("{group} is the primary group of {user}: membership of it cannot end")]
    OwnGroup {
        /// The user.
        user: String,
        /// The group.
        group: String,
    },
    /// A program that is not there, or that somebody but root may change.
    #[error("{path}: {why}")]
    Program {
        /// Its path.
        path: String,
        /// What is wrong with it.
        why: String,
    },
    /// A file of the host cannot be read.
    #[error("reading the accounts of this host: {0}")]
    Accounts(String),
}

/// What a verified order gives on this host, now.
///
/// # Errors
/// If it gives nothing.
pub fn right_of(
    places: &Places,
    order: &VerifiedOrder,
    now: &Reading,
) -> Result<Right, RightError> {
    let accounts = |error: std::io::Error| RightError::Accounts(error.to_string());
    if order.admitted_at < now.wall - OLDEST {
        return Err(RightError::Old);
    }
    // The right lasts no longer than from its signature to its end, whatever this clock shows.
    let behind = (order.admitted_at - now.wall).max(TimeDelta::zero());
    if behind > BEHIND {
        return Err(RightError::Behind(behind.num_seconds()));
    }
    let expires_at = order.spec.expires_at.time() - behind;
    if now.wall >= expires_at {
        return Err(RightError::Over);
    }
    let name = &order.local_user;
    let account = order.target.account.as_ref();
    let user = if account.is_some_and(|account| account.action == AccountAction::Provision) {
        // Whether there is one already that is not Lapse's is looked at when it is made.
        User { uid: UNMADE, gid: UNMADE }
    } else {
        let user = accounts::user(places, name).map_err(accounts)?;
        user.ok_or_else(|| RightError::NoUser(name.clone()))?
    };
    if user.uid == 0 {
        return Err(RightError::Root(name.clone()));
    }
    let elevation = elevation_of(places, order, &user)?;
    let starts_at = order.spec.starts_at.time() - behind;
    let session = order.spec.session.as_ref();
    let log_off = session.and_then(|session| session.local_sessions) == Some(LocalSessions::LogOff);
    let containment = elevation.gives_root().then(|| Containment::of(session));
    let records_children = session.and_then(|session| session.record) == Some(Recording::Children);
    let (user, uid) = (name.clone(), user.uid);
    let right = Right {
        user,
        uid,
        starts_at,
        expires_at,
        elevation,
        log_off,
        containment,
        records_children,
    };
    check(places, &right)?;
    Ok(right)
}

/// What an order gives to a user, in the terms of the host.
fn elevation_of(
    places: &Places,
    order: &VerifiedOrder,
    user: &User,
) -> Result<Elevation, RightError> {
    let joined = |group: &String| {
        let found = accounts::group(places, group);
        let found = found.map_err(|error| RightError::Accounts(error.to_string()))?;
        let gid = found.ok_or_else(|| RightError::NoGroup(group.clone()))?.gid;
        if gid == user.gid {
            let user = order.local_user.clone();
            return Err(RightError::OwnGroup { user, group: group.clone() });
        }
        Ok(LocalGroup { name: group.clone(), gid })
    };
    let target = &order.target;
    Ok(if let Some(group) = &target.group {
        let LocalGroup { name, gid } = joined(group)?;
        Elevation::Group { name, gid }
    } else if let (Some(name), Some(program)) = (&target.application, &target.program) {
        Elevation::Application { name: name.clone(), program: program.clone() }
    } else if let Some(account) = &target.account {
        let AccountTarget { action, groups, authorized_keys } = account.clone();
        let groups = groups.iter().map(joined).collect::<Result<_, _>>()?;
        Elevation::Account { action, groups, authorized_keys }
    } else if target.admin.is_some() {
        Elevation::Admin
    } else {
        Elevation::Commands(target.commands.clone())
    })
}

/// Whether a right is still what was approved: the user and the group are who they were, and nobody but root may change the
/// programs.
///
/// # Errors
/// If it is not.
pub fn check(places: &Places, right: &Right) -> Result<(), RightError> {
    let accounts = |error: std::io::Error| RightError::Accounts(error.to_string());
    let user = accounts::user(places, &right.user).map_err(accounts)?;
    // One that Lapse makes is looked at by who makes it.
    if !right.elevation.is_made() && user.is_none_or(|user| user.uid != right.uid) {
        return Err(RightError::OtherUser { user: right.user.clone(), uid: right.uid });
    }
    for (name, gid) in right.elevation.groups() {
        let group = accounts::group_of(places, gid).map_err(accounts)?;
        group.ok_or_else(|| RightError::NoGroup(name.to_owned()))?;
    }
    right.elevation.programs().into_iter().try_for_each(|path| check_program(places, path))
}

/// How many links are followed.
const MOST_LINKS: usize = 40;

/// A program that somebody but root may change is everything that they want it to be. So is one behind a link, or in a
/// folder, that they may change: the whole way is walked, link by link.
fn check_program(places: &Places, path: &str) -> Result<(), RightError> {
    let refused = |why: String| RightError::Program { path: path.to_owned(), why };
    let missing =
        |error: std::io::Error| refused(format!("there is no such program on this host ({error})"));
    let mut todo: Vec<OsString> = parts(Path::new(path));
    let (mut place, mut links) = (places.at("/"), 0);
    check_place(places, &place).map_err(&refused)?;
    while let Some(part) = todo.pop() {
        if part == ".." {
            if place != places.at("/") {
                place.pop();
            }
            continue;
        }
        let next = place.join(&part);
        let found = fs::symlink_metadata(&next).map_err(missing)?;
        check_place(places, &next).map_err(&refused)?;
        if !found.is_symlink() {
            place = next;
            continue;
        }
        links += 1;
        if links > MOST_LINKS {
            return Err(refused("its links lead nowhere".to_owned()));
        }
        let target = fs::read_link(&next).map_err(missing)?;
        if target.is_absolute() {
            place = places.at("/");
        }
        todo.extend(parts(&target));
    }
    let is_file = fs::symlink_metadata(&place).is_ok_and(|found| found.is_file());
    if is_file { Ok(()) } else { Err(refused("it is not a file".to_owned())) }
}

/// The parts of a path, the first at the end.
fn parts(path: &Path) -> Vec<OsString> {
    let parts = path.components().filter_map(|part| match part {
        Component::Normal(part) => Some(part.to_owned()),
        Component::ParentDir => Some("..".into()),
        Component::Prefix(_) | Component::RootDir | Component::CurDir => None,
    });
    parts.rev().collect()
}

/// Whether nobody but root may change what lies at this place.
fn check_place(places: &Places, place: &Path) -> Result<(), String> {
    let who = match fs::symlink_metadata(place) {
        Ok(found) if found.uid() != places.owner() => {
            format!("belongs to the user ID {}", found.uid())
        }
        // The bits of a link say nothing.
        Ok(found) if found.is_symlink() => return Ok(()),
        Ok(found) if found.mode() & 0o002 != 0 => "can be written by everybody".to_owned(),
        // With a list of who may (acl(5)), these bits are the most that anybody on it may.
        Ok(found) if found.mode() & 0o020 != 0 => {
            format!(
                "can be written by the group ID {}, or by who is on its access list",
                found.gid()
            )
        }
        Ok(_) => return Ok(()),
        Err(error) => format!("cannot be looked at ({error})"),
    };
    let place = place.display();
    Err(format!(
        "{place} {who}, so whoever may change it could run anything as root. Make it writable by root alone"
    ))
}

#[cfg(test)]
mod tests;
