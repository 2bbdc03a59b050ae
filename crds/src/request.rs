//! `AccessRequest`: a person asks for a right, for a task and a time.

use std::fmt;

use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    Columns, Condition, EndReason, GrantDuration, Identity, PolicyRef, ReviewStatus, Target,
    Timestamp, schema,
};

/// A request for a right, for a task and a time. It never changes: to ask for something else, make
/// another request.
#[expect(
    clippy::duplicated_attributes,
    reason = "the columns that kubectl shows have types in common"
)]
#[derive(CustomResource, Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[kube(
    group = "lapse.dev",
    version = "v1alpha1",
    kind = "AccessRequest",
    plural = "accessrequests",
    shortname = "areq",
    category = "lapse",
    namespaced,
    status = "AccessRequestStatus",
    derive = "PartialEq",
    doc = "A request for a right, for a task and a time. It never changes: to ask for something else, make another request.",
    annotation("helm.sh/resource-policy", "keep"),
    selectable = ".spec.requester.username",
    selectable = ".status.phase",
    selectable = ".spec.target.endpoint.name",
    printcolumn(name = "Phase", type_ = "string", json_path = ".status.phase"),
    printcolumn(name = "Requester", type_ = "string", json_path = ".spec.requester.username"),
    printcolumn(
        name = "Target",
        type_ = "string",
        json_path = ".status.columns.target",
        description = "What is asked for, and where"
    ),
    printcolumn(
        name = "Waiting-For",
        type_ = "string",
        json_path = ".status.columns.waitingFor",
        description = "Who is still to approve"
    ),
    printcolumn(
        name = "Expires",
        type_ = "string",
        json_path = ".status.columns.expires",
        description = "When the right ends; once it has ended, when it did"
    ),
    printcolumn(
        name = "Reason",
        type_ = "string",
        json_path = ".status.columns.reason",
        description = "Why it stands where it stands"
    ),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(
        name = "Policy",
        type_ = "string",
        json_path = ".status.policy.name",
        priority = 1
    ),
    printcolumn(
        name = "Emergency",
        type_ = "boolean",
        json_path = ".spec.emergency",
        priority = 1
    ),
    printcolumn(
        name = "Review",
        type_ = "string",
        json_path = r#".status.conditions[?(@.type=="Reviewed")].reason"#,
        priority = 1
    )
)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("self == oldSelf")
        .message("a request cannot be changed; delete it and make another. spec.requester is stamped by Lapse: leave it out of the manifest"),
    validation = Rule::new("!(has(self.emergency) && self.emergency && has(self.startTime))")
        .message("an emergency starts at once; remove startTime, or ask without emergency"),
    validation = Rule::new("!(has(self.emergency) && self.emergency && has(self.extends))")
        .message("an emergency extends nothing; remove extends, or ask without emergency"),
    validation = Rule::new("!(has(self.extends) && has(self.startTime))")
        .message("an extension starts when it is approved; remove startTime or extends")
)]
pub struct AccessRequestSpec {
    /// The policy to ask under. Absent: the matching policy with the lowest priority number decides.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::object_name")]
    pub policy: Option<String>,

    /// The right that is asked for.
    pub target: Target,

    /// For how long, such as `45m` or `1h30m`. Absent: the policy's default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub duration: Option<GrantDuration>,

    /// When the right is to start, if not at once: RFC 3339, not in the past. The request is then
    /// `Scheduled` once it is approved, and every check is made again when its time has come.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start_time: Option<Timestamp>,

    /// The ticket that it is for, such as `INC0012345`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::ticket")]
    pub ticket: Option<String>,

    /// What it is for, in words for those who approve and for the audit. Up to 4096 bytes, without
    /// control characters other than line feeds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::prose")]
    pub reason: Option<String>,

    /// Break-glass: have the right at once, without approval and outside the hours of the policy, which
    /// must offer that. Everything else is checked as ever, everybody sees that it was an emergency, and
    /// somebody else reviews it afterwards. Not with `startTime`.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub emergency: bool,

    /// The name of an own request in the same namespace that this one extends: its right is held now, by
    /// the same policy, and the target lies within its target. The extension is a right of its own, from
    /// its approval on. A request is extended once; an extension can be extended in turn.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::object_name")]
    pub extends: Option<String>,

    /// Who asks, as the API server authenticated the caller. Stamped at admission: what a client
    /// sends is overwritten.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requester: Option<Identity>,
}

