//! The whole story on a real control plane, told on the terminal.
//!
//! Every line that says what happened comes from the answer of the API server, and the demo fails
//! when an answer is not the one that the story tells.

mod host;
mod story;
mod teller;

use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context as _, Result};

use crate::plane::{InstallOptions, Lapse, Origin, Plane, PlaneOptions, Progress};
use crate::playground::examples;

/// Starts a control plane with Lapse on it, tells the story, and leaves nothing behind.
///
/// # Errors
/// If anything could not be started, or did not happen as told.
pub async fn run(origin: Origin) -> Result<()> {
    let started = Instant::now();
    let plane = PlaneOptions { progress: Progress::Steps, origin, ..PlaneOptions::default() };
    let left_out = crate::host::possible().err();
    let gateways = usize::from(left_out.is_none());
    let lapse =
        Lapse::start(plane, InstallOptions { gateways, ..InstallOptions::default() }).await?;
    examples::apply(lapse.plane()).await?;
    let told = match tell(&lapse, left_out).await {
        Ok(()) => Ok(()),
        Err(error) => Err(error.context(witnesses(&lapse).await)),
    };
    let stopped = stop(lapse).await;
    told?;
    stopped?;
    println!("\nTold in {} s, with nothing left behind.", started.elapsed().as_secs());
    Ok(())
}

async fn tell(lapse: &Lapse, left_out: Option<anyhow::Error>) -> Result<()> {
    story::tell(lapse.plane()).await?;
    match left_out {
        None => host::tell(lapse).await,
        Some(why) => {
            println!("\nThe second act, on a real host, is left out: {why:#}.");
            Ok(())
        }
    }
}

/// What else there is to see when something did not happen as told.
async fn witnesses(lapse: &Lapse) -> String {
    let stored = async {
        let admin = lapse.plane().admin().await?;
        let all = ["get", "areq,adec,grants", "--all-namespaces", "--output=yaml"];
        lapse.plane().kubectl(&admin, &all).await?.ok()
    };
    let stored = stored.await.unwrap_or_else(|error| format!("{error:#}"));
    let said = lapse
        .components()
        .map(|component| format!("{}{}", component.process.name(), component.process.tail()));
    [vec![format!("stored is:\n{stored}")], said.collect()].concat().join("\n")
}

async fn stop(lapse: Lapse) -> Result<()> {
    let components = lapse.stop().await;
    let plane: Arc<Plane> = Arc::clone(lapse.plane());
    drop(lapse);
    let plane = Arc::into_inner(plane).context("the control plane is in use")?;
    components.and(plane.stop().await)
}
