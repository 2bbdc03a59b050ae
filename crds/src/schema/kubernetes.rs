//! Names of objects of Kubernetes, and what RBAC says of them.

use schemars::{Schema, SchemaGenerator, json_schema};

use super::short;

/// The name of an object of most kinds of Kubernetes (RFC 1123 subdomain). Names end up in the paths of
/// calls to the API server, so what could be anything but one segment of a path is refused here.
pub(crate) fn object_name(_: &mut SchemaGenerator) -> Schema {
    short(
        1,
        253,
        "^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$",
        "must be the name of an object: lower case letters, digits, - and ., a letter or digit at both ends",
    )
}

/// A set of names of objects, at most 64.
pub(crate) fn object_names(generator: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "array",
        "maxItems": 64,
        "items": object_name(generator),
        "x-kubernetes-list-type": "set",
    })
}

/// The name of an object of RBAC, which may have more characters (`system:node`), but is still one
/// segment of a path.
pub(crate) fn rbac_name(_: &mut SchemaGenerator) -> Schema {
    short(
        1,
        253,
        r"^[^\s./%?#][^\s/%?#]*$",
        "must be the name of a role: no white space, /, %, ? or #, and no . at its beginning",
    )
}

/// The name of a namespace (RFC 1123 label).
pub(crate) fn namespace_name(_: &mut SchemaGenerator) -> Schema {
    short(
        1,
        63,
        "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$",
        "must be the name of a namespace: lower case letters, digits and -, a letter or digit at both ends",
    )
}

/// A set of names of namespaces, at most 64.
pub(crate) fn namespace_names(generator: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "array",
        "maxItems": 64,
        "items": namespace_name(generator),
        "x-kubernetes-list-type": "set",
    })
}

/// The name of a stage of an approval.
pub(crate) fn stage_name(_: &mut SchemaGenerator) -> Schema {
    short(
        1,
        63,
        "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$",
        "must be lower case letters, digits and -, a letter or digit at both ends",
    )
}

/// The values of one list of a rule of RBAC.
pub(crate) fn rule_values(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "array",
        "maxItems": 512,
        "items": {"type": "string", "maxLength": 512},
    })
}

/// The UID of an object, or of a person in the identity provider.
pub(crate) fn uid(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "string", "minLength": 1, "maxLength": 256 })
}
