//! The leader is killed just before a right ends.

use anyhow::{Context as _, Result};
use chrono::TimeDelta;
use k8s_openapi::api::coordination::v1::Lease;
use kube::Api;

use super::super::figure::{Figure, Part, Reach};
use super::super::setting::Setting;
use super::super::town::{LIMIT, Town, names};
use super::single::lateness;
use crate::plane::install::NAMESPACE as HOME;
use crate::plane::{SOON, eventually, until};

/// How long before the end the leader dies.
const BEFORE: TimeDelta = TimeDelta::milliseconds(100);

/// With two controllers: how late rights end, beside the same when nobody is killed.
pub(super) async fn run(setting: &Setting) -> Result<Vec<Figure>> {
    let town = Town::found_with_two(setting).await?;
    let (mut calm, mut killed) = (Vec::new(), Vec::new());
    for name in names("single", setting.size.of(20)) {
        let calm_name = format!("calm-{name}");
        calm.push(one(&town, &calm_name, false).await?);
        killed.push(one(&town, &name, true).await?);
    }
    Ok(vec![
        Figure::new("expiresAt → binding gone, the leader killed before", "ms", killed)
            .beside("the same with nobody killed", calm)
            .reach(Part::Max, Reach::More(100.0))
            .note(format!(
                "two controllers; SIGKILL {} ms before the end",
                BEFORE.num_milliseconds()
            )),
    ])
}

async fn one(town: &Town, name: &str, kill: bool) -> Result<f64> {
    town.given(name, "2s").await?;
    let expires_at = town.expires_at(name).await?;
    let leader = leader(town).await?;
    until(expires_at - BEFORE).await;
    let leader = &town.lapse.controllers[leader];
    if kill {
        leader.process.kill();
    }
    let gone = town.bindings.gone(name, LIMIT).await?;
    if kill {
        leader.process.start()?;
        leader.ready().await?;
    }
    lateness(town, name, gone).await
}

/// Which controller holds the lease.
pub(super) async fn leader(town: &Town) -> Result<usize> {
    let leases: Api<Lease> = Api::namespaced(town.admin.client.clone(), HOME);
    eventually("a controller to hold the lease", SOON, async || {
        let found = leases.list(&kube::api::ListParams::default()).await?;
        let holder = found.into_iter().find_map(|lease| lease.spec?.holder_identity);
        let is_holder = |index: &usize| {
            let name = format!("controller-{index}");
            holder.as_ref().is_some_and(|holder| holder.contains(&name))
        };
        Ok((0..town.lapse.controllers.len()).find(is_holder))
    })
    .await
    .context("finding the leader")
}
