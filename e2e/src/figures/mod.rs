//! Measures whole lifecycles on the playground's control plane, with nothing else running.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use chrono::{DateTime, TimeDelta, Utc};
use futures::{Stream, StreamExt as _};
use k8s_openapi::api::core::v1::ConfigMap;
use k8s_openapi::api::rbac::v1::RoleBinding;
use kube::api::PostParams;
use kube::runtime::watcher::{self, Event};
use kube::{Api, Client};
use lapse_crds::{AccessDecision, AccessRequest, RequestPhase};
use serde_json::{Value, json};

use crate::audit;
use crate::plane::{InstallOptions, Lapse, PlaneOptions, Progress, User, eventually};
use crate::playground::examples;

/// How long each grant lasts: long enough to be seen, short enough to wait for.
const HELD: &str = "2s";
const DEADLINE: Duration = Duration::from_secs(30);

/// Runs so many lifecycles, one after the other, and prints what they took. The files of the control
/// plane, its audit log among them, stay in the folder, if one is named.
///
/// # Errors
/// If anything could not be started, or a lifecycle went wrong.
pub async fn run(lifecycles: usize, folder: Option<PathBuf>) -> Result<()> {
    ensure!(!cfg!(debug_assertions), "measure a release build: cargo run --release …");
    let plane = PlaneOptions { folder, progress: Progress::Steps };
    let lapse = Lapse::start(plane, InstallOptions::default()).await?;
    examples::apply(lapse.plane()).await?;
    let people = People {
        alice: lapse.plane().user("alice", &["shop-developers"]).await?,
        bob: lapse.plane().user("bob", &["shop-managers"]).await?,
        admin: lapse.plane().admin().await?,
    };
    // The first one warms connections and caches, and is not counted.
    people.lifecycle("warm-up").await?;
    let before = audit::writes(&lapse.plane().audit_log())?;
    let mut figures = Vec::new();
    for index in 0..lifecycles {
        figures.push(people.lifecycle(&format!("measured-{index}")).await?);
    }
    // Counts of policies are reported half a second late.
    eventually("the last report on the policy", DEADLINE, async || people.is_quiet().await).await?;
    let after = audit::writes(&lapse.plane().audit_log())?;
    let pid = lapse.controllers.first().context("no controller runs")?.process.pid();
    report(&figures, &audit::difference(&before, &after), lifecycles, memory(pid)?);
    Ok(())
}

struct People {
    alice: User,
    bob: User,
    admin: User,
}

/// What one lifecycle took.
#[derive(Clone, Copy, Debug)]
struct Figures {
    /// One plain write to its event in a watch, right before: what this machine takes just now.
    plain: Duration,
    /// From the answer to the approver to the binding, as a watch shows it.
    to_binding: Duration,
    /// From `expiresAt` to the binding gone, as a watch shows it.
    late: TimeDelta,
}

impl People {
    async fn lifecycle(&self, name: &str) -> Result<Figures> {
        let requests: Api<AccessRequest> = Api::namespaced(self.alice.client.clone(), "shop");
        let request = serde_json::from_value(request(name))?;
        requests.create(&PostParams::default(), &request).await?;
        reached(&requests, name, RequestPhase::Pending).await?;

        let mut bindings = Box::pin(bindings(self.admin.client.clone()));
        expect(&mut bindings, |event| matches!(event, Event::InitDone)).await?;
        let plain = plain_write(self.admin.client.clone(), name).await?;
        let decisions: Api<AccessDecision> = Api::namespaced(self.bob.client.clone(), "shop");
        let decision = serde_json::from_value(approval(name))?;
        let (approved, bound) = tokio::join!(
            async {
                let created = decisions.create(&PostParams::default(), &decision).await;
                created.map(|_| Instant::now())
            },
            expect(&mut bindings, |event| matches!(event, Event::Apply(_))),
        );
        let to_binding = bound?.0.saturating_duration_since(approved?);
        let (_, gone) = expect(&mut bindings, |event| matches!(event, Event::Delete(_))).await?;
        let status = reached(&requests, name, RequestPhase::Ended).await?;
        let expires_at = status.expires_at.context("no expiresAt")?.time();
        Ok(Figures { plain, to_binding, late: gone - expires_at })
    }

    async fn is_quiet(&self) -> Result<Option<()>> {
        let policies: Api<lapse_crds::JitPolicy> = Api::all(self.admin.client.clone());
        let status = policies.get("shop-debug").await?.status;
        Ok(status.filter(|status| status.active_grants == 0).map(|_| ()))
    }
}

fn request(name: &str) -> Value {
    json!({
        "apiVersion": "lapse.dev/v1alpha1", "kind": "AccessRequest",
        "metadata": {"name": name, "namespace": "shop"},
        "spec": {
            "policy": "shop-debug",
            "target": {"kubernetes": {"role": {"kind": "ClusterRole", "name": "edit"}}},
            "duration": HELD,
            "reason": "How long does it take?",
        },
    })
}

