//! What sudo is told, and what it says.

mod rule;
mod visudo;

pub use rule::{Dialect, LOGIN_SERVICE, Rule, RuleError, SERVICE};
pub use visudo::judge;
