//! A decision: who decides, upon what, and whether they may.

use chrono::{DateTime, Utc};
use futures::FutureExt as _;
use lapse_cluster::clock;
use lapse_crds::{AccessDecisionSpec, Identity, RequestTarget, Verdict};

use super::carried::{self, is_carried};
use super::case::{Case, Upon};
use super::draft::{Draft, nonce};
use super::opened::check_name;
use super::review::ReviewCase;
use crate::admission::Admission;
use crate::answer::{Admitted, NotAdmitted, known};
use crate::asked::{Kind, Request};
use crate::size::check_size;

/// Judges, stamps and signs a decision: in this order, so that a signature means that it was judged.
pub(crate) async fn decision(
    admission: &Admission,
    request: &Request,
) -> Result<Admitted, NotAdmitted> {
    // On the heap: whoever answers holds it as long as that takes.
    stamped(admission, request).boxed().await
}

async fn stamped(admission: &Admission, request: &Request) -> Result<Admitted, NotAdmitted> {
    check_size(Kind::AccessDecision, request)?;
    let to_the_schema = "left to the schema";
    let Some(mut draft) = Draft::of(request) else {
        return Ok(Admitted { done: to_the_schema, ..Admitted::default() });
    };
    if is_carried(admission.reader().settings(), request) {
        return ended_there(admission, request, draft).await;
    }
    let (decider, left_out) = admission.stamp_of(&request.user_info)?;
    draft.set_identity("decider", &decider)?;
    let Some(spec) = draft.spec::<AccessDecisionSpec>().filter(is_complete) else {
        return Ok(Admitted {
            patch: Some(draft.unsigned()),
            warnings: Vec::new(),
            done: to_the_schema,
            ..Admitted::default()
        });
    };
    if spec.origin.is_some() {
        return Err(NotAdmitted::invalid(
            "spec.origin",
            "spec.origin is for what people end on a host (lapse end), which the gateway submits: leave it out",
        ));
    }
    let namespace = request.namespace.as_deref().unwrap_or_default();
    let now = clock::now();
    let reviewed = spec.outcome.filter(|_| spec.verdict == Verdict::Review);
    let (said, risk, about) = if let Some(outcome) = reviewed {
        let by = &request.user_info;
        let case = ReviewCase::read(admission, namespace, &spec, outcome, by).await?;
        stamp(&mut draft, &spec, case.upon())?;
        (case.judge(&decider)?, Vec::new(), case.grant.spec.request.uid.clone())
    } else {
        let by = &request.user_info;
        let alone = match spec.verdict {
            Verdict::Deny | Verdict::End => {
                let case = Case::read_alone(admission, namespace, &spec, by).boxed().await?;
                let said = judge(&mut draft, &case, &spec, &decider, now);
                // Of an End everything is said. That another policy decides by now may be what lets somebody deny.
                (spec.verdict == Verdict::End || said.is_ok()).then_some((case, said))
            }
            Verdict::Approve | Verdict::Review => None,
        };
        let (case, said) = if let Some(judged) = alone {
            judged
        } else {
            let case = Case::read(admission, namespace, &spec, by).boxed().await?;
            let said = judge(&mut draft, &case, &spec, &decider, now);
            (case, said)
        };
        let said = said?;
        // What is dear is for those alone who may.
        let reader = admission.reader();
        let risk = match spec.verdict {
            Verdict::Approve => case.risk(reader).await?,
            Verdict::Deny | Verdict::End | Verdict::Review => Vec::new(),
        };
        (said, risk, case.request.metadata.uid.clone().unwrap_or_default())
    };
    let keys = admission.keys()?;
    if !request.dry_run {
        admission.said().note(admission.reader().index(), &about);
    }
    Ok(Admitted {
        patch: Some(draft.sign(&keys, now, nonce()?)?),
        warnings: [said].into_iter().chain(risk).chain(left_out).collect(),
        done: "judged and stamped",
        ..Admitted::default()
    })
}

/// Judges, stamps and signs what the gateway carries: that somebody on a host ends what they requested there.
async fn ended_there(
    admission: &Admission,
    request: &Request,
    mut draft: Draft<'_>,
) -> Result<Admitted, NotAdmitted> {
    let Some(spec) = draft.spec::<AccessDecisionSpec>().filter(is_complete) else {
        let patch = Some(draft.unsigned());
        return Ok(Admitted { patch, done: "left to the schema", ..Admitted::default() });
    };
    let reader = admission.reader();
    let origin = carried::check_end(reader.settings(), request, &spec)?;
    check_name("spec.origin.endpoint", &origin.endpoint)?;
    let namespace = request.namespace.as_deref().unwrap_or_default();
    let (facts, case) = tokio::join!(
        reader.endpoint(&origin.endpoint),
        Case::read_alone(admission, namespace, &spec, &request.user_info).boxed()
    );
    let (case, now) = (case?, clock::now());
    let facts = known(facts)?.unwrap_or_default();
    let decider = carried::decider(&spec, &case.request, &case.requester, &facts, now)?;
    draft.set_identity("decider", &decider)?;
    let said = judge(&mut draft, &case, &spec, &decider, now)?;
    let keys = admission.keys()?;
    if !request.dry_run {
        let about = case.request.metadata.uid.as_deref().unwrap_or_default();
        admission.said().note(reader.index(), about);
    }
    Ok(Admitted {
        patch: Some(draft.sign(&keys, now, nonce()?)?),
        warnings: vec![said],
        done: "judged and stamped",
        ..Admitted::default()
    })
}

/// Whether there is a request to look for, and something that a review found; the schema says it better
/// if there is not.
fn is_complete(spec: &AccessDecisionSpec) -> bool {
    !spec.request.name.is_empty() && (spec.verdict != Verdict::Review || spec.outcome.is_some())
}

/// Stamps what is decided upon, and returns the decision with its stamps.
fn stamp(
    draft: &mut Draft<'_>,
    spec: &AccessDecisionSpec,
    upon: Upon<'_>,
) -> Result<AccessDecisionSpec, NotAdmitted> {
    let Upon { uid, policy, rules_hash, rules } = upon;
    let target = RequestTarget { name: spec.request.name.clone(), uid: Some(uid.to_owned()) };
    draft.set("request", Some(&target))?;
    draft.set("policy", policy)?;
    draft.set("rulesHash", rules_hash.as_ref())?;
    draft.set("rules", Some(&rules).filter(|rules| !rules.is_empty()))?;
    Ok(AccessDecisionSpec {
        request: target,
        policy: policy.cloned(),
        rules_hash,
        rules,
        ..spec.clone()
    })
}

/// Stamps what is decided upon, and judges the decision with its stamps.
fn judge(
    draft: &mut Draft<'_>,
    case: &Case,
    spec: &AccessDecisionSpec,
    decider: &Identity,
    now: DateTime<Utc>,
) -> Result<String, NotAdmitted> {
    let stamped = stamp(draft, spec, case.upon(spec.verdict))?;
    case.judge(&stamped, spec.request.uid.is_some(), decider, now)
}

#[cfg(test)]
mod tests;
