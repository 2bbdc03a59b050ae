//! What the gateway carries: what people on a host ask for there, and what of that they end. The gateway is nobody in it: who
//! they are their host says, by the signature of its agent, and without that there is nothing.

use chrono::{DateTime, Utc};
use lapse_crds::{AccessDecisionSpec, AccessRequest, Identity, Origin, Verdict};
use lapse_engine::Settings;
use lapse_engine::endpoint::EndpointFacts;
use lapse_engine::origin::{OriginError, local_requester, verify_end};

use super::origin::{Claim, check_understood};
use crate::answer::NotAdmitted;
use crate::asked::Request;

/// Whether the gateway submits something, or whoever impersonates it: neither is anybody in what it says.
pub(super) fn is_carried(settings: &Settings, request: &Request) -> bool {
    request.user_info.username.as_deref() == Some(&*settings.gateway())
}

/// Refuses what the gateway submits elsewhere than where it may.
fn check_place(settings: &Settings, request: &Request) -> Result<(), NotAdmitted> {
    match &settings.host_requests {
        Some(namespace) if request.namespace.as_ref() == Some(namespace) => Ok(()),
        Some(namespace) => Err(NotAdmitted::Forbidden(format!(
            "the gateway carries what people on hosts request to the namespace {namespace} alone (the chart's value \
             gateway.requests.namespace)"
        ))),
        None => Err(NotAdmitted::Forbidden(
            "this installation takes no requests from hosts (the chart's value gateway.requests.enabled)".to_owned(),
        )),
    }
}

fn without_a_host() -> NotAdmitted {
    NotAdmitted::Forbidden(
        "the gateway requests and ends nothing by itself: what it carries has spec.origin, with the signature of a host"
            .to_owned(),
    )
}

/// Who asks on the host that the request names. That its agent says so is verified with the rest of the request.
pub(super) fn requester(
    settings: &Settings,
    request: &Request,
    claim: Option<&Claim>,
) -> Result<Identity, NotAdmitted> {
    check_place(settings, request)?;
    let (origin, facts) = claim.ok_or_else(without_a_host)?.found()?;
    local_requester(origin, facts).map_err(|why| refusal(&why))
}

/// Refuses all but the end of a request by its own host.
pub(super) fn check_end<'a>(
    settings: &Settings,
    request: &Request,
    decision: &'a AccessDecisionSpec,
) -> Result<&'a Origin, NotAdmitted> {
    check_place(settings, request)?;
    let origin = decision.origin.as_ref().ok_or_else(without_a_host)?;
    if decision.verdict != Verdict::End {
        return Err(NotAdmitted::invalid(
            "spec.verdict",
            "spec.verdict must be End with spec.origin: on a host people end what they requested there, and decide \
             nothing else",
        ));
    }
    check_understood(request, decision, &["decider", "policy", "rulesHash", "rules"])?;
    Ok(origin)
}

/// Who ends their own request, by the word of its host.
pub(super) fn decider(
    decision: &AccessDecisionSpec,
    of: &AccessRequest,
    requester: &Identity,
    facts: &EndpointFacts,
    now: DateTime<Utc>,
) -> Result<Identity, NotAdmitted> {
    let namespace = of.metadata.namespace.as_deref().unwrap_or_default();
    verify_end(namespace, decision, &of.spec, now, facts).map_err(|why| refusal(&why))?;
    Ok(requester.clone())
}

fn refusal(why: &OriginError) -> NotAdmitted {
    NotAdmitted::invalid("spec.origin", format!("spec.origin proves nothing: {why}"))
}

#[cfg(test)]
mod tests;
