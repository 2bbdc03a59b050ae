//! Emergencies (break-glass): access at once, without approval, reviewed by somebody else afterwards.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{GrantDuration, Subject, Timestamp, schema};

/// Break-glass: what a policy lets its requesters have at once when nobody can be asked. It skips the
/// approval and the hours of the policy, and nothing else.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Emergency {
    /// The longest that an emergency may last. A request without a duration gets the policy's default,
    /// cut to this.
    pub max_duration: GrantDuration,
    /// How many emergencies of one person may await their review, those by other policies included.
    /// Absent: 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1000))]
    pub max_unreviewed: Option<u32>,
    /// Who reviews an emergency afterwards, and by when.
    pub review: EmergencyReview,
}

/// Who reviews an emergency, and by when.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct EmergencyReview {
    /// How long after its start an emergency must be reviewed. One that is overdue is reported, and
    /// keeps its requester from having another.
    pub within: GrantDuration,
    /// Who may review: a decision with verdict `Review`, which needs no permission but to make decisions.
    /// Nobody reviews an own emergency. They may also deny any request that the policy decides.
    #[schemars(length(min = 1, max = 64))]
    pub reviewers: Vec<Subject>,
}

/// What a reviewer found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ReviewOutcome {
    /// There was an emergency, and what was done was called for.
    Justified,
    /// There was none, or more was done than was called for.
    Unjustified,
}

impl fmt::Display for ReviewOutcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

/// The review that an emergency needs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ReviewStatus {
    /// By when it must be reviewed.
    pub due_by: Timestamp,
    /// Who reviewed it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::subject_name")]
    pub reviewed_by: Option<String>,
    /// What the reviewer found.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outcome: Option<ReviewOutcome>,
}
