//! Every decision of Lapse, pure.
//!
//! Nothing here holds a client, reads a clock, starts a task or draws a random number: what a
//! decision needs is passed in, what is to be done is returned. All components use it: the
//! controller to decide what to grant and to revoke, the webhook to judge what people submit, the gateway and the agents to tell
//! what is signed, `kubectl jit` to judge policies in files; and so they cannot disagree.
//!
//! - [`policy`]: a `JitPolicy` becomes a [`policy::Policy`] that cannot be invalid.
//! - [`checks`]: the rules that a request must pass, one file each.
//! - [`approval`]: who may decide, who counts in which stage, when an approval is complete.
//! - [`rules`]: the rules of roles as sets of rights: what covers what, what a role has gained.
//! - [`risk`]: the rights of a role that let its holder climb, and as whom they can act.
//! - [`attest`]: the signature by which an object proves that admission stamped it.
//! - [`condition`]: the rules that a policy states in CEL, bounded.
//! - [`elevation`] and [`endpoint`]: what may be done on hosts, who is whom there, and what their agents say.
//! - [`duties`]: which policies are kept apart, and who is engaged in them.
//! - [`schedule`]: the hours in which rights may be held.
//! - [`pattern`]: the regular expressions that policies carry, bounded.
//! - [`request`] and [`grant`]: the life of each, as `decide(&Observed, now) -> Plan`.
//! - [`order`]: what a host is told, what it answers, and whom it trusts.
//! - [`activity`]: the record of what is done by rights on hosts.
//! - [`origin`]: where a request was made, as the agent of that host proves.
//! - [`session`]: what is known of people while they hold a right.
//! - [`size`]: how much a request or a decision may store.
//! - [`retention`]: when what is over is deleted.
//! - [`waiting`]: what an object says to tools that wait for it.
//! - [`confine`]: what the controller may write, which is what the engine would write itself.
//! - [`admission`]: whether the API server holds admission as the chart has it.
//! - [`supported`]: whether a cluster has what Lapse needs.

pub mod activity;
pub mod admission;
pub mod approval;
pub mod attest;
pub mod checks;
pub mod condition;
pub mod confine;
pub mod duties;
pub mod elevation;
pub mod endpoint;
pub mod grant;
mod groups;
pub mod identity;
pub mod lifetime;
#[cfg(test)]
mod messages;
pub mod notice;
pub mod order;
pub mod origin;
mod outside;
pub mod pattern;
pub mod peers;
pub mod policy;
mod read;
pub mod request;
pub mod retention;
pub mod risk;
pub mod role;
pub mod rules;
pub mod schedule;
mod seats;
pub mod session;
mod settings;
#[cfg(test)]
mod simulation;
pub mod size;
pub mod standing;
pub mod summary;
pub mod supported;
pub mod surroundings;
pub mod target;
#[cfg(test)]
mod testing;
pub mod waiting;
mod words;

pub use groups::{do_all_fit, keep_groups};
pub use read::Read;
pub use settings::{ControllerSettings, InstallationBounds, Settings, SettingsError};
pub use words::clipped;
