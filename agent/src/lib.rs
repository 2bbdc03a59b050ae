//! Carries out orders on a Linux host, and ends them on time.
//!
//! - Pure: [`record`] (how an order goes on), [`clock`] (when a right is over), [`sudo`] (the text of a rule), [`right`]
//!   (what an order gives here).
//! - The host: [`system`] (the one place that changes it), [`durable`], [`accounts`], [`processes`], [`timers`].
//! - [`elevation`]: a driver for each kind of right. [`journal`]: what is remembered. [`hands`]: all of it in its order.
//! - [`probe`]: what the host can do. [`session`]: what happens when somebody who has a right calls sudo.
//! - [`identity`], [`link`], [`enrol`], [`attach`]: the gateway. [`worker`]: the thread that carries out orders.

pub mod accounts;
pub mod attach;
pub mod certificate;
pub mod cli;
pub mod clock;
pub mod durable;
pub mod elevation;
pub mod enrol;
pub mod hands;
pub mod identity;
pub mod journal;
pub mod link;
pub mod places;
pub mod probe;
pub mod processes;
pub mod record;
pub mod right;
pub mod run;
pub mod session;
pub mod sudo;
pub mod system;
pub mod timers;
pub mod worker;
