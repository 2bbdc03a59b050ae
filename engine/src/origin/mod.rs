//! Where a request was made: an agent says, with its own key, that a local user of its host asks for exactly this.
//!
//! Whoever carries the statement can leave it out and nothing more: it is about one request, by its namespace, its name and
//! all that it asks for, and it is worth something for two minutes. A name is taken once, so the statement makes one
//! request, however often it is used.

mod error;
mod local;
mod provenance;
mod statement;

pub use error::OriginError;
pub use local::local_requester;
pub use provenance::{Provenance, Workplace, verify_end};
pub use statement::{StatementError, digest_of, digest_of_end, is_digest, sign, verify};
