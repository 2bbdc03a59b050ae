//! What a review is judged from: the Grant of the emergency, because its request may be gone.

use k8s_openapi::api::authentication::v1::UserInfo;
use lapse_cluster::{Freshness, Reader};
use lapse_crds::{AccessDecisionSpec, Grant, Identity, RequestTarget, ReviewOutcome};
use lapse_engine::approval::{Review, Statements, judge_review};
use lapse_engine::grant::{awaits_review, grant_name, holder};
use lapse_engine::policy::{Policy, PolicyState};

use super::case::{Upon, check_name, holds_verb};
use crate::admission::Admission;
use crate::answer::{NotAdmitted, known};

/// What a review is judged from.
pub(super) struct ReviewCase {
    pub(super) outcome: ReviewOutcome,
    pub(super) grant: Grant,
    /// The policy that gave it, as it is now, if it can be used.
    pub(super) policy: Option<Policy>,
    pub(super) statements: Statements,
    pub(super) may_review: bool,
}

impl ReviewCase {
    /// Reads it.
    pub(super) async fn read(
        admission: &Admission,
        namespace: &str,
        decision: &AccessDecisionSpec,
        outcome: ReviewOutcome,
        decider: &UserInfo,
    ) -> Result<Self, NotAdmitted> {
        let about = &decision.request;
        check_name("spec.request.name", &about.name)?;
        let reader = admission.reader();
        let grant = find(reader, namespace, about).await?;
        let name = &grant.spec.policy.name;
        let (decisions, policies) = tokio::join!(
            reader.decisions(namespace, &about.name, Freshness::Now),
            reader.policies(Some(name), Freshness::Now),
        );
        let (decisions, policies) =
            (known(decisions)?.unwrap_or_default(), known(policies)?.unwrap_or_default());
        let gave = policies.iter().find(|state| state.name == *name);
        let policy = gave.and_then(PolicyState::policy).cloned();
        // The verb is for when the policy does not say who reviews.
        let says_who = policy.as_ref().is_some_and(|policy| policy.emergency().is_some());
        let may_review =
            !says_who && holds_verb(admission, decider, "review", Some(name.as_str())).await?;
        let statements = Statements::about(&grant.spec.request.uid, &decisions);
        Ok(Self { outcome, grant, policy, statements, may_review })
    }

    /// What is reviewed: the right as it was given.
    pub(super) fn upon(&self) -> Upon<'_> {
        let spec = &self.grant.spec;
        Upon {
            uid: &spec.request.uid,
            policy: Some(&spec.policy),
            rules_hash: Some(spec.rules_hash.clone()),
            rules: Vec::new(),
        }
    }

    /// Judges the review; what it did, in words.
    pub(super) fn judge(&self, decider: &Identity) -> Result<String, NotAdmitted> {
        let review = Review {
            outcome: self.outcome,
            decider,
            grant: &self.grant,
            policy: self.policy.as_ref(),
            statements: &self.statements,
            may_review: self.may_review,
        };
        judge_review(&review).map_err(|refusal| NotAdmitted::Forbidden(refusal.to_string()))
    }
}

async fn find(
    reader: &Reader,
    namespace: &str,
    about: &RequestTarget,
) -> Result<Grant, NotAdmitted> {
    let RequestTarget { name, uid } = about;
    let found = if let Some(uid) = uid {
        let grant = known(reader.grant(&grant_name(namespace, name, uid)).await)?;
        grant.filter(|grant| grant.spec.request.uid == *uid)
    } else {
        let grants = known(reader.grants_of(namespace, name).await)?.unwrap_or_default();
        pick(grants, name)?
    };
    found.ok_or_else(|| {
        NotAdmitted::Invalid(format!(
            "there is no emergency {name} in namespace {namespace} that was given; see `kubectl get \
             grants --field-selector spec.emergency=true`"
        ))
    })
}

/// Of the Grants of all requests that had this name, the one that awaits its review; else the latest,
/// of which it can be told why it is not reviewed.
fn pick(mut grants: Vec<Grant>, name: &str) -> Result<Option<Grant>, NotAdmitted> {
    let waiting: Vec<&Grant> =
        grants.iter().filter(|grant| awaits_review(grant).is_some()).collect();
    if waiting.len() > 1 {
        let each = waiting.iter().map(|grant| {
            let spec = &grant.spec;
            format!("{} (of {}, from {})", spec.request.uid, holder(grant), spec.starts_at)
        });
        return Err(NotAdmitted::Invalid(format!(
            "{} emergencies of the name {name} await their review; set spec.request.uid to one of {}",
            waiting.len(),
            each.collect::<Vec<_>>().join(", ")
        )));
    }
    grants.sort_by_key(|grant| {
        (awaits_review(grant).is_some(), grant.spec.emergency, grant.spec.starts_at)
    });
    Ok(grants.pop())
}

#[cfg(test)]
mod tests;
