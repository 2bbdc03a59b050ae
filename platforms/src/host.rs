//! What a platform brings to the steps of an order.

use std::fmt;

use chrono::{DateTime, TimeDelta, Utc};

use crate::clock::Reading;
use crate::driver::Driver;
use crate::order::{Capability, Order, OrderId, Right, Undo};
use crate::record::Record;

/// What the drivers of these platforms work with.
pub struct Bench<'a> {
    /// What the clocks show; `None` if nobody can tell. Then nothing is given.
    pub now: Option<&'a Reading>,
    /// The other orders of which something may be there.
    pub others: &'a [Record],
}

/// The driver of a right on these platforms.
pub type AnyDriver<'a> = Box<dyn for<'bench> Driver<Bench<'bench>, Undo> + 'a>;

/// What a host can do.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Probe {
    /// What it is.
    pub system: String,
    /// What can be done.
    pub can: Vec<Capability>,
    /// What cannot, and why, in words.
    pub lacks: Vec<String>,
}

impl fmt::Display for Probe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.system)?;
        self.can.iter().try_for_each(|capability| writeln!(f, "  can:   {capability}"))?;
        self.lacks.iter().try_for_each(|lack| writeln!(f, "  lacks: {lack}"))
    }
}

/// A host.
pub trait Host {
    /// What can be done here, found by trying. What keeps everything from being done (an imitation of the platform, a program
    /// without rights) leaves nothing that can.
    fn probe(&self) -> Probe;

    /// What an order gives here: who and what the names on it are.
    ///
    /// # Errors
    /// If there is no such thing here, in words.
    fn resolve(&self, order: &Order) -> Result<Right, String>;

    /// Whether they are still who they were.
    ///
    /// # Errors
    /// If they are not, in words.
    fn check(&self, right: &Right) -> Result<(), String>;

    /// The driver of a right.
    fn driver<'a>(&'a self, id: &'a OrderId, right: &'a Right) -> AnyDriver<'a>;

    /// Has the platform end an order at this time by the clock, and after this time in any case, whether the agent lives or
    /// not. What had been asked for before is replaced.
    ///
    /// # Errors
    /// If it does not.
    fn arm(
        &self,
        id: &OrderId,
        grant: &str,
        end: DateTime<Utc>,
        rest: TimeDelta,
    ) -> Result<(), String>;

    /// Has it do so no more. An order that it does not know is none.
    ///
    /// # Errors
    /// If it still would.
    fn disarm(&self, id: &OrderId) -> Result<(), String>;

    /// Logs a user off, with all that they run.
    ///
    /// # Errors
    /// If something of it still runs.
    fn log_off(&self, right: &Right) -> Result<(), String>;
}
