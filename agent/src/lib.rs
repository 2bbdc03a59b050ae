//! Carries out orders on a Linux host, and ends them on time.
//!
//! - Pure: [`record`] (how an order goes on), [`clock`] (when a right is over), [`sudo`] (the text of a rule), [`right`]
//!   (what an order gives here), [`problems`].
//! - The host: [`system`] (the one place that changes it), [`durable`], [`accounts`], [`processes`], [`timers`].
//! - [`elevation`]: a driver for each kind of right. [`journal`]: what is remembered. [`hands`]: all of it in its order.
//! - [`probe`]: what the host can do. [`session`]: what happens when somebody who has a right calls sudo.
//! - [`identity`], [`fingerprint`], [`copied`]: who this host is, on which machine, and what a copy of it does.
//! - [`link`], [`enrol`], [`attach`], [`farewell`], [`standing`]: the gateway. [`worker`]: the thread that carries out orders.

pub mod accounts;
pub mod attach;
pub mod certificate;
pub mod cli;
pub mod clock;
pub mod copied;
pub mod durable;
pub mod elevation;
pub mod enrol;
pub mod farewell;
pub mod fingerprint;
pub mod hands;
pub mod identity;
pub mod journal;
pub mod link;
pub mod places;
pub mod probe;
pub mod problems;
pub mod processes;
pub mod record;
pub mod right;
pub mod run;
pub mod session;
pub mod standing;
pub mod sudo;
pub mod system;
pub mod timers;
pub mod worker;
