//! How an order came to be, for people on the host. Nothing that anybody may do follows from it.

use lapse_crds::{GrantDuration, GrantSpec};
use serde::{Deserialize, Serialize};

/// What was asked for, and who allowed it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Asked {
    /// The request: its namespace and its name.
    pub request: String,
    /// Its ticket.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ticket: Option<String>,
    /// Whose approval counted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub approved_by: Vec<String>,
    /// How long before the end there are warnings. Absent: by the length of the right.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub warnings: Option<Vec<GrantDuration>>,
}

impl Asked {
    /// What a Grant says of it.
    #[must_use]
    pub fn of(spec: &GrantSpec) -> Self {
        Self {
            request: format!("{}/{}", spec.request.namespace, spec.request.name),
            ticket: spec.ticket.clone(),
            approved_by: spec.approved_by.clone(),
            warnings: spec.session.as_ref().and_then(|session| session.warnings.clone()),
        }
    }
}
