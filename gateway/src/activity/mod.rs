//! The record of what is done by rights on hosts: what agents sent of it is written to standard output, and the last of it shown
//! on the Endpoint.
//!
//! A host that is somebody else's by now can say much of itself, and of itself alone. How much it may say is limited, and what it
//! said is written by a thread of its own: whoever does not read that keeps no order and no end from anybody.

mod export;
mod recent;
mod takings;

pub(crate) use export::Export;
pub(crate) use recent::{Seen, hold, seen, store};
