//! Writes the Grant of an approved request: the intent, before any effect.

use kube::Api;
use kube::api::PostParams;
use lapse_cluster::index::version;
use lapse_cluster::{CallError, bounded};
use lapse_crds::Grant;
use tracing::info;

use crate::context::Context;
use crate::echoes::Object;

/// Creates the Grant, and returns it. One that exists already, or was decided by a store that is no more, is looked at next
/// time.
pub(super) async fn create(context: &Context, grant: &Grant) -> Result<Option<Grant>, CallError> {
    let api: Api<Grant> = Api::all(context.client());
    let name = grant.metadata.name.as_deref().unwrap_or_default();
    let post = PostParams::default();
    let writing = context.touched.echoes.begin(Object::grant(&grant.metadata));
    let seen = context.touched.index.newest();
    match bounded(format!("creating Grant {name}"), api.create(&post, grant)).await {
        Ok(created) => {
            // Before what is known is in doubt, so that this is forgotten with it, and seen again.
            context.touched.wrote_grant(writing, &created);
            info!(grant = %name, subject = %grant.spec.subject, "wrote a grant");
            // What it was decided by may never have been. Then all is listed anew before anything is given by it.
            let is_other_store = context.reader.ran_backwards(version(&created.metadata), seen);
            Ok((!is_other_store).then_some(created))
        }
        Err(error) if error.is_already_exists() => Ok(None),
        Err(error) => Err(error),
    }
}
