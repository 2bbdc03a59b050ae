//! Does what the engine says, in its order.

use std::mem::{Discriminant, discriminant};

use futures::future::BoxFuture;
use futures::{FutureExt as _, StreamExt as _, stream};
use kube::Client;
use kube::api::ObjectMeta;
use lapse_cluster::CallError;
use lapse_cluster::index::version;
use lapse_cluster::objects::{self, ObjectPlace};
use lapse_crds::Grant;
use lapse_engine::grant::{Action, Content, LiveObject, ObjectSpec};
use tracing::info;

use crate::context::Context;
use crate::echoes::Object;
use crate::elevate::{kubernetes, started};
use crate::finalizers;

/// How many calls are made at once.
const AT_ONCE: usize = 8;

/// What was made, and whether all of it was: an object whose name was taken was not.
#[derive(Default)]
pub(super) struct Made {
    pub(super) objects: Vec<(ObjectSpec, LiveObject)>,
    pub(super) is_all: bool,
}

/// Applies the actions. Those of one stage are done together, and one that fails keeps no other of its stage
/// from being done: a right that cannot be taken back in one place ends in the others. What comes after
/// waits for the next look.
pub(super) async fn apply(
    context: &Context,
    grant: &Grant,
    actions: &[Action],
) -> Result<Made, CallError> {
    let mut made = Made { is_all: true, ..Made::default() };
    let with_roles = actions.iter().any(makes_role);
    for step in actions.chunk_by(|one, next| stage(one, with_roles) == stage(next, with_roles)) {
        let done: Vec<BoxFuture<'_, _>> =
            step.iter().map(|action| do_one(context, grant, action).boxed()).collect();
        let outcomes: Vec<_> = stream::iter(done).buffer_unordered(AT_ONCE).collect().await;
        for outcome in outcomes {
            match outcome? {
                Effect::Made(pair) => made.objects.push(*pair),
                Effect::Taken => made.is_all = false,
                Effect::Other => {}
            }
        }
    }
    Ok(made)
}

/// What came of an action.
enum Effect {
    Made(Box<(ObjectSpec, LiveObject)>),
    /// The name of the object is taken.
    Taken,
    Other,
}

fn makes_role(action: &Action) -> bool {
    matches!(action, Action::Create(object) if matches!(object.content, Content::Role { .. }))
}

/// What must be done before what follows. Objects are made together, since the webhook lets no binding through
/// before its marker stands, but for a role, which must be there to be bound. They are taken back one after the
/// other: what gives the right first, the marker last.
fn stage(action: &Action, with_roles: bool) -> (Discriminant<Action>, Option<usize>) {
    let of = match action {
        Action::Create(object) => {
            let is_binding = matches!(object.content, Content::Binding { .. });
            Some(usize::from(with_roles && is_binding))
        }
        Action::Delete { object, .. } => Some(match object.content {
            Content::Binding { .. } => 0,
            Content::Role { .. } => 1,
            Content::Marker { .. } => 2,
        }),
        Action::Stop { .. } | Action::RemoveFinalizer => None,
    };
    (discriminant(action), of)
}

async fn do_one(context: &Context, grant: &Grant, action: &Action) -> Result<Effect, CallError> {
    match action {
        Action::Create(object) => return create(context, grant, object).await,
        Action::Delete { object, uid } => {
            let (echoes, place) = (&context.touched.echoes, ObjectPlace::of(object));
            let taken = kubernetes::take_back(&context.client(), echoes, &place, uid).await;
            if taken.is_err() {
                context.metrics.revocation_failures.inc();
            }
            taken?;
            info!(object = %object.describe(), gave = object.gives(), "revoked an object");
        }
        Action::Stop { started: workload, grace_seconds } => {
            started::stop(&context.client(), workload, *grace_seconds).await?;
            info!(%workload, grace_seconds, "deleted what was started under a grant");
        }
        Action::RemoveFinalizer => {
            remove_finalizer(&context.client(), &grant.metadata).await?;
        }
    }
    Ok(Effect::Other)
}

async fn create(
    context: &Context,
    grant: &Grant,
    object: &ObjectSpec,
) -> Result<Effect, CallError> {
    let writing = context.touched.echoes.begin(Object::at(&ObjectPlace::of(object)));
    match kubernetes::create(&context.client(), grant, object).await {
        Ok(made) => {
            if writing.wrote(version(&made.metadata)) {
                context.touched.grant(grant.metadata.name.as_deref().unwrap_or_default());
            }
            let (subject, gives) = (&grant.spec.subject, object.gives());
            info!(object = %object.describe(), %subject, gives, "created an object");
            // What the API server answers is what it has stored.
            Ok(match objects::live(&object.content, made) {
                Ok(live) => Effect::Made(Box::new((object.clone(), live))),
                Err(_) => Effect::Taken,
            })
        }
        // An earlier try got through, or the name is taken: the next look tells.
        Err(error) if error.is_already_exists() => Ok(Effect::Taken),
        Err(error) => Err(error),
    }
}

/// Takes Lapse's finalizer off a Grant. It may be one that cannot be decoded.
pub(crate) async fn remove_finalizer(
    client: &Client,
    metadata: &ObjectMeta,
) -> Result<(), CallError> {
    let name = metadata.name.as_deref().unwrap_or_default();
    let others: Vec<&str> = finalizers::of_others(metadata).collect();
    finalizers::set::<Grant>(client, format!("letting Grant {name} go"), metadata, &others).await
}
