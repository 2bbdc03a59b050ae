//! The backstop: looks at every binding and role of Lapse, and takes what has no right to be.
//!
//! It goes by the objects' own ends first, page by page as they come, and asks nothing for that: whatever else cannot
//! be read or does not fit, what has expired is gone. Then it goes by what is live. Its memory grows with the objects
//! that stand, and never with what is over.

mod blind;
mod look;
mod missed;
mod said;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use anyhow::bail;
use futures::FutureExt as _;
use kube::Client;
use lapse_cluster::clock::Clock;
use lapse_cluster::index::Index;
use lapse_cluster::process::{Heartbeat, TRACES, caught, caught_in, read_settings};
use lapse_cluster::watch::{Listener, Revision};
use lapse_cluster::{Reader, connect, jitter};
use lapse_engine::grant::Warning;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::field::Empty;
use tracing::{Instrument as _, info, info_span, warn};

use self::look::Round;
use self::missed::Missed;
use self::said::Looked;
use super::Guards;
use crate::config::OnceOptions;
use crate::metrics::Metrics;
use crate::notify::{Notifier, Telling, about};
use crate::touched::Touched;

/// As what a panic is counted, and what is said of it.
const PANIC: &str = "sweep";
const PANICKED: &str = "it panicked; the log says where";

/// How long the sweep rests between two rounds.
const PERIOD: Duration = Duration::from_secs(20);

/// What sweeps again and again.
pub(crate) struct Sweep {
    pub(crate) reader: Reader,
    pub(crate) clock: Clock,
    pub(crate) touched: Touched,
    /// Who is told what no watch has shown.
    pub(crate) listener: Arc<dyn Listener>,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) notifier: Notifier,
}

impl Sweep {
    /// Sweeps from the start on, until it is dropped, and says when it has swept `once`. A part that panics is counted and
    /// keeps no other.
    pub(crate) async fn run(
        self,
        revision: Arc<Revision>,
        mut guards: Guards,
        beats: Heartbeat,
        once: CancellationToken,
    ) {
        let mut told = HashMap::new();
        let said = Looked::default();
        loop {
            let (report, ()) = tokio::join!(self.sweep(&beats), said.begin(&self.reader));
            once.cancel();
            let metrics = &self.metrics;
            revision.observe(report.revision.as_deref());
            let begun = Instant::now();
            let missed = self.missed(&beats, &said).await;
            // What was missed is looked for while the sweep rests.
            let looked_for = begun.elapsed().min(PERIOD / 2);
            metrics.orphans_removed.inc_by(report.removed);
            metrics.revocation_failures.inc_by(report.failed);
            let is_success = report.is_success() && missed.is_empty();
            metrics.swept(is_success.then(|| self.clock.now()));
            caught(PANIC, || self.overdue(&report, &mut told));
            let looked = caught_in(PANIC, guards.look(self.reader.client()).boxed()).await;
            match looked {
                Some(Ok(faults)) => {
                    metrics.gauges.admission(faults.missing.len(), faults.changed.len());
                }
                Some(Err(error)) => {
                    warn!(%error, "whether the admission policies stand is not known");
                }
                None => {}
            }
            metrics.clock_skew.set(self.clock.skew().as_seconds_f64());
            beats.beat();
            tokio::time::sleep(PERIOD.saturating_sub(looked_for)).await;
        }
    }

    async fn sweep(&self, beats: &Heartbeat) -> Report {
        // What is known of the grants spares reading those that are live.
        let index = Some(&self.touched.index).filter(|index| index.knows_live_grants());
        let home = &self.touched.index.settings().namespace;
        let swept = sweep(self.reader.client(), &self.clock, home, index, beats);
        caught_in(PANIC, swept).await.unwrap_or_else(|| Report::unseen(PANICKED))
    }

    /// What no watch has shown. Returns what could not be looked at.
    async fn missed(&self, beats: &Heartbeat, looked: &Looked) -> Vec<String> {
        if !self.touched.index.knows_live_grants() {
            return Vec::new();
        }
        let (reader, touched, listener) = (&self.reader, &self.touched, &*self.listener);
        let missed = Missed { reader, touched, listener, beats, looked };
        caught_in(PANIC, missed.look()).await.unwrap_or_else(|| vec![PANICKED.to_owned()])
    }

    /// Has those looked at that are due to end, and tells of each that is late.
    fn overdue(&self, report: &Report, told: &mut HashMap<String, Telling>) {
        // Its own reconciliation ends it.
        report.unmarked.iter().for_each(|name| self.touched.ending_if_live(name));
        let now = self.clock.now();
        let mut late = HashMap::new();
        self.metrics.gauges.count(&self.touched.index, now, |grant| {
            self.touched.ending(&grant.name);
            if let Some(Warning { event, notice }) = lapse_engine::grant::late(grant, now) {
                let is_told = told.remove(&event).filter(|telling| !telling.was_dropped());
                let telling = is_told.unwrap_or_else(|| {
                    self.notifier.tell_once(&event, about(&grant.request), &notice, now)
                });
                late.insert(event, telling);
            }
        });
        *told = late;
    }
}

/// What a sweep found, or a part of it.
#[derive(Debug, Default)]
struct Report {
    /// Objects that were removed.
    removed: u64,
    /// Objects that could not be removed.
    failed: u64,
    /// Objects whose Grant cannot be decoded. That is told on the Grant, and no failure of the sweep.
    unreadable: u64,
    /// What could not be looked at, if anything: the objects of other kinds are swept nevertheless.
    blind: Vec<String>,
    /// The grants whose marker does not stand, though something does that needs it.
    unmarked: Vec<String>,
    /// The revision of the cluster at that moment.
    revision: Option<String>,
}

