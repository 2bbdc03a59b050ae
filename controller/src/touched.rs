//! What an event bears on, and how urgent that is.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use kube::api::ObjectMeta;
use lapse_cluster::clock::Clock;
use lapse_cluster::index::{Change, Index, KnownGrant, KnownRequest, version};
use lapse_crds::{AccessRequest, Grant, GrantPhase};
use lapse_engine::attest::Attested;
use lapse_engine::endpoint::{Hold, hold};
use lapse_engine::grant::grant_name;
use lapse_engine::summary::GrantSummary;
use lapse_engine::target::ResolvedTarget;

use crate::bindings::{AFTER_END, Bindings};
use crate::deadlines::Deadlines;
use crate::echoes::{Echoes, Writing};
use crate::in_hand::InHand;
use crate::queue::{Item, Lane, Queue};

/// How long the number of a policy's grants may lag: many grants make one report.
const LAG: Duration = Duration::from_secs(5);

/// The lane in which a right is given.
pub(crate) fn lane_to_give(grant: &GrantSummary) -> Lane {
    if grant.is_emergency { Lane::Emergency } else { Lane::Give }
}

/// Queues what an event bears on. A copy queues in the same queue.
#[derive(Clone)]
pub(crate) struct Touched {
    pub(crate) queue: Queue,
    pub(crate) index: Index,
    pub(crate) clock: Clock,
    pub(crate) bindings: Bindings,
    pub(crate) deadlines: Deadlines,
    pub(crate) in_hand: InHand,
    pub(crate) echoes: Echoes,
    /// The Endpoints that are not held as they must be, as far as was shown. Whoever does not lead passes them over.
    unheld: Arc<Mutex<BTreeSet<String>>>,
}

impl Touched {
    /// With nothing begun yet.
    pub(crate) fn new(queue: Queue, index: Index, clock: Clock) -> Self {
        Self {
            in_hand: InHand::new(queue.clone()),
            queue,
            index,
            clock,
            bindings: Bindings::default(),
            deadlines: Deadlines::default(),
            echoes: Echoes::default(),
            unheld: Arc::default(),
        }
    }

    /// The same with a queue in which nothing waits, so that a test sees what it adds.
    #[cfg(test)]
    pub(crate) fn with_empty_queue(&self) -> Self {
        Self { queue: Queue::new(self.clock.clone()), ..self.clone() }
    }

    /// A Grant, whatever is to be done about it.
    pub(crate) fn grant(&self, name: &str) {
        let Some(known) = self.index.grant(name) else { return };
        let lane = known.live().map_or(Lane::Follow, |grant| self.lane_of(grant));
        self.queue.now(Item::Grant(name.to_owned()), lane);
    }

    /// A Grant of which something is gone, so that it ends, unless it is over.
    pub(crate) fn ending_if_live(&self, name: &str) {
        let Some(known) = self.index.grant(name) else { return };
        if known.live().is_some() { self.ending(name) } else { self.grant(name) }
    }

    /// A Grant that ends.
    pub(crate) fn ending(&self, name: &str) {
        self.queue.now(Item::Grant(name.to_owned()), Lane::End);
    }

    /// A Grant of which something may end the right.
    pub(crate) fn may_end(&self, name: &str) {
        self.queue.now(Item::Grant(name.to_owned()), Lane::Held);
    }

    /// Whether the time of a Grant is up.
    pub(crate) fn has_expired(&self, grant: &GrantSummary) -> bool {
        self.deadlines.time_of(grant, self.clock.now()) >= grant.expires_at.time()
    }

    fn lane_of(&self, grant: &GrantSummary) -> Lane {
        let is_ending =
            grant.is_deleted || grant.phase() == GrantPhase::Ending || self.has_expired(grant);
        match grant.phase() {
            _ if is_ending => Lane::End,
            GrantPhase::Pending => lane_to_give(grant),
            GrantPhase::Active | GrantPhase::Ending | GrantPhase::Ended => Lane::Follow,
        }
    }

    /// A request.
    pub(crate) fn request(&self, known: &KnownRequest) {
        let lane = match &known.summary {
            Ok(summary) if summary.emergency && known.waits() => Lane::Emergency,
            _ if known.waits() => Lane::Give,
            _ => Lane::Follow,
        };
        self.request_in(known, lane);
    }

    fn request_in(&self, known: &KnownRequest, lane: Lane) {
        if known.is_settled {
            return;
        }
        let KnownRequest { namespace, name, uid, .. } = known;
        // What bears on a request bears on the right that it is being given, which is not in the index yet.
        self.in_hand.defers(&grant_name(namespace, name, uid), Lane::End);
        let (namespace, name) = (namespace.clone(), name.clone());
        let requester = known.requester().to_owned();
        self.queue.now(Item::Request { namespace, name, requester }, lane);
    }

