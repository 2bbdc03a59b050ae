//! Everything that bears on a request, read live and in parallel.

use std::collections::BTreeMap;

use lapse_engine::Read;
use lapse_engine::grant::grant_name;
use lapse_engine::request::Observed;
use lapse_engine::target::ResolvedTarget;

use crate::context::Context;
use crate::error::ReconcileError;

/// Observes a request; `None` if it does not exist any more.
pub(super) async fn observe(
    context: &Context,
    namespace: &str,
    name: &str,
) -> Result<Option<Observed>, ReconcileError> {
    let reader = &context.reader;
    let request = match reader.request(namespace, name).await {
        Read::Found(request) => request,
        Read::Missing => return Ok(None),
        Read::Failed(why) => return Err(ReconcileError::Unknown(why)),
    };
    let spec = &request.object.spec;
    let target = ResolvedTarget::resolve(&spec.target, namespace);
    let place = async {
        match &target {
            Some(target) => tokio::join!(reader.role(target), reader.namespaces(target)),
            None => (Read::Failed("the target has no kind".to_owned()), BTreeMap::new()),
        }
    };
    let uid = request.object.metadata.uid.as_deref().unwrap_or_default();
    let grant = grant_name(namespace, name, uid);
    let (policies, decisions, grant, (role, namespaces)) = tokio::join!(
        reader.policies(spec.policy.as_deref()),
        reader.decisions(namespace, name),
        reader.grant(&grant),
        place,
    );
    Ok(Some(Observed {
        policies,
        decisions,
        role,
        namespaces,
        grant,
        settings: reader.settings().clone(),
        obstacle: None,
        request,
    }))
}
