//! `AccessRequest`: a person asks for a right, for a task and a time.

use std::fmt;

use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    Columns, Condition, EndReason, GrantDuration, Identity, Origin, PolicyRef, ReviewStatus,
    Target, Timestamp, schema,
};

/// A request for access, for a task and a time. It never changes: to request something else, create another one.
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
    doc = "A request for access, for a task and a time. It never changes: to request something else, create another one.",
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
        description = "What is requested, and where"
    ),
    printcolumn(
        name = "Waiting-For",
        type_ = "string",
        json_path = ".status.columns.waitingFor",
        description = "Who must still approve"
    ),
    printcolumn(
        name = "Expires",
        type_ = "string",
        json_path = ".status.columns.expires",
        description = "When access ends or has ended"
    ),
    printcolumn(
        name = "Reason",
        type_ = "string",
        json_path = ".status.columns.reason",
        description = "Why it is in this phase"
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
        .message("a request cannot be changed; delete it and create another. spec.requester is stamped by Lapse: leave it out of the manifest"),
    validation = Rule::new("!(has(self.emergency) && self.emergency && has(self.startTime))")
        .message("an emergency starts at once; remove startTime, or request without emergency"),
    validation = Rule::new("!(has(self.emergency) && self.emergency && has(self.extends))")
        .message("an emergency extends nothing; remove extends, or request without emergency"),
    validation = Rule::new("!(has(self.extends) && has(self.startTime))")
        .message("an extension starts when it is approved; remove startTime or extends"),
    validation = Rule::new("!has(self.target.endpoint) || !has(self.target.endpoint.program)")
        .message("the policy says which program an application is; name target.endpoint.application alone, and leave program out"),
    validation = Rule::new("!has(self.target.endpoint) || !has(self.target.endpoint.account) || !has(self.target.endpoint.account.authorizedKeys)")
        .message("the Endpoint says which keys log in as whom (spec.users); leave target.endpoint.account.authorizedKeys out")
)]
pub struct AccessRequestSpec {
    /// The policy that should decide. Absent: the matching policy with the lowest priority number decides.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::object_name")]
    pub policy: Option<String>,

    /// What is requested.
    pub target: Target,

    /// How long access should last, such as `45m` or `1h30m`. Absent: the policy's default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub duration: Option<GrantDuration>,

    /// When access starts, if not at once: a time in RFC 3339, such as `2026-11-21T22:00:00Z`, not in the past. The
    /// request is then `Scheduled` once it is approved, and every check is repeated at that time. Absent: as soon as it
    /// is approved.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start_time: Option<Timestamp>,

    /// The ticket that the request is for, such as `INC0012345`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::ticket")]
    pub ticket: Option<String>,

    /// Why access is needed, for approvers and auditors. Up to 4096 bytes, without control characters other than line
    /// feeds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::prose")]
    pub reason: Option<String>,

    /// Break-glass: access at once, without approval and outside of the schedule. The policy must offer it. Everything
    /// else is checked as usual, the emergency is visible everywhere, and somebody else reviews it afterwards. Not with
    /// `startTime` or `extends`. Absent: no.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub emergency: bool,

    /// The name of one of the requester's own active requests in the same namespace, which this one extends: under the
    /// same policy, and for nothing beyond its target. The extension has a Grant of its own, from its approval on. A
    /// request can be extended once; an extension can be extended in turn. Not with `startTime` or `emergency`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::object_name")]
    pub extends: Option<String>,

    /// The host on which the request was made, with the signature of its agent, as `kubectl jit request --from-host` and
    /// `lapse request` add it. Policies with `workstations` require it. It is verified at admission, and again before
    /// access is granted. Absent: the request was made anywhere.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub origin: Option<Origin>,

    /// The requester, as the API server authenticated the caller; of a request that was made with `lapse request`, whose
    /// local user it was. Stamped at admission: what a client sends is overwritten.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requester: Option<Identity>,
}

/// The phase of a request. `Denied`, `Withdrawn`, `TimedOut`, `Failed` and `Ended` are final.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum RequestPhase {
    /// It waits for approval, or for access to be granted.
    #[default]
    Pending,
    /// It is approved, and waits for its start.
    Scheduled,
    /// Access is held until `expiresAt`.
    Active,
    /// A policy or an approver denied it.
    Denied,
    /// The requester ended it before access started.
    Withdrawn,
    /// It waited too long for its approval.
    TimedOut,
    /// It was approved, but access could not be granted.
    Failed,
    /// Access was held and has ended.
    Ended,
}

