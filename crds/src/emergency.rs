//! Emergencies (break-glass): access at once, without approval, reviewed by somebody else afterwards.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{GrantDuration, Subject, Timestamp, schema};

/// Break-glass: access at once, when no approver can be reached. It skips the approval and the schedule, and nothing
/// else.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Emergency {
    /// The longest duration of an emergency, such as `1h`; it replaces `spec.duration.max`. A request without a
    /// duration gets the policy's default, cut to this.
    pub max_duration: GrantDuration,
    /// How many emergencies of one person may await review at once, those under other policies included. Absent: 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1000))]
    pub max_unreviewed: Option<u32>,
    /// Who reviews an emergency afterwards, and by when.
    pub review: EmergencyReview,
}

/// Who reviews an emergency, and by when.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct EmergencyReview {
    /// How long after its start an emergency must be reviewed, such as `24h`. An overdue review is reported, and the
    /// requester gets no other emergency access until it is done.
    pub within: GrantDuration,
    /// Who may review: with a decision with verdict `Review`, for which the permission to create decisions is enough.
    /// Nobody reviews their own emergency. Reviewers may also deny any request that the policy decides, except their
    /// own.
    #[schemars(length(min = 1, max = 64))]
    pub reviewers: Vec<Subject>,
}

/// Whether an emergency was justified, as a reviewer found. In a decision: required with verdict `Review`, and allowed
/// only with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ReviewOutcome {
    /// It was an emergency, and what was done was necessary.
    Justified,
    /// It was none, or more was done than necessary.
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
    /// Whether the emergency was justified. Absent: not reviewed yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outcome: Option<ReviewOutcome>,
}
