//! What every component needs as a process.

mod build;
mod exposition;
mod health;
mod serve;
mod settings;
mod signal;
mod telemetry;
mod traces;

pub use build::register_build_info;
pub use health::{Checks, Doing, Health, Heartbeat, ReadinessGate, Work};
pub use serve::serve;
pub use settings::{SettingsFileError, read_settings};
pub use signal::stop_requested;
pub use telemetry::start_telemetry;
pub use traces::{TRACES, Traces, bounded_text, follow_caller};
