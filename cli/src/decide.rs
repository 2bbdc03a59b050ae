//! Saying something about a request.

use kube::ResourceExt as _;
use kube::api::{ObjectMeta, PostParams};
use lapse_crds::{
    AccessDecision, AccessDecisionSpec, AccessRequest, GrantDuration, RequestTarget, ReviewOutcome,
    Verdict,
};

use crate::args::DryRun;
use crate::fault::Fault;
use crate::session::{PROGRAM, Session};

/// What somebody says of a request.
#[derive(Clone, Debug)]
pub(crate) struct Saying {
    pub(crate) verdict: Verdict,
    pub(crate) duration: Option<GrantDuration>,
    pub(crate) outcome: Option<ReviewOutcome>,
    pub(crate) comment: Option<String>,
}

impl Saying {
    /// A verdict without anything else.
    pub(crate) fn only(verdict: Verdict) -> Self {
        Self { verdict, duration: None, outcome: None, comment: None }
    }

    /// The decision about a request as it was read: with its UID, so that another one of its name is not meant.
    pub(crate) fn about(&self, request: &AccessRequest) -> AccessDecision {
        let name = request.name_any();
        let spec = AccessDecisionSpec {
            request: RequestTarget { name: name.clone(), uid: request.uid() },
            verdict: self.verdict,
            duration: self.duration,
            outcome: self.outcome,
            comment: self.comment.clone(),
            origin: None,
            decider: None,
            policy: None,
            rules_hash: None,
            rules: Vec::new(),
        };
        let metadata = ObjectMeta {
            generate_name: Some(format!("{name}-")),
            namespace: request.namespace(),
            ..ObjectMeta::default()
        };
        AccessDecision { metadata, spec }
    }

    /// The same as a word in a sentence: "approved".
    pub(crate) fn done(&self) -> &'static str {
        match self.verdict {
            Verdict::Approve => "approved",
            Verdict::Deny => "denied",
            Verdict::End => "ended",
            Verdict::Review => "reviewed",
        }
    }
}

/// Sends a decision. With a dry run it is judged, and not stored.
pub(crate) async fn send(
    session: &Session,
    decision: &AccessDecision,
    dry_run: DryRun,
) -> Result<AccessDecision, Fault> {
    if dry_run == DryRun::Client {
        return Ok(decision.clone());
    }
    let namespace = decision.namespace().unwrap_or_default();
    let what = format!("deciding about request {namespace}/{}", decision.spec.request.name);
    let api = session.decisions(&namespace);
    session.create(what, &api, &params(dry_run), decision).await
}

/// How to create something.
pub(crate) fn params(dry_run: DryRun) -> PostParams {
    PostParams { dry_run: dry_run == DryRun::Server, field_manager: Some(PROGRAM.to_owned()) }
}
