//! What lists show of an object.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What lists show of an object, in few words. It says nothing that the rest of the object does not say in full, and is
/// for people alone: programs read the rest.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Columns {
    /// The right, and where it holds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 128))]
    pub target: Option<String>,
    /// Who is still to approve a request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 128))]
    pub waiting_for: Option<String>,
    /// When the right ends, to the second; once it has ended, when it did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub expires: Option<String>,
    /// Why it stands where it stands, if the phase alone does not say so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 128))]
    pub reason: Option<String>,
}
