//! What the controller writes in a lifecycle.

use anyhow::Result;

use super::super::figure::{Figure, Part, Reach};
use super::super::setting::Setting;
use super::super::town::{LIMIT, Town, names};
use crate::audit;

/// Counts the writes from the request to its end by time, from the audit log.
pub(super) async fn run(setting: &Setting) -> Result<Vec<Figure>> {
    let town = Town::found(setting).await?;
    town.quiet().await?;
    let log = town.lapse.plane().audit_log();
    let before = audit::writes(&log)?;
    let names = names("single", setting.size.of(60).min(60));
    for name in &names {
        town.given(name, "1s").await?;
        town.requests.in_state(name, "Ended", LIMIT).await?;
    }
    // Counts of policies are reported half a second late.
    town.quiet().await?;
    let writes = audit::difference(&before, &audit::writes(&log)?);
    let is_counted = |what: &str| !what.ends_with(" events") && !what.ends_with(" leases");
    let total: usize =
        writes.iter().filter(|(what, _)| is_counted(what)).map(|(_, count)| count).sum();
    let by_kind: Vec<String> = writes
        .iter()
        .filter(|(_, count)| *count > 0)
        .map(|(what, count)| format!("{what} {:.2}", ratio(*count, names.len())))
        .collect();
    Ok(vec![
        Figure::new(
            "from the request to its end, events apart",
            "writes",
            vec![ratio(total, names.len())],
        )
        .reach(Part::P50, Reach::AtMost(8.0))
        .note(format!("each: {}", by_kind.join(", "))),
    ])
}

#[expect(clippy::cast_precision_loss, reason = "counts are small")]
fn ratio(total: usize, lifecycles: usize) -> f64 {
    total as f64 / lifecycles as f64
}
