//! The API of Lapse, group `lapse.dev`, version `v1alpha1`.
//!
//! | Kind | Scope | Written by |
//! |---|---|---|
//! | [`JitPolicy`] | cluster | security owners, usually from Git |
//! | [`AccessRequest`] | namespace | the requester |
//! | [`AccessDecision`] | namespace | approvers, reviewers, and the requester to end early |
//! | [`Grant`] | cluster | the controller alone |
//!
//! The Rust types are the source: the YAML of the custom resource definitions is generated from
//! them by the program `crdgen`, and a test fails when the two differ. What a person reads in
//! `kubectl explain` is the documentation of these types.
//!
//! Two conventions hold everywhere. An absent or empty list means *nothing*, never *everything*.
//! The signed kinds (requests and decisions) have no schema defaults, because a default changes how
//! an object that is already stored, and signed, reads.

#![expect(
    unreachable_pub,
    reason = "the derive of KubeSchema copies each type, with its visibility, into a hidden block"
)]

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::CustomResourceExt;

mod approval;
mod conditions;
mod decision;
mod duration;
mod emergency;
mod grant;
mod names;
mod offer;
mod policy;
mod request;
mod rule;
mod schedule;
mod schema;
mod session;
mod subject;
mod target;
mod timestamp;

pub use approval::{Approval, ApprovalOrder, AutoApprove, Escalation, Permission, Stage};
pub use conditions::{Condition, ConditionStatus, Conditions};
pub use decision::{AccessDecision, AccessDecisionSpec, RequestTarget, Verdict};
pub use duration::{DurationError, GrantDuration};
pub use emergency::{Emergency, EmergencyReview, ReviewOutcome, ReviewStatus};
pub use grant::{
    EndReason, Grant, GrantPhase, GrantSpec, GrantStatus, RbacKind, RbacRef, RequestRef,
};
pub use names::{
    API_GROUP, API_VERSION, ATTESTATION, EMERGENCY, EXPIRES_AT, GRANT_FINALIZER, GRANT_LABEL,
    GRANT_UID, GRANT_UID_VARIABLE, GRANT_VARIABLE, MANAGED_BY, MANAGED_BY_LAPSE, OBJECT_PREFIX,
    REQUEST_UID, STARTED_BY, TICKET,
};
pub use offer::{
    KubernetesTargets, LabelOperator, LabelRequirement, LabelSelector, LabelValue, NamespaceSet,
    PolicyTarget,
};
pub use policy::{
    ConditionRule, DurationBounds, JitPolicy, JitPolicySpec, JitPolicyStatus, Limits,
    OnRoleWidened, PolicyEffect, PolicyMode, ReasonRule, Separation, TicketRule,
};
pub use request::{
    AccessRequest, AccessRequestSpec, AccessRequestStatus, ApprovalStatus, Candidate, CheckName,
    CheckOutcome, CheckStatus, GrantRef, RequestPhase, StageStatus,
};
pub use rule::{RecordedRules, RoleRule};
pub use schedule::{Schedule, Weekday, Window};
pub use session::{EVERY_ACCOUNT, GrantSession, Guard, OnEnd, Session, StartedWorkloads};
pub use subject::{Identity, Subject, SubjectKind};
pub use target::{KubernetesTarget, PolicyRef, RoleKind, RoleRef, Target};
pub use timestamp::{Timestamp, created_at, from_micro_time, micro_time};

/// All custom resource definitions, in the order in which they are installed.
#[must_use]
pub fn all() -> Vec<CustomResourceDefinition> {
    let mut crds =
        vec![JitPolicy::crd(), AccessRequest::crd(), AccessDecision::crd(), Grant::crd()];
    for crd in &mut crds {
        for version in &mut crd.spec.versions {
            let schema = version.schema.as_mut().and_then(|s| s.open_api_v3_schema.as_mut());
            if let Some(schema) = schema {
                schema::refuse_null(schema);
                // These are what people and tools apply, and wait for.
                if ["JitPolicy", "AccessRequest"].contains(&&*crd.spec.names.kind) {
                    schema::unobserved_at_first(schema);
                }
            }
        }
    }
    crds
}

#[cfg(test)]
mod tests {
    #[test]
    fn signed_specs_have_no_defaults() {
        for crd in super::all() {
            let kind = crd.spec.names.kind.clone();
            let crd = serde_json::to_value(&crd).unwrap();
            let root = "/spec/versions/0/schema/openAPIV3Schema/properties/spec";
            let has_default = crd.pointer(root).unwrap().to_string().contains(r#""default":"#);
            let signed = ["AccessRequest", "AccessDecision"].contains(&kind.as_str());
            assert!(!(signed && has_default), "the spec of {kind} has a default");
        }
    }
}
