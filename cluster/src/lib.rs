//! What the components share to talk to a cluster. It observes; it decides nothing.
//!
//! - [`connect`]: a client whose every answer also tells how far our clock is from the API server's.
//! - [`bounded`]: every call ends. [`bounded_read`]: a read that is not answered is made again before that.
//! - [`Stored`]: one malformed object stops nothing, and keeps the bytes that were signed.
//! - [`index`]: what decisions look at beside single objects, fed by watches.
//! - [`watch`]: what feeds it, and tells of changes.
//! - [`Reader`]: live reads of single objects; with the index, what the engine decides from.
//! - [`Occasion`]: how new what is seen must be.
//! - [`objects`]: the objects of RBAC that give a right.
//! - [`clock`]: the one place that reads the wall clock.
//! - [`rights`]: what the programs may do there, and why.
//! - [`supported`]: whether the cluster has what Lapse needs.
//! - [`standing_admission`], [`WebhookConfigurations`] and [`standing_subjects`]: which admission objects of the chart
//!   stand, and who holds what never ends.
//! - [`process`]: settings, logs, traces, signals, health and metrics of a component.

mod accounts;
mod admission;
mod again;
mod call;
pub mod clock;
mod connect;
pub mod index;
mod keys;
mod names;
pub mod objects;
mod observe;
mod occasion;
pub mod process;
mod reader;
pub mod rights;
mod standing;
mod started;
mod stored;
mod supported;
#[cfg(test)]
mod testing;
pub mod watch;

pub use admission::{
    OF_THE_CHART, StandingAdmission, WebhookConfigurations, standing_admission, standing_policies,
};
pub use again::{bounded_read, reads_for_an_end};
pub use call::{
    CALL_LIMIT, CallError, NOT_CONFIRMED, bounded, bounded_by, jitter, next_page, replace_status,
    rest_of_list,
};
pub use connect::{ConnectError, connect, connect_with};
pub use keys::{follow_keys, read_keys};
pub use names::{ATTESTATION_KEYS, ENDPOINT_TRUST, GATEWAYS, LEASE};
pub use observe::ObserveError;
pub use occasion::Occasion;
pub use reader::{Reader, read};
pub use standing::standing_subjects;
pub use started::resource_of;
pub use stored::Stored;
pub use supported::{lacking, supported};
