//! Does what the engine says, in its order.

use std::mem::{Discriminant, discriminant};

use futures::future::BoxFuture;
use futures::{FutureExt as _, StreamExt as _, stream};
use kube::Api;
use kube::api::{Patch, PatchParams};
use lapse_cluster::objects::ObjectPlace;
use lapse_cluster::{CallError, bounded};
use lapse_crds::{GRANT_FINALIZER, Grant};
use lapse_engine::grant::{Action, Content, ObjectSpec};
use serde_json::json;
use tracing::info;

use crate::context::Context;
use crate::elevate::{kubernetes, started};

/// How many calls are made at once.
const AT_ONCE: usize = 8;

/// Applies the actions. Those of one kind are done together, and one that fails keeps no other of its kind
/// from being done: a right that cannot be taken back in one place ends in the others. What comes after
/// waits for the next look.
pub(super) async fn apply(
    context: &Context,
    grant: &Grant,
    actions: &[Action],
) -> Result<(), CallError> {
    for step in actions.chunk_by(|one, next| stage(one) == stage(next)) {
        let done: Vec<BoxFuture<'_, _>> =
            step.iter().map(|action| do_one(context, grant, action).boxed()).collect();
        let outcomes: Vec<_> = stream::iter(done).buffer_unordered(AT_ONCE).collect().await;
        outcomes.into_iter().collect::<Result<(), _>>()?;
    }
    Ok(())
}

/// What must be done before what follows: markers before bindings, say.
fn stage(action: &Action) -> (Discriminant<Action>, Option<Discriminant<Content>>) {
    let of = match action {
        Action::Create(object) | Action::Delete { object, .. } => {
            Some(discriminant(&object.content))
        }
        Action::Stop(_) | Action::RemoveFinalizer => None,
    };
    (discriminant(action), of)
}

async fn do_one(context: &Context, grant: &Grant, action: &Action) -> Result<(), CallError> {
    match action {
        Action::Create(object) => create(context, grant, object).await?,
        Action::Delete { object, uid } => {
            kubernetes::delete(&context.client(), &ObjectPlace::of(object), uid).await?;
            info!(object = %object.describe(), gave = object.gives(), "took an object back");
        }
        Action::Stop(workload) => {
            started::stop(&context.client(), workload).await?;
            info!(%workload, "deleted what was started under a grant");
        }
        Action::RemoveFinalizer => remove_finalizer(context, grant).await?,
    }
    Ok(())
}

async fn create(context: &Context, grant: &Grant, object: &ObjectSpec) -> Result<(), CallError> {
    match kubernetes::create(&context.client(), grant, object).await {
        Ok(()) => {
            let (subject, gives) = (&grant.spec.subject, object.gives());
            info!(object = %object.describe(), %subject, gives, "made an object");
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
