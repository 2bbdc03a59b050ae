//! What an order gives, in the terms of the host.

use chrono::{DateTime, TimeDelta, Utc};
use lapse_crds::{
    AccountAction, AccountTarget, GrantSession, Guard, LastingChanges, LocalSessions, Recording,
};
use lapse_engine::order::VerifiedOrder;
use serde::{Deserialize, Serialize};

use crate::accounts::{self, User};
use crate::clock::Reading;
use crate::places::Places;

mod elevation;
mod fault;
mod path;

pub use elevation::{Elevation, LocalGroup};
pub use fault::RightError;
use path::check_program;

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

#[cfg(test)]
mod tests;
