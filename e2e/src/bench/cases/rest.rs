//! Memory with nothing stored and nothing going on.

use anyhow::Result;

use super::super::figure::{Figure, Part, Reach};
use super::super::process::resting_memory;
use super::super::setting::Setting;
use super::super::town::Town;

/// Of the controller and the webhook.
pub(super) async fn run(setting: &Setting) -> Result<Vec<Figure>> {
    let town = Town::found(setting).await?;
    town.quiet().await?;
    let mut figures = Vec::new();
    for (what, component, limit) in [
        ("the controller's memory at rest", &town.lapse.controllers[0], Some(25.0)),
        ("the webhook's memory at rest", &town.lapse.webhooks[0], None),
    ] {
        let mut figure = resting_memory(what, component.process.pid()).await?;
        if let Some(limit) = limit {
            figure = figure.reach(Part::Max, Reach::AtMost(limit));
        }
        figures.push(figure);
    }
    Ok(figures)
}