    /// The request of this name, if it is known and not over.
    pub(crate) fn request_named(&self, namespace: &str, name: &str) {
        if let Some(known) = self.index.request_named(namespace, name) {
            self.request(&known);
        }
    }

    /// A policy.
    pub(crate) fn policy(&self, name: &str) {
        self.queue.now(Item::Policy(name.to_owned()), Lane::Follow);
    }

    /// A policy whose number of grants may have changed.
    fn count_of(&self, policy: &str) {
        self.queue.soon(Item::Policy(policy.to_owned()), Lane::Follow, LAG);
    }

    /// A request that this process has written. A Grant that was deleted goes when its request knows.
    pub(crate) fn wrote_request(&self, writing: Writing, request: Attested<AccessRequest>) {
        let metadata = &request.object.metadata;
        let text = |field: &Option<String>| field.clone().unwrap_or_default();
        let (namespace, name) = (text(&metadata.namespace), text(&metadata.name));
        let grant = grant_name(&namespace, &name, &text(&metadata.uid));
        let version = version(metadata);
        let _ = self.index.wrote_request(request);
        if writing.wrote(version) {
            self.request_named(&namespace, &name);
            return self.grant(&grant);
        }
        self.grant_if_over(&grant);
    }

    /// A Grant that is over, if more is to happen to it.
    fn grant_if_over(&self, name: &str) {
        let grant = self.index.grant(name).and_then(|known| known.summary.ok());
        if grant.is_some_and(|grant| grant.live.is_none() && !grant.is_settled()) {
            self.grant(name);
        }
    }

    /// Everything to which something may still happen.
    pub(crate) fn everything(&self) {
        self.index.open_requests().iter().for_each(|request| self.request(request));
        self.index.open_grants().iter().for_each(|name| self.grant(name));
        self.index.policy_names().iter().for_each(|name| self.policy(name));
        for name in self.unheld().iter() {
            self.queue.now(Item::Endpoint(name.clone()), Lane::Follow);
        }
    }

    fn unheld(&self) -> MutexGuard<'_, BTreeSet<String>> {
        // Each change leaves it whole.
        self.unheld.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The requests that wait of which this holds. One that has its right follows that, whatever else happens.
    pub(crate) fn waiting_that(&self, are_touched: impl Fn(&KnownRequest) -> bool) {
        let waiting = self.index.waiting_requests();
        waiting
            .iter()
            .filter(|request| are_touched(request))
            .for_each(|request| self.request_in(request, Lane::Check));
    }

    /// The Grants that are not over of which this holds: it may end those that are held.
    pub(crate) fn grants_that(&self, are_touched: impl Fn(&GrantSummary) -> bool) {
        let live = self.index.live_grants();
        live.iter().filter(|grant| are_touched(grant)).for_each(|grant| self.held(grant));
    }

    /// The Grants that are not over of which this holds, if it is likely to end those that are held.
    pub(crate) fn ending_that(&self, are_ended: impl Fn(&GrantSummary) -> bool) {
        let live = self.index.live_grants();
        live.iter().filter(|grant| are_ended(grant)).for_each(|grant| self.ending(&grant.name));
    }

    /// A Grant that is not over, of which what others did may end the right. Of one that is to be given, some may stand; the
    /// rest is given in other places than those in which that ends.
    fn held(&self, grant: &GrantSummary) {
        self.queue.now(Item::Grant(grant.name.to_string()), self.lane_of(grant).min(Lane::Held));
    }

    /// The grants and requests whose target something bears on.
    pub(crate) fn targets_that(&self, are_touched: impl Fn(&ResolvedTarget) -> bool) {
        self.grants_that(|grant| {
            let target = grant.live.as_ref().and_then(|live| live.target.as_ref());
            target.is_some_and(&are_touched)
        });
        self.waiting_that(|request| {
            // One whose spec is not kept is looked at in any case.
            request.object.as_ref().is_none_or(|object| {
                let target = ResolvedTarget::resolve(&object.spec.target, &request.namespace);
                target.is_some_and(|target| are_touched(&target))
            })
        });
    }

