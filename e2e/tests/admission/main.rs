//! Admission: what people send to the API server, and what it stores. No controller runs here, so
//! everything that is seen is the webhook's and the admission policies' doing.

#![expect(clippy::unwrap_used, reason = "a helper that fails fails its test")]

mod decisions;
mod outages;
mod policies;
mod requests;
mod town;
