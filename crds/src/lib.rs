//! The API of Lapse, group `lapse.dev`, version `v1alpha1`.
//!
//! | Kind | Scope | Written by |
//! |---|---|---|
//! | [`JitPolicy`] | cluster | security owners, usually from Git |
//! | [`AccessRequest`] | namespace | the requester |
//! | [`AccessDecision`] | namespace | approvers, reviewers, and the requester to end early |
//! | [`Grant`] | cluster | the controller alone |
//! | [`Endpoint`] | cluster | its owners; its status the gateway |
//!
//! The Rust types are the source: the YAML of the custom resource definitions is generated from
//! them by the program `crdgen`, and a test fails when the two differ. What a person reads in
//! `kubectl explain` is the documentation of these types: that of each field, except for an optional
//! field whose type is an enum. There it is that of the enum, which therefore describes its values and
//! the default, too; what is said of single values is never shown.
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

mod account;
mod application;
mod approval;
mod columns;
mod conditions;
mod decision;
mod drift;
mod duration;
mod elevation;
mod emergency;
mod endpoint;
mod entered;
mod grant;
#[cfg(test)]
mod messages;
mod names;
mod offer;
mod origin;
mod policy;
mod request;
mod rule;
mod schedule;
mod schema;
mod session;
mod subject;
mod target;
mod timestamp;
mod workstations;

pub use account::{AccountAction, AccountTarget, AccountTargets};
pub use application::{Application, Program, Variable};
pub use approval::{Approval, ApprovalOrder, AutoApprove, Escalation, Permission, Stage};
pub use columns::Columns;
pub use conditions::{Condition, ConditionStatus, Conditions};
pub use decision::{AccessDecision, AccessDecisionSpec, RequestTarget, Verdict};
pub use drift::{
    ComparedGrant, Drift, DriftFinding, DriftKind, MOST_FINDINGS, MOST_GRANTS_OF_FINDING,
};
pub use duration::{DurationError, GrantDuration};
pub use elevation::{Admin, Command, EndpointTarget};
pub use emergency::{Emergency, EmergencyReview, ReviewOutcome, ReviewStatus};
pub use endpoint::{
    Activity, AgentConnection, AgentReport, Capability, Endpoint, EndpointSpec, EndpointStatus,
    EnrolledAgent, Enrolment, LocalUser, OrderState, OrderStatus, Platform, SigningRequest,
};
pub use entered::{EnteredPod, MOST_ENTERED, StreamKind};
pub use grant::{
    EndReason, Grant, GrantPhase, GrantSpec, GrantStatus, RbacKind, RbacRef, RequestRef,
};
pub use names::{
    ALLOWS, API_GROUP, API_VERSION, ATTESTATION, EMERGENCY, ENDPOINT_LABEL, EXPIRES_AT,
    GRANT_FINALIZER, GRANT_LABEL, GRANT_UID, GRANT_UID_VARIABLE, GRANT_VARIABLE, MANAGED_BY,
    MANAGED_BY_LAPSE, OBJECT_PREFIX, OFFERS, RBAC_GROUP, RELEASE, REQUEST_UID, STARTED_BY, TICKET,
    TRACK_WORKLOADS,
};
pub use offer::{
    AgentRequirement, EndpointTargets, KubernetesTargets, LabelOperator, LabelRequirement,
    LabelSelector, LabelValue, LocalUsers, NamespaceSet, PolicyTarget,
};
pub use origin::Origin;
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
pub use session::{
    EVERY_ACCOUNT, GrantSession, Guard, LastingChanges, LocalSessions, OnEnd, OpenStreams,
    Recording, Session, StartedWorkloads,
};
pub use subject::{EndpointUser, Identity, Subject, SubjectKind};
pub use target::{KubernetesTarget, PolicyRef, RoleKind, RoleRef, Target};
pub use timestamp::{Timestamp, created_at, from_micro_time, goes_by, micro_time};
pub use workstations::Workstations;

