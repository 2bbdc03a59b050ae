//! On real Linux hosts, which are thrown away after each test.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a helper that fails fails its test")]

mod alone;
mod asked;
mod broken;
mod clocks;
mod copied;
mod corner;
mod drift;
mod elevations;
mod enrol;
mod harness;
mod hostile;
mod hundred;
mod life;
mod machine;
mod people;
mod record;
mod releases;
mod site;
