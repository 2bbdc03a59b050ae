//! Approvals: what people said, who of them counts where, and whether it is enough.

mod judge;
mod statement;
mod tally;

pub use judge::{Judgement, Refusal, judge};
pub use statement::{Statement, Statements};
pub use tally::{Progress, progress};
