//! What is done with a local account for a time.

use std::fmt;

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::schema;

/// What is done with the local user of the requester. `Enable`: they exist and are disabled; they are enabled, and
/// disabled again at the end. `Provision`: they do not exist on the host; they are created, and removed at the end.
/// `Raise`: they exist, and join groups; at the end they have exactly the memberships that they had.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
pub enum AccountAction {
    /// Enabled, and disabled again.
    Enable,
    /// Created, and removed.
    Provision,
    /// In more groups, and then in those that it was in.
    Raise,
}

impl fmt::Display for AccountAction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

/// What is requested of the requester's own local account.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("self.action != 'Enable' || !has(self.groups) || size(self.groups) == 0")
        .message("action Enable changes no groups: leave groups out, or set action Raise"),
    validation = Rule::new("self.action != 'Raise' || has(self.groups) && size(self.groups) > 0")
        .message("action Raise needs groups: name those that the account is to join")
)]
pub struct AccountTarget {
    /// What is done. `Enable`: the local user exists and is disabled; it is enabled, and disabled again at the end.
    /// `Provision`: it does not exist on the host; it is created, and removed at the end. `Raise`: it exists, and joins
    /// `groups`; at the end it has exactly the memberships that it had.
    pub action: AccountAction,
    /// The local groups that the account joins, besides its own, with `Provision` and `Raise`. They must exist on the
    /// host. Required with `Raise`; absent: none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::local_names")]
    pub groups: Vec<String>,
    /// The public keys with which one can log in as a provisioned account: those of `spec.users` of the Endpoint when
    /// access was granted. Only in a Grant.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::authorized_keys")]
    pub authorized_keys: Vec<String>,
}

/// What may be requested of local accounts. A request must lie within one entry: the same action, and no other groups.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[x_kube(
    validation = Rule::new("self.action != 'Enable' || !has(self.groups) || size(self.groups) == 0")
        .message("action Enable changes no groups: leave groups out, or set action Raise"),
    validation = Rule::new("self.action != 'Raise' || has(self.groups) && size(self.groups) > 0")
        .message("action Raise needs groups: name those that accounts may join")
)]
pub struct AccountTargets {
    /// What may be done. `Enable`: a local user that exists and is disabled is enabled, and disabled again at the end.
    /// `Provision`: one that does not exist on the host is created, and removed at the end. `Raise`: one that exists
    /// joins groups, and at the end has exactly the memberships that it had. With effect Deny, `Enable` and `Provision`
    /// deny every such request.
    pub action: AccountAction,
    /// The local groups that a request may name, with `Provision` and `Raise`. With effect Deny and `Raise`: no account
    /// may join any of them. Required with `Raise`; absent: none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::local_names")]
    pub groups: Vec<String>,
}
