//! Pieces of schema that several types share.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    JSON, JSONSchemaProps, JSONSchemaPropsOrArray,
};
use schemars::{Schema, SchemaGenerator, json_schema};

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

/// The name of a stage of an approval.
pub(crate) fn stage_name(_: &mut SchemaGenerator) -> Schema {
    short(
        1,
        63,
        "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$",
        "must be lower case letters, digits and -, a letter or digit at both ends",
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

/// A set of names of objects, at most 64.
pub(crate) fn object_names(generator: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "array",
        "maxItems": 64,
        "items": object_name(generator),
        "x-kubernetes-list-type": "set",
    })
}

/// The name of a user or a group of a host. Only what no file of rules can read as something else: `ALL`, `#0`,
/// `%wheel`, `a,b` and `+netgroup` are names to `sudo`, and none here.
pub(crate) fn local_name(_: &mut SchemaGenerator) -> Schema {
    short(
        1,
        32,
        "^[a-z_][a-z0-9_-]*$",
        "must be the name of a local user or group: lower case letters, digits, _ and -, a letter or _ first",
    )
}

/// A set of names of local groups, at most 64.
pub(crate) fn local_names(generator: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "array",
        "maxItems": 64,
        "items": local_name(generator),
        "x-kubernetes-list-type": "set",
    })
}

/// The path of a program of a host.
pub(crate) fn program_path(_: &mut SchemaGenerator) -> Schema {
    short(
        1,
        255,
        r"^(/[A-Za-z0-9_+][A-Za-z0-9_.+-]*)+$",
        "must be an absolute path of letters, digits, _, ., + and -, without wildcards and without .. or hidden parts",
    )
}

/// The arguments of a program, at most 32.
pub(crate) fn program_arguments(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "array",
        "maxItems": 32,
        "items": {
            "type": "string",
            "minLength": 1,
            "maxLength": 255,
            // Printable ASCII without white space, which joins and parts arguments in a rule of sudo. A rule in CEL says
            // that in words, and costs more in a list of lists than the API server allows.
            "pattern": "^[!-~]+$",
        },
        "x-kubernetes-list-type": "atomic",
    })
}

/// A regular expression over arguments.
pub(crate) fn arguments_pattern(_: &mut SchemaGenerator) -> Schema {
    short(
        2,
        255,
        r"^\^[ -~]*\$$",
        "must begin with ^ and end with $, in printable ASCII: what is not anchored matches anything around it",
    )
}

/// The name of an application of a host, by which people request it.
pub(crate) fn application_name(_: &mut SchemaGenerator) -> Schema {
    short(
        1,
        63,
        "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$",
        "must be the name of an application: lower case letters, digits and -, a letter or digit at both ends",
    )
}

/// The arguments of a program that no rule of sudo names, at most 32: spaces are as good as anything.
pub(crate) fn application_arguments(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "array",
        "maxItems": 32,
        "items": {
            "type": "string",
            "minLength": 1,
            "maxLength": 255,
            // As for the arguments of commands, a rule in CEL would cost too much.
            "pattern": "^[ -~]+$",
        },
        "x-kubernetes-list-type": "atomic",
    })
}

/// The name of an environment variable. A rule in CEL would cost too much here, too.
pub(crate) fn variable_name(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "string",
        "minLength": 1,
        "maxLength": 64,
        "pattern": "^[A-Z_][A-Z0-9_]*$",
    })
}

/// The value of an environment variable: no control characters.
pub(crate) fn variable_value(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "string", "maxLength": 1024, "pattern": "^[ -~]*$" })
}

/// The name of a package of a distribution.
pub(crate) fn package_name(_: &mut SchemaGenerator) -> Schema {
    short(
        1,
        128,
        "^[A-Za-z0-9][A-Za-z0-9+._-]*$",
        "must be the name of a package: letters, digits, +, ., _ and -, a letter or digit first",
    )
}

/// A release, as Semantic Versioning writes it.
pub(crate) fn release(_: &mut SchemaGenerator) -> Schema {
    short(
        1,
        64,
        r"^[0-9]+\.[0-9]+\.[0-9]+(-[0-9A-Za-z.-]+)?$",
        "must be a version of three numbers, such as 0.3.0 or 0.3.0-rc.1",
    )
}

