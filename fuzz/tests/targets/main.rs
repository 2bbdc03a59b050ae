//! A target for each parser of the engine and the API that meets bytes from outside. The target of the
//! webhook, which starts from the body of a review, stands in its own crate.

#![expect(clippy::unwrap_used, reason = "a target that fails says so by panicking")]

mod attestation;
mod condition;
mod duration;
mod keys;
mod pattern;
mod rules;
mod schedule;
mod timestamp;

/// The input as text; what is no text never reaches a parser of texts.
fn text(bytes: &[u8]) -> Option<&str> {
    std::str::from_utf8(bytes).ok()
}
