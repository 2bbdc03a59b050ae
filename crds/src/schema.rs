//! Pieces of schema that several types share.

use schemars::{Schema, json_schema};

mod host;
mod kubernetes;
mod people;
mod time;
mod whole;

pub(crate) use host::{
    application_arguments, application_name, arguments_pattern, authorized_keys, local_name,
    local_names, package_name, program_arguments, program_path, release, sha256, variable_name,
    variable_value,
};
pub(crate) use kubernetes::{
    namespace_name, namespace_names, object_name, object_names, rbac_name, rule_values, stage_name,
    uid,
};
pub(crate) use people::{
    approvers, approvers_of_stage, groups, not_in_groups, prose, subject_name, ticket,
};
pub(crate) use time::{end_of_window, start_of_window, time_zone};
pub(crate) use whole::{
    join_lines, keep_older_name, refuse_null, say_list_types, unobserved_at_first,
};

/// A rule that a text has this shape, told in words: of a `pattern` the API server would quote the expression alone.
pub(crate) fn shaped(pattern: &str, words: &str) -> serde_json::Value {
    serde_json::json!({ "rule": format!("self.matches(r'{pattern}')"), "message": words })
}

/// A short text of this shape, and of so many characters. What is too short is told by its number of characters alone, so
/// only what is empty should be.
fn short(least: u32, most: u32, pattern: &str, words: &str) -> Schema {
    json_schema!({
        "type": "string",
        "minLength": least,
        "maxLength": most,
        "x-kubernetes-validations": [shaped(pattern, words)],
    })
}