impl RequestPhase {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::Pending,
        Self::Scheduled,
        Self::Active,
        Self::Denied,
        Self::Withdrawn,
        Self::TimedOut,
        Self::Failed,
        Self::Ended,
    ];

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
    /// The generation of the spec that the status is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// The phase of the request. `Denied`, `Withdrawn`, `TimedOut`, `Failed` and `Ended` are final.
    #[serde(default)]
    pub phase: RequestPhase,
    /// The policy that decides.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policy: Option<PolicyRef>,
    /// The policies that do not decide, and why; at most 16, then a count.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 17))]
    pub candidates: Vec<Candidate>,
    /// The outcome of each check, in a fixed order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = 16),
        extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"])
    )]
    pub checks: Vec<CheckStatus>,
    /// The state of the approval.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub approval: Option<ApprovalStatus>,
    /// The Grant of the request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grant: Option<GrantRef>,
    /// When access starts: at the decision that completed the approval, or at `spec.startTime`, if that is later.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub starts_at: Option<Timestamp>,
    /// When access ends at the latest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Timestamp>,
    /// When access was verified to be gone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<Timestamp>,
    /// Why access ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub end_reason: Option<EndReason>,
    /// The review of an emergency, as its Grant records it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub review: Option<ReviewStatus>,
    /// What `kubectl get` shows.
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
    /// The policy names the requester, and accepts requests from where this one was made.
    Requester,
    /// The policy offers the target.
    Target,
    /// The role allows no privilege escalation, or the policy accepts it.
    Risk,
    /// The duration is within the bounds.
    Duration,
    /// The reason follows the policy.
    Reason,
    /// The ticket follows the policy.
    Ticket,
    /// Access starts within the policy's schedule.
    Schedule,
    /// The requester neither holds nor has approved access under a policy that excludes this one.
    SeparationOfDuties,
    /// The requester does not request or hold more than the policy allows.
    Limits,
    /// The policy's conditions are true.
    Conditions,
}

/// The outcome of a check.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum CheckOutcome {
    /// It allows the request.
    Pass,
    /// It denies the request.
    Fail,
    /// It cannot be evaluated yet.
    Pending,
    /// The policy has no such rule, or another check failed.
    NotApplicable,
}

/// The outcome of one check.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CheckStatus {
    /// The name of the check.
    pub name: CheckName,
    /// The outcome: `Pass` allows the request, `Fail` denies it, `Pending` cannot be evaluated yet, and `NotApplicable`
    /// means that the policy has no such rule, or that another check failed.
    pub outcome: CheckOutcome,
    /// What was requested, what is allowed, and what to do.
    #[schemars(length(max = 4096))]
    pub message: String,
}

/// The state of an approval.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ApprovalStatus {
    /// The stages of the policy, and who approved in each.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8))]
    pub stages: Vec<StageStatus>,
    /// Who must still approve, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 4096))]
    pub waiting_for: Option<String>,
    /// When the escalation approvers were added, because the request was not approved by then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub escalated_at: Option<Timestamp>,
}

/// The state of one stage.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct StageStatus {
    /// The name of the stage.
    #[schemars(length(max = 63))]
    pub name: String,
    /// How many approvers must approve.
    pub required: u32,
    /// The user names of those who approved.
    #[schemars(schema_with = "schema::approvers_of_stage")]
    pub approved_by: Vec<String>,
}

/// The Grant of a request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct GrantRef {
    /// The name of the Grant.
    #[schemars(schema_with = "schema::object_name")]
    pub name: String,
    /// The UID of the Grant.
    #[schemars(schema_with = "schema::uid")]
    pub uid: String,
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn all_phases_are_those_of_the_schema() {
        let mut all = crate::all().into_iter();
        let definition = all.find(|crd| crd.spec.names.kind == "AccessRequest").unwrap();
        let definition = serde_json::to_value(definition).unwrap();
        let phase =
            "/spec/versions/0/schema/openAPIV3Schema/properties/status/properties/phase/enum";
        assert_eq!(definition.pointer(phase), Some(&json!(RequestPhase::ALL)));
        let held = RequestPhase::ALL.into_iter().filter(|phase| !phase.is_terminal());
        assert!(held.eq([RequestPhase::Pending, RequestPhase::Scheduled, RequestPhase::Active]));
    }
}