impl Report {
    /// Nothing could be looked at.
    fn unseen(why: &str) -> Self {
        Self { blind: vec![why.to_owned()], ..Self::default() }
    }

    fn is_success(&self) -> bool {
        self.failed == 0 && self.blind.is_empty()
    }

    fn add(&mut self, part: Self) {
        let Self { removed, failed, unreadable, blind, unmarked, revision } = part;
        self.removed += removed;
        self.failed += failed;
        self.unreadable += unreadable;
        self.blind.extend(blind);
        self.unmarked.extend(unmarked);
        self.revision = revision.or(self.revision.take());
    }
}

/// Looks at everything once. `index`: what is known of the Grants; without it, they are asked for.
async fn sweep(
    client: &Client,
    clock: &Clock,
    home: &str,
    index: Option<&Index>,
    beats: &Heartbeat,
) -> Report {
    let span = info_span!(
        target: TRACES,
        "sweep",
        otel.status_code = Empty,
        lapse.removed = Empty,
        lapse.outcome = Empty,
    );
    let round = Round::new(client, clock, home, index, beats);
    let report = round.look().instrument(span.clone()).await;
    span.record("lapse.removed", report.removed);
    span.record("lapse.outcome", if report.is_success() { "succeeded" } else { "failed" });
    if !report.is_success() {
        span.record("otel.status_code", "ERROR");
    }
    report
}

/// The same from anywhere on: what one round does not come to comes first in another.
fn rotated<T>(mut all: Vec<T>) -> Vec<T> {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "any number will do"
    )]
    let first = (all.len() as f64 * jitter()) as usize;
    let first = first.min(all.len());
    all.rotate_left(first);
    all
}

/// The command `sweep`.
pub(crate) async fn sweep_once(options: OnceOptions) -> anyhow::Result<()> {
    let settings = read_settings(&options.settings)?;
    let clock = Clock::default();
    let client = connect(&clock, "lapse-controller").await?;
    let report = sweep(&client, &clock, &settings.namespace, None, &Heartbeat::new()).await;
    let Report { removed, failed, unreadable, .. } = report;
    info!(removed, failed, unreadable, "swept");
    if failed > 0 {
        bail!("{failed} objects could not be removed; see the messages above");
    }
    if let Some(why) = report.blind.first() {
        bail!("what has expired is gone, but not all could be looked at: {why}");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use lapse_crds::GrantPhase;
    use serde_json::Value;
    use tokio::sync::mpsc;

    use super::*;
    use crate::fake::{api_server, context, held, refusal};
    use crate::queue::{Item, Lane};

    const LONG_AGO: &str = "2026-01-02T00:00:00Z";
    const FAR: &str = "2999-01-01T00:00:00Z";

    /// A sweep in a cluster that refuses the first event, and what the others are called.
    fn sweep() -> (Sweep, mpsc::UnboundedReceiver<String>) {
        let (sender, written) = mpsc::unbounded_channel();
        let tries = Arc::new(AtomicUsize::new(0));
        let client = api_server(move |request| {
            let (sender, tries) = (sender.clone(), tries.clone());
            async move {
                if tries.fetch_add(1, Ordering::Relaxed) == 0 {
                    return refusal(403, "Forbidden");
                }
                let body = request.into_body().collect_bytes().await.unwrap();
                let event: Value = serde_json::from_slice(&body).unwrap();
                sender.send(event["metadata"]["name"].as_str().unwrap().to_owned()).unwrap();
                (201, event)
            }
        });
        let known = context(client.clone());
        let dropped = known.metrics.events_dropped.clone();
        let (notifier, writers) = Notifier::new(client, "me", dropped);
        tokio::spawn(writers.run());
        let sweep = Sweep {
            reader: known.reader,
            clock: known.clock,
            touched: known.touched,
            listener: Arc::new(()),
            metrics: known.metrics,
            notifier,
        };
        (sweep, written)
    }

    /// A right that its own timer did not end is looked at each time, and told of until somebody heard it, once.
    #[tokio::test(start_paused = true)]
    async fn what_is_overdue_is_looked_at_each_time_and_told_once() {
        let (sweep, mut written) = sweep();
        let touched = &sweep.touched;
        for (name, until) in [("late", LONG_AGO), ("unmarked", FAR), ("held", FAR)] {
            drop(touched.index.wrote_grant(&held(name, until)));
        }
        let report = Report { unmarked: vec!["unmarked".to_owned()], ..Report::default() };
        let mut told = HashMap::new();
        for (round, is_written) in [false, true, false].into_iter().enumerate() {
            sweep.overdue(&report, &mut told);
            let waiting = touched.queue.waiting();
            let ends = ["late", "unmarked"].map(|name| (Item::Grant(name.to_owned()), Lane::End));
            assert!(ends.iter().all(|end| waiting.contains(end)), "{waiting:?}");
            assert_eq!(waiting.len(), ends.len(), "{waiting:?}");
            sweep.notifier.finish().await;
            let event = "uid-of-late.revocation-overdue".to_owned();
            assert_eq!(written.try_recv().ok(), is_written.then_some(event), "round {round}");
            assert_eq!(told.len(), 1);
        }
        let mut ended = held("late", LONG_AGO);
        ended.metadata.resource_version = Some("2".to_owned());
        ended.status.as_mut().unwrap().phase = GrantPhase::Ended;
        drop(touched.index.wrote_grant(&ended));
        sweep.overdue(&Report::default(), &mut told);
        assert!(told.is_empty(), "what has ended is not kept");
    }
}
