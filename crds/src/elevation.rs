//! What may be done on an endpoint for a time.

use std::fmt;

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::schema;

/// `sudo` for every command, as root. An object, for what it may say later; it says nothing today.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Admin {}

/// A command that may be run as root with `sudo`: one program, with exactly these arguments. Without
/// `args` and `argsPattern` it takes none.
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
    /// A regular expression that the arguments, joined by spaces, match as a whole: it begins with `^` and ends with
    /// `$`. A request may name exact arguments that match, or this same expression, which needs a host that knows
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

/// An endpoint, and what may be done there: exactly one of `admin`, `commands` and `group`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("(has(self.admin) ? 1 : 0) + (has(self.commands) && size(self.commands) > 0 ? 1 : 0) + (has(self.group) ? 1 : 0) == 1")
        .message("set exactly one of admin: {} (sudo for everything), commands (sudo for these) and group (membership of a local group)")
)]
pub struct EndpointTarget {
    /// The name of the Endpoint.
    #[schemars(schema_with = "schema::object_name")]
    pub name: String,
    /// The local user of that host, if the Endpoint knows more than one for who asks. Which local users are whose is
    /// said by the Endpoint and by the policy, never by the request alone. Always there in a Grant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::local_name")]
    pub local_user: Option<String>,
    /// The UID of the Endpoint. In a Grant alone, where it is always there: an order for one host is worth nothing on
    /// another, nor on one that was enrolled later under the same name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::uid")]
    pub uid: Option<String>,
    /// `sudo` for everything.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub admin: Option<Admin>,
    /// `sudo` for just these commands.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    pub commands: Vec<Command>,
    /// Membership of this local group.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::local_name")]
    pub group: Option<String>,
}
