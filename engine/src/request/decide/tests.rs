//! What becomes of a request: the table of phases, what people read, and what can never happen.

mod follow;
mod granting;
mod phases;
mod properties;
mod scheduled;
