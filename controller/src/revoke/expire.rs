//! A right whose time is up loses its bindings at once, by what its Grant has recorded: nothing needs to be looked up
//! to know that. Everything else about its end follows.
//!
//! What cannot be taken is tried again by itself, and nothing else is read for that: whatever kept it from going, it goes
//! within a second of that being over.

use std::collections::HashSet;
use std::pin::pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::StreamExt as _;
use futures::channel::mpsc;
use futures::future::join_all;
use kube::Client;
use lapse_cluster::objects::ObjectPlace;
use lapse_cluster::process::{TRACES, bounded_text, caught_in};
use lapse_crds::{GrantPhase, RbacRef};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;
use tracing::field::Empty;
use tracing::{Instrument as _, error, info_span, warn};

use super::pace::{Pace, pause};
use crate::elevate::kubernetes;
use crate::metrics::Metrics;
use crate::queue::{Item, Lane, place_is_due};
use crate::touched::Touched;

/// As what a panic is counted.
const PANIC: &str = "expiry";

/// How many grants are taken at once, and as many beside them of those that are tried again: when what kept them is over,
/// they go as fast as any.
const AT_ONCE: usize = 32;
/// How long what follows an end waits while others lose their bindings.
const AFTER_OTHERS: Duration = Duration::from_secs(1);
/// How many tries after which the Grant says why its right does not go; before that only what is refused is said.
const SAID_AFTER: u32 = 10;

/// Where grants are named whose time is up.
#[derive(Clone)]
pub(crate) struct Expiry {
    named: mpsc::UnboundedSender<Due>,
    /// How many still have their bindings.
    left: Arc<AtomicUsize>,
    /// How long others have to take it first.
    stagger: Arc<dyn Fn() -> Duration + Send + Sync>,
}

/// The grants that are named.
pub(crate) struct Expired {
    named: mpsc::UnboundedReceiver<Due>,
    expiry: Expiry,
}

/// A grant whose time is up.
struct Due {
    name: String,
    at: Instant,
    /// What was left of its bindings after the last try.
    left: Option<Vec<RbacRef>>,
    tries: u32,
}

/// What a try came to.
#[derive(Debug)]
enum Taken {
    /// Its bindings are taken.
    All,
    /// That is not what it needs, or not yet: its reconciliation knows.
    Nothing,
    /// Some are left, and whether that is so of whatever is tried now ([`Pace`]).
    Some { left: Vec<RbacRef>, is_outage: bool },
}

impl Taken {
    fn name(&self) -> &'static str {
        match self {
            Self::All => "taken",
            Self::Nothing | Self::Some { .. } => "left",
        }
    }
}

impl Expiry {
    /// `stagger`: how long another replica has to take what is over first, so that not all do the same at once.
    pub(crate) fn new(stagger: impl Fn() -> Duration + Send + Sync + 'static) -> (Self, Expired) {
        let (sender, named) = mpsc::unbounded();
        let left = Arc::new(AtomicUsize::new(0));
        let expiry = Self { named: sender, left, stagger: Arc::new(stagger) };
        (expiry.clone(), Expired { named, expiry })
    }

    /// The time of a grant is up.
    pub(crate) fn is_up(&self, name: &str) {
        let at = Instant::now() + (self.stagger)();
        self.left.fetch_add(1, Ordering::Relaxed);
        // A closed channel means that the process is stopping.
        let due = Due { name: name.to_owned(), at, left: None, tries: 0 };
        let _ = self.named.unbounded_send(due);
    }
}

impl Expired {
    /// Takes the bindings of each grant that is named, until it is dropped, and has the rest of its end seen to.
    /// That comes after the bindings of the others: of a thousand rights that end in one instant, the last must not
    /// wait until it is written down that the first is gone.
    pub(crate) async fn run(self, client: Client, touched: Touched, metrics: Arc<Metrics>) {
        let Self { mut named, expiry } = self;
        let taker = Arc::new(Taker {
            client,
            touched,
            metrics,
            left: expiry.left,
            pace: Pace::default(),
            again: Arc::new(Semaphore::new(AT_ONCE)),
            hanging: AtomicUsize::new(0),
            failing: Mutex::default(),
        });
        let places = Arc::new(Semaphore::new(AT_ONCE));
        while let Some(due) = named.next().await {
            // Those of one moment come at one moment.
            tokio::time::sleep_until(due.at).await;
            let Ok(place) = places.clone().acquire_owned().await else { return };
            tokio::spawn(taker.clone().end(due, place));
        }
    }
}

/// Takes bindings.
struct Taker {
    client: Client,
    touched: Touched,
    metrics: Arc<Metrics>,
    /// How many still have their bindings.
    left: Arc<AtomicUsize>,
    pace: Pace,
    /// Places of those that are tried again, so that what comes to its end waits for none of them.
    again: Arc<Semaphore>,
    /// How many deletions wait for an answer without a place.
    hanging: AtomicUsize,
    /// The grants that are tried again: each new list may say once more that the time of one is up.
    failing: Mutex<HashSet<String>>,
}

