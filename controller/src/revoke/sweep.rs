//! The backstop: looks at every binding and role of Lapse, and takes what has no right to be.
//!
//! It goes by the objects' own ends first, page by page as they come, and asks nothing for that: whatever else cannot
//! be read or does not fit, what has expired is gone. Then it goes by what is live. Its memory grows with the objects
//! that stand, and never with what is over.

mod look;

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use anyhow::bail;
use kube::Client;
use lapse_cluster::clock::Clock;
use lapse_cluster::connect;
use lapse_cluster::index::Index;
use lapse_cluster::process::{Heartbeat, TRACES, read_settings};
use lapse_cluster::watch::Revision;
use lapse_engine::grant::Warning;
use tokio_util::sync::CancellationToken;
use tracing::field::Empty;
use tracing::{Instrument as _, info, info_span, warn};

use self::look::Round;
use super::Guards;
use crate::config::OnceOptions;
use crate::metrics::Metrics;
use crate::notify::{Notifier, about};
use crate::touched::Touched;

/// How long the sweep rests between two rounds.
const PERIOD: Duration = Duration::from_secs(20);

/// What sweeps again and again.
pub(crate) struct Sweep {
    pub(crate) client: Client,
    pub(crate) clock: Clock,
    pub(crate) touched: Touched,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) notifier: Notifier,
}

impl Sweep {
    /// Sweeps from the start on, until it is dropped, and says when it has swept `once`.
    pub(crate) async fn run(
        self,
        revision: Arc<Revision>,
        mut guards: Guards,
        beats: Heartbeat,
        once: CancellationToken,
    ) {
        let Self { client, clock, touched, metrics, notifier } = self;
        let mut told = HashSet::new();
        loop {
            // What is known of the grants spares reading those that are live.
            let index = Some(&touched.index).filter(|index| index.knows_all_grants());
            let home = &touched.index.settings().namespace;
            let report = sweep(&client, &clock, home, index, &beats).await;
            once.cancel();
            revision.observe(report.revision.as_deref());
            metrics.orphans_removed.inc_by(report.removed);
            metrics.revocation_failures.inc_by(report.failed);
            metrics.swept(report.is_success().then(|| clock.now()));
            // Its own reconciliation ends it.
            report.unmarked.iter().for_each(|name| touched.ending_if_live(name));
            let now = clock.now();
            let mut late = HashSet::new();
            metrics.gauges.count(&touched.index, now, |grant| {
                touched.ending(&grant.name);
                if let Some(Warning { event, notice }) = lapse_engine::grant::late(grant, now) {
                    if !told.contains(&event) {
                        notifier.tell_once(&event, about(&grant.request), &notice, now);
                    }
                    late.insert(event);
                }
            });
            told = late;
            match guards.look(&client).await {
                Ok(faults) => metrics.gauges.admission(faults.missing.len(), faults.changed.len()),
                Err(error) => warn!(%error, "whether the admission policies stand is not known"),
            }
            metrics.clock_skew.set(clock.skew().as_seconds_f64());
            beats.beat();
            tokio::time::sleep(PERIOD).await;
        }
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
