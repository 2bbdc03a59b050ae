//! Everything that bears on a grant, read live and in parallel.

use futures::future::join_all;
use lapse_crds::Grant;
use lapse_engine::Read;
use lapse_engine::grant::{BindingSpec, Observed, Obstacle};
use lapse_engine::target::ResolvedTarget;

use crate::context::Context;
use crate::elevate::kubernetes;
use crate::error::ReconcileError;

/// Observes a grant; `None` if it does not exist any more.
pub(super) async fn observe(
    context: &Context,
    name: &str,
    obstacle: Option<Obstacle>,
) -> Result<Option<Observed>, ReconcileError> {
    match context.reader.grant(name).await {
        Read::Found(grant) => Ok(Some(around(context, grant, obstacle).await)),
        Read::Missing => Ok(None),
        Read::Failed(why) => Err(ReconcileError::Unknown(why)),
    }
}

async fn around(context: &Context, grant: Grant, obstacle: Option<Obstacle>) -> Observed {
    let reader = &context.reader;
    let client = context.client();
    let of = &grant.spec.request;
    let bindings = join_all(BindingSpec::all_of(&grant).into_iter().map(|binding| {
        let client = client.clone();
        async move {
            let live = kubernetes::look(&client, &binding).await;
            (binding, live)
        }
    }));
    let target = ResolvedTarget::resolve(&grant.spec.target, &of.namespace);
    let place = async {
        match &target {
            Some(target) => tokio::join!(reader.role(target), reader.namespaces(target)),
            None => (
                Read::Failed("the target has no kind".to_owned()),
                std::collections::BTreeMap::new(),
            ),
        }
    };
    let (bindings, request, decisions, policy, (role, namespaces)) = tokio::join!(
        bindings,
        reader.request(&of.namespace, &of.name),
        reader.decisions(&of.namespace, &of.name),
        reader.policy(&grant.spec.policy.name),
        place,
    );
    Observed {
        bindings,
        request: request.map(|attested| attested.object),
        decisions,
        policy,
        role,
        namespaces,
        obstacle,
        grant,
    }
}
