//! What becomes of a request: the table of phases, what people read, and what can never happen.

mod chain;
mod columns;
mod emergency;
mod extension;
mod follow;
mod granting;
mod origin;
mod people;
mod phases;
mod properties;
mod scheduled;
mod terms;
