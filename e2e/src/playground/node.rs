//! The playground on real nodes.

use std::fs;

use anyhow::{Context, Result};

use super::{Options, PEOPLE, examples, welcome};
use crate::node::{Cluster, ClusterOptions};
use crate::plane::install::VALUES;
use crate::plane::{Progress, jit_program};

/// Runs it until it is told to stop.
pub(super) async fn run(
    options: &Options,
    mut told_to_stop: impl Future<Output = ()> + Unpin,
) -> Result<()> {
    let cluster = tokio::select! {
        () = &mut told_to_stop => return Ok(()),
        started = start(options) => started?,
    };
    println!("{}", welcome(cluster.plane(), options, "logs and in its nodes/*/*.log"));
    println!(
        "Pods: kubectl -n lapse-system get pods -o wide. Images: those of the nodes, there is no registry."
    );
    told_to_stop.await;
    println!("\nStopping.");
    Ok(())
}

async fn start(options: &Options) -> Result<Cluster> {
    let progress = Progress::Steps;
    let cluster = Cluster::start(ClusterOptions { folder: options.dir.clone(), progress }).await?;
    let plane = cluster.plane();
    plane.add_jit(&jit_program().await?)?;
    plane.write_kubeconfig(&plane.folder().join("kubeconfig"), &PEOPLE)?;
    progress.step("installing the chart with Helm");
    let set: Vec<&str> = options.helm_set.iter().map(String::as_str).collect();
    let wider = plane.folder().join("values.yaml");
    fs::write(&wider, VALUES).with_context(|| format!("writing {}", wider.display()))?;
    let values: Vec<_> = std::iter::once(&wider).chain(&options.values).cloned().collect();
    cluster.install_with(&values, &set).await?;
    if !options.no_examples {
        examples::apply(plane).await?;
    }
    Ok(cluster)
}
