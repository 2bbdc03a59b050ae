//! Admission for Lapse.
//!
//! The API server calls the webhook for every `AccessRequest`, `AccessDecision`, `JitPolicy` and `Grant`, for the status of an
//! `Endpoint`, for what the controller gives by RBAC, and for what the holder of a right writes, starts and enters:
//!
//! - `stamp`: writes who asks or decides into the object and signs it. A decision is judged before
//!   it is signed, so a signature means that it was judged.
//! - `validate`: refuses what has no valid stamp, what changes later, and policies that cannot work.
//! - `session`: says, for the audit log, by which request the holder of a right writes.
//! - `started`: marks the pods and jobs that the holder of a right starts.
//! - `entered`: records which pods they go into.
//! - `confine`: lets the controller give what follows from what is stored, and nothing else. `order`: signs what is for a host.
//! - `enrol`: gives an agent its certificate.
//! - `keys`: the signing key, the path and the certificates, which the replicas share and make
//!   themselves, and the public keys that they publish.
//! - `configuration`: tells the API server the path and the certificate authority.
//! - `server`: TLS, limits, and the way from a request to an answer.
//!
//! Whatever fails refuses: nothing gets in because something broke.

mod admission;
mod answer;
mod asked;
pub mod cli;
mod configuration;
mod confine;
mod dispatch;
mod enrol;
mod entered;
mod entry;
#[cfg(test)]
mod fuzz;
mod keeper;
mod keys;
#[cfg(test)]
mod messages;
mod metrics;
mod news;
mod order;
mod run;
mod said;
mod server;
mod session;
mod size;
mod stamp;
mod started;
#[cfg(test)]
mod testing;
mod validate;

pub use run::run;
