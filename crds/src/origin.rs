//! Where a request was made: on a host, as the host's agent proves.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Timestamp, schema};

/// The host on which a request was made, with the signature of its agent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Origin {
    /// The name of the Endpoint.
    #[schemars(schema_with = "schema::object_name")]
    pub endpoint: String,
    /// Its UID: one that was created later under the same name is another.
    #[schemars(schema_with = "schema::uid")]
    pub uid: String,
    /// The local user who asked there, as the kernel of that host told its agent.
    #[schemars(schema_with = "schema::local_name")]
    pub local_user: String,
    /// When the agent signed, by the clock of that host. Two minutes before or after the admission of the request, it is
    /// no longer accepted.
    pub signed_at: Timestamp,
    /// The agent's signature over all of this and over the request: its namespace, its name, and its spec without
    /// `requester` and `origin`; or over the decision: its namespace, and what it says without its stamps. In base64.
    #[schemars(length(min = 88, max = 88))]
    pub signature: String,
}
