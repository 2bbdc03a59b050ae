//! What went wrong with a call, in words, and what to do about it.

use kube::client::AuthError;
use lapse_crds::API_GROUP;

/// Whether an answer is about a single object.
pub(super) fn names_object(status: &kube::core::Status) -> bool {
    status.details.as_ref().is_some_and(|details| !details.name.is_empty())
}

/// What the API server answered, and what to do about it.
pub(super) fn refusal(what: &str, error: &kube::Error) -> String {
    let kube::Error::Api(status) = error else { return format!("{what}: {}", of_client(error)) };
    let message = admission_message(&status.message);
    match status.code {
        // Of a kind that is not served there is no object to name.
        404 if !names_object(status) => format!(
            "{what}: this cluster does not serve that kind of the API {API_GROUP}: Lapse is not installed there, or is of \
             another release, or --context names another cluster than you mean"
        ),
        401 => format!(
            "{what}: the API server does not know you; log in again, and see `kubectl auth whoami`"
        ),
        403 if status.reason == "Forbidden" => {
            format!("{what}: {message}{}", whom_to_ask(&message))
        }
        _ => format!("{what}: {message}"),
    }
}

/// What the client says by itself.
pub(super) fn of_client(error: &kube::Error) -> String {
    if let Some(said) = of_credentials(error) {
        return said;
    }
    let said = chain(error);
    // What the client calls it says nothing to people.
    said.strip_prefix("ServiceError: ").unwrap_or(&said).to_owned()
}

/// That there are no credentials, if that is what happened. The client would show what a program wrote that hands them out, and
/// with which variables it ran: these are for nobody's terminal, nor for a log.
fn of_credentials(error: &kube::Error) -> Option<String> {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(error) = cause {
        match error.downcast_ref::<AuthError>() {
            Some(AuthError::AuthExecRun { out, .. }) => {
                let status = out.status;
                return Some(format!(
                    "the program of the kubeconfig that hands out credentials failed ({status})"
                ));
            }
            Some(AuthError::AuthExecParse(_)) => {
                return Some(
                    "what the program of the kubeconfig that hands out credentials wrote is no ExecCredential"
                        .to_owned(),
                );
            }
            _ => cause = error.source(),
        }
    }
    None
}

/// The message of a webhook, without how the API server introduces it.
fn admission_message(message: &str) -> String {
    let said = message.split_once("denied the request: ").map_or(message, |(_, said)| said);
    said.trim().to_owned()
}

/// Which role lets somebody do what RBAC refused, by the kind and the verb that it names.
fn whom_to_ask(message: &str) -> &'static str {
    let names = |kind: &str| message.contains(&format!("resource \"{kind}\""));
    let writes = message.contains("cannot create") || message.contains("cannot patch");
    let everywhere = message.contains("at the cluster scope");
    if (names("accessrequests") || names("accessdecisions")) && everywhere {
        "; ask an administrator to bind you ClusterRole lapse:requester (to request), lapse:approver (to decide) or \
         lapse:auditor (to read) in the whole cluster, or leave out -A"
    } else if names("accessrequests") && writes {
        "; ask an administrator to bind you ClusterRole lapse:requester in that namespace"
    } else if names("accessrequests") || names("accessdecisions") {
        "; ask an administrator to bind you ClusterRole lapse:requester (to request) or lapse:approver (to decide) in \
         that namespace, or give -n a namespace where you have it"
    } else if names("endpoints") {
        "; ask an administrator to bind you ClusterRole lapse-endpoint-viewer in the whole cluster, or name the hosts \
         with --endpoint"
    } else if names("jitpolicies") {
        "; ask an administrator to bind you ClusterRole lapse:policy-viewer in the whole cluster"
    } else if names("grants") {
        "; ask an administrator to bind you ClusterRole lapse:auditor or lapse:reviewer"
    } else {
        ""
    }
}

/// How the client introduces what went wrong with a connection: what it was doing follows.
const OF_CONNECTION: &str = "client error (";

/// Whether no connection was made, so that nothing was sent.
pub(super) fn is_unreached(error: &kube::Error) -> bool {
    chain(error).contains(&format!("{OF_CONNECTION}Connect)"))
}

/// Whether the API server was not reached, or the connection to it broke.
pub(super) fn is_of_connection(error: &kube::Error) -> bool {
    matches!(error, kube::Error::HyperError(_)) || chain(error).contains(OF_CONNECTION)
}

/// Which server does not answer, and why: what the causes come to.
pub(super) fn unconnected(server: &str, error: &kube::Error) -> String {
    let mut root: &dyn std::error::Error = error;
    while let Some(cause) = root.source() {
        root = cause;
    }
    if is_unreached(error) {
        format!("cannot reach the API server at {server}: {root}")
    } else {
        format!("the connection to the API server at {server} broke: {root}")
    }
}

/// An error with its causes, each said once.
fn chain(error: &dyn std::error::Error) -> String {
    let mut said = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let text = error.to_string();
        if !said.contains(&text) {
            said = format!("{said}: {text}");
        }
        cause = error.source();
    }
    said
}
