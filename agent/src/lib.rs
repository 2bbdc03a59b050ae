//! Carries out orders on a Linux host, and ends them on time.
//!
//! - Pure: [`record`] (how an order goes on), [`problems`], and of [`sudo`] the text of a rule and what it logs.
//! - The host: [`right`] (what an order gives here), [`clock`], [`system`] (by which alone a right changes it), [`durable`],
//!   [`accounts`], [`processes`], [`timers`], [`places`].
//! - [`drift`]: what outlasts a right by which somebody acts as root. [`unfollowed`]: how that is changed safely.
//! - [`application`]: one program as root, started by the agent; [`program`]: whether it is the one that was approved.
//!   [`numbers`]: the user IDs of accounts that are made.
//! - [`elevation`]: a driver for each kind of right. [`journal`]: what is remembered. [`hands`]: all of it in its order.
//! - [`probe`]: what the host can do. [`session`]: what happens when somebody who has a right calls sudo. [`bus`]: how systemd is
//!   asked for what that takes.
//! - [`identity`], [`fingerprint`], [`copied`]: who this host is, on which machine, and what a copy of it does.
//! - [`activity`], [`outbox`]: the record of what is done with sudo, and how it is sent.
//! - [`local`]: people on the host, and [`client`], by which they talk to it; [`notices`]: what they are told. [`asked`],
//!   [`text`]: what is shown of an order, and how. [`shares`]: how much of the agent one person takes.
//!   [`chance`]: names that are made up.
//! - [`origin`]: what the host says of requests that people make on it. [`requests`]: what they request by the agent itself.
//! - [`link`], [`backoff`], [`enrol`], [`attach`], [`farewell`], [`standing`], [`certificate`]: the gateway. [`worker`]: the thread that carries out
//!   orders. [`run`]: all of it together, by the commands of [`cli`].

pub mod accounts;
pub mod activity;
pub mod application;
pub mod asked;
pub mod attach;
pub mod backoff;
pub mod bus;
pub mod certificate;
pub mod chance;
pub mod cli;
pub mod client;
pub mod clock;
pub mod copied;
pub mod drift;
pub mod durable;
pub mod elevation;
pub mod enrol;
pub mod farewell;
pub mod fingerprint;
pub mod hands;
pub mod identity;
pub mod journal;
pub mod link;
pub mod local;
pub mod notices;
pub mod numbers;
pub mod origin;
pub mod outbox;
pub mod places;
pub mod probe;
pub mod problems;
pub mod processes;
pub mod program;
pub mod record;
pub mod requests;
pub mod right;
pub mod run;
pub mod session;
pub mod shares;
pub mod standing;
pub mod sudo;
pub mod system;
pub mod text;
pub mod timers;
pub mod unfollowed;
pub mod worker;