/// All custom resource definitions, in the order in which they are installed.
#[must_use]
pub fn all() -> Vec<CustomResourceDefinition> {
    let mut crds = vec![
        JitPolicy::crd(),
        AccessRequest::crd(),
        AccessDecision::crd(),
        Grant::crd(),
        Endpoint::crd(),
    ];
    for crd in &mut crds {
        // Whatever installs them, the chart can tell whether they are newer than its own.
        let annotations = crd.metadata.annotations.get_or_insert_default();
        annotations.insert(names::RELEASE.to_owned(), env!("CARGO_PKG_VERSION").to_owned());
        for version in &mut crd.spec.versions {
            let schema = version.schema.as_mut().and_then(|s| s.open_api_v3_schema.as_mut());
            if let Some(schema) = schema {
                schema::refuse_null(schema);
                // These are what people and tools apply, and wait for.
                if ["JitPolicy", "AccessRequest"].contains(&&*crd.spec.names.kind) {
                    schema::unobserved_at_first(schema);
                }
                schema::say_list_types(schema);
                schema::join_lines(schema);
                if let Some(spec) = schema.properties.as_mut().and_then(|all| all.get_mut("spec")) {
                    schema::keep_older_name(spec);
                }
            }
        }
    }
    crds
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    /// What is wrong with a schema and with what it is made of, by its path.
    fn unbounded(path: &str, schema: &Value) -> Vec<String> {
        let says = |key: &str| schema.get(key).is_some();
        let mut wrong = Vec::new();
        let mut require = |key: &str, is_there: bool| {
            if !is_there {
                wrong.push(format!("{path} has no {key}"));
            }
        };
        match schema["type"].as_str() {
            Some("string") => require("maxLength or enum", says("maxLength") || says("enum")),
            Some("array") => {
                let list_type = schema["x-kubernetes-list-type"].as_str();
                let is_known = list_type.is_some_and(|t| ["set", "map", "atomic"].contains(&t));
                require("x-kubernetes-list-type", is_known);
                require("maxItems", says("maxItems"));
            }
            Some("object") if says("additionalProperties") => {
                require("maxProperties", says("maxProperties"));
            }
            // What an object does not list is dropped, unless it says that it is kept.
            Some("object") => require("end", !says("x-kubernetes-preserve-unknown-fields")),
            Some("boolean" | "integer") => {}
            _ => require("type", false),
        }
        let properties = schema["properties"].as_object().into_iter().flatten();
        let parts = ["items", "additionalProperties"].map(|key| (key, schema.get(key)));
        let parts = parts.into_iter().filter_map(|(key, part)| Some((key, part?)));
        for (name, part) in properties.map(|(name, part)| (name.as_str(), part)).chain(parts) {
            wrong.extend(unbounded(&format!("{path}.{name}"), part));
        }
        wrong
    }

    /// What nothing bounds fills the store, and makes the API server refuse rules in CEL for what they might cost.
    #[test]
    fn every_list_says_how_it_is_merged_and_everything_is_bounded() {
        for crd in super::all() {
            let crd = serde_json::to_value(&crd).unwrap();
            let schema = crd.pointer("/spec/versions/0/schema/openAPIV3Schema").unwrap();
            let kind = crd.pointer("/spec/names/kind").and_then(Value::as_str).unwrap();
            assert_eq!(unbounded(kind, schema), Vec::<String>::new());
        }
    }

    #[test]
    fn what_is_not_bounded_is_found() {
        let schema = serde_json::json!({"type": "object", "properties": {
            "text": {"type": "string"},
            "list": {"type": "array", "maxItems": 2, "items": {"type": "string", "enum": ["A"]}},
            "many": {"type": "array", "x-kubernetes-list-type": "set", "items": {"type": "boolean"}},
            "map": {"type": "object", "additionalProperties": {"type": "string", "maxLength": 2}},
            "open": {"type": "object", "x-kubernetes-preserve-unknown-fields": true},
            "any": {},
        }});
        let mut found = unbounded("Kind", &schema);
        found.sort();
        let expected = [
            "Kind.any has no type",
            "Kind.list has no x-kubernetes-list-type",
            "Kind.many has no maxItems",
            "Kind.map has no maxProperties",
            "Kind.open has no end",
            "Kind.text has no maxLength or enum",
        ];
        assert_eq!(found, expected);
    }

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
