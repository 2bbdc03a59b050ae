//! Writes the status of a request, and tells people.

use kube::Api;
use lapse_cluster::{CallError, replace_status};
use lapse_crds::{AccessRequest, AccessRequestStatus};
use lapse_engine::attest::Attested;
use lapse_engine::notice::Notice;
use tracing::info;

use crate::context::Context;
use crate::echoes::Object;

/// Writes the status, if there is anything new, then the event: an event tells only what is so.
pub(super) async fn report(
    context: &Context,
    asked: &Attested<AccessRequest>,
    status: Option<AccessRequestStatus>,
    notice: Option<Notice>,
) -> Result<(), CallError> {
    let Some(status) = status else { return Ok(()) };
    let request = &asked.object;
    let metadata = &request.metadata;
    let namespace = metadata.namespace.clone().unwrap_or_default();
    let name = metadata.name.clone().unwrap_or_default();
    let phase = status.phase;
    let api: Api<AccessRequest> = Api::namespaced(context.client(), &namespace);
    let updated = AccessRequest { status: Some(status), ..request.clone() };
    let writing = context.touched.echoes.begin(Object::request(metadata));
    match replace_status(&api, &updated).await {
        Ok(written) => {
            let attestation = asked.attestation.clone();
            let written = Attested { object: written, attestation };
            context.touched.wrote_request(writing, written);
        }
        // Deleted in between: there is nothing to report on.
        Err(error) if error.is_not_found() => return Ok(()),
        Err(error) => return Err(error),
    }
    if let Some(notice) = notice {
        info!(%namespace, %name, %phase, reason = %notice.reason, "request");
        context.notifier.tell(request, &notice, context.clock.now());
    }
    Ok(())
}
