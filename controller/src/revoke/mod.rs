//! Takes rights back on time, whatever else fails. Nothing here needs the lease.
//!
//! Three things lead to the same end. A timer for each grant takes its bindings the moment it expires. A sweep
//! looks at every object of Lapse's every few seconds, for what a timer or an event missed. And a binding that
//! shows up without a live grant goes at once.
//!
//! Beside the sweep somebody looks whether the admission policies of the chart stand.

mod expire;
mod guards;
mod orphans;
mod pace;
mod sweep;

pub(crate) use expire::Expiry;
pub(crate) use guards::Guards;
pub(crate) use orphans::{Orphans, judge, remove};
pub(crate) use sweep::{Sweep, sweep_once};
