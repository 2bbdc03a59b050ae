//! A right whose time is up loses its bindings at once, by what its Grant has recorded: nothing needs to be looked up
//! to know that. Everything else about its end follows.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures::StreamExt as _;
use futures::channel::mpsc;
use futures::future::join_all;
use lapse_cluster::objects::ObjectPlace;
use lapse_cluster::process::{TRACES, bounded_text};
use lapse_crds::{GrantPhase, RbacRef};
use tracing::field::Empty;
use tracing::{Instrument as _, info_span, warn};

use crate::elevate::kubernetes;
use crate::metrics::Metrics;
use crate::queue::{Item, Lane};
use crate::touched::Touched;

/// How many grants are taken at once.
const AT_ONCE: usize = 32;

/// How long what follows an end waits while others lose their bindings.
const AFTER_OTHERS: Duration = Duration::from_secs(1);

/// Where grants are named whose time is up.
#[derive(Clone)]
pub(crate) struct Expiry {
    named: mpsc::UnboundedSender<String>,
    /// How many still have their bindings.
    left: Arc<AtomicUsize>,
}

/// The grants that are named.
pub(crate) struct Expired {
    named: mpsc::UnboundedReceiver<String>,
    left: Arc<AtomicUsize>,
}

impl Expiry {
    pub(crate) fn new() -> (Self, Expired) {
        let (sender, named) = mpsc::unbounded();
        let left = Arc::new(AtomicUsize::new(0));
        (Self { named: sender, left: left.clone() }, Expired { named, left })
    }

    /// The time of a grant is up.
    pub(crate) fn is_up(&self, name: &str) {
        self.left.fetch_add(1, Ordering::Relaxed);
        // A closed channel means that the process is stopping.
        let _ = self.named.unbounded_send(name.to_owned());
    }
}

impl Expired {
    /// Takes the bindings of each grant that is named, until the channel closes, and has the rest of its end seen to.
    /// That comes after the bindings of the others: of a thousand rights that end in one instant, the last must not
    /// wait until it is written down that the first is gone.
    pub(crate) async fn run(self, client: kube::Client, touched: Touched, metrics: Arc<Metrics>) {
        let Self { named, left } = self;
        let (client, touched, metrics, left) = (&client, &touched, &metrics, &left);
        named
            .for_each_concurrent(AT_ONCE, async |name| {
                let span = info_span!(
                    target: TRACES,
                    "expire Grant",
                    lapse.kind = "Grant",
                    lapse.name = bounded_text(&name),
                    lapse.outcome = Empty,
                );
                let is_taken = take(client, touched, metrics, &name).instrument(span.clone()).await;
                span.record("lapse.outcome", if is_taken { "taken" } else { "left" });
                drop(span);
                let others = left.fetch_sub(1, Ordering::Relaxed) - 1;
                if is_taken && others >= AT_ONCE {
                    touched.queue.soon(Item::Grant(name), Lane::End, AFTER_OTHERS);
                } else {
                    touched.ending(&name);
                }
            })
            .await;
    }
}

/// Whether its bindings were taken.
async fn take(client: &kube::Client, touched: &Touched, metrics: &Metrics, name: &str) -> bool {
    let Some(known) = touched.index.grant(name) else { return false };
    let Some(grant) = known.live().filter(|grant| grant.phase() == GrantPhase::Active) else {
        return false;
    };
    // The clock is looked at here, too: what is taken does not come back.
    if touched.clock.now() < grant.expires_at.time() {
        return false;
    }
    let bindings = grant.live.iter().flat_map(|live| &live.bindings);
    let taken = bindings.map(async |binding| {
        let RbacRef { kind, namespace, name, uid } = binding;
        let place = ObjectPlace { kind: *kind, namespace: namespace.as_deref(), name };
        kubernetes::take_back(client, &touched.echoes, &place, uid).await
    });
    let mut is_taken = true;
    for outcome in join_all(taken).await {
        if let Err(error) = outcome {
            warn!(grant = %name, %error, "it will be tried again");
            metrics.revocation_failures.inc();
            is_taken = false;
        }
    }
    is_taken
}