/// Where a request stands. `Denied`, `Withdrawn`, `TimedOut`, `Failed` and `Ended` are final.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum RequestPhase {
    /// It waits for approval, or to be given.
    #[default]
    Pending,
    /// It is approved, and waits for its start.
    Scheduled,
    /// The right is held, until `expiresAt`.
    Active,
    /// A policy or an approver said no.
    Denied,
    /// The requester ended it before it was approved.
    Withdrawn,
    /// It waited too long for its approval.
    TimedOut,
    /// It was approved, and the right could not be given.
    Failed,
    /// The right was held, and is no more.
    Ended,
}

impl RequestPhase {
    /// Whether the phase is final.
    #[must_use]
    pub fn is_terminal(self) -> bool {
        !matches!(self, Self::Pending | Self::Scheduled | Self::Active)
    }
}

impl fmt::Display for RequestPhase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

/// What the controller observed and decided of a request.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AccessRequestStatus {
    /// The generation of the spec that the status speaks about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Where the request stands.
    #[serde(default)]
    pub phase: RequestPhase,
    /// The policy that decides.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policy: Option<PolicyRef>,
    /// The policies that do not decide, and why; at most 16, then a count.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 17))]
    pub candidates: Vec<Candidate>,
    /// One entry per rule, in a fixed order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = 16),
        extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"])
    )]
    pub checks: Vec<CheckStatus>,
    /// How far the approval is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub approval: Option<ApprovalStatus>,
    /// The grant that holds the right.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grant: Option<GrantRef>,
    /// When the right starts: the moment of the decision that completed the approval, or the start
    /// that was asked for, if that is later.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub starts_at: Option<Timestamp>,
    /// When the right ends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Timestamp>,
    /// When the right was verified to be gone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<Timestamp>,
    /// Why the right ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub end_reason: Option<EndReason>,
    /// The review of an emergency, as its Grant records it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub review: Option<ReviewStatus>,
    /// What lists show.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub columns: Option<Columns>,
    /// `Evaluated`, `Approved`, `Granted`, `Ended`, `Reviewed`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = 16),
        extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"])
    )]
    pub conditions: Vec<Condition>,
}

/// A policy that does not decide a request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Candidate {
    /// The name of the policy; empty in the entry that counts the rest.
    #[schemars(length(max = 253))]
    pub policy: String,
    /// Why it does not decide.
    #[schemars(length(max = 4096))]
    pub reason: String,
}

/// The names of the checks, in the order in which they are shown.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
pub enum CheckName {
    /// A policy that can decide was found.
    Policy,
    /// The policy lets the requester ask.
    Requester,
    /// The policy offers the target.
    Target,
    /// The role lets nobody climb further than the policy accepts.
    Risk,
    /// The duration lies within the bounds.
    Duration,
    /// The reason is as the policy wants it.
    Reason,
    /// The ticket is as the policy wants it.
    Ticket,
    /// The right starts within the hours of the policy.
    Schedule,
    /// The requester neither holds nor has approved a right by a policy that is kept apart.
    SeparationOfDuties,
    /// The requester does not ask for or hold more than the policy allows.
    Limits,
    /// The policy's own rules hold.
    Conditions,
}

/// How a check came out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum CheckOutcome {
    /// It allows the request.
    Pass,
    /// It refuses the request.
    Fail,
    /// It cannot tell yet.
    Pending,
    /// The policy has no such rule, or another check already refused.
    NotApplicable,
}

/// The outcome of one check.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CheckStatus {
    /// Which check.
    pub name: CheckName,
    /// How it came out.
    pub outcome: CheckOutcome,
    /// What was asked, what is allowed, and what to do.
    #[schemars(length(max = 4096))]
    pub message: String,
}

/// How far an approval is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ApprovalStatus {
    /// The stages of the policy, and who approved in each.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8))]
    pub stages: Vec<StageStatus>,
    /// Who is still to approve, in words for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 4096))]
    pub waiting_for: Option<String>,
    /// When the escalation approvers were asked, too, because nobody had answered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub escalated_at: Option<Timestamp>,
}

/// How far one stage is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct StageStatus {
    /// The name of the stage.
    #[schemars(length(max = 63))]
    pub name: String,
    /// How many must approve.
    pub required: u32,
    /// Who approved.
    #[schemars(schema_with = "schema::approvers_of_stage")]
    pub approved_by: Vec<String>,
}

/// The grant of a request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct GrantRef {
    /// The name of the Grant.
    #[schemars(schema_with = "schema::object_name")]
    pub name: String,
    /// Its UID.
    #[schemars(schema_with = "schema::uid")]
    pub uid: String,
}
