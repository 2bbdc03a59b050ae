//! What lists show of an object.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What `kubectl get` shows of an object. It repeats parts of the object in short, for people only: programs read the
/// rest.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Columns {
    /// What is requested or held, and where.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 128))]
    pub target: Option<String>,
    /// Who must still approve a request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 128))]
    pub waiting_for: Option<String>,
    /// When access ends, to the second; once it has ended, when it did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub expires: Option<String>,
    /// Why it is in this phase, if the phase alone does not say so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 128))]
    pub reason: Option<String>,
}
