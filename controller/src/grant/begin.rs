//! Gives a right at once with what was just read, when this process has just written its Grant.
//!
//! Reading everything again would only take time: the reads are milliseconds old. What stands in the
//! place of an object need not be read either, since it is made with POST: if the name is taken, the
//! next look finds out by what.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures::FutureExt as _;
use lapse_crds::Grant;
use lapse_engine::Read;
use lapse_engine::grant::{ObjectSpec, Observed};
use lapse_engine::request;
use tracing::warn;

use crate::context::Context;
use crate::watch::Queues;

/// The grants that are being begun: their own reconciliation waits, so that nothing is made twice.
#[derive(Clone, Default)]
pub(crate) struct InHand(Arc<Mutex<HashSet<String>>>);

/// Holds a grant until it is dropped, and then queues it.
pub(crate) struct Held {
    in_hand: InHand,
    queues: Queues,
    name: String,
}

impl InHand {
    fn names(&self) -> MutexGuard<'_, HashSet<String>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a grant in hand.
    pub(crate) fn take(&self, context: &Context, name: &str) -> Held {
        self.names().insert(name.to_owned());
        Held { in_hand: self.clone(), queues: context.queues.clone(), name: name.to_owned() }
    }

    /// Whether a grant is in hand.
    pub(crate) fn holds(&self, name: &str) -> bool {
        self.names().contains(name)
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.in_hand.names().remove(&self.name);
        self.queues.grant(&self.name);
    }
}

/// Gives a right whose Grant was just written, and records that it is held. What fails is left to the
/// grant's own reconciliation.
pub(crate) async fn begin(context: &Context, grant: Grant, seen: &request::Observed) {
    let home = &context.reader.settings().namespace;
    let objects =
        ObjectSpec::all_of(&grant, home).into_iter().map(|object| (object, Read::Missing));
    let observed = Observed {
        objects: objects.collect(),
        request: Read::Found(seen.request.object.clone()),
        decisions: seen.decisions.clone(),
        policies: seen.policies.clone(),
        role: seen.role.clone(),
        banned_roles: seen.banned_roles.clone(),
        namespaces: seen.namespaces.clone(),
        started: None,
        obstacle: None,
        grant: grant.clone(),
    };
    if let Err(error) = super::converge(context, &grant, Some(Box::new(observed))).boxed().await {
        warn!(%error, "a right could not be given at once");
    }
}
