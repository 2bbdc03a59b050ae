//! What guards Lapse: the admission objects of its chart, and whether the webhook answers.

use lapse_cluster::standing_policies;
use lapse_engine::admission::{AdmissionFaults, faults};

use super::finding::{Check, Examined, Finding};
use super::installation::{Installation, Webhooks};
use crate::fault::Fault;
use crate::offers;
use crate::session::Session;

/// Whether the admission objects are as the chart has them.
pub(super) async fn objects(
    session: &Session,
    installation: &Installation,
    webhooks: &Webhooks,
) -> Examined {
    let check = Check::Admission;
    let Some(expected) = &installation.expected else {
        return Err(check.not_checked(
            "what the chart has is not known without its settings",
            format!("ask for ClusterRole view in namespace {}", installation.namespace),
        ));
    };
    let what = "list admission policies, their bindings and webhook configurations";
    let right = "get and list on all of admissionregistration.k8s.io";
    let webhooks = webhooks.as_ref().map_err(|fault| check.unread(what, right, fault))?;
    let listing = Box::pin(standing_policies(&session.client, session.limit));
    let mut standing = check.look(what, right, listing).await?;
    standing.extend(webhooks.standing());
    Ok(compared(expected.len(), faults(expected, &standing)))
}

fn compared(all: usize, faults: AdmissionFaults) -> Vec<Finding> {
    let check = Check::Admission;
    let AdmissionFaults { missing, changed } = faults;
    if missing.is_empty() && changed.is_empty() {
        return vec![check.ok(format!("all {all} objects are as the chart has them"))];
    }
    let missing = missing.into_iter().map(|name| {
        let message = format!("{name} is missing, and what it guards is unprotected");
        check.problem(message, "run helm upgrade, and find out who deleted it (audit log)")
    });
    let changed = changed.into_iter().map(|name| {
        let message = format!("{name}: this differs from the chart");
        check.problem(
            message,
            "delete it and run helm upgrade, and find out who changed it (audit log)",
        )
    });
    missing.chain(changed).collect()
}

/// Whether a request is stamped and judged: by one that is not stored.
pub(super) async fn answers(session: &Session) -> Examined {
    let check = Check::Webhook;
    let namespace = &session.namespace;
    let asked = offers::ask(session).await;
    if let Some(found) = asked.as_ref().err().and_then(Fault::answer).and_then(refused) {
        return Ok(vec![found]);
    }
    let what =
        format!("create requests in namespace {namespace}, with which the webhook is tested");
    let right = format!("ClusterRole lapse:requester in namespace {namespace}");
    let answer = check.look(&what, &right, async { asked }).await?;
    Ok(vec![answered(answer.spec.requester.is_some())])
}

fn answered(is_stamped: bool) -> Finding {
    let check = Check::Webhook;
    if is_stamped {
        return check.ok("the webhook answers, and stamps the requester");
    }
    check.problem(
        "the API server accepts requests that nobody has stamped: it does not call the webhook",
        "run helm upgrade",
    )
}

/// What a refusal says of the webhook, if anything.
fn refused((code, message): (u16, &str)) -> Option<Finding> {
    let check = Check::Webhook;
    if message.contains("calling webhook") {
        return Some(check.problem(
            "the API server gets no answer from the webhook: nobody can request or decide",
            "see `kubectl get pods` in the namespace of Lapse, and the network between the API server and it",
        ));
    }
    if message.contains("ValidatingAdmissionPolicy") {
        return Some(check.problem(
            format!("an admission policy refuses a request of yours: {message}"),
            "see the check Admission: without the webhook nothing is stamped, and what is not stamped is refused",
        ));
    }
    // What Lapse refuses it has judged.
    let by_lapse = (400..500).contains(&code) && message.contains("admission webhook");
    by_lapse.then(|| check.ok("the webhook answers"))
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::super::finding::{Outcome, shown};
    use super::*;

    #[test]
    fn what_guards_no_more_is_told_with_what_to_do() {
        let names = |name: &str| vec![format!("ValidatingAdmissionPolicy {name}")];
        let changed = names("lapse-immutable: failurePolicy");
        let faults = AdmissionFaults { missing: names("lapse-identity"), changed };
        let dead = "Internal error occurred: failed calling webhook \"stamp.lapse.dev\": EOF";
        let unstamped = "ValidatingAdmissionPolicy 'lapse-identity' denied request: no";
        let mut all = compared(9, AdmissionFaults::default());
        all.extend(compared(9, faults));
        all.extend([true, false].map(answered));
        all.extend([(500, dead), (403, unstamped)].map(|answer| refused(answer).unwrap()));
        insta::assert_snapshot!(shown(&all));
    }

    #[rstest]
    #[case::dead(
        500,
        "Internal error occurred: failed calling webhook \"stamp.lapse.dev\": EOF",
        Some(Outcome::Problem)
    )]
    #[case::unstamped(
        403,
        "accessrequests.lapse.dev \"x\" is forbidden: ValidatingAdmissionPolicy 'lapse-identity' denied request: no",
        Some(Outcome::Problem)
    )]
    #[case::judged(
        400,
        "admission webhook \"validate.lapse.dev\" denied the request: no",
        Some(Outcome::Ok)
    )]
    #[case::no_right(
        403,
        "accessrequests.lapse.dev is forbidden: User \"mallory\" cannot create resource",
        None
    )]
    #[case::no_kind(404, "the server could not find the requested resource", None)]
    fn a_refusal_says_who_refused(
        #[case] code: u16,
        #[case] message: &str,
        #[case] outcome: Option<Outcome>,
    ) {
        assert_eq!(refused((code, message)).map(|found| found.outcome), outcome);
    }
}
