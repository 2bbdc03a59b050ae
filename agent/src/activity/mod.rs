//! The record of what is done by rights with sudo: who did what, by which Grant, for which request and ticket.
//!
//! - [`note`]: what processes of Lapse write down, each in a file of its own: that sudo was let go on.
//! - [`crate::sudo::LogReader`]: what sudo logs itself: each command, what it starts, and how it ended.
//! - [`calls`]: which of both belong together, so that a command is told with the right that it was called by. Pure.
//! - [`page`]: what is spooled at once, with how far it was read. Pure.
//! - [`spool`]: what the cluster does not have yet, on the disk.
//! - [`recorder`]: the thread that does all of it. Nothing else waits for it, least of all an end.

pub mod calls;
pub mod note;
pub mod page;
pub mod recorder;
pub mod spool;

use lapse_crds::RequestRef;
use lapse_engine::activity::Under;
use lapse_engine::order::VerifiedOrder;

use crate::record::Record;
use crate::right::Elevation;

/// What the record says of a right: as its verified order has it, never as a process says.
#[must_use]
pub fn under_of(order: &VerifiedOrder) -> Under {
    let spec = &order.spec;
    Under {
        grant: order.grant.clone(),
        request: spec.request.clone(),
        ticket: spec.ticket.clone(),
        holder: spec.username.clone().unwrap_or_else(|| spec.subject.name.clone()),
        names_commands: !order.target.commands.is_empty(),
    }
}

/// The same of an order that is known. An earlier release of the agent kept less of it.
#[must_use]
pub fn under(record: &Record) -> Under {
    record.under.clone().unwrap_or_else(|| {
        let elevation = record.right.as_ref().map(|right| &right.elevation);
        let uid = record.request_uid.clone();
        Under {
            grant: record.grant.clone(),
            request: RequestRef { namespace: String::new(), name: String::new(), uid },
            ticket: None,
            holder: String::new(),
            names_commands: matches!(elevation, Some(Elevation::Commands(_))),
        }
    })
}
