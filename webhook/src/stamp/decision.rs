//! A decision: who decides, upon what, and whether they may.

use chrono::{DateTime, Utc};
use lapse_cluster::clock;
use lapse_crds::{AccessDecisionSpec, Identity, RequestTarget, Verdict};
use lapse_engine::role::RoleRules;

use super::case::Case;
use super::draft::{Draft, nonce};
use crate::admission::{Admission, Admitted, NotAdmitted, Request, caller};

/// Judges, stamps and signs a decision: in this order, so that a signature means that it was judged.
pub(crate) async fn decision(
    admission: &Admission,
    request: &Request,
) -> Result<Admitted, NotAdmitted> {
    let to_the_schema = "left to the schema";
    let Some(mut draft) = Draft::of(request) else {
        return Ok(Admitted { done: to_the_schema, ..Admitted::default() });
    };
    let decider = caller(&request.user_info)?;
    draft.set_identity("decider", &decider)?;
    let Some(spec) = draft.spec::<AccessDecisionSpec>().filter(is_complete) else {
        return Ok(Admitted {
            patch: Some(draft.unsigned()),
            warnings: Vec::new(),
            done: to_the_schema,
        });
    };
    let namespace = request.namespace.as_deref().unwrap_or_default();
    let case = Case::read(admission, namespace, &spec, &request.user_info).await?;
    let now = clock::now();
    let said = judge(&mut draft, &case, &spec, &decider, now)?;
    let keys = admission.keys()?;
    Ok(Admitted {
        patch: Some(draft.sign(&keys, now, nonce()?)?),
        warnings: [said].into_iter().chain(case.risk).collect(),
        done: "judged and stamped",
    })
}

fn approves(spec: &AccessDecisionSpec) -> bool {
    spec.verdict == Verdict::Approve
}

/// Whether there is a request to look for; the schema says it better if there is not.
fn is_complete(spec: &AccessDecisionSpec) -> bool {
    !spec.request.name.is_empty()
}

/// Stamps what is decided upon, and judges the decision with its stamps.
fn judge(
    draft: &mut Draft<'_>,
    case: &Case,
    spec: &AccessDecisionSpec,
    decider: &Identity,
    now: DateTime<Utc>,
) -> Result<String, NotAdmitted> {
    let target =
        RequestTarget { name: spec.request.name.clone(), uid: Some(case.uid().to_owned()) };
    draft.set("request", Some(&target))?;
    draft.set("policy", case.policy())?;
    let rules_hash = case.role().map(RoleRules::hash);
    draft.set("rulesHash", rules_hash.as_ref())?;
    let rules = if approves(spec) { case.role().map(RoleRules::to_keep) } else { None };
    let rules = rules.filter(|rules| !rules.is_empty());
    draft.set("rules", rules.as_ref())?;
    let stamped = AccessDecisionSpec {
        request: target,
        policy: case.policy().cloned(),
        rules_hash,
        rules: rules.unwrap_or_default(),
        ..spec.clone()
    };
    case.judge(&stamped, spec.request.uid.is_some(), decider, now)
}

#[cfg(test)]
mod tests;
