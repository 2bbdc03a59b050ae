//! Does what the engine says, in its order.

use kube::Api;
use kube::api::{Patch, PatchParams};
use lapse_cluster::objects::ObjectPlace;
use lapse_cluster::{CallError, bounded};
use lapse_crds::{GRANT_FINALIZER, Grant};
use lapse_engine::grant::{Action, ObjectSpec};
use serde_json::json;
use tracing::info;

use crate::context::Context;
use crate::elevate::kubernetes;

/// Applies the actions. The first that fails stops the rest.
pub(super) async fn apply(
    context: &Context,
    grant: &Grant,
    actions: &[Action],
) -> Result<(), CallError> {
    for action in actions {
        match action {
            Action::Create(object) => create(context, grant, object).await?,
            Action::Delete { object, uid } => {
                kubernetes::delete(&context.client(), &ObjectPlace::of(object), uid).await?;
                info!(object = %object.describe(), "took a right back");
            }
            Action::Stop(started) => {
                lapse_cluster::stop(&context.client(), started).await?;
                info!(%started, "deleted what was started under a grant");
            }
            Action::RemoveFinalizer => remove_finalizer(context, grant).await?,
        }
    }
    Ok(())
}

async fn create(context: &Context, grant: &Grant, object: &ObjectSpec) -> Result<(), CallError> {
    match kubernetes::create(&context.client(), grant, object).await {
        Ok(()) => {
            info!(object = %object.describe(), subject = %grant.spec.subject, "gave a right");
            Ok(())
        }
        // An earlier try got through, or the name is taken: the next look tells.
        Err(error) if error.is_already_exists() => Ok(()),
        Err(error) => Err(error),
    }
}

async fn remove_finalizer(context: &Context, grant: &Grant) -> Result<(), CallError> {
    let api: Api<Grant> = Api::all(context.client());
    let metadata = &grant.metadata;
    let name = metadata.name.as_deref().unwrap_or_default();
    let others: Vec<&String> =
        metadata.finalizers.iter().flatten().filter(|f| *f != GRANT_FINALIZER).collect();
    // With its version: a finalizer that somebody added in between is not lost.
    let patch = Patch::Merge(json!({"metadata": {
        "finalizers": others,
        "resourceVersion": metadata.resource_version,
    }}));
    let params = PatchParams::default();
    match bounded(format!("letting Grant {name} go"), api.patch(name, &params, &patch)).await {
        Err(error) if !error.is_not_found() => Err(error),
        _ => Ok(()),
    }
}
