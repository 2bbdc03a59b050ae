//! What a review is judged from: the Grant of the emergency, because its request may be gone.

use std::sync::Arc;

use k8s_openapi::api::authentication::v1::UserInfo;
use lapse_cluster::Reader;
use lapse_crds::{AccessDecisionSpec, Grant, Identity, RequestTarget, ReviewOutcome};
use lapse_engine::approval::{Review, Statements, judge_review};
use lapse_engine::grant::grant_name;
use lapse_engine::identity::username_of;
use lapse_engine::policy::{Policy, PolicyState};
use lapse_engine::summary::GrantSummary;

use super::around::holds_verb;
use super::case::Upon;
use super::opened::{REQUEST_NAME, REQUEST_UID, check_name};
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
        check_name(REQUEST_NAME, &about.name)?;
        let reader = admission.reader();
        let grant = find(reader, namespace, about).await?;
        let name = &grant.spec.policy.name;
        let uid = &grant.spec.request.uid;
        let (gave, ()) =
            tokio::join!(reader.policy(name), admission.said().is_shown(reader.index(), uid));
        let decisions = known(reader.index().decisions(uid))?.unwrap_or_default();
        let policy = known(gave)?.as_ref().and_then(PolicyState::policy).cloned();
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
        judge_review(&review).map_err(|refusal| NotAdmitted::judged(refusal.to_string()))
    }
}

async fn find(
    reader: &Reader,
    namespace: &str,
    about: &RequestTarget,
) -> Result<Grant, NotAdmitted> {
    let RequestTarget { name, uid } = about;
    let named = if let Some(uid) = uid {
        Some(grant_name(namespace, name, uid))
    } else {
        let all = known(reader.index().emergencies_of(namespace, name))?.unwrap_or_default();
        if let Some(grant) = pick(all, name)? {
            Some(grant.name.to_string())
        } else {
            // Of what was no emergency it can be told that it was none.
            let request = known(reader.request(namespace, name).await)?;
            let uid = request.and_then(|request| request.object.metadata.uid);
            uid.map(|uid| grant_name(namespace, name, &uid))
        }
    };
    let grant = match named {
        Some(named) => known(reader.grant(&named).await)?,
        None => None,
    };
    let is_meant = |grant: &Grant| uid.as_ref().is_none_or(|uid| grant.spec.request.uid == *uid);
    let found = grant.filter(is_meant);
    found.ok_or_else(|| {
        let message = format!(
            "no emergency {name} was granted in namespace {namespace}; see `kubectl get grants --field-selector \
             spec.emergency=true`"
        );
        NotAdmitted::invalid(REQUEST_NAME, message)
    })
}

/// Of the emergencies of all requests that had this name, the one that awaits its review; else the latest, of which it
/// can be told why it is not reviewed.
fn pick(
    mut grants: Vec<Arc<GrantSummary>>,
    name: &str,
) -> Result<Option<Arc<GrantSummary>>, NotAdmitted> {
    let waiting: Vec<&Arc<GrantSummary>> =
        grants.iter().filter(|grant| grant.review_by.is_some()).collect();
    if waiting.len() > 1 {
        let each = waiting.iter().map(|grant| {
            let holder = username_of(&grant.subject);
            format!("{} (of {holder}, from {})", grant.request.uid, grant.starts_at)
        });
        let message = format!(
            "{} emergencies named {name} await review; set spec.request.uid to one of {}",
            waiting.len(),
            each.collect::<Vec<_>>().join(", ")
        );
        return Err(NotAdmitted::invalid(REQUEST_UID, message));
    }
    grants.sort_by_key(|grant| (grant.review_by.is_some(), grant.starts_at));
    Ok(grants.pop())
}

#[cfg(test)]
mod tests;
