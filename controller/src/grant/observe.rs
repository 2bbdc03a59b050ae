//! Everything that bears on a grant, read live and in parallel.

use futures::future::join_all;
use lapse_cluster::Freshness;
use lapse_crds::{AccessDecision, Grant, GrantPhase};
use lapse_engine::Read;
use lapse_engine::attest::Attested;
use lapse_engine::grant::{LiveObject, ObjectSpec, Observed, Obstacle, awaits_review};
use lapse_engine::policy::{BannedRoles, PolicyState};
use lapse_engine::role::RoleRules;
use lapse_engine::target::{Namespaces, ResolvedTarget};

use crate::context::Context;
use crate::elevate::kubernetes;
use crate::error::ReconcileError;

/// Observes a grant; `None` if it does not exist any more.
///
/// What to read follows from the spec, which never changes, so the cached object is good enough to
/// say it, and everything is read at once.
pub(super) async fn observe(
    context: &Context,
    cached: &Grant,
    obstacle: Option<Obstacle>,
) -> Result<Option<Observed>, ReconcileError> {
    let reader = &context.reader;
    let name = cached.metadata.name.clone().unwrap_or_default();
    let of = &cached.spec.request;
    let (grant, objects, request, rest) = tokio::join!(
        reader.grant(&name),
        objects(context, cached),
        reader.request(&of.namespace, &of.name),
        rest(context, cached),
    );
    let grant = match grant {
        Read::Found(grant) => grant,
        Read::Missing => return Ok(None),
        Read::Failed(why) => return Err(ReconcileError::Unknown(why)),
    };
    if grant.metadata.uid != cached.metadata.uid {
        return Err(ReconcileError::Unknown(format!("Grant {name} was made anew")));
    }
    let Rest { decisions, policies, role, banned_roles, namespaces } = rest;
    Ok(Some(Observed {
        objects,
        request: request.map(|attested| attested.object),
        decisions,
        policies,
        role,
        banned_roles,
        namespaces,
        obstacle,
        grant,
    }))
}

async fn objects(context: &Context, grant: &Grant) -> Vec<(ObjectSpec, Read<LiveObject>)> {
    let client = context.client();
    let home = &context.reader.settings().namespace;
    let looks = ObjectSpec::all_of(grant, home).into_iter().map(|object| {
        let client = client.clone();
        async move {
            let live = kubernetes::look(&client, &object).await;
            (object, live)
        }
    });
    join_all(looks).await
}

struct Rest {
    decisions: Read<Vec<Attested<AccessDecision>>>,
    policies: Read<Vec<PolicyState>>,
    role: Read<RoleRules>,
    banned_roles: BannedRoles,
    namespaces: Namespaces,
}

/// What bears on whether the right goes on. When its end is certain nothing of it matters, and reading
/// it would only delay the end.
async fn rest(context: &Context, grant: &Grant) -> Rest {
    fn unread<T>() -> Read<T> {
        Read::Failed("the grant ends, whatever this says".to_owned())
    }
    let of = &grant.spec.request;
    let phase = grant.status.as_ref().map(|status| status.phase).unwrap_or_default();
    let is_certain = matches!(phase, GrantPhase::Ending | GrantPhase::Ended)
        || grant.metadata.deletion_timestamp.is_some()
        || context.clock.now() >= grant.spec.expires_at.time();
    let reader = &context.reader;
    let target = ResolvedTarget::resolve(&grant.spec.target, &of.namespace);
    let (false, Some(target)) = (is_certain, target) else {
        // What is left of an emergency is its review, and nothing delays that.
        let is_owed = phase == GrantPhase::Ended && awaits_review(grant).is_some();
        let decisions = if is_owed {
            reader.decisions(&of.namespace, &of.name, Freshness::Now).await
        } else {
            unread()
        };
        return Rest {
            decisions,
            policies: unread(),
            role: unread(),
            banned_roles: BannedRoles::new(),
            namespaces: Namespaces::new(),
        };
    };
    // While it is being given, what was seen is new enough: the report that it is held brings the next
    // look, as of now, and a Deny that was missed ends it then.
    let freshness = if phase == GrantPhase::Pending { Freshness::Seen } else { Freshness::Now };
    let (decisions, policies, role, namespaces) = tokio::join!(
        reader.decisions(&of.namespace, &of.name, freshness),
        reader.policies(Some(&grant.spec.policy.name), freshness),
        reader.role(&target),
        reader.namespaces(&target),
    );
    let known = policies.found().map_or(&[][..], Vec::as_slice);
    let banned_roles = reader.banned_roles(known, &target).await;
    Rest { decisions, policies, role, banned_roles, namespaces }
}
