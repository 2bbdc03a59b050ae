//! What every component needs as a process.

mod build;
mod door;
mod exposition;
mod health;
mod lines;
mod panics;
mod serve;
mod settings;
mod signal;
mod tasks;
mod telemetry;
mod traces;

pub use build::register_build_info;
pub use door::{Door, Visitor, network};
pub use health::{Checks, Doing, Health, Heartbeat, ReadinessGate, Work};
#[cfg(test)]
pub(crate) use panics::panics_in;
pub use panics::{caught, caught_in, count_panics_in, panicked};
pub use serve::serve;
pub use settings::{SettingsFileError, read_settings};
pub use signal::stop_requested;
pub use tasks::{TaskEnded, Tasks};
pub use telemetry::{Telemetry, start_telemetry};
pub use traces::{TRACES, bounded_text, follow_caller};
