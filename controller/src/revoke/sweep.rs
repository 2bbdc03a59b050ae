//! The backstop: looks at every binding and role of Lapse, and takes what has no right to be.
//!
//! It goes by the objects' own ends first, page by page as they come, and asks nothing for that: whatever else cannot
//! be read or does not fit, what has expired is gone. Then it goes by what is live. Its memory grows with the objects
//! that stand, and never with what is over.

use std::collections::HashMap;
use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use anyhow::bail;
use k8s_openapi::api::rbac::v1::{ClusterRole, ClusterRoleBinding, Role, RoleBinding};
use kube::api::{ListParams, PartialObjectMeta};
use kube::{Api, Client, Resource, ResourceExt as _};
use lapse_cluster::clock::Clock;
use lapse_cluster::index::Index;
use lapse_cluster::process::{Heartbeat, TRACES, read_settings};
use lapse_cluster::watch::Revision;
use lapse_cluster::{CallError, Stored, bounded, connect, next_page, read};
use lapse_crds::{Grant, MANAGED_BY, MANAGED_BY_LAPSE, RbacKind};
use lapse_engine::Read;
use lapse_engine::grant::{Fate, ObjectMarks, fate};
use serde::de::DeserializeOwned;
use tracing::field::Empty;
use tracing::{Instrument as _, info, info_span, warn};

use super::Guards;
use super::orphans::remove;
use crate::config::OnceOptions;
use crate::metrics::Metrics;
use crate::touched::Touched;

/// How long the sweep rests between two rounds.
const PERIOD: Duration = Duration::from_secs(20);
/// How many objects are listed at once.
const PAGE: u32 = 500;

/// Sweeps again and again, until it is dropped.
pub(crate) async fn sweeping(
    client: Client,
    clock: Clock,
    touched: Touched,
    metrics: Arc<Metrics>,
    revision: Revision,
    mut guards: Guards,
    beats: Heartbeat,
) {
    loop {
        beats.beat();
        tokio::time::sleep(PERIOD).await;
        // What is known of the grants spares reading those that are live.
        let report = sweep(&client, &clock, Some(&touched.index), &beats).await;
        revision.observe(report.revision.as_deref());
        metrics.orphans_removed.inc_by(report.removed);
        metrics.revocation_failures.inc_by(report.failed);
        metrics.swept(report.is_success().then(|| clock.now()));
        metrics.gauges.count(&touched.index, clock.now(), |name| touched.ending(name));
        match guards.look(&client).await {
            Ok(faults) => metrics.gauges.admission(faults.missing.len(), faults.changed.len()),
            Err(error) => warn!(%error, "whether the admission policies stand is not known"),
        }
        metrics.clock_skew.set(clock.skew().as_seconds_f64());
    }
}

/// What a sweep found.
#[derive(Debug, Default)]
struct Report {
    /// Objects that were removed.
    removed: u64,
    /// Objects that could not be removed.
    failed: u64,
    /// What could not be looked at, if anything: the objects of other kinds are swept nevertheless.
    blind: Vec<String>,
    /// The revision of the cluster at that moment.
    revision: Option<String>,
    /// It goes on.
    beats: Heartbeat,
}

impl Report {
    fn is_success(&self) -> bool {
        self.failed == 0 && self.blind.is_empty()
    }
}

/// Looks at everything once. `index`: what is known of the Grants; without it, they are asked for.
async fn sweep(client: &Client, clock: &Clock, index: Option<&Index>, beats: &Heartbeat) -> Report {
    let span = info_span!(
        target: TRACES,
        "sweep",
        otel.status_code = Empty,
        lapse.removed = Empty,
        lapse.outcome = Empty,
    );
    let report = look(client, clock, index, beats).instrument(span.clone()).await;
    span.record("lapse.removed", report.removed);
    span.record("lapse.outcome", if report.is_success() { "succeeded" } else { "failed" });
    if !report.is_success() {
        span.record("otel.status_code", "ERROR");
    }
    report
}

