//! What guards Lapse: the admission objects of its chart, and whether the webhook answers.

use lapse_cluster::standing_admission;
use lapse_engine::admission::{AdmissionFaults, faults};

use super::finding::{Check, Examined};
use super::installation::Installation;
use crate::fault::Fault;
use crate::offers;
use crate::session::Session;

/// Whether the admission objects stand as the chart has them.
pub(super) async fn objects(session: &Session, installation: &Installation) -> Examined {
    let check = Check::Admission;
    let Some(expected) = &installation.expected else {
        return Err(check.not_checked(
            "what the chart has is not known without its settings",
            format!("ask for ClusterRole view in namespace {}", installation.namespace),
        ));
    };
    let what = "list admission policies, their bindings and webhook configurations";
    let right = "get and list on all of admissionregistration.k8s.io";
    let standing = check.look(what, right, standing_admission(&session.client)).await?;
    let AdmissionFaults { missing, changed } = faults(expected, &standing);
    if missing.is_empty() && changed.is_empty() {
        return Ok(vec![
            check.ok(format!("all {} objects stand as the chart has them", expected.len())),
        ]);
    }
    let missing = missing.into_iter().map(|name| {
        let message = format!("{name} is gone, and what it guards is open");
        check.problem(message, "run helm upgrade, and find out who deleted it (audit log)")
    });
    let changed = changed.into_iter().map(|name| {
        let message = format!("{name}: this is not as the chart has it");
        check.problem(
            message,
            "delete it and run helm upgrade, and find out who changed it (audit log)",
        )
    });
    Ok(missing.chain(changed).collect())
}

/// Whether a request is stamped and judged: by one that is not stored.
pub(super) async fn answers(session: &Session) -> Examined {
    let check = Check::Webhook;
    let right = format!("ClusterRole lapse:requester in namespace {}", session.namespace);
    let namespace = &session.namespace;
    let answer = match offers::ask(session).await {
        // What Lapse refuses it has judged.
        Err(fault) if fault.is_refusal() && !fault.is_forbidden() && !fault.is_not_found() => {
            return Ok(vec![check.ok("the webhook answers")]);
        }
        Err(Fault::Api { source, .. }) if is_unreached(&source) => {
            return Ok(vec![check.problem(
                "the API server gets no answer from the webhook: nobody can ask or decide",
                "see `kubectl get pods` in the namespace of Lapse, and the network between the API server and it",
            )]);
        }
        other => {
            let what =
                format!("make requests in namespace {namespace}, by which the webhook is tried");
            check.look(&what, &right, async { other }).await?
        }
    };
    Ok(vec![if answer.spec.requester.is_some() {
        check.ok("the webhook answers, and stamps who asks")
    } else {
        check.problem(
            "the API server stores requests that nobody has stamped: it does not call the webhook",
            "run helm upgrade",
        )
    }])
}

/// What the API server answers when it cannot call a webhook.
fn is_unreached(error: &kube::Error) -> bool {
    match error {
        kube::Error::Api(status) => {
            status.code >= 500 && status.message.contains("calling webhook")
        }
        _ => false,
    }
}