    /// What a change of a Grant bears on, but for the Grant itself.
    pub(crate) fn by_grant(&self, change: &Change<KnownGrant>) {
        self.by_end(change);
        let summary = |known: &Option<KnownGrant>| known.clone().and_then(|k| k.summary.ok());
        let (before, after) = (summary(&change.before), summary(&change.after));
        let Some(grant) = after.as_ref().or(before.as_ref()) else { return };
        // One that was just written has nothing to tell yet, but to those whom it keeps from approving.
        let has_changed = |of: fn(&GrantSummary) -> (GrantPhase, bool)| {
            before.as_deref().map(of) != after.as_deref().map(of)
        };
        let was_live = before.as_ref().is_some_and(|grant| grant.live.is_some());
        let is_live = after.as_ref().is_some_and(|grant| grant.live.is_some());
        if was_live != is_live {
            self.kept_from_approving_by(grant);
        }
        let is_new = change.before.is_none() && grant.phase() == GrantPhase::Pending;
        // Whoever begins a right says itself what became of it.
        if (!is_new || grant.is_deleted) && !self.in_hand.holds(&grant.name) {
            self.request_named(&grant.request.namespace, &grant.request.name);
        }
        if has_changed(|grant| (grant.phase(), grant.is_deleted)) && !is_new {
            self.count_of(&grant.policy);
        }
        if was_live && !is_live {
            self.extensions_of(grant);
            // It may be the last one that kept its Endpoint.
            let live = before.as_ref().and_then(|grant| grant.live.as_ref());
            let place = live.and_then(|live| live.target.as_ref()?.scope.endpoint());
            if let Some(place) = place {
                self.queue.now(Item::Endpoint(place.name.clone()), Lane::Follow);
            }
        }
    }

    /// One that is over is looked at once more, if any binding of its stands.
    fn by_end(&self, change: &Change<KnownGrant>) {
        let Some(known) = change.after.as_ref().or(change.before.as_ref()) else { return };
        if change.after.as_ref().is_some_and(|known| !known.is_over()) {
            self.bindings.is_live(&known.name);
        } else if self.bindings.any_of(&known.name) {
            self.queue.soon(Item::Grant(known.name.to_string()), Lane::End, AFTER_END);
        }
    }

    /// A Grant that this process has written. What else that bears on is queued; the Grant itself only if more is to
    /// happen to it.
    pub(crate) fn wrote_grant(&self, writing: Writing, grant: &Grant) {
        // Its event may have come first, and told the rest.
        if let Some(change) = self.index.wrote_grant(grant) {
            self.deadlines.follow(&change);
            self.by_grant(&change);
        }
        let name = grant.metadata.name.as_deref().unwrap_or_default();
        if writing.wrote(version(&grant.metadata)) {
            return self.grant(name);
        }
        self.grant_if_over(name);
    }

    /// A Grant that a live read does not find.
    pub(crate) fn gone(&self, name: &str) {
        let change = self.index.grant_gone(name);
        self.deadlines.follow(&change);
        self.by_grant(&change);
    }

    /// An approval counts, or no longer does, once a Grant by a policy that is kept apart ends or comes.
    fn kept_from_approving_by(&self, grant: &GrantSummary) {
        let policies = self.index.policies();
        let apart = policies.found().map(|policies| policies.apart_from(&grant.policy));
        if apart.is_some_and(|apart| !apart.is_empty()) {
            self.waiting_that(|_| true);
        }
    }

    /// An Endpoint, and the rights on its host.
    pub(crate) fn endpoint(&self, metadata: &ObjectMeta, stands: bool) {
        let name = metadata.name.as_deref().unwrap_or_default();
        let goes = !stands || metadata.deletion_timestamp.is_some();
        let live = self.index.live_on(name).into_iter().filter_map(|name| self.index.grant(&name));
        for grant in live.filter_map(|known| known.summary.ok()) {
            // That its agent has carried it out is part of giving it.
            if grant.phase() == GrantPhase::Pending && !goes {
                self.grant(&grant.name);
            } else {
                self.held(&grant);
            }
        }
        self.index.comparing_on(name).iter().for_each(|grant| self.grant(grant));
        // Most of what happens to it is what its agent says.
        let is_unheld = stands && hold(metadata, false) != Hold::AsItIs;
        if is_unheld {
            self.unheld().insert(name.to_owned());
        } else {
            self.unheld().remove(name);
        }
        if is_unheld {
            self.queue.now(Item::Endpoint(name.to_owned()), Lane::Follow);
        }
    }

    /// What is over cannot be extended any more. Ends come by the thousand, so none looks through all that people ask for.
    fn extensions_of(&self, grant: &GrantSummary) {
        let of = &grant.request;
        for request in self.index.extending(&of.namespace, &of.name) {
            self.request_in(&request, Lane::Check);
        }
    }

    /// The Grant of a request, if it has one. It ends with its request, and as soon as somebody deletes that, or it is over.
    pub(crate) fn grant_of(&self, request: &KnownRequest, is_gone: bool) {
        let KnownRequest { namespace, name, uid, is_deleted, summary, .. } = request;
        let grant = grant_name(namespace, name, uid);
        let is_over = summary.as_ref().is_ok_and(|summary| summary.phase.is_terminal());
        if is_gone || *is_deleted || is_over {
            self.ending_if_live(&grant);
        } else {
            self.grant(&grant);
        }
    }
}

#[cfg(test)]
mod tests;
