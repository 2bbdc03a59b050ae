//! The lease that granting needs: one process at a time gives rights.
//!
//! Revoking needs no lease, so losing it, or nobody holding it, delays no end. The algorithm is that
//! of client-go's leader election: a holder that has not been seen to renew for the length of the
//! lease, by the clock of who looks, has lost it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use kube::api::PostParams;
use kube::{Api, Client};
use lapse_cluster::{CallError, bounded, clock};
use lapse_crds::micro_time;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::metrics::Metrics;

/// The name of the lease, which the chart creates.
const NAME: &str = "lapse-controller";
/// How long a lease is worth without renewal.
const DURATION: Duration = Duration::from_secs(8);
/// How often a holder renews, and others look: with the duration, a new holder within 10 s.
const PERIOD: Duration = Duration::from_millis(1500);
/// How much earlier a holder stops than others may start.
const MARGIN: Duration = Duration::from_secs(2);

/// Until when this process holds the lease, by its monotonic clock.
#[derive(Clone)]
pub(crate) struct Leadership(watch::Receiver<Option<Instant>>);

impl Leadership {
    /// Whether the lease is held at this very moment.
    pub(crate) fn is_held(&self) -> bool {
        self.0.borrow().is_some_and(|until| Instant::now() < until)
    }

    /// Waits until the lease is gained, after having been lost or never held.
    pub(crate) async fn gained(&mut self) {
        let lost = |until: &Option<Instant>| until.is_none_or(|until| Instant::now() >= until);
        let gained = |until: &Option<Instant>| !lost(until);
        // An error means that the candidate is gone, and with it the process.
        if self.0.wait_for(lost).await.is_err() || self.0.wait_for(gained).await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

/// What is known of the lease.
#[derive(Clone, Debug, PartialEq)]
struct Seen {
    /// Holder and time of the last renewal, as written.
    record: (Option<String>, Option<DateTime<Utc>>),
    /// When this process first saw that record.
    at: Instant,
}

/// What to do about the lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Move {
    Renew,
    Acquire,
    Wait,
}

fn next_move(seen: &Seen, me: &str, now: Instant) -> Move {
    match seen.record.0.as_deref() {
        Some(holder) if holder == me => Move::Renew,
        None | Some("") => Move::Acquire,
        Some(_) if now >= seen.at + DURATION => Move::Acquire,
        Some(_) => Move::Wait,
    }
}

/// Tries to hold the lease until asked to stop, then gives it back.
pub(crate) struct Candidate {
    api: Api<Lease>,
    me: String,
    until: watch::Sender<Option<Instant>>,
    seen: Option<Seen>,
    metrics: Arc<Metrics>,
}

impl Candidate {
    pub(crate) fn new(
        client: Client,
        namespace: &str,
        me: String,
        metrics: Arc<Metrics>,
    ) -> (Self, Leadership) {
        let (until, leadership) = watch::channel(None);
        let api = Api::namespaced(client, namespace);
        (Self { api, me, until, seen: None, metrics }, Leadership(leadership))
    }

    pub(crate) async fn run(mut self, stop: CancellationToken) {
        loop {
            let started = Instant::now();
            match self.step(started).await {
                Ok(held) => self.publish(held.then(|| started + DURATION.saturating_sub(MARGIN))),
                // What was held stays held until it lapses by itself.
                Err(error) => {
                    warn!(%error, "the lease could not be renewed");
                    let until = *self.until.borrow();
                    self.publish(until.filter(|until| Instant::now() < *until));
                }
            }
            tokio::select! {
                () = tokio::time::sleep(PERIOD) => {}
                () = stop.cancelled() => break,
            }
        }
        if let Err(error) = self.release().await {
            warn!(%error, "the lease could not be given back; it lapses by itself");
        }
    }

    fn publish(&self, until: Option<Instant>) {
        let was = self.until.borrow().is_some();
        if was != until.is_some() {
            info!(identity = %self.me, held = until.is_some(), "the lease for granting");
        }
        self.metrics.leader.set(i64::from(until.is_some()));
        self.until.send_replace(until);
    }

    async fn step(&mut self, now: Instant) -> Result<bool, CallError> {
        let lease = bounded("reading the lease", self.api.get(NAME)).await?;
        let spec = lease.spec.clone().unwrap_or_default();
        let renewed = spec.renew_time.as_ref().map(lapse_crds::from_micro_time);
        let record = (spec.holder_identity.clone(), renewed);
        let seen = match self.seen.take() {
            Some(seen) if seen.record == record => seen,
            _ => Seen { record, at: now },
        };
        let next = next_move(&seen, &self.me, now);
        self.seen = Some(seen);
        if next == Move::Wait {
            return Ok(false);
        }
        let written = self.write(lease, &spec, next).await;
        match written {
            Ok(()) => Ok(true),
            // Somebody else was faster.
            Err(error) if error.is_conflict() => Ok(false),
            Err(error) => Err(error),
        }
    }

    async fn write(&self, lease: Lease, spec: &LeaseSpec, next: Move) -> Result<(), CallError> {
        let now = micro_time(clock::now());
        let acquiring = next == Move::Acquire;
        let transitions = spec.lease_transitions.unwrap_or(0) + i32::from(acquiring);
        let spec = LeaseSpec {
            holder_identity: Some(self.me.clone()),
            lease_duration_seconds: i32::try_from(DURATION.as_secs()).ok(),
            acquire_time: if acquiring { Some(now.clone()) } else { spec.acquire_time.clone() },
            renew_time: Some(now),
            lease_transitions: Some(transitions),
            ..spec.clone()
        };
        // The resource version that was read makes this fail if anybody wrote in between.
        let lease = Lease { spec: Some(spec), ..lease };
        self.replace(&lease).await
    }

    async fn replace(&self, lease: &Lease) -> Result<(), CallError> {
        let post = PostParams::default();
        bounded("writing the lease", self.api.replace(NAME, &post, lease)).await.map(|_| ())
    }

    /// Gives the lease back, so that another process need not wait for it to lapse.
    async fn release(&self) -> Result<(), CallError> {
        self.publish(None);
        let mut lease = bounded("reading the lease", self.api.get(NAME)).await?;
        match &mut lease.spec {
            Some(spec) if spec.holder_identity.as_ref() == Some(&self.me) => {
                spec.holder_identity = None;
                self.replace(&lease).await
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case(Some("me"), 0, Move::Renew)]
    #[case(Some("me"), 60, Move::Renew)]
    #[case(None, 0, Move::Acquire)]
    #[case(Some(""), 0, Move::Acquire)]
    #[case(Some("other"), 7, Move::Wait)]
    #[case(Some("other"), 8, Move::Acquire)]
    fn takes_over_only_what_has_lapsed(
        #[case] holder: Option<&str>,
        #[case] seconds: u64,
        #[case] expected: Move,
    ) {
        let at = Instant::now();
        let seen = Seen { record: (holder.map(ToOwned::to_owned), None), at };
        assert_eq!(next_move(&seen, "me", at + Duration::from_secs(seconds)), expected);
    }

    #[test]
    fn a_holder_stops_before_others_may_start() {
        assert!(DURATION > MARGIN + 2 * PERIOD, "one lost renewal must not lose the lease");
        assert!(DURATION + PERIOD < Duration::from_secs(10), "a new holder within 10 s");
    }
}
