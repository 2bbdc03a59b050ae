//! How a right of each kind is given, looked at and taken back on a host.

mod account;
mod application;
mod files;
mod group;
mod membership;
mod sudo;

use lapse_crds::AccountAction;
pub use lapse_platforms::driver::Driver;

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

/// The driver of a right.
#[must_use]
pub fn driver<'a>(
    id: &'a Id,
    grant: &'a str,
    right: &'a Right,
) -> Box<dyn for<'bench> Driver<Bench<'bench>, Undo> + 'a> {
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
