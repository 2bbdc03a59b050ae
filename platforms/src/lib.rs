//! What hosts of all platforms have in common, and what carries out orders on Windows and macOS.
//!
//! - In common, with Linux too: [`driver`] (the trait of the drivers), [`clock`] (when a right is over), [`files`] (files that are there
//!   whole or not at all), [`digest`] (which file a program is).
//! - Pure: [`order`] (what is asked for, and what it gives on a host), [`record`] (how far an order is).
//! - [`host`]: what a platform brings. [`steps`]: all of it in its order, and after a crash. [`ledger`]: what is remembered.
//! - [`tools`]: what runs programs. `memberships`: the driver that both platforms have.
//! - [`windows`], [`macos`]: the platforms.
//!
//! Nothing here talks to the gateway yet: docs/endpoints.md says what is built, what was checked and how, and what was not run.

pub mod clock;
pub mod digest;
pub mod driver;
pub mod files;
pub mod host;
pub mod ledger;
pub mod macos;
mod memberships;
pub mod order;
pub mod record;
pub mod steps;
pub mod tools;
pub mod windows;
mod xml;
