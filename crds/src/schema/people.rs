//! People: who they are, and what they write.

use schemars::{Schema, SchemaGenerator, json_schema};

use super::short;

/// The name of a user, a group or a service account.
pub(crate) fn subject_name(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "string", "minLength": 1, "maxLength": 1024 })
}

/// The groups of a person, as the API server reported them.
pub(crate) fn groups(generator: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "array", "maxItems": 2048, "items": subject_name(generator) })
}

/// Groups that a person is not in.
pub(crate) fn not_in_groups(generator: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "array", "maxItems": 256, "items": subject_name(generator) })
}

/// A set of user names: as many as 8 stages that need 16 approvals each can seat.
pub(crate) fn approvers(generator: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "array",
        "maxItems": 128,
        "items": subject_name(generator),
        "x-kubernetes-list-type": "set",
    })
}

/// A set of user names: as many as one stage can need.
pub(crate) fn approvers_of_stage(generator: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "array",
        "maxItems": 16,
        "items": subject_name(generator),
        "x-kubernetes-list-type": "set",
    })
}

/// Text for people: reasons, comments, descriptions. Line feeds are the only control characters, and
/// characters that reverse the direction of text are left out, so that what a requester writes cannot
/// draw on an approver's terminal. The length is counted in bytes, because that is what is stored.
pub(crate) fn prose(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "string",
        "maxLength": 4096,
        "x-kubernetes-validations": [
            {
                "rule": "size(bytes(self)) <= 4096",
                "message": "may have at most 4096 bytes",
            },
            {
                "rule": r"self.matches(r'^[^\x00-\x09\x0b-\x1f\x7f-\x9f\x{202a}-\x{202e}\x{2066}-\x{2069}]*$')",
                "message":
                    "holds a character that would draw on a terminal: of control characters line feeds alone are \
                     allowed. Write spaces for tabs, and LF for CRLF",
            },
        ],
    })
}

/// The identifier of a ticket: printable, without white space at its ends.
pub(crate) fn ticket(_: &mut SchemaGenerator) -> Schema {
    short(
        1,
        256,
        "^[!-~]([ -~]*[!-~])?$",
        "must be printable ASCII without white space at its ends, such as INC0012345",
    )
}
