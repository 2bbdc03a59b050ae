//! A right whose time is up loses its bindings at once, by what its Grant has recorded: nothing needs to be looked up
//! to know that. Everything else about its end follows.
//!
//! What cannot be taken is tried again by itself, and nothing else is read for that: whatever kept it from going, it goes
//! within a second of that being over.

use std::panic::AssertUnwindSafe;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures::channel::mpsc;
use futures::future::join_all;
use futures::{FutureExt as _, StreamExt as _};
use kube::Client;
use lapse_cluster::jitter;
use lapse_cluster::objects::ObjectPlace;
use lapse_cluster::process::{TRACES, bounded_text};
use lapse_crds::{GrantPhase, RbacRef};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;
use tracing::field::Empty;
use tracing::{Instrument as _, error, info_span, warn};

use super::pace::Pace;
use crate::elevate::kubernetes;
use crate::metrics::Metrics;
use crate::queue::{Item, Lane};
use crate::touched::Touched;

/// How many grants are taken at once.
const AT_ONCE: usize = 32;
/// How long a grant keeps the others from its place: a namespace whose objects cannot be deleted, because somebody's
/// admission webhook hangs there, is not to hold all of them.
const PLACE_FOR: Duration = Duration::from_secs(1);
/// How long what follows an end waits while others lose their bindings.
const AFTER_OTHERS: Duration = Duration::from_secs(1);
/// The first and the longest wait between two tries.
const AGAIN: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(1));
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
    /// Some are left, and whether the API server has too much to do.
    Some { left: Vec<RbacRef>, is_throttled: bool },
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
        self.send(Due { name: name.to_owned(), at, left: None, tries: 0 });
    }

    fn send(&self, due: Due) {
        self.left.fetch_add(1, Ordering::Relaxed);
        // A closed channel means that the process is stopping.
        let _ = self.named.unbounded_send(due);
    }
}

impl Expired {
    /// Takes the bindings of each grant that is named, until it is dropped, and has the rest of its end seen to.
    /// That comes after the bindings of the others: of a thousand rights that end in one instant, the last must not
    /// wait until it is written down that the first is gone.
    pub(crate) async fn run(self, client: Client, touched: Touched, metrics: Arc<Metrics>) {
        let Self { mut named, expiry } = self;
        let taker = Arc::new(Taker { client, touched, metrics, expiry, pace: Pace::default() });
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
    expiry: Expiry,
    pace: Pace,
}

impl Taker {
    async fn end(self: Arc<Self>, due: Due, place: OwnedSemaphorePermit) {
        let span = info_span!(
            target: TRACES,
            "expire Grant",
            lapse.kind = "Grant",
            lapse.name = bounded_text(&due.name),
            lapse.outcome = Empty,
        );
        let taken = {
            let taking = self.take(&due).instrument(span.clone());
            let mut taking = pin!(AssertUnwindSafe(taking).catch_unwind());
            let early = tokio::time::timeout(PLACE_FOR, &mut taking).await.ok();
            drop(place);
            match early {
                Some(taken) => taken,
                None => taking.await,
            }
        };
        let taken = taken.unwrap_or_else(|_| {
            error!(grant = %due.name, "taking the bindings of a grant panicked");
            Taken::Nothing
        });
        span.record("lapse.outcome", taken.name());
        drop(span);
        let others = self.expiry.left.fetch_sub(1, Ordering::Relaxed) - 1;
        let Due { name, tries, .. } = due;
        match taken {
            Taken::All if others >= AT_ONCE => {
                self.touched.queue.soon(Item::Grant(name), Lane::End, AFTER_OTHERS);
            }
            Taken::All | Taken::Nothing => self.touched.ending(&name),
            Taken::Some { left, is_throttled } => {
                // Its reconciliation says why it does not go. That reads more than it takes to try again, so who has too
                // much to do is spared it for a while.
                if tries == SAID_AFTER || (tries == 0 && !is_throttled) {
                    self.touched.ending(&name);
                }
                tokio::time::sleep(pause(tries)).await;
                let (at, tries) = (Instant::now(), tries.saturating_add(1));
                self.expiry.send(Due { name, at, left: Some(left), tries });
            }
        }
    }

    async fn take(&self, due: &Due) -> Taken {
        let bindings = match &due.left {
            // Of a right that is over nothing comes back: whatever became of its Grant, they go, each by its UID.
            Some(left) => left.clone(),
            None => match self.recorded(&due.name) {
                Some(bindings) => bindings,
                None => return Taken::Nothing,
            },
        };
        self.pace.turn().await;
        let attempts = bindings.into_iter().map(async |binding| {
            let RbacRef { kind, namespace, name, uid } = &binding;
            let place = ObjectPlace { kind: *kind, namespace: namespace.as_deref(), name };
            let taken =
                kubernetes::take_back(&self.client, &self.touched.echoes, &place, uid).await;
            (binding, taken)
        });
        let (mut left, mut is_throttled) = (Vec::new(), false);
        for (binding, outcome) in join_all(attempts).await {
            if let Err(error) = outcome {
                warn!(grant = %due.name, %error, "it will be tried again");
                self.metrics.revocation_failures.inc();
                is_throttled |= error.is_throttled();
                left.push(binding);
            }
        }
        self.pace.heard(is_throttled);
        if left.is_empty() { Taken::All } else { Taken::Some { left, is_throttled } }
    }

    /// The bindings of a grant whose time is up.
    fn recorded(&self, name: &str) -> Option<Vec<RbacRef>> {
        let known = self.touched.index.grant(name)?;
        let grant = known.live().filter(|grant| grant.phase() == GrantPhase::Active)?;
        // The clock is looked at here, too: what is taken does not come back.
        let is_over = self.touched.clock.now() >= grant.expires_at.time();
        is_over.then(|| grant.live.iter().flat_map(|live| live.bindings.clone()).collect())
    }
}

/// How long to wait after so many tries.
fn pause(tries: u32) -> Duration {
    let (first, most) = AGAIN;
    let pause = first.saturating_mul(1 << tries.min(8)).min(most);
    // Those that failed together do not try again together.
    pause.mul_f64(0.5 + jitter() / 2.0)
}

#[cfg(test)]
mod tests;
