//! The backstop: looks at every binding and role of Lapse and every grant, and takes what has no right to be.

use std::collections::HashMap;
use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail};
use k8s_openapi::api::rbac::v1::{ClusterRole, ClusterRoleBinding, Role, RoleBinding};
use kube::api::ListParams;
use kube::{Api, Client, Resource, ResourceExt as _};
use lapse_cluster::clock::Clock;
use lapse_cluster::process::read_settings;
use lapse_cluster::{CallError, Stored, bounded, connect};
use lapse_crds::{Grant, GrantPhase, MANAGED_BY, MANAGED_BY_LAPSE, RbacKind};
use lapse_engine::Read;
use lapse_engine::grant::{ObjectMarks, Verdict, awaits_review, verdict};
use serde::de::DeserializeOwned;
use tracing::{info, warn};

use super::Guards;
use super::orphans::remove;
use crate::config::SweepOptions;
use crate::metrics::Metrics;
use crate::revision::Revision;
use crate::watch::Queues;

/// How long the sweep rests between two rounds.
const PERIOD: Duration = Duration::from_secs(20);

/// Sweeps again and again, until it is dropped.
pub(crate) async fn sweeping(
    client: Client,
    clock: Clock,
    queues: Queues,
    metrics: Arc<Metrics>,
    revision: Revision,
    mut guards: Guards,
) {
    loop {
        tokio::time::sleep(PERIOD).await;
        match sweep(&client, &clock).await {
            Ok(report) => {
                revision.observe(report.revision.as_deref());
                metrics.orphans_removed.inc_by(report.removed);
                // Without the list of grants nothing is known of them: the gauges keep what they say.
                if report.blind.is_none() {
                    metrics.active.set(report.active);
                    metrics.overdue.set(count(report.overdue.len()));
                    metrics.reviews_pending.set(report.reviews.pending);
                    metrics.reviews_overdue.set(report.reviews.overdue);
                }
                report.overdue.iter().for_each(|name| queues.grant(name));
            }
            Err(error) => warn!(%error, "the sweep will try again"),
        }
        match guards.missing(&client).await {
            Ok(missing) => drop(metrics.policies_missing.set(count(missing))),
            Err(error) => warn!(%error, "whether the admission policies stand is not known"),
        }
        metrics.clock_skew.set(clock.skew().as_seconds_f64());
    }
}

fn count(number: usize) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// What a sweep found.
#[derive(Debug, Default)]
struct Report {
    /// Objects that were removed.
    removed: u64,
    /// Objects that could not be removed.
    failed: u64,
    /// Grants in effect.
    active: i64,
    /// Grants whose time is up, or that were deleted, and that have not ended.
    overdue: Vec<String>,
    /// Emergencies that await their review.
    reviews: Reviews,
    /// Why the grants could not be looked at, if so: objects then go by their own end alone.
    blind: Option<String>,
    /// The revision of the cluster at that moment.
    revision: Option<String>,
}

/// How many emergencies await their review, and how many of them are overdue.
#[derive(Debug, Default)]
struct Reviews {
    pending: i64,
    overdue: i64,
}

async fn sweep(client: &Client, clock: &Clock) -> Result<Report, CallError> {
    // These first: a grant is written before its objects, so each that is listed has its grant in a list
    // that is made later.
    let mut objects = list_objects::<RoleBinding>(client, RbacKind::RoleBinding).await?;
    objects.extend(list_objects::<ClusterRoleBinding>(client, RbacKind::ClusterRoleBinding).await?);
    objects.extend(list_objects::<Role>(client, RbacKind::Role).await?);
    objects.extend(list_objects::<ClusterRole>(client, RbacKind::ClusterRole).await?);
    let grants = list_grants(client).await;
    let now = clock.now();
    let mut report = Report::default();
    if let Err(error) = &grants {
        warn!(%error, "the sweep goes by the objects' own ends alone");
        report.blind = Some(error.to_string());
    }
    if let Ok(grants) = &grants {
        report.revision.clone_from(&grants.revision);
        for stored in grants.by_name.values() {
            let Ok(grant) = stored.object() else { continue };
            let phase = grant.status.as_ref().map(|status| status.phase).unwrap_or_default();
            report.active += i64::from(phase == GrantPhase::Active);
            let review_by = awaits_review(grant);
            report.reviews.pending += i64::from(review_by.is_some());
            report.reviews.overdue += i64::from(review_by.is_some_and(|by| now >= by.time()));
            // One that was deleted and has ended stays on purpose until it is reviewed.
            let is_gone = phase == GrantPhase::Ended && review_by.is_some();
            let due = (grant.metadata.deletion_timestamp.is_some() && !is_gone)
                || (now >= grant.spec.expires_at.time() && phase != GrantPhase::Ended);
            if due {
                report.overdue.push(grant.name_any());
            }
        }
    }
    for object in objects {
        let grant = match (&grants, &object.grant) {
            (Ok(grants), Some(name)) => match grants.by_name.get(name).map(Stored::object) {
                Some(Ok(grant)) => Read::Found(grant.clone()),
                Some(Err(why)) => Read::Failed(why.to_owned()),
                None => Read::Missing,
            },
            (Ok(_), None) => Read::Missing,
            (Err(error), _) => Read::Failed(error.to_string()),
        };
        if let Verdict::Remove(why) = verdict(&object, &grant, now) {
            match remove(client, &object, &why).await {
                Ok(()) => report.removed += 1,
                Err(error) => {
                    report.failed += 1;
                    warn!(%error, "an object could not be removed");
                }
            }
        }
    }
    Ok(report)
}

async fn list_objects<K>(client: &Client, kind: RbacKind) -> Result<Vec<ObjectMarks>, CallError>
where
    K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned,
{
    let api: Api<K> = Api::all(client.clone());
    let ours = ListParams::default().labels(&format!("{MANAGED_BY}={MANAGED_BY_LAPSE}"));
    let list = bounded(format!("listing {kind}s"), api.list_metadata(&ours)).await?;
    Ok(list.items.iter().map(|item| ObjectMarks::of(kind, &item.metadata)).collect())
}

/// The grants of a moment.
struct Grants {
    by_name: HashMap<String, Stored<Grant>>,
    revision: Option<String>,
}

async fn list_grants(client: &Client) -> Result<Grants, CallError> {
    let api: Api<Stored<Grant>> = Api::all(client.clone());
    let list = bounded("listing Grants", api.list(&ListParams::default())).await?;
    let revision = list.metadata.resource_version.clone();
    let by_name = list.items.into_iter().map(|grant| (grant.name_any(), grant)).collect();
    Ok(Grants { by_name, revision })
}

/// The command `sweep`.
pub(crate) async fn sweep_once(options: SweepOptions) -> anyhow::Result<()> {
    read_settings(&options.settings)?;
    let clock = Clock::default();
    let client = connect(&clock).await?;
    let report = sweep(&client, &clock).await.context("the sweep could not look at everything")?;
    info!(removed = report.removed, failed = report.failed, "swept");
    if report.failed > 0 {
        bail!("{} objects could not be removed; see the messages above", report.failed);
    }
    if let Some(why) = report.blind {
        bail!("what has expired is gone, but not all could be looked at: {why}");
    }
    Ok(())
}
