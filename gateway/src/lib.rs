//! Lapse's gateway: carries orders to the agents on hosts, and their receipts back. It can withhold, and give nothing:
//! orders are signed by the webhook, receipts by the agents.
//!
//! - [`book`]: which orders there are for whom, and what to say of a change. Pure.
//! - [`status`]: what to write on an Endpoint. Pure.
//! - [`requests`]: what people on hosts have requested, and what to tell them of it. Pure. `carry`: it is carried to the cluster.
//! - [`limits`], `lanes`: how often. Pure.
//! - [`beats`]: which processes of the gateway live. `roll`: how Endpoints stand for which no connection speaks. Pure.
//! - `identity`, `caller`, `tls`, `shares`, `turns`, `listen`: who connects. `attached`: who is connected. `metrics`: what is
//!   counted.
//! - `watchman`: what follows from these two. `watches`: what is followed in the cluster.
//! - `intake`: the record of what is done on hosts, as an agent sends it. `activity`: where it goes.
//! - `chance`: names that are made up.
//! - `service`: what agents call; `session`: one of them; `scribe`: what it says is written, in turn (`pens`).

mod activity;
mod attached;
pub mod beats;
pub mod book;
mod caller;
mod carry;
mod chance;
pub mod cli;
mod endpoints;
mod identity;
mod intake;
mod lanes;
pub mod limits;
mod listen;
mod metrics;
mod pens;
pub mod requests;
mod roll;
mod run;
mod scribe;
mod service;
mod session;
mod shared;
mod shares;
pub mod status;
mod tls;
mod turns;
mod watches;
mod watchman;

pub use run::run;
