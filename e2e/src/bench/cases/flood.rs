//! One requester stores as much as is let through.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use futures::{StreamExt as _, stream};
use kube::Api;
use kube::api::PostParams;
use lapse_crds::AccessRequest;
use serde_json::json;

use super::super::figure::{Figure, Part, Reach};
use super::super::process::{resting_memory, within_reason};
use super::super::setting::Setting;
use super::super::town::{AT_ONCE, LIMIT, NAMESPACE, PATIENCE, POLICY, Town, names};

/// What is tried first. Kubernetes itself lets 256 KiB of annotations through.
const LARGEST: usize = 200 * 1024;
/// What the chart lets both programs have.
const CHART_LIMIT: Reach = Reach::AtMost(256.0);

/// Another person's approvals meanwhile, and memory afterwards.
pub(super) async fn run(setting: &Setting, figures: &mut Vec<Figure>) -> Result<()> {
    let town = Town::found(setting).await?;
    let others = names("other", setting.size.of(60).max(5));
    for name in &others {
        town.pending(name, "1h").await?;
    }
    let size = largest(&town).await?;
    let flood = names("flood", setting.size.of(800));
    let (refused, others) = tokio::join!(store(&town, &flood, size), meanwhile(&town, &others));
    let others = others?;
    let never = others.iter().filter(|took| **took >= LIMIT.as_secs_f64() * 1000.0).count();
    let note = format!(
        "{} requests with {} KiB of annotations each, {refused} of them refused; {never} approvals took \
         longer than {} s",
        flood.len(),
        size / 1024,
        LIMIT.as_secs(),
    );
    figures.push(
        Figure::new("another person's approver's call sent → binding seen", "ms", others)
            .reach(Part::Max, Reach::AtMost(1000.0))
            .note(note),
    );
    let controller = &town.lapse.controllers[0];
    let webhook = town.lapse.webhooks[0].process.pid();
    for (what, pid) in [
        ("the controller's memory afterwards", controller.process.pid()),
        ("the webhook's memory afterwards", webhook),
    ] {
        figures.push(resting_memory(what, pid).await?.reach(Part::Max, CHART_LIMIT));
    }
    controller.process.kill();
    controller.process.start()?;
    let pid = controller.process.pid();
    within_reason(pid, controller.ready()).await?;
    let memory = resting_memory("the controller's memory after a restart", pid).await?;
    figures.push(memory.reach(Part::Max, CHART_LIMIT));
    Ok(())
}

/// How many bytes of annotations are let through, found by halving.
async fn largest(town: &Town) -> Result<usize> {
    let mut size = LARGEST;
    while let Err(error) = ask(town, &format!("probe-{size}"), size).await {
        size /= 2;
        ensure!(size > 0, "not even a small request is let through: {error:#}");
    }
    Ok(size)
}

/// Stores all of them; returns how many were refused.
async fn store(town: &Town, names: &[String], size: usize) -> usize {
    let asking = names.iter().map(|name| ask(town, name, size));
    let asked: Vec<Result<()>> = stream::iter(asking).buffer_unordered(AT_ONCE).collect().await;
    asked.iter().filter(|asked| asked.is_err()).count()
}

async fn ask(town: &Town, name: &str, size: usize) -> Result<()> {
    let requests: Api<AccessRequest> = Api::namespaced(town.people[1].client.clone(), NAMESPACE);
    let request = serde_json::from_value(json!({
        "apiVersion": "lapse.dev/v1alpha1", "kind": "AccessRequest",
        "metadata": {
            "name": name, "namespace": NAMESPACE,
            "annotations": {"example.com/notes": "x".repeat(size)},
        },
        "spec": {
            "policy": POLICY,
            "target": {"kubernetes": {"role": {"kind": "ClusterRole", "name": "edit"}}},
            "duration": "1h",
            "reason": "How much is let through?",
        },
    }))?;
    requests.create(&PostParams::default(), &request).await?;
    Ok(())
}

/// One approval after the other, for as long as the flood may be felt: how long each took, in milliseconds.
async fn meanwhile(town: &Town, names: &[String]) -> Result<Vec<f64>> {
    let begun = Instant::now();
    let mut took = Vec::new();
    for name in names {
        let bound = async {
            let (sent, _) = town.approve(name).await?;
            anyhow::Ok(town.bindings.there(name, LIMIT).await?.ms_after(sent))
        };
        // What took so long counts as just that.
        let bound = tokio::time::timeout(LIMIT, bound).await;
        took.push(bound.unwrap_or(Ok(LIMIT.as_secs_f64() * 1000.0))?);
        if begun.elapsed() > 2 * PATIENCE {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    Ok(took)
}
