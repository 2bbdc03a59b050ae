//! `Grant`: a right that the controller gave, and its way back.

use std::fmt;

use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    Columns, Condition, EnteredPod, GrantSession, PolicyRef, RecordedRules, ReviewStatus, Subject,
    Target, Timestamp, schema,
};

/// Access that the controller grants for a request, recorded before it takes effect, so that it can be revoked whatever
/// crashes. Only the controller creates Grants; deleting one ends the access.
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
    doc = "Access that the controller grants for a request, recorded before it takes effect, so that it can be revoked whatever crashes. Only the controller creates Grants; deleting one ends the access.",
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
        description = "When access ends or has ended"
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
        description = "The state of the review of an emergency; empty for other access",
        priority = 1
    )
)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("self == oldSelf").message("a grant cannot be changed"))]
pub struct GrantSpec {
    /// The request for which access is granted.
    pub request: RequestRef,
    /// The policy that allowed it, as it was at that time.
    pub policy: PolicyRef,
    /// Who holds the access.
    pub subject: Subject,
    /// The user name of that subject, as the API server writes it; for a service account
    /// `system:serviceaccount:NAMESPACE:NAME`, which no user has. Absent in Grants of earlier releases.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::subject_name")]
    pub username: Option<String>,
    /// What is granted, with its namespaces spelled out.
    pub target: Target,
    /// When access starts.
    pub starts_at: Timestamp,
    /// When access ends at the latest.
    pub expires_at: Timestamp,
    /// Whether it is granted in an emergency, without approval.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub emergency: bool,
    /// For an emergency: by when it must be reviewed, according to its policy when it was granted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub review_by: Option<Timestamp>,
    /// The user names of those whose approval counted, in alphabetical order. Empty: no approval was needed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::approvers")]
    pub approved_by: Vec<String>,
    /// The ticket of the request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::ticket")]
    pub ticket: Option<String>,
    /// A hash of the rules of the role as it was approved.
    #[schemars(length(min = 1, max = 128))]
    pub rules_hash: String,
    /// The rules themselves, in their shortest form: they show what the role has gained since. Left out if they take
    /// more than 16 KiB; every change then counts as a gain.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub rules: Vec<RecordedRules>,
    /// The session settings of its policy when it was granted. Absent in Grants of releases without sessions: the guard
    /// does not apply to their holders, and nothing is recorded about them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session: Option<GrantSession>,
}

/// A request, by its namespace, name and UID.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RequestRef {
    /// The namespace of the AccessRequest.
    #[schemars(schema_with = "schema::namespace_name")]
    pub namespace: String,
    /// The name of the object.
    #[schemars(schema_with = "schema::object_name")]
    pub name: String,
    /// Its UID.
    #[schemars(schema_with = "schema::uid")]
    pub uid: String,
}

/// The phase of a Grant.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum GrantPhase {
    /// Written, not yet in effect.
    #[default]
    Pending,
    /// Access is held.
    Active,
    /// Access is being revoked.
    Ending,
    /// Access is verified to be gone. This is final.
    Ended,
}

impl fmt::Display for GrantPhase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

/// Why access ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum EndReason {
    /// The time was over.
    Expired,
    /// The requester ended it early.
    EndedByRequester,
    /// Somebody denied it.
    Revoked,
    /// The policy was disabled, or set to `Audit`.
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
    /// Somebody deleted the binding. It is not created again.
    BindingDeleted,
    /// The binding is not what the controller created.
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
    /// The generation of the spec that the status is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// The phase of the Grant. `Pending`: written, not yet in effect. `Active`: access is held. `Ending`: access is
    /// being revoked. `Ended`: access is verified to be gone, which is final.
    #[serde(default)]
    pub phase: GrantPhase,
    /// The bindings that grant the access.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub bindings: Vec<RbacRef>,
    /// The roles that were created for it, if the request spelled out rules.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub roles: Vec<RbacRef>,
    /// The marker: a binding in the namespace of Lapse by which the API server knows that this access is held. It
    /// grants nothing. It is created before the access and deleted after it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub marker: Option<RbacRef>,
    /// When access started.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub activated_at: Option<Timestamp>,
    /// When access was verified to be gone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<Timestamp>,
    /// When nothing works any more that was issued or opened with this access. Absent while access is held, and where
    /// it cannot be known: for existing roles, for hosts, and for rules that allow watches, streams, tokens, Secrets,
    /// or writing anything but `ConfigMaps` and scales.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rights_end_by: Option<Timestamp>,
    /// Why access ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub end_reason: Option<EndReason>,
    /// The review of an emergency. A Grant that awaits review is kept, whatever happens to its request and its policy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub review: Option<ReviewStatus>,
    /// The pods that the holder entered, the first 64. They are recorded whether or not the policy deletes them. In a
    /// namespace without the label `lapse.dev/track-workloads: "true"` a pod is missing if no webhook answered.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), extend("x-kubernetes-list-type" = "atomic"))]
    pub entered: Vec<EnteredPod>,
    /// What `kubectl get` shows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub columns: Option<Columns>,
    /// `Active`; `Ended` (access is gone: reason `Verified` or `Unverified`); if the policy deletes what was started or
    /// entered, `Stopped` (it is gone: reason `Stopping`, `Verified` or `StillThere`); for access as root on a host
    /// `Drifted` (something was changed that would outlast it: reason `LeftBehind`, `Reverted`, `Clean`, `Comparing` or
    /// `NotCompared`); and for an emergency `Reviewed`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = 16),
        extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"])
    )]
    pub conditions: Vec<Condition>,
}

/// The kinds of object that the controller creates to grant access.
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

/// An RBAC object that the controller created.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub struct RbacRef {
    /// The kind of the object.
    pub kind: RbacKind,
    /// The namespace of the object. Absent: it is cluster-scoped.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::namespace_name")]
    pub namespace: Option<String>,
    /// The name of the object.
    #[schemars(schema_with = "schema::rbac_name")]
    pub name: String,
    /// The UID of the object: one of the same name with another UID is not this one.
    #[schemars(schema_with = "schema::uid")]
    pub uid: String,
}
