//! A control plane with Lapse on it, kept up for trying things with kubectl.

pub(crate) mod examples;
mod manifest;
mod node;

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context, Result};
use clap::Parser;
use tokio::signal::unix::{SignalKind, signal};

use crate::plane::{InstallOptions, Lapse, Origin, Plane, PlaneOptions, Progress, jit_program};

/// Who can try things, and which groups each is in. The first is the current context.
const PEOPLE: [(&str, &[&str]); 5] = [
    ("admin", &["system:masters"]),
    ("alice", &["shop-developers"]),
    ("bob", &["shop-managers"]),
    ("olga", &[]),
    ("carol", &["security"]),
];

/// Starts a real Kubernetes control plane with Lapse on it and keeps it up until Ctrl-C.
#[derive(Clone, Debug, Parser)]
#[command(name = "cargo playground", bin_name = "cargo playground")]
pub struct Options {
    /// Where all files go, and stay; a temporary folder, removed at the end, if not given
    #[arg(long, value_name = "DIR")]
    pub dir: Option<PathBuf>,
    /// How many controllers to run
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub controllers: usize,
    /// How many webhooks to run
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub webhooks: usize,
    /// A value for the chart, as Helm's --set takes it; may be given several times
    #[arg(long, value_name = "KEY=VALUE")]
    pub helm_set: Vec<String>,
    /// A file with values for the chart; may be given several times
    #[arg(long, value_name = "FILE")]
    pub values: Vec<PathBuf>,
    /// Run it on two real nodes, in pods, as the chart's own deployments. Takes root on Linux
    #[arg(long, conflicts_with_all = ["controllers", "webhooks"])]
    pub node: bool,
    /// Do not apply the examples: namespace shop, its policies and the people's roles
    #[arg(long)]
    pub no_examples: bool,
}

/// Runs the playground until it is told to stop.
///
/// # Errors
/// If it cannot start, or if something had to be killed at the end.
pub async fn run(options: Options) -> Result<()> {
    let mut interrupt = signal(SignalKind::interrupt()).context("listening for Ctrl-C")?;
    let mut terminate = signal(SignalKind::terminate()).context("listening for SIGTERM")?;
    let mut hangup = signal(SignalKind::hangup()).context("listening for SIGHUP")?;
    let mut told_to_stop = std::pin::pin!(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
            _ = hangup.recv() => {}
        }
    });
    if options.node {
        return node::run(&options, told_to_stop).await;
    }
    // Told to stop while it starts, it drops what it has, which stops it.
    let lapse = tokio::select! {
        () = &mut told_to_stop => return Ok(()),
        started = start(&options) => started?,
    };
    let manifest = lapse.plane().folder().join("playground.json");
    println!("{}", welcome(lapse.plane(), &options, "logs"));
    told_to_stop.await;
    println!("\nStopping.");
    // Whoever finds the file believes that all is up.
    let _ = std::fs::remove_file(manifest);
    stop(lapse).await
}

async fn start(options: &Options) -> Result<Lapse> {
    let folder = options.dir.clone();
    let (progress, origin) = (Progress::Steps, Origin::Published);
    let plane = PlaneOptions { folder, progress, origin, ..PlaneOptions::default() };
    let (plane, jit) = tokio::try_join!(Plane::start(plane), jit_program())?;
    plane.add_jit(&jit)?;
    let plane = Arc::new(plane);
    plane.write_kubeconfig(&plane.folder().join("kubeconfig"), &PEOPLE)?;
    let install = InstallOptions {
        controllers: options.controllers,
        webhooks: options.webhooks,
        gateways: 0,
        behind_proxy: false,
        set: options.helm_set.clone(),
        values: options.values.clone(),
        programs: None,
        chart: None,
    };
    let lapse = Lapse::install(Arc::clone(&plane), install).await?;
    if !options.no_examples {
        examples::apply(&plane).await?;
    }
    manifest::write(&lapse)?;
    Ok(lapse)
}

async fn stop(lapse: Lapse) -> Result<()> {
    let components = lapse.stop().await;
    let plane = Arc::clone(lapse.plane());
    drop(lapse);
    let plane = Arc::into_inner(plane).context("the control plane is in use")?;
    components.and(plane.stop().await)
}

/// What people can do now. The logs are in this folder of its files.
fn welcome(plane: &Plane, options: &Options, logs: &str) -> String {
    let folder = plane.folder().display();
    let people = PEOPLE.iter().map(|(name, groups)| {
        let groups = if groups.is_empty() { "no group".to_owned() } else { groups.join(", ") };
        format!("{name} ({groups})")
    });
    let mut lines = vec![
        String::new(),
        format!("The playground is up at {}. In another terminal:", plane.server()),
        String::new(),
        format!("  export KUBECONFIG={folder}/kubeconfig"),
        format!("  export PATH={}:$PATH", plane.bin().display()),
        String::new(),
    ];
    let shown = [
        "kubectl jit --context alice -n shop policies",
        "kubectl jit --context alice -n shop request edit --for 30m --reason 'Checkout fails for EU cards'",
        "kubectl jit --context bob -n shop approve --all",
    ];
    let shown = shown.iter().filter(|_| !options.no_examples);
    let shown = shown.chain(&["kubectl get areq,adec,grants --all-namespaces"]);
    lines.extend(shown.map(|command| format!("  {command}")));
    lines.push(String::new());
    lines.push("README.md, \"Your first request\", says what comes of it.".to_owned());
    lines.push(format!("Contexts: {}.", people.collect::<Vec<_>>().join(", ")));
    lines.push(format!("Logs: {folder}/{logs}; audit log: {}.", plane.audit_log().display()));
    let removed = if options.dir.is_none() { ", which removes all of it" } else { "" };
    lines.push(format!("Stop with Ctrl-C{removed}."));
    lines.join("\n")
}
