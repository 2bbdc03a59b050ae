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
}

/// A user, a group or a service account.
#[derive(
    Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, KubeSchema,
)]
#[x_kube(
    validation = Rule::new("(self.kind == 'ServiceAccount') == has(self.__namespace__)")
        .message("namespace is required for kind ServiceAccount, and not allowed for other kinds"),
    validation = Rule::new("self.kind != 'User' || !self.name.startsWith('system:serviceaccount:')")
        .message("name a service account with kind ServiceAccount, namespace and name, not as a User")
)]
pub struct Subject {
    /// User, Group or ServiceAccount.
    pub kind: SubjectKind,
    /// The name, exactly as the API server authenticates it (case matters).
    #[schemars(schema_with = "schema::subject_name")]
    pub name: String,
    /// The namespace of a service account.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::namespace_name")]
    pub namespace: Option<String>,
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.kind, &self.namespace) {
            (SubjectKind::User, _) => write!(f, "user {}", self.name),
            (SubjectKind::Group, _) => write!(f, "group {}", self.name),
            (SubjectKind::ServiceAccount, namespace) => {
                write!(f, "service account {}/{}", namespace.as_deref().unwrap_or("?"), self.name)
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
}