/// Public keys of OpenSSH, at most 8: each the kind of the key, the key in base64, and perhaps a comment. Options, which
/// stand first, could run commands.
pub(crate) fn authorized_keys(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "array",
        "maxItems": 8,
        "items": {
            "type": "string",
            "minLength": 1,
            "maxLength": 2048,
            // In a list of 512 users a rule in CEL would cost too much.
            "pattern": "^(ssh-ed25519|ssh-rsa|ecdsa-sha2-nistp(256|384|521)|sk-(ssh-ed25519|ecdsa-sha2-nistp256)@openssh\\.com) AAAA[0-9A-Za-z+/]+={0,2}( [!-~]([ -~]*[!-~])?)?$",
        },
        "x-kubernetes-list-type": "set",
    })
}

/// A SHA-256, as text.
pub(crate) fn sha256(_: &mut SchemaGenerator) -> Schema {
    short(1, 71, "^sha256:[0-9a-f]{64}$", "must be sha256: and 64 hexadecimal digits in lower case")
}

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

/// The identifier of a ticket: printable, without white space at its ends.
pub(crate) fn ticket(_: &mut SchemaGenerator) -> Schema {
    short(
        1,
        256,
        "^[!-~]([ -~]*[!-~])?$",
        "must be printable ASCII without white space at its ends, such as INC0012345",
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

/// Takes `nullable` away, which the generator sets on every optional field: an explicit `null` would
/// be a second way of leaving a field out, which rules in CEL and signatures would see as another.
pub(crate) fn refuse_null(schema: &mut JSONSchemaProps) {
    each(schema, &mut |field| field.nullable = None);
}

/// Calls `change` for a schema and all that is within it.
fn each(schema: &mut JSONSchemaProps, change: &mut impl FnMut(&mut JSONSchemaProps)) {
    change(schema);
    for property in schema.properties.iter_mut().flat_map(|map| map.values_mut()) {
        each(property, change);
    }
    if let Some(JSONSchemaPropsOrArray::Schema(items)) = &mut schema.items {
        each(items, change);
    }
}

/// Joins the lines of each paragraph of the descriptions: `kubectl explain` breaks lines where its reader's terminal ends,
/// and keeps those that are there.
pub(crate) fn join_lines(schema: &mut JSONSchemaProps) {
    each(schema, &mut |field| {
        if let Some(text) = &mut field.description {
            let paragraphs = text.split("\n\n");
            let joined: Vec<String> = paragraphs
                .map(|lines| lines.split_whitespace().collect::<Vec<_>>().join(" "))
                .collect();
            *text = joined.join("\n\n");
        }
    });
}

/// Has an object whose status nobody has written yet say that its spec was not seen: tools that wait would take it for
/// done (kstatus compares `status.observedGeneration` with the generation). The API server fills a default in when an
/// object is read, too.
pub(crate) fn unobserved_at_first(schema: &mut JSONSchemaProps) {
    let status = schema.properties.as_mut().and_then(|all| all.get_mut("status"));
    if let Some(status) = status {
        status.default = Some(JSON(serde_json::json!({ "observedGeneration": -1 })));
    }
}

/// Says of each list how it is merged. One that says nothing else is replaced as a whole: that is what the API server
/// takes it for, and who reads the schema need not know that.
pub(crate) fn say_list_types(schema: &mut JSONSchemaProps) {
    each(schema, &mut |field| {
        if field.type_.as_deref() == Some("array") {
            field.x_kubernetes_list_type.get_or_insert_with(|| "atomic".to_owned());
        }
    });
}

/// Keeps the name that `credentialID` had in older releases. A field that the schema does not know is dropped when an
/// object is read, and the signature of what those releases stamped would no longer match.
pub(crate) fn keep_older_name(schema: &mut JSONSchemaProps) {
    let properties = schema.properties.iter_mut().flat_map(|map| map.iter_mut());
    for (_, stamp) in
        properties.filter(|(name, _)| ["requester", "decider"].contains(&name.as_str()))
    {
        let Some(fields) = stamp.properties.as_mut() else { continue };
        let Some(mut older) = fields.get("credentialID").cloned() else { continue };
        older.description = Some(
            "What credentialID was called by older releases. Nothing is stamped here any more."
                .to_owned(),
        );
        fields.insert("credentialId".to_owned(), older);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_joined_and_paragraphs_are_kept() {
        let text = |text: &str| Some(text.to_owned());
        let mut schema = JSONSchemaProps {
            description: text("One\nparagraph.\n\nAnother\n one."),
            properties: Some(
                [(
                    "below".to_owned(),
                    JSONSchemaProps {
                        description: text("Of\na field."),
                        ..JSONSchemaProps::default()
                    },
                )]
                .into(),
            ),
            ..JSONSchemaProps::default()
        };
        join_lines(&mut schema);
        assert_eq!(schema.description, text("One paragraph.\n\nAnother one."));
        assert_eq!(schema.properties.unwrap()["below"].description, text("Of a field."));
    }
}
