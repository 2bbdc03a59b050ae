//! What sudo is told, and what it says.

mod log;
mod rule;
mod visudo;

#[cfg(test)]
pub(crate) use log::samples;
pub use log::{Called, LogReader, Logged};
pub use rule::{Dialect, LOGGING, LOGGING_CHILDREN, LOGIN_SERVICE, Log, Rule, RuleError, SERVICE};
pub use visudo::judge;
