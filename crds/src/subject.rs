//! Who: subjects that a policy names, and identities that the API server authenticated.

use std::fmt;

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::schema;

/// The kinds of subject.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
pub enum SubjectKind {
    /// A person, by the user name that the API server authenticates.
    User,
    /// Everybody in a group, as the API server reports groups.
    Group,
    /// A service account, by its namespace and name.
    ServiceAccount,
    /// A local user of a host, who requests there with `lapse request`, as the agent of the host proves.
    EndpointUser,
}

/// A user, a group, a service account, or a local user of a host.
#[derive(
    Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, KubeSchema,
)]
#[x_kube(
    validation = Rule::new("(self.kind == 'ServiceAccount') == has(self.__namespace__)")
        .message("namespace is required for kind ServiceAccount, and not allowed for other kinds"),
    validation = Rule::new("self.kind != 'User' || !has(self.name) || !self.name.startsWith('system:serviceaccount:')")
        .message("name a service account with kind ServiceAccount, namespace and name, not as a User"),
    validation = Rule::new("self.kind != 'User' || !has(self.name) || !self.name.startsWith('lapse:endpoint:')")
        .message("name a local user of a host with kind EndpointUser, endpoint and name, not as a User"),
    validation = Rule::new("has(self.name) || self.kind == 'EndpointUser'")
        .message("name is required; only kind EndpointUser goes without, and means every local user then"),
    validation = Rule::new("!has(self.endpoint) || self.kind == 'EndpointUser'")
        .message("endpoint is allowed with kind EndpointUser alone")
)]
pub struct Subject {
    /// User, Group, ServiceAccount or `EndpointUser`.
    pub kind: SubjectKind,
    /// The name, exactly as the API server authenticates it (case matters). Of an `EndpointUser`: the name of the local
    /// user; absent: every local user but root.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(schema_with = "schema::subject_name")]
    pub name: String,
    /// The namespace of a service account.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::namespace_name")]
    pub namespace: Option<String>,
    /// With kind `EndpointUser`: the Endpoint on whose host the local user is. Absent: on every one that `workstations` of
    /// the policy names; in a policy with effect Deny, on every one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::object_name")]
    pub endpoint: Option<String>,
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.kind, &self.namespace) {
            (SubjectKind::User, _) => write!(f, "user {}", self.name),
            (SubjectKind::Group, _) => write!(f, "group {}", self.name),
            (SubjectKind::ServiceAccount, namespace) => {
                write!(f, "service account {}/{}", namespace.as_deref().unwrap_or("?"), self.name)
            }
            (SubjectKind::EndpointUser, _) => {
                match self.name.as_str() {
                    "" => f.write_str("every local user")?,
                    name => write!(f, "local user {name}")?,
                }
                match &self.endpoint {
                    Some(endpoint) => write!(f, " of Endpoint {endpoint}"),
                    None => Ok(()),
                }
            }
        }
    }
}

/// A caller as the API server authenticated it. Stamped at admission: what a client sends is
/// overwritten.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Identity {
    /// The user name.
    #[schemars(schema_with = "schema::subject_name")]
    pub username: String,
    /// The UID that the identity provider gave, if any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::uid")]
    pub uid: Option<String>,
    /// The groups of the caller at that moment.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::groups")]
    pub groups: Vec<String>,
    /// How many groups are left out because they do not fit. Absent: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub groups_omitted: Option<u32>,
    /// If groups are left out: groups that Deny policies named at that moment, and that the caller was not in.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::not_in_groups")]
    pub not_in_groups: Vec<String>,
    /// The credential ID: which credential was used (a certificate's fingerprint, a token's identifier), if the API
    /// server reports it. An impersonated identity has none.
    #[serde(
        default,
        rename = "credentialID",
        alias = "credentialId",
        skip_serializing_if = "Option::is_none"
    )]
    #[schemars(schema_with = "schema::subject_name")]
    pub credential_id: Option<String>,
    /// The local user of a host, if it was they who requested there, with `lapse request`, and the agent of the host
    /// proves it (`spec.origin`). No credential of the cluster was used then: `username` is whose local user they are by
    /// `spec.users` of the Endpoint, or else `lapse:endpoint:ENDPOINT:LOCALUSER`, and no groups are known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub endpoint_user: Option<EndpointUser>,
}

/// A local user of a host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct EndpointUser {
    /// The name of the Endpoint.
    #[schemars(schema_with = "schema::object_name")]
    pub endpoint: String,
    /// The local user.
    #[schemars(schema_with = "schema::local_name")]
    pub local_user: String,
}
