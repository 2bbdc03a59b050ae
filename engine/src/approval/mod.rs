//! Approvals: what people said, who of them counts where, and whether it is enough.

mod basis;
mod judge;
mod review;
mod statement;
mod tally;

pub use basis::Basis;
pub use judge::{Judgement, Refusal, judge};
pub use review::{Review, judge_review};
pub(crate) use statement::not_verified_yet;
pub use statement::{Statement, Statements};
pub use tally::{Progress, progress};
