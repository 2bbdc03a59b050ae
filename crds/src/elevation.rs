//! What may be done on an endpoint for a time.

use std::fmt;

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{AccountTarget, Program, schema};

/// `sudo` for every command, as root. An object without fields, reserved for later settings.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Admin {}

/// A command that may be run as root with `sudo`: one program, with exactly these arguments. Without `args` and
/// `argsPattern` it takes none.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("!(has(self.args) && size(self.args) > 0 && has(self.argsPattern))")
        .message("set args (exactly these) or argsPattern (all that match), not both")
)]
pub struct Command {
    /// The program, by its absolute path. No wildcards: they would let `../` and further arguments through.
    #[schemars(schema_with = "schema::program_path")]
    pub path: String,
    /// The arguments, exactly. Absent: none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::program_arguments")]
    pub args: Vec<String>,
    /// A regular expression that must match all arguments, joined by spaces: it begins with `^` and ends with `$`. A
    /// request may name exact arguments that match, or this same expression, which needs a host that supports
    /// expressions (sudo 1.9.10 or later).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::arguments_pattern")]
    pub args_pattern: Option<String>,
}

impl fmt::Display for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.path)?;
        for argument in &self.args {
            write!(f, " {argument}")?;
        }
        match &self.args_pattern {
            Some(pattern) => write!(f, " {pattern}"),
            None => Ok(()),
        }
    }
}

/// An endpoint, and what may be done there: exactly one of `admin`, `commands`, `group`, `application` and `account`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("(has(self.admin) ? 1 : 0) + (has(self.commands) && size(self.commands) > 0 ? 1 : 0) + (has(self.group) ? 1 : 0) + (has(self.application) ? 1 : 0) + (has(self.account) ? 1 : 0) == 1")
        .message("set exactly one of admin: {} (sudo for everything), commands (sudo for these), group (membership of a local group), application (one program that the agent runs) and account (the local account itself)")
)]
pub struct EndpointTarget {
    /// The name of the Endpoint.
    #[schemars(schema_with = "schema::object_name")]
    pub name: String,
    /// The local user of that host, if the Endpoint has more than one for the requester. The Endpoint and the policy
    /// say which local user belongs to whom, never the request alone. Always set in a Grant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::local_name")]
    pub local_user: Option<String>,
    /// The UID of the Endpoint. Only in a Grant, where it is always set: an order for one host is not valid on another,
    /// nor on one that was enrolled later under the same name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::uid")]
    pub uid: Option<String>,
    /// `sudo` for everything.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub admin: Option<Admin>,
    /// `sudo` for only these commands.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    pub commands: Vec<Command>,
    /// Membership of this local group.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::local_name")]
    pub group: Option<String>,
    /// One program, run as root by the agent itself: the application of this name, which a policy offers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::application_name")]
    pub application: Option<String>,
    /// The program of that application, as the policy says. Only in a Grant, where it is always set with `application`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub program: Option<Program>,
    /// The local user itself: enabled, created, or in more groups, and as it was before at the end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub account: Option<AccountTarget>,
}
