//! What outlasts a right by which somebody acts as root: setuid programs, rules of sudo, accounts, keys, units, jobs and the
//! like.
//!
//! - Pure: [`critical`] (what is looked at), [`entry`], [`deviation`] (what a change is, and what undoes it), [`accounts`],
//!   [`own`] (what Lapse itself has put there), [`compare`], [`privileged`], [`pace`].
//! - The host: [`mounts`], [`keys`], [`look`] and [`walk`] read it, [`restore`] undoes.
//! - [`period`]: what there was, written down before a right is given. [`findings`]: what was found, until it is accepted.
//! - [`guardian`]: all of it in its order. [`watch`]: the thread that does so while a right is in force, and after its end.
//!
//! A right ends without any of this: what it left behind is looked for when it is gone.

mod accounts;
mod command;
mod compare;
mod critical;
mod deviation;
mod entry;
mod findings;
mod guardian;
mod keys;
mod look;
mod mounts;
mod name;
mod notice;
mod own;
mod pace;
mod period;
mod privileged;
mod restore;
mod walk;
mod walker;
mod watch;

pub use self::command::{accept, show, summary};
pub use self::period::{begin, expect_trust, forget};
pub use self::watch::{Watch, conclude};

use crate::clock::ClockError;
use crate::journal::JournalError;

/// Why a host is not compared with what it was.
#[derive(Debug, thiserror::Error)]
pub enum DriftError {
    /// The time cannot be told.
    #[error(transparent)]
    Clock(#[from] ClockError),
    /// What is known cannot be read or written.
    #[error(transparent)]
    Journal(#[from] JournalError),
}
