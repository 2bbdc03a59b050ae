//! The local user itself, for a time. Whatever else ends it, its files carry an end of their own: the day on which the
//! account expires (shadow(5)), which is the day after the end in UTC.

mod enable;
mod expiry;
mod provision;
mod raise;
mod spools;

pub(super) use self::enable::Enable;
pub(super) use self::provision::Provision;
pub(super) use self::raise::Raise;
