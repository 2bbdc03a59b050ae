//! The lease that granting needs: one process at a time gives rights.
//!
//! Revoking needs no lease, so losing it, or nobody holding it, delays no end. The algorithm is that
//! of client-go's leader election: a holder that has not been seen to renew for the length of the
//! lease, by the clock of who looks, has lost it.

mod hold;

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use kube::api::{ObjectMeta, PostParams};
use kube::{Api, Client};
use lapse_cluster::process::Heartbeat;
use lapse_cluster::watch::Revision;
use lapse_cluster::{CallError, LEASE, bounded, clock};
use lapse_crds::micro_time;
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

pub(crate) use self::hold::Hold;
use crate::metrics::Metrics;
use crate::moment::Moment;

/// How long a lease is worth without renewal.
const DURATION: Duration = Duration::from_secs(8);
/// How often a holder renews, and others look: with the duration, a new holder within 10 s.
const PERIOD: Duration = Duration::from_millis(1500);
/// How much earlier a holder stops than others may start.
const MARGIN: Duration = Duration::from_secs(2);

/// How long others wait at most for a holder that said that it would not renew for longer.
const LONGEST: Duration = Duration::from_mins(10);

/// How long a lease must be gone until it is made again. Whoever takes Lapse away deletes it first, while controllers
/// still run: they must not go on giving for that.
const GONE: Duration = Duration::from_secs(30);

/// Now, by both clocks: a lease lapses by either.
fn moment() -> Moment {
    Moment::now(clock::now())
}

/// How this process stands with the lease.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Standing {
    /// Until when it is held.
    until: Option<Moment>,
    /// How many times it was gained: one that lapsed and was renewed too late was gained anew.
    gained: u64,
}

impl Standing {
    fn is_held(&self, now: Moment) -> bool {
        self.until.is_some_and(|until| !until.has_passed(now))
    }

    fn becomes(self, until: Option<Moment>, now: Moment) -> Self {
        let next = Self { until, ..self };
        let is_gained = next.is_held(now) && !self.is_held(now);
        Self { gained: self.gained + u64::from(is_gained), ..next }
    }
}

/// Whether this process holds the lease.
#[derive(Clone)]
pub(crate) struct Leadership {
    standing: watch::Receiver<Standing>,
    gains_seen: u64,
}

impl Leadership {
    /// Whether the lease is held at this very moment.
    pub(crate) fn is_held(&self) -> bool {
        self.standing.borrow().is_held(moment())
    }

    /// Waits until the lease is gained, after having been lost or never held.
    pub(crate) async fn gained(&mut self) {
        let seen = self.gains_seen;
        let gains = self.standing.wait_for(|standing| standing.gained > seen).await;
        let Ok(gains) = gains.map(|standing| standing.gained) else {
            // The candidate is gone, and with it the process.
            return std::future::pending().await;
        };
        self.gains_seen = gains;
    }
}

#[cfg(test)]
impl Leadership {
    /// Of whoever holds the lease for longer than any test takes.
    pub(crate) fn of_the_leader() -> Self {
        let until = Some(moment().after(Duration::from_hours(1)));
        let (_, standing) = watch::channel(Standing { until, gained: 1 });
        Self { standing, gains_seen: 0 }
    }
}

/// What is known of the lease.
#[derive(Clone, Debug, PartialEq)]
struct Seen {
    /// Holder and time of the last renewal, as written.
    record: (Option<String>, Option<DateTime<Utc>>),
    /// When this process first saw that record.
    at: Instant,
    /// For how long it counts.
    counts_for: Duration,
}

/// A lease that is not there.
#[derive(Clone, Copy, Debug)]
struct Gone {
    since: Instant,
}

impl Gone {
    /// Whether it is to be made again: it counts as held for as long as what was last seen of it said, so that what
    /// drains Lapse is not undone by its deletion.
    fn is_over(self, seen: Option<&Seen>, now: Instant) -> bool {
        let counts = seen.is_none_or(|seen| now >= seen.at + seen.counts_for);
        counts && now >= self.since + GONE
    }
}

/// For how long a record counts that is not renewed: as long as it says, since what drains Lapse leaves one that
/// outlasts the end of all controllers. None counts for less than what its holder relies on.
fn counts_for(spec: &LeaseSpec) -> Duration {
    let said = spec.lease_duration_seconds.and_then(|seconds| u64::try_from(seconds).ok());
    Duration::from_secs(said.unwrap_or_default()).clamp(DURATION, LONGEST)
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
        Some(_) if now >= seen.at + seen.counts_for => Move::Acquire,
        Some(_) => Move::Wait,
    }
}

/// Tries to hold the lease until asked to stop, then gives it back.
pub(crate) struct Candidate {
    api: Api<Lease>,
    me: String,
    standing: watch::Sender<Standing>,
    seen: Option<Seen>,
    /// The lease as this process wrote it last: as long as nobody else does, renewing it takes one call.
    own: Option<Lease>,
    /// How the lease was labelled and annotated: Helm knows its own by that.
    labelled: ObjectMeta,
    gone: Option<Gone>,
    metrics: Arc<Metrics>,
    revision: Arc<Revision>,
}