async fn look(client: &Client, clock: &Clock, index: Option<&Index>, beats: &Heartbeat) -> Report {
    let mut report = Report { beats: beats.clone(), ..Report::default() };
    // What has expired goes as it is listed. What is left is listed before the Grants: a Grant is written before its
    // objects, so each of them has its Grant in a list that is made later.
    let mut standing = Vec::new();
    expired::<RoleBinding>(client, clock, RbacKind::RoleBinding, &mut standing, &mut report).await;
    expired::<ClusterRoleBinding>(
        client,
        clock,
        RbacKind::ClusterRoleBinding,
        &mut standing,
        &mut report,
    )
    .await;
    expired::<Role>(client, clock, RbacKind::Role, &mut standing, &mut report).await;
    expired::<ClusterRole>(client, clock, RbacKind::ClusterRole, &mut standing, &mut report).await;
    // One that the index knows to be live is left alone. It may lag behind by a Grant that ended a moment ago, whose
    // own end takes its objects.
    let suspects: Vec<ObjectMarks> =
        standing.into_iter().filter(|object| !index.is_some_and(|i| is_live(i, object))).collect();
    let live = if index.is_none() && !suspects.is_empty() {
        match live_grants(client).await {
            Ok(live) => live,
            Err(error) => {
                warn!(%error, "the sweep goes by the objects' own ends alone");
                report.blind.push(error.to_string());
                return report;
            }
        }
    } else {
        HashMap::new()
    };
    for object in suspects {
        report.beats.beat();
        let uid = object.grant.as_ref().and_then(|name| live.get(name));
        if uid.is_some() && uid == object.grant_uid.as_ref() {
            continue;
        }
        let grant = match &object.grant {
            Some(name) => grant(client, name).await,
            None => Read::Missing,
        };
        if let Read::Failed(why) = &grant {
            report.blind.push(why.clone());
        }
        if let Fate::Remove(why) = fate(&object, &grant, clock.now()) {
            take(client, &object, &why, &mut report).await;
        }
    }
    report
}

fn is_live(index: &Index, object: &ObjectMarks) -> bool {
    let known = object.grant.as_ref().and_then(|name| index.grant(name));
    known.is_some_and(|known| {
        let live = known.live();
        live.is_some_and(|grant| {
            object.grant_uid.as_deref() == Some(&*grant.uid) && !grant.is_deleted
        })
    })
}

/// Removes the objects of a kind whose own end has come, and returns the others. A page that cannot be read is said.
async fn expired<K>(
    client: &Client,
    clock: &Clock,
    kind: RbacKind,
    standing: &mut Vec<ObjectMarks>,
    report: &mut Report,
) where
    K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned,
{
    let api: Api<K> = Api::all(client.clone());
    let ours = format!("{MANAGED_BY}={MANAGED_BY_LAPSE}");
    let mut params = ListParams::default().labels(&ours).limit(PAGE);
    loop {
        report.beats.beat();
        let page = bounded(format!("listing {kind}s"), api.list_metadata(&params)).await;
        let page = match page {
            Ok(page) => page,
            Err(error) => {
                warn!(%error, "the sweep goes on with what else there is");
                report.blind.push(error.to_string());
                return;
            }
        };
        report.revision = page.metadata.resource_version.clone().or(report.revision.take());
        for item in &page.items {
            let object = ObjectMarks::of(kind, &item.metadata);
            let unknown = Read::Failed("not asked for".to_owned());
            match fate(&object, &unknown, clock.now()) {
                Fate::Remove(why) => take(client, &object, &why, report).await,
                Fate::Keep => standing.push(object),
            }
        }
        match next_page(params, &page.metadata) {
            Some(next) => params = next,
            None => return,
        }
    }
}

async fn take(client: &Client, object: &ObjectMarks, why: &str, report: &mut Report) {
    report.beats.beat();
    match remove(client, object, why).await {
        Ok(()) => report.removed += 1,
        Err(error) => {
            report.failed += 1;
            warn!(%error, "an object could not be removed");
        }
    }
}

/// The Grants that are not over, by name, with their UID.
async fn live_grants(client: &Client) -> Result<HashMap<String, String>, CallError> {
    let api: Api<Grant> = Api::all(client.clone());
    let mut params = ListParams::default().fields("status.phase!=Ended").limit(PAGE);
    let mut live = HashMap::new();
    loop {
        let page = bounded("listing the live Grants", api.list_metadata(&params)).await?;
        let is_there =
            |item: &&PartialObjectMeta<Grant>| item.metadata.deletion_timestamp.is_none();
        let pairs = page.items.iter().filter(is_there);
        live.extend(pairs.filter_map(|item| Some((item.name_any(), item.metadata.uid.clone()?))));
        match next_page(params, &page.metadata) {
            Some(next) => params = next,
            None => return Ok(live),
        }
    }
}

async fn grant(client: &Client, name: &str) -> Read<Grant> {
    let api: Api<Stored<Grant>> = Api::all(client.clone());
    match read(bounded(format!("reading Grant {name}"), api.get(name)).await) {
        Read::Found(stored) => stored.object().map_or_else(Read::Failed, Read::Found),
        Read::Missing => Read::Missing,
        Read::Failed(why) => Read::Failed(why),
    }
}

/// The command `sweep`.
pub(crate) async fn sweep_once(options: OnceOptions) -> anyhow::Result<()> {
    read_settings(&options.settings)?;
    let clock = Clock::default();
    let client = connect(&clock, "lapse-controller").await?;
    let report = sweep(&client, &clock, None, &Heartbeat::new()).await;
    info!(removed = report.removed, failed = report.failed, "swept");
    if report.failed > 0 {
        bail!("{} objects could not be removed; see the messages above", report.failed);
    }
    if let Some(why) = report.blind.first() {
        bail!("what has expired is gone, but not all could be looked at: {why}");
    }
    Ok(())
}
