//! How a right of each kind is given, looked at and taken back on a host.

mod account;
mod application;
mod files;
mod group;
mod membership;
mod sudo;

use lapse_crds::AccountAction;

use crate::clock::Clock;
use crate::places::{Id, Places};
use crate::record::{Record, Undo};
use crate::right::{Elevation, Right};
use crate::sudo::Dialect;
use crate::system::System;

/// What a driver works with.
pub struct Bench<'a> {
    /// What changes the host.
    pub system: &'a dyn System,
    /// What it shows the time by.
    pub clock: &'a dyn Clock,
    /// Where things lie.
    pub places: &'a Places,
    /// What its sudo understands, found by trying, or why no right with sudo can be given.
    pub dialect: &'a dyn Fn() -> Result<Dialect, String>,
    /// The other orders of which something may be there.
    pub others: &'a [Record],
}

/// A right of one kind. Each step may be done twice, and after a crash at any moment of it.
pub trait Driver {
    /// What will be there, and what was there before and is to be restored at the end.
    ///
    /// # Errors
    /// In words, as all of these: they are shown on the request.
    fn prepare(&self, bench: &Bench<'_>) -> Result<Undo, String>;

    /// Gives the right.
    ///
    /// # Errors
    /// If it is not there whole.
    fn apply(&self, bench: &Bench<'_>, undo: &Undo) -> Result<(), String>;

    /// Whether the right is there.
    ///
    /// # Errors
    /// If nobody can say.
    fn observe(&self, bench: &Bench<'_>, undo: &Undo) -> Result<bool, String>;

    /// Takes it back, restores what was there, and verifies that: from then on nothing new can start under it.
    ///
    /// # Errors
    /// If some of it is still there.
    fn revert(&self, bench: &Bench<'_>, undo: Option<&Undo>) -> Result<(), String>;

    /// Ends what was started under it, and removes what can go only after that; verifies both.
    ///
    /// # Errors
    /// If something still runs, or is still there.
    fn stop(&self, bench: &Bench<'_>, undo: Option<&Undo>) -> Result<(), String>;
}

/// The driver of a right.
#[must_use]
pub fn driver<'a>(id: &'a Id, grant: &'a str, right: &'a Right) -> Box<dyn Driver + 'a> {
    match &right.elevation {
        Elevation::Group { gid, .. } => Box::new(group::Group { right, gid: *gid }),
        Elevation::Admin | Elevation::Commands(_) => Box::new(sudo::Sudo { id, grant, right }),
        Elevation::Application { program, .. } => {
            Box::new(application::Application { id, program })
        }
        Elevation::Account { action, groups, authorized_keys: keys } => match action {
            AccountAction::Enable => Box::new(account::Enable { right }),
            AccountAction::Provision => Box::new(account::Provision { id, right, groups, keys }),
            AccountAction::Raise => Box::new(account::Raise { right, groups }),
        },
    }
}