fn approval(name: &str) -> Value {
    json!({
        "apiVersion": "lapse.dev/v1alpha1", "kind": "AccessDecision",
        "metadata": {"name": format!("{name}-approved"), "namespace": "shop"},
        "spec": {"request": {"name": name}, "verdict": "Approve"},
    })
}

async fn reached(
    requests: &Api<AccessRequest>,
    name: &str,
    phase: RequestPhase,
) -> Result<lapse_crds::AccessRequestStatus> {
    eventually(&format!("{name} to be {phase}"), DEADLINE, async || {
        let status = requests.get(name).await?.status;
        Ok(status.filter(|status| status.phase == phase))
    })
    .await
}

fn bindings(client: Client) -> impl Stream<Item = watcher::Result<Event<RoleBinding>>> {
    let api: Api<RoleBinding> = Api::namespaced(client, "shop");
    let ours = watcher::Config::default().labels("app.kubernetes.io/managed-by=lapse");
    kube::runtime::watcher(api, ours)
}

/// The moment, by both clocks, at which a watch shows what is awaited.
async fn expect<K>(
    events: &mut (impl Stream<Item = watcher::Result<Event<K>>> + Unpin),
    is_awaited: impl Fn(&Event<K>) -> bool,
) -> Result<(Instant, DateTime<Utc>)> {
    let found = tokio::time::timeout(DEADLINE, async {
        while let Some(event) = events.next().await {
            if is_awaited(&event?) {
                return Ok((Instant::now(), lapse_cluster::clock::now()));
            }
        }
        anyhow::bail!("the watch has ended")
    });
    found.await.context("the watch shows nothing")?
}

/// How long a write takes that nobody decides about, from being sent to being shown by a watch.
async fn plain_write(client: Client, name: &str) -> Result<Duration> {
    let api: Api<ConfigMap> = Api::namespaced(client, "shop");
    let one = watcher::Config::default().fields(&format!("metadata.name={name}"));
    let mut events = Box::pin(kube::runtime::watcher(api.clone(), one));
    expect(&mut events, |event| matches!(event, Event::InitDone)).await?;
    let map = serde_json::from_value(json!({"metadata": {"name": name}}))?;
    let begun = Instant::now();
    let post = PostParams::default();
    let (created, shown) = tokio::join!(
        api.create(&post, &map),
        expect(&mut events, |event| matches!(event, Event::Apply(_))),
    );
    created?;
    Ok(shown?.0.saturating_duration_since(begun))
}

/// The resident memory of a process, in MiB (`VmRSS` of proc(5)).
fn memory(pid: u32) -> Result<f64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).context("reading VmRSS")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.trim().strip_suffix(" kB"));
    Ok(kib.context("no VmRSS")?.trim().parse::<f64>()? / 1024.0)
}

fn report(figures: &[Figures], writes: &[(String, usize)], lifecycles: usize, memory_mib: f64) {
    let mut plain: Vec<f64> =
        figures.iter().map(|figure| figure.plain.as_secs_f64() * 1000.0).collect();
    let mut to_binding: Vec<f64> =
        figures.iter().map(|figure| figure.to_binding.as_secs_f64() * 1000.0).collect();
    let mut late: Vec<f64> =
        figures.iter().map(|figure| figure.late.as_seconds_f64() * 1000.0).collect();
    println!("\n{lifecycles} lifecycles, one after the other");
    println!("approval to binding        {}", percentiles(&mut to_binding));
    println!("one plain write, beside it {}", percentiles(&mut plain));
    let times = percentile(&mut to_binding, 50) / percentile(&mut plain, 50);
    println!("approval to binding is     {times:.1} times a plain write (p50)");
    println!("expiresAt to binding gone  {}", percentiles(&mut late));
    println!("memory of the controller   {memory_mib:.1} MiB");
    println!("writes of the controller in all, by kind (leases apart):");
    let mut total = 0;
    for (what, count) in writes {
        println!("  {count:4}  {what}");
        if !what.contains("leases") {
            total += count;
        }
    }
    println!("per lifecycle              {:.2}", ratio(total, lifecycles));
}

#[expect(clippy::cast_precision_loss, reason = "counts are small")]
fn ratio(total: usize, lifecycles: usize) -> f64 {
    total as f64 / lifecycles as f64
}

fn percentiles(values: &mut [f64]) -> String {
    let [half, most, nearly_all] = [50, 90, 99].map(|percent| percentile(values, percent));
    format!("p50 {half:.1} ms, p90 {most:.1} ms, p99 {nearly_all:.1} ms")
}

/// The value below or at which so many percent of the values lie (nearest rank).
fn percentile(values: &mut [f64], percent: usize) -> f64 {
    values.sort_by(f64::total_cmp);
    let rank = (values.len() * percent).div_ceil(100).max(1);
    values.get(rank - 1).copied().unwrap_or(f64::NAN)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_values_that_were_measured() {
        let mut values: Vec<f64> = (1..=30).rev().map(f64::from).collect();
        assert!((percentile(&mut values, 50) - 15.0).abs() < f64::EPSILON);
        assert!((percentile(&mut values, 99) - 30.0).abs() < f64::EPSILON);
    }
}
