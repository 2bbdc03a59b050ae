//! `AccessDecision`: what a person says about a request.

use std::fmt;

use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{GrantDuration, Identity, PolicyRef, RecordedRules, ReviewOutcome, schema};

/// What a person says about a request: approve it, deny it, end it early, or review it afterwards.
/// Decisions are only ever added; the list of them is the record of who said what.
#[expect(
    clippy::duplicated_attributes,
    reason = "the columns that kubectl shows have types in common"
)]
#[derive(CustomResource, Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[kube(
    group = "lapse.dev",
    version = "v1alpha1",
    kind = "AccessDecision",
    plural = "accessdecisions",
    shortname = "adec",
    category = "lapse",
    namespaced,
    derive = "PartialEq",
    doc = "What a person says about a request: approve it, deny it, end it early, or review it afterwards. Decisions are only ever added; the list of them is the record of who said what.",
    annotation("helm.sh/resource-policy", "keep"),
    selectable = ".spec.request.name",
    printcolumn(name = "Verdict", type_ = "string", json_path = ".spec.verdict"),
    printcolumn(name = "Request", type_ = "string", json_path = ".spec.request.name"),
    printcolumn(name = "Decider", type_ = "string", json_path = ".spec.decider.username"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("self == oldSelf")
        .message("a decision cannot be changed; make another"),
    validation = Rule::new("!has(self.duration) || self.verdict == 'Approve'")
        .message("duration is allowed with verdict Approve alone: the approver sets it"),
    validation = Rule::new("has(self.outcome) == (self.verdict == 'Review')")
        .message("outcome (Justified or Unjustified) is required with verdict Review, and allowed with it alone")
)]
pub struct AccessDecisionSpec {
    /// The request, in the namespace of the decision.
    pub request: RequestTarget,

    /// Approve, Deny, End or Review.
    pub verdict: Verdict,

    /// With Approve: the approver sets the duration, within the bounds of the policy. Of several, the
    /// shortest applies.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub duration: Option<GrantDuration>,

    /// With Review: what the reviewer found.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outcome: Option<ReviewOutcome>,

    /// Why, in words for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::prose")]
    pub comment: Option<String>,

    /// Who decides, as the API server authenticated the caller. Stamped at admission.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decider: Option<Identity>,

    /// The policy that was decided upon. Stamped at admission.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policy: Option<PolicyRef>,

    /// Hash of the rules of the requested role at that moment. Stamped at admission.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 128))]
    pub rules_hash: Option<String>,

    /// The rules themselves, in as few as say the same: an approval holds as long as the role has gained
    /// none. Left out when they take more than 16 KiB; the approval then holds as long as the role has
    /// not changed at all. Stamped at admission.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub rules: Vec<RecordedRules>,
}

/// The request that a decision speaks about.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RequestTarget {
    /// The name of the AccessRequest.
    #[schemars(schema_with = "schema::object_name")]
    pub name: String,
    /// Its UID. Stamped at admission when absent; one that is wrong is refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::uid")]
    pub uid: Option<String>,
}

/// What a decision says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Verdict {
    /// By an approver of the policy: the right may be given.
    Approve,
    /// By an approver, or by who holds the verb `deny` on the policy: the right may not be given, and
    /// is taken back at once if it was.
    Deny,
    /// By the requester: the right is not needed any more.
    End,
    /// By a reviewer of the policy other than the requester, after an emergency: whether it was one.
    Review,
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}
