//! Times of the day, and where they are meant.

use schemars::{Schema, SchemaGenerator};

use super::short;

/// The name of a time zone. Only the shape: which names there are is known to the engine, whose list
/// grows with the IANA database.
pub(crate) fn time_zone(_: &mut SchemaGenerator) -> Schema {
    short(
        1,
        64,
        "^[A-Za-z][A-Za-z0-9_+-]*(/[A-Za-z0-9_+-]+)*$",
        "must be a name of the IANA time zone database, such as Europe/Zurich or UTC",
    )
}

/// A time of the day, in hours and minutes.
pub(crate) fn start_of_window(_: &mut SchemaGenerator) -> Schema {
    short(
        1,
        5,
        "^([01][0-9]|2[0-3]):[0-5][0-9]$",
        "must be a time of the day in hours and minutes, from 00:00 to 23:59",
    )
}

/// A time of the day, or its end.
pub(crate) fn end_of_window(_: &mut SchemaGenerator) -> Schema {
    short(
        1,
        5,
        "^(([01][0-9]|2[0-3]):[0-5][0-9]|24:00)$",
        "must be a time of the day in hours and minutes, from 00:00 to 24:00",
    )
}
