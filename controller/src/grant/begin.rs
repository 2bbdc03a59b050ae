//! Gives a right at once with what was just read, when this process has just written its Grant.
//!
//! Reading everything again would only take time: the reads are milliseconds old. What stands in the
//! place of an object need not be read either, since it is made with POST: if the name is taken, the
//! next look finds out by what.

use futures::FutureExt as _;
use lapse_crds::Grant;
use lapse_engine::Read;
use lapse_engine::grant::{ObjectSpec, Observed};
use lapse_engine::request;
use lapse_engine::summary::GrantSummary;
use tracing::warn;

use crate::context::Context;
use crate::queue::{Done, Item, Lane};
use crate::touched::lane_to_give;

/// Gives a right whose Grant was just written, and records that it is held. Returns the Grant that says so. What
/// fails is left to the grant's own reconciliation.
pub(crate) async fn begin(
    context: &Context,
    grant: Grant,
    seen: &request::Observed,
) -> Option<Grant> {
    let home = &context.reader.settings().namespace;
    let summary = GrantSummary::of(&grant);
    let objects =
        ObjectSpec::all_of(&grant, home).into_iter().map(|object| (object, Read::Missing));
    let own_policy = seen.policies.found().and_then(|all| all.get(&grant.spec.policy.name));
    let own_policy = own_policy.cloned().map_or(Read::Missing, Read::Found);
    let observed = Observed {
        objects: objects.collect(),
        request: Read::Found(seen.request.object.clone()),
        decisions: seen.decisions.clone(),
        policies: seen.policies.clone(),
        own_policy,
        role: seen.role.clone(),
        banned_roles: seen.banned_roles.clone(),
        surroundings: seen.surroundings.clone(),
        started: None,
        obstacle: None,
        grant,
    };
    let (queue, item) = (&context.touched.queue, Item::Grant(summary.name.to_string()));
    let lane = lane_to_give(&summary);
    let begun = super::converge(context, &summary, Some(Box::new(observed)), lane);
    match begun.boxed().await {
        Ok(converged) => {
            match converged.done() {
                Done::HeldUntil(at) | Done::Until(Some(at)) => queue.at(item, Lane::Held, at),
                Done::UnsureUntil(at) => queue.at(item, Lane::Again, at),
                Done::ToGive(lane, at) => queue.at(item, lane, at),
                Done::Until(None) | Done::InCommonTurn => {}
            }
            converged.written
        }
        Err(error) => {
            warn!(%error, "access could not be granted at once");
            // It may have come to its end meanwhile, and stand.
            let lane = if error.keeps_a_right() { Lane::End } else { lane };
            queue.soon(item, lane, error.retry_after(0, 1.0, lane.may_end()));
            None
        }
    }
}