impl Taker {
    fn failing(&self) -> MutexGuard<'_, HashSet<String>> {
        self.failing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn end(self: Arc<Self>, mut due: Due, mut place: OwnedSemaphorePermit) {
        if self.failing().contains(&due.name) {
            self.left.fetch_sub(1, Ordering::Relaxed);
            return;
        }
        loop {
            let taken = self.attempt(&due, place).await;
            let others = self.left.fetch_sub(1, Ordering::Relaxed) - 1;
            match taken {
                Taken::All | Taken::Nothing => {
                    self.failing().remove(&due.name);
                    if matches!(taken, Taken::All) && others >= AT_ONCE {
                        let item = Item::Grant(due.name);
                        return self.touched.queue.soon(item, Lane::End, AFTER_OTHERS);
                    }
                    return self.touched.ending(&due.name);
                }
                Taken::Some { left, is_outage } => {
                    let is_first = self.failing().insert(due.name.clone());
                    if !is_first && due.tries == 0 {
                        return;
                    }
                    // Its reconciliation says why it does not go. That reads more than it takes to try again, so where
                    // nothing can be read it is spared for a while.
                    if due.tries == SAID_AFTER || (due.tries == 0 && !is_outage) {
                        self.touched.ending(&due.name);
                    }
                    tokio::time::sleep(pause(due.tries)).await;
                    due.left = Some(left);
                    due.tries = due.tries.saturating_add(1);
                }
            }
            self.left.fetch_add(1, Ordering::Relaxed);
            place = match self.again.clone().acquire_owned().await {
                Ok(place) => place,
                Err(_) => return,
            };
        }
    }

    /// Tries once, and gives its place back when that takes long.
    async fn attempt(&self, due: &Due, place: OwnedSemaphorePermit) -> Taken {
        let span = info_span!(
            target: TRACES,
            "expire Grant",
            lapse.kind = "Grant",
            lapse.name = bounded_text(&due.name),
            lapse.outcome = Empty,
        );
        self.pace.turn().await;
        let taken = {
            let count = AtomicUsize::new(0);
            let taking = self.take(due, &count).instrument(span.clone());
            let mut taking = pin!(caught_in(PANIC, taking));
            let hanging = || self.hanging.load(Ordering::Relaxed);
            let early = tokio::select! {
                taken = &mut taking => Some(taken),
                () = place_is_due(Instant::now(), &self.touched.clock, hanging) => None,
            };
            drop(place);
            if let Some(taken) = early {
                taken
            } else {
                let count = count.load(Ordering::Relaxed);
                self.hanging.fetch_add(count, Ordering::Relaxed);
                let taken = taking.await;
                self.hanging.fetch_sub(count, Ordering::Relaxed);
                taken
            }
        };
        let taken = taken.unwrap_or_else(|| {
            error!(grant = %due.name, "taking the bindings of a grant panicked");
            Taken::Nothing
        });
        span.record("lapse.outcome", taken.name());
        taken
    }

    /// Takes what is left, and says how many deletions that is.
    async fn take(&self, due: &Due, count: &AtomicUsize) -> Taken {
        let bindings = match &due.left {
            // Of a right that is over nothing comes back: whatever became of its Grant, they go, each by its UID.
            Some(left) => left.clone(),
            None => match self.recorded(&due.name) {
                Some(bindings) => {
                    self.touched.deadlines.took(&due.name);
                    bindings
                }
                None => return Taken::Nothing,
            },
        };
        count.store(bindings.len(), Ordering::Relaxed);
        let attempts = bindings.into_iter().enumerate().map(async |(number, binding)| {
            // One that is held in many places has as many turns to wait for.
            if number > 0 {
                self.pace.turn().await;
            }
            let RbacRef { kind, namespace, name, uid } = &binding;
            let place = ObjectPlace { kind: *kind, namespace: namespace.as_deref(), name };
            let taken =
                kubernetes::take_back(&self.client, &self.touched.echoes, &place, uid).await;
            match &taken {
                Err(error) if error.is_outage() => self.pace.fails(),
                Err(error) if error.is_late() => {}
                Ok(()) | Err(_) => self.pace.is_answered(),
            }
            (binding, taken)
        });
        let (mut left, mut is_outage) = (Vec::new(), false);
        for (binding, outcome) in join_all(attempts).await {
            if let Err(error) = outcome {
                warn!(grant = %due.name, %error, "it will be tried again");
                self.metrics.revocation_failures.inc();
                is_outage |= error.is_outage();
                left.push(binding);
            }
        }
        if left.is_empty() { Taken::All } else { Taken::Some { left, is_outage } }
    }

    /// The bindings of a grant whose time is up.
    fn recorded(&self, name: &str) -> Option<Vec<RbacRef>> {
        let known = self.touched.index.grant(name)?;
        let grant = known.live().filter(|grant| grant.phase() == GrantPhase::Active)?;
        // The clock is looked at here, too: what is taken does not come back.
        let is_over = self.touched.has_expired(grant);
        is_over.then(|| grant.live.iter().flat_map(|live| live.bindings.clone()).collect())
    }
}

#[cfg(test)]
mod tests;
