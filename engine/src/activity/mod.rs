//! The record of what is done by rights on hosts: what an entry says, how an agent signs what it sends, and the lines that are
//! exported.
//!
//! By which Grant something was done, and for which request and ticket, an agent takes from the order that it verified, never
//! from what a process says. Whoever carries a batch can withhold it, and can change nothing.

mod batch;
mod entry;
mod export;
#[cfg(test)]
mod tests;

pub use batch::{Batch, BatchError, MOST_BYTES, verify_batch};
pub use entry::{Call, Entry, Event, Under};
pub use export::{Exported, Line, STREAM, exported};
