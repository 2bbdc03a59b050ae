//! A Grant without its rules, which are most of it and nothing that anything else depends on.

use lapse_crds::{
    Grant, GrantSession, GrantSpec, GrantStatus, PolicyRef, RequestRef, Subject, Target, Timestamp,
};
use lapse_engine::summary::GrantSummary;
use serde::Deserialize;

use crate::Stored;

#[derive(Deserialize)]
struct Lean {
    spec: Spec,
    status: Option<GrantStatus>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Spec {
    request: RequestRef,
    policy: PolicyRef,
    subject: Subject,
    target: Target,
    starts_at: Timestamp,
    expires_at: Timestamp,
    #[serde(default)]
    emergency: bool,
    review_by: Option<Timestamp>,
    #[serde(default)]
    approved_by: Vec<String>,
    ticket: Option<String>,
    rules_hash: String,
    session: Option<GrantSession>,
}

pub(super) fn summary(stored: &Stored<Grant>) -> Result<GrantSummary, String> {
    let Lean { spec, status } = stored.read()?;
    let Spec {
        request,
        policy,
        subject,
        target,
        starts_at,
        expires_at,
        emergency,
        review_by,
        approved_by,
        ticket,
        rules_hash,
        session,
    } = spec;
    let spec = GrantSpec {
        request,
        policy,
        subject,
        username: None,
        target,
        starts_at,
        expires_at,
        emergency,
        review_by,
        approved_by,
        ticket,
        rules_hash,
        rules: Vec::new(),
        session,
    };
    let metadata = kube::Resource::meta(stored).clone();
    Ok(GrantSummary::of(&Grant { metadata, spec, status }))
}
