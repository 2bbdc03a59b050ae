//! `AccessDecision`: what a person says about a request.

use std::fmt;

use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{GrantDuration, Identity, Origin, PolicyRef, RecordedRules, ReviewOutcome, schema};

/// What a person says about a request: approve it, deny it, end it early, or review it afterwards. Decisions can only
/// be added: they are the record of who decided what.
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
    doc = "What a person says about a request: approve it, deny it, end it early, or review it afterwards. Decisions can only be added: they are the record of who decided what.",
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
        .message("a decision cannot be changed; create another"),
    validation = Rule::new("!has(self.duration) || self.verdict == 'Approve'")
        .message("duration is allowed with verdict Approve alone: the approver sets it"),
    validation = Rule::new("has(self.outcome) == (self.verdict == 'Review')")
        .message("outcome (Justified or Unjustified) is required with verdict Review, and allowed with it alone"),
    validation = Rule::new("!has(self.origin) || self.verdict == 'End'")
        .message("origin is allowed with verdict End alone: on a host people end what they requested there, and decide nothing else")
)]
pub struct AccessDecisionSpec {
    /// The request that the decision is about. It is in the namespace of the decision.
    pub request: RequestTarget,

    /// What is decided. `Approve`: by an approver; access may be granted. `Deny`: by an approver, a reviewer, or a
    /// holder of the verb `deny` on the policy; access is denied, or revoked at once if it is held. `End`: by the
    /// requester; access is no longer needed. `Review`: by a reviewer, after an emergency; it needs `outcome`.
    pub verdict: Verdict,

    /// With Approve: the duration that the approver sets, such as `30m`, within the bounds of the policy. Of several
    /// approvals, the shortest duration applies. Absent: the duration of the request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub duration: Option<GrantDuration>,

    /// With Review, required: whether the emergency was justified.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outcome: Option<ReviewOutcome>,

    /// A comment for people. Up to 4096 bytes, without control characters other than line feeds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::prose")]
    pub comment: Option<String>,

    /// With End, by the local user of a host who requested there (`lapse end`): the host, with the signature of its
    /// agent over this decision without what is stamped. Only the gateway submits it. Absent: it was submitted with
    /// credentials of the cluster.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub origin: Option<Origin>,

    /// Who decides, as the API server authenticated the caller; with `origin`, whose local user it is. Stamped at
    /// admission: what a client sends is overwritten.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decider: Option<Identity>,

    /// The policy under which it was decided. Stamped at admission.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policy: Option<PolicyRef>,

    /// A hash of the rules of the requested role at that moment. Stamped at admission.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 128))]
    pub rules_hash: Option<String>,

    /// The rules themselves, in their shortest form: an approval is valid as long as the role has gained no rules. Left
    /// out if they take more than 16 KiB; the approval is then valid as long as the role has not changed at all.
    /// Stamped at admission.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub rules: Vec<RecordedRules>,
}

/// The request that a decision is about.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RequestTarget {
    /// The name of the AccessRequest.
    #[schemars(schema_with = "schema::object_name")]
    pub name: String,
    /// The UID of the AccessRequest. Stamped at admission if absent; a wrong one is refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::uid")]
    pub uid: Option<String>,
}

/// What is decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Verdict {
    /// By an approver: access may be granted.
    Approve,
    /// By an approver, a reviewer, or a holder of the verb `deny` on the policy: access is denied, or revoked at once
    /// if it is held.
    Deny,
    /// By the requester: access is no longer needed.
    End,
    /// By a reviewer of the policy other than the requester, after an emergency: whether it was justified.
    Review,
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}
