//! Keeps an Endpoint for as long as there are rights on its host.

use kube::Api;
use kube::api::PartialObjectMeta;
use lapse_crds::{Endpoint, GRANT_FINALIZER};
use lapse_engine::Read;
use lapse_engine::endpoint::{Hold, hold};
use tracing::info;

use crate::context::Context;
use crate::error::ReconcileError;
use crate::finalizers;
use crate::queue::{Done, Reconciled};

/// Holds an Endpoint, or lets it go.
pub(crate) async fn reconcile(context: &Context, name: &str) -> Reconciled {
    if !context.leadership.is_held() {
        // Whoever gains the lease looks at everything.
        return Ok(Done::Until(None));
    }
    let api: Api<PartialObjectMeta<Endpoint>> = Api::all(context.client());
    let metadata = match context.reader.get(api, name).await {
        Read::Found(endpoint) => endpoint.metadata,
        Read::Missing => return Ok(Done::Until(None)),
        Read::Failed(why) => return Err(ReconcileError::Unknown(why)),
    };
    let mut all: Vec<&str> = finalizers::of_others(&metadata).collect();
    let to_do = hold(&metadata, !context.reader.index().live_on(name).is_empty());
    match to_do {
        Hold::AsItIs => return Ok(Done::Until(None)),
        Hold::Take => all.push(GRANT_FINALIZER),
        Hold::LetGo => {}
    }
    let what = format!("holding Endpoint {name}");
    finalizers::set::<Endpoint>(&context.client(), what, &metadata, &all).await?;
    if to_do == Hold::LetGo {
        info!(endpoint = name, "let an Endpoint go");
    }
    Ok(Done::Until(None))
}
