//! Many approvals at once.

use std::time::Duration;

use anyhow::{Context as _, Result};
use chrono::{DateTime, TimeDelta, Utc};
use futures::{StreamExt as _, TryStreamExt as _, stream};
use serde_json::json;

use super::super::bare;
use super::super::figure::{Figure, Part, Reach};
use super::super::seen::Moment;
use super::super::setting::Setting;
use super::super::town::{AT_ONCE, PATIENCE, Town, names};
use super::single::lateness;
use crate::plane::until;

/// How many rights end while others are given, or while nothing goes on.
const ENDS: usize = 100;
/// Over how many seconds their ends are spread.
pub(super) const SPREAD: usize = 5;

/// So many requests wait; then all are approved at once.
pub(super) async fn run(setting: &Setting, full: usize) -> Result<Vec<Figure>> {
    let town = Town::found(setting).await?;
    let names = names("burst", setting.size.of(full));
    town.ask_all(&names, "1h").await?;
    let bare = bare::approvals(&town, &names).await?;
    let (begun, calls) = approve_all(&town, &names).await?;
    let came = town.bindings.all_there(&names, PATIENCE).await;
    let each: Vec<f64> = came.iter().flatten().map(|came| came.ms_after(begun)).collect();
    let never = came.len() - each.len();
    let last = each.iter().copied().fold(f64::NAN, f64::max);
    Ok(vec![
        Figure::new(
            &format!("{} approvals at once → the last bound", names.len()),
            "ms",
            vec![last],
        )
        .beside(
            "for each a plain write and two bindings, one after the other, by a bare client",
            vec![bare],
        )
        .reach(Part::P50, Reach::Times(2.0))
        .note(format!("{AT_ONCE} calls at once; {never} never came")),
        Figure::new("the first call sent → each bound", "ms", each),
        Figure::new("an approver's call itself, meanwhile", "ms", calls),
    ])
}

/// Approves all at once; returns when the first call was sent, and how long each took, in milliseconds.
async fn approve_all(town: &Town, names: &[String]) -> Result<(Moment, Vec<f64>)> {
    let begun = Moment::now();
    let approving = names.iter().map(|name| town.approve(name));
    let calls: Vec<_> = stream::iter(approving).buffer_unordered(AT_ONCE).try_collect().await?;
    Ok((begun, calls.into_iter().map(|(sent, answered)| answered.ms_after(sent)).collect()))
}

/// How late rights end while 400 approvals are carried out, beside the same when nothing goes on.
pub(super) async fn busy_ends(setting: &Setting) -> Result<Vec<Figure>> {
    let town = Town::found(setting).await?;
    let (quiet, busy) =
        (names("quiet", setting.size.of(ENDS)), names("busy", setting.size.of(ENDS)));
    let burst = names("burst", setting.size.of(400));
    town.ask_all(&burst, "1h").await?;
    give_until_together(&town, &quiet).await?;
    let quiet = ends(&town, &quiet).await?;
    let first = give_until_together(&town, &busy).await?;
    // A moment before the first of them ends.
    until(first - TimeDelta::milliseconds(200)).await;
    let (approved, busy) = tokio::join!(approve_all(&town, &burst), ends(&town, &busy));
    let ((begun, _), busy) = (approved?, busy?);
    let came = town.bindings.all_there(&burst, PATIENCE).await;
    let last = came.iter().flatten().map(|came| came.ms_after(begun)).fold(f64::NAN, f64::max);
    let never = came.iter().filter(|came| came.is_none()).count();
    Ok(vec![
        Figure::new("expiresAt → binding gone, meanwhile", "ms", busy)
            .beside("the same with nothing else going on", quiet)
            .reach(Part::P99, Reach::More(30.0))
            .note(format!(
                "{} approvals at once, the last bound after {last:.0} ms, {never} never; the ends \
                 lie within {SPREAD} s, from the first call on",
                burst.len(),
            )),
    ])
}

/// Gives rights one after the other such that they end within the same few seconds; returns when the first
/// of them ends.
pub(super) async fn give_until_together(town: &Town, names: &[String]) -> Result<DateTime<Utc>> {
    town.ask_all(names, "1h").await?;
    // The approver sets how long: until the same few seconds, whenever this one's turn comes.
    let ends_at = lapse_cluster::clock::now() + TimeDelta::seconds(10 + seconds(names.len() / 4));
    for (index, name) in names.iter().enumerate() {
        let end = ends_at + TimeDelta::seconds(seconds(index % SPREAD));
        let left = (end - lapse_cluster::clock::now()).num_seconds();
        anyhow::ensure!(left > 0, "giving {} rights took too long", names.len());
        town.decide(name, &json!({"verdict": "Approve", "duration": format!("{left}s")})).await?;
    }
    let given = town.bindings.all_there(names, PATIENCE).await;
    anyhow::ensure!(given.iter().all(Option::is_some), "not all rights were given");
    let mut first = None;
    for name in names {
        let end = town.expires_at(name).await?;
        first = Some(first.map_or(end, |first: DateTime<Utc>| first.min(end)));
    }
    first.context("nothing was given")
}

/// Waits for the ends of these rights: how late each was, in milliseconds.
pub(super) async fn ends(town: &Town, names: &[String]) -> Result<Vec<f64>> {
    let gone = town.bindings.all_gone(names, Duration::from_mins(2)).await;
    let mut late = Vec::new();
    for (name, gone) in names.iter().zip(gone) {
        late.push(
            lateness(town, name, gone.with_context(|| format!("{name} never ended"))?).await?,
        );
    }
    Ok(late)
}

fn seconds(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