impl Candidate {
    pub(crate) fn new(
        client: &Client,
        namespace: &str,
        me: &str,
        metrics: &Arc<Metrics>,
        revision: &Arc<Revision>,
    ) -> (Self, Leadership) {
        let (standing, receiver) = watch::channel(Standing::default());
        let api = Api::namespaced(client.clone(), namespace);
        let leadership = Leadership { standing: receiver, gains_seen: 0 };
        let labelled = labelled(&ObjectMeta::default());
        let (metrics, revision) = (metrics.clone(), revision.clone());
        let (me, seen, own, gone) = (me.to_owned(), None, None, None);
        let candidate = Self { api, me, standing, seen, own, labelled, gone, metrics, revision };
        (candidate, leadership)
    }

    pub(crate) async fn run(mut self, beats: Heartbeat, stop: CancellationToken) {
        loop {
            beats.beat();
            match self.step().await {
                Ok(renewed) => {
                    self.publish(renewed.map(|at| at.after(DURATION.saturating_sub(MARGIN))));
                }
                // What was held stays held until it lapses by itself.
                Err(error) => {
                    warn!(%error, "the lease could not be renewed");
                    let until = self.standing.borrow().until;
                    self.publish(until.filter(|until| !until.has_passed(moment())));
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

    fn publish(&self, until: Option<Moment>) {
        let was = *self.standing.borrow();
        let now = moment();
        let next = was.becomes(until, now);
        if was.until.is_some() != next.is_held(now) || was.gained != next.gained {
            info!(identity = %self.me, held = next.is_held(now), "the lease for granting");
        }
        self.metrics.leader.set(i64::from(next.is_held(now)));
        self.standing.send_replace(next);
    }

    /// Holds the lease, or tries to. Returns when the write began by which it is held: nobody else counts from before.
    async fn step(&mut self) -> Result<Option<Moment>, CallError> {
        if let Some(own) = self.own.take() {
            let spec = own.spec.clone().unwrap_or_default();
            let started = moment();
            match self.write(own, &spec, Move::Renew).await {
                Ok(()) => return Ok(Some(started)),
                // Somebody wrote it.
                Err(error) if error.is_conflict() => {}
                Err(error) => return Err(error),
            }
        }
        let lease = match bounded("reading the lease", self.api.get(LEASE)).await {
            Err(error) if error.is_not_found() => return self.make_again(error).await,
            other => other?,
        };
        self.revision.observe_lease(lease.metadata.resource_version.as_deref());
        let now = Instant::now();
        self.gone = None;
        self.labelled = labelled(&lease.metadata);
        let spec = lease.spec.clone().unwrap_or_default();
        let renewed = spec.renew_time.as_ref().map(lapse_crds::from_micro_time);
        let record = (spec.holder_identity.clone(), renewed);
        let seen = match self.seen.take() {
            Some(seen) if seen.record == record => seen,
            _ => Seen { record, at: now, counts_for: counts_for(&spec) },
        };
        let next = next_move(&seen, &self.me, now);
        self.seen = Some(seen);
        if next == Move::Wait {
            return Ok(None);
        }
        let started = moment();
        match self.write(lease, &spec, next).await {
            Ok(()) => Ok(Some(started)),
            // Somebody else was faster.
            Err(error) if error.is_conflict() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Makes the lease again that somebody deleted, once nobody can rely on it.
    async fn make_again(&mut self, why: CallError) -> Result<Option<Moment>, CallError> {
        let now = moment();
        let gone = *self.gone.get_or_insert(Gone { since: now.monotonic });
        if !gone.is_over(self.seen.as_ref(), now.monotonic) {
            return Err(why);
        }
        warn!("the lease was deleted, and is made again");
        let lease = Lease { metadata: self.labelled.clone(), spec: None };
        match self.write(lease, &LeaseSpec::default(), Move::Acquire).await {
            Ok(()) => Ok(Some(now)),
            // Somebody else was faster.
            Err(error) if error.is_conflict() || error.is_already_exists() => Ok(None),
            Err(error) => Err(error),
        }
    }

    async fn write(&mut self, lease: Lease, spec: &LeaseSpec, next: Move) -> Result<(), CallError> {
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
        let own = self.replace(&lease).await?;
        self.revision.observe_lease(own.metadata.resource_version.as_deref());
        self.own = Some(own);
        Ok(())
    }

    async fn replace(&self, lease: &Lease) -> Result<Lease, CallError> {
        let post = PostParams::default();
        bounded("writing the lease", self.api.replace(LEASE, &post, lease)).await
    }

    /// Gives the lease back, so that another process need not wait for it to lapse.
    async fn release(&self) -> Result<(), CallError> {
        self.publish(None);
        let mut lease = bounded("reading the lease", self.api.get(LEASE)).await?;
        match &mut lease.spec {
            Some(spec) if spec.holder_identity.as_ref() == Some(&self.me) => {
                spec.holder_identity = None;
                self.replace(&lease).await.map(drop)
            }
            _ => Ok(()),
        }
    }
}

/// What a lease that is made in place of this one has of it: the API server makes one of a write that names no version.
fn labelled(metadata: &ObjectMeta) -> ObjectMeta {
    ObjectMeta {
        name: Some(LEASE.to_owned()),
        labels: metadata.labels.clone(),
        annotations: metadata.annotations.clone(),
        ..ObjectMeta::default()
    }
}

/// However it ends, by a mistake, say, nobody is told that this process leads.
impl Drop for Candidate {
    fn drop(&mut self) {
        self.publish(None);
    }
}

#[cfg(test)]
mod tests;
