//! `Grant`: a right that the controller gave, and its way back.

use std::fmt;

use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    Columns, Condition, EnteredPod, GrantSession, PolicyRef, RecordedRules, ReviewStatus, Subject,
    Target, Timestamp, schema,
};

/// A right that the controller gives for a request, written before it takes effect, so that the right
/// can be taken back whatever has crashed in between. Made by the controller alone; deleting a Grant
/// ends the right.
#[expect(
    clippy::duplicated_attributes,
    reason = "the columns that kubectl shows have types in common"
)]
#[derive(CustomResource, Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[kube(
    group = "lapse.dev",
    version = "v1alpha1",
    kind = "Grant",
    plural = "grants",
    shortname = "gr",
    category = "lapse",
    status = "GrantStatus",
    derive = "PartialEq",
    doc = "A right that the controller gives for a request, written before it takes effect, so that the right can be taken back whatever has crashed in between. Made by the controller alone; deleting a Grant ends the right.",
    annotation("helm.sh/resource-policy", "keep"),
    selectable = ".status.phase",
    selectable = ".spec.username",
    selectable = ".spec.subject.name",
    selectable = ".spec.emergency",
    selectable = ".spec.policy.name",
    selectable = ".spec.target.endpoint.name",
    printcolumn(name = "Phase", type_ = "string", json_path = ".status.phase"),
    printcolumn(name = "Subject", type_ = "string", json_path = ".spec.username"),
    printcolumn(
        name = "Target",
        type_ = "string",
        json_path = ".status.columns.target",
        description = "What is held, and where"
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
        description = "Why it ended, or is not held"
    ),
    printcolumn(name = "Request", type_ = "string", json_path = ".spec.request.name"),
    printcolumn(
        name = "Review",
        type_ = "string",
        json_path = r#".status.conditions[?(@.type=="Reviewed")].reason"#,
        description = "Where the review of an emergency stands; empty for what was approved",
        priority = 1
    )
)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("self == oldSelf").message("a grant cannot be changed"))]
pub struct GrantSpec {
    /// The request that the right is given for.
    pub request: RequestRef,
    /// The policy that allowed it, as it stood then.
    pub policy: PolicyRef,
    /// Who holds the right.
    pub subject: Subject,
    /// The user name of that subject, as the API server writes it: of a service account
    /// `system:serviceaccount:NAMESPACE:NAME`, which no user has. Absent in Grants of earlier releases.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::subject_name")]
    pub username: Option<String>,
    /// The right, with its namespaces spelled out.
    pub target: Target,
    /// When it starts.
    pub starts_at: Timestamp,
    /// When it ends, whatever happens.
    pub expires_at: Timestamp,
    /// Whether it is given in an emergency, without approval.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub emergency: bool,
    /// With an emergency: by when it must be reviewed, as its policy said when it was given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub review_by: Option<Timestamp>,
    /// The user names of those whose approval counted, in the order of the alphabet. Empty: nobody needed
    /// to approve.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::approvers")]
    pub approved_by: Vec<String>,
    /// The ticket of the request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::ticket")]
    pub ticket: Option<String>,
    /// Hash of the rules of the role as it was approved.
    #[schemars(length(min = 1, max = 128))]
    pub rules_hash: String,
    /// The rules themselves, in as few as say the same, so that it can be told what the role has gained
    /// since. Left out when they take more than 16 KiB; every change then counts as a gain.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub rules: Vec<RecordedRules>,
    /// What its policy said about the session. Absent in Grants of releases that knew no sessions: nothing
    /// is kept from their holders, and nothing is recorded of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session: Option<GrantSession>,
}

/// A request, by its place and its UID.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RequestRef {
    /// The namespace of the AccessRequest.
    #[schemars(schema_with = "schema::namespace_name")]
    pub namespace: String,
    /// Its name.
    #[schemars(schema_with = "schema::object_name")]
    pub name: String,
    /// Its UID.
    #[schemars(schema_with = "schema::uid")]
    pub uid: String,
}

/// Where a grant stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum GrantPhase {
    /// Written, not yet in effect.
    #[default]
    Pending,
    /// The right is held.
    Active,
    /// The right is being taken back.
    Ending,
    /// The right is verified to be gone. This is final.
    Ended,
}

impl fmt::Display for GrantPhase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

