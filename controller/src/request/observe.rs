//! Everything that bears on a request, read live and in parallel.

use lapse_cluster::Freshness;
use lapse_crds::AccessRequest;
use lapse_engine::Read;
use lapse_engine::grant::grant_name;
use lapse_engine::policy::BannedRoles;
use lapse_engine::request::Observed;
use lapse_engine::target::{Namespaces, ResolvedTarget};

use crate::context::Context;
use crate::error::ReconcileError;

/// Observes a request; `None` if it does not exist any more.
///
/// What to read follows from the spec, which never changes, so the cached object is good enough to
/// say it, and everything is read at once but for what Deny policies name, and the Grants by policies that
/// are kept apart.
pub(super) async fn observe(
    context: &Context,
    cached: &AccessRequest,
    engaging_as_of: Freshness,
) -> Result<Option<Observed>, ReconcileError> {
    let reader = &context.reader;
    let text = |field: &Option<String>| field.clone().unwrap_or_default();
    let namespace = text(&cached.metadata.namespace);
    let name = text(&cached.metadata.name);
    let target = ResolvedTarget::resolve(&cached.spec.target, &namespace);
    let place = async {
        if let Some(target) = &target {
            let role = async {
                let role = reader.role(target).await;
                let accounts = reader.accounts(target, &role).await;
                (role, accounts)
            };
            tokio::join!(role, reader.namespaces(target))
        } else {
            let why = "the target has no kind".to_owned();
            ((Read::Failed(why.clone()), Read::Failed(why)), Namespaces::new())
        }
    };
    // What is self-service is given at the first look, and a Deny policy may have come a moment ago. An
    // approval was judged by the policies as of now; a ban that came since ends the right.
    let is_first = cached.status.is_none();
    let policies_as_of = if is_first { Freshness::Now } else { Freshness::Seen };
    // Emergencies are bounded by what is owed alone, and the last one may be a moment old and by another
    // replica.
    let is_emergency = cached.spec.emergency;
    let peers_as_of = if is_emergency { Freshness::Now } else { Freshness::Seen };
    let grant = grant_name(&namespace, &name, &text(&cached.metadata.uid));
    let peers = async {
        match &cached.spec.requester {
            Some(requester) => reader.peers(requester, peers_as_of).await,
            None => Read::Failed("the request names no requester".to_owned()),
        }
    };
    let named = cached.spec.policy.as_deref();
    let policies = async {
        let policies = reader.policies(named, policies_as_of).await;
        let known = policies.found().map_or(&[][..], Vec::as_slice);
        let banned_roles = async {
            match &target {
                Some(target) => reader.banned_roles(known, target).await,
                None => BannedRoles::new(),
            }
        };
        let (engaging, banned_roles) =
            tokio::join!(reader.engaging(known, named, engaging_as_of), banned_roles);
        (policies, engaging, banned_roles)
    };
    let (
        request,
        (policies, engaging, banned_roles),
        decisions,
        grant,
        peers,
        ((role, accounts), namespaces),
    ) = tokio::join!(
        reader.request(&namespace, &name),
        policies,
        // A decision that is not seen yet brings an event; before the right is held, it is looked for.
        reader.decisions(&namespace, &name, Freshness::Seen),
        reader.grant(&grant),
        peers,
        place,
    );
    let request = match request {
        Read::Found(request) => request,
        Read::Missing => return Ok(None),
        Read::Failed(why) => return Err(ReconcileError::Unknown(why)),
    };
    if request.object.metadata.uid != cached.metadata.uid {
        let why = format!("AccessRequest {namespace}/{name} was made anew");
        return Err(ReconcileError::Unknown(why));
    }
    Ok(Some(Observed {
        policies,
        decisions,
        role,
        accounts,
        banned_roles,
        namespaces,
        grant,
        peers,
        engaging,
        settings: reader.settings().clone(),
        obstacle: None,
        request,
    }))
}
