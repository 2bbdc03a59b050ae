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

/// From how many rights on that are being given at once a binding waits in the controller for its marker, and not in the
/// webhook, which asks for that again and again: one after the other costs a call's time, which matters while little goes
/// on, and together costs calls, which matter while much does.
const MANY: usize = 5;

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
    let in_turn = actions.iter().any(makes_role) || context.touched.in_hand.count() >= MANY;
    for step in actions.chunk_by(|one, next| stage(one, in_turn) == stage(next, in_turn)) {
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
/// before its marker stands; `in_turn`: bindings come after all else, as a role must be there to be bound. They are taken
/// back one after the other: what gives the right first, the marker last.
fn stage(action: &Action, in_turn: bool) -> (Discriminant<Action>, Option<usize>) {
    let of = match action {
        Action::Create(object) => {
            let is_binding = matches!(object.content, Content::Binding { .. });
            Some(usize::from(in_turn && is_binding))
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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use serde_json::json;
    use tokio::time::{Instant, sleep};

    use super::*;
    use crate::fake::{api_server, context, held};

    const CALL: Duration = Duration::from_millis(5);

    /// How many calls' time it takes to give a right while so many are given, this one among them.
    #[tokio::test(start_paused = true)]
    async fn while_many_are_given_a_binding_waits_for_its_marker_here() {
        for (given, calls) in [(1, 1_u32), (MANY - 1, 1), (MANY, 2), (2 * MANY, 2)] {
            let client = api_server(async |_| {
                sleep(CALL).await;
                let metadata = json!({"name": "lapse:fix", "uid": "u", "resourceVersion": "5"});
                (201, json!({"metadata": metadata}))
            });
            let context = context(client);
            let mut grant = held("fix", "2999-01-01T00:00:00Z");
            grant.spec.session = serde_json::from_value(json!({"guard": "Enforce"})).unwrap();
            let objects = ObjectSpec::all_of(&grant, "lapse-system");
            assert_eq!(objects.len(), 2, "a marker and a binding");
            let actions: Vec<Action> = objects.into_iter().map(Action::Create).collect();
            let in_hand = &context.touched.in_hand;
            let _all: Vec<_> = (0..given).map(|number| in_hand.take(&number.to_string())).collect();
            let begun = Instant::now();
            let made = apply(&context, &grant, &actions).await.unwrap();
            assert!(made.is_all && made.objects.len() == 2);
            assert_eq!(begun.elapsed(), calls * CALL, "while {given} are given");
        }
    }
}