/// Why a right ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum EndReason {
    /// Its time was up.
    Expired,
    /// The requester ended it early.
    EndedByRequester,
    /// An approver denied it.
    Revoked,
    /// The policy was switched off, or to `Audit`.
    PolicyDisabled,
    /// The policy was deleted.
    PolicyDeleted,
    /// The policy no longer allows the requester, or no longer offers the target.
    RequesterNotAllowed,
    /// A Deny policy matches it.
    DeniedByPolicy,
    /// The role has gained rules since the approval, and the policy says `onRoleWidened: End`.
    RoleWidened,
    /// The request was deleted.
    RequestDeleted,
    /// The grant was deleted.
    GrantDeleted,
    /// Somebody deleted the binding. It is not made again.
    BindingDeleted,
    /// The binding is not what the controller made.
    BindingChanged,
    /// A namespace or the role of the target was deleted.
    TargetDeleted,
    /// Lapse was uninstalled.
    Uninstalled,
}

impl EndReason {
    /// All of them.
    pub const ALL: [Self; 14] = [
        Self::Expired,
        Self::EndedByRequester,
        Self::Revoked,
        Self::PolicyDisabled,
        Self::PolicyDeleted,
        Self::RequesterNotAllowed,
        Self::DeniedByPolicy,
        Self::RoleWidened,
        Self::RequestDeleted,
        Self::GrantDeleted,
        Self::BindingDeleted,
        Self::BindingChanged,
        Self::TargetDeleted,
        Self::Uninstalled,
    ];
}

impl fmt::Display for RbacKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

impl fmt::Display for EndReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

/// What the controller did for a grant.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct GrantStatus {
    /// The generation of the spec that the status speaks about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Where the grant stands.
    #[serde(default)]
    pub phase: GrantPhase,
    /// The bindings that give the right.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub bindings: Vec<RbacRef>,
    /// The roles that were made for it, when the request spelled out rules.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub roles: Vec<RbacRef>,
    /// The binding, in the namespace of Lapse itself, by which the API server knows that somebody holds this
    /// right. It stands before the right does and goes after it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub marker: Option<RbacRef>,
    /// When the right took effect.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub activated_at: Option<Timestamp>,
    /// When the right was verified to be gone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<Timestamp>,
    /// By when nothing works any more of what was issued or opened under it. Absent while the right stands, and where
    /// that cannot be known: of a role that has a name, and of rules that allow watches, streams, tokens, Secrets, or
    /// writing anything but config maps and scales.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rights_end_by: Option<Timestamp>,
    /// Why it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub end_reason: Option<EndReason>,
    /// The review of an emergency. A Grant that awaits it stays, whatever becomes of its request and its
    /// policy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub review: Option<ReviewStatus>,
    /// The pods that its holder went into, the first 64. Where they did so is recorded also where nothing is deleted
    /// for it; without the label `lapse.dev/track-workloads: "true"` on the namespace it is missing if no webhook answered.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), extend("x-kubernetes-list-type" = "atomic"))]
    pub entered: Vec<EnteredPod>,
    /// What lists show.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub columns: Option<Columns>,
    /// `Active`, `Ended` (the right is gone: reason `Verified` or `Unverified`), `Stopped` (what was started
    /// or entered under it is gone: `Stopping`, `Verified` or `StillThere`), where its policy deletes that, and, of an
    /// emergency, `Reviewed`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = 16),
        extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"])
    )]
    pub conditions: Vec<Condition>,
}

/// The kinds of object that the controller makes to give a right.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
pub enum RbacKind {
    /// A binding in one namespace.
    RoleBinding,
    /// A binding in the whole cluster.
    ClusterRoleBinding,
    /// A role of one namespace, with rules that a request spelled out.
    Role,
    /// A role of the whole cluster, with rules that a request spelled out.
    ClusterRole,
}

/// An object of RBAC that the controller made.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub struct RbacRef {
    /// Its kind.
    pub kind: RbacKind,
    /// Its namespace; absent for what holds in the whole cluster.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::namespace_name")]
    pub namespace: Option<String>,
    /// Its name.
    #[schemars(schema_with = "schema::rbac_name")]
    pub name: String,
    /// Its UID: an object of the same name with another UID is not this one.
    #[schemars(schema_with = "schema::uid")]
    pub uid: String,
}
