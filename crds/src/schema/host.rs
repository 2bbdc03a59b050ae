//! What there is on a host.

use schemars::{Schema, SchemaGenerator, json_schema};

use super::short;

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

/// A SHA-256, as text.
pub(crate) fn sha256(_: &mut SchemaGenerator) -> Schema {
    short(1, 71, "^sha256:[0-9a-f]{64}$", "must be sha256: and 64 hexadecimal digits in lower case")
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
